# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people are told of the findings of a part of maintenance, and that there are none any more.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._durations import counted
from .._maintenance._interface import NEVER
from .._maintenance._section import CRITICAL, SEVERITIES, worst
from .._notify._model import FIRING, RESOLVED, Event
from . import _paths
from ._config import read_config

MOST_TOLD = 20
"""Findings in one message; a person who is told of more reads none of them."""


def declared_tell() -> str:
    """From which severity on findings of this host are told, as `holdfast_maintenance_tell` says.

    Raises:
        InvalidOption: /etc/holdfast/host.json cannot be read.
    """
    declared = (read_config(_paths.HOST) or {}).get("maintenance")
    return str(declared.get("tell", CRITICAL)) if isinstance(declared, Mapping) else CRITICAL


def event_of(line: Mapping[str, Any], part: str, host: str, tell: str) -> Event | None:
    """The event of a run, by the line that is kept of its result; None when findings are not to be told.

    Args:
        tell: a severity, or `never`.
    """
    if tell == NEVER:
        return None
    bad = SEVERITIES[SEVERITIES.index(tell) :]
    found = [each for each in line["findings"] if each["severity"] in bad]
    if not found:
        nothing = f"{part} maintenance finds nothing any more that is {tell}"
        return Event(f"findings:{part}", tell, RESOLVED, nothing, host=host, source="maintenance")
    first, more = found[0], counted(len(found) - 1, "more finding")
    return Event(
        f"findings:{part}",
        worst(each["severity"] for each in found),
        FIRING,
        f"{part} maintenance, {first['task']}: {first['text'].rstrip('.')}{f' (and {more})' if len(found) > 1 else ''}",
        details="\n\n".join([*map(_told, found[:MOST_TOLD]), _where(line, len(found))]),
        host=host,
        source="maintenance",
        labels={"part": part},
    )


def _told(finding: Mapping[str, Any]) -> str:
    said = f"{finding['severity'].upper()} {finding['task']}: {finding['text']}"
    return f"{said}\n-> {finding['advice']}" if finding.get("advice") else said


def _where(line: Mapping[str, Any], count: int) -> str:
    rest = f"… and {counted(count - MOST_TOLD, 'more finding')}.\n" if count > MOST_TOLD else ""
    return f"{rest}The whole report: {line.get('report') or 'it was not written'}\nTo look again: holdfast maintenance"
