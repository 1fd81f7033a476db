# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pg_dump of one database at one snapshot: streamed custom format, and the globals.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import fcntl
import os
import re
import struct
import termios
import time
from dataclasses import dataclass
from typing import Callable

from ..._errors import HoldfastError, Locked, TimedOut
from ..._process import Process, wait_readable
from ..._stream._source import ProcessSource
from ._selection import Selection
from ._server import Server, Tool
from ._snapshot import Snapshot

TRIES = 5
"""Tries to get pg_dump past its own locks."""

LOCK_WAIT_OF_PG_DUMP = "3s"
"""We hold the same locks already, so pg_dump waits only behind somebody who waits for us: soon is never."""

# pg_dump bounds its wait for locks by a statement timeout; its workers do not wait at all.
_LOCK_LOST = re.compile(r"canceling statement due to (lock|statement) timeout|could not obtain lock on relation")


@dataclass(frozen=True)
class DumpOptions:
    """How every database of a run is dumped.

    Attributes:
        lock_wait: seconds to wait for locks.
        stall: seconds of silence of pg_dump that end it; None: never.
        standby: whether the server is one.
    """

    selection: Selection
    lock_wait: float
    stall: float | None
    standby: bool


class Dump:
    """One database: a snapshot, and a pg_dump that reads it and is past all its locks."""

    def __init__(
        self,
        server: Server,
        database: str,
        options: DumpOptions,
        level: str,
        taken: Callable[[], None],
        directory: str | None = None,
        jobs: int = 1,
    ) -> None:
        """Lock, take the snapshot, begin the fingerprint, start pg_dump, and wait until it has something to say.

        Somebody who asks for an ACCESS EXCLUSIVE lock after our locks and before those of pg_dump waits for us while
        pg_dump waits behind them. Then everything is given back, they get their turn, and we begin again.

        Args:
            level: of the fingerprint.
            taken: told when the snapshot was taken.
            directory: an empty one for directory format; None streams custom format.
            jobs: processes of pg_dump that write a directory.
        """
        self._server = server
        self._options = options
        self._directory = directory
        self._jobs = jobs
        self.database = database
        self.tool = server.tool("pg_dump", server.major)
        for attempt in range(TRIES):
            self.snapshot = Snapshot(server, database, options.selection, options.lock_wait, options.standby, taken)
            try:
                self.snapshot.fingerprint(level)
                self.process = self._start()
                try:
                    if self._past_locks():
                        return
                    self.process.check(stage="dump")
                except BaseException:
                    self.process.terminate()
                    raise
            except HoldfastError as error:
                self.snapshot.close()
                if not _LOCK_LOST.search(error.tool_output or ""):
                    raise server.describe(error) from None
                if attempt == TRIES - 1:
                    raise lock_lost(error, database) from None
            except BaseException:
                self.snapshot.close()
                raise
            time.sleep(0.5 * (attempt + 1))  # the other side's turn

    def _start(self) -> Process:
        arguments = ["--compress=0", f"--snapshot={self.snapshot.id}"]
        if self._directory is None:
            arguments.append("--format=custom")
        else:
            # Named by where it starts: the account that it runs as may not walk the way there.
            arguments += ["--format=directory", f"--jobs={self._jobs}", "--no-sync", "--file=."]
        arguments += [f"--lock-wait-timeout={LOCK_WAIT_OF_PG_DUMP}"]
        arguments += self._options.selection.arguments(self.snapshot.relations, self.snapshot.schemas, self.tool.major)
        if self._options.standby:
            arguments.append("--no-unlogged-table-data")
        return self._server.start(self.tool.path, *arguments, database=self.database, cwd=self._directory)

    def _past_locks(self) -> bool:
        """Wait for the first byte, which comes after all locks and the whole catalogue; False: there will be none."""
        pipe = self.process.popen.stdout
        if pipe is None:
            raise AssertionError("pipe is None")
        if self._directory is not None:
            return self._contents_written()
        if not wait_readable(pipe.fileno(), self._options.stall):
            raise self._silent()
        (waiting,) = struct.unpack("i", fcntl.ioctl(pipe.fileno(), termios.FIONREAD, b"\0\0\0\0"))
        return bool(waiting)

    def _contents_written(self) -> bool:
        """The table of contents is the first file; False: pg_dump has ended without one."""
        if self._directory is None:
            raise AssertionError("self._directory is None")
        deadline = time.monotonic() + self._options.stall if self._options.stall else None
        while not os.path.exists(os.path.join(self._directory, "toc.dat")):
            if self.process.popen.poll() is not None:
                return False
            if deadline is not None and time.monotonic() > deadline:
                raise self._silent()
            time.sleep(0.02)
        return True

    def _silent(self) -> TimedOut:
        return TimedOut(
            f"pg_dump has sent nothing for {self._options.stall:g} s.",
            stage="dump",
            hint="Look at the server it reads from; stall_timeout bounds the wait.",
        )

    def check(self) -> None:
        """Wait for pg_dump's end (of directory format); raise what its failure means."""
        try:
            self.process.check(stage="dump")
        except HoldfastError as error:
            if _LOCK_LOST.search(error.tool_output or ""):
                raise lock_lost(error, self.database) from None
            raise self._server.describe(error) from None

    def source(self) -> ProcessSource:
        """The stream."""
        return ProcessSource(lambda: self.process, self._server.describe, self._options.stall)

    def close(self) -> None:
        """End pg_dump and give the snapshot back, whatever happened. Never raises."""
        self.process.terminate()
        self.snapshot.close()

    def __enter__(self) -> Dump:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def lock_lost(error: HoldfastError, database: str) -> Locked:
    """pg_dump could not lock what we hold: somebody wants to change the table and stands in between."""
    return Locked(
        f"pg_dump could not lock a table of {database!r}: somebody waits to change it.",
        stage="dump",
        tool_output=error.tool_output,
        hint="Run at a time without ALTER TABLE and TRUNCATE; format: custom takes its locks only at the start.",
    )


def globals_source(server: Server, tool: Tool, passwords: bool, maintenance_db: str) -> ProcessSource:
    """Roles, memberships, role settings, tablespaces: `pg_dumpall --globals-only`."""
    arguments = ["--globals-only", f"--database={maintenance_db}"]
    if not passwords:
        arguments.append("--no-role-passwords")
    return ProcessSource(lambda: server.start(tool.path, *arguments, database=maintenance_db), server.describe)
