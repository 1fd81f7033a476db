# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The longest time between two runs of a schedule: what an RPO must allow for.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import functools
from datetime import date, timedelta

from ._model import Schedule
from ._parse import parse_schedule

_DAY = 86_400
_FIRST = date(2001, 1, 1)
_CYCLE = (date(2029, 1, 1) - _FIRST).days
"""After 28 years (1901 to 2099) dates and days of the week come again as they were."""


@functools.lru_cache(maxsize=256)
def longest_interval(text: str) -> timedelta | None:
    """The longest time between two runs, on a clock without daylight saving; None for `never`.

    Raises:
        InvalidOption: it is no schedule.
    """
    schedule = parse_schedule(text)
    if schedule.never:
        return None
    # Of schedules that are the same every day two days tell all; otherwise weekdays, months and leap years matter.
    days = 1 if all(pattern.every_day for pattern in schedule.patterns) else _CYCLE
    return timedelta(seconds=_longest(schedule, days))


def _longest(schedule: Schedule, cycle: int) -> int:
    """The longest gap in seconds of what repeats itself after `cycle` days."""
    of_patterns: dict[tuple[bool, ...], tuple[int, int, int]] = {}
    begin, last, longest = -1, -1, 0
    for number in range(cycle):
        day = _FIRST + timedelta(days=number)
        key = tuple(pattern.falls_on(day) for pattern in schedule.patterns)
        if not any(key):
            continue
        if key not in of_patterns:
            times = schedule.times_on(day)
            of_patterns[key] = (times[0], times[-1], max((b - a for a, b in zip(times, times[1:])), default=0))
        first_time, last_time, within = of_patterns[key]
        if begin < 0:
            begin = number * _DAY + first_time
        else:
            longest = max(longest, number * _DAY + first_time - last)
        longest = max(longest, within)
        last = number * _DAY + last_time
    return max(longest, begin + cycle * _DAY - last)
