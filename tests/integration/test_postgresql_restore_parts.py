# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Selected tables and schemas, the proof beyond the fingerprint, and verification in scratch places."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._engines._pg import _scratch
from ansible_collections.holdfast.ops.plugins.module_utils._engines._pg._prove import Findings, soundness
from ansible_collections.holdfast.ops.plugins.module_utils._engines._pg._server import Server
from ansible_collections.holdfast.ops.plugins.module_utils._errors import (
    HoldfastError,
    InvalidOption,
    MissingDependency,
    NotFound,
    Refused,
)
from ansible_collections.holdfast.ops.plugins.module_utils._progress import Progress
from ansible_collections.holdfast.ops.tests.support.component import NAME, Component, login
from ansible_collections.holdfast.ops.tests.support.dataset import ARCHIVE, ODD_TABLE, Dataset, describe, load_realistic
from ansible_collections.holdfast.ops.tests.support.postgres import EmbeddedPostgres

SQL_ODD = '"' + ODD_TABLE.replace('"', '""') + '"'


@pytest.fixture
def component(tmp_path: Path) -> Iterator[Component]:
    with contextlib.closing(Component(tmp_path)) as one:
        yield one


@pytest.fixture
def shop(pg16: EmbeddedPostgres, database: Any) -> Dataset:
    return load_realistic(pg16, database(pg16), rows=200)


class TestSelected:
    @pytest.fixture
    def before(self, pg16: EmbeddedPostgres, shop: Dataset, component: Component) -> dict[str, Any]:
        """What the database was when it was backed up."""
        component.backup(pg16, shop.database, fingerprint="digest")
        return describe(pg16, shop.database)

    @pytest.mark.parametrize(
        ("tables", "harm"),
        [
            (["app.events"], "DELETE FROM app.events; DROP TRIGGER IF EXISTS x ON app.documents"),
            ([f'"{ARCHIVE}".{SQL_ODD}', f"{ARCHIVE}.empty"], f'DROP TABLE "{ARCHIVE}".{SQL_ODD}, "{ARCHIVE}".empty'),
            (
                ["app.documents", "app.open_documents", "app.documents_per_state"],
                """DROP INDEX app.documents_failed; UPDATE app.documents SET title = 'lost' WHERE id % 2 = 0;
                DROP TRIGGER documents_touch ON app.documents; REVOKE ALL ON app.documents FROM PUBLIC;
                DROP VIEW app.open_documents; DROP MATERIALIZED VIEW app.documents_per_state""",
            ),
        ],
    )
    def test_tables_come_back_with_all_that_belongs_to_them(
        self,
        pg16: EmbeddedPostgres,
        shop: Dataset,
        component: Component,
        before: dict[str, Any],
        tables: list[str],
        harm: str,
    ) -> None:
        pg16.psql(harm, db=shop.database)
        assert describe(pg16, shop.database) != before
        result = component.restore(pg16, tables=tables, confirm=shop.database)
        assert describe(pg16, shop.database) == before
        assert result.proof is not None
        assert result.proof.proved

    def test_what_was_not_named_stays(
        self, pg16: EmbeddedPostgres, shop: Dataset, component: Component, before: dict[str, Any]
    ) -> None:
        pg16.psql("UPDATE app.customers SET name = 'since then'; DELETE FROM app.events", db=shop.database)
        component.restore(pg16, tables=["app.events"], confirm=shop.database)
        assert pg16.value("SELECT count(*) FROM app.customers WHERE name = 'since then'", db=shop.database) > 0

    def test_schemas(self, pg16: EmbeddedPostgres, shop: Dataset, component: Component, before: dict[str, Any]) -> None:
        pg16.psql(
            f'DROP TABLE "{ARCHIVE}".empty; DELETE FROM app.events; CREATE FUNCTION app.late() RETURNS int RETURN 1',
            db=shop.database,
        )
        component.restore(pg16, schemas=["app", ARCHIVE], confirm=shop.database)
        assert describe(pg16, shop.database) == before

    @pytest.mark.parametrize(
        ("options", "harm"),
        [
            ({"schemas": ["app"]}, "CREATE VIEW public.mine AS SELECT * FROM app.customers"),
            ({"tables": ["app.customers"]}, "CREATE VIEW public.mine AS SELECT * FROM app.customers"),
            ({"schemas": ["app"]}, "CREATE TABLE public.mine (state app.state)"),
            ({"schemas": ["app"]}, "CREATE TABLE public.mine (n int DEFAULT nextval('app.invoice_numbers'))"),
        ],
    )
    def test_nothing_that_depends_on_them_disappears(
        self,
        pg16: EmbeddedPostgres,
        shop: Dataset,
        component: Component,
        before: dict[str, Any],
        options: dict[str, Any],
        harm: str,
    ) -> None:
        pg16.psql(harm, db=shop.database)
        changed = describe(pg16, shop.database)
        with pytest.raises(HoldfastError, match="depend"):
            component.restore(pg16, confirm=shop.database, **options)
        assert describe(pg16, shop.database) == changed

    def test_foreign_keys_of_others_are_checked_again(
        self, pg16: EmbeddedPostgres, shop: Dataset, component: Component, before: dict[str, Any]
    ) -> None:
        pg16.psql(
            "INSERT INTO app.customers (email, name, created_at) VALUES ('new', 'new', now());"
            "UPDATE app.documents SET customer_id = (SELECT max(id) FROM app.customers) WHERE id = 2;"
            "DROP VIEW app.open_documents",
            db=shop.database,
        )
        changed = describe(pg16, shop.database)
        with pytest.raises(HoldfastError, match="violates foreign key"):
            component.restore(pg16, tables=["app.customers"], confirm=shop.database)
        assert describe(pg16, shop.database) == changed

    def test_guards(self, pg16: EmbeddedPostgres, shop: Dataset, component: Component, before: dict[str, Any]) -> None:
        with pytest.raises(Refused, match=shop.database):
            component.restore(pg16, tables=["app.events"])
        with pytest.raises(NotFound, match="does not exist"):
            component.restore(pg16, tables=["app.events"], target_database="nowhere")
        with pytest.raises(NotFound, match=r"no table app\.nothing"):
            component.restore(pg16, tables=["app.nothing"], confirm=shop.database)
        with pytest.raises(NotFound, match="no schema"):
            component.restore(pg16, schemas=["nothing"], confirm=shop.database)
        for text in ("events", "app.e*", '"app'):
            with pytest.raises(InvalidOption, match="tables"):
                component.restore(pg16, tables=[text], confirm=shop.database)
        assert describe(pg16, shop.database) == before


class TestSoundness:
    def look(self, server: EmbeddedPostgres, name: str, recorded: dict[str, int] | None = None) -> Findings:
        return soundness(Server(login(server), NAME), name, recorded or {}, Progress())

    def test_a_good_database(self, pg16: EmbeddedPostgres, shop: Dataset) -> None:
        found = self.look(pg16, shop.database)
        assert found.differences == []
        assert found.details["vectors"] == {"documents_embedding": "found"}
        assert found.details["invalid_indexes"] == 0
        assert found.details["amcheck"].startswith("skipped: ")

    def test_a_sequence_that_lags_behind(self, pg16: EmbeddedPostgres, shop: Dataset) -> None:
        pg16.psql("SELECT setval('app.documents_id_seq', 3)", db=shop.database)
        (difference,) = self.look(pg16, shop.database).differences
        assert "documents_id_seq" in difference
        found = self.look(pg16, shop.database, {'"app"."documents_id_seq"': 3})
        assert found.differences == []
        assert len(found.details["sequences_behind"]) == 1

    def test_an_invalid_index(self, pg16: EmbeddedPostgres, shop: Dataset) -> None:
        update = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'app.documents_failed'::regclass"
        pg16.psql(update, db=shop.database)
        assert "documents_failed" in "".join(self.look(pg16, shop.database).differences)

    def test_constraints_that_were_never_checked_are_told(self, pg16: EmbeddedPostgres, shop: Dataset) -> None:
        pg16.psql("ALTER TABLE app.events ADD CONSTRAINT later CHECK (kind <> 'x') NOT VALID", db=shop.database)
        assert "later of app.events" in self.look(pg16, shop.database).details["unvalidated_constraints"]

    @pytest.mark.parametrize(
        "index",
        [
            "USING hnsw (v vector_cosine_ops)",
            "USING hnsw (v vector_ip_ops)",
            "USING ivfflat (v vector_l2_ops) WITH (lists = 10)",
            "USING hnsw ((v::halfvec(4)) halfvec_l2_ops)",
            "USING hnsw (v vector_l1_ops) WHERE id % 3 = 0",
            "USING hnsw (b bit_hamming_ops)",
        ],
    )
    def test_vector_indexes_of_every_kind(self, pg16: EmbeddedPostgres, database: Any, index: str) -> None:
        name = database(pg16)
        pg16.psql(
            "CREATE SCHEMA ext; CREATE EXTENSION vector SCHEMA ext; SET search_path = public, ext;"
            'CREATE TABLE "the vectors" (id int, v vector(4), b bit(8));'
            'INSERT INTO "the vectors" SELECT n, ARRAY[n, n % 7, -n, 1]::vector, (n % 256)::bit(8)'
            f' FROM generate_series(1, 500) n; CREATE INDEX probed ON "the vectors" {index}',
            db=name,
        )
        assert self.look(pg16, name).details["vectors"] == {"probed": "found"}

    @pytest.mark.parametrize(
        "index",
        ["((twice(v)::vector(4)) vector_l2_ops)", "(v vector_l2_ops) WHERE length(twice(v)::text) > 0"],
        ids=["expression", "condition"],
    )
    def test_no_function_of_a_user_is_called(self, pg16: EmbeddedPostgres, database: Any, index: str) -> None:
        """It would have the rights of who restores: those of a superuser, mostly."""
        name = database(pg16)
        pg16.psql(
            "CREATE EXTENSION vector; CREATE TABLE t (id int, v vector(4)); CREATE TABLE called (who text);"
            "CREATE FUNCTION twice(vector) RETURNS vector IMMUTABLE LANGUAGE sql AS $$ SELECT $1 + $1 $$;"
            "INSERT INTO t SELECT n, ARRAY[n, n % 7, -n, 1]::vector FROM generate_series(1, 50) n;"
            f"CREATE INDEX probed ON t USING hnsw {index};"
            "CREATE OR REPLACE FUNCTION twice(vector) RETURNS vector VOLATILE LANGUAGE plpgsql AS"
            " $$ BEGIN INSERT INTO public.called VALUES (current_user); RETURN $1 + $1; END $$",
            db=name,
        )
        found = self.look(pg16, name)
        assert found.differences == []
        assert found.details["vectors"]["probed"].startswith("skipped: its expression calls a function")
        assert pg16.query("SELECT who FROM called", db=name) == []


class Looking(Progress):
    """Looks at the scratch cluster while something is restored into it."""

    def __init__(self, look: Any) -> None:
        super().__init__()
        self._look = look

    def stage(self, name: str, total: int | None = None) -> None:
        super().stage(name, total)
        if name == "analyze":
            self._look()


class TestScratch:
    def test_a_private_cluster(
        self, pg16: EmbeddedPostgres, shop: Dataset, component: Component, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        component.backup(pg16, shop.database, fingerprint="digest")
        seen: dict[str, Any] = {}

        def look() -> None:
            import psycopg

            (directory,) = component.scratch.iterdir()
            status = directory.stat()
            seen["mode"] = stat.S_IMODE(status.st_mode)
            seen["owner"] = status.st_uid
            sockets = directory / "s"
            seen["sockets"] = stat.S_IMODE(sockets.stat().st_mode)
            with psycopg.connect(host=str(sockets), user="postgres", dbname="postgres", autocommit=True) as session:
                for name in ("listen_addresses", "fsync", "archive_mode", "wal_level"):
                    seen[name] = session.execute(f"SHOW {name}").fetchone()[0]  # type: ignore[index]
                query = "SELECT count(*) FROM pg_authid WHERE rolpassword IS NOT NULL"
                seen["passwords"] = session.execute(query).fetchone()[0]  # type: ignore[index]

        pg16.psql(f"""ALTER ROLE "{shop.owner}" PASSWORD 'x'""")
        component.backup(pg16, shop.database, fingerprint="digest")
        reading = component.reading()
        reading.progress = Looking(look)
        with component.engine(None, bin_dir=str(pg16.bin_dir), run_as=pg16.user) as engine:
            proof = engine.verify_restore(reading)
        assert proof.proved
        assert proof.level == "digest"
        assert proof.details["rto_seconds"] > 0
        assert proof.details["rpo_seconds"] >= 0
        uid = os.geteuid() if pg16.user is None else __import__("pwd").getpwnam(pg16.user).pw_uid
        assert seen == {
            "mode": 0o700,
            "owner": uid,
            "sockets": 0o700,
            "listen_addresses": "",
            "fsync": "off",
            "archive_mode": "off",
            "wal_level": "minimal",
            "passwords": 0,
        }
        assert list(component.scratch.iterdir()) == []

    def test_a_newer_server_will_do(
        self, pg16: EmbeddedPostgres, pg18: EmbeddedPostgres, shop: Dataset, component: Component
    ) -> None:
        component.backup(pg16, shop.database)
        proof = component.verify_restore(None, bin_dir=str(pg18.bin_dir), run_as=pg18.user)
        assert proof.proved
        assert "PostgreSQL 18" in proof.details["where"]

    def test_a_scratch_database_where_no_server_is_installed(
        self,
        pg16: EmbeddedPostgres,
        pg18: EmbeddedPostgres,
        shop: Dataset,
        component: Component,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        component.backup(pg16, shop.database)
        monkeypatch.setattr(_scratch, "INSTALLATIONS", ())
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(MissingDependency, match="No PostgreSQL server of version 16"):
            component.verify_restore(None, run_as=pg16.user)
        before = pg18.query("SELECT oid FROM pg_database UNION ALL SELECT oid FROM pg_roles ORDER BY 1")
        proof = component.verify_restore(pg18, scratch_database=True)
        assert proof.proved
        assert pg18.query("SELECT oid FROM pg_database UNION ALL SELECT oid FROM pg_roles ORDER BY 1") == before

    def test_an_estimate_never_proves(self, pg16: EmbeddedPostgres, shop: Dataset, component: Component) -> None:
        for level in ("estimate", "none"):
            component.backup(pg16, shop.database, fingerprint=level)
            proof = component.verify_restore(pg16, scratch_database=True)
            assert proof.differences == ()
            assert not proof.proved
