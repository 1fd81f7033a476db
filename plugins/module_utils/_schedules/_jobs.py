# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The jobs of a host: what runs when, and for how long, from the policies of its components and its maintenance.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._declaration._report import InvalidDeclaration, Report
from .._errors import InvalidOption
from ._parse import parse_schedule
from ._write import crontab, on_calendar
from ._zones import check_zone

MARGIN = 600
"""Seconds on top of what the modules of a job may take, so that they give up by themselves, cleaning up, and are not
ended from outside."""

_TITLES = {
    "backup": "back up {}",
    "verify": "verify the backups of {} again",
    "drill": "rehearse a restore of {}",
    "maintenance": "do the {} maintenance",
}
_MODULES = {"backup": 3, "verify": 1, "drill": 1}
"""How many modules a job runs one after the other; each may take `max_runtime`."""


@dataclass(frozen=True)
class Job:
    """Something that a host does again and again.

    Attributes:
        verb: `backup`, `verify`, `drill` or `maintenance`.
        subject: the component, or the part of maintenance.
        schedule: as it was declared.
        calendars: values of `OnCalendar=`.
        cron: five fields each; empty when nobody asked for them.
        timeout: seconds after which it hangs and is ended.
        directories: further ones that it writes to.
        shared_tmp: it needs the /tmp that all processes share.
    """

    verb: str
    subject: str
    schedule: str
    calendars: tuple[str, ...]
    cron: tuple[str, ...]
    timeout: int
    directories: tuple[str, ...] = ()
    shared_tmp: bool = False

    @property
    def name(self) -> str:
        return f"{self.verb}-{self.subject}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values for templates."""
        return {
            "name": self.name,
            "unit": f"holdfast-{self.name}",
            "title": _TITLES[self.verb].format(self.subject),
            "verb": self.verb,
            "subject": self.subject,
            "schedule": self.schedule,
            "on_calendar": list(self.calendars),
            "cron": list(self.cron),
            "timeout_seconds": self.timeout,
            "directories": list(self.directories),
            "shared_tmp": self.shared_tmp,
        }


@dataclass(frozen=True)
class Clocks:
    """Whose clock schedules mean unless they say so themselves, and the one that cron goes by (None: not for cron).

    Raises:
        InvalidOption: there is no such time zone.
    """

    zone: str
    host_zone: str | None = None

    def __post_init__(self) -> None:
        for zone in filter(None, (self.zone, self.host_zone)):
            try:
                check_zone(zone)
            except InvalidOption as error:
                raise InvalidOption(f"The time zone {error.message}.") from None

    def job(
        self, verb: str, subject: str, schedule: str, timeout: int, where: Mapping[str, Any], report: Report
    ) -> Job | None:
        """The job of a schedule; None when it never runs, or cannot be said, which is then reported."""
        try:
            parsed = parse_schedule(schedule)
            cron = crontab(parsed, self.zone, self.host_zone) if self.host_zone is not None else ()
        except InvalidOption as error:
            report.add(error.message)
            return None
        if parsed.never:
            return None
        directories, shared_tmp = tuple(where.get("directories", ())), bool(where.get("shared_tmp", False))
        calendars = on_calendar(parsed, self.zone)
        return Job(verb, subject, schedule, calendars, cron, timeout, directories, shared_tmp)


def plan_jobs(policies: Mapping[str, Mapping[str, Any]], clocks: Clocks) -> tuple[Job, ...]:
    """The jobs of the components of a host.

    Args:
        policies: component → `Component.policy()`.

    Raises:
        InvalidDeclaration: with every schedule that cannot be said, by component and key.
    """
    lines: list[str] = []
    jobs = [
        clocks.job(
            verb,
            component,
            schedule,
            _MODULES[verb] * int(policy["max_runtime_seconds"]) + MARGIN,
            policy,
            Report(lines, f"component {component}").key(key),
        )
        for component, policy in policies.items()
        for verb, key, schedule in _schedules(policy)
    ]
    return _sound(jobs, lines)


def plan_maintenance(parts: Mapping[str, Mapping[str, Any]], clocks: Clocks, timeout: int) -> tuple[Job, ...]:
    """The jobs of the maintenance of a host.

    Args:
        parts: part → schedule, and where its tasks write, as `host_config` tells them.
        timeout: seconds that a part may take.

    Raises:
        InvalidDeclaration: with every schedule that cannot be said, by part.
    """
    lines: list[str] = []
    subject = "holdfast_maintenance_schedules"
    jobs = [
        clocks.job("maintenance", part, str(one["schedule"]), timeout, one, Report(lines, subject).key(part))
        for part, one in parts.items()
    ]
    return _sound(jobs, lines)


def _sound(jobs: Sequence[Job | None], lines: Sequence[str]) -> tuple[Job, ...]:
    if lines:
        raise InvalidDeclaration(lines)
    return tuple(job for job in jobs if job is not None)


def _schedules(policy: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    yield "backup", "schedule", str(policy["schedule"])
    if policy["upkeep"] == "host":
        yield "verify", "verification.schedule", str(policy["verification"]["schedule"])
        yield "drill", "drill", str(policy["drill"])
