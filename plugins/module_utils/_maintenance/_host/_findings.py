# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person should know of a host that was looked at.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..._durations import counted, format_size, roughly
from ..._errors import HoldfastError
from ..._limits import reached
from .._section import CRITICAL, INFO, WARNING, Finding
from ._looked import Looked

_RECENT = 24 * 3600
"""Seconds: a host that was started within the last day is worth a word."""


def findings(looked: Looked, options: Mapping[str, Any]) -> Iterator[Finding]:
    """All of them. `options`: limits, as `limits()` names them."""
    yield from _of_filesystems(looked, options)
    yield from _of_directories(looked)
    yield from _of_memory(looked, options)
    yield from _of_work(looked, options)
    yield from _of_kernel(looked)


def _judge(options: Mapping[str, Any], name: str, value: float) -> tuple[str, str] | None:
    """The severity, and the limit that was reached in words; None below the limits."""
    warning, critical = options.get(f"{name}_warning"), options.get(f"{name}_critical")
    severity = reached(value, warning, critical)
    if severity is None:
        return None
    return severity, f"limit: {critical if severity == CRITICAL else warning:g}"


def _of_filesystems(looked: Looked, options: Mapping[str, Any]) -> Iterator[Finding]:
    for mount in looked.silent:
        text = f"{mount.point} ({mount.kind} of {mount.source}) gives no answer; what uses it waits."
        yield Finding("no_answer", CRITICAL, text, mount.point, f"Is {mount.source} reachable from here?")
    for found in looked.filesystems:
        point = found.mount.point
        if found.mount.read_only:  # what is read-only does not fill up
            if point not in looked.meant_read_only:
                text = f"{point} is read-only, and /etc/fstab does not want that: the kernel does so after errors."
                advice = "journalctl -k --grep='I/O error|EXT4-fs|XFS|BTRFS|Remounting'"
                yield Finding("read_only", CRITICAL, text, point, advice)
            continue
        judged = _judge(options, "space", found.used_percent)
        if judged:
            room = f"{format_size(found.available_bytes)} of {format_size(found.size_bytes)} are left"
            text = f"{point} is full to {found.used_percent:.0f} % ({judged[1]} %): {room}."
            advice = f"du -xh --max-depth=2 {shlex.quote(point)} | sort -h | tail -20"
            yield Finding("disk_full", judged[0], text, point, advice)
        judged = _judge(options, "inodes", found.inodes_used_percent or 0.0)
        if judged:
            text = f"{point} has used {found.inodes_used_percent:.0f} % of its inodes ({judged[1]} %)."
            advice = f"du -x --inodes --max-depth=2 {shlex.quote(point)} | sort -n | tail -20"
            yield Finding("inodes_used", judged[0], text, point, advice)


def _of_directories(looked: Looked) -> Iterator[Finding]:
    for path, size in looked.directories.items():
        if isinstance(size, HoldfastError):
            yield Finding("not_measured", WARNING, size.message, path, size.hint or "")
        elif not size.complete:
            least = f"at least {format_size(size.size_bytes)} in {counted(size.files, 'file')}"
            text = f"{path} was not counted to its end, for lack of time; it holds {least}."
            yield Finding("not_all_counted", INFO, text, path, f"Raise walk_seconds, or `du -xsh {shlex.quote(path)}`.")


def _of_memory(looked: Looked, options: Mapping[str, Any]) -> Iterator[Finding]:
    for name, memory, what in (("memory", looked.memory, "the memory"), ("swap", looked.swap, "the swap space")):
        judged = _judge(options, name, memory.used_percent)
        if judged:
            room = f"{format_size(memory.available)} of {format_size(memory.total)} are left"
            text = f"{memory.used_percent:.0f} % of {what} is in use ({judged[1]} %): {room}."
            yield Finding(f"{name}_used", judged[0], text, name, _most(looked.by_memory, "memory_bytes"))


def _of_work(looked: Looked, options: Mapping[str, Any]) -> Iterator[Finding]:
    share = looked.load[1] / looked.processors
    judged = _judge(options, "load", share)
    if judged:
        text = f"The load of 5 min for each processor is {share:.1f} ({judged[1]})."
        yield Finding("load_high", judged[0], text, "load", _most(looked.by_cpu, "cpu_percent"))
    for resource, what in (("io", "disks"), ("memory", "memory")):  # waiting for processors is what the load says
        value = looked.pressure.get(resource, {}).get("avg300", 0.0)
        judged = _judge(options, "pressure", value)
        if judged:
            text = f"In {value:.0f} % of the last 5 min something waited for {what} ({judged[1]} %)."
            yield Finding("pressure_high", judged[0], text, resource, f"cat /proc/pressure/{resource}")


def _of_kernel(looked: Looked) -> Iterator[Finding]:
    ago = f"{roughly(looked.uptime)} ago"
    if looked.killed:
        what = counted(looked.killed, "process", "processes")
        text = f"The kernel has killed {what} for want of memory since the host was started, {ago}."
        yield Finding("killed_for_memory", WARNING, text, "memory", "journalctl -k --grep='Killed process' -n 20")
    if looked.uptime < _RECENT:
        yield Finding("started", INFO, f"The host was started {ago}.", "uptime", "last -x reboot shutdown | head")
    if looked.clock is None:
        text = "Whether something keeps the clock right could not be asked from here."
        yield Finding("clock_unknown", INFO, text, "clock", "timedatectl")
    elif not looked.clock[0]:
        text = "Nothing keeps the clock of this host right; certificates, logs and backups depend on it."
        yield Finding(
            "clock_not_synchronised",
            WARNING,
            text,
            "clock",
            "Install chrony or systemd-timesyncd, then `timedatectl`.",
        )


def _most(processes: Sequence[Mapping[str, Any]], key: str) -> str:
    """Who uses most of it, in a sentence."""

    def amount(row: Mapping[str, Any]) -> str:
        return format_size(row[key]) if key == "memory_bytes" else f"{row[key]:.0f} % of a processor"

    named = [f"{row['unit'] or row['name']} ({amount(row)})" for row in processes[:3]]
    return f"Most is used by {', '.join(named)}." if named else ""
