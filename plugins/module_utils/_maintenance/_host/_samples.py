# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host does: counters of the kernel, read twice, and what passed between. Pure but for the reading.

PRIVATE to the collection; may change without notice.

Command lines are not read: they hold secrets. A process is known by the name that the kernel has of it, and its unit.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_SECTOR = 512
"""Bytes of what /proc/diskstats calls a sector, on every disk."""
_NO_DISK = re.compile(r"(?:loop|ram|zram|fd|sr)\d+")
_UNIT = re.compile(r"[^/]+\.(?:service|scope|socket|mount|swap)")
_CONTAINER = re.compile(r"/docker[/-]([0-9a-f]{12})[0-9a-f]{52}(?:\.scope)?$")


@dataclass(frozen=True)
class Process:
    """A process at a moment. `started` tells two apart that had the same number."""

    pid: int
    name: str
    started: int
    seconds: float
    memory_bytes: int


@dataclass(frozen=True)
class Sample:
    """Counters at a moment.

    Attributes:
        moment: of the monotonic clock.
        processors: ticks that were busy, that waited for disks, and all.
        disks: bytes read, bytes written, milliseconds busy.
        interfaces: bytes received, bytes sent.
    """

    moment: float
    processors: tuple[int, int, int]
    disks: Mapping[str, tuple[int, int, int]]
    interfaces: Mapping[str, tuple[int, int]]
    processes: Mapping[int, Process]


def take(proc: str = "/proc", block: str = "/sys/block") -> Sample:
    """Read all counters."""
    with open(f"{proc}/stat", encoding="ascii") as stream:
        processors = parse_processors(stream.readline())
    with open(f"{proc}/diskstats", encoding="ascii") as stream:
        disks = parse_disks(stream, set(os.listdir(block)) if os.path.isdir(block) else set())
    with open(f"{proc}/net/dev", encoding="ascii", errors="replace") as stream:
        interfaces = parse_interfaces(stream)
    processes = {}
    for name in os.listdir(proc):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"{proc}/{name}/stat", "rb") as raw:  # it may have ended
                process = parse_process(raw.read())
                processes[process.pid] = process
    return Sample(time.monotonic(), processors, disks, interfaces, processes)


def parse_processors(line: str) -> tuple[int, int, int]:
    """The first line of /proc/stat: what was busy, what waited for disks, all."""
    user, nice, system, idle, waiting, *more = map(int, line.split()[1:9])
    busy = user + nice + system + sum(more)
    return busy, waiting, busy + idle + waiting


def parse_disks(lines: Iterable[str], whole: set[str]) -> dict[str, tuple[int, int, int]]:
    """/proc/diskstats, of whole disks alone."""
    rows = (line.split() for line in lines)
    return {
        row[2]: (int(row[5]) * _SECTOR, int(row[9]) * _SECTOR, int(row[12]))
        for row in rows
        if len(row) >= 14 and row[2] in whole and not _NO_DISK.fullmatch(row[2])
    }


def parse_interfaces(lines: Iterable[str]) -> dict[str, tuple[int, int]]:
    """/proc/net/dev, without the loopback interface."""
    found = {}
    for line in lines:
        name, colon, numbers = line.partition(":")
        words = numbers.split()
        if colon and len(words) >= 9 and name.strip() != "lo":
            found[name.strip()] = (int(words[0]), int(words[8]))
    return found


def parse_process(stat: bytes) -> Process:
    """/proc/<pid>/stat; the name, in parentheses, may hold anything."""
    head, _parenthesis, tail = stat.rpartition(b")")
    number, _parenthesis, name = head.partition(b"(")
    fields = tail.split()
    return Process(
        pid=int(number),
        name="".join(each if each.isprintable() else "?" for each in name.decode("utf-8", "replace")),
        started=int(fields[19]),
        seconds=(int(fields[11]) + int(fields[12])) / _TICKS,
        memory_bytes=max(0, int(fields[21])) * _PAGE,
    )


def busy(before: Sample, after: Sample) -> tuple[float, float]:
    """Percent of all processors that were busy, and that waited for disks."""
    was, waited, passed = (new - old for old, new in zip(before.processors, after.processors))
    return 100 * max(0, was) / max(1, passed), 100 * max(0, waited) / max(1, passed)


def disk_rates(before: Sample, after: Sample) -> list[dict[str, Any]]:
    """Bytes in a second, and how much of the time each disk was busy; the busiest first."""
    seconds = max(0.001, after.moment - before.moment)
    rows = []
    for name in before.disks.keys() & after.disks.keys():
        read, written, milliseconds = (max(0, new - old) for old, new in zip(before.disks[name], after.disks[name]))
        rows.append(
            {
                "name": name,
                "read_bytes_per_second": round(read / seconds),
                "written_bytes_per_second": round(written / seconds),
                "busy_percent": round(min(100.0, milliseconds / seconds / 10), 1),
            }
        )
    return sorted(rows, key=lambda row: (-row["busy_percent"], row["name"]))


def interface_rates(before: Sample, after: Sample) -> list[dict[str, Any]]:
    """Bytes in a second; what moves most first."""
    seconds = max(0.001, after.moment - before.moment)
    rows = []
    for name in before.interfaces.keys() & after.interfaces.keys():
        received, sent = (max(0, new - old) for old, new in zip(before.interfaces[name], after.interfaces[name]))
        rows.append(
            {
                "name": name,
                "received_bytes_per_second": round(received / seconds),
                "sent_bytes_per_second": round(sent / seconds),
            }
        )
    return sorted(rows, key=lambda row: (-row["received_bytes_per_second"] - row["sent_bytes_per_second"], row["name"]))


def process_rates(before: Sample, after: Sample) -> list[dict[str, Any]]:
    """Memory, and percent of one processor, of each process but this one, unsorted."""
    seconds = max(0.001, after.moment - before.moment)
    rows = []
    for pid, now in after.processes.items():
        then = before.processes.get(pid)
        used = now.seconds - then.seconds if then is not None and then.started == now.started else now.seconds
        if pid != os.getpid():
            rows.append(
                {
                    "pid": pid,
                    "name": now.name,
                    "cpu_percent": round(100 * max(0.0, used) / seconds, 1),
                    "memory_bytes": now.memory_bytes,
                }
            )
    return rows


def unit_of(pid: int, proc: str = "/proc") -> str:
    """The unit or container that a process belongs to; empty when there is none or it has ended."""
    try:
        with open(f"{proc}/{pid}/cgroup", encoding="utf-8", errors="replace") as stream:
            return parse_unit(stream.read())
    except OSError:
        return ""


def parse_unit(text: str) -> str:
    """Of /proc/<pid>/cgroup, in version 1 (where systemd has a hierarchy of its own) and 2."""
    for line in text.splitlines():
        number, _colon, rest = line.partition(":")
        controllers, _colon, path = rest.partition(":")
        if controllers == "name=systemd" or (number == "0" and not controllers):
            container = _CONTAINER.search(path)
            if container:  # one that has no units of its own
                return f"docker {container[1]}"
            units = _UNIT.findall(path)
            if units:
                return str(units[-1])
    return ""


def user_of(pid: int, proc: str = "/proc") -> str:
    """Whom a process belongs to: a name, or the number where nobody is called so."""
    try:
        uid = os.stat(f"{proc}/{pid}").st_uid
    except OSError:
        return ""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
