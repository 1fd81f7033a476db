# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report on PostgreSQL finds the trouble that is there, and none where there is none."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._engines._pg._sql import PsycopgSession
from ansible_collections.holdfast.ops.plugins.module_utils._errors import (
    AuthenticationFailed,
    NotFound,
    TimedOut,
    Unavailable,
)
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._section import Section
from ansible_collections.holdfast.ops.tests.support.modules import run_module
from ansible_collections.holdfast.ops.tests.support.pg_report import (
    PROMPT,
    SAFE,
    codes,
    found,
    options,
    over_tcp,
    report,
    rows,
    seed_tables,
    trouble,
)
from ansible_collections.holdfast.ops.tests.support.postgres import EmbeddedPostgres

SENSITIVE = {"bloat_size": "4MiB", "seq_scans": 12, "unused_index_reads": 3, "unused_index_age": "0s"}
HARMLESS = {"statements_missing"}
"""The wheel's servers have no contrib; what pg_stat_statements counts is looked at in tests/slow."""


@pytest.fixture(scope="module", params=[16, 18])
def server(request: pytest.FixtureRequest) -> Iterator[EmbeddedPostgres]:
    """With few connections, settings that endanger nothing, and roles that may look more or less."""
    with EmbeddedPostgres(request.param, {**SAFE, "max_connections": "12"}) as server:
        server.psql("CREATE ROLE monitor LOGIN PASSWORD 'm'; GRANT pg_monitor TO monitor")
        server.psql("CREATE ROLE stranger LOGIN PASSWORD 's'")
        for name in ("troubled", "healthy"):
            server.create_database(name)
        seed_tables(server, "troubled")
        server.psql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1); ANALYZE", db="healthy")
        yield server


@pytest.fixture(scope="module")
def troubled(server: EmbeddedPostgres) -> Section:
    return report(over_tcp(server, database="troubled", **SENSITIVE))


def test_a_healthy_database_has_no_finding(server: EmbeddedPostgres) -> None:
    section = report(over_tcp(server, database="healthy"))
    assert codes(section) == HARMLESS, section.findings
    assert section.summary.endswith("nothing to worry about.")
    assert section.severity == "info"
    assert section.title == "PostgreSQL: database healthy"


def test_bloat_is_found_where_it_is(server: EmbeddedPostgres, troubled: Section) -> None:
    assert "worn" in found(troubled, "bloat", "troubled.public.worn").text
    assert found(troubled, "bloat", "troubled.public.worn").advice.startswith("In troubled: `VACUUM FULL public.worn;`")
    bloat = {row["name"]: row for row in rows(troubled, "bloat")}
    assert 80 < bloat["public.worn"]["wasted_percent"] < 95  # nine of ten rows are gone
    assert bloat["public.worn"]["method"] == "estimate"
    assert bloat.get("public.documents", {"wasted_percent": 0})["wasted_percent"] < 10
    assert bloat.get("public.documents_title", {"wasted_percent": 0})["wasted_percent"] < 10


def test_dead_rows_are_found(troubled: Section) -> None:
    dead = found(troubled, "dead_rows")
    assert dead.subject == "troubled.public.worn"
    assert "54000 rows" in dead.text
    assert "`VACUUM (ANALYZE) public.worn;`" in dead.advice


def test_indexes_are_judged(troubled: Section) -> None:
    unused = found(troubled, "unused_index")
    assert unused.subject == 'troubled.public."Never used"'
    assert '`DROP INDEX CONCURRENTLY public."Never used";`' in unused.advice
    assert "Replicas have statistics of their own" in unused.advice
    duplicate = found(troubled, "duplicate_index")
    assert {"documents_lower", "documents_lower_too"} == {
        name for name in ("documents_lower", "documents_lower_too") if f"public.{name}" in duplicate.text
    }
    assert found(troubled, "invalid_index").subject == "troubled.public.broken"


def test_what_nobody_could_judge_is_not_called_unused(server: EmbeddedPostgres) -> None:
    """Neither while the statistics are young, nor when nobody read the table."""
    server.psql("SELECT pg_stat_reset_single_table_counters('projects'::regclass)", db="troubled")
    assert "unused_index" not in codes(report(over_tcp(server, database="troubled", unused_index_reads=1000)))


def test_sequential_scans_and_keys_without_index_are_found(troubled: Section) -> None:
    scans = found(troubled, "sequential_scans")
    assert scans.subject == "troubled.public.documents"
    assert scans.severity == "warning"
    key = found(troubled, "foreign_key_without_index")
    assert "belongs" in key.text
    assert "`CREATE INDEX CONCURRENTLY ON public.documents (project);`" in key.advice


def test_sizes_are_those_of_the_server(server: EmbeddedPostgres, troubled: Section) -> None:
    sizes = {row["name"]: row for row in rows(troubled, "table_sizes")}["public.documents"]
    asked = "SELECT pg_relation_size('documents'), pg_indexes_size('documents'), 100000"
    assert [(sizes["heap_bytes"], sizes["index_bytes"], sizes["rows"])] == server.query(asked, "troubled")
    (database,) = troubled.data["databases"]
    assert abs(database["bytes"] - server.value("SELECT pg_database_size('troubled')")) < 1 << 20
    assert troubled.data["server"]["version"].startswith(f"{server.version}.")
    json.dumps(troubled.as_dict(), allow_nan=False)


def test_sessions_that_are_stuck_are_found_without_their_literals(server: EmbeddedPostgres) -> None:
    with trouble(server, "troubled") as pids:
        section = report(over_tcp(server, database="troubled", **PROMPT))
    idle, blocked = found(section, "idle_in_transaction"), found(section, "blocked")
    assert idle.subject == blocked.subject == str(pids["idle"])
    assert f"process {pids['waiting']}" in blocked.text
    assert f"`SELECT pg_terminate_backend({pids['idle']});`" in blocked.advice
    (pair,) = rows(section, "blocked")
    assert (pair["pid"], pair["blocker"]) == (pids["waiting"], pids["idle"])
    assert pair["query"] == "UPDATE projects SET name = ? WHERE id = ?"
    assert found(section, "long_query", str(pids["slow"])).text.endswith("SELECT pg_sleep(?), ?")
    assert "Secret" not in json.dumps(section.as_dict())


def test_few_connections_are_told(server: EmbeddedPostgres) -> None:
    with contextlib.ExitStack() as stack:
        for _number in range(7):
            stack.enter_context(server.connect("healthy"))
        section = report(over_tcp(server, database="healthy"))
    finding = found(section, "few_connections")
    assert section.data["connections"]["usable"] == 9  # of 12 three are for superusers
    assert section.data["connections"]["used"] == 8
    assert finding.severity == "warning"
    assert {row["connections"] for row in rows(section, "connections") if row["state"] == "idle"} == {7}


def test_a_missing_extension_is_told_with_what_to_do(troubled: Section) -> None:
    missing = found(troubled, "statements_missing")
    assert "`ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements';`" in missing.advice
    assert "`CREATE EXTENSION pg_stat_statements;`" in missing.advice


def test_a_missing_pgstattuple_is_told(server: EmbeddedPostgres) -> None:
    section = report(over_tcp(server, database="troubled", bloat="pgstattuple", **SENSITIVE))
    assert "`CREATE EXTENSION pgstattuple;`" in found(section, "pgstattuple_missing").advice
    assert "bloat" in codes(section)


def test_dangerous_settings_are_told(server: EmbeddedPostgres) -> None:
    for setting in ("fsync", "autovacuum"):
        server.psql(f"ALTER SYSTEM SET {setting} = off")
    server.psql("ALTER SYSTEM SET max_connections = 13; SELECT pg_reload_conf()")
    try:
        section = report(over_tcp(server, database="healthy"))
    finally:
        server.psql("ALTER SYSTEM RESET ALL")
        server.psql("SELECT pg_reload_conf()")
    told = {each.subject: each.severity for each in section.findings if each.code == "setting"}
    assert told == {"fsync": "critical", "autovacuum": "critical"}
    assert found(section, "pending_restart").subject == "max_connections"


def test_every_database_but_templates_is_looked_at_unless_named(server: EmbeddedPostgres) -> None:
    names = [row["name"] for row in report(over_tcp(server)).data["databases"]]
    assert sorted(names) == ["healthy", "postgres", "troubled"]
    section = report(over_tcp(server, databases=["healthy", "nowhere"]))
    assert [row["name"] for row in section.data["databases"]] == ["healthy"]
    assert found(section, "no_database").severity == "critical"


def test_a_role_that_may_only_monitor_is_enough(server: EmbeddedPostgres) -> None:
    login = {"login_user": "monitor", "login_password": "m"}
    with trouble(server, "troubled"):
        section = report(over_tcp(server, database="troubled", **login, **PROMPT, **SENSITIVE))
    wanted = {"idle_in_transaction", "blocked", "long_query", "dead_rows", "duplicate_index", "sequential_scans"}
    assert wanted <= codes(section)
    assert not codes(section) & {"not_looked_at", "limited_rights"}
    # The widths of columns are the owner's: what cannot be estimated is said.
    assert "large tables and indexes of troubled cannot be estimated" in found(section, "bloat_unknown").text


def test_a_role_without_rights_gets_findings(server: EmbeddedPostgres) -> None:
    login = {"login_user": "stranger", "login_password": "s"}
    with trouble(server, "troubled"):
        section = report(over_tcp(server, database="troubled", **login, **PROMPT))
    assert found(section, "limited_rights").advice == "GRANT pg_monitor TO stranger;"
    assert "dead_rows" in codes(section)
    assert "insufficient" not in json.dumps(section.as_dict())


class TestLocks:
    """Nobody who reads or writes has to wait for a report, and a report waits for nobody."""

    def test_nothing_beyond_access_share_is_taken(
        self, server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Locks are kept until a transaction ends, so each query runs in one that is looked at before its end."""
        modes: set[str] = set()
        asked: list[str] = []
        plain = PsycopgSession.rows
        held = "SELECT mode FROM pg_locks WHERE pid = pg_backend_pid() AND locktype <> 'virtualxid'"

        def watched(self: PsycopgSession, query: str, timeout: float | None = None) -> list[dict[str, Any]]:
            with self.transaction():
                answer = plain(self, query, timeout)
                modes.update(row["mode"] for row in plain(self, held, timeout))
            asked.append(query)
            return answer

        monkeypatch.setattr(PsycopgSession, "rows", watched)
        report(over_tcp(server, **SENSITIVE))
        assert len(asked) > 20
        assert modes == {"AccessShareLock"}

    def test_a_locked_table_is_not_waited_for(self, server: EmbeddedPostgres) -> None:
        with server.connect("troubled", autocommit=False) as connection:
            connection.execute("LOCK TABLE documents, worn IN ACCESS EXCLUSIVE MODE")
            section = report(over_tcp(server, database="troubled", **SENSITIVE))
        assert "not_looked_at" not in codes(section)
        assert {"public.documents", "public.worn"} <= {row["name"] for row in rows(section, "table_sizes")}

    def test_the_session_cannot_write(self, server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
        plain = PsycopgSession.rows
        seen: set[Any] = set()

        def watched(self: PsycopgSession, query: str, timeout: float | None = None) -> list[dict[str, Any]]:
            answer = plain(self, query, timeout)
            seen.update(
                row["v"] for row in plain(self, "SELECT current_setting('transaction_read_only') AS v", timeout)
            )
            return answer

        monkeypatch.setattr(PsycopgSession, "rows", watched)
        report(over_tcp(server))
        assert seen == {"on"}


class TestFailures:
    def test_a_wrong_password_is_one_sentence(self, server: EmbeddedPostgres) -> None:
        with pytest.raises(AuthenticationFailed, match=r"^The PostgreSQL server does not accept the login \(127"):
            report(over_tcp(server, login_password="wrong"))

    def test_a_server_that_is_gone_is_one_sentence(self, server: EmbeddedPostgres) -> None:
        with pytest.raises(Unavailable, match=r"^The PostgreSQL server cannot be reached \(127"):
            report(over_tcp(server, login_port=1))

    def test_a_database_that_does_not_exist_is_one_sentence(self, server: EmbeddedPostgres) -> None:
        with pytest.raises(NotFound, match="The database does not exist"):
            report(over_tcp(server, database="nowhere"))

    def test_a_query_that_fails_or_is_late_takes_only_its_own_part(
        self, server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plain = PsycopgSession.rows

        def failing(self: PsycopgSession, query: str, timeout: float | None = None) -> list[dict[str, Any]]:
            if "pg_replication_slots" in query:
                query = "SELECT 1 / 0 AS x"
            if "pg_prepared_xacts" in query:
                query = "SELECT pg_sleep(60)::text AS x"
            return plain(self, query, timeout)

        monkeypatch.setattr(PsycopgSession, "rows", failing)
        section = report(over_tcp(server, database="troubled", statement_timeout=1))
        texts = sorted(each.text for each in section.findings if each.code == "not_looked_at")
        assert [text.split(":")[0] for text in texts] == ["Prepared transactions", "Replication slots"]
        assert "cancelled the statement" in texts[0]
        assert "division by zero" in texts[1]
        assert "dead_rows" in codes(section)

    def test_without_time_the_rest_is_named(self, server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
        plain = PsycopgSession.rows

        def slow(self: PsycopgSession, query: str, timeout: float | None = None) -> list[dict[str, Any]]:
            return plain(self, "SELECT pg_sleep(60)::text AS x" if "pg_prepared_xacts" in query else query, timeout)

        monkeypatch.setattr(PsycopgSession, "rows", slow)
        with contextlib.suppress(TimedOut):  # on a busy machine already the first queries may take that long
            section = report(over_tcp(server, database="troubled"), seconds=1.5)
            assert "Prepared transactions" in found(section, "out_of_time").text

    def test_a_lost_session_ends_only_its_database(
        self, server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plain = PsycopgSession.rows

        def cut(self: PsycopgSession, query: str, timeout: float | None = None) -> list[dict[str, Any]]:
            if self.database == "troubled" and "pg_stat_get_dead_tuples" in query:
                server.query("SELECT pg_terminate_backend(%s)", parameters=[self._connection.info.backend_pid])
            return plain(self, query, timeout)

        monkeypatch.setattr(PsycopgSession, "rows", cut)
        section = report(over_tcp(server, databases=["troubled", "healthy"]))
        assert found(section, "not_looked_at").subject == "troubled"
        assert {row["database"] for row in rows(section, "table_sizes")} == {"healthy"}


def test_reports_run_side_by_side(server: EmbeddedPostgres) -> None:
    sections: list[Section] = []
    threads = [
        threading.Thread(target=lambda name=name: sections.append(report(over_tcp(server, database=name))))
        for name in ("healthy", "troubled")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {section.title for section in sections} == {
        f"PostgreSQL: database {name}" for name in ("healthy", "troubled")
    }


@pytest.mark.ansible
def test_the_module_returns_the_report_and_changes_nothing(server: EmbeddedPostgres) -> None:
    """Over the socket, as the account that the server runs as."""
    given = {name: value for name, value in options(server, database="troubled").items() if value is not None}
    result = run_module(
        "postgresql_report_info", {**given, "run_as": server.user} if server.user else given, check=True
    )
    assert result.get("failed") is None, result
    assert result["changed"] is False
    assert "dead_rows" in {each["code"] for each in result["findings"]}
    assert result["server"]["version_num"] // 10000 == server.version
    assert result["section"]["tables"]
    wrong = {**given, "active_query_age": "5", "bloat_size": "much", "bloat_percent": 101, "connections_warning": 99}
    refused = run_module("postgresql_report_info", wrong)
    assert refused["error_code"] == "invalid_declaration"
    assert len(refused["problems"]) == 4
