# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs found, as metrics: one file for each part.

PRIVATE to the collection; may change without notice. The names are public: docs/metrics.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .._metrics import METRICS, Textfile
from ._interface import PARTS, Task
from ._run_model import Run, TaskResult
from ._section import SEVERITIES

_OF_TASKS = ("holdfast_maintenance_findings", "holdfast_maintenance_task_success")
_OF_RUNS = tuple(metric.name for metric in METRICS["maintenance"] if metric.name not in _OF_TASKS)


@dataclass(frozen=True)
class About:
    """What a run was, as far as metrics are concerned.

    Attributes:
        tasks: all that the host declares.
        scheduled: the part's own schedule ran it; what somebody runs by hand does not say that the schedule works.
        interval: the longest time in seconds between two scheduled runs, where there is such a schedule.
    """

    tasks: Sequence[Task]
    scheduled: bool = False
    interval: float | None = None


def write(directory: str, run: Run, about: About) -> None:
    """Write the files of the parts that the tasks of a run belong to.

    Raises:
        OSError: one cannot be written.
    """
    every = {task.name: task.every for task in about.tasks}
    for part in PARTS:
        results = [result for result in run.tasks if every.get(result.name) == part]
        of_run = run.part == part and about.scheduled
        if results or of_run:
            _write_part(directory, part, results, {name for name in every if every[name] == part}, run, about, of_run)


def _write_part(
    directory: str,
    part: str,
    results: Sequence[TaskResult],
    declared: set[str],
    run: Run,
    about: About,
    of_run: bool,
) -> None:
    file = Textfile(directory, "maintenance", part, label="part")
    kept = {key: value for key, value in file.samples.items() if dict(key[1]).get("task") in declared}
    file.forget(*_OF_TASKS)  # what is declared no more is told no more
    for (name, labels), value in kept.items():
        file.set(name, value, **{label: text for label, text in labels if label != "part"})
    for result in results:
        file.set("holdfast_maintenance_task_success", result.failure is None, task=result.name)
        if result.section is not None:
            found = [finding.severity for finding in result.section.findings]
            for severity in SEVERITIES:
                file.set("holdfast_maintenance_findings", found.count(severity), task=result.name, severity=severity)
    if of_run:
        ended = run.started.timestamp() + run.seconds
        file.forget(*(name for name in _OF_RUNS if name != "holdfast_maintenance_last_success_timestamp_seconds"))
        file.set("holdfast_maintenance_last_run_timestamp_seconds", ended)
        file.set("holdfast_maintenance_last_run_success", not run.failed)
        file.set("holdfast_maintenance_duration_seconds", run.seconds)
        file.set("holdfast_maintenance_max_age_seconds", about.interval)
        if not run.failed:
            file.set("holdfast_maintenance_last_success_timestamp_seconds", ended)
    file.write()
