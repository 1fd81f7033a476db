# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A schedule as hosts understand it: systemd's `OnCalendar=`, or the five fields of cron.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Collection

from .._errors import InvalidOption
from ._model import DAYS, HOURS, MINUTES, MONTHS, WEEKDAYS, Pattern, Schedule
from ._zones import same_zone

_DAY_NAMES = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def on_calendar(schedule: Schedule, zone: str) -> tuple[str, ...]:
    """Values of `OnCalendar=`, which add up; none for `never`.

    Args:
        zone: whose clock is meant unless the schedule says so itself.
    """
    return tuple(_calendar(pattern, schedule.zone or zone) for pattern in schedule.patterns)


def _calendar(pattern: Pattern, zone: str) -> str:
    days = _list(sorted(pattern.days)) if pattern.from_end else _calendar_field(pattern.days, DAYS)
    date = f"*-{_calendar_field(pattern.months, MONTHS)}{'~' if pattern.from_end else '-'}{days}"
    time = ":".join(
        _calendar_field(values, valid)
        for values, valid in ((pattern.hours, HOURS), (pattern.minutes, MINUTES), (pattern.seconds, MINUTES))
    )
    return f"{_calendar_weekdays(pattern.weekdays)}{date} {time} {zone}"


def _calendar_weekdays(days: frozenset[int]) -> str:
    if days == WEEKDAYS:
        return ""
    return ",".join(_joined(_DAY_NAMES[low], _DAY_NAMES[high], low, high, "..") for low, high in _runs(days)) + " "


def _calendar_field(values: frozenset[int], valid: frozenset[int]) -> str:
    if values == valid:
        return "*"
    step = _step(values, valid)
    if step:
        return f"{min(values):02d}/{step}"
    return ",".join(_joined(f"{low:02d}", f"{high:02d}", low, high, "..") for low, high in _runs(values))


def crontab(schedule: Schedule, zone: str, host_zone: str) -> tuple[str, ...]:
    """The five fields of lines for Debian's cron, which add up and never name one minute twice; none for `never`.

    Args:
        zone: whose clock is meant unless the schedule says so itself.
        host_zone: whose clock cron goes by, which is the host's: Debian's cron knows no other (no CRON_TZ).

    Raises:
        InvalidOption: cron cannot say it; the message fits after the name of a key.
    """
    wanted = schedule.zone or zone
    if schedule.patterns and not same_zone(wanted, host_zone):
        raise InvalidOption(
            f"is meant in {wanted}, and cron on this host goes by {host_zone}: with daylight saving no fixed time of "
            f"one is a fixed time of the other; set holdfast_time_zone to {host_zone}, or use timers"
        )
    for pattern in schedule.patterns:
        if pattern.seconds != {0}:
            raise InvalidOption("names seconds, which cron has not; leave them out, or use timers")
        if pattern.from_end:
            raise InvalidOption("counts days from the end of the month, which cron cannot; use timers")
    if len(schedule.patterns) == 2 and _are_alternatives(*schedule.patterns):
        by_day, by_weekday = sorted(schedule.patterns, key=lambda each: each.days == DAYS)
        # Two lines would run it twice on a day that is both. No field may begin with an asterisk here.
        days = _cron_field(by_day.days, DAYS, star=False)
        return (_cron(by_day, days, _cron_weekdays(by_weekday.weekdays)),)
    return tuple(_cron_line(pattern) for pattern in schedule.patterns)


def _are_alternatives(one: Pattern, other: Pattern) -> bool:
    """Whether they are what cron makes of a day of the month and a day of the week: either is enough."""
    kinds = {(each.days == DAYS, each.weekdays == WEEKDAYS) for each in (one, other)}
    same = all(getattr(one, field) == getattr(other, field) for field in ("months", "hours", "minutes"))
    return same and kinds == {(False, True), (True, False)}


def _cron_line(pattern: Pattern) -> str:
    days, weekdays = _cron_field(pattern.days, DAYS), _cron_weekdays(pattern.weekdays)
    if not days.startswith("*") and not weekdays.startswith("*"):
        # Only with an asterisk at its beginning does cron want both fields to fit.
        steps = (step for step in range(2, 8) if pattern.weekdays == {(day + 6) % 7 for day in range(0, 8, step)})
        weekdays = next((f"*/{step}" for step in steps), weekdays)
    if not days.startswith("*") and not weekdays.startswith("*"):
        # The longest steps name nothing but the 1st and Sunday, and begin with one.
        if 1 in pattern.days:
            days = ",".join(filter(None, ("*/31", _cron_field(pattern.days - {1}, DAYS, star=False))))
        elif 6 in pattern.weekdays:
            weekdays = ",".join(filter(None, ("*/7", _cron_weekdays(pattern.weekdays - {6}))))
    if not days.startswith("*") and not weekdays.startswith("*"):
        raise InvalidOption(
            "wants a day of the month that is also a day of the week, where cron takes either; use timers"
        )
    return _cron(pattern, days, weekdays)


def _cron(pattern: Pattern, days: str, weekdays: str) -> str:
    hours, minutes = _cron_field(pattern.hours, HOURS), _cron_field(pattern.minutes, MINUTES)
    return f"{minutes} {hours} {days} {_cron_field(pattern.months, MONTHS)} {weekdays}"


def _cron_weekdays(days: frozenset[int]) -> str:
    """Monday is 1, and Sunday is written as 7, so that it ends a week as it does here."""
    return (
        "*" if days == WEEKDAYS else _cron_field(frozenset(day + 1 for day in days), frozenset(range(1, 8)), star=False)
    )


def _cron_field(values: frozenset[int], valid: frozenset[int], *, star: bool = True) -> str:
    if values == valid and star:
        return "*"
    step = _step(values, valid)
    if step and min(values) == min(valid) and star:
        return f"*/{step}"
    if step:
        return f"{min(values)}-{max(valid)}/{step}"
    return ",".join(_joined(str(low), str(high), low, high, "-") for low, high in _runs(values))


def _step(values: frozenset[int], valid: frozenset[int]) -> int | None:
    """The even step in which values go on to the end of what is valid, when there are at least three."""
    ordered = sorted(values)
    steps = {later - earlier for earlier, later in zip(ordered, ordered[1:])}
    if len(ordered) < 3 or len(steps) != 1:
        return None
    step = steps.pop()
    return step if step > 1 and ordered[-1] + step > max(valid) else None


def _runs(values: Collection[int]) -> list[tuple[int, int]]:
    """Values as runs without a gap: 1, 2, 3, 7 is (1, 3), (7, 7)."""
    runs: list[tuple[int, int]] = []
    for value in sorted(values):
        if runs and runs[-1][1] == value - 1:
            runs[-1] = (runs[-1][0], value)
        else:
            runs.append((value, value))
    return runs


def _joined(first: str, last: str, low: int, high: int, through: str) -> str:
    if low == high:
        return first
    return f"{first},{last}" if high == low + 1 else f"{first}{through}{last}"


def _list(values: list[int]) -> str:
    return ",".join(f"{value:02d}" for value in values)
