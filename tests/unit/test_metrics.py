# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Textfile metrics: what a collector would read from them, told by Prometheus' own parser."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from pathlib import Path

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils import _metrics
from ansible_collections.holdfast.ops.plugins.module_utils._metrics import (
    METRICS,
    LevelResult,
    PruneState,
    RepositoryState,
)
from prometheus_client.parser import text_string_to_metric_families

START = 1_780_000_000.25


def samples(directory: Path) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every series of every file, as the collector merges them; a series that stands twice is an error."""
    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    helps: dict[str, str] = {}
    for path in sorted(directory.glob("*.prom")):
        for family in text_string_to_metric_families(path.read_text()):
            assert helps.setdefault(family.name, family.documentation) == family.documentation
            for sample in family.samples:
                assert sample.timestamp is None
                key = (sample.name, frozenset(sample.labels.items()))
                assert key not in found, f"{key} stands in two files"
                found[key] = sample.value
    return found


def value(directory: Path, name: str, **labels: str) -> float:
    return samples(directory)[name, frozenset({"component": "shop", **labels}.items())]


def absent(directory: Path, name: str) -> bool:
    return all(key[0] != name for key in samples(directory))


def record_all(directory: Path, component: str = "shop") -> None:
    """Every verb once."""
    text = str(directory)
    assert _metrics.record_component(text, component, engine="postgresql", rpo_seconds=86400, rto_seconds=1800) is None
    assert _metrics.record_backup_started(text, component, started=START) is None
    states = [RepositoryState("primary", True, 10**12, 4 * 10**12), RepositoryState("offsite", False)]
    assert (
        _metrics.record_backup(
            text,
            component,
            outcome="degraded",
            started=START,
            seconds=12.5,
            snapshot_at=START + 1,
            size=1000,
            source_size=3000,
            repositories=states,
        )
        is None
    )
    levels = [LevelResult("primary", "stat", True), LevelResult("primary", "checksum", False)]
    assert _metrics.record_verify(text, component, outcome="failure", started=START, seconds=2, levels=levels) is None
    state = PruneState("primary", 12, 9, 2, 4096)
    assert (
        _metrics.record_prune(
            text, component, outcome="success", started=START, seconds=3, minimum_verified=3, repositories=[state]
        )
        is None
    )
    assert (
        _metrics.record_copy(
            text, component, outcome="success", started=START, seconds=4, destination="offsite", sent_bytes=7
        )
        is None
    )
    measured = {
        metric.name[len("holdfast_drill_") :]: 5.0
        for metric in METRICS["drill"]
        if metric.name not in {each.name for each in _metrics._run_metrics("holdfast_drill", "drill")}
    }
    assert (
        _metrics.record_drill(text, component, outcome="success", started=START, seconds=5, measured=measured) is None
    )


def test_every_metric_belongs_to_one_verb() -> None:
    names = Counter(metric.name for metrics in METRICS.values() for metric in metrics)
    assert [name for name, count in names.items() if count > 1] == []


def test_names_are_those_that_the_docs_list() -> None:
    documented = Path(__file__, "../../../docs/metrics.md").resolve().read_text()
    in_docs = set(re.findall(r"^\| `(holdfast_\w+)`", documented, re.MULTILINE))
    assert in_docs == {metric.name for metrics in METRICS.values() for metric in metrics}


def test_all_files_together_are_one_valid_exposition(tmp_path: Path) -> None:
    record_all(tmp_path)
    record_all(tmp_path, "other component")
    assert value(tmp_path, "holdfast_backup_rpo_seconds") == 86400
    assert value(tmp_path, "holdfast_backup_last_run_success") == 0
    assert value(tmp_path, "holdfast_backup_last_size_bytes") == 1000
    assert value(tmp_path, "holdfast_backup_in_progress") == 0
    assert value(tmp_path, "holdfast_backup_repository_last_run_success", repository="primary") == 1
    assert value(tmp_path, "holdfast_backup_repository_last_run_success", repository="offsite") == 0
    assert value(tmp_path, "holdfast_backup_verify_level_last_run_success", repository="primary", level="checksum") == 0
    assert value(tmp_path, "holdfast_backup_snapshots", repository="primary") == 12
    assert value(tmp_path, "holdfast_backup_copy_last_run_success", repository="offsite") == 1
    assert samples(tmp_path)["holdfast_component_info", frozenset({("component", "shop"), ("engine", "postgresql")})]
    assert all("job" not in dict(labels) for _name, labels in samples(tmp_path))


def test_the_last_success_survives_failures(tmp_path: Path) -> None:
    for number, outcome in enumerate(["success", "failure", "failure"]):
        assert (
            _metrics.record_backup(
                str(tmp_path),
                "shop",
                outcome=outcome,
                started=START + 100 * number,
                seconds=10,
                snapshot_at=START + 1 if outcome == "success" else None,
                size=5 if outcome == "success" else None,
                repositories=[RepositoryState("primary", outcome == "success")],
            )
            is None
        )
    assert value(tmp_path, "holdfast_backup_last_success_timestamp_seconds") == START + 10
    assert value(tmp_path, "holdfast_backup_last_snapshot_timestamp_seconds") == START + 1
    assert value(tmp_path, "holdfast_backup_last_size_bytes") == 5
    assert value(tmp_path, "holdfast_backup_last_start_timestamp_seconds") == START + 200
    assert value(tmp_path, "holdfast_backup_last_run_success") == 0
    assert value(tmp_path, "holdfast_backup_runs_total", result="failure") == 2
    assert value(tmp_path, "holdfast_backup_runs_total", result="success") == 1
    assert value(tmp_path, "holdfast_backup_runs_total", result="degraded") == 0
    last = "holdfast_backup_repository_last_success_timestamp_seconds"
    assert value(tmp_path, last, repository="primary") == START + 10


def test_a_component_that_never_succeeded_claims_no_success(tmp_path: Path) -> None:
    _metrics.record_backup(str(tmp_path), "shop", outcome="failure", started=START, seconds=1)
    assert absent(tmp_path, "holdfast_backup_last_success_timestamp_seconds")


def test_a_killed_run_stays_in_progress(tmp_path: Path) -> None:
    _metrics.record_backup(str(tmp_path), "shop", outcome="success", started=START, seconds=1)
    _metrics.record_backup_started(str(tmp_path), "shop", started=START + 50)
    assert value(tmp_path, "holdfast_backup_in_progress") == 1
    assert value(tmp_path, "holdfast_backup_last_start_timestamp_seconds") == START + 50
    assert value(tmp_path, "holdfast_backup_last_run_success") == 1


def test_one_failure_of_a_level_outweighs_the_successes(tmp_path: Path) -> None:
    levels = [LevelResult("a", "stat", ok) for ok in (True, False, True)]
    _metrics.record_verify(str(tmp_path), "shop", outcome="failure", started=START, seconds=1, levels=levels)
    assert value(tmp_path, "holdfast_backup_verify_level_last_run_success", repository="a", level="stat") == 0


@pytest.mark.parametrize("name", ['quo"te', "back\\slash", "new\nline", "säule", "-leading", 'a",b="c', "x\\n"])
def test_any_label_value_is_read_back_as_it_was(tmp_path: Path, name: str) -> None:
    for _run in range(2):  # the second run reads the first one's file
        _metrics.record_backup(
            str(tmp_path),
            "shop",
            outcome="success",
            started=START,
            seconds=1,
            repositories=[RepositoryState(name, True)],
        )
    last = "holdfast_backup_repository_last_success_timestamp_seconds"
    assert [dict(labels)["repository"] for key, labels in samples(tmp_path) if key == last] == [name]


def test_a_damaged_file_costs_only_what_it_said(tmp_path: Path) -> None:
    _metrics.record_backup(str(tmp_path), "shop", outcome="success", started=START, seconds=1)
    (path,) = tmp_path.glob("*.prom")
    path.write_bytes(b"\xff\x00garbage{ 1\nholdfast_backup_last_run_success")
    _metrics.record_backup(str(tmp_path), "shop", outcome="failure", started=START + 1, seconds=1)
    assert value(tmp_path, "holdfast_backup_last_run_success") == 0


def test_the_exporter_can_read_it_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        record_all(tmp_path)
    finally:
        os.umask(before)
    assert all(path.suffix == ".prom" for path in tmp_path.iterdir())
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o644}


def test_a_directory_that_is_not_there_is_a_warning(tmp_path: Path) -> None:
    warning = _metrics.record_backup(str(tmp_path / "no"), "shop", outcome="success", started=START, seconds=1)
    assert warning is not None and "No such file" in warning
    assert not (tmp_path / "no").exists()


def test_without_a_directory_nothing_is_written() -> None:
    assert _metrics.record_backup(None, "shop", outcome="success", started=START, seconds=1) is None


def test_names_follow_the_conventions() -> None:
    """What `promtool check metrics` would say, for machines that have none."""
    for metric in (each for metrics in METRICS.values() for each in metrics):
        assert re.fullmatch(r"holdfast_[a-z_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert not metric.name.endswith(("_count", "_sum", "_bucket", "_ms", "_milliseconds", "_kb", "_minutes"))
        assert metric.help.endswith(".") and "\n" not in metric.help and "\\" not in metric.help
