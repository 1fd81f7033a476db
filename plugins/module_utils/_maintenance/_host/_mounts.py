# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is mounted on a host and how full it is, as df tells it, without waiting for a server that is gone.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..._deadline import Deadline

MOUNTS = "/proc/self/mountinfo"
FSTAB = "/etc/fstab"

PATIENCE = 2.0
"""Seconds for a file system that is on another machine: one that is gone can make statvfs wait for ever."""

_OCTAL = re.compile(r"\\([0-7]{3})")
_MEMORY = frozenset(("tmpfs", "ramfs"))
# Images are full and read-only by nature; an automount point would be mounted by being looked at.
_PASSED_OVER = frozenset(
    ("autofs", "cramfs", "devtmpfs", "efivarfs", "erofs", "fuse.snapfuse", "iso9660", "nsfs", "squashfs", "udf")
)
_REMOTE = frozenset(("9p", "afs", "ceph", "cifs", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4", "smb3", "virtiofs"))


@dataclass(frozen=True)
class Mount:
    """A mount point.

    Attributes:
        device: major and minor number; the same for every place where one file system is mounted.
        root: which part of the file system is mounted.
        read_only: the file system is, not only this mount of it: a unit's sandbox makes mounts read-only.
    """

    point: str
    kind: str
    source: str
    device: str
    root: str
    read_only: bool

    @property
    def remote(self) -> bool:
        """Whether it may never answer: another machine has it, or a program."""
        return self.kind in _REMOTE or self.kind.partition(".")[0] == "fuse"


@dataclass(frozen=True)
class Filesystem:
    """How full a file system is. Percentages are of what others than root can use, as df counts.

    Attributes:
        inodes, inodes_used_percent: None where it makes inodes as it needs them.
    """

    mount: Mount
    size_bytes: int
    used_bytes: int
    available_bytes: int
    used_percent: float
    inodes: int | None
    inodes_used_percent: float | None


def parse_mounts(lines: Iterable[str]) -> list[Mount]:
    """The lines of mountinfo; see proc(5)."""
    found = []
    for line in lines:
        before, _dash, after = line.rstrip("\n").partition(" - ")
        words, more = before.split(" "), after.split(" ")
        if len(words) >= 6 and len(more) >= 3:
            read_only = "ro" in more[2].split(",")
            found.append(Mount(_plain(words[4]), more[0], _plain(more[1]), words[2], _plain(words[3]), read_only))
    return found


def worth_a_look(mounts: Sequence[Mount]) -> list[Mount]:
    """Each file system that can fill up, once, at the place where most of it is seen."""
    chosen: dict[str, Mount] = {}
    for mount in {mount.point: mount for mount in mounts}.values():  # the last one at a place hides the others
        hidden = mount.kind in _MEMORY and (mount.point.count("/") > 2 or mount.read_only)
        if hidden or mount.kind in _PASSED_OVER or mount.point == "/dev":
            continue
        if mount.kind == "overlay" and mount.point != "/":
            continue  # of a container, and lies on a disk that is looked at anyway
        best = chosen.get(mount.device)
        if best is None or (len(mount.root), len(mount.point)) < (len(best.root), len(best.point)):
            chosen[mount.device] = mount
    return sorted(chosen.values(), key=lambda mount: mount.point)


def meant_read_only(fstab: Iterable[str]) -> set[str]:
    """The mount points that the administrator wants to be read-only."""
    rows = (line.split() for line in fstab if not line.lstrip().startswith("#"))
    return {_plain(row[1]) for row in rows if len(row) >= 4 and "ro" in row[3].split(",")}


def look(mounts: Sequence[Mount], deadline: Deadline) -> tuple[list[Filesystem], list[Mount]]:
    """How full they are, and those that gave no answer. What has no size (/proc) is left out."""
    answers: dict[str, Any] = {}

    def ask(mount: Mount) -> None:
        try:
            answers[mount.point] = os.statvfs(mount.point)
        except OSError as error:
            answers[mount.point] = error

    threads = {
        mount.point: threading.Thread(target=ask, args=(mount,), daemon=True) for mount in mounts if mount.remote
    }
    for thread in threads.values():
        thread.start()
    for mount in mounts:
        if not mount.remote and os.path.isdir(mount.point):  # Docker mounts single files of the host's disk
            ask(mount)
    end = Deadline(min(PATIENCE, max(0.1, deadline.left())))
    for thread in threads.values():
        thread.join(max(0.0, end.left()))
    silent = [mount for mount in mounts if mount.remote and not isinstance(answers.get(mount.point), os.statvfs_result)]
    known = ((mount, answers.get(mount.point)) for mount in mounts)
    found = [_filesystem(mount, said) for mount, said in known if isinstance(said, os.statvfs_result) and said.f_blocks]
    return found, silent


def as_dict(found: Filesystem) -> Mapping[str, Any]:
    """Plain values."""
    return {
        "mount_point": found.mount.point,
        "device": found.mount.source,
        "type": found.mount.kind,
        "size_bytes": found.size_bytes,
        "used_bytes": found.used_bytes,
        "available_bytes": found.available_bytes,
        "used_percent": round(found.used_percent, 1),
        "inodes": found.inodes,
        "inodes_used_percent": None if found.inodes_used_percent is None else round(found.inodes_used_percent, 1),
        "read_only": found.mount.read_only,
    }


def _filesystem(mount: Mount, said: os.statvfs_result) -> Filesystem:
    used, inodes_used = said.f_blocks - said.f_bfree, said.f_files - said.f_ffree
    return Filesystem(
        mount=mount,
        size_bytes=said.f_blocks * said.f_frsize,
        used_bytes=used * said.f_frsize,
        available_bytes=said.f_bavail * said.f_frsize,
        used_percent=100 * used / max(1, used + said.f_bavail),
        inodes=said.f_files or None,
        inodes_used_percent=100 * inodes_used / max(1, inodes_used + said.f_favail) if said.f_files else None,
    )


def _plain(text: str) -> str:
    """A path as it is; blanks and the like are written in octal."""
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text)
