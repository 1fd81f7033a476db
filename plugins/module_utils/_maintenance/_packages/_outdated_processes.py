# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that still run what an upgrade has replaced on disk.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from ..._deadline import Deadline
from .._host._samples import unit_of

_DELETED = re.compile(r"(/(?:usr|lib|lib64|bin|sbin|opt)\S*) \(deleted\)$")
_LIBRARY = re.compile(r"\.so(?:\.[\w.+-]+)?$")


def parse_maps(lines: Iterable[str]) -> set[str]:
    """The libraries and programs among what /proc/<pid>/maps says is mapped to run and deleted on disk."""
    found = set()
    for line in lines:
        words = line.split(None, 5)
        match = _DELETED.match(words[5].rstrip("\n")) if len(words) == 6 and "x" in words[1] else None
        if match and (_LIBRARY.search(match[1]) or "/bin/" in match[1] or "/sbin/" in match[1]):
            found.add(match[1])
    return found


def units_with_old_files(deadline: Deadline, proc: str = "/proc") -> tuple[dict[str, set[str]], bool]:
    """Units, or names of processes without one, and the replaced files that they use; and whether all were seen.

    Processes in containers are passed over: their files are no matter of this host's packages.
    """
    root = os.stat("/")
    found: dict[str, set[str]] = {}
    refused = False
    for name in os.listdir(proc):
        if not name.isdigit():
            continue
        if deadline.left() <= 0:
            return found, False
        files: set[str] = set()
        try:
            theirs = os.stat(f"{proc}/{name}/root/.")
            if (theirs.st_dev, theirs.st_ino) != (root.st_dev, root.st_ino):
                continue
            with open(f"{proc}/{name}/maps", encoding="utf-8", errors="replace") as stream:
                files = parse_maps(stream)
        except PermissionError:
            refused = True
        except OSError:  # it ended, or is one of the kernel's
            continue
        if files:
            found.setdefault(unit_of(int(name), proc) or _name(proc, name), set()).update(files)
    return found, not refused


def _name(proc: str, pid: str) -> str:
    try:
        with open(f"{proc}/{pid}/comm", encoding="utf-8", errors="replace") as stream:
            return stream.read().strip()
    except OSError:
        return f"process {pid}"
