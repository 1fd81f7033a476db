# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory as a repository: 0700 directories, 0600 files, link(2) as the commit, fsync of file and directory.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, ClassVar, NoReturn

from .._errors import (
    AlreadyExists,
    Corrupted,
    DiskFull,
    HoldfastError,
    InvalidOption,
    NotFound,
    PermissionDenied,
    Unavailable,
)
from ._interface import Buffer, PartSum, ProbeReport, Repository, StoredObject, Upload

INCOMPLETE = ".incomplete"
"""Directory, beside the objects, of files that are still being written."""

RESERVE = 64 * 1024 * 1024
"""Bytes of free room that a preflight wants beyond what the backup is expected to need."""


class LocalRepository(Repository):
    """Objects as files under one directory."""

    type = "local"
    OPTIONS: ClassVar[Mapping[str, Any]] = {
        "path": {"type": "path", "required": True},
    }
    WRITTEN: ClassVar[Sequence[str]] = ("path",)

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        self.name = name
        path = options.get("path")
        if not path or not os.path.isabs(path):
            raise InvalidOption(f"The repository {name} (local) needs an absolute path.", stage="preflight")
        self._top = path
        self._root = os.path.join(path, options.get("prefix") or "").rstrip("/")

    def _path(self, key: str) -> str:
        if key.startswith("/") or ".." in key.split("/"):
            raise InvalidOption(f"{key!r} is not a key.")
        return os.path.join(self._root, key)

    def probe(self, rights: Sequence[str], expected_bytes: int = 0, *, write: bool = True) -> ProbeReport:
        anchor = self._top
        while not os.path.isdir(anchor):
            if os.path.lexists(anchor):
                raise NotFound(f"The repository {self.name}: {anchor} is not a directory.", stage="preflight")
            anchor = os.path.dirname(anchor)
        wanted = os.R_OK | os.X_OK | (os.W_OK if {"write", "delete"} & set(rights) else 0)
        if not os.access(anchor, wanted):
            right = "write" if os.access(anchor, os.R_OK | os.X_OK) else "list"
            raise PermissionDenied(
                f"The repository {self.name}: no permission to {right} in {anchor}.", right=right, stage="preflight"
            )
        usage = shutil.disk_usage(anchor)
        free = usage.free
        if "write" in rights and free < expected_bytes + RESERVE:
            raise DiskFull(
                f"The repository {self.name} has {free // 2**20} MiB free at {anchor}; this needs about "
                f"{(expected_bytes + RESERVE) // 2**20} MiB.",
                stage="preflight",
                hint="Make room, or prune.",
            )
        if write and "write" in rights:
            with _Translated(self.name, "write"):
                _make_directories(self._root)
        return ProbeReport(dict.fromkeys(rights, True), "sha256", free, size_bytes=usage.total)

    def put(self, key: str, data: Buffer, sha256: bytes) -> None:
        with _Translated(self.name, "write"):
            temporary = self._temporary(key)
        try:
            upload = _LocalUpload(self, key, temporary)
            try:
                upload.write_part(1, data, sha256)
                upload.complete([PartSum(1, len(data), sha256)])
            finally:
                upload.abort()
        finally:
            # By name: a signal can come between the making of the file and our hearing of it.
            with contextlib.suppress(OSError):
                os.unlink(temporary)

    def begin(self, key: str) -> Upload:
        with _Translated(self.name, "write"):
            return _LocalUpload(self, key, self._temporary(key))

    def list(self, prefix: str) -> Iterator[StoredObject]:
        # A prefix need not end at a directory: walk the last whole directory of it and filter.
        start = self._path(prefix.rpartition("/")[0])
        with _Translated(self.name, "list"):
            for path, status in _walk(start):
                key = os.path.relpath(path, self._root)
                if key.startswith(prefix):
                    modified = datetime.fromtimestamp(status.st_mtime, timezone.utc)
                    yield StoredObject(key, status.st_size, modified)

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        with _Translated(self.name, "read", key), open(self._path(key), "rb", buffering=0) as stream:
            if length is None:
                length = max(0, os.fstat(stream.fileno()).st_size - offset)
            pieces = []
            while length > 0:
                piece = os.pread(stream.fileno(), length, offset)
                if not piece:
                    break
                pieces.append(piece)
                offset += len(piece)
                length -= len(piece)
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def delete(self, keys: Iterable[str]) -> None:
        with _Translated(self.name, "delete"):
            for key in keys:
                path = self._path(key)
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
                self._remove_empty(os.path.dirname(path))

    def _remove_empty(self, directory: str) -> None:
        while len(directory) > len(self._root):
            try:
                os.rmdir(directory)
            except OSError:  # not empty: somebody else's files are there
                return
            directory = os.path.dirname(directory)

    def replace(self, key: str, data: bytes, expected: str | None) -> str | None:
        path = self._path(key)
        with _Translated(self.name, "write"):
            _make_directories(os.path.dirname(path))
            guard = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(guard, fcntl.LOCK_EX)  # makes compare-and-write one step among holdfast processes
                state = self.read_token(key)
                if (state[1] if state else None) != expected:
                    raise AlreadyExists(f"{key} in {self.name} was changed by somebody else.")
                temporary = self._temporary(key)
                _write_durably(temporary, data)
                os.replace(temporary, path)
                os.fsync(guard)
            finally:
                os.close(guard)
        return hashlib.sha256(data).hexdigest()

    def read_token(self, key: str) -> tuple[bytes, str] | None:
        try:
            data = self.read(key)
        except NotFound:
            return None
        return data, hashlib.sha256(data).hexdigest()

    def clock(self) -> datetime:
        return datetime.now(timezone.utc)

    def sweep_uploads(self, prefix: str, before: datetime) -> Sequence[str]:
        swept = []
        with _Translated(self.name, "delete"):
            for path, status in _walk(os.path.join(self._root, INCOMPLETE), hidden=True):
                if status.st_mtime < before.timestamp():
                    swept.append(os.path.basename(path))
                    os.unlink(path)
        return swept

    def _temporary(self, key: str) -> str:
        directory = os.path.join(self._root, INCOMPLETE)
        _make_directories(directory)
        return os.path.join(directory, f"{os.path.basename(key)[:100]}.{secrets.token_hex(8)}")


class _LocalUpload(Upload):
    """Parts are written at their offset into a file aside, which is linked to its name when it is whole."""

    def __init__(self, repository: LocalRepository, key: str, temporary: str) -> None:
        self._repository = repository
        self._key = key
        self._temporary = temporary
        with _Translated(repository.name, "write"):
            self._fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)

    def write_part(self, number: int, data: Buffer, sha256: bytes) -> None:
        view = memoryview(data)
        offset = (number - 1) * self._repository.part_size
        with _Translated(self._repository.name, "write"):
            while len(view):
                written = os.pwrite(self._fd, view, offset)
                view = view[written:]
                offset += written

    def complete(self, parts: Sequence[PartSum]) -> None:
        size = sum(part.size for part in parts)
        path = self._repository._path(self._key)
        with _Translated(self._repository.name, "write", self._key):
            os.fsync(self._fd)
            found = os.fstat(self._fd).st_size
            if found != size:
                raise Corrupted(f"{self._key}: {found} bytes were written of {size}.", stage="commit")
            _make_directories(os.path.dirname(path))
            os.link(self._temporary, path)  # unlike rename, never replaces what is there
            _sync_directory(os.path.dirname(path))
        self.abort()

    def abort(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        with contextlib.suppress(OSError):
            os.unlink(self._temporary)


def _walk(top: str, hidden: bool = False) -> Iterator[tuple[str, os.stat_result]]:
    """Files below `top` in key order, without what is still being written."""
    try:
        with os.scandir(top) as entries:
            # `a/` sorts as `a/…`, so that the order is that of the keys
            found = sorted(entries, key=lambda entry: entry.name + ("/" if entry.is_dir(follow_symlinks=False) else ""))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in found:
        if entry.name == INCOMPLETE and not hidden:
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path, hidden)
        elif entry.is_file(follow_symlinks=False):
            with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                yield entry.path, entry.stat(follow_symlinks=False)


def _make_directories(path: str) -> None:
    """Create missing directories 0700, each made durable in its parent."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    _make_directories(parent)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
        _sync_directory(parent)


def _sync_directory(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_durably(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(descriptor)


class _Translated:
    """Turns the operating system's errors into ours, naming the repository and the right that is missing."""

    def __init__(self, name: str, right: str, key: str = "") -> None:
        self._name = name
        self._right = right
        self._key = key

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) and not isinstance(error, HoldfastError):
            self._raise(error)

    def _raise(self, error: OSError) -> NoReturn:
        where = f"The repository {self._name}"
        path = os.fsdecode(error.filename) if error.filename else self._key
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"{where} is full.", hint="Make room, or prune.") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise PermissionDenied(
                f"{where}: no permission to {self._right} {path} ({error.strerror}).", right=self._right
            ) from error
        if error.errno == errno.ENOENT:
            raise NotFound(f"{where} has no {self._key or path}.") from error
        if error.errno == errno.EEXIST:
            raise AlreadyExists(f"{where} has {self._key or path} already.") from error
        raise Unavailable(f"{where}: {error.strerror} ({path}).") from error
