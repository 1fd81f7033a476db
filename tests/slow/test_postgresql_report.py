# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report on PostgreSQL where there is contrib: Debian's 15, and the oldest versions, 13 and 14."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from ansible_collections.holdfast.ops.tests.support.debian import DEBIAN, DebianPostgres, needs_debian
from ansible_collections.holdfast.ops.tests.support.old_postgres import VERSIONS, OldPostgres, archive
from ansible_collections.holdfast.ops.tests.support.pg_report import (
    PROMPT,
    codes,
    found,
    over_tcp,
    report,
    rows,
    seed_tables,
    trouble,
)
from ansible_collections.holdfast.ops.tests.support.postgres import EmbeddedPostgres

SENSITIVE = {"bloat_size": "4MiB", "seq_scans": 12, "unused_index_reads": 3, "unused_index_age": "0s"}
TROUBLE = {
    "bloat",
    "blocked",
    "dead_rows",
    "duplicate_index",
    "foreign_key_without_index",
    "idle_in_transaction",
    "invalid_index",
    "long_query",
    "sequential_scans",
    "slow_query",
    "unused_index",
}
OLD = [
    pytest.param(
        version,
        marks=pytest.mark.skipif(
            archive(version) is None, reason="needs the archives of PostgreSQL 13 and 14 (tests/slow/prepare)"
        ),
    )
    for version in VERSIONS
]


def started(version: int | None) -> EmbeddedPostgres:
    """A server that counts queries."""
    if version is None:
        return DebianPostgres()
    old = OldPostgres(version)
    old.settings["shared_preload_libraries"] = "pg_stat_statements"
    return old


@pytest.fixture(
    scope="module", params=[pytest.param(None, id=f"debian-{DEBIAN.parent.name}", marks=needs_debian), *OLD]
)
def server(request: pytest.FixtureRequest) -> Iterator[EmbeddedPostgres]:
    with started(request.param) as server:
        server.create_database("troubled")
        seed_tables(server, "troubled")
        yield server


@pytest.mark.parametrize(
    ("version", "columns"), [("1.7", "total_time"), (None, "total_exec_time")], ids=["old names", "new names"]
)
def test_all_the_trouble_is_found(server: EmbeddedPostgres, version: str | None, columns: str) -> None:
    """The extension in a schema of its own, with the names of its columns before and after 1.8."""
    chosen = f"VERSION '{version}'" if version else ""
    server.psql(
        f'DROP EXTENSION IF EXISTS pg_stat_statements; DROP SCHEMA IF EXISTS "Counts";'
        f'CREATE SCHEMA "Counts"; CREATE EXTENSION pg_stat_statements SCHEMA "Counts" {chosen}',
        db="troubled",
    )
    names = (
        "SELECT count(*) FROM pg_attribute WHERE attrelid = '\"Counts\".pg_stat_statements'::regclass AND attname = %s"
    )
    assert server.value(names, "troubled", [columns]) == 1
    server.psql('SELECT "Counts".pg_stat_statements_reset()', db="troubled")
    server.psql("SELECT pg_sleep(0.3), 'Secret of the slow one'", db="troubled")
    server.psql("COPY (SELECT pg_sleep(0.4)) TO STDOUT", db="troubled")
    with trouble(server, "troubled"):
        section = report(over_tcp(server, database="troubled", **{**PROMPT, "slow_query_mean": "0s"}, **SENSITIVE))
    assert codes(section) >= TROUBLE
    assert not codes(section) & {"not_looked_at", "statements_missing", "limited_rights"}
    slow = [each.text for each in section.findings if each.code == "slow_query"]
    assert any("takes 0.3 s on average" in text and "pg_sleep($1)" in text for text in slow), slow
    assert not any("COPY" in text for text in slow)
    assert "Secret" not in json.dumps(section.as_dict())
    by_mean = [row for row in rows(section, "queries_by_mean_time") if "pg_sleep" in row["query"]]
    assert [row["query"].split()[0] for row in by_mean] == ["COPY", "SELECT"]
    assert 0.3 <= by_mean[1]["mean_seconds"] < 5
    assert by_mean[1]["calls"] == 1


def test_what_is_missing_is_told_with_what_to_do(server: EmbeddedPostgres) -> None:
    server.psql("DROP EXTENSION IF EXISTS pg_stat_statements", db="troubled")
    missing = found(report(over_tcp(server, database="troubled")), "statements_missing")
    assert missing.advice == "`CREATE EXTENSION pg_stat_statements;` in troubled."
    server.psql(missing.advice.split("`")[1], db="troubled")
    assert "statements_missing" not in codes(report(over_tcp(server, database="troubled")))


def test_pgstattuple_is_asked_where_it_is(server: EmbeddedPostgres) -> None:
    server.psql("CREATE SCHEMA exact; CREATE EXTENSION pgstattuple SCHEMA exact", db="troubled")
    try:
        section = report(over_tcp(server, database="troubled", bloat="pgstattuple", **SENSITIVE))
        asked = "SELECT 100 * (free_space + dead_tuple_len)::float / table_len FROM exact.pgstattuple('worn')"
        exact = server.value(asked, "troubled")
        bloat = {row["name"]: row for row in rows(section, "bloat")}["public.worn"]
        assert bloat["method"] == "pgstattuple_approx"
        assert abs(bloat["wasted_percent"] - exact) < 3
        estimated = report(over_tcp(server, database="troubled", **SENSITIVE))
        estimate = {row["name"]: row for row in rows(estimated, "bloat")}["public.worn"]
        assert abs(estimate["wasted_percent"] - exact) < 5
    finally:
        server.psql("DROP SCHEMA exact CASCADE", db="troubled")


@pytest.mark.parametrize("libraries", ["", "pgstattuple", "pgstattuple, auto_explain"])
@needs_debian
def test_the_advised_commands_load_what_is_missing(libraries: str) -> None:
    """They are run as they stand, and the server starts again with all that it had."""
    server = DebianPostgres()
    server.settings["shared_preload_libraries"] = libraries
    with server:
        advice = found(report(over_tcp(server)), "statements_missing").advice
        _before, alter, _between, create, database = advice.split("`")
        server.psql(alter)
        server.stop()
        server.start()
        server.psql(create, db=database.removeprefix(" in ").rstrip("."))
        assert "statements_missing" not in codes(report(over_tcp(server)))
        loaded = server.value("SHOW shared_preload_libraries").replace(" ", "").split(",")
        assert loaded == [*filter(None, libraries.replace(" ", "").split(",")), "pg_stat_statements"]
