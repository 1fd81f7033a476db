# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a schedule means, whatever it was written as: sets of moments on the clock of a wall.

PRIVATE to the collection; may change without notice.

Every form that users write is read into this one (`_parse`), and both that hosts understand are written from it
(`_write`), so that a form can be turned into any other, or be refused where that cannot be exact.
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import date

NEVER = "never"

MONTHS, DAYS, WEEKDAYS = frozenset(range(1, 13)), frozenset(range(1, 32)), frozenset(range(7))
HOURS, MINUTES, SECONDS = frozenset(range(24)), frozenset(range(60)), frozenset(range(60))

_LONGEST_MONTH = {month: calendar.monthrange(2024, month)[1] for month in MONTHS}


@dataclass(frozen=True)
class Pattern:
    """The moments whose every field is among the values given here.

    Attributes:
        days: of the month, from 1; counted from its end when `from_end` (1 is the last day).
        weekdays: 0 is Monday.
    """

    months: frozenset[int] = MONTHS
    days: frozenset[int] = DAYS
    weekdays: frozenset[int] = WEEKDAYS
    hours: frozenset[int] = frozenset({0})
    minutes: frozenset[int] = frozenset({0})
    seconds: frozenset[int] = frozenset({0})
    from_end: bool = False

    @property
    def every_day(self) -> bool:
        return (self.months, self.days, self.weekdays) == (MONTHS, DAYS, WEEKDAYS)

    @property
    def possible(self) -> bool:
        """Whether there is such a date at all: there is no 30 February."""
        return any(min(self.days) <= _LONGEST_MONTH[month] for month in self.months)

    def falls_on(self, day: date) -> bool:
        """Whether it has moments on a day."""
        number = day.day
        if self.from_end:
            number = calendar.monthrange(day.year, day.month)[1] - day.day + 1
        return day.month in self.months and number in self.days and day.weekday() in self.weekdays

    def times(self) -> list[int]:
        """Its moments on such a day, as seconds since midnight, in order."""
        return sorted(
            hour * 3600 + minute * 60 + second
            for hour in self.hours
            for minute in self.minutes
            for second in self.seconds
        )


@dataclass(frozen=True)
class Schedule:
    """All moments of its patterns; none at all when there is no pattern.

    Attributes:
        zone: whose clock is meant, when the schedule itself says so.
    """

    patterns: tuple[Pattern, ...] = ()
    zone: str | None = None

    @property
    def never(self) -> bool:
        return not self.patterns

    def times_on(self, day: date) -> list[int]:
        """Its moments on a day, as seconds since midnight, in order, each once."""
        return sorted({second for pattern in self.patterns if pattern.falls_on(day) for second in pattern.times()})
