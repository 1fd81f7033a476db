# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How users write and read lengths of time, sizes and numbers: `24h`, `1d12h`, `6m`, `16MiB`, `2 backups`.

PRIVATE to the collection; may change without notice.

A *duration* is exact (`30m` is half an hour) and serves RPO, RTO, ages and timeouts. A *period* is counted on the
calendar and serves `retention.within`, where `m` is a month as it is in restic and borg: keeping backups of the
last six minutes makes no sense, and the two readings never meet in one option.

No error repeats the value: a secret that slipped into the wrong key must not reach a log.
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from ._errors import InvalidOption

_DURATION_SECONDS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_PERIOD_UNITS = ("y", "m", "w", "d", "h")
_SIZE_UNITS: dict[str, int] = {
    "": 1,
    "B": 1,
    **{f"{letter}{tail}": 1024**power for power, letter in enumerate("KMGTP", 1) for tail in ("", "iB")},
    **{f"{letter}B": 1000**power for power, letter in enumerate("KMGTP", 1)},
}
_MAXIMUM_DIGITS = 12
_MAXIMUM_SECONDS = 1000 * 365 * 86_400
"""A thousand years: more is a mistake, and `now - duration` would leave the calendar."""

DURATION_FORM = "whole numbers with a unit of s, m, h, d or w, such as 30m, 24h, 7d or 1d12h"
PERIOD_FORM = "whole numbers with a unit of h, d, w, m (months) or y, such as 12h, 7d, 6m or 1y6m"
SIZE_FORM = "a whole number of bytes or one with a unit, such as 64KiB, 16MiB or 2GB"


def _split(text: str, units: tuple[str, ...], form: str) -> dict[str, int]:
    """Read `1d12h` as {"d": 1, "h": 12}; the units stand from large to small, each at most once."""
    pairs = re.findall(r"([0-9]+)([a-z])", text) if re.fullmatch(r"(?:[0-9]+[a-z])+", text) else []
    found = [unit for _number, unit in pairs]
    ordered = [unit for unit in units if unit in found]
    if not pairs or found != ordered or any(len(number) > _MAXIMUM_DIGITS for number, _unit in pairs):
        raise InvalidOption(f"must be {form}")
    return {unit: int(number) for number, unit in pairs}


def parse_duration(text: str) -> timedelta:
    """Read an exact length of time.

    Args:
        text: `90s`, `30m` (minutes), `24h`, `7d`, `2w`, or several, largest unit first: `1d12h`. Surrounding
            blanks are ignored. Zero is allowed: the caller knows whether it makes sense.

    Raises:
        InvalidOption: it is not one; the message fits after the name of a key ("rpo must be …").
    """
    parts = _split(text.strip(), tuple(_DURATION_SECONDS), DURATION_FORM)
    seconds = sum(number * _DURATION_SECONDS[unit] for unit, number in parts.items())
    if seconds > _MAXIMUM_SECONDS:
        raise InvalidOption("must be at most 1000 years")
    return timedelta(seconds=seconds)


def format_duration(duration: timedelta) -> str:
    """Write a duration so that `parse_duration` reads it back; fractions of a second are cut off."""
    rest = int(duration.total_seconds())
    if rest < 0:
        raise ValueError("a duration is not negative")
    text = ""
    # No weeks: 7d and 30d are easier to compare with each other than 1w and 4w2d.
    for unit in ("d", "h", "m", "s"):
        number, rest = divmod(rest, _DURATION_SECONDS[unit])
        text += f"{number}{unit}" if number else ""
    return text or "0s"


@dataclass(frozen=True)
class Period:
    """A length of time on the calendar: a month is a month, however many days it has."""

    years: int = 0
    months: int = 0
    weeks: int = 0
    days: int = 0
    hours: int = 0

    def __bool__(self) -> bool:
        return any((self.years, self.months, self.weeks, self.days, self.hours))

    def __str__(self) -> str:
        parts = zip((self.years, self.months, self.weeks, self.days, self.hours), _PERIOD_UNITS)
        return "".join(f"{number}{unit}" for number, unit in parts if number) or "0h"

    def before(self, moment: datetime) -> datetime:
        """The moment this long before `moment`.

        A day that the month does not have becomes its last one: a month before 31 March is 28 (or 29) February.
        What would lie before year 1 is the beginning of year 1.
        """
        beginning = datetime.min.replace(tzinfo=moment.tzinfo)
        months = moment.year * 12 + moment.month - 1 - (self.years * 12 + self.months)
        year, month = months // 12, months % 12 + 1
        if year < beginning.year:
            return beginning
        day = min(moment.day, calendar.monthrange(year, month)[1])
        try:
            return moment.replace(year=year, month=month, day=day) - timedelta(
                weeks=self.weeks, days=self.days, hours=self.hours
            )
        except OverflowError:
            return beginning


def parse_period(text: str) -> Period:
    """Read a length of time on the calendar: `12h`, `7d`, `2w`, `6m` (months), `1y`, `1y6m`.

    Raises:
        InvalidOption: it is not one; the message fits after the name of a key.
    """
    parts = _split(text.strip(), _PERIOD_UNITS, PERIOD_FORM)
    return Period(*(parts.get(unit, 0) for unit in _PERIOD_UNITS))


def parse_size(text: str) -> int:
    """Read a number of bytes: `4096`, `16MiB`, `2GB`.

    `KiB` … `PiB` are powers of 1024 and `KB` … `PB` powers of 1000; a single letter (`16M`) is a power of 1024, as
    in coreutils. Case does not matter, and a blank may stand before the unit.

    Raises:
        InvalidOption: it is not one; the message fits after the name of a key.
    """
    match = re.fullmatch(r"([0-9]{1,18}) ?([A-Za-z]*)", text.strip())
    unit = match.group(2).upper().replace("IB", "iB") if match else ""
    if match is None or unit not in _SIZE_UNITS:
        raise InvalidOption(f"must be {SIZE_FORM}")
    return int(match.group(1)) * _SIZE_UNITS[unit]


def roughly(seconds: float) -> str:
    """`12 min`, `7 h`, `3 d`: how long something is, as people say it."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def counted(number: int, one: str, many: str | None = None) -> str:
    """Write how many of something there are: `1 backup`, `2 backups`; `many` where that is not `one` and an s."""
    return f"{number} {one}" if number == 1 else f"{number} {many or one + 's'}"


def format_size(size: int) -> str:
    """Write a number of bytes for people: `16 MiB`, `1.5 GiB`."""
    value, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        if abs(value) < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.0f} {unit}" if unit == "B" or value == int(value) else f"{value:.1f} {unit}"
