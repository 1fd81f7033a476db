# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What several checks ask of file systems.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import os
import re

from .._errors import NotFound

_OCTAL = re.compile(r"\\([0-7]{3})")


def usage(path: str) -> os.statvfs_result:
    """Of the file system that a path lies on.

    Raises:
        NotFound: there is no such path.
    """
    try:
        return os.statvfs(path)
    except FileNotFoundError:
        raise NotFound(f"{path} does not exist.") from None


def is_mounted(path: str) -> bool:
    """Whether something is mounted at this very path. What lies below an empty mount point is the disk above."""
    with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as stream:
        points = {_OCTAL.sub(lambda match: chr(int(match[1], 8)), line.split()[1]) for line in stream}
    return os.path.normpath(path) in points


def local_mounts() -> list[str]:
    """Mount points of what holds data: on a device, or a ZFS or Btrfs pool; each of them once."""
    found: dict[str, str] = {}
    with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as stream:
        for line in stream:
            device, point, kind = line.split()[:3]
            if kind in ("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "jfs", "reiserfs", "bcachefs"):
                # A device that is mounted twice (bind mounts) is one and the same.
                found.setdefault(device, _OCTAL.sub(lambda match: chr(int(match[1], 8)), point))
    return list(found.values())
