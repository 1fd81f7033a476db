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

from ..._errors import HoldfastError
from ._sql import Session, identifier, literal

MARK = "holdfast-scratch.json"
PREFIX = "holdfast_restore_"
"""Names of databases that are being restored begin so; their comment is COMMENT."""
COMMENT = "holdfast: being restored; may be dropped when no restore runs"
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
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
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
        with open(os.path.join(directory, MARK), encoding="utf-8") as stream:
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


def sweep_databases(session: Session) -> Iterator[str]:
    """Drop the temporary databases of dead runs.

    Args:
        session: in the maintenance database: advisory locks are of one database.
    """
    found = session.rows(
        f"SELECT datname FROM pg_database WHERE datname ~ '^{PREFIX}[0-9a-f]{{16}}$'"
        f" AND coalesce(shobj_description(oid, 'pg_database'), {literal(COMMENT)}) = {literal(COMMENT)}"
        " AND datname <> current_database() ORDER BY datname"
    )
    for row in found:
        name = str(row["datname"])
        if session.value(f"SELECT pg_try_advisory_lock({lock_key(name)}) AS dead"):
            try:
                drop_database(session, name)
                yield name
            finally:
                session.rows(f"SELECT pg_advisory_unlock({lock_key(name)}) AS given_back")


def drop_database(session: Session, name: str) -> None:
    """Drop a database with whoever is in it (a restoring tool that outlived its run, say)."""
    session.execute(f"DROP DATABASE IF EXISTS {identifier(name)} WITH (FORCE)")


def try_drop(session: Session, name: str) -> str | None:
    """As `drop_database`, when something else has failed already; the sentence of what is left behind."""
    try:
        drop_database(session, name)
    except HoldfastError as error:
        return f"the temporary database {name} ({error.message} The next restore drops it.)"
    return None
