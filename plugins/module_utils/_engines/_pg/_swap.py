# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The swap: every proved database takes its place in one transaction, or none does.

PRIVATE to the collection; may change without notice.

`ALTER DATABASE … RENAME` first locks the database, so that whoever connects waits, and then wants to be alone in it for
five seconds at most. A second session ends the others meanwhile. So nobody can slip in between, and nothing needs to
be set back (`ALLOW_CONNECTIONS`) when a run is killed in the middle.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..._errors import HoldfastError, Interrupted, Locked, Unsupported
from ._server import Server
from ._sql import Session, identifier, literals

ATTEMPTS = 3
INTERVAL = 0.05
"""Seconds between two looks for sessions to end."""
_IN_USE = "55006"


@dataclass(frozen=True)
class Exchange:
    """One database that takes its place.

    Attributes:
        temporary, target: its name before and after.
        previous: the name that the one in its place gets; None when there is none.
        statements: run in the same transaction, when it is in its place.
    """

    temporary: str
    target: str
    previous: str | None = None
    statements: tuple[str, ...] = ()


def check_can_be_renamed(session: Session, names: Sequence[str]) -> list[str]:
    """Look for what would stop the swap, or would go on in the replaced database.

    Returns: warnings.

    Raises:
        Unsupported: prepared transactions hold a database; they outlive sessions, and only their owner may end them.
    """
    if not names:
        return []
    wanted = literals(names)
    prepared = session.rows(
        f"SELECT database, count(*) AS n FROM pg_prepared_xacts WHERE database = ANY({wanted}) GROUP BY 1"
    )
    if prepared:
        held = ", ".join(f"{row['database']} ({row['n']})" for row in prepared)
        raise Unsupported(
            f"Prepared transactions hold what would be replaced: {held}.",
            stage="preflight",
            hint="COMMIT PREPARED or ROLLBACK PREPARED them first (pg_prepared_xacts lists them).",
        )
    slots = session.rows(
        f"SELECT slot_name, database FROM pg_replication_slots WHERE database = ANY({wanted}) ORDER BY slot_name"
    )
    subscriptions = session.rows(
        "SELECT subname, datname AS database FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid"
        f" WHERE datname = ANY({wanted}) ORDER BY subname"
    )
    return [
        f"The {kind} {row[column]} of {row['database']} stays with the replaced database."
        for kind, column, rows in (("replication slot", "slot_name", slots), ("subscription", "subname", subscriptions))
        for row in rows
    ]


def swap(server: Server, maintenance: str, exchanges: Sequence[Exchange]) -> None:
    """Put all databases in their places.

    Args:
        maintenance: a database that takes no part.

    Raises:
        Locked: sessions did not end; nothing was changed.
        HoldfastError: nothing was changed.
    """
    with server.connect(maintenance) as session:
        names = [name for one in exchanges for name in (one.target, one.temporary)]
        oids = session.rows(f"SELECT oid::text AS oid FROM pg_database WHERE datname = ANY({literals(names)})")
        with _ending_sessions(server, maintenance, [row["oid"] for row in oids]):
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    _rename(session, exchanges)
                    return
                except HoldfastError as error:
                    if getattr(error, "sqlstate", None) != _IN_USE:
                        raise
                    if attempt == ATTEMPTS:
                        raise Locked(
                            "Sessions of the database that is to be replaced did not end.",
                            stage="swap",
                            tool_output=error.tool_output,
                            hint="pg_stat_activity shows them; end them and restore again.",
                        ) from None


def _rename(session: Session, exchanges: Sequence[Exchange]) -> None:
    with session.transaction():
        session.execute("SET LOCAL lock_timeout = '60s'")
        for one in exchanges:
            if one.previous is not None:
                session.execute(f"ALTER DATABASE {identifier(one.target)} RENAME TO {identifier(one.previous)}")
            session.execute(f"ALTER DATABASE {identifier(one.temporary)} RENAME TO {identifier(one.target)}")
            for statement in one.statements:
                session.execute(statement)


@contextlib.contextmanager
def _ending_sessions(server: Server, maintenance: str, oids: Sequence[str]) -> Iterator[None]:
    """End the sessions of some databases again and again, from a session and a thread of its own."""
    done = threading.Event()
    query = (
        "SELECT count(pg_terminate_backend(pid)) AS n FROM pg_stat_activity"
        f" WHERE datid::text = ANY({literals(oids)}) AND pid <> pg_backend_pid()"
    )
    failures: list[HoldfastError] = []

    def end(session: Session) -> None:
        try:
            while not done.wait(INTERVAL):
                session.rows(query)
        except HoldfastError as error:
            failures.append(error)

    with server.connect(maintenance) as session:
        session.rows(query)
        thread = threading.Thread(target=end, args=(session,), name="end-sessions", daemon=True)
        thread.start()
        try:
            yield
        except Interrupted:
            raise
        except HoldfastError as error:
            if failures:  # without it the sessions could not end: that is the cause
                raise failures[0].at("swap") from error
            raise
        finally:
            done.set()
            thread.join(10)
