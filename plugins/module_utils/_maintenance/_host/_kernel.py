# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel says of its host: memory, pressure, time since the start, processes killed, the clock.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from dataclasses import dataclass
from typing import Any

from ..._errors import HoldfastError
from ..._process import find_program, run
from ..._system import _cgroups

RESOURCES = ("cpu", "io", "memory")


@dataclass(frozen=True)
class Memory:
    """Bytes; what the kernel can take back at once counts as available."""

    total: int
    available: int

    @property
    def used(self) -> int:
        """What is not available."""
        return max(0, self.total - self.available)

    @property
    def used_percent(self) -> float:
        """Of the total; 0 where there is none."""
        return 100 * self.used / self.total if self.total else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "total_bytes": self.total,
            "used_bytes": self.used,
            "available_bytes": self.available,
            "used_percent": round(self.used_percent, 1),
        }


def memory() -> Memory:
    """Of the host, or of the container that this runs in."""
    inside = _cgroups.memory()
    if inside is not None:
        return Memory(inside.limit, max(0, inside.limit - inside.used))
    told = _cgroups.fields("/proc/meminfo")  # in kB
    return Memory(told["MemTotal"] * 1024, told["MemAvailable"] * 1024)


def swap() -> Memory:
    """Likewise; nothing in all where there is no swap space."""
    inside = _cgroups.swap()
    if inside is not None:
        return Memory(inside.limit, max(0, inside.limit - inside.used))
    told = _cgroups.fields("/proc/meminfo")
    return Memory(told.get("SwapTotal", 0) * 1024, told.get("SwapFree", 0) * 1024)


def processors() -> float:
    """How many this host, or the container that this runs in, may use."""
    return _cgroups.processors() or float(len(os.sched_getaffinity(0)))


def uptime() -> float:
    """Seconds since the host was started."""
    with open("/proc/uptime", encoding="ascii") as stream:
        return float(stream.read().split()[0])


def killed_for_memory() -> int | None:
    """How many processes were killed for want of memory since the host was started; None on kernels before 4.13."""
    return _cgroups.fields("/proc/vmstat").get("oom_kill")


def pressure(directory: str = "/proc/pressure") -> dict[str, dict[str, float]]:
    """For each resource the percent of time that work waited for it: the averages of 10, 60 and 300 seconds.

    Empty where the kernel does not measure it (before 4.20, built without it, or `psi=0`).
    """
    found = {}
    for resource in RESOURCES:
        with contextlib.suppress(OSError), open(f"{directory}/{resource}", encoding="ascii") as stream:
            found[resource] = parse_pressure(stream.read())
    return found


def parse_pressure(text: str) -> dict[str, float]:
    """The line `some` of a file of /proc/pressure."""
    for line in text.splitlines():
        kind, *words = line.split()
        if kind == "some":
            values = dict(word.split("=", 1) for word in words)
            return {name: float(values[name]) for name in ("avg10", "avg60", "avg300")}
    return {}


class _Timex(ctypes.Structure):
    """`struct timex` of adjtimex(2)."""

    _fields_ = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_long * 32),
    ]


_PATIENCE = 2.0
"""Seconds for timedatectl, which may have to wait until systemd has started what answers it."""

_FURTHEST = 16_000_000
"""Microseconds: the possible error grows up to this when nobody sets the clock; timedatectl judges by it, too."""


def clock(timeout: float = _PATIENCE) -> tuple[bool, float | None] | None:
    """Whether something keeps the clock right, and by how many seconds at most it may be wrong then.

    A unit's sandbox (ProtectClock) and some containers keep us from asking the kernel. systemd asks it for us, without
    the error. None where neither says it.
    """
    said = _Timex()  # modes 0: it is only read
    if ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(said)) >= 0:
        return said.maxerror < _FURTHEST, said.maxerror / 1e6
    try:
        argv = [find_program("timedatectl"), "show", "--property=NTPSynchronized", "--value"]
        answer = run(argv, timeout=timeout)[1].decode("ascii", "replace").strip()
    except HoldfastError:
        return None
    return (answer == "yes", None) if answer in ("yes", "no") else None
