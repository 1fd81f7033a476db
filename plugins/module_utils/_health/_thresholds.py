# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Limits: from a number to `pass`, `warn` or `fail`. Pure.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from .._declaration._report import Report
from ._interface import FAIL, PASS, WARN, Measurement


def status_of(value: float, warning: float | None, critical: float | None, *, falling: bool = False) -> str:
    """Where a value stands. A limit is reached when the value equals it; None is no limit.

    Args:
        falling: less is worse (days that are left, free bytes).
    """

    def reached(limit: float) -> bool:
        return value <= limit if falling else value >= limit

    if math.isnan(value):  # unknown is not good
        return FAIL
    if critical is not None and reached(critical):
        return FAIL
    return WARN if warning is not None and reached(warning) else PASS


def judged(
    name: str,
    value: float,
    unit: str,
    warning: float | None,
    critical: float | None,
    *,
    what: str,
    target: str = "",
    falling: bool = False,
) -> Measurement:
    """A measurement against its limits.

    Args:
        what: the beginning of the sentence when a limit is reached: "/ is full to" 93 % "(critical: 90 %)".
    """
    status = status_of(value, warning, critical, falling=falling)
    output = ""
    if status != PASS:
        limit = critical if status == FAIL else warning
        word = "critical" if status == FAIL else "warning"
        output = f"{what} {_text(value, unit)} ({word}: {_text(limit or 0, unit)})."
    return Measurement(name, status, round(value, 3), unit, output, target)


def limits(name: str = "", warning: float | None = None, critical: float | None = None) -> dict[str, Any]:
    """The options `<name>_warning` and `<name>_critical` (or `warning` and `critical`) with their defaults."""
    prefix = f"{name}_" if name else ""
    pairs = ((f"{prefix}warning", warning), (f"{prefix}critical", critical))
    return {option: {"type": "float", **({} if value is None else {"default": value})} for option, value in pairs}


def examine_limits(
    options: Mapping[str, Any], report: Report, *names: str, falling: bool = False, maximum: float | None = None
) -> None:
    """Add limits that can never be reached or are reached in the wrong order.

    Args:
        names: as given to `limits`.
        maximum: the highest value that makes sense, 100 for percent.
    """
    for name in names:
        prefix = f"{name}_" if name else ""
        warning, critical = options.get(f"{prefix}warning"), options.get(f"{prefix}critical")
        for option, value in ((f"{prefix}warning", warning), (f"{prefix}critical", critical)):
            if value is not None and (value < 0 or (maximum is not None and value > maximum)):
                report.key(option).add(f"must lie between 0 and {maximum:g}" if maximum else "is negative")
        if warning is not None and critical is not None and (warning < critical if falling else warning > critical):
            side = "below" if falling else "above"
            report.key(f"{prefix}warning").add(f"is {side} {prefix}critical, so it would never be seen")


def _text(value: float, unit: str) -> str:
    if unit == "B":
        from .._durations import format_size

        return format_size(int(value))
    number = f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return f"{number} {unit}".strip()
