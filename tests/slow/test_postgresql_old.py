# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The oldest servers that are supported, 13 and 14: there and back with newer tools, and into a newer server."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._errors import NotProved, VersionMismatch
from ansible_collections.holdfast.ops.tests.support.component import Component
from ansible_collections.holdfast.ops.tests.support.dataset import Dataset, describe, load_realistic
from ansible_collections.holdfast.ops.tests.support.old_postgres import VERSIONS, OldPostgres, archive
from ansible_collections.holdfast.ops.tests.support.postgres import EmbeddedPostgres

pytestmark = pytest.mark.skipif(
    any(archive(version) is None for version in VERSIONS),
    reason="needs the archives of PostgreSQL 13 and 14 (tests/slow/prepare downloads them)",
)


@pytest.fixture(scope="module", params=VERSIONS)
def old(request: pytest.FixtureRequest) -> Iterator[OldPostgres]:
    with OldPostgres(request.param) as server:
        yield server


@pytest.fixture
def component(tmp_path: Path) -> Iterator[Component]:
    with contextlib.closing(Component(tmp_path)) as one:
        yield one


@pytest.fixture
def name(old: OldPostgres, pg18: EmbeddedPostgres) -> Iterator[str]:
    """For databases and roles of both servers; what is called so goes afterwards."""
    name = f"t_{secrets.token_hex(6)}"
    yield name
    for server in (old, pg18):
        server.drop_with_offspring(name)


@pytest.fixture
def shop(old: OldPostgres, name: str) -> Dataset:
    old.create_database(name)
    return load_realistic(old, name, rows=200, vectors=False)


@pytest.mark.parametrize(
    ("form", "level", "jobs"), [("custom", "digest", 1), ("directory", "counts", 2), ("directory", "digest", 1)]
)
def test_there_and_back(
    old: OldPostgres, shop: Dataset, component: Component, form: str, level: str, jobs: int
) -> None:
    before = describe(old, shop.database)
    made = component.backup(old, shop.database, format=form, fingerprint=level)
    assert made.source["server_version"].startswith(f"{old.version}.")
    assert made.source["pg_dump_major"] == 16
    old.psql("DELETE FROM app.events; DROP TABLE app.documents CASCADE", db=shop.database)
    result = component.restore(old, confirm=shop.database, keep_previous=False, jobs=jobs)
    assert result.proof is not None
    assert result.proof.proved, result.proof
    assert result.proof.level == level
    # 13 came before pg_amcheck.
    assert result.proof.details["amcheck"] == ("skipped: PostgreSQL 13 has no pg_amcheck" if old.version < 14 else "ok")
    assert describe(old, shop.database) == before


def test_the_roles_come_back_with_it(old: OldPostgres, shop: Dataset, component: Component) -> None:
    old.psql(f"ALTER ROLE \"{shop.owner}\" PASSWORD 'its own' VALID UNTIL '2099-01-01'; ALTER ROLE \"{shop.writer}\" "
             "SET work_mem = '9MB'")  # fmt: skip
    roles = f"""SELECT rolname, rolcanlogin, rolvaliduntil::text, rolpassword, (SELECT setconfig::text FROM
        pg_db_role_setting WHERE setdatabase = 0 AND setrole = a.oid), (SELECT string_agg(m.roleid::regrole::text, ',')
        FROM pg_auth_members m WHERE m.member = a.oid) FROM pg_authid a WHERE starts_with(rolname, '{shop.database}')
        ORDER BY 1"""
    before, data = old.query(roles), describe(old, shop.database)
    assert len(before) == 3
    component.backup(old, shop.database)
    old.drop_with_offspring(shop.database)
    assert old.query(roles) == []
    result = component.restore(old)
    assert result.proof is not None
    assert result.proof.proved
    assert old.query(roles) == before
    assert describe(old, shop.database) == data


@pytest.mark.parametrize("tools", [16, 18])
@pytest.mark.parametrize("form", ["custom", "directory"])
def test_into_a_newer_server(
    old: OldPostgres, pg16: EmbeddedPostgres, pg18: EmbeddedPostgres, shop: Dataset, component: Component, tools: int,
    form: str,
) -> None:  # fmt: skip
    before = describe(old, shop.database)
    bin_dir = {16: pg16, 18: pg18}[tools].bin_dir
    component.backup(old, shop.database, fingerprint="digest", format=form, bin_dir=str(bin_dir))
    result = component.restore(pg18)
    assert result.proof is not None
    assert result.proof.proved, result.proof
    after = describe(pg18, shop.database)
    for kind in ("rows", "indexes", "functions", "policies", "sequences", "large objects", "types", "settings"):
        assert after[kind] == before[kind]
    # What changed with 15 is said: whoever made tables in public by the old default may not any more.
    assert any("schema public" in warning for warning in result.warnings)


def test_tools_of_18_make_no_backup_that_could_not_come_back(
    old: OldPostgres, pg18: EmbeddedPostgres, shop: Dataset, component: Component
) -> None:
    component.backup(old, shop.database, bin_dir=str(pg18.bin_dir))
    with pytest.raises(VersionMismatch, match=f"cannot restore into PostgreSQL {old.version}") as refused:
        component.restore(old, confirm=shop.database, bin_dir=str(pg18.bin_dir))
    assert f"postgresql-client-{old.version}" in str(refused.value.hint)


def test_a_restore_proves_it_in_a_scratch_cluster_of_its_version_and_of_a_newer_one(
    old: OldPostgres, pg18: EmbeddedPostgres, shop: Dataset, component: Component
) -> None:
    component.backup(old, shop.database, fingerprint="digest")
    for server in (old, pg18):
        proof = component.verify_restore(None, bin_dir=str(server.bin_dir), run_as=server.user)
        assert proof.proved, proof
        assert proof.details["where"] == f"a scratch cluster of PostgreSQL {server.version}"
        assert list(component.scratch.iterdir()) == []


def test_chosen_tables_come_back(old: OldPostgres, shop: Dataset, component: Component) -> None:
    before = describe(old, shop.database)
    component.backup(old, shop.database, fingerprint="digest")
    old.psql("DELETE FROM app.events", db=shop.database)
    result = component.restore(old, confirm=shop.database, tables=["app.events"])
    assert result.proof is not None
    assert result.proof.proved
    assert describe(old, shop.database) == before


def test_a_whole_cluster_into_a_newer_one(old: OldPostgres, shop: Dataset, component: Component, name: str) -> None:
    old.create_database(f"{name} second", f'OWNER "{shop.owner}"')
    old.psql("CREATE TABLE t AS SELECT generate_series(1, 500) AS id", db=f"{name} second")
    rows = describe(old, shop.database)["rows"]
    component.backup(old, "all", fingerprint="digest")
    with EmbeddedPostgres(18) as fresh:
        result = component.restore(fresh, globals="all")
        assert result.proof is not None
        assert result.proof.proved, result.proof
        assert {shop.database, f"{name} second"} <= set(fresh.databases())
        assert describe(fresh, shop.database)["rows"] == rows
        assert fresh.value("SELECT count(*) FROM t", db=f"{name} second") == 500


def test_extensions_of_contrib_come_back(old: OldPostgres, name: str, component: Component) -> None:
    old.create_database(name)
    old.psql(
        """
        CREATE EXTENSION citext; CREATE EXTENSION hstore; CREATE EXTENSION pg_trgm; CREATE EXTENSION "uuid-ossp";
        CREATE TABLE words (id serial PRIMARY KEY, word text, folded citext UNIQUE, tags hstore);
        INSERT INTO words (word, folded, tags) SELECT w || n, w || n, hstore('n', n::text)
          FROM unnest(ARRAY['Zebra', 'Äpfel', 'Öl']) w, generate_series(1, 300) n;
        CREATE INDEX ON words USING gin (word gin_trgm_ops);
        CREATE INDEX ON words USING gin (tags)
        """,
        db=name,
    )
    before = describe(old, name)
    component.backup(old, name, fingerprint="digest")
    old.psql("TRUNCATE words", db=name)
    result = component.restore(old, confirm=name, keep_previous=False)
    assert result.proof is not None
    assert result.proof.proved
    assert describe(old, name) == before


def test_other_rows_are_no_proof(
    old: OldPostgres, name: str, component: Component, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The digest of an old server is compared with that of the restored database, and a difference is found."""
    from ansible_collections.holdfast.ops.plugins.module_utils._engines._pg import _restore

    old.create_database(name)
    old.psql("CREATE TABLE t AS SELECT id, 'row ' || id AS text FROM generate_series(1, 100) id", db=name)
    component.backup(old, name, fingerprint="digest")
    real = _restore.analyze

    def tampered(server: object, database: str) -> None:
        old.psql("UPDATE t SET text = 'another' WHERE id = 7", db=database)
        real(server, database)  # type: ignore[arg-type]

    monkeypatch.setattr(_restore, "analyze", tampered)
    with pytest.raises(NotProved, match="differs"):
        component.restore(old, confirm=name)
    assert old.value("SELECT text FROM t WHERE id = 7", db=name) == "row 7"
