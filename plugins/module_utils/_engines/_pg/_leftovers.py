# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a killed run left behind: recognised by a mark that only a dead run's things can have, and swept.

PRIVATE to the collection; may change without notice.

On disk the mark is a file with a process id and its start time (ids are used again). In a server it is an advisory
lock, which the kernel and the server take from a run when it dies, on whatever host it ran.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from typing import Any

from ..._errors import HoldfastError, Interrupted
from ._server import Server
from ._sql import Session, identifier, literal

MARK = "holdfast-scratch.json"
PREFIX = "holdfast_restore_"
"""Names of databases that are being restored begin so; their comment is COMMENT."""
COMMENT = "holdfast: being restored; may be dropped when no restore runs"
DROP_ATTEMPTS = 5
"""Tries to drop a database whose checkpoint fails."""
GRACE = 20.0
"""Seconds that an orphaned server gets to go."""


def start_time(pid: int) -> str | None:
    """When a process began, in the kernel's ticks since boot, and the boot itself; None when there is none.

    Where there is no /proc, living processes have no time but `?`.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            fields = stream.read().rpartition(b")")[2].split()
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
            return f"{stream.read().strip()} {fields[19].decode()}"
    except OSError:
        if os.path.isdir("/proc/self"):
            return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "?"


def mark(directory: str, **more: Any) -> None:
    """Say in a scratch directory whose it is."""
    document = {"pid": os.getpid(), "start": start_time(os.getpid()), **more}
    path = os.path.join(directory, MARK)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # not written through what the directory's owner may have put there
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        json.dump(document, stream)


def sweep_directories(parent: str) -> list[str]:
    """Remove the marked directories below `parent` whose run is dead, ending the server that ran in one.

    Returns: what was removed.
    """
    removed = []
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(parent):
            found = _mark_of(entry.path) if entry.is_dir(follow_symlinks=False) else None
            if found is None or start_time(int(found["pid"])) == found["start"]:
                continue
            end_server(os.path.join(entry.path, "data"))
            for path in (entry.path, found.get("sockets")):
                if path:
                    shutil.rmtree(path, ignore_errors=True)
            removed.append(entry.path)
    return removed


def _mark_of(directory: str) -> dict[str, Any] | None:
    try:
        descriptor = os.open(os.path.join(directory, MARK), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, encoding="utf-8") as stream:
            if os.fstat(descriptor).st_uid != os.geteuid():
                return None  # it names what is removed, and the directory belongs to whom our tools run as
            document = json.load(stream)
    except (OSError, ValueError):
        return None  # somebody else's, or one whose run has not said whose it is yet
    return document if isinstance(document, dict) and {"pid", "start"} <= document.keys() else None


def end_server(data: str) -> None:
    """End the server of a data directory, if one runs there: at once, for nothing of it is kept."""
    try:
        with open(os.path.join(data, "postmaster.pid"), encoding="ascii") as stream:
            pid = int(stream.readline())
    except (OSError, ValueError):
        return
    deadline = time.monotonic() + GRACE
    while _works_in(pid, data):  # its working directory proves that the id is still that server's
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGQUIT if time.monotonic() < deadline else signal.SIGKILL)
        time.sleep(0.1)


def _works_in(pid: int, directory: str) -> bool:
    try:
        return os.path.samefile(f"/proc/{pid}/cwd", directory)
    except OSError:
        return False


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
