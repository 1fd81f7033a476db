# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compressing and removing rotated logs by their age, which logrotate cannot.

PRIVATE to the collection; may change without notice.

The age is that of the rotation, whose moment logrotate has written into the name. The directory may belong to the
service that writes the logs: no link is followed, and only regular files with one name are touched.
"""

from __future__ import annotations

import contextlib
import fnmatch
import gzip
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple

from .._beneath import open_directory
from .._engines._tree._index import printable
from .._errors import HoldfastError, NotFound
from ._logs import Log

TEMPORARY = ".holdfast-compress-"
_ROTATED = re.compile(r"(?P<log>.+)-(?P<stamp>[0-9]{8}-[0-9]{6})(?P<compressed>\.gz)?", re.DOTALL)
_STALE = 86_400
"""Seconds after which an unfinished compression is nobody's any more."""
STILL_WRITTEN = "it is still being written to, and was left as it is"
_CHUNK = 1024 * 1024
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass
class Aging:
    """What became of the rotated logs of a declared log; paths are whole.

    Attributes:
        compressed: rotated logs that are compressed now, or would be; `saved_bytes` is what that has freed.
        removed: rotated logs that are gone, or would be.
        failures: path and reason.
    """

    log: Log
    compressed: list[str] = field(default_factory=list)
    saved_bytes: int = 0
    removed: list[str] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)


class _Rotation(NamedTuple):
    name: str
    at: float
    compressed: bool


def age(log: Log, now: float, *, check: bool = False) -> Aging:
    """Remove the rotated logs that are older than `keep`, and compress those older than `compress_after`.

    Args:
        now: seconds since 1970.
        check: change nothing.
    """
    done = Aging(log)
    if not isinstance(log.keep, timedelta):
        return done
    wanted: dict[str, list[re.Pattern[str]]] = {}
    for path in log.paths:
        directory, _slash, pattern = path.rpartition("/")
        wanted.setdefault(directory or "/", []).append(re.compile(fnmatch.translate(pattern)))
    for directory, patterns in wanted.items():
        try:
            fd = open_directory(directory)
        except NotFound:
            continue  # nothing has logged yet
        except HoldfastError as error:
            done.failures.append((directory, error.message))
            continue
        try:
            _age_directory(done, directory, fd, patterns, now, check)
        finally:
            os.close(fd)
    return done


def _age_directory(
    done: Aging, directory: str, fd: int, patterns: list[re.Pattern[str]], now: float, check: bool
) -> None:
    log = done.log
    keep = log.keep if isinstance(log.keep, timedelta) else timedelta.max
    if not check:
        _sweep(fd, now)
    for each in _rotations(fd, patterns):
        path = os.path.join(directory, printable(each.name))
        old = now - each.at
        try:
            if old > keep.total_seconds():
                if not check:
                    os.unlink(each.name, dir_fd=fd)
                done.removed.append(path)
            elif log.compress_after is not None and old >= log.compress_after.total_seconds() and not each.compressed:
                if not check:
                    done.saved_bytes += _compress(fd, each.name)
                done.compressed.append(path)
        except FileNotFoundError:
            pass  # somebody else has removed it
        except OSError as error:
            done.failures.append((path, str(error.strerror)))


def _rotations(fd: int, patterns: list[re.Pattern[str]]) -> Iterator[_Rotation]:
    """The rotated logs of a directory, oldest first."""
    found = []
    with os.scandir(fd) as entries:
        for entry in entries:
            match = _ROTATED.fullmatch(entry.name)
            if match is None or not any(pattern.match(match["log"]) for pattern in patterns):
                continue
            if not stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
                continue
            with contextlib.suppress(ValueError, OverflowError):  # digits that are no date: not logrotate's
                at = time.mktime(time.strptime(match["stamp"], "%Y%m%d-%H%M%S"))
                found.append(_Rotation(entry.name, at, match["compressed"] is not None))
    return iter(sorted(found, key=lambda each: (each.at, each.name)))


def _compress(fd: int, name: str) -> int:
    """Put a compressed copy in the place of a file: complete, or not at all. Returns the bytes that it saves."""
    temporary = TEMPORARY + secrets.token_hex(8)
    source = os.open(name, _READ, dir_fd=fd)
    try:
        status = os.fstat(source)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            raise OSError(0, "it is no regular file, or has a second name")
        target = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=fd)
        try:
            with (
                open(source, "rb", closefd=False) as plain,
                open(target, "wb", closefd=False) as raw,
                gzip.GzipFile(printable(name), "wb", 6, raw, mtime=status.st_mtime) as packed,
            ):
                shutil.copyfileobj(plain, packed, _CHUNK)
            size = os.fstat(target).st_size
            _verify(target, status.st_size)
            if os.fstat(source).st_mtime_ns != status.st_mtime_ns:
                raise OSError(0, STILL_WRITTEN)
            os.fchown(target, status.st_uid, status.st_gid)
            os.fchmod(target, stat.S_IMODE(status.st_mode) & 0o777)
            os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
            os.fsync(target)
        finally:
            os.close(target)
        os.rename(temporary, f"{name}.gz", src_dir_fd=fd, dst_dir_fd=fd)
        os.unlink(name, dir_fd=fd)
        return status.st_size - size
    finally:
        os.close(source)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=fd)


def _verify(target: int, size: int) -> None:
    """What was written must unpack to as many bytes, with the checksum that gzip keeps."""
    os.lseek(target, 0, os.SEEK_SET)
    unpacked = 0
    with open(target, "rb", closefd=False) as raw, gzip.GzipFile(fileobj=raw) as packed:
        for chunk in iter(lambda: packed.read(_CHUNK), b""):
            unpacked += len(chunk)
    if unpacked != size:
        raise OSError(0, STILL_WRITTEN)


def _sweep(fd: int, now: float) -> None:
    """Remove what a run that was killed has left."""
    with os.scandir(fd) as entries:
        stale = [entry.name for entry in entries if entry.name.startswith(TEMPORARY)]
    for name in stale:
        with contextlib.suppress(OSError):
            if now - os.stat(name, dir_fd=fd, follow_symlinks=False).st_mtime > _STALE:
                os.unlink(name, dir_fd=fd)
