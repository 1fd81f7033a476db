# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding log files by patterns, and reading them from their end.

PRIVATE to the collection; may change without notice.

The directory of a log may belong to a service that somebody has taken over. So no link is followed on any part of the
way, and a file with a second name is not read: what it led to could be anybody's.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import os
import re
import stat
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..._beneath import DIRECTORY_FLAGS
from ..._errors import HoldfastError

BLOCK = 4 * 1024 * 1024
"""Bytes that are looked at together."""
MOST_FILES = 500

_ROTATED = re.compile(r"(?:[.-]\d[\d.T_-]*)(?:\.gz)?\Z")
_WILD = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Unreadable:
    """A place that could not be looked at, and why, in the words of the rest of a sentence."""

    path: str
    why: str


@dataclass
class LogFile:
    """An open log.

    Attributes:
        source: the path of the log that it is, or was before its rotation.
        modified: seconds since 1970.
    """

    path: str
    source: str
    fd: int
    size: int
    modified: float

    @property
    def compressed(self) -> bool:
        return self.path.endswith(".gz")

    def close(self) -> None:
        os.close(self.fd)


class Finder:
    """Opens the files that patterns name, each once.

    Args:
        since: files that were not written since are left out.
        rotated: also open what a log was before its rotation.
    """

    def __init__(self, since: float, rotated: bool) -> None:
        self._since = since
        self._rotated = rotated
        self._seen: set[tuple[int, int]] = set()
        self.troubles: list[Unreadable] = []
        self.files: list[LogFile] = []

    def find(self, pattern: str) -> int:
        """Open what a pattern (an absolute path, with wildcards in any part) names; how many fitted."""
        parts = [part for part in pattern.split("/") if part]
        before = len(self.troubles)
        fd = os.open("/", DIRECTORY_FLAGS)
        matched = self._descend(fd, "", parts)
        return matched + len(self.troubles) - before

    def close(self) -> None:
        for file in self.files:
            file.close()
        self.files.clear()

    def _descend(self, fd: int, path: str, parts: Sequence[str]) -> int:
        """Takes over the descriptor."""
        try:
            head, rest = parts[0], parts[1:]
            if not rest:
                return self._files(fd, path, head)
            matched = 0
            for name in self._names(fd, path, head):
                try:
                    below = os.open(name, DIRECTORY_FLAGS, dir_fd=fd)
                except OSError as error:
                    # A wildcard means directories; what it fits besides is no trouble.
                    if not (_WILD.search(head) and error.errno in (errno.ENOTDIR, errno.ELOOP)):
                        self._trouble(f"{path}/{name}", error)
                    continue
                matched += self._descend(below, f"{path}/{name}", rest)
            return matched
        finally:
            os.close(fd)

    def _names(self, fd: int, path: str, pattern: str) -> list[str]:
        if not _WILD.search(pattern):
            return [pattern]
        try:
            names = os.listdir(fd)
        except OSError as error:
            self._trouble(path, error)
            return []
        hidden = pattern.startswith(".")
        return sorted(
            name for name in names if fnmatch.fnmatchcase(name, pattern) and (hidden or not name.startswith("."))
        )

    def _files(self, fd: int, path: str, pattern: str) -> int:
        names = self._names(fd, path, pattern)
        for name in names:
            self._open(fd, path, name, name, named=name == pattern)
        if self._rotated:
            with contextlib.suppress(OSError):  # a directory that may be walked through and not listed
                for name in sorted(os.listdir(fd)):
                    found = _ROTATED.search(name)
                    if found and name[: found.start()] in names:
                        self._open(fd, path, name, name[: found.start()], named=False)
        return len(names)

    def _open(self, fd: int, path: str, name: str, source: str, *, named: bool) -> None:
        if len(self.files) >= MOST_FILES:
            self.troubles.append(Unreadable(f"{path}/{name}", f"is one of more than {MOST_FILES} files"))
            return
        rotated = _ROTATED.search(name)
        if source == name and rotated and not named:  # fitted by a wildcard such as error.log*
            source = name[: rotated.start()]
        full = f"{path}/{name}"
        try:
            opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)
        except OSError as error:
            if named or error.errno != errno.ENOENT:
                self._trouble(full, error)
            return
        status = os.fstat(opened)
        key = (status.st_dev, status.st_ino)
        wanted = stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and key not in self._seen
        if not wanted or status.st_mtime < self._since:
            os.close(opened)
            if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
                self.troubles.append(Unreadable(full, "has a second name (a hard link), which is not read"))
            elif not stat.S_ISREG(status.st_mode) and named:
                self.troubles.append(Unreadable(full, "is no file"))
            return
        self._seen.add(key)
        self.files.append(LogFile(full, f"{path}/{source}", opened, status.st_size, status.st_mtime))

    def _trouble(self, path: str, error: OSError) -> None:
        why = {
            errno.ENOENT: "does not exist",
            errno.ELOOP: "is a symbolic link, which is not followed",
            errno.ENOTDIR: "is no directory, or a symbolic link, which is not followed",
            errno.EACCES: "may not be read",
        }.get(error.errno or 0, f"cannot be read ({error.strerror})")
        self.troubles.append(Unreadable(path, why))


class Cutter(Protocol):
    """Knows where entries begin."""

    def beginning(self, data: bytes) -> int:
        """Where the first entry begins that is not cut, or the first line; the length of `data` when there is none."""

    def ending(self, data: bytes) -> int:
        """Where the last entry begins, which may be cut; the length of `data` when there is but one."""


def blocks(file: LogFile, cutter: Cutter) -> Iterator[bytes]:
    """The contents in blocks that begin with an entry, if possible; the last one first, unless it is compressed.

    What is appended meanwhile is not seen. A line longer than a block is left out.

    Raises:
        OSError, HoldfastError: it cannot be read (on).
    """
    yield from _unpacked(file, cutter) if file.compressed else _backwards(file, cutter)


def _backwards(file: LogFile, cutter: Cutter) -> Iterator[bytes]:
    end = file.size
    while end > 0:
        start = max(0, end - BLOCK)
        data = os.pread(file.fd, end - start, start)
        skip = 0 if start == 0 else cutter.beginning(data)
        if skip < len(data):
            yield data[skip:] if skip else data
        end = start + skip if 0 < skip < len(data) else start


def _unpacked(file: LogFile, cutter: Cutter) -> Iterator[bytes]:
    unpack, held, at = zlib.decompressobj(wbits=31), b"", 0
    while True:
        packed = os.pread(file.fd, 256 * 1024, at)
        at += len(packed)
        if not packed:
            break
        while packed:
            try:
                held += unpack.decompress(packed, BLOCK)
            except zlib.error as error:
                raise HoldfastError(f"{file.path} is no sound gzip file.", tool_output=str(error)) from None
            packed = unpack.unconsumed_tail
            if unpack.eof:  # gzip files may be joined
                packed, unpack = unpack.unused_data, zlib.decompressobj(wbits=31)
            while len(held) >= BLOCK:
                cut = cutter.ending(held)
                yield held[:cut]
                held = held[cut:]
    if held:
        yield held
