# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Walking a tree: one directory after the other, in a fixed order, with one lstat per entry.

PRIVATE to the collection; may change without notice.

Nothing here follows a symbolic link below the root. Directories come depth first, siblings by name; what a
directory holds is summed up in a signature, so that an unchanged directory is recognised by one comparison.
"""

from __future__ import annotations

import errno
import os
import stat
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ..._beneath import DIRECTORY_FLAGS
from ..._errors import HoldfastError, NotFound, PermissionDenied
from ._patterns import Patterns

LISTED = 100
"""Paths of each kind of trouble that are named; all are counted."""

STAT_FIELDS = 9
"""Numbers per entry in a signature: all of `Seen` but the device."""
NO_STATUS = (0,) * STAT_FIELDS
"""In the place of numbers that shall never be found again."""

_HIGH = 2**63


@dataclass
class Troubles:
    """What could not be backed up as it stands: counts, and the first paths of each kind."""

    counts: dict[str, int] = field(default_factory=dict)
    paths: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, path: str) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + 1
        named = self.paths.setdefault(kind, [])
        if len(named) < LISTED:
            named.append(path)


class Seen(NamedTuple):
    """What the walk has seen of an entry: the part of a stat result that we use, named as there."""

    st_mode: int
    st_uid: int
    st_gid: int
    st_size: int
    st_mtime_ns: int
    st_ctime_ns: int
    st_ino: int
    st_nlink: int
    st_rdev: int
    st_dev: int = 0


@dataclass(frozen=True)
class Directory:
    """A directory and what lies in it, except further directories.

    Attributes:
        path: relative to the root; empty for the root itself.
        own: what was seen of itself; None when the root is a single file.
        names: of the entries, sorted.
        numbers: stat fields of the entries, one after the other (a directory may have very many).
        device: that it lies on; `elsewhere` has those of entries that lie on another one.
    """

    path: str
    own: Seen | None
    names: Sequence[str]
    numbers: array[int]
    device: int
    elsewhere: Mapping[str, int]

    def child(self, name: str) -> str:
        """The path of an entry."""
        return f"{self.path}/{name}" if self.path else name

    def entries(self) -> Iterator[tuple[str, Seen]]:
        """Names and what was seen of them, in order."""
        for position, name in enumerate(self.names):
            fields = self.numbers[position * STAT_FIELDS : (position + 1) * STAT_FIELDS]
            yield name, Seen._make([*fields, self.elsewhere.get(name, self.device)])

    @property
    def signature(self) -> bytes:
        """Equal for a directory in which nothing has changed."""
        return sign(self.own[:STAT_FIELDS] if self.own is not None else NO_STATUS, self.names, self.numbers)


def order(path: str) -> str:
    """A key that sorts paths of directories as the walk visits them."""
    return path.replace("/", "\0")


def numbers(status: os.stat_result | Seen) -> list[int]:
    """What a signature keeps of an entry."""
    inode, device = status.st_ino, status.st_rdev
    return [
        status.st_mode,
        status.st_uid,
        status.st_gid,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        inode if inode < _HIGH else inode - 2 * _HIGH,  # inode numbers of some file systems use the highest bit
        status.st_nlink,
        device if device < _HIGH else device - 2 * _HIGH,
    ]


def seen(status: os.stat_result) -> Seen:
    """A stat result as the walk keeps it."""
    return Seen._make([*numbers(status), status.st_dev])


def sign(own: Sequence[int], names: Sequence[str], fields: array[int]) -> bytes:
    """The signature of a directory: the number of its entries, its own stat fields and theirs, their names."""
    head = array("q", [len(names), *own]).tobytes()
    return b"".join((head, fields.tobytes(), "\0".join(names).encode("utf-8", "surrogateescape")))


def entry_count(signature: bytes) -> int:
    """How many entries a signature is of."""
    return array("q", signature[:8])[0]


def unsign(signature: bytes) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and stat fields in a signature: the directory's own first, under the name `.`."""
    count = entry_count(signature)
    end = 8 + 8 * STAT_FIELDS * (count + 1)
    values = array("q", signature[8:end])
    names = signature[end:].decode("utf-8", "surrogateescape").split("\0") if count else []
    for position, name in enumerate([".", *names]):
        yield name, tuple(values[position * STAT_FIELDS : (position + 1) * STAT_FIELDS])


class Root:
    """The opened root of a tree.

    Raises:
        NotFound: there is nothing at `path`.
        PermissionDenied: it cannot be read.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.single: str | None = None
        directory = path
        with _Opening(path):
            if not stat.S_ISDIR(os.stat(path).st_mode):
                directory, self.single = os.path.split(os.path.abspath(path))
            self.fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        os.close(self.fd)

    def path_of(self, path: str) -> str:
        """A path that reaches an entry from the opened root, for calls that take no directory descriptor."""
        return f"/proc/self/fd/{self.fd}/{path}"


class _Opening:
    """Says what is wrong with a root in our own words."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (FileNotFoundError, NotADirectoryError)):
            raise NotFound(f"There is no {self._path} on this host.", stage="preflight") from None
        if isinstance(error, PermissionError):
            raise PermissionDenied(
                f"{self._path} cannot be read: {error.strerror}.",
                right="read the source",
                stage="preflight",
                hint="Run as root (become).",
            ) from None
        if isinstance(error, OSError):
            raise HoldfastError(f"{self._path} cannot be opened: {error.strerror}.", stage="preflight") from None


class Scanner:
    """One walk over a tree.

    Attributes:
        troubles: directories that vanished or could not be read, sockets.
    """

    def __init__(self, root: Root, patterns: Patterns, one_file_system: bool, troubles: Troubles) -> None:
        self._root = root
        self._patterns = patterns
        self._one_file_system = one_file_system
        self._device = os.fstat(root.fd).st_dev
        self.troubles = troubles

    def __iter__(self) -> Iterator[Directory]:
        if self._root.single is not None:
            yield self._single(self._root.single)
            return
        stack = [""]
        while stack:
            path = stack.pop()
            found = self._read(path)
            if found is None:
                continue
            directory, children = found
            prefix = f"{path}/" if path else ""
            stack += [prefix + name for name in sorted(children, reverse=True)]
            yield directory

    def _single(self, name: str) -> Directory:
        try:
            status = os.stat(name, dir_fd=self._root.fd, follow_symlinks=False)
        except OSError as error:
            raise NotFound(f"There is no {self._root.path} any more ({error.strerror}).") from None
        return Directory("", None, [name], array("q", numbers(status)), status.st_dev, {})

    def _read(self, path: str) -> tuple[Directory, list[str]] | None:
        """A directory and the names of those in it; None when it cannot be read."""
        try:
            fd = os.open(path or ".", DIRECTORY_FLAGS, dir_fd=self._root.fd)
        except OSError as error:
            # a link in its place (ELOOP, ENOTDIR) is met as such by the next run
            gone = error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
            self.troubles.add("vanished" if gone else "unreadable", path)
            return None
        try:
            status = os.fstat(fd)
            if self._one_file_system and status.st_dev != self._device:
                return Directory(path, seen(status), [], array("q"), status.st_dev, {}), []  # the mount point, empty
            return self._list(path, fd, status)
        except OSError:
            self.troubles.add("unreadable", path)
            return None
        finally:
            os.close(fd)

    def _list(self, path: str, fd: int, status: os.stat_result) -> tuple[Directory, list[str]]:
        patterns = self._patterns
        prefix = f"{path}/" if path else ""
        children: list[str] = []
        names: list[str] = []
        fields = array("q")
        elsewhere: dict[str, int] = {}
        with os.scandir(fd) as entries:
            for entry in entries:
                name = entry.name
                is_directory = entry.is_dir(follow_symlinks=False)
                if patterns and patterns.excluded(prefix + name, is_directory):
                    continue
                if is_directory:
                    children.append(name)
                    continue
                try:
                    found = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    self.troubles.add("vanished", prefix + name)
                    continue
                if stat.S_ISSOCK(found.st_mode):
                    self.troubles.add("sockets", prefix + name)
                    continue
                names.append(name)
                fields.fromlist(numbers(found))
                if found.st_dev != status.st_dev:
                    elsewhere[name] = found.st_dev
        return Directory(path, seen(status), *_sorted(names, fields), status.st_dev, elsewhere), children


def _sorted(names: list[str], fields: array[int]) -> tuple[list[str], array[int]]:
    """Names in order, and their stat fields likewise."""
    ordered = array("q")
    for position in sorted(range(len(names)), key=names.__getitem__):
        ordered.extend(fields[position * STAT_FIELDS : (position + 1) * STAT_FIELDS])
    return sorted(names), ordered
