# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a stopped server: moved away, replaced by a dump, and put back.

PRIVATE to the collection; may change without notice.

An append-only file wins over an RDB. Where the server keeps one, the dump becomes its base: every server since Redis 4
begins an append-only file with an RDB when it rewrites it, so what is placed is what the server itself would have
written. Its settings stay as they are, there is no moment without persistence, and one start is enough.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shlex
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

from ..._errors import DiskFull, HoldfastError, InvalidOption, PermissionDenied, Refused
from ..._process import open_owned

SETTINGS = ("dir", "dbfilename", "appendonly", "appendfilename", "appenddirname", "databases", "maxmemory")
DEFAULTS = {
    "dir": "",
    "dbfilename": "dump.rdb",
    "appendonly": "no",
    "appendfilename": "appendonly.aof",
    "appenddirname": "appendonlydir",
    "databases": "16",
    "maxmemory": "0",
}
STAGING = "holdfast-restore"
"""Directory in the server's while a restore runs; one that is there without a run is a killed run's."""
PREVIOUS = "holdfast-previous-"
JOURNAL = "journal.json"
MULTI_PART = (7, 0)
"""The first version that keeps its append-only file as a directory."""


def read_configuration(path: str) -> dict[str, str]:
    """The settings of a configuration file that this needs, files that it includes as well.

    Raises:
        InvalidOption: it cannot be read.
    """
    found = dict(DEFAULTS)
    with contextlib.suppress(RecursionError):
        _read_into(found, path)
    return found


def _read_into(found: dict[str, str], path: str) -> None:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            lines = stream.read().splitlines()
    except OSError as error:
        raise InvalidOption(f"config_file ({path}) cannot be read: {error.strerror}.", stage="preflight") from None
    for line in lines:
        try:
            words = shlex.split(line, comments=line.lstrip().startswith("#"))
        except ValueError:
            continue  # not for us, and the server's to complain about
        if len(words) == 2 and words[0].lower() in found:
            found[words[0].lower()] = words[1]
        elif len(words) == 2 and words[0].lower() == "include" and "*" not in words[1]:
            _read_into(found, words[1])


@dataclass(frozen=True)
class Owner:
    """Whom files belong to, and who may read them."""

    uid: int
    gid: int
    file_mode: int
    directory_mode: int


@dataclass(frozen=True)
class Journal:
    """What a restore does to the files.

    Attributes:
        previous: where the old ones are moved.
        running: whether the server ran before.
        present: which there were, once the server was stopped.
    """

    previous: str
    running: bool
    present: tuple[str, ...] = ()


class DataFiles:
    """The directory of a server.

    Args:
        path: on this host.
        settings: the server's, by name.
        version: of the server.
    """

    def __init__(self, path: str, settings: Mapping[str, str], version: tuple[int, ...]) -> None:
        for setting in ("dbfilename", "appendfilename", "appenddirname"):
            name = settings[setting]
            if not name or name != os.path.basename(name) or name.startswith((".", STAGING, PREVIOUS)):
                raise Refused(f"The server's {setting} is {name!r}, which is no plain name.", stage="preflight")
        self.path = path
        self.rdb = settings["dbfilename"]
        self.append_only = settings["appendonly"] == "yes"
        self._aof = settings["appendfilename"]
        self._aof_directory = settings["appenddirname"]
        self._multi_part = version >= MULTI_PART
        self.staging = os.path.join(path, STAGING)
        self.keep_staging = False

    @property
    def names(self) -> list[str]:
        """What holds data, by the names in the directory. An old append-only file is taken over by a newer server."""
        return [self.rdb, self._aof, self._aof_directory]

    def present(self) -> dict[str, int]:
        """Those that are there, with their bytes."""
        return {name: _size(os.path.join(self.path, name)) for name in self.names if self._has(name)}

    def _has(self, name: str) -> bool:
        return os.path.lexists(os.path.join(self.path, name))

    def owner(self) -> Owner:
        """Of the files that are there, or else of the directory."""
        status = os.stat(self.path)
        for name in (self.rdb, self._aof):
            with contextlib.suppress(OSError):
                one = os.stat(os.path.join(self.path, name))
                return Owner(one.st_uid, one.st_gid, one.st_mode & 0o777, status.st_mode & 0o777)
        return Owner(status.st_uid, status.st_gid, 0o640, status.st_mode & 0o777)

    # -- staging --------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def staged(self) -> Iterator[str]:
        """A private place on the same file system, for the dump before it takes its place.

        The path is that of an open directory, so that nobody who may write beside it can put something in its place.
        """
        os.mkdir(self.staging, 0o700)
        try:
            with _ours(self.staging) as descriptor:
                yield f"/proc/{os.getpid()}/fd/{descriptor}"
        finally:
            if not self.keep_staging:
                shutil.rmtree(self.staging, ignore_errors=True)

    def journal(self) -> Journal | None:
        """What a killed run has begun; None when none was."""
        if not os.path.lexists(self.staging):
            return None
        try:
            with _ours(self.staging) as directory, open(open_owned(JOURNAL, os.geteuid(), dir_fd=directory)) as stream:
                return Journal(**json.load(stream))
        except (FileNotFoundError, ValueError, TypeError):  # it had only begun to fetch, or to write this
            return Journal("", False)

    def write_journal(self, journal: Journal) -> None:
        """Say what is being done before it is, so that it can be undone by whoever comes after us."""
        new = f"{JOURNAL}.new"
        with _ours(self.staging) as directory:
            _write(directory, new, json.dumps(asdict(journal)))
            os.rename(new, JOURNAL, src_dir_fd=directory, dst_dir_fd=directory)
            os.fsync(directory)

    # -- with the server stopped ----------------------------------------------------------------------------------

    def move_away(self, previous: str) -> None:
        """Everything that holds data into a new directory `previous` beside it."""
        os.mkdir(previous, 0o700)
        with _ours(previous) as directory:
            for name in self.names:
                if self._has(name):
                    os.rename(os.path.join(self.path, name), name, dst_dir_fd=directory)
            os.fsync(directory)
        _sync(self.path)

    def place(self, dump: str, owner: Owner) -> None:
        """Make a dump what the server loads when it starts next.

        Args:
            dump: its name in the staging directory.
        """
        with _ours(self.staging) as staging:
            with _opened(open_owned(dump, os.geteuid(), dir_fd=staging)) as file:
                _give(file, owner, owner.file_mode)
            if self.append_only and self._multi_part:
                self._place_base(staging, dump, owner)
            else:
                name = self._aof if self.append_only else self.rdb
                os.rename(dump, os.path.join(self.path, name), src_dir_fd=staging)
        _sync(self.path)

    def _place_base(self, staging: int, dump: str, owner: Owner) -> None:
        """As base of an append-only file of several parts; the manifest names the parts and comes last."""
        path = os.path.join(self.path, self._aof_directory)
        base, manifest = f"{self._aof}.1.base.rdb", f"{self._aof}.manifest"
        os.mkdir(path, 0o700)
        with _ours(path) as directory:
            os.rename(dump, base, src_dir_fd=staging, dst_dir_fd=directory)
            _write(directory, manifest, f"file {base} seq 1 type b\n", owner)
            os.fsync(directory)
            _give(directory, owner, owner.directory_mode)

    def put_back(self, journal: Journal) -> None:
        """Undo `move_away` and `place`, as far as they went. Safe to call twice."""
        if not os.path.isdir(journal.previous):
            return  # nothing was moved
        with _ours(journal.previous) as directory:
            moved = set(os.listdir(directory))
            for name in self.names:
                path = os.path.join(self.path, name)
                if name in moved or name not in journal.present:
                    _remove(path)  # ours, or what the server made of ours
                if name in moved:
                    os.rename(name, path, src_dir_fd=directory)
        _sync(self.path)
        os.rmdir(journal.previous)


def _size(path: str) -> int:
    if not os.path.isdir(path):
        return os.lstat(path).st_size
    return sum(_size(os.path.join(path, name)) for name in os.listdir(path))


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


@contextlib.contextmanager
def _opened(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _ours(path: str) -> contextlib.AbstractContextManager[int]:
    """Open a directory that we have made: the server's user may write beside it, and must not lead us elsewhere."""
    return _opened(open_owned(path, os.geteuid(), os.O_RDONLY | os.O_DIRECTORY))


def _give(descriptor: int, owner: Owner, mode: int) -> None:
    os.fchown(descriptor, owner.uid, owner.gid)
    os.fchmod(descriptor, mode)


def _write(directory: int, name: str, text: str, owner: Owner | None = None) -> None:
    """A new file, on the disk when this returns."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory)
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=directory)
    with open(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(descriptor)
        if owner is not None:
            _give(descriptor, owner, owner.file_mode)


def _sync(directory: str) -> None:
    """A rename outlives a crash only when its directory was written."""
    with _opened(os.open(directory, os.O_RDONLY | os.O_DIRECTORY)) as descriptor:
        os.fsync(descriptor)


def local_error(error: OSError, path: str) -> HoldfastError:
    """What the operating system said about the server's directory."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"There is no more room in {path}.", hint="Make room in the server's directory.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return PermissionDenied(f"No permission for {path}: {error.strerror}.", hint="Run as root (become).")
    return HoldfastError(f"{path}: {error.strerror or error}.")
