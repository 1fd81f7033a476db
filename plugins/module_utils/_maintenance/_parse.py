# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From `holdfast_maintenance` and what belongs to it to tasks, or to all of its problems at once.

PRIVATE to the collection; may change without notice. No value is repeated in a problem: it may be a secret.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from .._declaration._elements import named_elements
from .._declaration._report import InvalidDeclaration, Report, suggestion
from .._declaration._spec import check as check_values
from .._declaration._spec import check_by_kind, what
from .._durations import parse_size
from .._schedules._model import NEVER as NO_SCHEDULE
from .._spec import Spec
from ._interface import DAILY, MONTHLY, NEVER, PARTS, WEEKLY, Task
from ._registry import KINDS
from ._section import CRITICAL, SEVERITIES

VARIABLE, SCHEDULES, TELL = "holdfast_maintenance", "holdfast_maintenance_schedules", "holdfast_maintenance_tell"

DEFAULT_SCHEDULES: Mapping[str, str] = {DAILY: "06:30", WEEKLY: "Sun 05:30", MONTHLY: "*-*-01 05:45"}
"""In the morning, after the night's backups: who comes to work finds what there is to do."""

TELLS = (*reversed(SEVERITIES), NEVER)
"""From which severity on the findings of a part are told to people; `never` tells nobody."""

ALL = "all"
"""What an operator might write for every task. No task is called so, and nothing acts on it."""

COMMON: Mapping[str, Mapping[str, Any]] = {
    "name": {"type": "name", "required": True},
    "kind": {"type": "str", "required": True},
    "every": {"type": "str", "choices": [*PARTS, NEVER]},
    "backup": {"type": "list", "elements": "name", "default": []},
}
"""The keys that every task has, whatever its kind."""


@dataclass(frozen=True)
class Maintenance:
    """What is declared of the maintenance of a host.

    Attributes:
        schedules: part → when it runs; every part has one.
        tell: one of TELLS.
    """

    tasks: tuple[Task, ...] = ()
    schedules: Mapping[str, str] = field(default_factory=lambda: dict(DEFAULT_SCHEDULES))
    tell: str = CRITICAL

    def of_part(self, part: str) -> tuple[Task, ...]:
        """The tasks of a part."""
        return tuple(task for task in self.tasks if task.every == part)

    @property
    def due(self) -> dict[str, str]:
        """Part → schedule of those that run by themselves: with a task in them, and a schedule other than `never`."""
        return {
            part: schedule
            for part, schedule in self.schedules.items()
            if self.of_part(part) and schedule != NO_SCHEDULE
        }


def parse_maintenance(
    tasks: Any, schedules: Any = None, tell: Any = None, components: Collection[str] | None = None
) -> Maintenance:
    """Check the variables of maintenance as a whole and fill in defaults; those that are not set are None.

    Args:
        components: names of the declared components; None when they cannot be judged here.

    Raises:
        InvalidDeclaration: with every problem, a line each.
    """
    lines: list[str] = []
    parsed = (
        _parse_task(values, place, components)
        for values, place in named_elements(tasks, VARIABLE, "maintenance task", lines)
    )
    found = Maintenance(
        tuple(task for task in parsed if task is not None),
        _parse_schedules(schedules, Report(lines, SCHEDULES)),
        _parse_tell(tell, Report(lines, TELL)),
    )
    if lines:
        raise InvalidDeclaration(lines)
    return found


def _parse_task(values: Mapping[Any, Any], report: Report, components: Collection[str] | None) -> Task | None:
    before = report.count
    given = check_by_kind(values, "kind", {name: kind.SPEC for name, kind in KINDS.items()}, COMMON, report)
    if report.count > before:
        return None
    kind = KINDS[given["kind"]]
    options = filled(kind.SPEC.options, given)
    backup = tuple(dict.fromkeys(given.get("backup", ())))
    if given["name"] == ALL:
        report.key("name").add(f"must not be {ALL}, which reads as if it meant every task")
    if backup and not kind.action:
        report.key("backup").add(f"is for actions, and {kind.name} is a report, which changes nothing")
    elif components is not None:
        for number, name in enumerate(backup):
            if name not in components:
                place = report.key("backup").index(number)
                place.add(f"no such component is declared{suggestion(name, components, 'declared')}")
    kind.examine(options, report)
    if report.count > before:
        return None
    return Task(str(given["name"]), kind.name, given.get("every", kind.every), backup, options)


def filled(options: Mapping[str, Mapping[str, Any]], given: Mapping[str, Any]) -> dict[str, Any]:
    """Options as a module has them: every one is there, with its default or None, and a size is a number of bytes."""
    return {name: _filled_one(option, given.get(name, option.get("default"))) for name, option in options.items()}


def _filled_one(option: Mapping[str, Any], value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_filled_one({**option, "type": option.get("elements", "raw")}, item) for item in value]
    if option.get("type") == "bytes" and value is not None:
        return parse_size(str(value))
    if option.get("options") and isinstance(value, Mapping):
        return filled(option["options"], value)
    return value


def _parse_schedules(value: Any, report: Report) -> dict[str, str]:
    if value is None:
        return dict(DEFAULT_SCHEDULES)
    if not isinstance(value, Mapping):
        report.add(f"must be a mapping of parts to schedules, and is {what(value)}")
        return dict(DEFAULT_SCHEDULES)
    return {**DEFAULT_SCHEDULES, **check_values(value, Spec({part: {"type": "schedule"} for part in PARTS}), report)}


def _parse_tell(value: Any, report: Report) -> str:
    if value is None:
        return CRITICAL
    if not isinstance(value, str):
        report.add(f"must be a string, and is {what(value)}")
    elif value not in TELLS:
        report.add(f"is none of its choices{suggestion(value, TELLS, 'choices')}")
    return str(value)


def secrets_of(task: Task) -> dict[str, str]:
    """The secrets among the options of a task, by option."""
    options = KINDS[task.kind].SPEC.options
    return {
        name: value
        for name, value in task.options.items()
        if options[name].get("no_log") is True and isinstance(value, str) and value
    }
