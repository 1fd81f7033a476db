# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deleting the rows of one table, a short transaction after the other.

PRIVATE to the collection; may change without notice.

A batch locks its rows first (those that somebody else holds are left for later), then deletes them in a second
statement: what refers to a row is looked for once more when nothing new can refer to it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Callable

from ..._deadline import Deadline
from ..._engines._pg._faults import SqlFailed
from ..._engines._pg._sql import Session, identifier, literal
from ..._errors import HoldfastError, Locked, Refused, TimedOut, failures_ignored
from ._login import limit
from ._purge_archive import FileArchive
from ._purge_pace import COMMIT_SECONDS, STATEMENT_SECONDS, TRANSACTION_SECONDS, Pace
from ._purge_target import Leaf, Target
from ._purge_walk import PageWalk, Walk, walk_through

MOST_ROWS = 50_000
"""In one batch."""

MOST_BYTES = 32 * 1024 * 1024
"""Of archived rows in one batch: they pass through memory."""

LOCK_SECONDS = 1.0
ATTEMPTS = 5
"""How often a batch is tried that meets a lock or a deadlock."""

_DEADLOCK, _FOREIGN_KEY = "40P01", "23503"

_SLACK = 5.0
"""Seconds that an answer may be later than the server's own limit."""


@dataclass
class Purged:
    """What was done with one table so far.

    Attributes:
        kept: rows that we held and that were there after their deletion all the same.
        complete: the whole of it was walked through.
        longest: seconds that the longest transaction took, those that were undone included.
    """

    deleted: int = 0
    batches: int = 0
    kept: int = 0
    complete: bool = False
    longest: float = 0.0


class Purge:
    """The purge of one table.

    Args:
        archive_table: schema and name of the table that takes the rows, or None.
        archive: the file that takes them, or None.
        most: rows that may be deleted at all.
        pause: seconds between batches.
        tell: is called with the number of rows of each batch.
    """

    def __init__(
        self,
        session: Session,
        target: Target,
        *,
        archive_table: tuple[str, str] | None,
        archive: FileArchive | None,
        batch_size: int,
        most: int,
        pause: float,
        deadline: Deadline,
        tell: Callable[[int], None],
    ) -> None:
        self._session, self._target = session, target
        self._archive_table, self._archive = archive_table, archive
        self._most, self._pause, self._deadline, self._tell = most, pause, deadline, tell
        self._pace = Pace(batch_size, MOST_ROWS)
        self._failures = self._fruitless = 0
        self.done = Purged()

    def run(self) -> None:
        """Delete until nothing is left, or no time. `done` tells how far it came, also after an error.

        Raises:
            HoldfastError: it cannot go on. What was deleted before stays deleted.
        """
        again = True
        while again and self._time_left():
            before = self.done.deleted
            for leaf in self._target.leaves:
                if not self._walk(walk_through(self._session, self._target, leaf, STATEMENT_SECONDS + _SLACK), leaf):
                    return
            # In a table that refers to itself, rows are free when those that refer to them are gone.
            itself = any(each.child == self._target.oid for each in self._target.guards)
            again = itself and self.done.deleted > before
        self.done.complete = not again
        if self.done.kept and not self.done.deleted:
            raise self._stays()

    def _time_left(self) -> bool:
        return self._deadline.left() > 0

    def _walk(self, walk: Walk, leaf: Leaf) -> bool:
        """Go through one table; whether that came to its end."""
        while True:
            if not self._time_left():
                return False
            limit(self._session, STATEMENT_SECONDS, LOCK_SECONDS)
            try:
                window = walk.window()
            except TimedOut:
                if isinstance(walk, PageWalk):
                    raise
                # The server does not follow the index, or it is full of what was deleted long ago.
                walk = PageWalk(self._session, leaf, STATEMENT_SECONDS + _SLACK)
                continue
            if window is None:
                return True
            wanted = min(self._pace.size, self._most - self.done.deleted)
            if wanted < 1:
                self._refuse_more(leaf, window)
                walk.advance()
                continue
            began = time.monotonic()
            try:
                locked, deleted = self._batch(leaf, window, wanted)
            except (TimedOut, Locked, SqlFailed) as error:
                self._slower(error, walk, time.monotonic() - began)
                continue
            finally:
                took = time.monotonic() - began
                self.done.longest = max(self.done.longest, took)
            self._failures = 0
            if locked < wanted:
                walk.advance()
                walk.pace.took(took)
            else:
                self._pace.took(took)
            self._judge(locked, deleted)
            if deleted and self._pause:
                time.sleep(min(self._pause, max(0.0, self._deadline.left())))

    def _refuse_more(self, leaf: Leaf, window: str) -> None:
        """Raises Refused when a window holds rows beyond what may be deleted."""
        rows = f"SELECT FROM ONLY {leaf.sql} t WHERE {window} AND {self._target.deletable()}"
        if self._session.value(f"SELECT EXISTS ({rows}) AS more", STATEMENT_SECONDS + _SLACK):
            raise Refused(
                f"More rows of {self._target.title} are old than the estimate said: stopped at most, as many as were"
                " allowed.",
                stage="purge",
                hint="Raise most, if so many are meant to go.",
            )

    def _slower(self, error: HoldfastError, walk: Walk, took: float) -> None:
        """Go on with less after a batch that took too long, or try again after one that met a lock."""
        if isinstance(error, TimedOut):
            if took < STATEMENT_SECONDS / 2:
                raise error  # somebody cancelled it
            smaller = [self._pace.timed_out(), walk.pace.timed_out()]
            if not any(smaller):
                error.message = (
                    f"Deleting a single row of {self._target.title} takes longer than {STATEMENT_SECONDS:g} s,"
                    " and no transaction may last longer."
                )
                error.hint = "Look at its triggers, and at indexes that tables lack which refer to it."
                raise error
            return
        if isinstance(error, SqlFailed) and error.sqlstate == _FOREIGN_KEY:
            raise Refused(
                f"Rows of {self._target.title} are still referred to.", stage="purge", tool_output=error.tool_output
            ) from None
        if isinstance(error, SqlFailed) and error.sqlstate != _DEADLOCK:
            raise error
        self._failures += 1
        if self._failures >= ATTEMPTS:
            raise error
        time.sleep(min(1.0, 0.1 * 2**self._failures))

    def _judge(self, locked: int, deleted: int) -> None:
        """Give up on a table whose rows stay although we held them: the same ones would come again and again."""
        self.done.kept += locked - deleted
        self._fruitless = self._fruitless + 1 if locked and not deleted else 0
        if self._fruitless >= ATTEMPTS:
            raise self._stays()

    def _stays(self) -> Refused:
        return Refused(
            f"Rows of {self._target.title} are still there after they were deleted: a trigger keeps them.",
            stage="purge",
            hint=f"Its triggers on DELETE are {', '.join(self._target.triggers) or 'none that is known'}.",
        )

    # -- one transaction ----------------------------------------------------------------------------------------

    def _batch(self, leaf: Leaf, window: str, size: int) -> tuple[int, int]:
        """Delete up to `size` rows of a window: how many were locked for it, and how many were deleted."""
        deadline = Deadline(STATEMENT_SECONDS)
        session = self._session
        session.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
        try:
            self._settings()
            places = session.rows(
                f"SELECT t.ctid::text AS place FROM ONLY {leaf.sql} t WHERE {window} AND {self._target.deletable()}"
                f" LIMIT {size} FOR UPDATE OF t SKIP LOCKED",
                STATEMENT_SECONDS + _SLACK,
            )
            deleted = self._delete(leaf, [str(each["place"]) for each in places], deadline) if places else 0
        except BaseException:
            self._undo()
            raise
        try:
            session.execute("COMMIT", TRANSACTION_SECONDS + _SLACK)
        except BaseException:
            if places and self._archive:
                self._archive.in_doubt(session, deleted, STATEMENT_SECONDS + _SLACK)
            raise
        if places and self._archive:
            self._archive.committed(deleted)
        self.done.deleted += deleted
        self.done.batches += 1 if deleted else 0
        self._tell(deleted)
        return len(places), deleted

    def _settings(self) -> None:
        """The server ends a transaction of ours that grows too old, also when we hang or are stopped."""
        limit(self._session, STATEMENT_SECONDS, LOCK_SECONDS, local=True)
        idle = TRANSACTION_SECONDS - STATEMENT_SECONDS - COMMIT_SECONDS
        self._session.execute(f"SET LOCAL idle_in_transaction_session_timeout = {round(1000 * idle)}")
        if self._archive:
            # A commit that a crash of the server could still undo would leave its rows in both places.
            self._session.execute("SET LOCAL synchronous_commit = on")

    def _delete(self, leaf: Leaf, places: Sequence[str], deadline: Deadline) -> int:
        session = self._session
        limit(session, max(0.01, deadline.left()), LOCK_SECONDS, local=True)
        deletion = (
            f"DELETE FROM ONLY {leaf.sql} t WHERE t.ctid = ANY ({literal(_array(places))}::tid[])"
            f" AND {self._target.deletable()}"
        )
        if self._archive:
            self._archive.begin(str(session.value("SELECT pg_current_xact_id()::text AS x")))
            data = session.copy_out(self._archive.copy_statement(deletion), STATEMENT_SECONDS + _SLACK)
            # What would fail at the commit fails here, before the rows are in the archive.
            session.execute("SET CONSTRAINTS ALL IMMEDIATE")
            if len(data) > MOST_BYTES:
                self._pace.most = max(1, len(places) * MOST_BYTES // len(data))
            # While the disk works, the server waits for us.
            idle = TRANSACTION_SECONDS - COMMIT_SECONDS - (STATEMENT_SECONDS - deadline.left())
            session.execute(f"SET LOCAL idle_in_transaction_session_timeout = {round(1000 * idle)}")
            return self._archive.append(data) if data else 0
        if self._archive_table:
            columns = ", ".join(identifier(each) for each in self._target.columns)
            moved = (
                f"WITH gone AS ({deletion} RETURNING {_of_t(self._target.columns)}), kept AS (INSERT INTO"
                f" {identifier(*self._archive_table)} ({columns}) SELECT {columns} FROM gone RETURNING 1)"
                " SELECT json_build_object('gone', (SELECT count(*) FROM gone), 'kept', (SELECT count(*) FROM kept))"
            )
            numbers: dict[str, Any] = session.document(moved, STATEMENT_SECONDS + _SLACK)
            if numbers["gone"] != numbers["kept"]:
                raise Refused(
                    f"The archive table takes {numbers['kept']} of {numbers['gone']} rows: a trigger or a rule of it"
                    " keeps others out.",
                    stage="archive",
                )
            return int(numbers["gone"])
        counted = f"WITH gone AS ({deletion} RETURNING 1) SELECT to_json(count(*)) FROM gone"
        return int(session.document(counted, STATEMENT_SECONDS + _SLACK))

    def _undo(self) -> None:
        """Roll back; where the session is gone, the server has."""
        try:
            with failures_ignored():
                self._session.execute("ROLLBACK", STATEMENT_SECONDS + _SLACK)
        finally:
            if self._archive:
                self._archive.rolled_back()


def _array(places: Sequence[str]) -> str:
    return "{" + ",".join(f'"{each}"' for each in places) + "}"


def _of_t(columns: Sequence[str]) -> str:
    return ", ".join(f"t.{identifier(each)}" for each in columns)
