# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading the options that the actions on PostgreSQL share.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..._declaration._report import Report
from ..._durations import parse_duration
from ..._engines._pg._selection import Pattern
from ..._errors import InvalidOption

MAX_RUNTIME: Mapping[str, Mapping[str, Any]] = {
    "max_runtime": {"type": "str", "default": "1h"},
    "fail_when_incomplete": {"type": "bool", "default": False},
}
"""For actions that do as much as they have time for."""


def examine_duration(options: Mapping[str, Any], name: str, report: Report, *, zero: bool = False) -> None:
    """Add what is wrong with a duration."""
    if options.get(name) is None:
        return
    try:
        seconds = parse_duration(str(options[name])).total_seconds()
    except InvalidOption as error:
        report.key(name).add(error.message)
    else:
        if not (seconds or zero):
            report.key(name).add("must be more than 0")


def examine_at_least(options: Mapping[str, Any], least: float, report: Report, *names: str) -> None:
    """Add which of these numbers are smaller than they may be."""
    for name in names:
        if options.get(name) is not None and options[name] < least:
            report.key(name).add(f"must be at least {least:g}")


def examine_tables(options: Mapping[str, Any], name: str, report: Report) -> None:
    """Add which of these are no names of tables."""
    for number, text in enumerate(options.get(name) or ()):
        try:
            Pattern.parse(str(text), name, 2)
        except InvalidOption:
            report.key(name).index(number).add(
                "is no name of a table, such as orders, public.orders or audit.*; a part with a dot in it goes into"
                " double quotes"
            )


def seconds_of(options: Mapping[str, Any], name: str) -> float:
    """A duration that was examined, in seconds."""
    return parse_duration(str(options[name])).total_seconds()


def patterns(options: Mapping[str, Any], name: str) -> list[Pattern]:
    """Names of tables with wildcards."""
    return [Pattern.parse(str(text), name, 2) for text in options.get(name) or ()]


def matches_any(chosen: Iterable[Pattern], schema: str, table: str) -> bool:
    """Whether one of the patterns means this table."""
    return any(pattern.matches(schema, table) for pattern in chosen)
