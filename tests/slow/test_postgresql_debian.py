# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backing up Debian's PostgreSQL: TLS, peer authentication, service files, roles of little privilege, ICU, contrib."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from ansible_collections.holdfast.ops.plugins.module_utils._engines._pg._server import Server
from ansible_collections.holdfast.ops.plugins.module_utils._errors import (
    AuthenticationFailed,
    HoldfastError,
    InvalidOption,
    PermissionDenied,
    TlsFailed,
)
from ansible_collections.holdfast.ops.plugins.module_utils._manifest import Backup
from ansible_collections.holdfast.ops.tests.support.component import NAME, Component
from ansible_collections.holdfast.ops.tests.support.dataset import describe
from ansible_collections.holdfast.ops.tests.support.debian import (
    DEBIAN,
    Authority,
    DebianPostgres,
    PackagedPostgres,
    needs_debian,
)
from ansible_collections.holdfast.ops.tests.support.modules import run_module

pytestmark = [pytest.mark.privileged, needs_debian]

ACCESS = """\
hostssl   all certified 127.0.0.1/32 cert
hostssl   all encrypted 127.0.0.1/32 scram-sha-256
hostnossl all encrypted 127.0.0.1/32 reject
"""
ROWS = 2000
PASSWORD = "p:w\\ 'ö"


@pytest.fixture(scope="module")
def debian() -> Iterator[DebianPostgres]:
    with DebianPostgres(access=ACCESS) as server:
        server.psql(
            "CREATE ROLE certified SUPERUSER LOGIN;"
            f"CREATE ROLE encrypted SUPERUSER LOGIN PASSWORD '{PASSWORD.replace(chr(39), chr(39) * 2)}'"
        )
        yield server


@pytest.fixture(scope="module")
def packaged() -> Iterator[PackagedPostgres]:
    with PackagedPostgres() as server:
        server.psql("CREATE DATABASE shop")
        server.psql(f"CREATE TABLE t AS SELECT g AS id, md5(g::text) AS v FROM generate_series(1, {ROWS}) g", "shop")
        yield server


@pytest.fixture
def component(tmp_path: Path) -> Iterator[Component]:
    with contextlib.closing(Component(tmp_path)) as one:
        yield one


@pytest.fixture
def shop(debian: DebianPostgres, database: Any) -> str:
    name = str(database(debian))
    debian.psql(f"CREATE TABLE t AS SELECT g AS id, md5(g::text) AS v FROM generate_series(1, {ROWS}) g", db=name)
    return name


def stored(component: Component, backup: Backup, kind: str) -> bytes:
    """The decoded bytes of an artefact."""
    artefact = backup.artefact(kind)
    assert artefact is not None
    data = (component.path / "disk" / NAME / artefact.objects[0].key).read_bytes()
    return zstandard.ZstdDecompressor().decompressobj().decompress(data)


def rows_in(component: Component, backup: Backup, table: str) -> int:
    """How many rows of a table the stored dump holds, as Debian's own pg_restore reads it."""
    done = subprocess.run(
        [DEBIAN / "pg_restore", "--data-only", f"--table={table}", "--file=-"],
        input=stored(component, backup, "dump"),
        check=True,
        capture_output=True,
    )
    _head, _copy, rest = done.stdout.partition(b" FROM stdin;\n")
    return rest.partition(b"\\.\n")[0].count(b"\n")


class TestTls:
    def options(self, debian: DebianPostgres, **more: Any) -> dict[str, Any]:
        return {
            "login_host": "localhost",
            "login_port": debian.port,
            "login_user": "encrypted",
            "login_password": PASSWORD,
            "ca_cert": str(debian.authority.certificate),
            "bin_dir": str(debian.bin_dir),
            **more,
        }

    def certified(self, debian: DebianPostgres, certificate: Path, key: Path) -> dict[str, Any]:
        files = {"ssl_cert": str(certificate), "ssl_key": str(key)}
        return self.options(debian, login_user="certified", login_password=None, ssl_mode="verify-full", **files)

    @pytest.mark.parametrize(
        ("mode", "host"),
        [("require", "127.0.0.1"), ("verify-ca", "127.0.0.1"), ("verify-full", "localhost")],
    )
    def test_every_mode_that_the_certificate_satisfies(self, debian: DebianPostgres, mode: str, host: str) -> None:
        server = Server(self.options(debian, ssl_mode=mode, login_host=host), NAME)
        with server.connect("postgres") as session:
            assert session.value("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", 30) is True
        server.close()

    @pytest.mark.parametrize(
        ("more", "error"),
        [
            ({"ssl_mode": "verify-full", "login_host": "127.0.0.1"}, TlsFailed),
            ({"ssl_mode": "verify-full", "ca_cert": "another's"}, TlsFailed),
            ({"ssl_mode": "verify-ca", "ca_cert": "another's"}, TlsFailed),
            ({"ssl_mode": "verify-ca", "ca_cert": "/nonexistent/ca.crt"}, TlsFailed),
            ({"ssl_mode": "verify-full", "login_password": "wrong"}, AuthenticationFailed),
            ({"ssl_mode": "disable"}, AuthenticationFailed),
        ],
        ids=lambda value: value.__name__ if isinstance(value, type) else " ".join(value.values()),
    )
    def test_what_does_not_hold_is_told_and_nothing_is_stored(
        self, debian: DebianPostgres, tmp_path: Path, component: Component, more: dict[str, Any], error: type
    ) -> None:
        if more.get("ca_cert") == "another's":
            more = {**more, "ca_cert": str(Authority(tmp_path / "other", "another's").certificate)}
        with pytest.raises(error) as caught:
            component.backup(None, "postgres", **self.options(debian, **more))
        assert isinstance(caught.value, HoldfastError)
        assert caught.value.stage == "preflight"
        assert list(tmp_path.glob("disk/**/manifests/*")) == []

    @pytest.mark.parametrize("how", [{}, {"format": "directory", "jobs": 2}], ids=["custom", "directory"])
    def test_a_backup_with_full_verification(
        self, debian: DebianPostgres, shop: str, component: Component, how: dict[str, Any]
    ) -> None:
        """pg_dump and pg_dumpall too: the server takes this role over TLS only."""
        before = describe(debian, shop)
        component.backup(None, shop, fingerprint="digest", **self.options(debian, ssl_mode="verify-full"), **how)
        debian.psql("TRUNCATE t", db=shop)
        component.restore(debian, confirm=shop)
        assert describe(debian, shop) == before

    def test_a_client_certificate_is_the_login(self, debian: DebianPostgres, shop: str, component: Component) -> None:
        mine = debian.authority.issue("certified")
        made = component.backup(None, shop, **self.certified(debian, *mine))
        assert rows_in(component, made, "t") == ROWS

    def test_another_client_certificate_is_not(self, debian: DebianPostgres, tmp_path: Path) -> None:
        def refusal(certificate: Path, key: Path) -> str:
            with pytest.raises(TlsFailed) as caught:
                Server(self.certified(debian, certificate, key), NAME).connect("postgres")
            return caught.value.tool_output or ""

        assert "certificate authentication failed" in refusal(*debian.authority.issue("somebody"))
        assert "unknown ca" in refusal(*Authority(tmp_path / "other", "another's").issue("certified"))
        certificate, key = debian.authority.issue("open")
        key.chmod(0o644)
        assert "private key file" in refusal(certificate, key)
        assert "valid client certificate" in refusal(tmp_path / "none.crt", tmp_path / "none.key")

    def test_none_where_one_is_wanted(self, debian: DebianPostgres) -> None:
        with pytest.raises(TlsFailed, match="valid client certificate"):
            Server(self.options(debian, login_user="certified", ssl_mode="verify-full"), NAME).connect("postgres")

    def test_a_service_file_brings_all_of_it(
        self, debian: DebianPostgres, shop: str, tmp_path: Path, component: Component
    ) -> None:
        file = tmp_path / "pg_service.conf"
        file.write_text(
            f"[production]\nhost=localhost\nport={debian.port}\nuser=encrypted\nsslmode=verify-full\n"
            f"sslrootcert={debian.authority.certificate}\n"
        )
        options = {"service": "production", "service_file": str(file), "bin_dir": str(debian.bin_dir)}
        made = component.backup(None, shop, login_password=PASSWORD, **options)
        assert made.source["databases"] == [shop]
        assert rows_in(component, made, "t") == ROWS
        with pytest.raises(InvalidOption):
            component.backup(None, shop, **{**options, "service": "staging"})
        file.write_text(file.read_text().replace("host=localhost", "host=127.0.0.1"))
        with pytest.raises(TlsFailed):
            component.backup(None, shop, login_password=PASSWORD, **options)


class TestPeer:
    """A server as the package sets it up, backed up by root: no host, no user, no password is given."""

    def parameters(self, packaged: PackagedPostgres, path: Path, **more: Any) -> dict[str, Any]:
        return {
            "component": NAME,
            "database": "shop",
            "login_port": packaged.port,
            "state_dir": str(path / "state"),
            "scratch_dir": str(path / "scratch"),
            "repositories": [{"name": "disk", "type": "local", "path": str(path / "disk")}],
            **more,
        }

    @pytest.mark.parametrize("how", [{}, {"format": "directory", "jobs": 2}], ids=["custom", "directory"])
    def test_there_and_back(self, packaged: PackagedPostgres, component: Component, how: dict[str, Any]) -> None:
        whole = "SELECT count(*), md5(string_agg(v, '' ORDER BY id)) FROM t"
        before = packaged.psql(whole, db="shop")
        place = component.scratch.parent  # the account postgres can walk into it
        made = run_module("postgresql_backup", self.parameters(packaged, place, fingerprint="digest", **how))
        assert made.get("changed"), made
        packaged.psql("TRUNCATE t", db="shop")
        back = run_module("postgresql_restore", self.parameters(packaged, place, confirm="shop", keep_previous=False))
        assert back.get("changed"), back
        assert back["proof"]["proved"]
        assert packaged.psql(whole, db="shop") == before

    def test_another_account_is_not_let_in(self, packaged: PackagedPostgres, component: Component) -> None:
        place = component.scratch.parent
        refused = run_module("postgresql_backup", self.parameters(packaged, place, run_as="nobody"))
        assert refused["error_code"] == "authentication_failed", refused
        assert "run_as" in refused["msg"]
        assert list(place.glob("disk/**/manifests/*")) == []


class TestLittlePrivilege:
    @pytest.fixture
    def reader(self, debian: DebianPostgres, shop: str) -> str:
        """A role that may read every table of the database, and nothing more."""
        name = f"{shop}_reader"
        debian.psql(
            f"CREATE ROLE {name} LOGIN PASSWORD 'secret'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}",
            db=shop,
        )
        return name

    def test_passwords_that_it_may_not_read_are_left_out_and_that_is_said(
        self, debian: DebianPostgres, shop: str, reader: str, component: Component
    ) -> None:
        with component.engine(debian, database=shop, login_user=reader) as engine:
            assert any("without passwords" in warning for warning in engine.plan_backup().warnings)
        made = component.backup(debian, shop, login_user=reader)
        assert made.source["role_passwords"] is False
        roles = stored(component, made, "globals").decode()
        assert f"CREATE ROLE {reader}" in roles
        assert "PASSWORD" not in roles
        assert rows_in(component, made, "t") == ROWS
        everything = component.backup(debian, shop)
        assert everything.source["role_passwords"] is True
        assert "PASSWORD 'SCRAM-SHA-256" in stored(component, everything, "globals").decode()

    def test_pg_read_all_data_reads_them_too(
        self, debian: DebianPostgres, shop: str, reader: str, component: Component
    ) -> None:
        """PostgreSQL means all data: pg_authid is among it."""
        debian.psql(
            f"REVOKE SELECT ON ALL TABLES IN SCHEMA public FROM {reader}; GRANT pg_read_all_data TO {reader}", db=shop
        )
        debian.psql("CREATE SCHEMA closed; CREATE TABLE closed.hidden AS SELECT 1 AS n", db=shop)
        made = component.backup(debian, shop, login_user=reader, fingerprint="digest")
        assert made.source["role_passwords"] is True
        assert "PASSWORD 'SCRAM-SHA-256" in stored(component, made, "globals").decode()
        assert rows_in(component, made, "t") == ROWS
        assert rows_in(component, made, "hidden") == 1

    def test_row_security_is_refused_unless_the_role_is_above_it(
        self, debian: DebianPostgres, shop: str, reader: str, component: Component
    ) -> None:
        debian.psql(
            f"GRANT pg_read_all_data TO {reader}; ALTER TABLE t ENABLE ROW LEVEL SECURITY;"
            f"CREATE POLICY low ON t FOR SELECT TO {reader} USING (id < 10)",
            db=shop,
        )
        with pytest.raises(PermissionDenied, match=r"Row security would hide rows .* 'public\.t'"):
            component.backup(debian, shop, login_user=reader)
        assert list(component.path.glob("disk/**/manifests/*")) == []
        debian.psql(f"ALTER ROLE {reader} BYPASSRLS")
        made = component.backup(debian, shop, login_user=reader, fingerprint="digest")
        assert rows_in(component, made, "t") == ROWS

    def test_what_belongs_to_user_mappings_is_not_left_out_in_silence(
        self, debian: DebianPostgres, shop: str, reader: str, component: Component
    ) -> None:
        debian.psql(
            "CREATE EXTENSION postgres_fdw; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'far');"
            "CREATE USER MAPPING FOR postgres SERVER far OPTIONS (user 'u', password 'p')",
            db=shop,
        )
        with component.engine(debian, database=shop, login_user=reader) as engine:
            assert any("user mappings" in warning for warning in engine.plan_backup().warnings)
        with component.engine(debian, database=shop) as engine:
            assert not any("user mappings" in warning for warning in engine.plan_backup().warnings)


def test_icu_collations_and_contrib_extensions(debian: DebianPostgres, database: Any, component: Component) -> None:
    name = f"{database(debian)}_icu"  # dropped with the other
    debian.create_database(name, "TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'sv' LOCALE 'C.UTF-8'")
    extensions = ["btree_gist", "citext", "hstore", "ltree", "pg_stat_statements", "pg_trgm", "pgcrypto", "unaccent"]
    debian.psql(
        "".join(f"CREATE EXTENSION {extension};" for extension in extensions)
        + """
        CREATE COLLATION phonebook (provider = icu, locale = 'de-u-co-phonebk');
        CREATE COLLATION folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
        CREATE TABLE words (plain text, phone text COLLATE phonebook, folded text COLLATE folded UNIQUE, path ltree,
                            tags hstore, EXCLUDE USING gist (path WITH =));
        INSERT INTO words SELECT w || n, w || n, w || n, text2ltree('top.' || md5(w) || '.n' || n), hstore(w, n::text)
          FROM unnest(ARRAY['Zebra', 'Äpfel', 'Öl', 'Ähre', 'Ångström']) w, generate_series(1, 200) n;
        """,
        db=name,
    )
    before = describe(debian, name)
    component.backup(debian, name, fingerprint="digest")
    proof = component.verify_restore(None, run_as=debian.user)
    assert proof.proved, proof
    orders = "SELECT string_agg(plain, ',' ORDER BY plain), string_agg(phone, ',' ORDER BY phone) FROM words"
    order = debian.query(orders, db=name)
    copy = f"{name}_copy"
    result = component.restore(debian, target_database=copy)
    assert result.proof is not None
    assert result.proof.proved
    assert describe(debian, copy) == before
    assert debian.query(orders, db=copy) == order
    assert debian.value("SELECT count(*) FROM words WHERE folded = 'ÄPFEL1'", db=copy) == 1
    locale = "SELECT datlocprovider, daticulocale FROM pg_database WHERE datname = %s"
    assert debian.query(locale, parameters=[copy]) == [("i", "sv")]
