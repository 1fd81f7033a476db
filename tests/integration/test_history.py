# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The history table in a real database: made, extended, written, and never in the way."""

from __future__ import annotations

import os
import socket
import threading
import time
from datetime import datetime, timedelta, timezone
from typing import Any

from ansible_collections.holdfast.ops.plugins.module_utils import _history
from ansible_collections.holdfast.ops.plugins.module_utils._history import Attempt, record, record_verification
from ansible_collections.holdfast.ops.tests.conftest import DatabaseFactory
from ansible_collections.holdfast.ops.tests.support.postgres import EmbeddedPostgres

START = datetime(2026, 11, 22, 2, 0, tzinfo=timezone.utc)
GOOD = Attempt(
    component="shop",
    backup_type="postgresql",
    status="success",
    timestamp=START,
    seconds=12.5,
    backup_id="20261122T020000.000Z-0123456789ab",
    size_bytes=2**40,
    source_size_bytes=2**42,
    checksum="ab" * 32,
    snapshot_at=START + timedelta(seconds=1),
    repositories=["primary", 'o"ffsite'],
)
BAD = Attempt(
    component="shop",
    backup_type="postgresql",
    status="failure",
    timestamp=START,
    error_code="unavailable",
    error_message='The server\'s gone; "really" - 100% $1',
)


def options(server: EmbeddedPostgres, database: str, **more: Any) -> dict[str, Any]:
    return {"host": str(server.socket_dir), "port": server.port, "user": "postgres", "database": database, **more}


def test_attempts_are_rows_and_failed_ones_too(pg18: EmbeddedPostgres, database: DatabaseFactory) -> None:
    name = database(pg18)
    assert record(options(pg18, name), GOOD) is None
    assert record(options(pg18, name), BAD) is None
    rows = pg18.query(
        "select backup_id, backup_type, timestamp, size_bytes, checksum, status, error_message, repositories, host,"
        " created_at is not null from backup_history order by id",
        name,
    )
    good, bad = (
        (GOOD.backup_id, "postgresql", START, 2**40, "ab" * 32, "success", None, list(GOOD.repositories)),
        (None, "postgresql", START, None, None, "failure", BAD.error_message, []),
    )
    assert rows == [(*good, socket.gethostname(), True), (*bad, socket.gethostname(), True)]


def test_the_columns_that_queries_filter_by_are_indexed(pg18: EmbeddedPostgres, database: DatabaseFactory) -> None:
    name = database(pg18)
    long = "h" * 63
    assert record(options(pg18, name, table=long), GOOD) is None
    definitions = [row[0] for row in pg18.query("select indexdef from pg_indexes where tablename = %s", name, (long,))]
    for column in ("timestamp", "backup_type", "status", "backup_id"):
        assert any(f"({column})" in each.replace('"', "") for each in definitions), column


def test_an_older_table_gets_the_columns_it_lacks_and_keeps_its_rows(
    pg16: EmbeddedPostgres, database: DatabaseFactory
) -> None:
    name = database(pg16)
    pg16.psql(
        "create schema ops; create table ops.backups (id serial primary key, backup_id text, status text, mine int);"
        "insert into ops.backups (backup_id, status, mine) values ('old', 'success', 7)",
        db=name,
    )
    assert record(options(pg16, name, table="ops.backups"), GOOD) is None
    assert pg16.query("select backup_id, mine, size_bytes from ops.backups order by id", name) == [
        ("old", 7, None),
        (GOOD.backup_id, None, 2**40),
    ]


def test_a_role_that_may_only_insert_is_enough_once_the_table_stands(
    pg18: EmbeddedPostgres, database: DatabaseFactory
) -> None:
    name = database(pg18)
    role, password = f"{name}_writer", "s'3 cr\\et@x"
    assert record(options(pg18, name), GOOD) is None
    with pg18.connect(name) as connection:
        from psycopg import sql

        connection.execute(
            sql.SQL("create role {} login password {}").format(sql.Identifier(role), sql.Literal(password))
        )
        connection.execute(
            sql.SQL(
                "grant insert on backup_history to {0}; grant usage on sequence backup_history_id_seq to {0}"
            ).format(sql.Identifier(role))
        )
    given = options(pg18, name, host="127.0.0.1", user=role, password=password)
    assert record(given, BAD) is None
    assert pg18.value("select count(*) from backup_history", name) == 2


def test_two_first_runs_at_once_make_one_table(pg18: EmbeddedPostgres, database: DatabaseFactory) -> None:
    name = database(pg18)
    said: list[str | None] = []
    threads = [threading.Thread(target=lambda: said.append(record(options(pg18, name), GOOD))) for _number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == [None] * 6
    assert pg18.value("select count(*) from backup_history", name) == 6


def test_a_verification_is_noted_and_an_older_one_does_not_undo_it(
    pg18: EmbeddedPostgres, database: DatabaseFactory
) -> None:
    name = database(pg18)
    given = options(pg18, name)
    assert record(given, GOOD) is None
    assert GOOD.backup_id is not None
    assert record_verification(given, GOOD.backup_id, "restore", False, START + timedelta(hours=2)) is None
    assert record_verification(given, GOOD.backup_id, "stat", True, START + timedelta(hours=1)) is None
    assert pg18.query("select verified_level, verified_ok, verified_at from backup_history", name) == [
        ("restore", False, START + timedelta(hours=2))
    ]


def test_a_history_that_is_down_warns_quickly_and_keeps_the_password(pg18: EmbeddedPostgres) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()  # accepts, and never answers
        port = silent.getsockname()[1]
        begun = time.monotonic()
        warning = record({"host": "127.0.0.1", "port": port, "database": "x", "password": "hush-hush"}, GOOD)
        assert time.monotonic() - begun < 3 * _history.CONNECT_TIMEOUT
    assert warning is not None and "not written" in warning and "hush-hush" not in warning
    wrong = {**options(pg18, "postgres"), "host": "127.0.0.1", "password": "hush-hush"}
    warning = record(wrong, GOOD)
    assert warning is not None and "authentication failed" in warning and "hush-hush" not in warning


def test_a_lock_on_the_table_is_not_waited_for_forever(
    pg18: EmbeddedPostgres, database: DatabaseFactory, monkeypatch: Any
) -> None:
    monkeypatch.setattr(_history, "STATEMENT_TIMEOUT", 1)
    name = database(pg18)
    assert record(options(pg18, name), GOOD) is None
    with pg18.connect(name, autocommit=False) as blocker:
        blocker.execute("lock table backup_history in access exclusive mode")
        warning = record(options(pg18, name), GOOD)
        blocker.rollback()
    assert warning is not None and "timeout" in warning
    assert pg18.value("select count(*) from backup_history", name) == 1


def test_a_table_name_is_never_sql(pg18: EmbeddedPostgres, database: DatabaseFactory) -> None:
    name = database(pg18)
    hostile = 'x"; drop table t; --'
    assert record(options(pg18, name, table=hostile), GOOD) is None
    assert pg18.query("select tablename from pg_tables where schemaname = 'public'", name) == [(hostile,)]
    warning = record(options(pg18, name, table="a.b.c"), GOOD)
    assert warning is not None and "schema.table" in warning


def test_nothing_asked_nothing_done() -> None:
    assert record(None, GOOD) is None
    assert "PGPASSWORD" not in os.environ
