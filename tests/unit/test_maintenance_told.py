# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a run is told: lines for a terminal, metrics, the line of the jobs' log, and what people are notified of."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._host import _findings
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance import _textfile
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._interface import Task
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._lines import MOST_FINDINGS, lines_of
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._run_model import Failure, Run, TaskResult
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._section import Finding, Section
from ansible_collections.holdfast.ops.plugins.plugin_utils._job_lines import result_line
from prometheus_client.parser import text_string_to_metric_families

START = datetime(2026, 11, 22, 6, 30, tzinfo=timezone.utc)


def told(name: str, *severities: str, acted: bool = False, changed: bool = False) -> TaskResult:
    findings = [Finding("x", each, f"{name} is {each}.", name, f"Mend {name}.") for each in severities]
    return TaskResult(name, "k", 0.1, Section(name, f"Summary of {name}.", findings, changed=changed), acted=acted)


def failed(name: str) -> TaskResult:
    return TaskResult(name, "k", 0.1, failure=Failure("timeout", "No answer.\nNot one.", "Look at it."))


def run(*tasks: TaskResult, part: str = "daily") -> Run:
    return Run("db1", part, START, 2.5, tasks)


# -- lines ------------------------------------------------------------------------------------------------------------


def test_what_is_wrong_comes_first_and_the_worst_of_it_first() -> None:
    tasks = (told("a", "info", "critical"), failed("b"), told("c", "warning"), told("d", acted=True, changed=True))
    assert lines_of(run(*tasks), "/r.html") == [
        "Daily maintenance of db1: 1 failed task, 1 critical finding, 1 warning and 1 note, in 2.5 s.",
        "  FAILED    b: No answer.",
        "            Not one.",
        "            -> Look at it.",
        "  CRITICAL  a: a is critical.",
        "            -> Mend a.",
        "  WARNING   c: c is warning.",
        "            -> Mend c.",
        "  note      a: a is info.",
        "            -> Mend a.",
        "  a  Summary of a.",
        "  c  Summary of c.",
        "  d  [changed] Summary of d.",
        "Report: /r.html",
    ]


def test_a_plan_says_how_it_is_carried_out() -> None:
    lines = lines_of(run(told("sweep", changed=True), told("nothing"), told("other", changed=True), part=""))
    assert lines[0] == "Maintenance by hand of db1: Nothing to report, in 2.5 s."
    assert "  sweep    [would change] Summary of sweep." in lines
    assert lines[-2].endswith("holdfast maintenance --apply sweep,other")


def test_very_many_findings_are_counted() -> None:
    lines = lines_of(run(told("a", *["warning"] * (MOST_FINDINGS + 3))))
    assert sum(line.startswith("  WARNING") for line in lines) == MOST_FINDINGS
    assert "  … and 3 findings more, none of them worse." in lines


# -- metrics ----------------------------------------------------------------------------------------------------------

TASKS = [Task(name, "k", every, (), {}) for name, every in (("a", "daily"), ("b", "daily"), ("c", "weekly"))]


def samples(directory: Path) -> dict[str, float]:
    found = {}
    for path in directory.glob("*.prom"):
        for family in text_string_to_metric_families(path.read_text()):
            for sample in family.samples:
                name = sample.name[len("holdfast_maintenance_") :]
                labels = ",".join(f"{key}={sample.labels[key]}" for key in sorted(sample.labels))
                found[f"{name} {labels}"] = sample.value
    return found


def test_a_scheduled_run_tells_of_its_schedule(tmp_path: Path) -> None:
    about = _textfile.About(TASKS, scheduled=True, interval=86400)
    _textfile.write(str(tmp_path), run(told("a", "critical", "critical"), told("b")), about)
    found = samples(tmp_path)
    assert found["last_run_success part=daily"] == 1
    assert found["last_success_timestamp_seconds part=daily"] == START.timestamp() + 2.5
    assert (found["duration_seconds part=daily"], found["max_age_seconds part=daily"]) == (2.5, 86400)
    assert found["findings part=daily,severity=critical,task=a"] == 2
    assert found["findings part=daily,severity=warning,task=a"] == 0

    _textfile.write(str(tmp_path), run(told("a"), failed("b")), about)
    found = samples(tmp_path)
    assert (found["last_run_success part=daily"], found["task_success part=daily,task=b"]) == (0, 0)
    assert found["last_success_timestamp_seconds part=daily"] == START.timestamp() + 2.5, "of the run before"
    assert found["findings part=daily,severity=critical,task=a"] == 0


def test_by_hand_only_what_was_looked_at_is_told_anew(tmp_path: Path) -> None:
    about = _textfile.About(TASKS, scheduled=True, interval=86400)
    _textfile.write(str(tmp_path), run(told("a", "critical"), told("b", "critical")), about)
    before = samples(tmp_path)
    _textfile.write(str(tmp_path), run(told("a"), told("c", "warning"), part=""), _textfile.About(TASKS))
    found = samples(tmp_path)
    assert found["findings part=daily,severity=critical,task=a"] == 0
    assert found["findings part=daily,severity=critical,task=b"] == 1
    assert found["findings part=weekly,severity=warning,task=c"] == 1
    kept = "last_run_timestamp_seconds part=daily"
    assert found[kept] == before[kept]
    assert "last_run_timestamp_seconds part=weekly" not in found


def test_what_is_declared_no_more_is_told_no_more(tmp_path: Path) -> None:
    _textfile.write(str(tmp_path), run(told("a"), told("b", "critical")), _textfile.About(TASKS, scheduled=True))
    _textfile.write(str(tmp_path), run(told("a")), _textfile.About(TASKS[:1], scheduled=True))
    assert not [name for name in samples(tmp_path) if "task=b" in name]


# -- jobs -------------------------------------------------------------------------------------------------------------


def returned(*severities: str) -> dict[str, Any]:
    findings = [
        {"task": "db", "code": "x", "severity": each, "subject": "s", "text": f"It is {each}.", "advice": "Mend it."}
        for each in severities
    ]
    return {
        "changed": True,
        "msg": "said",
        "part": "daily",
        "findings": findings,
        "acted": ["sweep"],
        "files": {"json": "/r.json", "html": "/r.html"},
        "tasks": [{"section": {"tables": [{"rows": ["somebody's data"]}]}}],
        "invocation": {"module_args": {"declared": "hunter2!"}},
    }


def test_the_line_of_a_run_has_findings_and_no_tables() -> None:
    line = result_line("holdfast.ops.maintenance", {}, returned("critical"), "db1", failed=False)
    assert line is not None
    assert (line["verb"], line["part"], line["ok"], line["acted"]) == ("maintenance", "daily", True, ["sweep"])
    assert (line["report"], line["findings"][0]["severity"]) == ("/r.html", "critical")
    assert "somebody" not in json.dumps(line) and "hunter2" not in json.dumps(line)
    refused = {"failed": True, "msg": "no", "error_code": "refused"}
    line = result_line("holdfast.ops.maintenance", {}, refused, "db1", failed=True)
    assert line is not None
    assert (line["ok"], "findings" in line) == (False, False)


@pytest.mark.parametrize(
    ("tell", "found", "status", "severity"),
    [
        ("critical", ["critical", "warning"], "firing", "critical"),
        ("critical", ["warning"], "resolved", "critical"),
        ("warning", ["warning", "info"], "firing", "warning"),
        ("info", [], "resolved", "info"),
        ("never", ["critical"], None, None),
    ],
)
def test_findings_are_told_from_the_declared_severity_on(
    tell: str, found: list[str], status: str | None, severity: str | None
) -> None:
    line = result_line("holdfast.ops.maintenance", {}, returned(*found), "db1", failed=False)
    assert line is not None
    event = _findings.event_of(line, "daily", "db1", tell)
    assert (event and event.status, event and event.severity) == (status, severity)
    if event is not None:
        assert (event.key, event.source, event.component) == ("findings:daily", "maintenance", "")
    if status == "firing" and event is not None:
        assert event.summary == f"daily maintenance, db: It is {severity}"
        assert "-> Mend it." in event.details and "/r.html" in event.details
