# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The history of backups as a table in a PostgreSQL database that the user names: every attempt is a row.

PRIVATE to the collection; may change without notice. The table is public: columns are only ever added.

A history that is down never fails a backup: `record` returns a sentence to warn with, or None. The repositories
are the truth about what exists; this table is for people and dashboards.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from ._errors import InvalidOption, redact
from ._libpq import default_ssl_mode
from ._secret_files import secret

CONNECT_TIMEOUT = 5
"""Seconds to reach the server (each address)."""

STATEMENT_TIMEOUT = 10
"""Seconds for one statement, waiting for locks included."""

COLUMNS: Final[Mapping[str, str]] = {
    "backup_id": "text",
    "backup_type": "text",
    "timestamp": "timestamptz",
    "size_bytes": "bigint",
    "checksum": "text",
    "status": "text",
    "error_message": "text",
    "created_at": "timestamptz NOT NULL DEFAULT now()",
    "component": "text",
    "host": "text",
    "error_code": "text",
    "source_size_bytes": "bigint",
    "seconds": "double precision",
    "snapshot_at": "timestamptz",
    "repositories": "text[]",
    "missing": "text[]",
    "backup_set": "text",
    "verified_level": "text",
    "verified_ok": "boolean",
    "verified_at": "timestamptz",
}
"""Every column and its type. A table that lacks some gets them; none is ever changed or dropped."""

INDEXES: Final = ("timestamp", "backup_type", "status", "backup_id")

_TABLE_ABSENT, _COLUMN_ABSENT = "42P01", "42703"


@dataclass(frozen=True)
class Attempt:
    """One attempt to back a component up.

    Attributes:
        status: `success`, `degraded` or `failure`.
        backup_type: the engine.
        timestamp: when it began.
        backup_id: None when it failed before it had one.
        size_bytes: stored, in one repository.
        checksum: SHA-256 of the backup's `SHA256SUMS`.
        repositories, missing: where it is committed, and where it should be and is not.
    """

    component: str
    backup_type: str
    status: str
    timestamp: datetime
    seconds: float | None = None
    backup_id: str | None = None
    size_bytes: int | None = None
    source_size_bytes: int | None = None
    checksum: str | None = None
    snapshot_at: datetime | None = None
    repositories: Sequence[str] = ()
    missing: Sequence[str] = ()
    backup_set: str | None = None
    error_code: str | None = None
    error_message: str | None = None


def record(options: Mapping[str, Any] | None, attempt: Attempt) -> str | None:
    """Add a row.

    Args:
        options: `host` (a name or a socket directory), `port`, `user`, `password` or `password_file`, `database`,
            `table`, `ssl_mode`.
    """
    row = {
        **{name: getattr(attempt, name) for name in COLUMNS if hasattr(attempt, name)},
        "host": socket.gethostname(),
        "repositories": list(attempt.repositories),
        "missing": list(attempt.missing),
    }
    return _guarded(options, lambda table: table.insert(row))


def record_verification(
    options: Mapping[str, Any] | None, backup_id: str, level: str, ok: bool, at: datetime
) -> str | None:
    """Note the newest verification in the rows of a backup."""
    return _guarded(options, lambda table: table.verified(backup_id, level, ok, at))


def _guarded(options: Mapping[str, Any] | None, action: Any) -> str | None:
    """Do something with the table; whatever goes wrong is a warning."""
    if not options:
        return None
    try:
        import psycopg
    except ImportError:
        return "The history was not written: the Python library psycopg is not installed on this host."
    password = None
    try:
        name = _table_name(str(options.get("table") or "backup_history"))
        password = secret(options, "password", "history.")
        with psycopg.connect(**_connection(options, password)) as connection:
            action(_Table(connection, name))
    except (psycopg.Error, InvalidOption, OSError) as error:
        said = redact(" ".join(str(error).split()), [password])
        return f"The history was not written to the database {options.get('database')}: {said}"
    return None


def _connection(options: Mapping[str, Any], password: str | None) -> dict[str, Any]:
    """Parameters of libpq: short timeouts, so that a dead server costs seconds."""
    wanted = {
        "host": options.get("host"),
        "port": options.get("port"),
        "user": options.get("user"),
        "password": password,
        "dbname": options.get("database"),
        "sslmode": options.get("ssl_mode") or default_ssl_mode(options.get("host"), None),
        "connect_timeout": CONNECT_TIMEOUT,
        "tcp_user_timeout": STATEMENT_TIMEOUT * 1000,
        "options": f"-c statement_timeout={STATEMENT_TIMEOUT}s -c lock_timeout={STATEMENT_TIMEOUT}s",
        "application_name": "holdfast.ops history",
    }
    return {key: value for key, value in wanted.items() if value is not None}


def _table_name(text: str) -> tuple[str, ...]:
    """`table` or `schema.table`."""
    parts = tuple(text.split("."))
    if len(parts) > 2 or not all(0 < len(part.encode()) <= 63 and "\0" not in part for part in parts):
        raise InvalidOption(f"history.table must be a table or schema.table, not {text!r}.")
    return parts


class _Table:
    """The table; made, or given the columns it lacks, when a statement meets that something is missing."""

    def __init__(self, connection: Any, name: tuple[str, ...]) -> None:
        from psycopg import sql

        self._connection = connection
        self._sql = sql
        self._bare = name[-1]
        self._name = sql.Identifier(*name)

    def insert(self, row: Mapping[str, Any]) -> None:
        sql = self._sql
        statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            self._name,
            sql.SQL(", ").join(sql.Identifier(column) for column in row),
            sql.SQL(", ").join(sql.Placeholder(column) for column in row),
        )
        self._run(statement, row)

    def verified(self, backup_id: str, level: str, ok: bool, at: datetime) -> None:
        statement = self._sql.SQL(
            "UPDATE {} SET verified_level = %(level)s, verified_ok = %(ok)s, verified_at = %(at)s"
            " WHERE backup_id = %(id)s AND (verified_at IS NULL OR verified_at <= %(at)s)"
        ).format(self._name)
        self._run(statement, {"id": backup_id, "level": level, "ok": ok, "at": at})

    def _run(self, statement: Any, values: Mapping[str, Any]) -> None:
        """Run a statement; the usual run needs no right to define anything."""
        import psycopg

        try:
            with self._connection.transaction():
                self._connection.execute(statement, values)
        except psycopg.Error as error:
            if error.sqlstate not in (_TABLE_ABSENT, _COLUMN_ABSENT):
                raise
            with self._connection.transaction():
                self._define()
                self._connection.execute(statement, values)

    def _define(self) -> None:
        sql, execute = self._sql, self._connection.execute
        # IF NOT EXISTS does not keep two first runs from colliding; an advisory lock does.
        execute("SELECT pg_advisory_xact_lock(hashtext('holdfast.ops backup_history'))")
        execute(sql.SQL("CREATE TABLE IF NOT EXISTS {} (id bigserial PRIMARY KEY)").format(self._name))
        for column, kind in COLUMNS.items():
            execute(
                sql.SQL("ALTER TABLE {} ADD COLUMN IF NOT EXISTS {} {}").format(
                    self._name, sql.Identifier(column), sql.SQL(kind)
                )
            )
        for column in INDEXES:
            index = f"{self._bare.encode()[:35].decode(errors='ignore')}_{column}_idx"
            execute(
                sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} ({})").format(
                    sql.Identifier(index), self._name, sql.Identifier(column)
                )
            )
