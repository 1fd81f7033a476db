# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The jobs of a host: what runs when, and for how long, from the policies of its components.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .._declaration._report import InvalidDeclaration, Report
from .._errors import InvalidOption
from ._parse import parse_schedule
from ._write import crontab, on_calendar

MARGIN = 600
"""Seconds on top of what the modules of a job may take, so that they give up by themselves, cleaning up, and are not
ended from outside."""

_TITLES = {"backup": "back up {}", "verify": "verify the backups of {} again", "drill": "rehearse a restore of {}"}
_MODULES = {"backup": 3, "verify": 1, "drill": 1}
"""How many modules a job runs one after the other; each may take `max_runtime`."""


@dataclass(frozen=True)
class Job:
    """Something that a host does again and again.

    Attributes:
        verb: `backup`, `verify` or `drill`.
        key: of the component, which holds the schedule.
        schedule: as it was declared.
        calendars: values of `OnCalendar=`.
        cron: five fields each; empty when nobody asked for them.
        timeout: seconds after which it hangs and is ended.
        directories: further ones that it writes to.
        shared_tmp: it needs the /tmp that all processes share.
    """

    verb: str
    component: str
    key: str
    schedule: str
    calendars: tuple[str, ...]
    cron: tuple[str, ...]
    timeout: int
    directories: tuple[str, ...] = ()
    shared_tmp: bool = False

    @property
    def name(self) -> str:
        return f"{self.verb}-{self.component}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values for templates."""
        return {
            "name": self.name,
            "unit": f"holdfast-{self.name}",
            "title": _TITLES[self.verb].format(self.component),
            "verb": self.verb,
            "component": self.component,
            "schedule": self.schedule,
            "on_calendar": list(self.calendars),
            "cron": list(self.cron),
            "timeout_seconds": self.timeout,
            "directories": list(self.directories),
            "shared_tmp": self.shared_tmp,
        }


def plan_jobs(policies: Mapping[str, Mapping[str, Any]], zone: str, host_zone: str | None = None) -> tuple[Job, ...]:
    """The jobs of a host.

    Args:
        policies: component → `Component.policy()`.
        zone: whose clock schedules mean unless they say so themselves.
        host_zone: the clock that cron goes by; None when jobs are not for cron.

    Raises:
        InvalidDeclaration: with every schedule that cannot be said, by component and key.
    """
    lines: list[str] = []
    jobs = []
    for component, policy in policies.items():
        for verb, key, schedule in _schedules(policy):
            try:
                parsed = parse_schedule(schedule)
                cron = crontab(parsed, zone, host_zone) if host_zone is not None else ()
            except InvalidOption as error:
                Report(lines, f"component {component}").key(key).add(error.message)
                continue
            if not parsed.never:
                jobs.append(
                    Job(
                        verb,
                        component,
                        key,
                        schedule,
                        on_calendar(parsed, zone),
                        cron,
                        _MODULES[verb] * int(policy["max_runtime_seconds"]) + MARGIN,
                        tuple(policy.get("directories", ())),
                        bool(policy.get("shared_tmp", False)),
                    )
                )
    if lines:
        raise InvalidDeclaration(lines)
    return tuple(jobs)


def _schedules(policy: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    yield "backup", "schedule", str(policy["schedule"])
    if policy["upkeep"] == "host":
        yield "verify", "verification.schedule", str(policy["verification"]["schedule"])
        yield "drill", "drill", str(policy["drill"])
