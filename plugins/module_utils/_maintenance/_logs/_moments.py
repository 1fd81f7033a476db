# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a line of a log was written: the usual ways to write a moment. Pure.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import calendar
import re
from datetime import datetime, timezone, tzinfo

_MONTHS = {name.encode(): number for number, name in enumerate(calendar.month_abbr) if name}
_MONTH = rb"(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_CLOCK = rb"(\d\d):(\d\d):(\d\d)(?:[.,]\d{1,9})?"
_ZONE = rb"(?: ?(Z\b|UTC\b|GMT\b|[+-]\d\d:?\d\d))?"

_ISO = re.compile(rb"(\d{4})[-/](\d\d)[-/](\d\d)[T ]" + _CLOCK + _ZONE)
"""RFC 3339, Python's logging, PostgreSQL, nginx."""
_DAY_FIRST = re.compile(rb"(\d\d?)[ /]" + _MONTH + rb"[ /](\d{4})[ :]" + _CLOCK + _ZONE)
"""Redis, and access logs."""
_MONTH_FIRST = re.compile(_MONTH + rb" +(\d\d?) " + _CLOCK + rb"(?: (\d{4}))?")
"""syslog, which knows no year; Apache's errors, which do."""
_EPOCH = re.compile(rb'"(?:ts|time|timestamp|@timestamp)"\s*:\s*"?(\d{10}(?:\.\d+)?|\d{13})\b')
"""JSON: seconds or milliseconds since 1970."""

_FRONT = 48
"""A moment that begins this early in a line is that of the line."""
_FAR = 2048
"""In a line of JSON it may come as late as this."""
_TOMORROW = 86400


class Moments:
    """Reads moments.

    Args:
        zone: of those that do not say it; None is this host's own.
        now: seconds since 1970; what has no year was before (or within a day from) then.
    """

    def __init__(self, zone: tzinfo | None, now: float) -> None:
        self._zone = zone
        self._now = now
        self._hours: dict[tuple[int, int, int, int], float] = {}
        self.assumed = False
        """Whether there was one that did not say its zone."""

    def read(self, line: bytes) -> tuple[float, int] | None:
        """The moment of a line in seconds since 1970, and where in the line it ends; None when it has none."""
        front = _FAR if line[:1] == b"{" else _FRONT
        for pattern, read in ((_ISO, self._iso), (_DAY_FIRST, self._day_first), (_MONTH_FIRST, self._month_first)):
            found = pattern.search(line, 0, front + 40)
            if found and found.start() <= front:
                try:
                    return read(found), found.end()
                except ValueError:  # such as a 31st of February
                    continue
        if line[:1] == b"{":
            found = _EPOCH.search(line, 0, front)
            if found:
                number = float(found[1])
                return number / 1000 if number > 1e12 else number, 0
        return None

    def _iso(self, found: re.Match[bytes]) -> float:
        year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
        return self._moment(year, month, day, hour, minute, second, found[7])

    def _day_first(self, found: re.Match[bytes]) -> float:
        day, month, year, hour, minute, second, zone = found.groups()
        return self._moment(int(year), _MONTHS[month], int(day), int(hour), int(minute), int(second), zone)

    def _month_first(self, found: re.Match[bytes]) -> float:
        month, day, hour, minute, second, year = found.groups()
        clock = (_MONTHS[month], int(day), int(hour), int(minute), int(second))
        if year:
            return self._moment(int(year), *clock, None)
        this = datetime.fromtimestamp(self._now, self._zone).year
        for guess in (this + 1, this, this - 1, this - 2, this - 3, this - 4):  # four years: a 29th of February
            try:
                moment = self._moment(guess, *clock, None)
            except ValueError:
                continue
            if moment <= self._now + _TOMORROW:
                return moment
        raise ValueError("there is no such day")

    def _moment(
        self, year: int, month: int, day: int, hour: int, minute: int, second: int, zone: bytes | None
    ) -> float:
        if hour > 23 or minute > 59 or second > 60:
            raise ValueError("there is no such time")
        if zone:
            moment = datetime(year, month, day, hour, tzinfo=timezone.utc).timestamp() - _offset(zone)
            return moment + 60 * minute + second
        self.assumed = True
        key = (year, month, day, hour)
        if key not in self._hours:
            if len(self._hours) > 10_000:
                self._hours.clear()
            self._hours[key] = datetime(year, month, day, hour, tzinfo=self._zone).timestamp()
        return self._hours[key] + 60 * minute + second


def _offset(zone: bytes) -> int:
    """Seconds that a zone is ahead of UTC."""
    if zone in (b"Z", b"UTC", b"GMT"):
        return 0
    seconds = 3600 * int(zone[1:3]) + 60 * int(zone[-2:])
    return -seconds if zone[:1] == b"-" else seconds
