# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much room directories take, as du counts, within a given time.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..._deadline import Deadline
from ..._errors import HoldfastError, NotFound, PermissionDenied
from .._side_by_side import side_by_side

_BLOCK = 512
"""Bytes of what stat calls a block, on every file system."""


@dataclass
class Size:
    """What lies in a directory, on its own file system alone; a file with several names counts once.

    Attributes:
        size_bytes: on disk, so that a file with holes counts for what it takes.
        complete: everything was seen; otherwise there was no more time, and there is at least this.
        unreadable: directories that could not be read.
        below: bytes by the name of each directory right below it.
    """

    path: str
    size_bytes: int = 0
    files: int = 0
    complete: bool = True
    unreadable: int = 0
    below: dict[str, int] = field(default_factory=dict)


def measure_all(paths: Sequence[str], deadline: Deadline) -> dict[str, Size | HoldfastError]:
    """Measure directories side by side; those of one disk would only get into each other's way a little."""
    return side_by_side({path: functools.partial(measure, path, deadline) for path in paths}, deadline)


def measure(path: str, deadline: Deadline) -> Size:
    """Measure a directory, as far as the time goes. Links are not followed, but for the path itself.

    Raises:
        NotFound, PermissionDenied: it cannot be looked into.
    """
    try:
        place = os.path.realpath(path)
        itself = os.stat(place)
        with os.scandir(place):
            pass
    except PermissionError:
        raise PermissionDenied(f"{path} may not be read.", hint="Run as root (become).") from None
    except OSError as error:
        raise NotFound(f"{path} cannot be measured: {error.strerror}.") from None
    size = Size(path, itself.st_blocks * _BLOCK)
    linked: set[int] = set()
    waiting = [(place, "")]
    while waiting:
        directory, top = waiting.pop()
        if deadline.left() <= 0:
            size.complete = False
            break
        try:
            entries = os.scandir(directory)
        except OSError:
            size.unreadable += 1
            continue
        with entries:
            for entry in entries:
                with contextlib.suppress(OSError):  # it is gone meanwhile
                    _count(entry, top, itself.st_dev, size, linked, waiting)
    return size


def _count(
    entry: os.DirEntry[str], top: str, device: int, size: Size, linked: set[int], waiting: list[tuple[str, str]]
) -> None:
    found = entry.stat(follow_symlinks=False)
    if found.st_dev != device:
        return
    is_directory = entry.is_dir(follow_symlinks=False)
    if not is_directory:
        if found.st_nlink > 1:
            if found.st_ino in linked:
                return
            linked.add(found.st_ino)
        size.files += 1
    taken = found.st_blocks * _BLOCK
    size.size_bytes += taken
    branch = top or (entry.name if is_directory else "")
    if branch:
        size.below[branch] = size.below.get(branch, 0) + taken
    if is_directory:
        waiting.append((entry.path, branch))
