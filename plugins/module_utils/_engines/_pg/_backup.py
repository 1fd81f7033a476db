# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The backup of a PostgreSQL server: preflight, then database after database, then roles and details.

PRIVATE to the collection; may change without notice.

Artefacts: `dump` (custom format, one a database), or `directory` (tar streams of a pg_dump directory; all of one
database are unpacked into one place); `globals` (roles and tablespaces as SQL); `details` (`_catalog`); `fingerprint`.
Those of a database carry the attribute `database`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from typing import Any, Callable

from ..._durations import counted, format_size, parse_size
from ..._errors import DiskFull, InvalidOption, NotFound, PermissionDenied
from ..._manifest import Artefact, safe_name
from ..._stream._source import bytes_source
from ..._stream._write import Stream
from .._interface import BackupPlan, BackupRun, Place
from . import _catalog, _fingerprint
from ._by_hand import by_hand_lines, custom_by_hand, directory_by_hand
from ._catalog import DETAILS_SCHEMA
from ._directory import Directory, Uploads, tar_source
from ._dump import Dump, DumpOptions, globals_source
from ._selection import OPTIONS as SELECTION_OPTIONS
from ._selection import Selection
from ._server import Server
from ._sql import Session, identifier

OPTIONS: Mapping[str, Any] = {
    **SELECTION_OPTIONS,
    "format": {"type": "str", "choices": ["custom", "directory"], "default": "custom"},
    "jobs": {"type": "int", "default": 1},
    "scratch_limit": {"type": "str", "default": "16GiB"},
    "fingerprint": {"type": "str", "choices": list(_fingerprint.LEVELS), "default": "counts"},
    "lock_wait_timeout": {"type": "int", "default": 60},
    "stall_timeout": {"type": "int", "default": 1800},
}
"""Options of a backup only."""

DATABASE_OPTIONS: Mapping[str, Any] = {
    "database": {"type": "str"},
    "databases": {"type": "list", "elements": "str"},
}
"""Which databases: one, a list, or `all`; shared by backup, restore and verify."""

NAMED = 10
"""Tables that an error message names."""

_SUBSCRIPTIONS = """
SELECT count(subname) AS n FROM pg_subscription
 WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())"""

# The view shows the options of one's own mappings only; pg_dump writes the others without any, and says nothing.
_HIDDEN_MAPPINGS = "SELECT count(*) AS n FROM pg_user_mappings WHERE umoptions IS NULL"


class BackupJob:
    """One backup of one server.

    Args:
        options: of the module.
    """

    def __init__(self, server: Server, options: Mapping[str, Any], place: Place) -> None:
        self._server = server
        self._place = place
        self._options = {name: options.get(name, spec.get("default")) for name, spec in OPTIONS.items()}
        self._one, self._wanted = options.get("database"), options.get("databases")
        self._selection = Selection.from_options(options)
        self._format = str(self._options["format"])
        self._level = str(self._options["fingerprint"])
        self._standby = False
        self._check_options()

    def _check_options(self) -> None:
        if bool(self._one) == bool(self._wanted):
            raise InvalidOption("Give either database or databases (a list, or all).", stage="preflight")
        if self._format == "directory" and self._server.container:
            raise InvalidOption(
                "format: directory needs pg_dump's files on this host; in a container it would write them there.",
                stage="preflight",
                hint="Use format: custom, or connect to the published port (login_host).",
            )
        if self._jobs < 1 or (self._jobs > 1 and self._format != "directory"):
            raise InvalidOption("jobs must be at least 1, and more than 1 needs format: directory.", stage="preflight")
        for name in ("lock_wait_timeout", "stall_timeout"):
            if int(self._options[name] or 0) < 0:
                raise InvalidOption(f"{name} is negative.", stage="preflight")
        if self._limit < 1:
            raise InvalidOption("scratch_limit must be more than nothing.", stage="preflight")

    @property
    def _jobs(self) -> int:
        return 1 if self._options["jobs"] is None else int(self._options["jobs"])

    @property
    def _limit(self) -> int:
        try:
            return parse_size(str(self._options["scratch_limit"]))
        except InvalidOption as error:
            raise InvalidOption(f"scratch_limit {error.message}.", stage="preflight") from None

    @property
    def _dump_options(self) -> DumpOptions:
        stall = float(self._options["stall_timeout"] or 0)
        return DumpOptions(
            self._selection, float(self._options["lock_wait_timeout"] or 0), stall or None, self._standby
        )

    # -- preflight ----------------------------------------------------------------------------------------------

    def plan(self) -> BackupPlan:
        """Everything that can be known to fail fails here."""
        server, timeout = self._server, self._server.statement_timeout
        warnings: list[str] = []
        with server.connect_anywhere() as session:
            server.learn_version(session)
            dump = server.tool("pg_dump", server.major)
            server.tool("pg_dumpall", server.major)
            facts = _catalog.server_facts(session, timeout)
            known = {row["name"]: row for row in _catalog.databases(session, timeout)}
        self._standby = bool(facts["standby"])
        chosen = self._choose(known, warnings)
        without = "" if facts["role_passwords"] else ", without passwords (the role may not read them)"
        summary = [
            f"PostgreSQL {facts['version']} at {server.where}, dumped by {dump.path} ({dump.major})",
            f"roles and tablespaces{without}",
        ]
        if without:
            warnings.append("Roles are saved without passwords: the role may not read pg_authid.")
        sizes = []
        for name in chosen:
            with server.connect(name) as session:
                size, largest, line = self._plan_database(session, known[name], facts, warnings)
            sizes.append(size)
            summary.append(line)
            if self._format == "directory":
                self._check_scratch(name, size, largest)
        return BackupPlan(sum(sizes), tuple(summary), self._identity(), tuple(warnings))

    def _identity(self) -> dict[str, Any]:
        what = {"database": self._one} if self._one else {"databases": sorted(set(self._wanted or ()))}
        container = {key: value for key, value in (self._server.key.get("container") or {}).items() if value}
        where = {**self._server.key, **({"container": container} if container else {})}
        return {**where, **what, **self._selection.options, "fingerprint": self._level}

    def _choose(self, known: Mapping[str, Mapping[str, Any]], warnings: list[str]) -> list[str]:
        """The names of the databases that are dumped.

        Raises:
            NotFound: one does not exist.
        """
        wanted = [self._one] if self._one else list(dict.fromkeys(self._wanted or ()))
        if wanted == ["all"] and not self._one:
            usable = []
            for name, row in known.items():
                if row["allow_connections"] and row["connection_limit"] != -2:
                    usable.append(name)
                elif name != "template0":
                    why = (
                        "is invalid (a DROP DATABASE was interrupted)"
                        if row["connection_limit"] == -2
                        else "allows none"
                    )
                    warnings.append(
                        f"The database {name!r} is left out: it {why}{' connections' * (why == 'allows none')}."
                    )
            return usable
        for name in wanted:
            if name not in known:
                raise NotFound(
                    f"There is no database {name!r} on {self._server.where}.",
                    stage="preflight",
                    hint=f"There are: {', '.join(repr(other) for other in sorted(known))}.",
                )
        return [str(name) for name in wanted]

    def _plan_database(
        self, session: Session, row: Mapping[str, Any], facts: Mapping[str, Any], warnings: list[str]
    ) -> tuple[int, int, str]:
        """Bytes in all, bytes of the largest table, and the line of the plan for one database."""
        timeout = self._server.statement_timeout
        found = _catalog.relations(session, timeout)
        warnings += self._selection.check(found, _catalog.schemas(session, timeout), session.database)
        dumped = self._selection.with_data(found)
        try:
            self._check_rights(session, [relation for relation in dumped if relation.kind in "rpS"])
        except PermissionDenied as error:
            raise _acting_as_another(session, error) from None
        locks = 2 * sum(relation.kind in "rp" for relation in dumped)
        room = session.value(
            "SELECT current_setting('max_locks_per_transaction')::bigint * (current_setting('max_connections')::int"
            " + current_setting('max_prepared_transactions')::int) AS room",
            timeout,
        )
        if locks > room:
            warnings.append(
                f"{session.database!r}: about {locks} locks are needed and the server has room for {room}; "
                "raise max_locks_per_transaction if the dump fails."
            )
        if not facts["superuser"] and session.value(_SUBSCRIPTIONS, timeout):
            warnings.append(
                f"{session.database!r}: subscriptions are left out, because only a superuser may read them."
            )
        mappings = 0 if facts["superuser"] else session.value(_HIDDEN_MAPPINGS, timeout)
        if mappings:
            warnings.append(
                f"{session.database!r}: {mappings} user mappings are saved without options (such as the remote user), "
                "because only a superuser may read them."
            )
        if self._standby and any(relation.persistence == "u" for relation in dumped):
            warnings.append(f"{session.database!r}: unlogged tables are dumped empty, because the server is a standby.")
        tables = [relation for relation in dumped if relation.kind == "r"]
        size = sum(relation.bytes for relation in tables) or int(row["size"] or 0)
        largest = max((relation.bytes for relation in tables), default=0)
        chosen = f", {self._selection.options}" if self._selection.options else ""
        told = f"{counted(len(tables), 'table')}, about {format_size(size)}, {self._format}{chosen}"
        line = f"database {session.database!r}: {told}"
        return size, largest, line

    def _check_rights(self, session: Session, dumped: Sequence[_catalog.Relation]) -> None:
        """Fail before anything starts on what pg_dump could not read, or would read only in part."""
        hidden = [".".join(relation.key) for relation in dumped if not relation.readable]
        if hidden:
            raise PermissionDenied(
                f"The role may not read {len(hidden)} of {len(dumped)} tables and sequences of {session.database!r}: "
                f"{_some(hidden)}.",
                right="read",
                stage="preflight",
                hint="Grant it pg_read_all_data (PostgreSQL 14 and later) or SELECT and USAGE, or exclude them.",
            )
        secured = [".".join(relation.key) for relation in dumped if relation.row_security]
        if secured:
            raise PermissionDenied(
                f"Row security would hide rows of {session.database!r} from the role: {_some(secured)}.",
                right="read",
                stage="preflight",
                hint="Use a superuser or a role with BYPASSRLS.",
            )
        if not self._selection.partial:
            count, unreadable = _catalog.large_objects(session, self._server.statement_timeout)
            if unreadable:
                raise PermissionDenied(
                    f"The role may not read {unreadable} of {count} large objects of {session.database!r}.",
                    right="read",
                    stage="preflight",
                    hint="Use a superuser or their owner, or choose schemas (large objects are left out then).",
                )

    def _check_scratch(self, database: str, size: int, largest: int) -> None:
        path = self._place.scratch_dir
        while not os.path.isdir(path):
            path = os.path.dirname(path) or "/"
        free = shutil.disk_usage(path).free
        needed = max(largest, min(size, self._limit))
        if free < needed:
            raise DiskFull(
                f"The scratch directory ({self._place.scratch_dir}) has {format_size(free)}; the tables of "
                f"{database!r} need up to {format_size(needed)} in it.",
                stage="preflight",
                hint="Set scratch_dir to a larger place, lower scratch_limit, or use format: custom.",
            )

    # -- the backup ---------------------------------------------------------------------------------------------

    def run(self, run: BackupRun) -> None:
        """Dump everything that was chosen."""
        server, timeout = self._server, self._server.statement_timeout
        ended = server.claim(run.id)
        if ended:
            run.warn(f"{ended} sessions that a killed run of this component had left on the server were ended.")
        with server.connect_anywhere() as session:
            server.learn_version(session)
            facts = _catalog.server_facts(session, timeout)
            self._standby = bool(facts["standby"])
            known = {row["name"]: row for row in _catalog.databases(session, timeout)}
            spaces = _catalog.tablespaces(session, timeout)
        details: list[dict[str, Any]] = []
        prints: dict[str, Any] = {}
        by_hand: list[str] = []
        for name in self._choose(known, []):
            # The age of the backup is that of its oldest part.
            taken = run.snapshot_taken if not details else _nothing
            one, lines = self._dump(run, name, taken, prints)
            details.append(one)
            by_hand += lines
        roles = self._globals(run, bool(facts["role_passwords"]), details)
        document = {"schema": DETAILS_SCHEMA, "server": facts, "tablespaces": spaces, "databases": details}
        run.store(Stream("details.json", "details", bytes_source(_json(document))))
        if self._level != "none":
            run.fingerprint(self._level, {"schema": _fingerprint.SCHEMA, "level": self._level, "databases": prints})
        run.facts(
            {
                "server_version": facts["version"],
                "server_version_num": facts["version_num"],
                "pg_dump_major": server.tool("pg_dump", server.major).major,
                "databases": [one["name"] for one in details],
                "role_passwords": facts["role_passwords"],
                "format": self._format,
            }
        )
        run.by_hand(by_hand_lines(roles, by_hand))

    def _dump(
        self, run: BackupRun, name: str, taken: Callable[[], None], prints: dict[str, Any]
    ) -> tuple[dict[str, Any], list[str]]:
        """One database: its details, and the lines that restore it by hand."""
        with contextlib.ExitStack() as stack:
            scratch = None
            if self._format == "directory":
                owner = self._server.run_as.name if self._server.run_as else None
                scratch = stack.enter_context(run.scratch(owner))
            dump = stack.enter_context(
                Dump(self._server, name, self._dump_options, self._level, taken, directory=scratch, jobs=self._jobs)
            )
            if scratch is None:
                lines = custom_by_hand(name, self._custom(run, dump))
            else:
                lines = directory_by_hand(name, self._directory(run, dump, scratch))
            prints[name] = dump.snapshot.finish()
            return {**dump.snapshot.details, "partial": self._selection.partial, "format": self._format}, lines

    def _custom(self, run: BackupRun, dump: Dump) -> Artefact:
        return run.store(
            Stream(
                f"{safe_name(dump.database)}.dump",
                "dump",
                dump.source(),
                restore="pg_restore --exit-on-error --create -d postgres",
                attributes={"database": dump.database, "format": "custom"},
            )
        )

    def _directory(self, run: BackupRun, dump: Dump, scratch: str) -> list[Artefact]:
        """Send finished files while others are written."""
        found: list[Artefact] = []
        with contextlib.ExitStack() as stack:
            directory = Directory(scratch, self._server.run_as)
            stack.callback(directory.close)
            uploads = Uploads(dump.process, directory, self._limit, self._dump_options.stall, dump.check)
            stack.callback(uploads.close)
            for number, batch in enumerate(uploads.batches()):
                found.append(
                    run.store(
                        Stream(
                            f"{safe_name(dump.database)}.dir-{number:05d}.tar",
                            "directory",
                            tar_source(directory, batch),
                            restore="tar -x",
                            attributes={"database": dump.database, "format": "directory", "files": len(batch)},
                        )
                    )
                )
        if uploads.watermark.exceeded:
            run.warn(
                f"A table of {dump.database!r} is larger than scratch_limit ({format_size(self._limit)}): pg_dump was "
                "let write on, because nothing else was left to send."
            )
        return found

    def _globals(self, run: BackupRun, passwords: bool, details: Sequence[Mapping[str, Any]]) -> Artefact:
        """Roles and tablespaces, after the databases: a role that was made while they were dumped is there then."""
        server = self._server
        with server.connect_anywhere() as session:
            maintenance = session.database
            known = set(_catalog.names(session.rows("SELECT rolname AS name FROM pg_roles", server.statement_timeout)))
        gone = sorted({role for one in details for role in one["roles"]} - known)
        if gone:
            run.warn(f"Roles that the databases refer to were dropped during the dump: {_some(gone)}.")
        tool = server.tool("pg_dumpall", server.major)
        return run.store(
            Stream(
                "globals.sql",
                "globals",
                globals_source(server, tool, passwords, maintenance),
                restore="psql -X -d postgres",
                attributes={"passwords": passwords},
            )
        )


def _acting_as_another(session: Session, error: PermissionDenied) -> PermissionDenied:
    """Say so where the role that may not is not the one that we log in as."""
    who = session.row("SELECT session_user::text AS login, current_user::text AS acting")
    if who["login"] != who["acting"]:
        where = session.database
        error.message = (
            f"A setting of {where!r} (ALTER DATABASE or ALTER ROLE … SET role) makes the sessions of {who['login']!r} "
            f"act as {who['acting']!r}. {error.message}"
        )
        exception = f"ALTER ROLE {identifier(who['login'])} IN DATABASE {identifier(where)} SET role = 'none'"
        error.hint = f"Except our role from it: {exception}."
    return error


def _some(names: Sequence[str]) -> str:
    """The first few of many names."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(repr(name) for name in names[:NAMED]) + more


def _nothing() -> None:
    return None


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogateescape")
