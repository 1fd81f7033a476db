# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One moment of one database: its tables locked, then its data as of one exported snapshot.

PRIVATE to the collection; may change without notice.

The locks come first, because a snapshot alone does not cover everything: a TRUNCATE after it shows through to whoever
reads later. The transaction stays open until pg_dump has ended, and the fingerprint is taken in it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any, Callable

from ..._errors import HoldfastError, Locked, PermissionDenied, Unsupported, failures_ignored
from . import _catalog, _fingerprint
from ._catalog import Relation
from ._faults import SqlFailed
from ._selection import Selection
from ._server import Server
from ._sql import Session, identifier

BATCH = 200
"""Tables that are locked by one statement."""
ATTEMPTS = 10
"""Tries to lock everything before tables that come and go meanwhile make us give up."""

_GONE = ("42P01", "3F000")  # undefined_table, invalid_schema_name: dropped since we looked
_NO_ROOM_FOR_LOCKS = "53200"

_HOLDERS = """
SELECT a.pid, coalesce(a.usename, '?') AS who, a.application_name AS application, coalesce(a.state, '?') AS state,
       l.granted, to_char(coalesce(a.xact_start, a.query_start), 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS since,
       l.mode, n.nspname AS schema, c.relname AS name
  FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid JOIN pg_class c ON c.oid = l.relation
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE l.locktype = 'relation' AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND l.mode = 'AccessExclusiveLock' AND l.pid <> pg_backend_pid() AND l.relation IN ({oids})
 ORDER BY l.granted DESC, a.xact_start LIMIT 1"""


class Snapshot:
    """A database held still.

    Attributes:
        id: for `pg_dump --snapshot`.
        relations, schemas: what there was.
        details: what the database is beside its contents; see `_catalog`.
    """

    def __init__(
        self,
        server: Server,
        database: str,
        selection: Selection,
        lock_wait: float,
        standby: bool,
        taken: Callable[[], None],
    ) -> None:
        """Lock and take it.

        Args:
            lock_wait: seconds to wait for locks, all in all.
            standby: whether the server is one (it has no contents of unlogged tables).
            taken: told at the moment that the data is of.

        Raises:
            Locked: somebody holds a table; the message names who.
            HoldfastError: no connection, no right to read a table.
        """
        self.database = database
        self._server = server
        self._selection = selection
        self._deadline = time.monotonic() + lock_wait
        self._lock_wait = lock_wait
        self._standby = standby
        self._taken = taken
        self._counting: threading.Thread | None = None
        self._counted: dict[str, Any] = {}
        self._failure: BaseException | None = None
        self.session: Session = server.connect(database)
        try:
            self._take()
        except BaseException:
            self.session.close()
            raise

    def _take(self) -> None:
        for _attempt in range(ATTEMPTS):
            wanted = self._to_lock(_catalog.relations(self.session, self._server.statement_timeout))
            self.session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            try:
                locked = self._lock(wanted)
            except SqlFailed as error:
                if error.sqlstate not in _GONE:
                    raise
                locked = set()
            except PermissionDenied as error:
                error.message = f"The PostgreSQL role may not read a table of {self.database!r}."
                raise
            if locked or not wanted:
                self._taken()
                self.id = str(self.session.value("SELECT pg_export_snapshot() AS id"))
                self.relations = _catalog.relations(self.session)
                if {relation.oid for relation in self._to_lock(self.relations)} <= locked:
                    self.schemas = _catalog.schemas(self.session)
                    (row,) = [row for row in _catalog.databases(self.session) if row["name"] == self.database]
                    self.details = {**row, **_catalog.inside(self.session)}
                    return
            self.session.execute("ROLLBACK")  # a table has come or gone since we looked: once more
        raise Locked(
            f"Tables of {self.database!r} come and go too fast to be locked.",
            stage="dump",
            hint="Exclude the schema in which they are made and dropped (exclude_schemas), or run at a calmer time.",
        )

    def _to_lock(self, relations: Sequence[Relation]) -> list[Relation]:
        return [relation for relation in self._selection.dumped(relations) if relation.kind in "rp"]

    def _lock(self, wanted: Sequence[Relation]) -> set[int]:
        """Lock against what would change a table's shape or empty it; before the transaction has a snapshot."""
        for start in range(0, len(wanted), BATCH):
            batch = wanted[start : start + BATCH]
            left = max(1, int((self._deadline - time.monotonic()) * 1000))
            self.session.execute(f"SET LOCAL lock_timeout = {left}")
            names = ", ".join(f"ONLY {identifier(*relation.key)}" for relation in batch)
            try:
                self.session.execute(f"LOCK TABLE {names} IN ACCESS SHARE MODE")
            except Locked as error:
                raise self._blocked(batch, error) from None
            except SqlFailed as error:
                if error.sqlstate == _NO_ROOM_FOR_LOCKS:
                    raise _too_many_locks(self.database, len(wanted), error) from None
                raise
        self.session.execute("SET LOCAL lock_timeout = 0")
        return {relation.oid for relation in wanted}

    def _blocked(self, batch: Sequence[Relation], error: Locked) -> Locked:
        """Say who holds the table."""
        said = ""
        with failures_ignored(), self._server.connect(self.database) as session:
            query = _HOLDERS.format(oids=", ".join(str(relation.oid) for relation in batch))
            for row in session.rows(query, self._server.statement_timeout):
                how = "holds" if row["granted"] else "waits for"
                said = (
                    f" The table {identifier(row['schema'], row['name'])}: process {row['pid']} ({row['who']}, "
                    f"application {row['application']!r}, {row['state']}, since {row['since']}) {how} {row['mode']}."
                )
        return Locked(
            f"A table of {self.database!r} could not be locked within {self._lock_wait:g} s.{said}",
            stage="dump",
            tool_output=error.tool_output,
            hint="Wait for that session or end it; lock_wait_timeout bounds the wait.",
        )

    # -- the fingerprint ----------------------------------------------------------------------------------------

    def fingerprint(self, level: str) -> None:
        """Begin to take it: what must come before pg_dump now, the rows in a thread while pg_dump runs."""
        dumped = self._selection.with_data(self.relations)
        # A standby cannot read the sequences of unlogged tables either.
        there = [relation for relation in dumped if not (self._standby and relation.persistence == "u")]
        self._counted = _fingerprint.before(self.session, level, there, self._selection)

        def count() -> None:
            try:
                large = not self._selection.partial
                self._counted.update(
                    _fingerprint.contents(self.session, level, dumped, large_objects=large, standby=self._standby)
                )
            except BaseException as error:  # raised by `finish`, in the thread that waits for it
                self._failure = error

        if level != "none":
            self._counting = threading.Thread(target=count, name="fingerprint", daemon=True)
            self._counting.start()

    def finish(self) -> dict[str, Any]:
        """Wait for the fingerprint, end the transaction, and return the fingerprint.

        Raises:
            HoldfastError: it could not be taken.
        """
        while self._counting is not None and self._counting.is_alive():
            self._counting.join(0.2)  # in short steps, so that a signal is heard
        if self._failure is not None:
            if isinstance(self._failure, HoldfastError):
                raise self._failure.at("fingerprint")
            raise self._failure
        self.session.execute("COMMIT")
        return self._counted

    def close(self) -> None:
        """End the transaction and its session, whatever happened. Never raises."""
        self.session.close()
        if self._counting is not None:
            self._counting.join(10)

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _too_many_locks(database: str, tables: int, error: SqlFailed) -> Unsupported:
    return Unsupported(
        f"The server has no room for locks on the {tables} tables of {database!r}.",
        stage="dump",
        tool_output=error.tool_output,
        hint="Raise max_locks_per_transaction (needs a restart of PostgreSQL), or dump fewer schemas at once.",
    )
