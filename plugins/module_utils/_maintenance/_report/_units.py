# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How people read the values of reports: `12.4 GiB`, `3.2 ms`, `1,234,567`, `2026-11-22 06:30 UTC`.

PRIVATE to the collection; may change without notice. Machines read JSON, where values stay numbers in base units.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ..._durations import counted, format_size, roughly
from ..._manifest import parse_time
from .._run_model import Run, TaskResult
from .._section import BYTES, COUNT, CRITICAL, INFO, PERCENT, SECONDS, TIME, WARNING

NOTHING = "–"
"""What stands where there is no value."""

NUMBERS = (COUNT, BYTES, SECONDS, PERCENT)
"""Units whose values are compared with each other, so they stand to the right and may have a bar."""

SEVERITY_NAMES = {CRITICAL: "critical finding", WARNING: "warning", INFO: "note"}
"""What a finding of a severity is called, the worst first."""

_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_MINUS = "\N{MINUS SIGN}"  # as wide as the plus


def number_of(value: Any) -> float | None:
    """A value as a number that can be compared; None where it is none."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def shown(value: Any, unit: str) -> str:
    """A value as people read it, on one line unless it is a text of several."""
    if value is None or value == "":
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    number = number_of(value)
    if number is not None and unit in _WRITERS:
        return _WRITERS[unit](number)
    if unit == TIME:
        return _time(str(value))
    return str(value)


def changed_by(difference: float, unit: str) -> str:
    """A difference with its sign: `+1.2 GiB`, or `±0` where people would see none."""
    text = shown(abs(difference), unit)
    if text == shown(0, unit):
        return "±0"
    sign = "+" if difference > 0 else _MINUS
    return f"{sign}{abs(difference):.1f} points" if unit == PERCENT else f"{sign}{text}"


def verdict(run: Run) -> str:
    """The whole run in a few words: `2 critical findings, 1 warning and 4 notes`."""
    found = [finding.severity for _task, finding in run.findings]
    parts = [counted(len(run.failed), "failed task")] if run.failed else []
    parts += [counted(found.count(severity), name) for severity, name in SEVERITY_NAMES.items() if severity in found]
    return listed(parts) or "Nothing to report"


def day(moment: datetime, *, year: bool = False) -> str:
    """`22 Nov`, or `22 Nov 2026`; not by strftime, which speaks the language of the process."""
    text = f"{moment.day} {_MONTHS[moment.month - 1]}"
    return f"{text} {moment.year}" if year else text


def heading(run: Run) -> str:
    """What a report is called."""
    return f"{part_title(run.part)} of {run.host}"


def part_title(part: str) -> str:
    """What a run of a part, or of none, is called."""
    return f"{part.capitalize()} maintenance" if part else "Maintenance by hand"


def listed(parts: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def outcome(task: TaskResult) -> str:
    """What an action did or would do, in a word; empty for what only reports."""
    if task.section is None:
        return "failed"
    if task.acted:
        return "changed" if task.section.changed else "nothing to do"
    return "would change" if task.section.changed else ""


def _count(value: float) -> str:
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _seconds(value: float) -> str:
    if value < 0:
        return f"{_MINUS}{_seconds(-value)}"
    if value == 0:
        return "0 s"
    if value < 0.001:
        return f"{value * 1e6:.3g} µs"
    if value < 1:
        return f"{value * 1000:.3g} ms"
    return f"{value:.3g} s" if value < 120 else roughly(value)


def _percent(value: float) -> str:
    return f"{value:.1f} %"


def _time(text: str) -> str:
    try:
        return f"{parse_time(text):%Y-%m-%d %H:%M} UTC"
    except ValueError:
        return text


_WRITERS = {
    COUNT: _count,
    BYTES: lambda value: format_size(round(value)),
    SECONDS: _seconds,
    PERCENT: _percent,
}
