# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian 13's PostgreSQL 17 with pgvector, in a container: there and back, and databases of Debian 12's 15 in it."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._errors import VersionMismatch
from ansible_collections.holdfast.ops.tests.support.component import Component
from ansible_collections.holdfast.ops.tests.support.debian import DEBIAN, DebianPostgres, needs_debian
from ansible_collections.holdfast.ops.tests.support.docker import DockerEngine, PostgresContainer, needs_docker

DEBIAN_13 = Path(__file__).resolve().parents[2] / ".build" / "debian13"
PROGRAMS = "/usr/lib/postgresql/17/bin"
pytestmark = [
    pytest.mark.privileged,
    needs_debian,
    needs_docker,
    pytest.mark.skipif(
        not (DEBIAN_13 / "complete").exists(),
        reason="needs Debian 13's PostgreSQL 17 (tests/slow/prepare unpacks it)",
    ),
]
ROWS = "SELECT count(*), md5(string_agg(w::text, '|' ORDER BY id)) FROM words w"


@pytest.fixture(scope="module")
def engine() -> Iterator[DockerEngine]:
    with DockerEngine() as started:
        yield started


@pytest.fixture(scope="module")
def newer(engine: DockerEngine) -> PostgresContainer:
    return engine.postgresql(PROGRAMS, usr=DEBIAN_13 / "root" / "usr", name="newer")


@pytest.fixture(scope="module")
def older() -> Iterator[DebianPostgres]:
    with DebianPostgres() as server:
        yield server


@pytest.fixture
def component(tmp_path: Path) -> Iterator[Component]:
    with contextlib.closing(Component(tmp_path)) as one:
        yield one


@pytest.fixture
def inside(engine: DockerEngine, newer: PostgresContainer) -> dict[str, Any]:
    """The options that reach the newer server."""
    return {"container": {"name": newer.container.name, "docker_host": engine.url}, "login_unix_socket": "/run"}


@pytest.fixture
def name(newer: PostgresContainer, older: DebianPostgres) -> Iterator[str]:
    """A name for databases; those of that name, what was made beside them, and their roles go afterwards."""
    name = f"t_{secrets.token_hex(6)}"
    yield name
    older.drop_with_offspring(name)
    for left in newer.sql(f"SELECT datname FROM pg_database WHERE starts_with(datname, '{name}')").split():
        newer.sql(f'DROP DATABASE "{left}" WITH (FORCE)')
    for left in newer.sql(f"SELECT rolname FROM pg_roles WHERE starts_with(rolname, '{name}')").split():
        newer.sql(f'DROP ROLE "{left}"')


def test_an_older_server_s_database_comes_back_in_a_newer_one(
    older: DebianPostgres, newer: PostgresContainer, name: str, component: Component, inside: dict[str, Any]
) -> None:
    older.psql(f"CREATE ROLE {name}_owner LOGIN PASSWORD 'its own'; CREATE ROLE {name}_reader")
    older.create_database(
        name, f"OWNER {name}_owner TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de-AT' LOCALE 'C.UTF-8'"
    )
    older.psql(
        f"""
        CREATE EXTENSION citext; CREATE EXTENSION hstore; CREATE EXTENSION pg_trgm;
        CREATE TABLE words (id serial PRIMARY KEY, word text, folded citext, tags hstore) PARTITION BY RANGE (id);
        CREATE TABLE words_low PARTITION OF words FOR VALUES FROM (0) TO (800);
        CREATE TABLE words_high PARTITION OF words FOR VALUES FROM (800) TO (100000);
        INSERT INTO words (word, folded, tags) SELECT w || n, w || n, hstore('n', n::text)
          FROM unnest(ARRAY['Zebra', 'Äpfel', 'apfel', 'Öl']) w, generate_series(1, 500) n;
        CREATE INDEX ON words USING gin (word gin_trgm_ops); CREATE INDEX ON words (word);
        GRANT SELECT ON words TO {name}_reader; ALTER DATABASE {name} SET work_mem = '7MB'
        """,
        db=name,
    )
    before = older.psql(ROWS, db=name).replace("\t", "|")
    component.backup(older, name, fingerprint="digest")
    result = component.restore(None, **inside)
    assert result.proof is not None
    assert result.proof.proved, result.proof
    assert result.proof.details["amcheck"] == "ok"
    assert newer.sql(ROWS, name) == before
    assert newer.sql("SELECT datlocprovider, datlocale FROM pg_database WHERE datname = current_database()", name) == (
        "i|de-AT"
    )
    assert newer.sql("SHOW work_mem", name) == "7MB"
    assert newer.sql(f"SELECT has_table_privilege('{name}_reader', 'words', 'SELECT')", name) == "t"
    newer.sql("INSERT INTO words (word) VALUES ('new')", name)  # the sequence went on


def test_it_comes_back_in_the_newer_server_itself(
    newer: PostgresContainer, name: str, component: Component, inside: dict[str, Any]
) -> None:
    newer.sql(f"CREATE DATABASE {name} LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' TEMPLATE template0")
    newer.sql(
        """
        CREATE EXTENSION vector;
        CREATE TABLE words AS SELECT id, format('[%s,%s,%s]', sin(id), cos(id), id % 7)::vector(3) AS meaning
          FROM generate_series(1, 2000) id;
        ALTER TABLE words ADD PRIMARY KEY (id);
        CREATE INDEX ON words USING hnsw (meaning vector_l2_ops)
        """,
        name,
    )
    before = newer.sql(ROWS, name)
    made = component.backup(None, name, fingerprint="digest", **inside)
    assert made.source["server_version"].startswith("17.")
    assert made.source["pg_dump_major"] == 17
    newer.sql("DELETE FROM words WHERE id % 3 = 0", name)
    result = component.restore(None, confirm=name, keep_previous=False, **inside)
    assert result.proof is not None
    assert result.proof.proved, result.proof
    assert "skipped" not in str(result.proof.details["vectors"])
    assert newer.sql(ROWS, name) == before
    assert newer.sql(f"SELECT count(*) FROM pg_database WHERE starts_with(datname, '{name}')") == "1"


def test_there_is_no_way_back_into_the_older_one(
    older: DebianPostgres, newer: PostgresContainer, name: str, component: Component, inside: dict[str, Any]
) -> None:
    newer.sql(f"CREATE DATABASE {name}")
    component.backup(None, name, **inside)
    with pytest.raises(VersionMismatch, match=f"17.*{older.version}|{older.version}.*17"):
        component.restore(older)
    assert name not in older.databases()


def test_tools_of_the_older_one_are_refused(
    engine: DockerEngine, newer: PostgresContainer, tmp_path: Path, component: Component
) -> None:
    """The newer server's socket, seen from this machine through the container's own root directory."""
    process = newer.container.attrs["State"]["Pid"]
    outside = {"login_unix_socket": f"/proc/{process}/root/run", "bin_dir": str(DEBIAN)}
    with pytest.raises(VersionMismatch, match="older than PostgreSQL 17"):
        component.backup(None, "postgres", **outside)
    assert list(tmp_path.glob("disk/**/manifests/*")) == []
