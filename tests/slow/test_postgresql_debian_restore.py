# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's PostgreSQL, which has what the wheel's lacks (amcheck, contrib, ICU, TLS), and from it into a newer one."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._engines._pg._prove import soundness
from ansible_collections.holdfast.ops.plugins.module_utils._engines._pg._server import Server
from ansible_collections.holdfast.ops.plugins.module_utils._errors import NotFound, TlsFailed, Unsupported
from ansible_collections.holdfast.ops.plugins.module_utils._progress import Progress
from ansible_collections.holdfast.ops.tests.support.component import NAME, Component, login
from ansible_collections.holdfast.ops.tests.support.dataset import describe
from ansible_collections.holdfast.ops.tests.support.debian import DebianPostgres, needs_debian
from ansible_collections.holdfast.ops.tests.support.postgres import EmbeddedPostgres

pytestmark = needs_debian


@pytest.fixture(scope="module")
def debian() -> Iterator[DebianPostgres]:
    with DebianPostgres() as server:
        yield server


@pytest.fixture
def component(tmp_path: Path) -> Iterator[Component]:
    with contextlib.closing(Component(tmp_path)) as one:
        yield one


@pytest.fixture
def shop(debian: DebianPostgres) -> Iterator[str]:
    """A database with an ICU locale, contrib extensions and a tablespace."""
    name = f"t_{secrets.token_hex(6)}"
    space = debian.home / f"space {name}"
    space.mkdir(mode=0o700)
    if debian.user:
        shutil.chown(space, debian.user)
    debian.psql(f"CREATE TABLESPACE \"{name} fast\" LOCATION '{space}'")
    debian.create_database(name, "TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de-AT' LOCALE 'C.UTF-8'")
    debian.psql(
        f"""
        CREATE EXTENSION hstore; CREATE EXTENSION pg_trgm; CREATE EXTENSION citext; CREATE EXTENSION pg_stat_statements;
        CREATE TABLE words (id serial PRIMARY KEY, word text, tags hstore, folded citext UNIQUE)
          TABLESPACE "{name} fast";
        INSERT INTO words (word, tags, folded)
        SELECT w || n, hstore('n', n::text), w || n FROM unnest(ARRAY['Zebra', 'Äpfel', 'apfel', 'Öl']) w,
               generate_series(1, 500) n;
        CREATE INDEX words_trgm ON words USING gin (word gin_trgm_ops);
        CREATE INDEX words_sorted ON words (word) TABLESPACE "{name} fast"
        """,
        db=name,
    )
    yield name
    debian.drop_with_offspring(name)
    debian.psql(f'DROP TABLESPACE "{name} fast"')


def test_all_of_it_comes_back_and_amcheck_agrees(debian: DebianPostgres, shop: str, component: Component) -> None:
    before = describe(debian, shop)
    sorting = "SELECT string_agg(word, ',' ORDER BY word) FROM words"
    order = debian.value(sorting, db=shop)
    component.backup(debian, shop, fingerprint="digest")
    debian.psql("TRUNCATE words", db=shop)
    result = component.restore(debian, confirm=shop)
    assert result.proof is not None
    assert result.proof.proved
    assert result.proof.details["amcheck"] == "ok"
    assert describe(debian, shop) == before
    assert debian.value(sorting, db=shop) == order
    assert debian.value("SELECT count(*) FROM pg_extension WHERE extname = 'amcheck'", db=shop) == 0
    locale = "SELECT datlocprovider, daticulocale FROM pg_database WHERE datname = %s"
    if debian.version < 17:
        assert debian.query(locale, parameters=[shop]) == [("i", "de-AT")]
    used = "SELECT spcname FROM pg_class c JOIN pg_tablespace t ON t.oid = c.reltablespace WHERE relname = 'words'"
    assert debian.value(used, db=shop) == f"{shop} fast"


def test_amcheck_finds_a_damaged_index(debian: DebianPostgres, shop: str) -> None:
    path = debian.value("SELECT pg_relation_filepath('words_sorted')", db=shop)
    debian.stop()
    with (debian.data / path).open("r+b") as file:
        # The second page is a leaf: give one of its entries another's first bytes.
        page = bytearray(file.read())[8192:16384]
        page[-40:-24] = bytes(reversed(page[-40:-24]))
        file.seek(8192)
        file.write(page)
    debian.start()
    debian.psql("SET zero_damaged_pages = off", db=shop)
    found = soundness(Server(login(debian), NAME), shop, {}, Progress())
    assert any("pg_amcheck found damage" in difference for difference in found.differences), found


@pytest.mark.parametrize("enabled", ["ENABLE", "ENABLE ALWAYS"])
def test_amcheck_sets_off_no_event_trigger_and_no_timeout(
    debian: DebianPostgres, component: Component, enabled: str
) -> None:
    name = f"t_{secrets.token_hex(6)}"
    debian.create_database(name)
    try:
        debian.psql(
            f"""
            CREATE TABLE ddl (tag text); CREATE TABLE t (id int PRIMARY KEY);
            INSERT INTO t SELECT generate_series(1, 300000);
            CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql AS
                $$BEGIN INSERT INTO public.ddl VALUES (tg_tag); END$$;
            CREATE EVENT TRIGGER note ON ddl_command_end EXECUTE FUNCTION note();
            ALTER EVENT TRIGGER note {enabled}; ALTER ROLE postgres SET statement_timeout = 200
            """,
            db=name,
        )
        component.backup(debian, name)
        result = component.restore(debian, confirm=name, keep_previous=False)
        assert result.proof is not None
        assert result.proof.proved
        assert ("skipped" in result.proof.details["amcheck"]) == ("ALWAYS" in enabled)
        assert debian.query("SELECT tag FROM ddl", db=name) == []
    finally:
        debian.psql("SET statement_timeout = 0; ALTER ROLE postgres RESET statement_timeout")
        debian.drop_with_offspring(name)


def test_a_scratch_cluster_of_the_packaged_server(debian: DebianPostgres, shop: str, component: Component) -> None:
    component.backup(debian, shop, fingerprint="digest")
    proof = component.verify_restore(None, run_as=debian.user)
    assert proof.proved
    assert proof.details["amcheck"] == "ok"
    assert f"PostgreSQL {debian.version}" in proof.details["where"]
    assert list(component.scratch.iterdir()) == []


def test_what_a_newer_server_without_contrib_lacks_is_said(
    debian: DebianPostgres, shop: str, component: Component, pg18: EmbeddedPostgres
) -> None:
    component.backup(debian, shop)
    with pytest.raises(NotFound, match="citext, hstore"):
        component.restore(pg18, tablespaces=False)
    debian.psql("DROP EXTENSION hstore, citext, pg_trgm, pg_stat_statements CASCADE", db=shop)
    component.backup(debian, shop)
    with pytest.raises(Unsupported, match="de-AT"):
        component.restore(pg18, tablespaces=False)


def test_into_a_newer_version(debian: DebianPostgres, component: Component, pg18: EmbeddedPostgres) -> None:
    name = f"t_{secrets.token_hex(6)}"
    debian.create_database(name)
    try:
        debian.psql(
            "CREATE TABLE t AS SELECT generate_series(1, 1000) AS id; ALTER TABLE t ADD PRIMARY KEY (id)", db=name
        )
        rows = describe(debian, name)["rows"]
        component.backup(debian, name, fingerprint="digest")
        result = component.restore(pg18)
        assert result.proof is not None
        assert result.proof.proved
        assert describe(pg18, name)["rows"] == rows
    finally:
        debian.drop_with_offspring(name)
        pg18.drop_with_offspring(name)


def test_over_tls_with_a_password(debian: DebianPostgres, shop: str, component: Component) -> None:
    before = describe(debian, shop)
    component.backup(debian, shop)
    tls: dict[str, Any] = {
        "login_host": "localhost",
        "login_port": debian.port,
        "login_user": "postgres",
        "login_password": debian.password,
        "ssl_mode": "verify-full",
        "ca_cert": str(debian.authority.certificate),
        "bin_dir": str(debian.bin_dir),
    }
    debian.psql("TRUNCATE words", db=shop)
    with pytest.raises(TlsFailed):
        component.restore(None, confirm=shop, **{**tls, "ca_cert": "/etc/ssl/certs/ca-certificates.crt"})
    component.restore(None, confirm=shop, jobs=2, **tls)
    assert describe(debian, shop) == before
