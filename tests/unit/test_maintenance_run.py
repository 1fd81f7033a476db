# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks side by side and acts one after the other: what fails, is late, or must not act stops no other."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._deadline import Deadline
from ansible_collections.holdfast.ops.plugins.module_utils._errors import Interrupted
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance import _registry
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._parse import parse_maintenance
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._run import Plan, run_plan
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._run_model import Run, TaskResult
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._section import Column, Finding, Section, Table
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._select import Wanted, select
from ansible_collections.holdfast.ops.plugins.module_utils._progress import Progress
from ansible_collections.holdfast.ops.tests.support.maintenance_kinds import KINDS, OldFiles, RemoveFiles, Stuck

LOOK = "old_files_report"
REMOVE = "old_files_removal"


@pytest.fixture(autouse=True)
def kinds(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, kind in KINDS.items():
        monkeypatch.setitem(_registry.KINDS, name, kind)
    Stuck.released.clear()
    yield
    Stuck.released.set()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name in ("a.old", "b.old", "c.new"):
        (tmp_path / name).write_text("x")
    return tmp_path


def task(name: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "kind": kind, **more}


def run(*tasks: dict[str, Any], apply: tuple[str, ...] = (), **plan: Any) -> Run:
    names = () if not apply else [each["name"] for each in tasks]
    selection = select(parse_maintenance(list(tasks)).tasks, Wanted(names=names, apply=apply))
    return run_plan(Plan(selection, "here", **plan)).run


def by_name(done: Run) -> dict[str, TaskResult]:
    return {each.name: each for each in done.tasks}


def remaining(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_what_is_late_or_broken_keeps_no_other_from_being_looked_at(directory: Path) -> None:
    began = time.monotonic()
    done = run(
        task("stuck", "stuck_report"),
        task("broken", "broken_report"),
        task("odd", "broken_report", how="tells what no report can hold"),
        task("gone", LOOK, directory=str(directory / "gone"), password="hush-hush"),
        task("files", LOOK, directory=str(directory)),
        look_seconds=5,  # as long as the others may need on a busy machine
    )
    assert time.monotonic() - began < 30, "it was waited for what is stuck"
    assert [each.name for each in done.tasks] == ["stuck", "broken", "odd", "gone", "files"]
    found = by_name(done)
    codes = {name: each.failure.code for name, each in found.items() if each.failure}
    assert codes == {"stuck": "timeout", "broken": "internal_error", "odd": "internal_error", "gone": "not_found"}
    section = found["files"].section
    assert section is not None
    assert [finding.subject for finding in section.findings] == ["a.old", "b.old"]
    assert done.severity == "critical"
    # Where a defect is, so that it can be mended; and no secret.
    broken, gone = found["broken"].failure, found["gone"].failure
    assert broken and gone
    assert "ZeroDivisionError: by nothing (maintenance_kinds.py:" in broken.text
    assert "hush-hush" not in gone.text
    assert gone.advice == "Make it."


def test_a_secret_of_the_host_that_a_program_has_told_is_in_no_section(
    monkeypatch: pytest.MonkeyPatch, directory: Path
) -> None:
    said = "connect to db as app:Tr0ub4dor failed"

    def look(self: OldFiles, deadline: Deadline) -> Section:
        finding = Finding("said", "warning", f"It said: {said}", said, f"`{said}`")
        return Section("Said", said, [finding], [Table("said", "Said", [Column("line", "Line")], [{"line": said}])])

    monkeypatch.setattr(OldFiles, "look", look)
    done = run(task("files", LOOK, directory=str(directory)), secrets=["Tr0ub4dor", "app"])
    told = json.dumps(done.as_dict())
    assert "Tr0ub4dor" not in told
    assert told.count("connect to db as app:******** failed") == 5


def test_looks_are_side_by_side(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    together = threading.Barrier(6, timeout=30)
    look = OldFiles.look

    def meet(self: OldFiles, deadline: Deadline) -> Section:
        together.wait()  # breaks, and fails the task, unless all six are there at once
        return look(self, deadline)

    monkeypatch.setattr(OldFiles, "look", meet)
    done = run(*(task(f"t{number}", LOOK, directory=str(directory)) for number in range(6)))
    assert not done.failed


def test_without_being_named_nothing_acts(directory: Path) -> None:
    (one,) = run(task("sweep", REMOVE, directory=str(directory))).tasks
    assert one.section is not None
    assert (one.acted, one.section.changed, one.section.summary) == (False, True, "Would remove 2.")
    assert len(remaining(directory)) == 3


def test_what_is_named_acts_and_check_mode_only_says_what_it_would(directory: Path) -> None:
    sweep = task("sweep", REMOVE, directory=str(directory))
    (one,) = run(sweep, apply=("sweep",), check=True).tasks
    assert (one.acted, one.section and one.section.summary) == (False, "Would remove 2.")
    assert len(remaining(directory)) == 3
    (one,) = run(sweep, apply=("sweep",)).tasks
    assert (one.acted, one.section and one.section.summary) == (True, "Removed 2.")
    assert remaining(directory) == {"c.new"}


@pytest.mark.parametrize("check", [False, True])
def test_nothing_acts_after_a_backup_that_failed(directory: Path, check: bool) -> None:
    other = directory / "other"
    other.mkdir()
    (other / "z.old").write_text("x")
    done = run(
        task("first", REMOVE, directory=str(other)),
        task("wants", REMOVE, directory=str(directory), backup=["db"]),
        task("later", REMOVE, directory=str(directory)),
        task("look", LOOK, directory=str(directory)),
        apply=("first", "wants", "later"),
        failed_backups={"db": "the store is down."},
        check=check,
    )
    found = by_name(done)
    assert found["first"].section is not None, "what was declared before it is none of its business"
    assert (other / "z.old").exists() is check
    assert {"a.old", "b.old"} <= remaining(directory)
    for name in ("wants", "later"):
        failure = found[name].failure
        assert failure is not None
        assert failure.code == "refused"
        assert "the backup of db" in failure.text
        assert "the store is down." in failure.text
    assert found["look"].section is not None


def test_an_act_that_fails_stops_no_other(directory: Path) -> None:
    done = run(
        task("gone", REMOVE, directory=str(directory / "gone")),
        task("sweep", REMOVE, directory=str(directory)),
        apply=("gone", "sweep"),
    )
    assert [each.name for each in done.failed] == ["gone"]
    assert remaining(directory) == {"c.new"}


def test_a_run_that_is_stopped_tells_what_it_did_and_begins_nothing_more(
    monkeypatch: pytest.MonkeyPatch, directory: Path
) -> None:
    def stopped(self: RemoveFiles, progress: Progress) -> Section:
        raise Interrupted("Stopped by SIGTERM.")

    monkeypatch.setattr(RemoveFiles, "act", stopped)
    tasks = [task(name, REMOVE, directory=str(directory)) for name in ("one", "two")]
    selection = select(parse_maintenance(tasks).tasks, Wanted(apply=["one", "two"]))
    ran = run_plan(Plan(selection, "here"))
    assert str(ran.stopped) == "Stopped by SIGTERM."
    assert [each.failure and each.failure.code for each in ran.run.tasks] == ["interrupted", "refused"]
