# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Units of systemd: what their properties mean, and what a person should know of them. Pure.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..._durations import counted
from ..._manifest import rfc3339
from ..._notify._unit import Ending, ending_from
from ..._system._systemd import STARTS_AT_BOOT
from .._section import CRITICAL, INFO, WARNING, Finding

PROPERTIES = (
    "Id",
    "Type",
    "LoadState",
    "ActiveState",
    "SubState",
    "Result",
    "NRestarts",
    "UnitFileState",
    "StateChangeTimestamp",
    "MemoryCurrent",
    "CPUUsageNSec",
    "TasksCurrent",
    "MainPID",
    "ExecMainCode",
    "ExecMainStatus",
    "InvocationID",
    "NeedDaemonReload",
    "TriggeredBy",
)
"""What is asked of each unit."""

_UNKNOWN = 1 << 63
"""systemd writes the largest number that there is, or `[not set]`, for what it does not know."""


@dataclass(frozen=True)
class Unit:
    """A unit at a moment.

    Attributes:
        declared: somebody counts on it.
        state, detail: such as `active` and `running`.
        since: when it came into that state.
        restarts: how often systemd has started it again by itself.
        memory_bytes, cpu_seconds, tasks: None where systemd does not account for them, or nothing runs.
        at_boot: as its unit file has it: `enabled`, `disabled`, `static`; empty when it has none.
        triggered: by a timer, socket or path, so that it need not run now.
        stale: its file was changed, and systemd has not read it again.
        ending: how it ended last.
    """

    name: str
    declared: bool
    kind: str
    loaded: str
    state: str
    detail: str
    since: datetime | None
    restarts: int | None
    memory_bytes: int | None
    cpu_seconds: float | None
    tasks: int | None
    main_pid: int | None
    at_boot: str
    triggered: bool
    stale: bool
    ending: Ending

    @property
    def failed(self) -> bool:
        """Whether systemd calls it failed, or starts it again and again."""
        return self.state == "failed" or self.detail == "auto-restart"

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "unit": self.name,
            "state": f"{self.state} ({self.detail})" if self.detail else self.state,
            "since": None if self.since is None else rfc3339(self.since),
            "restarts": self.restarts,
            "memory_bytes": self.memory_bytes,
            "cpu_seconds": self.cpu_seconds,
            "tasks": self.tasks,
            "main_pid": self.main_pid,
            "at_boot": self.at_boot,
        }


def unit_of(properties: Mapping[str, str], *, declared: bool) -> Unit:
    """From the properties of `systemctl show`."""
    nanoseconds = _number(properties, "CPUUsageNSec")
    return Unit(
        name=properties.get("Id", ""),
        declared=declared,
        kind=properties.get("Type", ""),
        loaded=properties.get("LoadState", "unknown"),
        state=properties.get("ActiveState", "unknown"),
        detail=properties.get("SubState", ""),
        since=parse_timestamp(properties.get("StateChangeTimestamp", "")),
        restarts=_number(properties, "NRestarts"),
        memory_bytes=_number(properties, "MemoryCurrent"),
        cpu_seconds=None if nanoseconds is None else round(nanoseconds / 1e9, 2),
        tasks=_number(properties, "TasksCurrent"),
        main_pid=_number(properties, "MainPID") or None,
        at_boot=properties.get("UnitFileState", ""),
        triggered=bool(properties.get("TriggeredBy")),
        stale=properties.get("NeedDaemonReload") == "yes",
        ending=ending_from(properties),
    )


def findings(unit: Unit, restarts: tuple[float | None, float | None]) -> Iterator[Finding]:
    """What is not well with a unit. `restarts`: from how many on they are worth a warning, and critical."""
    name, shown = unit.name, shlex.quote(unit.name)  # which may hold the backslashes of systemd-escape
    trouble = _trouble(unit)
    if trouble:
        yield trouble
    if unit.loaded != "loaded":
        return
    often = unit.restarts or 0
    for limit, severity in ((restarts[1], CRITICAL), (restarts[0], WARNING)):
        if limit is not None and often >= limit and unit.detail != "auto-restart":
            text = f"systemd has started {name} again by itself {counted(often, 'time')}."
            yield Finding("restarts", severity, text, name, f"journalctl -u {shown} --grep='Main process exited' -n 20")
            break
    if unit.declared and unit.at_boot not in STARTS_AT_BOOT and not unit.triggered and unit.state == "active":
        text = f"{name} runs, and will not start at boot: it is {unit.at_boot or 'not enabled'}."
        yield Finding("not_at_boot", WARNING, text, name, f"systemctl enable {shown}")
    if unit.declared and unit.stale:
        text = f"The unit file of {name} was changed, and systemd has not read it since."
        yield Finding("unit_changed", WARNING, text, name, "`systemctl daemon-reload`, and restart it when that suits.")


def _trouble(unit: Unit) -> Finding | None:
    """Why it does not do its work; None when it does."""
    name, shown, severity = unit.name, shlex.quote(unit.name), CRITICAL if unit.declared else WARNING
    advice = f"systemctl status {shown}; journalctl -u {shown} -n 100"
    if unit.loaded == "not-found":
        return Finding(
            "no_unit", severity, f"There is no unit {name} on this host.", name, "Is its name spelled right?"
        )
    if unit.loaded != "loaded":
        text = f"systemd cannot use {name}: it is {unit.loaded}."
        return Finding("unit_unusable", severity, text, name, f"systemctl status {shown}")
    if unit.detail == "auto-restart":
        text = f"{name} does not stay up, and systemd starts it again and again: {unit.ending.words()}."
        return Finding("restarts_again", severity, text, name, advice)
    if unit.state == "failed":
        return Finding("unit_failed", severity, f"{name} failed: {unit.ending.words()}.", name, advice)
    # What does its work and ends, or is started by others, need not run now.
    if not unit.declared or unit.state == "active" or unit.kind == "oneshot" or unit.triggered:
        return None
    if unit.state == "inactive":
        return Finding("not_running", CRITICAL, f"{name} does not run.", name, f"systemctl start {shown}")
    return Finding("on_its_way", INFO, f"{name} is {unit.state} ({unit.detail}).", name, advice)


def parse_timestamp(text: str) -> datetime | None:
    """A moment as systemctl writes it in UTC, `Sun 2026-11-22 22:05:11 UTC`; None for `n/a` and nothing."""
    words = text.split()
    if len(words) != 4 or words[3] != "UTC":
        return None
    try:
        return datetime.fromisoformat(f"{words[1]}T{words[2]}+00:00")  # strptime would want the day in our language
    except ValueError:
        return None


def _number(properties: Mapping[str, str], name: str) -> int | None:
    text = properties.get(name, "")
    return int(text) if text.isdigit() and int(text) < _UNKNOWN else None
