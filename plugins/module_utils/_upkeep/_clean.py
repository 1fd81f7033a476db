# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removing the old files of a directory: first a plan, then exactly that.

PRIVATE to the collection; may change without notice.

The directory may belong to a service that somebody has taken over. So no link is followed on any part of the way,
nothing on another file system is reached, and a file goes only if it is still the one that was planned. All that can be
won by swapping things meanwhile is the removal of files that one could have removed oneself.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple

from .._beneath import Beneath, open_directory
from .._durations import counted, format_duration, format_size
from .._engines._tree._index import printable
from .._engines._tree._patterns import Patterns
from .._errors import Refused
from ._cleanups import Cleanup

MAXIMUM_DEPTH = 100
"""Deeper than this nothing is looked at: only a trap is that deep."""
SHOWN = 1000
"""Paths that a plan shows; all are counted."""

_NEVER = ("/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/opt", "/root", "/sbin", "/usr", "/var", "/var/lib")
"""Directories that are not cleaned under another name either (bind mounts)."""


class Doomed(NamedTuple):
    """A file as it was seen when the plan was made; times in nanoseconds since 1970."""

    modified: int
    path: str
    size: int
    device: int
    inode: int


@dataclass
class Cleaning:
    """What a cleanup removes, or would remove.

    Attributes:
        files: of these, oldest first, those that are old enough and not kept by `keep_at_least`.
        directories: below the path, which were old and are empty without these files; deepest first.
        kept: how many files match and stay.
        removed: how many of `files` are gone, and `removed_bytes` how large they were.
        removed_directories: how many of `directories` are gone.
        failures: path and reason of what could not be looked at or removed; a file that was gone already is none.
        skipped: what was left alone on purpose, by the reason, and how often.
    """

    cleanup: Cleanup
    files: list[Doomed] = field(default_factory=list)
    directories: list[str] = field(default_factory=list)
    kept: int = 0
    removed: int = 0
    removed_bytes: int = 0
    removed_directories: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)

    @property
    def planned_bytes(self) -> int:
        return sum(each.size for each in self.files)

    def skip(self, reason: str) -> None:
        self.skipped[reason] = self.skipped.get(reason, 0) + 1

    def lines(self, now: float) -> list[str]:
        """The plan for people: a line for each file with its size and age."""
        shown = [
            f"{os.path.join(self.cleanup.path, printable(each.path))} "
            f"({format_size(each.size)}, {_age(now - each.modified / 1e9)} old)"
            for each in self.files[:SHOWN]
        ]
        if len(self.files) > SHOWN:
            shown.append(f"… and {counted(len(self.files) - SHOWN, 'more file')}")
        directories = [f"{os.path.join(self.cleanup.path, printable(path))}/ (empty)" for path in self.directories]
        return [*shown, *directories[:SHOWN]]


@dataclass
class _Directory:
    """A directory that was looked at: when it changed last, and what holds it up."""

    modified: int
    entries: int
    doomed: int = 0
    subdirectories: list[str] = field(default_factory=list)


def clean(cleanup: Cleanup, now: float, *, check: bool = False) -> Cleaning:
    """Remove what is old, or only find out what that is.

    Args:
        now: seconds since 1970.
        check: change nothing.

    Raises:
        NotFound: there is no such directory.
        Refused: it is a directory that is never cleaned, or a link lies on the way to it.
        PermissionDenied: it may not be opened.
    """
    tree = Beneath(open_directory(cleanup.path))
    with contextlib.closing(tree):
        _refuse_system_directories(cleanup, os.fstat(tree.fd))
        done = _plan(cleanup, tree, now)
        if not check:
            _remove(done, tree)
    return done


def _refuse_system_directories(cleanup: Cleanup, found: os.stat_result) -> None:
    for path in _NEVER:
        with contextlib.suppress(OSError):
            if os.path.samestat(found, os.stat(path)):
                raise Refused(f"{cleanup.path} is {path} under another name, and never cleaned.", stage="preflight")


def _plan(cleanup: Cleanup, tree: Beneath, now: float) -> Cleaning:
    done = Cleaning(cleanup)
    wanted, excluded = Patterns(cleanup.patterns), Patterns(cleanup.exclude)
    limit = int((now - cleanup.older_than.total_seconds()) * 1e9)
    device, mounts = os.fstat(tree.fd).st_dev, _mount_points()
    seen: dict[str, _Directory] = {}
    matching: list[Doomed] = []
    waiting = ["."]
    while waiting:
        path = waiting.pop()
        try:
            directory = _Directory(os.fstat(tree.directory(path)).st_mtime_ns, 0)
            for name, found in _entries(tree, path):
                directory.entries += 1
                below = name if path == "." else f"{path}/{name}"
                is_directory = stat.S_ISDIR(found.st_mode)
                if excluded.excluded(below, is_directory):
                    done.skip("excluded")
                elif is_directory:
                    reason = _not_entered(cleanup, found, device, mounts, below)
                    if reason is None:
                        directory.subdirectories.append(below)
                    elif reason:
                        done.skip(reason)
                elif not stat.S_ISREG(found.st_mode):
                    done.skip("no regular file")
                elif wanted.excluded(below, False):
                    matching.append(Doomed(found.st_mtime_ns, below, found.st_size, found.st_dev, found.st_ino))
        except OSError as error:
            # A directory that went meanwhile needs no cleaning.
            if not isinstance(error, FileNotFoundError):
                done.failures.append((path, str(error.strerror)))
            continue
        seen[path] = directory
        waiting += reversed(directory.subdirectories)
    matching.sort()
    old = matching[: max(0, len(matching) - cleanup.keep_at_least)]
    done.files = [each for each in old if each.modified < limit]
    done.kept = len(matching) - len(done.files)
    if cleanup.remove_empty:
        done.directories = _empty_without(done.files, seen, limit)
    return done


def _entries(tree: Beneath, path: str) -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(tree.directory(path)) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                yield entry.name, entry.stat(follow_symlinks=False)


def _mount_points() -> frozenset[str]:
    """Where something is mounted: a directory of the same file system may be, under a second name."""
    with open("/proc/self/mountinfo", "rb") as lines:
        places = [line.split()[4].decode(errors="surrogateescape") for line in lines]
    return frozenset(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), place) for place in places)


def _not_entered(
    cleanup: Cleanup, found: os.stat_result, device: int, mounts: Collection[str], path: str
) -> str | None:
    """Why a directory is not entered; None when it is, empty when that is no news."""
    if not cleanup.recurse:
        return ""
    if found.st_dev != device or f"{cleanup.path}/{path}" in mounts:
        return "another file system"
    return "too deep" if path.count("/") >= MAXIMUM_DEPTH else None


def _empty_without(files: list[Doomed], seen: dict[str, _Directory], limit: int) -> list[str]:
    """The old directories that hold nothing but what goes, deepest first; never the one that is cleaned itself."""
    for each in files:
        parent = each.path.rpartition("/")[0] or "."
        seen[parent].doomed += 1
    empty: list[str] = []
    for path in sorted(seen, key=lambda path: (-path.count("/"), path)):
        directory = seen[path]
        if path != "." and directory.entries == directory.doomed and directory.modified < limit:
            empty.append(path)
            seen[path.rpartition("/")[0] or "."].doomed += 1
    return empty


def _remove(done: Cleaning, tree: Beneath) -> None:
    for each in done.files:
        try:
            fd, name = tree.place(each.path)
            found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if not _same(each, found):
                done.skip("changed meanwhile")
                continue
            os.unlink(name, dir_fd=fd)
            done.removed += 1
            done.removed_bytes += each.size
        except FileNotFoundError:
            done.skip("gone meanwhile")
        except OSError as error:
            done.failures.append((each.path, str(error.strerror)))
    for path in done.directories:
        # One that somebody has put something into, or has taken away, is not ours to complain about.
        with contextlib.suppress(OSError):
            fd, name = tree.place(path)
            os.rmdir(name, dir_fd=fd)
            done.removed_directories += 1


def _same(planned: Doomed, found: os.stat_result) -> bool:
    return stat.S_ISREG(found.st_mode) and (planned.modified, planned.device, planned.inode) == (
        found.st_mtime_ns,
        found.st_dev,
        found.st_ino,
    )


def _age(seconds: float) -> str:
    """An age for people: whole days, or hours where it is not one day yet."""
    unit = 86_400 if seconds >= 86_400 else 3600 if seconds >= 3600 else 1
    return format_duration(timedelta(seconds=int(seconds) // unit * unit))
