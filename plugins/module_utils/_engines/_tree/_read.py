# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading files: content that is known to be whole, attributes, holes.

PRIVATE to the collection; may change without notice.

A file is opened without following a link and without waiting (a FIFO in its place must not hang us), must still be
the one that the walk has seen, and is looked at again after reading: what changed meanwhile is read again.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..._errors import Interrupted, SourceChanged
from ..._stream._codec import Compression
from ._index import SYMLINK, Entry, entry_type
from ._scan import Root, Seen, seen

CHUNK = 1024 * 1024
TRIES = 3
"""Times that a file is read before it is taken as it is and reported as changing."""

SAMPLE = 128 * 1024
"""Bytes at the beginning, the middle and the end that tell whether a content can be compressed."""
WORTHWHILE = 0.95
"""Compressed size of the sample, as a share, above which compressing costs more than it saves."""

FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Vanished(Exception):
    """The file is gone, or something else is in its place."""


class Unreadable(Exception):
    """The file cannot be read; the message is the operating system's."""


@dataclass
class Content:
    """What reading a file gave.

    Attributes:
        status: of the file as it was when it was read.
        size: bytes that were read.
        data: the bytes, of a small file only.
        changed: it did not hold still.
    """

    status: os.stat_result
    size: int
    sha256: str
    data: bytes = b""
    compressed: bool = False
    changed: bool = False
    xattrs: dict[str, bytes] = field(default_factory=dict)
    sparse: tuple[tuple[int, int], ...] | None = None


@contextlib.contextmanager
def opened(root: Root, path: str, before: Seen) -> Iterator[tuple[int, os.stat_result]]:
    """The descriptor and status of a regular file that the walk has seen.

    Raises:
        Vanished, Unreadable
    """
    try:
        fd = os.open(path, FILE_FLAGS, dir_fd=root.fd)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO):
            raise Vanished from None
        raise Unreadable(error.strerror) from None
    try:
        status = os.fstat(fd)
        now = seen(status)
        if not stat.S_ISREG(now.st_mode) or (now.st_dev, now.st_ino) != (before.st_dev, before.st_ino):
            raise Vanished
        yield fd, status
    except OSError as error:  # an input error of the medium
        raise Unreadable(error.strerror) from None
    finally:
        os.close(fd)


def read_small(root: Root, path: str, before: Seen, limit: int) -> Content | None:
    """A small file, whole; None when it has grown to `limit` bytes meanwhile."""
    with opened(root, path, before) as (fd, status):
        if status.st_size >= limit:
            return None
        for attempt in range(TRIES):
            data = b"".join(_ranges(fd, status.st_size))
            after = os.fstat(fd)
            changed = not _same(status, after)
            status = after
            if not changed or attempt == TRIES - 1:
                break
        return Content(
            status,
            len(data),
            hashlib.sha256(data).hexdigest(),
            data,
            changed=changed,
            xattrs=xattrs_of(fd),
            sparse=_data_ranges(fd, status),
        )


def digest_large(root: Root, path: str, before: Seen, stopping: threading.Event) -> Content:
    """The checksum of a large file, and whether it is worth compressing. Ends early when `stopping` is set."""
    with opened(root, path, before) as (fd, status):
        for attempt in range(TRIES):
            digest = hashlib.sha256()
            for chunk in _ranges(fd, status.st_size):
                digest.update(chunk)
                if stopping.is_set():
                    raise Interrupted("The run was given up.")
            after = os.fstat(fd)
            changed = not _same(status, after)
            if not changed or attempt == TRIES - 1:
                break
            status = after
        samples = [os.pread(fd, SAMPLE, max(0, status.st_size * part // 2 - SAMPLE // 2)) for part in (0, 1, 2)]
        sparse = _data_ranges(fd, status)
        compressed = sparse is None and is_compressed(samples)
        return Content(status, status.st_size, digest.hexdigest(), b"", compressed, changed, xattrs_of(fd), sparse)


def is_compressed(samples: list[bytes]) -> bool:
    """Whether compressing is a waste, tried on samples: what a name or a magic number promises is often untrue
    (a zip of stored members, float weights), and the trial costs a millisecond."""
    data = b"".join(samples)
    with contextlib.suppress(ImportError):
        import zstandard

        return len(zstandard.ZstdCompressor(level=1).compress(data)) > WORTHWHILE * len(data)
    Compression().check()  # says what is missing
    return False


class LargeFile:
    """The content of a large file, for the stream: at most the bytes that it had when its checksum was taken.

    Args:
        digest: learns every byte, for a content that is taken as it comes; None when somebody else checks it.
    """

    def __init__(self, root: Root, path: str, status: os.stat_result, digest: hashlib._Hash | None = None) -> None:
        self._root = root
        self._path = path
        self._status = status
        self._digest = digest
        self.size = 0

    def chunks(self) -> Iterator[bytes]:
        with opened(self._root, self._path, seen(self._status)) as (fd, _status):
            for chunk in _ranges(fd, self._status.st_size):
                if self._digest is not None:
                    self._digest.update(chunk)
                self.size += len(chunk)
                yield chunk
        if self._digest is None and self.size != self._status.st_size:
            raise SourceChanged("The file has become shorter while it was read.", stage="upload")

    def abort(self) -> None:
        return None


def _ranges(fd: int, size: int) -> Iterator[bytes]:
    """The first `size` bytes of a file: a file that grows while it is read has an end nevertheless."""
    offset = 0
    while offset < size:
        chunk = os.pread(fd, min(CHUNK, size - offset), offset)
        if not chunk:
            return
        offset += len(chunk)
        yield chunk


def _same(before: os.stat_result, after: os.stat_result) -> bool:
    return (before.st_size, before.st_mtime_ns, before.st_ctime_ns) == (
        after.st_size,
        after.st_mtime_ns,
        after.st_ctime_ns,
    )


def _data_ranges(fd: int, status: os.stat_result) -> tuple[tuple[int, int], ...] | None:
    """Where the data of a file with holes lies; None for a file without holes."""
    if status.st_blocks * 512 >= status.st_size:
        return None
    ranges = []
    offset = 0
    try:
        while offset < status.st_size:
            start = os.lseek(fd, offset, os.SEEK_DATA)
            offset = os.lseek(fd, start, os.SEEK_HOLE)
            ranges.append((start, min(offset, status.st_size) - start))
    except OSError as error:
        if error.errno == errno.EINVAL:  # the file system does not tell
            return None
        if error.errno != errno.ENXIO:  # ENXIO: only a hole is left
            raise
    if ranges == [(0, status.st_size)]:  # fewer blocks for another reason, such as the file system's compression
        return None
    return tuple(ranges)


def xattrs_of(where: int | str) -> dict[str, bytes]:
    """Extended attributes of an open file or of a path, POSIX ACLs among them; a link is not followed."""
    options = {} if isinstance(where, int) else {"follow_symlinks": False}
    found: dict[str, bytes] = {}
    try:
        names = os.listxattr(where, **options)
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.EPERM, errno.ENOENT):
            return found
        raise
    for name in names:
        try:
            found[name] = os.getxattr(where, name, **options)
        except OSError as error:
            if error.errno not in (errno.ENODATA, errno.ENOTSUP, errno.EPERM, errno.EACCES):
                raise
    return found


def special_entry(root: Root, path: str, status: Seen) -> Entry:
    """The entry of a link, FIFO or device.

    Raises:
        Vanished, Unreadable
    """
    entry = metadata_entry(path, status)
    try:
        if entry.type == SYMLINK:
            entry.target = os.readlink(path, dir_fd=root.fd)
        entry.xattrs = xattrs_of(root.path_of(path))
    except FileNotFoundError:
        raise Vanished from None
    except OSError as error:
        if error.errno == errno.EINVAL:  # no link any more
            raise Vanished from None
        raise Unreadable(error.strerror) from None
    if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
        entry.device = (os.major(status.st_rdev), os.minor(status.st_rdev))
    return entry


def metadata_entry(path: str, status: Seen | os.stat_result) -> Entry:
    """What a status says of an entry."""
    kind = entry_type(status.st_mode)
    if kind is None:
        raise Vanished  # a socket took its place
    linked = status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode)
    return Entry(
        path,
        kind,
        stat.S_IMODE(status.st_mode),
        status.st_uid,
        status.st_gid,
        status.st_mtime_ns,
        size=status.st_size if stat.S_ISREG(status.st_mode) else 0,
        link=f"{status.st_dev:x}-{status.st_ino:x}" if linked else None,
    )
