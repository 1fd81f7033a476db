# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing a tree: every entry aside and then renamed into place, never through a symbolic link.

PRIVATE to the collection; may change without notice.

No link in the target, nor one that somebody plants meanwhile, leads us out of it (`Beneath`).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import secrets
import stat
from array import array
from collections.abc import Collection
from typing import Any, Callable

from ..._beneath import Beneath
from ..._errors import Corrupted, DiskFull, HoldfastError, PermissionDenied, Refused
from ._index import BLOCK, CHARACTER, DIRECTORY, FIFO, FILE, SYMLINK, Entry, entry_type, printable, same_metadata
from ._read import xattrs_of

TEMPORARY = ".holdfast-restore-"
CHUNK = 1024 * 1024
ACL = "system.posix_acl_access"


class Target(Beneath):
    """The place that a tree is written to.

    Attributes:
        unset: attributes that could not be set, and why: `owner` → `Operation not permitted`.
        made: the inodes of all that was made here: a name may be somebody else's by the time that it is undone.
    """

    def __init__(self, path: str) -> None:
        super().__init__(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        self.path = path
        self.unset: dict[str, str] = {}
        self.made = array("Q")

    def _reach(self, path: str) -> str:
        """A path for calls that take no directory descriptor; its last component may be a link."""
        fd, name = self.place(path)
        return f"/proc/self/fd/{fd}/{name}"

    # Making things.

    def make_directory(self, entry: Entry) -> bool:
        """Make sure that there is a directory, in the place of a file or link if need be; True when it is new."""
        found = self.status(entry.path)
        if found is not None and stat.S_ISDIR(found.st_mode):
            self._sweep(entry.path)
            return False
        fd, name = self.place(entry.path)
        if found is not None:
            os.unlink(name, dir_fd=fd)
        os.mkdir(name, 0o700, dir_fd=fd)
        self.made.append(os.stat(name, dir_fd=fd, follow_symlinks=False).st_ino)
        return True

    def _sweep(self, path: str) -> None:
        """Remove what a restore that was killed has left in a directory."""
        with contextlib.suppress(OSError), os.scandir(self.directory(path)) as entries:
            stale = [entry.name for entry in entries if entry.name.startswith(TEMPORARY)]
            for name in stale:
                os.unlink(name, dir_fd=self.directory(path))

    def put(self, entry: Entry, temporary: str) -> None:
        """Rename a finished thing into its place; an empty directory gives way."""
        fd, name = self.place(entry.path)
        self.made.append(os.stat(temporary, dir_fd=fd, follow_symlinks=False).st_ino)
        try:
            os.rename(temporary, name, src_dir_fd=fd, dst_dir_fd=fd)
        except IsADirectoryError:
            try:
                os.rmdir(name, dir_fd=fd)
            except OSError:
                raise Refused(
                    f"{printable(entry.path)} is a directory with something in it, and a {entry.type} in the backup.",
                    hint="Move it away, or restore elsewhere (target).",
                ) from None
            self._forget()
            self.put(entry, temporary)

    def special(self, entry: Entry) -> None:
        """Make a link, FIFO or device."""
        fd, _name = self.place(entry.path)
        temporary = TEMPORARY + secrets.token_hex(8)
        if entry.type == SYMLINK:
            os.symlink(entry.target or "", temporary, dir_fd=fd)
        elif entry.type == FIFO:
            os.mkfifo(temporary, 0o600, dir_fd=fd)
        else:
            kind = {CHARACTER: stat.S_IFCHR, BLOCK: stat.S_IFBLK}[entry.type]
            try:
                os.mknod(temporary, kind | 0o600, os.makedev(*(entry.device or (0, 0))), dir_fd=fd)
            except PermissionError as error:
                self.unset.setdefault("device", str(error.strerror))
                return
        try:
            self._attributes(f"/proc/self/fd/{fd}/{temporary}", entry)
            self.put(entry, temporary)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=fd)

    def link(self, entry: Entry, first: str) -> None:
        """Make another name of a file that has been restored."""
        fd, _name = self.place(entry.path)
        fd = os.dup(fd)  # `directory` may close the descriptor that `place` gave
        temporary = TEMPORARY + secrets.token_hex(8)
        try:
            source, name = self.place(first)
            os.link(name, temporary, src_dir_fd=source, dst_dir_fd=fd, follow_symlinks=False)
            self.put(entry, temporary)
        finally:
            with contextlib.suppress(FileNotFoundError):  # rename leaves it when both are the same file already
                os.unlink(temporary, dir_fd=fd)
            os.close(fd)

    def finish(self, entry: Entry) -> None:
        """Set the attributes of what is already there: a directory at the end, a file that needs no new content."""
        if entry.type == DIRECTORY:
            self._attributes(self.directory(entry.path), entry)
        elif entry.type == FILE:
            fd, name = self.place(entry.path)
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)
            try:
                self._attributes(file, entry)
            finally:
                os.close(file)
        else:
            self._attributes(self._reach(entry.path), entry)

    def _attributes(self, where: int | str, entry: Entry) -> None:
        """Owner, then attributes and mode (a change of owner clears some), then times."""
        follow = isinstance(where, int)  # what a descriptor stands for is no link
        self._try("owner", os.chown, where, entry.uid, entry.gid, follow_symlinks=follow)
        for name in set(xattrs_of(where)) - set(entry.xattrs):
            self._try(name, os.removexattr, where, name, follow_symlinks=follow)
        if entry.type != SYMLINK:
            self._try("mode", os.chmod, where, entry.mode)
        for name, value in entry.xattrs.items():
            self._try(name, os.setxattr, where, name, value, follow_symlinks=follow)
        os.utime(where, ns=(entry.mtime, entry.mtime), follow_symlinks=follow)

    def _try(self, what: str, action: Callable[..., object], *arguments: Any, **options: Any) -> None:
        """Do what may not be permitted or possible here; the proof tells what differs."""
        try:
            action(*arguments, **options)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EINVAL):
                raise
            self.unset.setdefault(what, str(error.strerror))

    # Undoing.

    def holds(self, path: str, inodes: Collection[int]) -> bool:
        """Whether one of these is at a path."""
        try:
            found = self.status(path)
        except OSError:  # somebody has closed the way to it: not ours any more
            return False
        return found is not None and found.st_ino in inodes

    def make_writable(self, path: str) -> None:
        """Give a directory that was made here a mode that lets its owner remove what is in it."""
        fd, name = self.place(path)
        directory = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        try:
            os.chmod(f"/proc/self/fd/{directory}", 0o700)
        finally:
            os.close(directory)

    def remove(self, entry: Entry) -> None:
        """Remove an entry; a directory only when it is empty."""
        fd, name = self.place(entry.path)
        (os.rmdir if entry.type == DIRECTORY else os.unlink)(name, dir_fd=fd)

    # Comparing.

    def digest(self, path: str, *, from_disk: bool = False) -> str | None:
        """The SHA-256 of a regular file; None when there is none.

        Args:
            from_disk: not what the cache has of it, as far as the kernel lets us. Small files are read from the
                cache all the same: a disk would have to seek for every one of them.
        """
        try:
            fd, name = self.place(path)
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)
        except OSError:
            return None
        with open(file, "rb", buffering=0) as stream:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode):
                return None
            if from_disk and status.st_size >= CHUNK:
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            digest = hashlib.sha256()
            for chunk in iter(lambda: stream.read(CHUNK), b""):
                digest.update(chunk)
        return digest.hexdigest()

    def differences(self, entry: Entry, *, owners: bool, from_disk: bool = False) -> list[str]:
        """How an entry on disk differs from the index, content included."""
        found = self.status(entry.path)
        if found is None:
            return ["is missing"]
        differences = same_metadata(entry, found, owners=owners)
        if entry.type != entry_type(found.st_mode):
            return differences
        if entry.type == SYMLINK:
            fd, name = self.place(entry.path)
            if os.readlink(name, dir_fd=fd) != (entry.target or ""):
                differences.append("points elsewhere")
        found_attributes = xattrs_of(self._reach(entry.path))
        names = (set(entry.xattrs) | set(found_attributes)) - set(self.unset)  # those are told apart
        if any(entry.xattrs.get(name) != found_attributes.get(name) for name in names):
            differences.append("extended attributes")
        if entry.type == FILE and self.digest(entry.path, from_disk=from_disk) != entry.sha256:
            differences.append("content")
        return differences


class NewFile:
    """A file being written aside: a sink for its content that renames it into place when it is whole."""

    def __init__(self, target: Target, entry: Entry) -> None:
        self._target = target
        self._entry = entry
        self._position = 0
        self._digest = hashlib.sha256()
        self._holes = _holes(entry)
        directory, _name = target.place(entry.path)
        self._directory = os.dup(directory)
        self._name = TEMPORARY + secrets.token_hex(8)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(self._name, flags, 0o600, dir_fd=self._directory)

    def write(self, data: bytes | memoryview) -> None:
        self._digest.update(data)
        view = memoryview(data)
        while len(view):
            size = self._hole(len(view))
            if size:
                if view[:size].tobytes().count(0) != size:
                    size = -size  # the map and the content differ: the content stands
            else:
                size = -min(len(view), self._data(len(view)))
            if size < 0:
                size = -size
                _write_at(self._fd, view[:size], self._position)
            self._position += size
            view = view[size:]

    def _hole(self, limit: int) -> int:
        """How many of the next bytes lie in a hole."""
        while self._holes and self._holes[0][1] <= self._position:
            self._holes.pop(0)
        if self._holes and self._holes[0][0] <= self._position:
            return min(limit, self._holes[0][1] - self._position)
        return 0

    def _data(self, limit: int) -> int:
        """How many of the next bytes lie before the next hole."""
        return min(limit, self._holes[0][0] - self._position) if self._holes else limit

    def close(self) -> None:
        """Put it in its place.

        Raises:
            Corrupted: the content is not what the index says; nothing was replaced.
        """
        try:
            if self._digest.hexdigest() != self._entry.sha256:
                raise Corrupted(f"The content of {printable(self._entry.path)} is not what the index says.")
            os.ftruncate(self._fd, self._position)
            self._target._attributes(self._fd, self._entry)
            self._target.put(self._entry, self._name)
            self._name = ""
        finally:
            self.discard()

    def discard(self) -> None:
        """Remove what was not put in place. Never raises; safe to call twice."""
        if self._fd >= 0:
            os.close(self._fd)
            if self._name:
                with contextlib.suppress(OSError):
                    os.unlink(self._name, dir_fd=self._directory)
            os.close(self._directory)
            self._fd = -1


def _holes(entry: Entry) -> list[tuple[int, int]]:
    """Begin and end of the holes of a file."""
    if entry.sparse is None:
        return []
    holes, position = [], 0
    for start, length in entry.sparse:
        if start > position:
            holes.append((position, start))
        position = start + length
    if position < entry.size:
        holes.append((position, entry.size))
    return holes


def _write_at(fd: int, view: memoryview, offset: int) -> None:
    while len(view):
        written = os.pwrite(fd, view, offset)
        view = view[written:]
        offset += written


def synchronise(fd: int) -> None:
    """Make everything that was written to the file system of a descriptor durable, by one call for all files."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "syncfs"):
        os.sync()
        return
    if libc.syncfs(fd) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


class target_errors:  # noqa: N801 - reads as the context that it is
    """Turns the operating system's errors into ours, naming the target."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, OSError):
            return
        name = f" ({printable(os.fsdecode(error.filename))})" if error.filename else ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"There is no more room at {self._path}.", hint="Make room and restore again.") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise PermissionDenied(
                f"No permission to write to {self._path}{name}: {error.strerror}.",
                right="write the target",
                hint="Run as root (become).",
            ) from error
        raise HoldfastError(f"Writing to {self._path}{name} failed: {error.strerror}.") from error
