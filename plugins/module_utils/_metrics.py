# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics of every run, as files for node_exporter's textfile collector.

PRIVATE to the collection; may change without notice. The names are public: docs/metrics.md.

One file per verb and component, and every metric belongs to one verb, so no two files ever carry the same series
(the collector would drop one of them). A failed run reads its predecessor's file back and keeps what it cannot
know better, the time of the last success above all. Writing metrics never fails an operation: the `record_…`
functions return a sentence to warn with, or None.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Callable, Final

from ._manifest import safe_name
from ._replace import replace_file

SUCCESS, DEGRADED, FAILURE = "success", "degraded", "failure"
"""Outcomes of a run."""

GAUGE, COUNTER = "gauge", "counter"


@dataclass(frozen=True)
class Metric:
    """A metric family. Its help is part of its identity: the collector drops families whose texts differ."""

    name: str
    kind: str
    help: str


def _run_metrics(prefix: str, what: str) -> tuple[Metric, ...]:
    """What every verb tells of its runs."""
    return (
        Metric(f"{prefix}_last_start_timestamp_seconds", GAUGE, f"When the last {what} began."),
        Metric(f"{prefix}_last_run_success", GAUGE, f"Whether the last {what} succeeded completely (1) or not (0)."),
        Metric(f"{prefix}_last_success_timestamp_seconds", GAUGE, f"When the last successful {what} ended."),
        Metric(f"{prefix}_last_duration_seconds", GAUGE, f"How long the last {what} took."),
        Metric(f"{prefix}_runs_total", COUNTER, f"How many times a {what} has ended, by result."),
    )


PREFIXES: Final[Mapping[str, str]] = {
    "backup": "holdfast_backup",
    "verify": "holdfast_backup_verify",
    "prune": "holdfast_backup_prune",
    "copy": "holdfast_backup_copy",
    "drill": "holdfast_drill",
}

METRICS: Final[Mapping[str, tuple[Metric, ...]]] = {
    "component": (
        Metric("holdfast_component_info", GAUGE, "A component that is declared on this host; always 1."),
        Metric("holdfast_backup_rpo_seconds", GAUGE, "Declared: how old the newest backup may be."),
        Metric("holdfast_backup_rto_seconds", GAUGE, "Declared: how long a restore may take."),
        Metric("holdfast_backup_max_duration_seconds", GAUGE, "Declared: how long a backup may run."),
    ),
    "backup": (
        *_run_metrics(PREFIXES["backup"], "backup"),
        Metric("holdfast_backup_in_progress", GAUGE, "Whether a backup has begun and not ended."),
        Metric("holdfast_backup_last_snapshot_timestamp_seconds", GAUGE, "The moment the newest backup's data is of."),
        Metric("holdfast_backup_last_size_bytes", GAUGE, "Stored bytes of the newest backup, in one repository."),
        Metric("holdfast_backup_last_source_size_bytes", GAUGE, "Bytes that the newest backup was made from."),
        Metric(
            "holdfast_backup_repository_last_run_success",
            GAUGE,
            "Whether the last backup was committed in this repository.",
        ),
        Metric(
            "holdfast_backup_repository_last_success_timestamp_seconds",
            GAUGE,
            "When a backup was last committed in this repository.",
        ),
        Metric("holdfast_backup_repository_free_bytes", GAUGE, "Free room in a repository that has a limit."),
        Metric(
            "holdfast_backup_repository_size_bytes", GAUGE, "All room, free and used, of a repository with a limit."
        ),
    ),
    "verify": (
        *_run_metrics(PREFIXES["verify"], "verification"),
        Metric(
            "holdfast_backup_verify_level_last_run_success",
            GAUGE,
            "Whether the last verification of this level succeeded in this repository.",
        ),
        Metric(
            "holdfast_backup_verify_level_last_success_timestamp_seconds",
            GAUGE,
            "When a verification of this level last succeeded in this repository.",
        ),
        Metric("holdfast_backup_verify_restore_seconds", GAUGE, "How long the last verifying restore took (RTO)."),
        Metric("holdfast_backup_verify_data_age_seconds", GAUGE, "Age of the data that it brought back (RPO)."),
    ),
    "prune": (
        *_run_metrics(PREFIXES["prune"], "prune"),
        Metric("holdfast_backup_snapshots", GAUGE, "Backups in a repository."),
        Metric("holdfast_backup_snapshots_verified", GAUGE, "Backups in a repository that retention may rely on."),
        Metric("holdfast_backup_snapshots_min", GAUGE, "Declared: verified backups below which nothing is deleted."),
        Metric("holdfast_backup_prune_last_deleted_backups", GAUGE, "Backups that the last prune deleted."),
        Metric("holdfast_backup_prune_last_freed_bytes", GAUGE, "Bytes that the last prune deleted."),
    ),
    "copy": (
        *_run_metrics(PREFIXES["copy"], "copy"),
        Metric("holdfast_backup_copy_last_sent_bytes", GAUGE, "Bytes that the last copy sent to a repository."),
    ),
    "drill": (
        *_run_metrics(PREFIXES["drill"], "drill"),
        Metric("holdfast_drill_restore_seconds", GAUGE, "How long the restore of the last drill took (RTO)."),
        Metric("holdfast_drill_data_loss_seconds", GAUGE, "Age of the data that it brought back (RPO)."),
        Metric("holdfast_drill_rto_target_seconds", GAUGE, "Declared: how long a restore may take."),
        Metric("holdfast_drill_rpo_target_seconds", GAUGE, "Declared: how old the data may be."),
        Metric("holdfast_drill_max_age_seconds", GAUGE, "Declared: the longest time between two drills."),
        Metric("holdfast_drill_checks_failed", GAUGE, "What the last drill judged to be not as it should be."),
        Metric("holdfast_drill_compared", GAUGE, "Facts of the fingerprint that the last drill compared."),
        Metric("holdfast_drill_differences", GAUGE, "Of these, those that differed."),
    ),
    "maintenance": (
        Metric("holdfast_maintenance_last_run_timestamp_seconds", GAUGE, "When the part's last scheduled run ended."),
        Metric("holdfast_maintenance_last_run_success", GAUGE, "Whether every task of it told what it found."),
        Metric("holdfast_maintenance_last_success_timestamp_seconds", GAUGE, "When such a run last ended."),
        Metric("holdfast_maintenance_duration_seconds", GAUGE, "How long the part's last scheduled run took."),
        Metric("holdfast_maintenance_max_age_seconds", GAUGE, "Declared: the longest time between two runs."),
        Metric("holdfast_maintenance_findings", GAUGE, "What a task found when it last looked, by severity."),
        Metric("holdfast_maintenance_task_success", GAUGE, "Whether a task told what it found (1) or failed (0)."),
    ),
    "health": (
        Metric("holdfast_health_status", GAUGE, "What is believed of a health check: 0 pass, 1 warning, 2 failure."),
        Metric("holdfast_health_observed_status", GAUGE, "What its last run saw: 0 pass, 1 warning, 2 failure."),
        Metric("holdfast_health_duration_seconds", GAUGE, "How long its last run took."),
        Metric("holdfast_health_last_run_timestamp_seconds", GAUGE, "When its last run ended."),
        Metric("holdfast_health_valid_until_timestamp_seconds", GAUGE, "When its last run is too old to count."),
        Metric("holdfast_health_measurement", GAUGE, "What it measured, in the unit that the label says."),
    ),
}
"""All metrics by verb. A name stands under one verb only."""

Labels = tuple[tuple[str, str], ...]

_SAMPLE = re.compile(r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)\Z")
_LABEL = re.compile(r'(?P<name>[a-zA-Z_][a-zA-Z0-9_]*)="(?P<value>(?:[^"\\]|\\.)*)",?')


class Textfile:
    """The metrics of one verb on one component, as they stand on disk and as they shall stand.

    Args:
        directory: of the textfile collector; it must exist.
        component: labels every series; None for what is told of the whole host, in one file.
        label: what the component is called there: not every verb is about a component.
    """

    def __init__(self, directory: str, verb: str, component: str | None, label: str = "component") -> None:
        name = f"holdfast_{verb}" if component is None else f"holdfast_{verb}_{safe_name(component)}"
        self.path = os.path.join(directory, f"{name}.prom")
        self._metrics = METRICS[verb]
        self._common = {} if component is None else {label: component}
        self._samples: dict[tuple[str, Labels], float] = {}
        self._read()

    def set(self, name: str, value: float | None, **labels: str) -> None:
        """Set one series; None leaves what stands there."""
        if value is not None:
            self._samples[name, self._labels(labels)] = float(value)

    def add(self, name: str, amount: float = 1.0, **labels: str) -> None:
        """Count up one series."""
        key = (name, self._labels(labels))
        self._samples[key] = self._samples.get(key, 0.0) + amount

    def forget(self, *names: str) -> None:
        """Drop all series of some metrics, so that what no longer exists is no longer told."""
        self._samples = {key: value for key, value in self._samples.items() if key[0] not in names}

    @property
    def samples(self) -> Mapping[tuple[str, Labels], float]:
        """All series by name and labels."""
        return self._samples

    def _labels(self, labels: Mapping[str, str]) -> Labels:
        return tuple(sorted({**self._common, **labels}.items()))

    def _read(self) -> None:
        """Take over what an earlier run wrote; a damaged line tells nothing."""
        known = {metric.name for metric in self._metrics}
        try:
            with open(self.path, encoding="utf-8") as stream:
                lines = stream.read().split("\n")  # not splitlines: a label may hold other separators
        except (FileNotFoundError, UnicodeDecodeError):
            return
        for line in lines:
            match = _SAMPLE.match(line)
            if match is None or match["name"] not in known:
                continue
            labels = tuple(sorted((m["name"], _unescape(m["value"])) for m in _LABEL.finditer(match["labels"] or "")))
            with contextlib.suppress(ValueError):
                self._samples[match["name"], labels] = float(match["value"])

    def text(self) -> str:
        """The file in the Prometheus text format."""
        out = []
        for metric in self._metrics:
            series = sorted((labels, value) for (name, labels), value in self._samples.items() if name == metric.name)
            if series:
                out.append(f"# HELP {metric.name} {metric.help}\n# TYPE {metric.name} {metric.kind}\n")
            for labels, value in series:
                inner = ",".join(f'{name}="{_escape(text)}"' for name, text in labels)
                out.append(f"{metric.name}{{{inner}}} {_number(value)}\n")
        return "".join(out)

    def write(self) -> None:
        """Replace the file at once: the collector never meets half of one.

        Raises:
            OSError: it cannot be written.
        """
        # Not *.prom, or the collector would read it while it is written; and the exporter is another user.
        replace_file(self.path, self.text(), 0o644, suffix=".tmp")


def read_samples(directory: str, verb: str, component: str, name: str) -> list[float]:
    """The values of one metric in the file of a verb and component; none where there is no such file."""
    file = Textfile(directory, verb, component)
    return [value for (metric, _labels), value in file.samples.items() if metric == name]


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: "\n" if match[1] == "n" else match[1], text)


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(round(value, 6))


def record_component(
    directory: str | None,
    component: str,
    *,
    engine: str,
    rpo_seconds: float | None = None,
    rto_seconds: float | None = None,
    max_duration_seconds: float | None = None,
) -> str | None:
    """What was declared, so that a component that has never reported is an alert, and rules hold no numbers."""

    def fill(file: Textfile) -> None:
        file.forget(*(metric.name for metric in METRICS["component"]))
        file.set("holdfast_component_info", 1, engine=engine)
        file.set("holdfast_backup_rpo_seconds", rpo_seconds)
        file.set("holdfast_backup_rto_seconds", rto_seconds)
        file.set("holdfast_backup_max_duration_seconds", max_duration_seconds)

    return _record(directory, "component", component, fill)


def record_backup_started(directory: str | None, component: str, *, started: float) -> str | None:
    """A backup begins (epoch seconds). A run that is killed leaves `in_progress` at 1, which an alert sees."""

    def fill(file: Textfile) -> None:
        file.set("holdfast_backup_last_start_timestamp_seconds", started)
        file.set("holdfast_backup_in_progress", 1)

    return _record(directory, "backup", component, fill)


@dataclass(frozen=True)
class RepositoryState:
    """A repository after a backup: whether it holds this backup, and its room in bytes where it has a limit."""

    name: str
    committed: bool
    free_bytes: int | None = None
    size_bytes: int | None = None


def record_backup(
    directory: str | None,
    component: str,
    *,
    outcome: str,
    started: float,
    seconds: float,
    snapshot_at: float | None = None,
    size: int | None = None,
    source_size: int | None = None,
    repositories: Sequence[RepositoryState] = (),
) -> str | None:
    """A backup has ended.

    Args:
        outcome: `success`, `degraded` (some repositories lack it: not a success) or `failure`.
        started, snapshot_at: epoch seconds.
        seconds: it took.
        size, source_size: bytes stored in one repository, and read; None when nothing was committed.
        repositories: all that the component has.
    """

    def fill(file: Textfile) -> None:
        _fill_run(file, "backup", outcome, started, seconds)
        file.set("holdfast_backup_in_progress", 0)
        file.set("holdfast_backup_last_snapshot_timestamp_seconds", snapshot_at)
        file.set("holdfast_backup_last_size_bytes", size)
        file.set("holdfast_backup_last_source_size_bytes", source_size)
        file.forget("holdfast_backup_repository_last_run_success")
        for each in repositories:
            labels = {"repository": each.name}
            file.set("holdfast_backup_repository_last_run_success", each.committed, **labels)
            if each.committed:
                file.set("holdfast_backup_repository_last_success_timestamp_seconds", started + seconds, **labels)
            file.set("holdfast_backup_repository_free_bytes", each.free_bytes, **labels)
            file.set("holdfast_backup_repository_size_bytes", each.size_bytes, **labels)

    return _record(directory, "backup", component, fill)


@dataclass(frozen=True)
class LevelResult:
    """One level of one verification in one repository."""

    repository: str
    level: str
    ok: bool


def record_verify(
    directory: str | None,
    component: str,
    *,
    outcome: str,
    started: float,
    seconds: float,
    levels: Iterable[LevelResult] = (),
    restore_seconds: float | None = None,
    data_age_seconds: float | None = None,
) -> str | None:
    """A verification has ended. Several results of one level in one repository count as one: all ok or not."""
    together: dict[tuple[str, str], bool] = {}
    for each in levels:
        together[each.repository, each.level] = together.get((each.repository, each.level), True) and each.ok

    def fill(file: Textfile) -> None:
        _fill_run(file, "verify", outcome, started, seconds)
        for (repository, level), ok in together.items():
            labels = {"repository": repository, "level": level}
            file.set("holdfast_backup_verify_level_last_run_success", ok, **labels)
            if ok:
                file.set("holdfast_backup_verify_level_last_success_timestamp_seconds", started + seconds, **labels)
        file.set("holdfast_backup_verify_restore_seconds", restore_seconds)
        file.set("holdfast_backup_verify_data_age_seconds", data_age_seconds)

    return _record(directory, "verify", component, fill)


@dataclass(frozen=True)
class PruneState:
    """A repository after a prune: backups left, those of them that are verified, what was deleted."""

    repository: str
    snapshots: int
    verified: int
    deleted: int = 0
    freed_bytes: int = 0


def record_prune(
    directory: str | None,
    component: str,
    *,
    outcome: str,
    started: float,
    seconds: float,
    minimum_verified: int,
    repositories: Sequence[PruneState] = (),
) -> str | None:
    """A prune has ended."""

    def fill(file: Textfile) -> None:
        _fill_run(file, "prune", outcome, started, seconds)
        file.set("holdfast_backup_snapshots_min", minimum_verified)
        for each in repositories:
            labels = {"repository": each.repository}
            file.set("holdfast_backup_snapshots", each.snapshots, **labels)
            file.set("holdfast_backup_snapshots_verified", each.verified, **labels)
            file.set("holdfast_backup_prune_last_deleted_backups", each.deleted, **labels)
            file.set("holdfast_backup_prune_last_freed_bytes", each.freed_bytes, **labels)

    return _record(directory, "prune", component, fill)


def record_copy(
    directory: str | None,
    component: str,
    *,
    outcome: str,
    started: float,
    seconds: float,
    destination: str,
    sent_bytes: int = 0,
) -> str | None:
    """A copy to the repository `destination` has ended."""

    def fill(file: Textfile) -> None:
        _fill_run(file, "copy", outcome, started, seconds, repository=destination)
        file.set("holdfast_backup_copy_last_sent_bytes", sent_bytes, repository=destination)

    return _record(directory, "copy", component, fill)


def record_drill(
    directory: str | None,
    component: str,
    *,
    outcome: str,
    started: float,
    seconds: float,
    measured: Mapping[str, float | None],
) -> str | None:
    """A drill has ended. `measured`: the rest of its metrics by name without `holdfast_drill_`."""

    def fill(file: Textfile) -> None:
        _fill_run(file, "drill", outcome, started, seconds)
        for name, value in measured.items():
            file.set(f"holdfast_drill_{name}", value)

    return _record(directory, "drill", component, fill)


def _fill_run(file: Textfile, verb: str, outcome: str, started: float, seconds: float, **labels: str) -> None:
    prefix = PREFIXES[verb]
    file.set(f"{prefix}_last_start_timestamp_seconds", started, **labels)
    file.set(f"{prefix}_last_run_success", outcome == SUCCESS, **labels)
    file.set(f"{prefix}_last_duration_seconds", seconds, **labels)
    if outcome == SUCCESS:
        file.set(f"{prefix}_last_success_timestamp_seconds", started + seconds, **labels)
    for result in (SUCCESS, DEGRADED, FAILURE):  # all from the start at 0, so that the first failure is an increase
        file.add(f"{prefix}_runs_total", result == outcome, result=result, **labels)


def _record(directory: str | None, verb: str, component: str, fill: Callable[[Textfile], None]) -> str | None:
    if not directory:
        return None
    try:
        file = Textfile(directory, verb, component)
        fill(file)
        file.write()
    except OSError as error:
        return f"The metrics of {component} could not be written to {directory}: {error.strerror}."
    return None
