# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Limits: from a number to `pass`, `warn` or `fail`. Pure.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

from .._limits import CRITICAL, WARNING, reached
from ._interface import FAIL, PASS, WARN, Measurement

_STATUS = {None: PASS, WARNING: WARN, CRITICAL: FAIL}


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
    word = reached(value, warning, critical, falling=falling)
    output = ""
    if word is not None:
        limit = critical if word == CRITICAL else warning
        output = f"{what} {_text(value, unit)} ({word}: {_text(limit or 0, unit)})."
    return Measurement(name, _STATUS[word], round(value, 3), unit, output, target)


def _text(value: float, unit: str) -> str:
    if unit == "B":
        from .._durations import format_size

        return format_size(int(value))
    number = f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return f"{number} {unit}".strip()
