# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be declared of maintenance, what is refused with which words, and what a run is then about."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._declaration._report import InvalidDeclaration
from ansible_collections.holdfast.ops.plugins.module_utils._errors import InvalidOption, Refused
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance import _parse, _registry
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._interface import PARTS
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._parse import parse_maintenance
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._select import Wanted, select
from ansible_collections.holdfast.ops.plugins.module_utils._schedules._parse import parse_schedule
from ansible_collections.holdfast.ops.plugins.module_utils._schedules._write import crontab
from ansible_collections.holdfast.ops.tests.support.maintenance_kinds import KINDS


@pytest.fixture(autouse=True)
def kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, kind in KINDS.items():
        monkeypatch.setitem(_registry.KINDS, name, kind)


def report(name: str = "look", **more: Any) -> dict[str, Any]:
    return {"name": name, "kind": "old_files_report", "directory": "/srv", **more}


def action(name: str = "sweep", **more: Any) -> dict[str, Any]:
    return {"name": name, "kind": "old_files_removal", "directory": "/srv", **more}


def problems(*tasks: Any, **variables: Any) -> tuple[str, ...]:
    with pytest.raises(InvalidDeclaration) as caught:
        parse_maintenance(list(tasks), **variables)
    return caught.value.problems


def test_a_report_runs_daily_and_an_action_when_somebody_said_so() -> None:
    found = parse_maintenance([report(), action(), action("weekly", every="weekly"), report("rare", every="never")])
    assert [task.every for task in found.tasks] == ["daily", "never", "weekly", "never"]
    assert found.due == {"daily": "06:30", "weekly": "Sun 05:30"}


def test_options_are_as_a_module_has_them() -> None:
    (task,) = parse_maintenance([report(least="2M")]).tasks
    assert task.options == {
        "directory": "/srv", "suffix": ".old", "least": 2 * 1024**2, "password": None, "password_file": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ({"name": "x", "kind": "old_file_report"}, "x: kind: there is no such kind, did you mean old_files_report?"),
        ({"name": "x"}, "x: kind: is required"),
        ({"kind": "stuck_report"}, "holdfast_maintenance: [0].name: is required"),
        (report("x", sufix=".bak"), "x: sufix: unknown key, did you mean suffix?"),
        (report("x", suffix="bak"), "x: suffix: must begin with a dot"),
        (report("x", every="dayly"), "x: every: is none of its choices, did you mean daily?"),
        (report("x", backup=["db"]), "x: backup: is for actions, and old_files_report is a report"),
        (action("x", backup=["dbs"]), "x: backup[0]: no such component is declared, did you mean db?"),
        (action("all"), "all: name: must not be all"),
        (report("x", password="a", password_file="/b"), "x: password and password_file exclude each other"),
        ("x", "holdfast_maintenance: [0]: must be a mapping"),
    ],
)
def test_what_cannot_be_right_is_refused_naming_task_and_key(task: Any, said: str) -> None:
    (line,) = problems(task, components={"db"})
    assert said in line


def test_all_problems_are_told_at_once_and_no_value() -> None:
    lines = problems(
        report("one", suffix="hush"), report("two", every="hush"), schedules={"dayly": "hush"}, tell="hush"
    )
    assert len(lines) == 4
    assert "hush" not in "".join(lines)


def test_without_knowing_the_components_they_are_not_judged() -> None:
    assert parse_maintenance([action(backup=["db", "db"])]).tasks[0].backup == ("db",)


@pytest.mark.parametrize("part", PARTS)
def test_default_schedules_can_be_said_by_timers_and_by_cron(part: str) -> None:
    schedule = parse_schedule(_parse.DEFAULT_SCHEDULES[part])
    assert len(crontab(schedule, "UTC", "UTC")) == 1


def test_schedules_and_telling_are_declared() -> None:
    found = parse_maintenance([report()], {"daily": "never", "weekly": "Mon 01:00"}, "warning")
    assert found.due == {}
    assert (found.schedules["weekly"], found.tell) == ("Mon 01:00", "warning")
    (line,) = problems(schedules={"daily": "25:00"})
    assert line.startswith("holdfast_maintenance_schedules: daily: is not a schedule")


# -- what a run is about ----------------------------------------------------------------------------------------------

TASKS = [report(), report("rare", every="weekly"), action(), action("due", every="weekly")]


@pytest.mark.parametrize(
    ("wanted", "chosen", "acting"),
    [
        (Wanted(), "look rare sweep due", ""),
        (Wanted("weekly"), "rare due", ""),
        (Wanted("weekly", scheduled=True), "rare due", "due"),
        (Wanted("daily", scheduled=True), "look", ""),
        (Wanted("monthly", scheduled=True), "", ""),
        (Wanted(names=["rare", "sweep"]), "rare sweep", ""),
        (Wanted(apply=["sweep"]), "sweep", "sweep"),
        (Wanted("weekly", apply=["sweep"]), "rare sweep due", "sweep"),
        (Wanted(names=["look"], apply=["due"]), "look due", "due"),
        (Wanted(names=["there"], apply=["over_there"]), "", ""),
    ],
)
def test_an_action_acts_only_when_it_was_named_or_its_own_schedule_runs_it(
    wanted: Wanted, chosen: str, acting: str
) -> None:
    found = select(parse_maintenance(TASKS).tasks, wanted, ["there", "over_there"])
    assert [task.name for task in found.tasks] == chosen.split()
    assert found.acting == frozenset(acting.split())


@pytest.mark.parametrize(
    ("apply", "said"),
    [
        ("all", "nothing acts on all; name each action; actions: due, sweep"),
        ("sweap", "no such action is declared, did you mean sweep?"),
        ("nonsense", "no such action is declared; actions: due, sweep"),
        ("look", "look is a report, which changes nothing; actions: due, sweep"),
    ],
)
def test_what_is_no_single_action_is_refused_naming_the_nearest(apply: str, said: str) -> None:
    with pytest.raises(Refused) as caught:
        select(parse_maintenance(TASKS).tasks, Wanted(apply=["due", apply]))
    assert str(caught.value) == f"Nothing was touched: {said}"


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(InvalidOption, match="did you mean rare"):
        select(parse_maintenance(TASKS).tasks, Wanted(names=["rar"]))
