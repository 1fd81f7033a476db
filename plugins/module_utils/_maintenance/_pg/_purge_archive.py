# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Purged rows in a file: durable there before they are gone from the table, and there once.

PRIVATE to the collection; may change without notice.

Each batch is appended as a zstd frame of its own and is on the disk before its transaction commits, so that no moment
knows a row in neither place. Whether a transaction committed that we did not live to see the end of, the server still
knows: beside the archive a journal names the transaction and where its frame begins. The next run asks, and takes the
frame off again if the rows are still in the table. So no row is archived twice either.

The files are CSV with a header, as COPY reads it; `load_command` says how they are loaded again.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import shlex
import stat
from collections.abc import Iterator
from typing import Any

from ..._engines._pg._faults import SqlFailed
from ..._engines._pg._sql import Session, identifier, literal
from ..._errors import (
    Corrupted,
    DiskFull,
    HoldfastError,
    InvalidOption,
    Locked,
    MissingDependency,
    PermissionDenied,
    failures_ignored,
)
from ..._locks import private_directory
from ..._manifest import safe_name, utc_now
from ..._replace import replace_file
from ._purge_target import Target

LEVEL = 6
"""Of the compression: a batch is small, and the table's disk is slower than this."""

_ENDING = ".csv.zst"
_JOURNAL = ".journal"


def open_archives(path: str) -> str:
    """The directory of archives, made when missing.

    Raises:
        InvalidOption: it cannot be made, or others could look into it.
    """
    private_directory(path)
    status = os.stat(path)
    if stat.S_IMODE(status.st_mode) & 0o077 or status.st_uid not in (0, os.geteuid()):
        raise InvalidOption(
            f"archive_directory {path} is open to others (mode {stat.S_IMODE(status.st_mode):04o},"
            f" owner {status.st_uid}).",
            stage="preflight",
            hint=f"chmod 0700 {path}, owned by root or by the user that runs this; or name one that is not there yet.",
        )
    _zstandard()
    return path


class FileArchive:
    """The archive of one run of one table. No file is made before there is a row.

    Args:
        directory: from `open_archives`.

    Attributes:
        path: the file; empty as long as there is none.
        rows: that are in it for certain.
    """

    def __init__(self, directory: str, session: Session, target: Target, timeout: float) -> None:
        self._directory = directory
        self._target = target
        self._place = place_of(session, target, timeout)
        self._stream: Any = None
        self._offset = 0
        self._transaction = ""
        self.path = ""
        self.rows = 0

    def copy_statement(self, deletion: str) -> str:
        """The statement that deletes and gives what it deleted.

        Args:
            deletion: DELETE from the alias `t`, without RETURNING.
        """
        columns = ", ".join(f"t.{identifier(each)}" for each in self._target.columns)
        return f"COPY ({deletion} RETURNING {columns}) TO STDOUT (FORMAT csv)"

    def begin(self, transaction: str) -> None:
        """Say which transaction the next frame belongs to, before there is any of it."""
        with _disk(self._directory):
            if self._stream is None:
                self._create()
            document = {"schema": 1, "place": self._place, "transaction": transaction, "offset": self._offset}
            replace_file(self.path + _JOURNAL, json.dumps(document), 0o600)
            _sync_directory(self._directory)
        self._transaction = transaction

    def append(self, data: bytes) -> int:
        """Add the rows of a batch, and return how many they are when all of it is on the disk."""
        frame = _zstandard().ZstdCompressor(level=LEVEL, write_checksum=True).compress(data)
        with _disk(self.path):
            _write(self._stream, frame)
            os.fsync(self._stream)
        return rows_in(data)

    def committed(self, rows: int) -> None:
        """What was appended stays."""
        self.rows += rows
        self._offset = os.fstat(self._stream).st_size

    def rolled_back(self) -> None:
        """What was appended goes."""
        if self._stream is None:
            return
        with _disk(self.path):
            os.ftruncate(self._stream, self._offset)
            os.lseek(self._stream, self._offset, os.SEEK_SET)
            os.fsync(self._stream)

    def in_doubt(self, session: Session, rows: int, timeout: float) -> None:
        """A commit failed: ask what became of it. Where nobody answers, the journal stays for the next run."""
        with failures_ignored():
            fate = _fate(session, self._transaction, timeout)
            if fate == "aborted":
                self.rolled_back()
            elif fate == "committed":
                self.committed(rows)

    def finish(self) -> None:
        """Close it. A journal is needed no more when all that was appended is settled, nor is a file without rows."""
        if self._stream is None:
            return
        settled = os.fstat(self._stream).st_size == self._offset
        os.close(self._stream)
        self._stream = None
        if not settled:
            return
        with _disk(self.path):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path + _JOURNAL)
            if not self.rows:
                os.unlink(self.path)
                self.path = ""
            _sync_directory(self._directory)

    def _create(self) -> None:
        name = f"{safe_name(self._target.title)}-{utc_now():%Y%m%dT%H%M%S%fZ}{_ENDING}"
        self.path = os.path.join(self._directory, name)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._stream = os.open(self.path, flags, 0o600)
        header = ",".join('"' + each.replace('"', '""') + '"' for each in self._target.columns) + "\n"
        frame = _zstandard().ZstdCompressor(level=LEVEL, write_checksum=True).compress(header.encode())
        _write(self._stream, frame)
        os.fsync(self._stream)
        self._offset = len(frame)


def settle(directory: str, session: Session, target: Target, timeout: float) -> list[str]:
    """Bring to an end what runs of this table that were killed have left; a sentence about each.

    Call with the table's purge lock held, so that no transaction of theirs is open any more.

    Raises:
        Locked: one is.
        Corrupted: a journal cannot be read.
    """
    said = []
    place = place_of(session, target, timeout)
    for journal in sorted(glob.glob(os.path.join(glob.escape(directory), f"*{_ENDING}{_JOURNAL}"))):
        document = _read_journal(journal)
        if document["place"] != place:
            continue
        path = journal[: -len(_JOURNAL)]
        fate = _fate(session, str(document["transaction"]), timeout)
        if fate == "in progress":
            raise Locked(
                f"The last transaction of a purge of {target.title} that was killed is still open.",
                stage="archive",
                hint="The server ends it by itself within seconds; then run it again.",
            )
        with _disk(path):
            if fate == "aborted":
                _cut(path, int(document["offset"]))
                said.append(f"A purge was killed before its last batch was deleted: that is no longer in {path}.")
            elif fate == "committed":
                said.append(f"A purge was killed after its last batch was deleted: {path} holds all of it.")
            else:
                said.append(
                    f"A purge was killed so long ago that the server does not know what became of its last batch: its"
                    f" rows are in {path}, and may be in {target.title} too."
                )
            os.unlink(journal)
            _sync_directory(directory)
    return said


def place_of(session: Session, target: Target, timeout: float) -> dict[str, Any]:
    """Which table of which cluster: transactions are counted there."""
    return session.row(
        "SELECT (SELECT system_identifier::text FROM pg_control_system()) AS system,"
        f" current_database() AS database, {target.oid} AS oid",
        timeout,
    )


def load_command(target: Target, database: str, path: str) -> str:
    """The command that brings the rows of an archive back into their table."""
    columns = ", ".join(identifier(each) for each in target.columns)
    copy = f"\\copy {target.sql} ({columns}) FROM STDIN WITH (FORMAT csv, HEADER)"
    return f"zstd -dc {shlex.quote(path)} | psql -d {shlex.quote(database)} -c {shlex.quote(copy)}"


def rows_in(data: bytes) -> int:
    """How many rows CSV holds: line ends outside of quotes."""
    return sum(part.count(b"\n") for part in data.split(b'"')[::2])


def _fate(session: Session, transaction: str, timeout: float) -> str:
    """`committed`, `aborted`, `in progress`, or nothing when the server does not know any more."""
    try:
        return str(session.value(f"SELECT pg_xact_status({literal(transaction)}::xid8) AS v", timeout) or "")
    except SqlFailed:
        return ""  # one of the future: the cluster is a restored one


def _read_journal(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as stream:
            document = json.load(stream)
        return {"place": document["place"], "transaction": document["transaction"], "offset": document["offset"]}
    except (OSError, ValueError, KeyError, TypeError):
        raise Corrupted(
            f"The journal {path} of a purge cannot be read.",
            stage="archive",
            hint="Look whether the last rows of the archive beside it are still in the table, then remove the journal.",
        ) from None


def _cut(path: str, size: int) -> None:
    """Take off what stands behind a place."""
    descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.ftruncate(descriptor, size)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_directory(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _disk(path: str) -> Iterator[None]:
    """What this host's disk refuses, typed."""
    try:
        yield
    except OSError as error:
        kind: type[HoldfastError] = PermissionDenied if isinstance(error, PermissionError) else DiskFull
        raise kind(
            f"The archive {path} cannot be written: {error.strerror}.",
            stage="archive",
            hint="The rows of this batch are still in the table. Make room, or name another archive_directory.",
        ) from None


def _zstandard() -> Any:
    try:
        import zstandard
    except ImportError:
        raise MissingDependency(
            "The Python library zstandard is not usable in the interpreter that runs this module.",
            stage="preflight",
            hint="The role holdfast.ops.runtime installs it; or set ansible_python_interpreter to one that has it.",
        ) from None
    return zstandard
