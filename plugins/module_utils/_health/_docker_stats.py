# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the samples that Docker gives of a container to numbers that people read. Pure.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Usage:
    """What a container uses.

    Attributes:
        cpu_percent: 100 is one processor, as `docker stats` has it; None from a single sample.
        memory_bytes: without what the kernel can take back at once.
        memory_limit_bytes: its own limit or the memory of the host.
        network_received_bytes, network_sent_bytes: since it was started, over all interfaces.
        block_read_bytes, block_written_bytes: since it was started.
    """

    cpu_percent: float | None
    processors: int
    memory_bytes: int
    memory_limit_bytes: int
    network_received_bytes: int
    network_sent_bytes: int
    block_read_bytes: int
    block_written_bytes: int
    pids: int

    @property
    def known(self) -> bool:
        """Whether Docker told anything: it loses track of a container whose own init moves its processes."""
        return self.memory_limit_bytes > 0

    @property
    def memory_percent(self) -> float:
        """Of the limit."""
        return 100 * self.memory_bytes / self.memory_limit_bytes if self.memory_limit_bytes else 0.0


def usage(before: Mapping[str, Any], after: Mapping[str, Any]) -> Usage:
    """Between two samples of one stream."""
    memory = after.get("memory_stats") or {}
    networks = (after.get("networks") or {}).values()
    blocks = (after.get("blkio_stats") or {}).get("io_service_bytes_recursive") or []
    cpu = after.get("cpu_stats") or {}
    return Usage(
        cpu_percent=_cpu_percent(before.get("cpu_stats") or {}, cpu),
        processors=_processors(cpu),
        memory_bytes=_memory(memory),
        memory_limit_bytes=int(memory.get("limit", 0)),
        network_received_bytes=sum(int(each.get("rx_bytes", 0)) for each in networks),
        network_sent_bytes=sum(int(each.get("tx_bytes", 0)) for each in networks),
        block_read_bytes=_blocks(blocks, "read"),
        block_written_bytes=_blocks(blocks, "write"),
        pids=int((after.get("pids_stats") or {}).get("current", 0)),
    )


def _cpu_percent(before: Mapping[str, Any], after: Mapping[str, Any]) -> float | None:
    """Its processor time in the processor time of the host that passed between the samples."""
    whole = int(after.get("system_cpu_usage", 0)) - int(before.get("system_cpu_usage", 0))
    own = _cpu_total(after) - _cpu_total(before)
    if whole <= 0 or own < 0 or not before.get("system_cpu_usage"):
        return None
    return 100 * own / whole * _processors(after)


def _cpu_total(sample: Mapping[str, Any]) -> int:
    return int((sample.get("cpu_usage") or {}).get("total_usage", 0))


def _processors(sample: Mapping[str, Any]) -> int:
    per_cpu = (sample.get("cpu_usage") or {}).get("percpu_usage") or []
    return int(sample.get("online_cpus") or len(per_cpu) or 1)


def _memory(memory: Mapping[str, Any]) -> int:
    """As `docker stats`: the file cache that is not in use is not counted (cgroup version 1, then 2)."""
    details = memory.get("stats") or {}
    cache = details.get("total_inactive_file", details.get("inactive_file", 0))
    used = int(memory.get("usage", 0))
    return used - int(cache) if int(cache) < used else used


def _blocks(entries: Iterable[Mapping[str, Any]], operation: str) -> int:
    return sum(int(each["value"]) for each in entries if str(each.get("op", "")).lower() == operation)
