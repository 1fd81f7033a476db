# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Limits of the container that this runs in, of cgroup version 1 and 2.

PRIVATE to the collection; may change without notice.

The files at the root of the cgroup file system are looked at: those are the container's own, and on a host, where
the root has no limits, they are missing or say so. The cgroup of this process would be that of its own unit.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

ROOT = "/sys/fs/cgroup"
_NO_LIMIT = 1 << 60
"""Version 1 writes a number near the largest that there is."""


@dataclass(frozen=True)
class Usage:
    """Bytes used, without what the kernel can take back at once, and the limit."""

    used: int
    limit: int


def memory(root: str = ROOT) -> Usage | None:
    """Memory of the container; None without a limit."""
    for current, most, statistics, cache in (
        ("memory.current", "memory.max", "memory.stat", "inactive_file"),
        (
            "memory/memory.usage_in_bytes",
            "memory/memory.limit_in_bytes",
            "memory/memory.stat",
            "total_inactive_file",
        ),
    ):
        used, limit = _number(f"{root}/{current}"), _number(f"{root}/{most}")
        if used is not None and limit is not None and limit < _NO_LIMIT:
            reclaimable = fields(f"{root}/{statistics}").get(cache, 0)
            return Usage(max(0, used - reclaimable), limit)
    return None


def swap(root: str = ROOT) -> Usage | None:
    """Swap of the container; None without a limit of its own."""
    used, limit = _number(f"{root}/memory.swap.current"), _number(f"{root}/memory.swap.max")
    if used is not None and limit is not None and limit < _NO_LIMIT:
        return Usage(used, limit)
    both, most = (
        _number(f"{root}/memory/memory.memsw.usage_in_bytes"),
        _number(f"{root}/memory/memory.memsw.limit_in_bytes"),
    )
    alone, limit = _number(f"{root}/memory/memory.usage_in_bytes"), _number(f"{root}/memory/memory.limit_in_bytes")
    if both is None or most is None or alone is None or limit is None or most >= _NO_LIMIT:
        return None
    return Usage(max(0, both - alone), max(0, most - limit))


def processors(root: str = ROOT) -> float | None:
    """How many processors the container may use; None without a limit."""
    with contextlib.suppress(OSError, ValueError):
        with open(f"{root}/cpu.max", encoding="ascii") as stream:
            quota, period = stream.read().split()
        return None if quota == "max" else int(quota) / int(period)
    quota_us, period_us = _number(f"{root}/cpu/cpu.cfs_quota_us"), _number(f"{root}/cpu/cpu.cfs_period_us")
    return quota_us / period_us if quota_us and period_us and quota_us > 0 else None


def processor_seconds(root: str = ROOT) -> float | None:
    """Seconds of processor time that the container has used; None where that is not told."""
    used = fields(f"{root}/cpu.stat").get("usage_usec")
    if used is not None:
        return used / 1e6
    nanoseconds = _number(f"{root}/cpuacct/cpuacct.usage")
    return None if nanoseconds is None else nanoseconds / 1e9


def fields(path: str) -> dict[str, int]:
    """Lines of a name and a number; nothing where there is no such file."""
    found = {}
    with contextlib.suppress(OSError), open(path, encoding="ascii") as stream:
        for line in stream:
            words = line.replace(":", " ").split()
            if len(words) >= 2 and words[1].isdigit():
                found[words[0]] = int(words[1])
    return found


def _number(path: str) -> int | None:
    """The number in a file; `max` is no limit; None where there is no such file."""
    with contextlib.suppress(OSError, ValueError), open(path, encoding="ascii") as stream:
        text = stream.read().strip()
        return _NO_LIMIT if text == "max" else int(text)
    return None
