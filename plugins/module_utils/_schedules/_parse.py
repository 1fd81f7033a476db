# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How users write when something happens: `"02:00"`, `hourly`, `*/12h`, a systemd calendar, five cron fields, `never`.

PRIVATE to the collection; may change without notice.

Systemd's calendars mean what systemd.time(7) says, cron expressions what crontab(5) of Debian's cron says: with both a
day of the month and a day of the week, either is enough, unless one of the two fields begins with an asterisk.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping

from .._errors import InvalidOption
from ._model import DAYS, HOURS, MINUTES, MONTHS, NEVER, SECONDS, WEEKDAYS, Pattern, Schedule
from ._zones import check_zone

_MIDNIGHT = Pattern()
_WORDS: Mapping[str, Pattern] = {
    "hourly": Pattern(hours=HOURS),
    "daily": _MIDNIGHT,
    "weekly": Pattern(weekdays=frozenset({0})),
    "monthly": Pattern(days=frozenset({1})),
    "quarterly": Pattern(months=frozenset({1, 4, 7, 10}), days=frozenset({1})),
    "yearly": Pattern(months=frozenset({1}), days=frozenset({1})),
}
"""As systemd understands them: at midnight, on Mondays, on the first."""

_EVERY = re.compile(r"\*/(?P<number>[1-9][0-9]{0,3})(?P<unit>[mhd])")
_MOST_DAYS = 15
_CRON = re.compile(r"(?:[A-Za-z0-9*][A-Za-z0-9*,/-]* +){4}[A-Za-z0-9*][A-Za-z0-9*,/-]*")
_CRON_ITEM = re.compile(
    r"(?P<first>\*|[0-9]{1,2}|[A-Za-z]{3})(?:-(?P<last>[0-9]{1,2}|[A-Za-z]{3}))?(?:/(?P<step>[0-9]+))?"
)
_CALENDAR = re.compile(
    r"(?:(?P<weekdays>[A-Za-z]{3,9}(?:(?:,|\.\.)[A-Za-z]{3,9})*)(?: |$))?"
    r"(?:(?:(?P<year>[0-9*][0-9*,./]*)-)?(?P<month>[0-9*][0-9*,./]*)(?P<from>[-~])(?P<day>[0-9*][0-9*,./]*))?"
    r"(?: ?(?P<time>[0-9*][0-9*,./]*(?::[0-9*][0-9*,./]*){1,2}))?"
    r"(?: (?P<zone>[A-Za-z][A-Za-z0-9_/+-]*))?"
)
_CALENDAR_ITEM = re.compile(r"(?P<first>[0-9]{1,2})(?:\.\.(?P<last>[0-9]{1,2}))?(?:/(?P<step>[0-9]+))?")
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_CRON_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


class _NotThisForm(Exception):
    """The text looked like this form, and is not of it."""


@functools.lru_cache(maxsize=1024)
def parse_schedule(text: str) -> Schedule:
    """Read a schedule.

    Raises:
        InvalidOption: it is none, or there is no such date; the message fits after the name of a key.
    """
    text = text.strip()
    if text == NEVER:
        return Schedule()
    if text in _WORDS:
        return Schedule((_WORDS[text],))
    try:
        if _EVERY.fullmatch(text):
            return Schedule(_interval(text))
        if _CRON.fullmatch(text):
            return _possible(Schedule(_cron(text.split())))
        return _possible(_calendar(text))
    except _NotThisForm:
        raise InvalidOption(
            f'is not a schedule; write a time of day such as "02:00", one of {", ".join(_WORDS)} or {NEVER}, '
            "an interval such as */12h, a systemd calendar such as Sun 03:30, or five cron fields"
        ) from None


def check_schedule(text: str) -> str:
    """Return a schedule without surrounding blanks.

    Raises:
        InvalidOption: as `parse_schedule`.
    """
    parse_schedule(str(text))
    return text.strip()


def _possible(schedule: Schedule) -> Schedule:
    patterns = tuple(pattern for pattern in schedule.patterns if pattern.possible)
    if not patterns:
        raise InvalidOption("never comes: there is no such date")
    return Schedule(patterns, schedule.zone)


# -- intervals ---------------------------------------------------------------------------------------------------------


def _interval(text: str) -> tuple[Pattern, ...]:
    """`*/12h`: from midnight on, evenly through the day; `*/2d`: from the first of the month on, at midnight."""
    match = _EVERY.fullmatch(text)
    if match is None:
        raise _NotThisForm
    number, unit = int(match["number"]), match["unit"]
    if unit == "d":
        if number > _MOST_DAYS:
            raise InvalidOption(f"is too long for an interval in days, which is at most {_MOST_DAYS}d; write monthly")
        return (Pattern(days=frozenset(range(1, 32, number))),)
    minutes = number * (60 if unit == "h" else 1)
    if 24 * 60 % minutes:
        raise InvalidOption(
            "is no even part of a day, so the time between two runs would differ; write one that divides 24h, "
            "such as */4h, */12h or */30m"
        )
    by_minute: dict[frozenset[int], set[int]] = {}
    for hour in HOURS:
        of_hour = frozenset(at - 60 * hour for at in range(0, 24 * 60, minutes) if at // 60 == hour)
        if of_hour:
            by_minute.setdefault(of_hour, set()).add(hour)
    return tuple(Pattern(hours=frozenset(hours), minutes=at) for at, hours in by_minute.items())


# -- cron --------------------------------------------------------------------------------------------------------------


def _cron(fields: list[str]) -> tuple[Pattern, ...]:
    minutes = _cron_field(fields[0], MINUTES)
    hours = _cron_field(fields[1], HOURS)
    days = _cron_field(fields[2], DAYS)
    months = _cron_field(fields[3], MONTHS, _MONTH_NAMES, 1)
    # Sunday is 0 and 7; ours is 6.
    weekdays = frozenset((day + 6) % 7 for day in _cron_field(fields[4], frozenset(range(8)), _CRON_WEEKDAYS))
    both = Pattern(months, days, weekdays, hours, minutes)
    if fields[2].startswith("*") or fields[4].startswith("*"):
        return (both,)
    if days == DAYS or weekdays == WEEKDAYS:
        return (Pattern(months, DAYS, WEEKDAYS, hours, minutes),)
    return (
        Pattern(months, days, WEEKDAYS, hours, minutes),
        Pattern(months, DAYS, weekdays, hours, minutes),
    )


def _cron_field(text: str, valid: frozenset[int], names: tuple[str, ...] = (), first_name: int = 0) -> frozenset[int]:
    numbers = {name: number for number, name in enumerate(names, first_name)}
    found: set[int] = set()
    for item in text.split(","):
        match = _CRON_ITEM.fullmatch(item)
        if match is None:
            raise _NotThisForm
        first, last = match["first"], match["last"]
        if first == "*":
            if last:
                raise _NotThisForm
            low, high = min(valid), max(valid)
        else:
            low = _number(first, numbers)
            high = _number(last, numbers) if last else low
            if match["step"] and not last:
                raise InvalidOption(
                    "is a cron expression with a step after a single number, which crons read differently; "
                    "write the range, such as 5-59/15"
                )
        found.update(_range(low, high, match["step"], valid))
    return frozenset(found)


def _number(text: str, names: Mapping[str, int]) -> int:
    if text.isdigit():
        return int(text)
    if text.lower() not in names:
        raise _NotThisForm
    return names[text.lower()]


def _range(low: int, high: int, step: str | None, valid: frozenset[int]) -> range:
    if low not in valid or high not in valid or low > high or (step is not None and int(step) < 1):
        raise _NotThisForm
    return range(low, high + 1, int(step or 1))


# -- systemd calendars -------------------------------------------------------------------------------------------------


def _calendar(text: str) -> Schedule:
    match = _CALENDAR.fullmatch(text)
    if match is None or not (match["weekdays"] or match["day"] or match["time"]):
        raise _NotThisForm
    if match["year"] not in (None, "*"):
        raise InvalidOption("names a year, and a schedule goes on from year to year; leave it out, or write *")
    hours, minutes, seconds = [*(match["time"] or "00:00").split(":"), "00"][:3]
    from_end = match["from"] == "~"
    days = _calendar_field(match["day"] or "*", DAYS, from_end)
    pattern = Pattern(
        _calendar_field(match["month"] or "*", MONTHS),
        days,
        _calendar_weekdays(match["weekdays"]),
        _calendar_field(hours, HOURS),
        _calendar_field(minutes, MINUTES),
        _calendar_field(seconds, SECONDS),
        from_end and days != DAYS,
    )
    return Schedule((pattern,), check_zone(match["zone"]) if match["zone"] else None)


def _calendar_field(text: str, valid: frozenset[int], from_end: bool = False) -> frozenset[int]:
    if text == "*":
        return valid
    found: set[int] = set()
    for item in text.split(","):
        match = _CALENDAR_ITEM.fullmatch(item)
        if match is None or (from_end and match["last"]):
            raise _NotThisForm
        first, step = int(match["first"]), match["step"]
        if from_end and step:
            # It goes on towards the end of the month.
            found.update(first - done for done in _range(0, first - 1, step, valid | {0}))
            found.update(_range(first, first, None, valid))
            continue
        last = match["last"] or (max(valid) if step else first)
        found.update(_range(first, int(last), step, valid))
    return frozenset(found)


def _calendar_weekdays(text: str | None) -> frozenset[int]:
    if not text:
        return WEEKDAYS
    found: set[int] = set()
    for item in text.split(","):
        ends = [_weekday(name) for name in item.split("..")]
        if len(ends) > 2 or ends[0] > ends[-1]:
            raise _NotThisForm
        found.update(range(ends[0], ends[-1] + 1))
    return frozenset(found)


def _weekday(name: str) -> int:
    for number, day in enumerate(_WEEKDAYS):
        if name.lower() in (day, day[:3]):
            return number
    raise _NotThisForm
