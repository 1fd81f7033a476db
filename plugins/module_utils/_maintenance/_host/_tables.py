# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that was looked at, as tables, as figures that are kept, and as plain values.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .._section import BYTES, CODE, COUNT, PERCENT, Column, Measure, Table, bounded_table, table_of
from . import _mounts
from ._looked import Looked

_PATH, _SIZE = Column("path", "Directory", CODE), Column("size_bytes", "Size", BYTES)
_FILESYSTEMS = (
    Column("mount_point", "Mounted at", CODE),
    Column("used_percent", "Full", PERCENT),
    Column("available_bytes", "Free", BYTES),
    Column("size_bytes", "Size", BYTES),
    Column("inodes_used_percent", "Inodes used", PERCENT),
    Column("type", "Type"),
)
_MEMORY = (
    Column("what", "What"),
    Column("used_percent", "In use", PERCENT),
    Column("used_bytes", "Used", BYTES),
    Column("total_bytes", "In all", BYTES),
)
_PROCESSORS = (
    Column("count", "Processors", COUNT),
    Column("busy_percent", "Busy", PERCENT),
    Column("waiting_percent", "Waiting for disks", PERCENT),
    *(Column(f"load_{minutes}", f"Load of {minutes} min", COUNT) for minutes in (1, 5, 15)),
)
_PRESSURE = (
    Column("resource", "Waited for"),
    *(Column(f"avg{seconds}", f"In {seconds} s", PERCENT) for seconds in (10, 60, 300)),
)
_PROCESSES = (
    Column("name", "Process", CODE),
    Column("unit", "Unit", CODE),
    Column("user", "User"),
    Column("pid", "PID"),
    Column("memory_bytes", "Memory", BYTES),
    Column("cpu_percent", "Processor", PERCENT),
)
_DISKS = (
    Column("name", "Disk", CODE),
    Column("busy_percent", "Busy", PERCENT),
    Column("read_bytes_per_second", "Read in 1 s", BYTES),
    Column("written_bytes_per_second", "Written in 1 s", BYTES),
)
_INTERFACES = (
    Column("name", "Interface", CODE),
    Column("received_bytes_per_second", "Received in 1 s", BYTES),
    Column("sent_bytes_per_second", "Sent in 1 s", BYTES),
)


def tables(looked: Looked, limit: int) -> Iterator[Table]:
    """All of them, none with more than `limit` rows."""
    rows: Sequence[Mapping[str, Any]] = [_mounts.as_dict(each) for each in looked.filesystems]
    yield bounded_table("filesystems", "File systems", _FILESYSTEMS, rows, limit, plot="used_percent")
    if looked.sizes:
        yield from _directory_tables(looked, limit)
    rows = [{"what": "Memory", **looked.memory.as_dict()}, {"what": "Swap space", **looked.swap.as_dict()}]
    yield table_of("memory", "Memory", _MEMORY, rows, plot="used_percent")
    yield table_of("processors", "Processors", _PROCESSORS, [_processors(looked)])
    rows = [{"resource": resource, **values} for resource, values in looked.pressure.items()]
    note = "" if rows else "This kernel does not measure it."
    yield table_of("pressure", "How much of the time something waited", _PRESSURE, rows, note=note)
    over = f"Over {looked.seconds:.1f} s."
    note = f"Memory that processes share counts for each of them. {over} 100 % is one processor."
    for name, what, rows, key in (
        ("processes_by_memory", "memory", looked.by_memory, "memory_bytes"),
        ("processes_by_cpu", "processor time", looked.by_cpu, "cpu_percent"),
    ):
        yield table_of(name, f"Processes that use most {what}", _PROCESSES, rows[:limit], note=note, plot=key)
    yield bounded_table("disks", "Disks", _DISKS, looked.disks, limit, note=over)
    yield bounded_table("interfaces", "Network", _INTERFACES, looked.interfaces, limit, note=over)


def _directory_tables(looked: Looked, limit: int) -> Iterator[Table]:
    partial = [size.path for size in looked.sizes if not size.complete or size.unreadable]
    note = f"At least; not all could be read of: {', '.join(partial)}." if partial else ""
    columns = [_PATH, _SIZE, Column("files", "Files", COUNT)]
    rows = [vars(size) for size in looked.sizes]
    yield bounded_table("directories", "Directories", columns, rows, limit, note=note, plot="size_bytes")
    below = [(-taken, os.path.join(size.path, name)) for size in looked.sizes for name, taken in size.below.items()]
    rows = [{"path": path, "size_bytes": -taken} for taken, path in sorted(below)]
    yield bounded_table("subdirectories", "The largest right below", [_PATH, _SIZE], rows, limit, plot="size_bytes")


def measures(looked: Looked) -> Iterator[Measure]:
    """What is kept from run to run."""
    yield Measure("memory_used_bytes", "Memory in use", looked.memory.used, BYTES)
    if looked.swap.total:
        yield Measure("swap_used_bytes", "Swap space in use", looked.swap.used, BYTES)
    yield Measure("load_15", "Load of 15 min", round(looked.load[2], 2))
    for found in sorted(looked.filesystems, key=lambda found: found.mount.point):
        if not found.mount.read_only and found.mount.kind != "tmpfs":
            yield Measure(f"used_bytes:{found.mount.point}", f"Used on {found.mount.point}", found.used_bytes, BYTES)
    for size in looked.sizes:
        if size.complete:  # a part of it would look like a fall
            yield Measure(f"directory_bytes:{size.path}", f"Size of {size.path}", size.size_bytes, BYTES)


def data(looked: Looked) -> dict[str, Any]:
    """What the module returns, documented in its RETURN."""
    clock = looked.clock
    return {
        "filesystems": [_mounts.as_dict(each) for each in looked.filesystems],
        "directories": [dict(vars(size)) for size in looked.sizes],
        "memory": looked.memory.as_dict(),
        "swap": looked.swap.as_dict(),
        "processors": _processors(looked),
        "pressure": {resource: dict(values) for resource, values in looked.pressure.items()},
        "uptime_seconds": round(looked.uptime),
        "killed_for_memory": looked.killed,
        "clock": None if clock is None else {"synchronised": clock[0], "error_seconds": clock[1]},
        "disks": list(looked.disks),
        "interfaces": list(looked.interfaces),
        "process_count": looked.process_count,
        "processes_by_memory": list(looked.by_memory),
        "processes_by_cpu": list(looked.by_cpu),
    }


def _processors(looked: Looked) -> dict[str, Any]:
    return {
        "count": round(looked.processors, 2),
        "busy_percent": round(looked.busy_percent, 1),
        "waiting_percent": round(looked.waiting_percent, 1),
        **{f"load_{minutes}": round(load, 2) for minutes, load in zip((1, 5, 15), looked.load)},
    }
