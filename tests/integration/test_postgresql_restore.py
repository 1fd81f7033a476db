# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases come back as they were, under any name, and only where somebody agreed. The servers are asked."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._errors import (
    InvalidOption,
    NotFound,
    Refused,
    Unsupported,
    VersionMismatch,
)
from ansible_collections.holdfast.ops.tests.support.component import NAME, Component, login
from ansible_collections.holdfast.ops.tests.support.dataset import Dataset, describe, load_realistic
from ansible_collections.holdfast.ops.tests.support.modules import run_module
from ansible_collections.holdfast.ops.tests.support.postgres import EmbeddedPostgres

OTHERWISE_IN_18 = {"relations", "columns", "constraints"}
"""What a newer server shows otherwise by itself: the privilege MAINTAIN, NOT NULL as a constraint."""


@pytest.fixture
def component(tmp_path: Path) -> Iterator[Component]:
    with contextlib.closing(Component(tmp_path)) as one:
        yield one


@pytest.fixture
def shop(pg16: EmbeddedPostgres, database: Any) -> Dataset:
    """A realistic database in the server of version 16."""
    return load_realistic(pg16, database(pg16), rows=200)


@pytest.fixture
def clean18(pg18: EmbeddedPostgres) -> Iterator[EmbeddedPostgres]:
    """The newer server, rid afterwards of what a test's restores brought."""
    before = set(pg18.databases())
    roles = {name for (name,) in pg18.query("SELECT rolname FROM pg_roles")}
    yield pg18
    for name in set(pg18.databases()) - before:
        pg18.drop_database(name)
    for (name,) in pg18.query("SELECT rolname FROM pg_roles"):
        if name not in roles:
            pg18.psql(f'DROP ROLE "{name}"')


def own(server: EmbeddedPostgres, name: str) -> list[str]:
    """Databases that have to do with one of this name, and temporary ones."""
    return [other for other in server.databases() if other.startswith((name, "holdfast_"))]


class TestWhatComesBack:
    def test_everything_in_the_same_version(self, pg16: EmbeddedPostgres, shop: Dataset, component: Component) -> None:
        before = describe(pg16, shop.database)
        component.backup(pg16, shop.database, fingerprint="digest")
        pg16.psql("DROP SCHEMA app CASCADE; CREATE TABLE rubbish (x int)", db=shop.database)
        pg16.psql(f'ALTER DATABASE "{shop.database}" RESET ALL; COMMENT ON DATABASE "{shop.database}" IS NULL')
        result = component.restore(pg16, confirm=shop.database)
        assert describe(pg16, shop.database) == before
        assert result.proof is not None
        assert result.proof.proved
        (kept,) = set(own(pg16, shop.database)) - {shop.database}
        assert result.proof.details["previous"] == {shop.database: kept}
        assert pg16.query("SELECT * FROM rubbish", db=kept) == []

    def test_into_a_newer_version_with_its_roles(
        self, pg16: EmbeddedPostgres, clean18: EmbeddedPostgres, shop: Dataset, component: Component
    ) -> None:
        pg16.psql(
            f"""ALTER ROLE "{shop.owner}" PASSWORD 'never told'; ALTER ROLE "{shop.owner}" SET work_mem = '7MB'"""
        )
        before = describe(pg16, shop.database)
        component.backup(pg16, shop.database)
        assert component.restore(clean18).proof.proved  # type: ignore[union-attr]
        after = describe(clean18, shop.database)
        assert {k: v for k, v in after.items() if k not in OTHERWISE_IN_18} == {
            k: v for k, v in before.items() if k not in OTHERWISE_IN_18
        }
        role = (
            "SELECT rolpassword, rolcanlogin, rolsuper, rolconfig FROM pg_authid LEFT JOIN (SELECT setrole, setconfig"
        )
        role += " AS rolconfig FROM pg_db_role_setting WHERE setdatabase = 0) s ON setrole = oid WHERE rolname = %s"
        for name in shop.roles:
            assert clean18.query(role, parameters=[name]) == pg16.query(role, parameters=[name])
        members = (
            "SELECT roleid::regrole::text, member::regrole::text FROM pg_auth_members WHERE member::regrole::text = %s"
        )
        quoted = f'"{shop.writer}"'
        assert clean18.query(members, parameters=[quoted]) == [(f'"{shop.reader}"', quoted)]

    @pytest.mark.parametrize("options", [{"jobs": 2}, {"keep_previous": False}], ids=["jobs", "drop previous"])
    def test_other_ways(
        self, pg16: EmbeddedPostgres, shop: Dataset, component: Component, options: dict[str, Any]
    ) -> None:
        before = describe(pg16, shop.database)
        component.backup(pg16, shop.database)
        component.restore(pg16, confirm=shop.database, **options)
        assert describe(pg16, shop.database) == before
        assert len(own(pg16, shop.database)) == (2 if "jobs" in options else 1)
        assert not any(component.scratch.iterdir()) if component.scratch.exists() else True

    def test_from_a_directory(self, pg16: EmbeddedPostgres, shop: Dataset, component: Component) -> None:
        before = describe(pg16, shop.database)
        component.backup(pg16, shop.database, format="directory", jobs=2)
        component.restore(pg16, confirm=shop.database, jobs=2)
        assert describe(pg16, shop.database) == before
        assert list(component.scratch.iterdir()) == []

    @pytest.mark.parametrize(
        "name", ["-c", "a b", "dbname=x user=y", "Ö\"'ü;--", "postgresql://h/x", "x" * 63, "\\", "$(id)", "%s{}"]
    )
    def test_any_name(self, pg16: EmbeddedPostgres, database: Any, component: Component, name: str) -> None:
        name = database(pg16, name)
        pg16.psql("CREATE TABLE t AS SELECT generate_series(1, 7) AS id", db=name)
        component.backup(pg16, name)
        pg16.psql("TRUNCATE t", db=name)
        component.restore(pg16, confirm=name)
        assert pg16.value("SELECT count(*) FROM t", db=name) == 7
        (kept,) = set(pg16.databases()) - {"postgres", "template0", "template1", name}
        assert pg16.value("SELECT count(*) FROM t", db=kept) == 0
        assert len(kept.encode()) <= 63
        pg16.drop_database(kept)

    def test_under_another_name(self, pg16: EmbeddedPostgres, shop: Dataset, component: Component) -> None:
        before = describe(pg16, shop.database)
        component.backup(pg16, shop.database)
        other = f"{shop.database} -- zwei"
        component.restore(pg16, target_database=other)
        assert describe(pg16, other) == before
        assert own(pg16, shop.database) == [shop.database, other]

    def test_properties_that_no_dump_has(self, pg16: EmbeddedPostgres, shop: Dataset, component: Component) -> None:
        name = shop.database
        pg16.psql(f"""
            ALTER DATABASE "{name}" CONNECTION LIMIT 17;
            ALTER DATABASE "{name}" SET search_path = app, "odd, one", "$user";
            ALTER DATABASE "{name}" SET app.tenant = 'it''s \\ "x"';
            ALTER DATABASE "{name}" SET default_transaction_read_only = on;
            ALTER DATABASE "{name}" SET synchronous_commit = off;
            GRANT CREATE ON DATABASE "{name}" TO "{shop.reader}" WITH GRANT OPTION;
            SET ROLE "{shop.reader}"; GRANT CREATE ON DATABASE "{name}" TO "{shop.writer}"
        """)
        before = describe(pg16, name, data=False)
        component.backup(pg16, name)
        other = name + "_2"
        component.restore(pg16, target_database=other)
        after = describe(pg16, other, data=False)
        assert (after["database"], after["settings"]) == (before["database"], before["settings"])


class TestRoles:
    def test_existing_ones_stay_as_they_are(self, pg16: EmbeddedPostgres, shop: Dataset, component: Component) -> None:
        pg16.psql(f"""ALTER ROLE "{shop.owner}" PASSWORD 'old'""")
        component.backup(pg16, shop.database)
        pg16.psql(f"""ALTER ROLE "{shop.owner}" PASSWORD 'new' CREATEDB VALID UNTIL 'infinity';
                      ALTER ROLE "{shop.owner}" SET work_mem = '9MB';
                      REVOKE "{shop.reader}" FROM "{shop.writer}" """)
        roles = "SELECT to_jsonb(r)::text FROM pg_authid r WHERE rolname = ANY (%s) ORDER BY rolname"
        more = "SELECT (SELECT count(*) FROM pg_auth_members), setconfig FROM pg_db_role_setting WHERE setdatabase = 0"
        before = [pg16.query(roles, parameters=[list(shop.roles)]), pg16.query(more)]
        component.restore(pg16, confirm=shop.database)
        assert [pg16.query(roles, parameters=[list(shop.roles)]), pg16.query(more)] == before
        pg16.psql(f"""ALTER ROLE "{shop.owner}" RESET ALL""")

    def test_only_those_that_the_database_refers_to(
        self, pg16: EmbeddedPostgres, clean18: EmbeddedPostgres, shop: Dataset, component: Component
    ) -> None:
        pg16.psql(f'CREATE ROLE "{shop.database} stranger" SUPERUSER')
        component.backup(pg16, shop.database)
        component.restore(clean18)
        made = {name for (name,) in clean18.query("SELECT rolname FROM pg_roles") if name.startswith(shop.database)}
        assert made == set(shop.roles)

    def test_the_statements_that_make_mere_members_are_told(
        self, pg16: EmbeddedPostgres, clean18: EmbeddedPostgres, shop: Dataset, component: Component
    ) -> None:
        """The application's own login, say, that nothing in the database names."""
        member = f"{shop.database} app"
        pg16.psql(f"""CREATE ROLE "{member}" LOGIN PASSWORD 'never told'; GRANT "{shop.owner}" TO "{member}" """)
        component.backup(pg16, shop.database)
        result = component.restore(clean18)
        (told,) = (warning for warning in result.warnings if member in warning)
        assert "SCRAM" not in told
        assert clean18.query("SELECT FROM pg_roles WHERE rolname = %s", parameters=[member]) == []
        clean18.psql(told.rpartition("create them without: ")[2].rstrip("."))
        found = "SELECT rolcanlogin, rolpassword, pg_has_role(oid, %s, 'USAGE') FROM pg_authid WHERE rolname = %s"
        assert clean18.query(found, parameters=[shop.owner, member]) == [(True, None, True)]

    def test_none_refuses_when_one_is_missing(
        self, pg16: EmbeddedPostgres, clean18: EmbeddedPostgres, shop: Dataset, component: Component
    ) -> None:
        component.backup(pg16, shop.database)
        with pytest.raises(NotFound, match=shop.owner):
            component.restore(clean18, globals="none")
        assert own(clean18, shop.database) == []

    def test_all_asks_first_and_then_sets_everything(
        self, pg16: EmbeddedPostgres, shop: Dataset, component: Component
    ) -> None:
        password = "SELECT rolpassword, rolcreatedb FROM pg_authid WHERE rolname = %s"
        pg16.psql(f"""ALTER ROLE "{shop.owner}" PASSWORD 'old'""")
        (old,) = pg16.query(password, parameters=[shop.owner])
        (mine,) = pg16.query(password, parameters=["postgres"])
        component.backup(pg16, shop.database)
        pg16.psql(f"""ALTER ROLE "{shop.owner}" PASSWORD 'new' CREATEDB; DROP ROLE IF EXISTS nobody_else""")
        with pytest.raises(Refused, match="roles"):
            component.restore(pg16, globals="all", confirm=shop.database)
        component.restore(pg16, globals="all", confirm=f"roles, {shop.database}")
        assert pg16.query(password, parameters=[shop.owner]) == [old]
        assert pg16.query(password, parameters=["postgres"]) == [mine]


class TestGuards:
    def test_a_live_database_needs_to_be_named(
        self, pg16: EmbeddedPostgres, shop: Dataset, component: Component
    ) -> None:
        component.backup(pg16, shop.database)
        for confirm in (None, "", shop.database.upper(), "yes"):
            with pytest.raises(Refused, match=shop.database):
                component.restore(pg16, confirm=confirm)
        assert own(pg16, shop.database) == [shop.database]

    def test_an_empty_one_does_not(self, pg16: EmbeddedPostgres, shop: Dataset, component: Component) -> None:
        component.backup(pg16, shop.database)
        before = describe(pg16, shop.database)
        pg16.drop_database(shop.database)
        pg16.create_database(shop.database)
        component.restore(pg16)
        assert describe(pg16, shop.database) == before

    def test_check_mode_tells_and_does_nothing(
        self, pg16: EmbeddedPostgres, shop: Dataset, component: Component
    ) -> None:
        component.backup(pg16, shop.database)
        oids = pg16.query("SELECT oid, datname FROM pg_database ORDER BY 1")
        result = component.restore(pg16, check=True)
        text = "\n".join(result.plan.summary)
        assert result.changed
        assert shop.database in text
        assert shop.owner in text
        assert pg16.query("SELECT oid, datname FROM pg_database ORDER BY 1") == oids

    def test_an_older_server_is_refused(
        self, pg16: EmbeddedPostgres, pg18: EmbeddedPostgres, database: Any, component: Component
    ) -> None:
        name = database(pg18)
        component.backup(pg18, name)
        with pytest.raises(VersionMismatch, match=r"PostgreSQL 18.* is 16"):
            component.restore(pg16, target_database=name)
        assert own(pg16, name) == []

    def test_a_newer_pg_restore_is_refused_where_it_would_fail(
        self, pg16: EmbeddedPostgres, pg18: EmbeddedPostgres, shop: Dataset, component: Component
    ) -> None:
        component.backup(pg16, shop.database)
        with pytest.raises(VersionMismatch, match="pg_restore 18 cannot restore into PostgreSQL 16"):
            component.restore(pg16, target_database=shop.database + "2", bin_dir=str(pg18.bin_dir))

    def test_prepared_transactions_are_not_walked_over(
        self, pg16: EmbeddedPostgres, shop: Dataset, component: Component
    ) -> None:
        component.backup(pg16, shop.database)
        pg16.psql("BEGIN; CREATE TABLE pending (x int); PREPARE TRANSACTION 'held'", db=shop.database)
        try:
            with pytest.raises(Unsupported, match="Prepared transactions"):
                component.restore(pg16, confirm=shop.database)
        finally:
            pg16.psql("ROLLBACK PREPARED 'held'", db=shop.database)

    def test_what_the_backup_does_not_hold(self, pg16: EmbeddedPostgres, shop: Dataset, component: Component) -> None:
        component.backup(pg16, shop.database)
        with pytest.raises(NotFound, match="nowhere"):
            component.restore(pg16, database="nowhere")
        with pytest.raises(InvalidOption, match="63 bytes"):
            component.restore(pg16, target_database="x" * 64)

    @pytest.mark.parametrize("name", ["postgres", "template1"])
    def test_what_others_depend_on_is_for_fresh_clusters(
        self, pg16: EmbeddedPostgres, shop: Dataset, component: Component, name: str
    ) -> None:
        component.backup(pg16, shop.database)
        with pytest.raises(Refused, match="fresh cluster"):
            component.restore(pg16, target_database=name, confirm=name)

    def test_a_tablespace_that_is_missing(
        self, pg16: EmbeddedPostgres, clean18: EmbeddedPostgres, database: Any, component: Component
    ) -> None:
        place = pg16.home / "space"
        place.mkdir(mode=0o700)
        if pg16.user:
            import shutil

            shutil.chown(place, pg16.user)
        name = database(pg16)
        pg16.psql(f"CREATE TABLESPACE fast LOCATION '{place}'")
        try:
            pg16.psql("CREATE TABLE t (x int) TABLESPACE fast", db=name)
            component.backup(pg16, name)
            with pytest.raises(NotFound, match="fast"):
                component.restore(clean18)
            component.restore(clean18, tablespaces=False)
            assert clean18.value("SELECT reltablespace FROM pg_class WHERE relname = 't'", db=name) == 0
            component.restore(pg16, target_database=name + "_2")
            query = "SELECT spcname FROM pg_tablespace t JOIN pg_class c ON c.reltablespace = t.oid WHERE relname = 't'"
            assert pg16.value(query, db=name + "_2") == "fast"
        finally:
            pg16.drop_with_offspring(name)
            pg16.psql("DROP TABLESPACE fast")
            place.rmdir()


class TestTheSwap:
    def test_sessions_that_come_back_at_once_do_not_stop_it(
        self, pg16: EmbeddedPostgres, shop: Dataset, component: Component
    ) -> None:
        import psycopg

        component.backup(pg16, shop.database)
        pg16.psql("CREATE TABLE app.only_before (x int)", db=shop.database)
        stop, seen = threading.Event(), set()

        def hammer() -> None:
            while not stop.is_set():
                try:
                    with pg16.connect(shop.database) as connection:
                        for _attempt in range(20):
                            query = "SELECT to_regclass('app.only_before') IS NULL"
                            seen.add(connection.execute(query).fetchone()[0])
                except psycopg.Error:
                    continue  # ended by the swap, or knocked in the middle of it: an application tries again

        threads = [threading.Thread(target=hammer) for _thread in range(4)]
        for thread in threads:
            thread.start()
        try:
            component.restore(pg16, confirm=shop.database)
            with pg16.connect(shop.database) as connection:
                assert connection.execute("SELECT to_regclass('app.only_before')").fetchone() == (None,)
            seen.clear()
            while True not in seen:  # the applications are back, in the restored one
                assert any(thread.is_alive() for thread in threads)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert False not in seen

    def test_several_take_their_places_together_or_not_at_all(
        self, pg16: EmbeddedPostgres, database: Any, component: Component
    ) -> None:
        one, two = sorted((database(pg16), database(pg16)))
        for name in (one, two):
            pg16.psql("CREATE TABLE t AS SELECT 1 AS id", db=name)
        pg16.psql(
            "CREATE FUNCTION fine() RETURNS bool LANGUAGE plpgsql AS 'BEGIN RETURN true; END';"
            "CREATE TABLE checked (x int CHECK (public.fine())); INSERT INTO checked VALUES (1);"
            "CREATE OR REPLACE FUNCTION fine() RETURNS bool LANGUAGE plpgsql AS 'BEGIN RAISE ''not today''; END'",
            db=two,
        )
        component.backup(pg16, one, two)
        before = pg16.query("SELECT oid, datname FROM pg_database ORDER BY 1")
        with pytest.raises(Exception, match="not today"):
            component.restore(pg16, confirm=f"{one}, {two}")
        assert pg16.query("SELECT oid, datname FROM pg_database ORDER BY 1") == before

        pg16.psql("DROP TABLE checked", db=two)
        component.backup(pg16, one, two)
        component.restore(pg16, confirm=f"{one}, {two}")
        assert len(own(pg16, one)) == len(own(pg16, two)) == 2

    def test_a_fresh_cluster_gets_everything(self, component: Component) -> None:
        with EmbeddedPostgres(16) as source, EmbeddedPostgres(18) as target:
            source.create_database("shop")
            load_realistic(source, "shop", rows=60)
            source.psql("CREATE TABLE in_postgres AS SELECT 1 AS x; CREATE ROLE quiet PASSWORD 'p' NOLOGIN")
            source.psql("CREATE TABLE in_template AS SELECT 2 AS x", db="template1")
            component.backup(source, "all")
            component.restore(target, globals="all")
            assert target.value("SELECT x FROM in_postgres") == 1
            assert target.value("SELECT x FROM in_template", db="template1") == 2
            assert target.value("SELECT datistemplate FROM pg_database WHERE datname = 'template1'") is True
            assert target.value("SELECT rolpassword FROM pg_authid WHERE rolname = 'quiet'") == source.value(
                "SELECT rolpassword FROM pg_authid WHERE rolname = 'quiet'"
            )
            assert describe(target, "shop")["rows"] == describe(source, "shop")["rows"]
            assert target.databases() == ["postgres", "shop", "template0", "template1"]
            # A cluster that is not fresh any more keeps its own.
            result = component.restore(target, confirm="shop")
            assert any("postgres is left" in warning for warning in result.warnings)


class TestTheModule:
    def test_a_safety_backup_holds_what_is_replaced(
        self, pg16: EmbeddedPostgres, shop: Dataset, component: Component, tmp_path: Path
    ) -> None:
        """Not what is restored: another database, whole, whatever the options of the restore were."""
        component.backup(pg16, shop.database)
        other = shop.database + "_live"
        pg16.create_database(other)
        pg16.psql("CREATE TABLE mine AS SELECT 42 AS answer", db=other)
        result = run_module(
            "postgresql_restore",
            {
                **login(pg16),
                "component": NAME,
                "repositories": [{"name": "disk", "type": "local", "path": str(tmp_path / "disk")}],
                "state_dir": component.place.state_dir,
                "scratch_dir": str(component.scratch),
                "database": shop.database,
                "target_database": other,
                "confirm": other,
                "safety_backup": True,
                "jobs": 2,
                "keep_previous": False,
            },
        )
        assert not result.get("failed"), result
        assert result["proof"]["proved"] is True
        assert describe(pg16, other)["rows"] == describe(pg16, shop.database)["rows"]
        saved = result["safety_backup"]["backup_id"]
        component.restore(pg16, database=other, target_database=other + "_saved", backup_id=saved)
        assert pg16.value("SELECT answer FROM mine", db=other + "_saved") == 42

    def test_a_refusal_says_what_to_do(self, pg16: EmbeddedPostgres, shop: Dataset, component: Component) -> None:
        component.backup(pg16, shop.database)
        parameters = {
            **login(pg16),
            "component": NAME,
            "repositories": [{"name": "disk", "type": "local", "path": str(component.path / "disk")}],
            "state_dir": component.place.state_dir,
        }
        result = run_module("postgresql_restore", parameters)
        assert result["failed"] is True
        assert result["error_code"] == "refused"
        assert shop.database in result["hint"]
        plan = run_module("postgresql_restore", parameters, check=True, diff=True)
        assert plan["changed"] is True
        assert shop.database in plan["diff"]["after"]
