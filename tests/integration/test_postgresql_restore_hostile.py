# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases that act while they are restored (subscriptions, login triggers, settings), and those who would walk in."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._engines._pg import _leftovers, _replace, _restore
from ansible_collections.holdfast.ops.plugins.module_utils._engines._pg._server import Server
from ansible_collections.holdfast.ops.plugins.module_utils._errors import Interrupted, Locked, ToolFailed
from ansible_collections.holdfast.ops.tests.support.component import Component, login
from ansible_collections.holdfast.ops.tests.support.postgres import EmbeddedPostgres


@pytest.fixture
def component(tmp_path: Path) -> Iterator[Component]:
    with contextlib.closing(Component(tmp_path)) as one:
        yield one


@pytest.fixture
def role(pg18: EmbeddedPostgres) -> Iterator[str]:
    """A role that may log in and nothing else."""
    name = f"r_{uuid.uuid4().hex[:12]}"
    pg18.psql(f"CREATE ROLE {name} LOGIN")
    yield name
    pg18.psql(f"DROP ROLE {name}")


def temporary(server: EmbeddedPostgres) -> list[str]:
    return [name for name in server.databases() if name.startswith("holdfast_")]


SUBSCRIBED = """CREATE TABLE t (x int);
CREATE SUBSCRIPTION sub CONNECTION 'host=127.0.0.1 port=1 dbname=nowhere' PUBLICATION p
    WITH (connect = false, slot_name = 'somebody_elses')"""


class TestSubscription:
    """A restored one must neither start nor touch the slot of the one that it was made from."""

    @pytest.fixture
    def subscribed(self, pg18: EmbeddedPostgres, database: Any) -> Iterator[str]:
        name = database(pg18)
        pg18.psql(SUBSCRIBED, db=name)
        yield name
        for other in pg18.databases():
            if other.startswith(name):
                pg18.psql("ALTER SUBSCRIPTION sub DISABLE; ALTER SUBSCRIPTION sub SET (slot_name = NONE)", db=other)
                pg18.psql("DROP SUBSCRIPTION sub", db=other)
                if other != name:
                    pg18.drop_database(other)

    def test_is_restored_and_sleeps(self, pg18: EmbeddedPostgres, subscribed: str, component: Component) -> None:
        component.backup(pg18, subscribed)
        result = component.restore(pg18, target_database=f"{subscribed}_2")
        assert result.proof is not None
        assert result.proof.proved
        query = (
            "SELECT subname, subenabled FROM pg_subscription s JOIN pg_database d ON d.oid = subdbid WHERE datname = %s"
        )
        assert pg18.query(query, parameters=[f"{subscribed}_2"]) == [("sub", False)]
        assert any("sub" in warning and "disabled" in warning for warning in result.warnings)

    def test_a_verified_one_is_dropped(self, pg18: EmbeddedPostgres, subscribed: str, component: Component) -> None:
        component.backup(pg18, subscribed)
        assert component.verify_restore(pg18, scratch_database=True).proved
        assert temporary(pg18) == []

    def test_a_killed_restore_is_swept(
        self, pg18: EmbeddedPostgres, subscribed: str, component: Component, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        component.backup(pg18, subscribed)
        with monkeypatch.context() as patch:
            patch.setattr(_restore, "analyze", _interrupt)
            with pytest.raises(Interrupted) as caught:
                component.restore(pg18, target_database=f"{subscribed}_2")
        assert caught.value.left_behind is None
        assert temporary(pg18) == []


def _interrupt(*_arguments: Any) -> None:
    raise Interrupted("Stopped.")


LOGIN_TRIGGER = """CREATE TABLE public.logins (who text);
CREATE FUNCTION public.note() RETURNS event_trigger LANGUAGE plpgsql AS
    $$BEGIN IF NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off' THEN
      INSERT INTO public.logins VALUES (session_user); END IF; END$$;
CREATE EVENT TRIGGER note ON login EXECUTE FUNCTION public.note();
ALTER EVENT TRIGGER note ENABLE ALWAYS"""


def test_a_login_trigger_does_not_write_into_what_is_proved(
    pg18: EmbeddedPostgres, database: Any, component: Component
) -> None:
    name = database(pg18)
    pg18.psql(LOGIN_TRIGGER, db=name)
    component.backup(pg18, name)
    result = component.restore(pg18, target_database=f"{name}_2")
    try:
        assert result.proof is not None
        assert result.proof.proved
        settings = (
            "SELECT setconfig FROM pg_db_role_setting s JOIN pg_database d ON d.oid = setdatabase WHERE datname = %s"
        )
        assert pg18.query(settings, parameters=[f"{name}_2"]) == []
    finally:
        pg18.drop_database(f"{name}_2")


@pytest.mark.parametrize("setting", ["role = {role}", "session_replication_role = replica"])
def test_settings_of_a_database_do_not_hinder_its_restore(
    pg18: EmbeddedPostgres, database: Any, component: Component, role: str, setting: str
) -> None:
    name = database(pg18)
    pg18.psql(f"CREATE TABLE t AS SELECT 1 x; CREATE SCHEMA s; GRANT pg_read_all_data TO {role}", db=name)
    pg18.psql(f'ALTER DATABASE "{name}" SET {setting.format(role=role)}')
    try:
        component.backup(pg18, name)
        assert component.restore(pg18, confirm=name, keep_previous=False).proof.proved  # type: ignore[union-attr]
        settings = (
            "SELECT setconfig FROM pg_db_role_setting s JOIN pg_database d ON d.oid = setdatabase WHERE datname = %s"
        )
        assert pg18.query(settings, parameters=[name]) == [([setting.format(role=role).replace(" ", "")],)]
    finally:
        pg18.psql(f'ALTER DATABASE "{name}" RESET ALL')


@pytest.mark.parametrize("who", ["postgres", "an owner"])
def test_nobody_walks_into_a_database_that_is_being_restored(
    pg18: EmbeddedPostgres, database: Any, component: Component, role: str, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    name = database(pg18)
    if who != "postgres":
        who = f"{name}_owner"
        pg18.psql(f'CREATE ROLE {who} LOGIN CREATEDB; ALTER DATABASE "{name}" OWNER TO {who}')
    pg18.psql(f"CREATE TABLE t (x int); ALTER TABLE t OWNER TO {who}", db=name)
    pg18.psql(f'REVOKE CONNECT ON DATABASE "{name}" FROM PUBLIC')
    component.backup(pg18, name, login_user=who)
    answers = []

    def peek(*arguments: Any) -> None:
        (made,) = temporary(pg18)
        try:
            psycopg.connect(host=str(pg18.socket_dir), port=pg18.port, user=role, dbname=made).close()
            answers.append("let in")
        except psycopg.OperationalError as error:
            answers.append(str(error))

    monkeypatch.setattr(_restore, "analyze", peek)
    component.restore(pg18, confirm=name, keep_previous=False, login_user=who)
    assert len(answers) == 1
    assert "let in" not in answers


def test_a_template_that_does_not_get_its_place_is_dropped(
    pg18: EmbeddedPostgres, database: Any, component: Component, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = database(pg18)
    pg18.psql(f'CREATE TABLE t (x int); ALTER DATABASE "{name}" IS_TEMPLATE true', db=name)
    try:
        component.backup(pg18, name)
        monkeypatch.setattr(_restore, "swap", _interrupt)
        with pytest.raises(Interrupted) as caught:
            component.restore(pg18, target_database=f"{name}_2")
        assert caught.value.left_behind is None
        assert temporary(pg18) == []
    finally:
        pg18.psql(f'ALTER DATABASE "{name}" IS_TEMPLATE false')


def test_tables_that_somebody_reads_make_nobody_wait_for_long(
    pg18: EmbeddedPostgres, database: Any, component: Component, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = database(pg18)
    pg18.psql("CREATE TABLE t AS SELECT 1 AS x", db=name)
    component.backup(pg18, name)
    monkeypatch.setattr(_replace, "LOCK_WAIT", 1)
    with pg18.connect(name, autocommit=False) as reader:
        reader.execute("SELECT x FROM t")
        with pytest.raises(Locked):
            component.restore(pg18, database=name, tables=["public.t"], confirm=name)
    assert pg18.query("SELECT x FROM t", db=name) == [(1,)]


def test_jobs_that_wait_for_each_other_are_followed_by_one(
    pg18: EmbeddedPostgres, database: Any, component: Component, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = database(pg18)
    pg18.psql("CREATE TABLE t AS SELECT generate_series(1, 100) AS x", db=name)
    component.backup(pg18, name)
    original, jobs = _restore.load, []

    def load(*arguments: Any) -> None:
        jobs.append(arguments[-1].jobs)
        original(*arguments)
        if len(jobs) == 1:  # when all is there already: nothing of it may be left for the second try
            raise ToolFailed("pg_restore exited with status 1.", tool_output="ERROR:  deadlock detected")

    monkeypatch.setattr(_restore, "load", load)
    result = component.restore(pg18, confirm=name, keep_previous=False, jobs=2)
    assert result.proof is not None
    assert result.proof.proved
    assert jobs == [2, 1]
    assert any("deadlock" in warning for warning in result.warnings)
    assert pg18.value("SELECT count(*) FROM t", db=name) == 100


def test_a_restore_that_works_from_another_database_is_not_swept(pg18: EmbeddedPostgres, database: Any) -> None:
    elsewhere, name = database(pg18), _leftovers.PREFIX + uuid.uuid4().hex[:16]
    pg18.create_database(name)
    key = _leftovers.lock_key(name)
    with (
        psycopg.connect(host=str(pg18.socket_dir), port=pg18.port, user="postgres", dbname=elsewhere) as owner,
        contextlib.closing(Server(login(pg18), "shop")) as server,
        server.connect("postgres") as session,
    ):
        owner.execute(f"SELECT pg_advisory_lock({key})")
        assert list(_leftovers.sweep_databases(server, session)) == []
        owner.execute("SELECT pg_advisory_unlock_all()")
        owner.commit()
        assert len(list(_leftovers.sweep_databases(server, session))) == 1


OF_THE_FIRST = """CREATE FUNCTION public.f() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN END$$;
CREATE EVENT TRIGGER first ON ddl_command_end EXECUTE FUNCTION public.f();
ALTER FUNCTION public.f() OWNER TO app;
CREATE TABLE t (x int); ALTER TABLE t OWNER TO app;
SELECT lo_create(0);
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO app"""


def test_what_only_the_first_superuser_owns_comes_back_where_it_has_another_name(
    pg18: EmbeddedPostgres, component: Component
) -> None:
    with EmbeddedPostgres(16) as source:
        source.psql("CREATE ROLE app; CREATE ROLE second SUPERUSER LOGIN; CREATE DATABASE owned OWNER app")
        source.psql(OF_THE_FIRST, db="owned")
        with psycopg.connect(
            host=str(source.socket_dir), port=source.port, user="second", dbname="template1", autocommit=True
        ) as other:
            other.execute("ALTER ROLE postgres RENAME TO founder")
        component.backup(source, "owned", login_user="second")
        assert component.verify_restore(pg18, scratch_database=True).proved
        assert pg18.query("SELECT 1 FROM pg_roles WHERE rolname IN ('founder', 'app')") == []


def test_a_login_that_is_only_a_member_is_named(
    pg16: EmbeddedPostgres, pg18: EmbeddedPostgres, database: Any, component: Component
) -> None:
    name = database(pg16)
    group, login_role = f"{name}_group", f"{name}_app"
    pg16.psql(f"CREATE ROLE {group}; CREATE ROLE {login_role} LOGIN IN ROLE {group}")
    pg16.psql(f"CREATE TABLE t (x int); GRANT SELECT ON t TO {group}", db=name)
    component.backup(pg16, name)
    assert not any(login_role in warning for warning in component.restore(pg16, check=True, confirm=name).warnings)
    try:
        result = component.restore(pg18)
        assert any(login_role in warning and "globals: all" in warning for warning in result.warnings)
    finally:
        pg18.drop_with_offspring(name)
