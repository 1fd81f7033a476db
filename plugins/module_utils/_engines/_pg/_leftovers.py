# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases that a killed run left in a server: recognised by a mark that only a dead run's can have, and dropped.

PRIVATE to the collection; may change without notice.

The mark is an advisory lock, which the kernel and the server take from a run when it dies, on whatever host it ran.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator

from ..._errors import HoldfastError, Interrupted
from ._server import Server
from ._sql import Session, identifier, literal

PREFIX = "holdfast_restore_"
"""Names of databases that are being restored begin so; their comment is COMMENT."""
COMMENT = "holdfast: being restored; may be dropped when no restore runs"
DROP_ATTEMPTS = 5
"""Tries to drop a database whose checkpoint fails."""


def lock_key(database: str) -> int:
    """The advisory lock that says that a temporary database is being worked on."""
    return int.from_bytes(hashlib.sha256(database.encode()).digest()[:8], "big", signed=True)


def hold(session: Session, database: str) -> None:
    """Say, as long as the session lives, that the temporary database is ours."""
    session.rows(f"SELECT pg_advisory_lock({lock_key(database)})::text AS held")


def sweep_databases(server: Server, session: Session) -> Iterator[str]:
    """Drop the temporary databases of dead runs; a sentence about each.

    Args:
        session: in the maintenance database.
    """
    found = session.rows(
        f"SELECT datname FROM pg_database WHERE datname ~ '^{PREFIX}[0-9a-f]{{16}}$'"
        f" AND coalesce(shobj_description(oid, 'pg_database'), {literal(COMMENT)}) = {literal(COMMENT)}"
        " AND datname <> current_database() ORDER BY datname"
    )
    for row in found:
        name = str(row["datname"])
        if _held_elsewhere(session, name):
            continue
        if session.value(f"SELECT pg_try_advisory_lock({lock_key(name)}) AS dead"):
            try:
                drop_temporary(server, session, name)
                yield f"Dropped {name}, left by a restore that was killed."
            except Interrupted:
                raise  # the lock goes with the session
            except HoldfastError as error:  # it is in nobody's way
                yield f"The database {name}, left by a restore that was killed, could not be dropped: {error}"
            session.rows(f"SELECT pg_advisory_unlock({lock_key(name)}) AS given_back")


def _held_elsewhere(session: Session, name: str) -> bool:
    """Whether a run that works from another database holds the lock: advisory locks are of one database each."""
    high, low = divmod(lock_key(name) % 2**64, 2**32)
    return bool(
        session.value(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1"
            f" AND classid::bigint = {high} AND objid::bigint = {low} AND pid <> pg_backend_pid()) AS held"
        )
    )


def drop_database(session: Session, name: str) -> None:
    """Drop a database with whoever is in it (a restoring tool that outlived its run, say).

    It takes a checkpoint, which fails on a full disk until the files that were removed already have given room.
    """
    for attempt in range(1, DROP_ATTEMPTS + 1):
        try:
            session.execute(f"DROP DATABASE IF EXISTS {identifier(name)} WITH (FORCE)")
            return
        except HoldfastError as error:
            if attempt == DROP_ATTEMPTS or "checkpoint request failed" not in (error.tool_output or ""):
                raise
            time.sleep(0.5)


def drop_temporary(server: Server, session: Session, name: str) -> None:
    """Drop a database that a restore has made, with what would keep it from being dropped.

    Its subscriptions are parted from their slots first: a slot of that name serves the database that was dumped.
    """
    found = session.rows(
        "SELECT datistemplate AS template, EXISTS (SELECT FROM pg_subscription WHERE subdbid = d.oid) AS subscribed"
        f" FROM pg_database d WHERE datname = {literal(name)}"
    )
    for row in found:
        if row["template"]:
            session.execute(f"ALTER DATABASE {identifier(name)} IS_TEMPLATE false")
        if row["subscribed"]:
            with server.connect(name) as inside:
                inside.without_triggers()
                for subscription in subscriptions(inside, name):
                    for statement in ("ALTER {} DISABLE", "ALTER {} SET (slot_name = NONE)", "DROP {}"):
                        inside.execute(statement.format(f"SUBSCRIPTION {identifier(subscription)}"))
    drop_database(session, name)


def subscriptions(session: Session, database: str) -> list[str]:
    """The subscriptions of a database, by name."""
    rows = session.rows(
        "SELECT subname FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid"
        f" WHERE datname = {literal(database)} ORDER BY subname"
    )
    return [str(row["subname"]) for row in rows]
