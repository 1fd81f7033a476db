# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How users write when something happens: `"02:00"`, `hourly`, `*/12h`, a systemd calendar, five cron fields, `never`.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import re
from datetime import timedelta

from .._durations import parse_duration
from .._errors import InvalidOption

NEVER = "never"

_WORDS = {"hourly": "1h", "daily": "1d", "weekly": "7d", "monthly": "31d", "quarterly": "92d", "yearly": "366d"}
"""The longest that lies between two runs."""

_EVERY = re.compile(r"\*/(?P<interval>[1-9][0-9]{0,2}[mhd])")
_TIME_OF_DAY = re.compile(r"[0-9]{1,2}(?::[0-9]{2}){1,2}")
_CRON = re.compile(r"(?:[A-Za-z0-9*][A-Za-z0-9*,/-]* +){4}[A-Za-z0-9*][A-Za-z0-9*,/-]*")
_CRON_MAXIMA = (59, 23, 31, 12, 7)
_CALENDAR = re.compile(
    r"(?:(?P<weekdays>[A-Za-z]{3,9}(?:(?:,|\.\.)[A-Za-z]{3,9})*)(?: |$))?"
    r"(?P<date>(?:[0-9*][0-9*,./]*-)?[0-9*][0-9*,./]*[-~][0-9*][0-9*,./]*)?"
    r"(?: ?(?P<time>[0-9*][0-9*,./]*(?::[0-9*][0-9*,./]*){1,2}))?"
    r"(?: (?P<zone>[A-Za-z][A-Za-z0-9_/+-]*))?"
)
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def check_schedule(text: str) -> str:
    """Return a schedule without surrounding blanks.

    What a systemd calendar or cron expression means is left to systemd and cron; that it has their form, and that
    its hours, days and months exist, is checked here, so that a mistake is found before a host is touched.

    Raises:
        InvalidOption: it is none; the message fits after the name of a key.
    """
    text = text.strip()
    checks = (_is_word, _is_interval, _is_cron, _is_calendar)
    if any(check(text) for check in checks):
        return text
    raise InvalidOption(
        f'is not a schedule; write a time of day such as "02:00", one of {", ".join(_WORDS)} or {NEVER}, '
        "an interval such as */12h, a systemd calendar such as Sun 03:30, or five cron fields"
    )


def longest_interval(schedule: str) -> timedelta | None:
    """The longest time between two runs of a checked schedule; None where only systemd or cron could tell."""
    every = _EVERY.fullmatch(schedule)
    if every:
        return parse_duration(every["interval"])
    if _TIME_OF_DAY.fullmatch(schedule):
        return timedelta(days=1)
    return parse_duration(_WORDS[schedule]) if schedule in _WORDS else None


def _is_word(text: str) -> bool:
    return text in _WORDS or text == NEVER


def _is_interval(text: str) -> bool:
    return _EVERY.fullmatch(text) is not None


def _is_cron(text: str) -> bool:
    if not _CRON.fullmatch(text):
        return False
    fields = text.split()
    named = {3: _MONTHS, 4: tuple(day[:3] for day in _WEEKDAYS)}
    return all(
        _within(field, maximum)
        and all(word.lower() in named.get(number, ()) for word in re.findall("[A-Za-z]+", field))
        for number, (field, maximum) in enumerate(zip(fields, _CRON_MAXIMA))
    )


def _is_calendar(text: str) -> bool:
    match = _CALENDAR.fullmatch(text)
    if match is None or not (match["weekdays"] or match["date"] or match["time"]):
        return False
    weekdays = re.findall("[A-Za-z]+", match["weekdays"] or "")
    days = re.split("[-~]", match["date"] or "")
    times = (match["time"] or "").split(":")
    return (
        all(day.lower() in _WEEKDAYS or day.lower() in {name[:3] for name in _WEEKDAYS} for day in weekdays)
        and all(_within(field, maximum) for field, maximum in zip(reversed(days), (31, 12)))
        and all(_within(field, maximum) for field, maximum in zip(times, (23, 59, 59)))
    )


def _within(field: str, maximum: int) -> bool:
    return all(int(number) <= maximum for number in re.findall("[0-9]+", field))
