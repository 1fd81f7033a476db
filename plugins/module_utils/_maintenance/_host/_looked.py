# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All that a look at a host has seen, before it is judged.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..._deadline import Deadline
from ..._errors import HoldfastError
from . import _kernel, _mounts, _samples, _sizes

_RESERVE = 1.0
"""Seconds of the deadline that are kept for what comes after the walks."""
_MOST_PROCESSES = 10


@dataclass(frozen=True)
class Looked:
    """What was seen.

    Attributes:
        filesystems: the fullest first.
        silent: file systems that gave no answer.
        meant_read_only: mount points that /etc/fstab wants to be read-only.
        directories: sizes, or why one could not be measured.
        processors: how many.
        busy_percent, waiting_percent: of all processors, over `seconds`.
        pressure, clock, killed: see `_kernel`.
        by_memory, by_cpu: the first processes.
    """

    filesystems: Sequence[_mounts.Filesystem]
    silent: Sequence[_mounts.Mount]
    meant_read_only: frozenset[str]
    directories: Mapping[str, _sizes.Size | HoldfastError]
    memory: _kernel.Memory
    swap: _kernel.Memory
    processors: float
    load: tuple[float, float, float]
    uptime: float
    killed: int | None
    pressure: Mapping[str, Mapping[str, float]]
    clock: tuple[bool, float | None] | None
    seconds: float
    busy_percent: float
    waiting_percent: float
    disks: Sequence[Mapping[str, Any]]
    interfaces: Sequence[Mapping[str, Any]]
    process_count: int
    by_memory: Sequence[Mapping[str, Any]]
    by_cpu: Sequence[Mapping[str, Any]]

    @property
    def sizes(self) -> list[_sizes.Size]:
        """The directories that were measured, the largest first."""
        found = [each for each in self.directories.values() if isinstance(each, _sizes.Size)]
        return sorted(found, key=lambda size: (-size.size_bytes, size.path))


def look(directories: Sequence[str], walk_seconds: float, sample: float, deadline: Deadline) -> Looked:
    """Look at everything; takes as long as the sample and then the walks, so that the sample does not see the walks."""
    began = _samples.take()
    time.sleep(max(0.0, min(sample, deadline.left() - _RESERVE)))
    ended = _samples.take()
    sizes = _sizes.measure_all(directories, Deadline(max(0.1, min(walk_seconds, deadline.left() - _RESERVE))))
    with open(_mounts.MOUNTS, encoding="utf-8", errors="surrogateescape") as stream:
        mounts = _mounts.worth_a_look(_mounts.parse_mounts(stream))
    filesystems, silent = _mounts.look(mounts, deadline)
    busy, waiting = _samples.busy(began, ended)
    processes = _samples.process_rates(began, ended)
    return Looked(
        filesystems=sorted(filesystems, key=lambda found: (-found.used_percent, found.mount.point)),
        silent=silent,
        meant_read_only=frozenset(_mounts.meant_read_only(_lines(_mounts.FSTAB))),
        directories=sizes,
        memory=_kernel.memory(),
        swap=_kernel.swap(),
        processors=_kernel.processors(),
        load=os.getloadavg(),
        uptime=_kernel.uptime(),
        killed=_kernel.killed_for_memory(),
        pressure=_kernel.pressure(),
        clock=_kernel.clock(),
        seconds=ended.moment - began.moment,
        busy_percent=busy,
        waiting_percent=waiting,
        disks=_samples.disk_rates(began, ended),
        interfaces=_samples.interface_rates(began, ended),
        process_count=len(processes),
        by_memory=_first(processes, "memory_bytes"),
        by_cpu=[row for row in _first(processes, "cpu_percent") if row["cpu_percent"]],
    )


def _first(processes: Sequence[Mapping[str, Any]], key: str) -> list[dict[str, Any]]:
    first = sorted(processes, key=lambda row: (-row[key], row["pid"]))[:_MOST_PROCESSES]
    return [{**row, "user": _samples.user_of(row["pid"]), "unit": _samples.unit_of(row["pid"])} for row in first]


def _lines(path: str) -> Iterable[str]:
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as stream:
        return stream.readlines()
    return ()
