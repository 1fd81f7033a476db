# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report on PostgreSQL, and servers with trouble for it to find."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from ansible_collections.holdfast.ops.plugins.module_utils._deadline import Deadline
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._kinds._postgresql_report import (
    PostgresqlReport,
)
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._section import Finding, Section

from .postgres import EmbeddedPostgres
from .servers import wait_until

SAFE = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}
"""Settings that a report has nothing to say about."""

PROMPT = {"active_query_age": "0s", "idle_in_transaction_age": "0s", "blocked_age": "0s", "slow_query_mean": "1s"}
"""Thresholds for trouble that has only just begun."""


def options(server: EmbeddedPostgres, **more: Any) -> dict[str, Any]:
    """The options of a report that logs in over the socket."""
    defaults = {name: option.get("default") for name, option in PostgresqlReport.SPEC.options.items()}
    # Whom the wheel's account is trusted as needs no child process of its own.
    place = {"login_unix_socket": str(server.socket_dir), "login_port": server.port, "bin_dir": str(server.bin_dir)}
    return {**defaults, **place, **more}


def over_tcp(server: EmbeddedPostgres, **more: Any) -> dict[str, Any]:
    """The same over TCP with the superuser's password, by psycopg."""
    login = {"login_host": "127.0.0.1", "login_unix_socket": None, "login_password": server.password, "bin_dir": None}
    return options(server, **{**login, **more})


def report(given: dict[str, Any], seconds: float = 120) -> Section:
    """Look."""
    return PostgresqlReport(given).look(Deadline(seconds))


def codes(section: Section) -> set[str]:
    return {each.code for each in section.findings}


def found(section: Section, code: str, subject: str = "") -> Finding:
    """The only finding of a code (about a subject)."""
    (only,) = [each for each in section.findings if each.code == code and subject in ("", each.subject)]
    return only


def rows(section: Section, table: str) -> list[dict[str, Any]]:
    """The rows of a table; none when there is no such table."""
    return [dict(row) for each in section.tables if each.name == table for row in each.rows]


def seed_tables(server: EmbeddedPostgres, database: str) -> None:
    """Bloat, an unused, a duplicate and an invalid index, a foreign key without one, and a table that is always read
    from end to end. What is counted is there when this returns."""
    server.psql(
        """
        CREATE TABLE projects (id int PRIMARY KEY, name text);
        INSERT INTO projects SELECT g, 'project ' || g FROM generate_series(1, 100) g;
        CREATE TABLE documents (id int PRIMARY KEY, project int CONSTRAINT belongs REFERENCES projects,
                                title text, body text) WITH (autovacuum_enabled = off);
        INSERT INTO documents SELECT g, 1 + g % 100, md5(g::text), repeat(md5(g::text), 4)
          FROM generate_series(1, 100000) g;
        CREATE INDEX documents_title ON documents (title);
        CREATE INDEX documents_lower ON documents (lower(title));
        CREATE INDEX documents_lower_too ON documents (lower(title));
        CREATE INDEX "Never used" ON documents (body text_pattern_ops);
        CREATE TABLE worn (id int, filler text) WITH (autovacuum_enabled = off);
        INSERT INTO worn SELECT g, repeat(md5(g::text), 8) FROM generate_series(1, 60000) g;
        CREATE INDEX worn_id ON worn (id);
        DELETE FROM worn WHERE id % 10 <> 0;
        ANALYZE;
        """,
        db=database,
    )
    with server.connect(database) as connection, contextlib.suppress(Exception):
        connection.execute("CREATE UNIQUE INDEX CONCURRENTLY broken ON documents (project)")
    with server.connect(database) as connection:
        connection.execute("SET enable_seqscan = off")
        connection.execute("SELECT count(*) FROM documents WHERE title = 'x'")
        connection.execute("SELECT count(*) FROM documents WHERE lower(title) = 'x'")
        connection.execute("SELECT count(*) FROM worn WHERE id = 1")
        connection.execute("SET enable_seqscan = on; SET enable_indexscan = off; SET enable_bitmapscan = off;")
        connection.execute("SET enable_indexonlyscan = off; SET max_parallel_workers_per_gather = 0")
        for _time in range(12):  # more than building the indexes took
            connection.execute("SELECT count(*) FROM documents WHERE body = 'x'")
        connection.execute("DELETE FROM projects WHERE id = 0")
    counted = "SELECT seq_scan >= 12 AND idx_scan >= 1 FROM pg_stat_user_tables WHERE relname = 'documents'"
    wait_until(lambda: bool(server.value(counted, database)), "the counts of scans")


@contextlib.contextmanager
def trouble(server: EmbeddedPostgres, database: str) -> Iterator[dict[str, int]]:
    """A session idle in a transaction that locks a row, one that waits for it, and a query that takes its time; yields
    their process ids."""
    with contextlib.ExitStack() as stack:
        idle, waiting, slow = (
            stack.enter_context(contextlib.closing(server.connect(database, application_name=name)))
            for name in ("idle", "waiting", "slow")
        )
        pids = {name: one.info.backend_pid for name, one in (("idle", idle), ("waiting", waiting), ("slow", slow))}
        idle.execute("BEGIN; UPDATE projects SET name = 'of Ms Secret' WHERE id = 1")

        def run(connection: Any, query: str) -> None:
            with contextlib.suppress(Exception):
                connection.execute(query)

        threads = [
            threading.Thread(target=run, args=(waiting, "UPDATE projects SET name = 'Mr Secret' WHERE id = 1")),
            threading.Thread(target=run, args=(slow, "SELECT pg_sleep(600), 'Secret of the slow'")),
        ]
        for thread in threads:
            thread.start()
        states = "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY (%s) AND wait_event_type IN ('Lock', 'Timeout')"
        try:
            wait_until(lambda: server.value(states, parameters=[list(pids.values())]) == 2, "a blocked query")
            yield pids
        finally:
            server.query("SELECT pg_terminate_backend(pid) FROM unnest(%s) pid", parameters=[list(pids.values())])
            for thread in threads:
                thread.join()
