# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges of when something runs that share no code with the collection: crontab(5) by the letter, systemd-analyze."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_NAMES = {
    3: {name: number for number, name in enumerate(_MONTHS, 1)},
    4: {name: number for number, name in enumerate(_WEEKDAYS)},
}
_LIMITS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


@functools.cache
def _fits(field: str, number: int, value: int) -> bool:
    """Whether a value fits one field of a cron expression, the slow way."""
    for item in field.lower().split(","):
        span, _slash, step = item.partition("/")
        low, _dash, high = span.partition("-")
        names = _NAMES.get(number, {})
        if low == "*":
            first, last = _LIMITS[number]
        else:
            first = names.get(low) if low in names else int(low)
            last = first if not high else names.get(high) if high in names else int(high)
        if value in range(first, last + 1, int(step or 1)):
            return True
    return False


def cron_fires(expression: str, moment: datetime) -> bool:
    """Whether Debian's cron starts a job with this expression in this minute."""
    minute, hour, day, month, weekday = expression.split()
    if not (_fits(minute, 0, moment.minute) and _fits(hour, 1, moment.hour) and _fits(month, 3, moment.month)):
        return False
    fits_day = _fits(day, 2, moment.day)
    sunday_is_0 = moment.isoweekday() % 7
    fits_weekday = _fits(weekday, 4, sunday_is_0) or (sunday_is_0 == 0 and _fits(weekday, 4, 7))
    if day.startswith("*") or weekday.startswith("*"):
        return fits_day and fits_weekday
    return fits_day or fits_weekday


def minutes(begin: datetime, days: int) -> Iterator[datetime]:
    """Every minute of some days."""
    return (begin + timedelta(minutes=number) for number in range(days * 24 * 60))


def systemd_next(calendar: str, base: datetime, count: int) -> list[datetime]:
    """When systemd says that a calendar comes next, `count` times after a moment in UTC; naive times in UTC."""
    said = subprocess.run(
        ["systemd-analyze", "calendar", f"--iterations={count}", f"--base-time={base:%Y-%m-%d %H:%M:%S} UTC", calendar],
        env={"PATH": "/usr/bin:/bin", "TZ": "UTC", "LC_ALL": "C"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert said.returncode == 0, f"{calendar}: {said.stderr}"
    # In a clock of UTC each is told once, in UTC.
    heads = ("Next elapse", "Iter. #")
    told = [line.partition(": ")[2].strip() for line in said.stdout.splitlines() if line.strip().startswith(heads)]
    return [datetime.strptime(text, "%a %Y-%m-%d %H:%M:%S UTC") for text in told]
