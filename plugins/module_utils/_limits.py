# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Limits that a value should not reach: a pair of options, and where a value stands. Pure.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ._declaration._report import Report

WARNING, CRITICAL = "warning", "critical"


def reached(value: float, warning: float | None, critical: float | None, *, falling: bool = False) -> str | None:
    """Which of two limits a value has reached. It is reached when the value equals it; None is no limit.

    Args:
        falling: less is worse (days that are left, free bytes).
    """

    def beyond(limit: float) -> bool:
        return value <= limit if falling else value >= limit

    if math.isnan(value):  # unknown is not good
        return CRITICAL
    if critical is not None and beyond(critical):
        return CRITICAL
    return WARNING if warning is not None and beyond(warning) else None


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
