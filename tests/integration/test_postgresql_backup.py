# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a backup of PostgreSQL holds: restored by its own lines and standard tools, and looked at from outside."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from ansible_collections.holdfast.ops.plugins.module_utils._engines._pg import _directory
from ansible_collections.holdfast.ops.plugins.module_utils._errors import (
    InvalidOption,
    NotFound,
    PermissionDenied,
    VersionMismatch,
)
from ansible_collections.holdfast.ops.plugins.module_utils._manifest import Backup
from ansible_collections.holdfast.ops.tests.support.component import NAME, Component, login
from ansible_collections.holdfast.ops.tests.support.dataset import ARCHIVE, ODD_TABLE, Dataset, describe, load_realistic
from ansible_collections.holdfast.ops.tests.support.modules import run_module
from ansible_collections.holdfast.ops.tests.support.postgres import EmbeddedPostgres
from ansible_collections.holdfast.ops.tests.support.procwatch import ProcessWatch

ZSTD = "import sys, zstandard\nzstandard.ZstdDecompressor().copy_stream(sys.stdin.buffer, sys.stdout.buffer)\n"
EVENTS = {"events_2025", "events_2026_0", "events_2026_1", "events_other"}
APP = {"customers", "documents", *EVENTS}
BOTH = [{}, {"format": "directory", "jobs": 2}]


@pytest.fixture
def component(tmp_path: Path) -> Iterator[Component]:
    with contextlib.closing(Component(tmp_path)) as one:
        yield one


@pytest.fixture
def shop(pg18: EmbeddedPostgres, database: Any) -> Dataset:
    return load_realistic(pg18, database(pg18, "-d a='b' \"Ö\" x"), rows=300)


def stored(component: Component, backup: Backup, kind: str) -> Any:
    """The decoded bytes of an artefact."""
    artefact = backup.artefact(kind)
    assert artefact is not None
    data = (component.path / "disk" / NAME / artefact.objects[0].key).read_bytes()
    return zstandard.ZstdDecompressor().decompressobj().decompress(data)


def document(component: Component, backup: Backup, kind: str) -> Any:
    return json.loads(stored(component, backup, kind))


def by_hand(component: Component, backup: Backup, server: EmbeddedPostgres, *, roles: bool = False) -> None:
    """Do what the manifest says, with the server's own tools."""
    place = (component.path / "disk" / NAME / backup.artefacts[0].objects[0].key).parent
    work = server.home / f"by-hand-{component.path.name}"
    shutil.copytree(place, work)
    zstd = work / "bin" / "zstd"  # not every machine has the program, and all have the library
    zstd.parent.mkdir()
    zstd.write_text(f"#!{sys.executable}\n{ZSTD}")
    zstd.chmod(0o755)
    lines = [line for line in backup.by_hand if roles or "globals.sql" not in line]
    environment = {**server.env, "PATH": f"{zstd.parent}:{server.env['PATH']}"}
    script = "set -euo pipefail\n" + "\n".join(lines)
    done = subprocess.run(
        ["bash", "-c", script], cwd=work, env=environment, check=False, capture_output=True, text=True
    )
    shutil.rmtree(work)
    assert done.returncode == 0, done.stderr


class TestByHand:
    @pytest.mark.parametrize("options", BOTH, ids=["custom", "directory"])
    def test_a_dropped_database_comes_back_whole(
        self, pg18: EmbeddedPostgres, shop: Dataset, component: Component, options: dict[str, Any]
    ) -> None:
        before = describe(pg18, shop.database)
        backup = component.backup(pg18, shop.database, **options)
        pg18.drop_database(shop.database)
        by_hand(component, backup, pg18)
        assert describe(pg18, shop.database) == before

    def test_a_whole_cluster_into_an_empty_one(self, component: Component) -> None:
        with EmbeddedPostgres(16) as old, EmbeddedPostgres(16) as new:
            for name in ("one", "two"):
                old.create_database(name)
                load_realistic(old, name, rows=50)
            old.psql("CREATE ROLE app LOGIN PASSWORD 'x'; ALTER DATABASE postgres SET work_mem = '5MB'")
            backup = component.backup(old, "all", format="directory", jobs=2)
            assert backup.source["databases"] == ["one", "postgres", "template1", "two"]
            new.psql("DROP ROLE IF EXISTS app")
            # `CREATE ROLE postgres` fails in every cluster; psql goes on, as the manifest's line lets it.
            by_hand(component, backup, new, roles=True)
            for name in ("one", "two"):
                assert describe(new, name) == describe(old, name)
            secret = "SELECT rolpassword FROM pg_authid WHERE rolname = 'app'"
            assert new.value(secret) == old.value(secret)


class TestWhatIsStored:
    def test_details(self, pg18: EmbeddedPostgres, shop: Dataset, component: Component) -> None:
        backup = component.backup(pg18, shop.database)
        details = document(component, backup, "details")
        (one,) = details["databases"]
        assert one["name"] == shop.database
        assert one["owner"] == shop.owner
        assert (one["encoding"], one["locale_provider"], one["collate"]) == ("UTF8", "libc", "C.UTF-8")
        assert one["settings"] == ["search_path=app, public", "statement_timeout=10min"]
        assert one["role_settings"] == {shop.writer: ["work_mem=8MB"]}
        assert one["comment"] == "documents, and what was understood of them"
        assert {"grantor": shop.owner, "grantee": shop.reader, "privilege": "CONNECT", "grantable": False} in one["acl"]
        assert {extension["name"] for extension in one["extensions"]} == {"plpgsql", "vector"}
        assert set(shop.roles) < set(one["roles"])
        assert details["server"]["version_num"] == pg18.value("SELECT current_setting('server_version_num')::int")
        assert backup.source["server_version"] == details["server"]["version"]

    @pytest.mark.parametrize("level", ["counts", "digest"])
    def test_fingerprint(self, pg18: EmbeddedPostgres, shop: Dataset, component: Component, level: str) -> None:
        backup = component.backup(pg18, shop.database, fingerprint=level)
        assert backup.fingerprint == level
        tables = document(component, backup, "fingerprint")["databases"][shop.database]["tables"]
        query = "SELECT schemaname, tablename FROM pg_tables t JOIN pg_class c ON c.oid = format('%I.%I', schemaname,"
        query += " tablename)::regclass WHERE schemaname !~ '^(pg_|information)' AND relkind = 'r'"
        assert len(tables) == len(pg18.query(query, db=shop.database)) == 9
        for name, found in tables.items():
            assert found["rows"] == pg18.value(f"SELECT count(*) FROM ONLY {name}", db=shop.database)
            assert ("digest" in found) == (level == "digest")

    def test_none_and_estimate_claim_nothing(self, pg18: EmbeddedPostgres, shop: Dataset, component: Component) -> None:
        assert component.backup(pg18, shop.database, fingerprint="none").artefact("fingerprint") is None
        assert component.backup(pg18, shop.database, fingerprint="estimate").fingerprint == "estimate"

    def test_the_globals_hold_passwords_only_where_they_may_be_read(
        self, pg18: EmbeddedPostgres, database: Any, component: Component
    ) -> None:
        name = database(pg18)
        pg18.psql(f"CREATE ROLE \"{name} r\" LOGIN PASSWORD 'secret'")
        assert b"SCRAM-SHA-256" in stored(component, component.backup(pg18, name), "globals")
        weak = component.backup(pg18, name, login_user=f"{name} r")
        text = stored(component, weak, "globals")
        assert f'CREATE ROLE "{name} r"'.encode() in text
        assert b" PASSWORD " not in text
        assert weak.source["role_passwords"] is False
        assert any("without passwords" in warning for warning in weak.warnings)

    def test_nothing_stays_in_the_scratch_place(
        self, pg18: EmbeddedPostgres, shop: Dataset, component: Component
    ) -> None:
        component.backup(pg18, shop.database, format="directory", jobs=2)
        assert list(component.scratch.iterdir()) == []


class TestSelection:
    """Names mean what they are: wildcards outside quotes, no folding, partitions with their table."""

    @pytest.mark.parametrize(
        ("options", "tables"),
        [
            ({"schemas": ["app"]}, APP),
            ({"schemas": ["Är*"]}, {ODD_TABLE, "empty", "scratch"}),
            ({"exclude_schemas": [ARCHIVE]}, APP),
            ({"tables": ["app.events"]}, EVENTS),
            ({"tables": ["customers", '"Ärchiv & Co"."-Ödd ""table"" (\'s)"']}, {"customers", ODD_TABLE}),
            ({"schemas": ["app"], "exclude_tables": ["events", "d*"]}, {"customers"}),
        ],
    )
    def test_only_what_was_chosen(
        self,
        pg18: EmbeddedPostgres,
        shop: Dataset,
        component: Component,
        options: dict[str, Any],
        tables: set[str],
    ) -> None:
        backup = component.backup(pg18, shop.database, **options)
        found = document(component, backup, "fingerprint")["databases"][shop.database]["tables"]
        assert {name[1:-1].split('"."')[1].replace('""', '"') for name in found} == tables
        dump = pg18.home / f"{component.path.name}.dump"
        dump.write_bytes(stored(component, backup, "dump"))
        dump.chmod(0o644)
        listing = pg18.run("pg_restore", "--list", str(dump)).splitlines()
        dump.unlink()
        assert len([line for line in listing if " TABLE DATA " in line]) == len(tables)
        partial = document(component, backup, "details")["databases"][0]["partial"]
        assert partial == bool({"schemas", "tables"} & set(options))

    def test_rows_left_out_are_not_expected_either(
        self, pg18: EmbeddedPostgres, shop: Dataset, component: Component
    ) -> None:
        backup = component.backup(pg18, shop.database, exclude_table_data=["app.events*"])
        pg18.drop_database(shop.database)
        by_hand(component, backup, pg18)
        assert pg18.value("SELECT count(*) FROM app.events", db=shop.database) == 0
        assert pg18.value("SELECT count(*) FROM app.documents", db=shop.database) > 0
        assert "events" not in json.dumps(
            document(component, backup, "fingerprint")["databases"][shop.database]["tables"]
        )

    def test_what_does_not_exist_is_refused(self, pg18: EmbeddedPostgres, shop: Dataset, component: Component) -> None:
        for options in ({"schemas": ["App"]}, {"tables": ["app.nothing"]}, {"tables": ["app.EVENTS"]}):
            with pytest.raises(NotFound, match=next(iter(options))):
                component.backup(pg18, shop.database, **options)
        with component.engine(pg18, database=shop.database, exclude_tables=["app.nothing"]) as engine:
            assert any("app.nothing" in warning for warning in engine.plan_backup().warnings)

    @pytest.mark.parametrize(
        "options",
        [
            {"tables": ["a"], "schemas": ["b"]},
            {"tables": ["a.b.c"]},
            {"schemas": ['"open']},
            {"schemas": [""]},
            {"jobs": 2},
            {"jobs": 0},
            {"scratch_limit": "much", "format": "directory"},
            {"lock_wait_timeout": -1},
        ],
    )
    def test_options_that_cannot_be_right(
        self, pg18: EmbeddedPostgres, component: Component, options: dict[str, Any]
    ) -> None:
        with pytest.raises(InvalidOption), component.engine(pg18, database="postgres", **options) as engine:
            engine.plan_backup()


class TestPreflight:
    """What can be known to fail fails before anything is stored."""

    def plan(self, component: Component, server: EmbeddedPostgres, **options: Any) -> None:
        with component.engine(server, **options) as engine:
            engine.plan_backup()

    def test_a_missing_database_and_those_there_are(self, pg18: EmbeddedPostgres, component: Component) -> None:
        with pytest.raises(NotFound, match="no database 'nowhere'"):
            self.plan(component, pg18, databases=["postgres", "nowhere"])

    def test_neither_or_both_of_database_and_databases(self, pg18: EmbeddedPostgres, component: Component) -> None:
        with pytest.raises(InvalidOption, match="database"):
            self.plan(component, pg18)
        with pytest.raises(InvalidOption, match="database"):
            self.plan(component, pg18, database="a", databases=["b"])

    def test_tools_older_than_the_server(
        self, pg16: EmbeddedPostgres, pg18: EmbeddedPostgres, component: Component
    ) -> None:
        with pytest.raises(VersionMismatch, match="pg_dump 16"):
            self.plan(component, pg18, database="postgres", bin_dir=str(pg16.bin_dir))

    @pytest.mark.parametrize(
        ("make", "text"),
        [
            ("CREATE TABLE hidden (n int)", "hidden"),
            ("CREATE SEQUENCE hidden", "hidden"),
            ("CREATE SCHEMA hidden CREATE TABLE t (n int)", "hidden"),
            ("SELECT lo_create(0)", "large objects"),
        ],
    )
    def test_what_the_role_may_not_read(
        self, pg18: EmbeddedPostgres, database: Any, component: Component, make: str, text: str
    ) -> None:
        name = database(pg18)
        pg18.psql(f'CREATE ROLE "{name} weak" LOGIN; {make}', db=name)
        with pytest.raises(PermissionDenied, match=text):
            self.plan(component, pg18, database=name, login_user=f"{name} weak")

    def test_row_security_is_never_obeyed_in_silence(
        self, pg18: EmbeddedPostgres, database: Any, component: Component
    ) -> None:
        name = database(pg18)
        pg18.psql(
            f'CREATE ROLE "{name} weak" LOGIN; CREATE TABLE secured (n int); INSERT INTO secured VALUES (1);'
            f'ALTER TABLE secured ENABLE ROW LEVEL SECURITY; GRANT SELECT ON secured TO "{name} weak"',
            db=name,
        )
        with pytest.raises(PermissionDenied, match="Row security"):
            self.plan(component, pg18, database=name, login_user=f"{name} weak")
        assert component.backup(pg18, name, login_user="postgres").artefact("dump") is not None

    def test_a_setting_that_makes_us_another_role_is_named_with_the_way_out(
        self, pg18: EmbeddedPostgres, database: Any, component: Component
    ) -> None:
        name = database(pg18)
        pg18.psql(
            f"CREATE ROLE \"{name} weak\"; CREATE TABLE hidden (n int); ALTER DATABASE {name} SET role = '{name} weak'",
            db=name,
        )
        with pytest.raises(PermissionDenied, match=f"makes the sessions of 'postgres' act as '{name} weak'") as refused:
            self.plan(component, pg18, database=name)
        way_out = str(refused.value.hint).partition(": ")[2].rstrip(".")
        assert way_out.startswith("ALTER ROLE")
        pg18.psql(way_out)
        component.backup(pg18, name)
        result = component.restore(pg18, confirm=name, keep_previous=False)
        assert result.proof is not None
        assert result.proof.proved
        settings = "SELECT setrole::regrole::text, setconfig FROM pg_db_role_setting JOIN pg_database d ON d.oid ="
        assert sorted(pg18.query(f"{settings} setdatabase WHERE datname = '{name}'")) == [
            ("-", [f"role={name} weak"]),
            ("postgres", ["role=none"]),
        ]

    def test_databases_that_cannot_be_dumped_are_left_out_with_a_warning(
        self, pg18: EmbeddedPostgres, database: Any, component: Component
    ) -> None:
        name = database(pg18)
        pg18.psql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        with component.engine(pg18, databases=["all"]) as engine:
            plan = engine.plan_backup()
        assert any(name in warning for warning in plan.warnings)
        assert not any(name in line for line in plan.summary)
        pg18.psql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


class TestModule:
    def parameters(self, server: EmbeddedPostgres, path: Path, **more: Any) -> dict[str, Any]:
        path.chmod(0o755)
        return {
            **login(server),
            "component": NAME,
            "state_dir": str(path / "state"),
            "scratch_dir": str(path / "scratch"),
            "repositories": [{"name": "disk", "type": "local", "path": str(path / "disk")}],
            **more,
        }

    def test_check_mode_tells_everything_and_does_nothing(
        self, pg18: EmbeddedPostgres, shop: Dataset, tmp_path: Path
    ) -> None:
        wanted = self.parameters(pg18, tmp_path, database=shop.database)
        result = run_module("postgresql_backup", wanted, check=True, diff=True)
        assert result["changed"], result
        assert "9 tables" in result["plan"][-1]
        assert result["expected_bytes"] > 0
        assert result["diff"]["after"].splitlines() == result["plan"]
        assert not list(tmp_path.rglob("*.json"))

    def test_max_age_makes_it_idempotent(self, pg18: EmbeddedPostgres, database: Any, tmp_path: Path) -> None:
        wanted = self.parameters(pg18, tmp_path, database=database(pg18), max_age="1h")
        first, second = run_module("postgresql_backup", wanted), run_module("postgresql_backup", wanted)
        assert (first["changed"], second["changed"]) == (True, False), (first, second)
        other = run_module("postgresql_backup", {**wanted, "fingerprint": "digest"})
        assert other["changed"]

    @pytest.mark.parametrize("options", BOTH, ids=["custom", "directory"])
    def test_no_process_and_no_output_shows_the_password(
        self, pg18: EmbeddedPostgres, shop: Dataset, tmp_path: Path, options: dict[str, Any]
    ) -> None:
        wanted = self.parameters(pg18, tmp_path, database=shop.database, fingerprint="digest", **options)
        del wanted["login_unix_socket"]
        wanted.update(login_host="127.0.0.1", login_password=pg18.password)
        with ProcessWatch() as seen:
            result = run_module("postgresql_backup", wanted)
        assert result["changed"], result
        assert not seen.holding(pg18.password)
        assert pg18.password not in json.dumps(result)
        for path in tmp_path.rglob("*"):
            assert not path.is_file() or pg18.password.encode() not in path.read_bytes()

    def test_a_failure_says_what_where_and_what_next(
        self, pg18: EmbeddedPostgres, tmp_path: Path, database: Any
    ) -> None:
        result = run_module("postgresql_backup", self.parameters(pg18, tmp_path, database="nowhere"))
        assert result["failed"]
        assert (result["error_code"], result["stage"]) == ("not_found", "preflight")
        assert result["hint"]
        assert result["left_behind"] == "nothing"


class TestDirectoryFormat:
    def test_scratch_is_bounded_by_stopping_pg_dump(
        self,
        pg18: EmbeddedPostgres,
        database: Any,
        component: Component,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        name = database(pg18)
        for number in range(12):
            pg18.psql(
                f"CREATE TABLE t{number} AS SELECT g, repeat(md5(g::text), 30) FROM generate_series(1, 4000) g", db=name
            )
        seen: list[_directory.Watermark] = []
        most: list[int] = []
        real = _directory.finished_files

        def watched(directory: _directory.Directory, process: Any) -> Any:
            most.append(sum(file.size for file in directory.listing()))
            return real(directory, process)

        class Seen(_directory.Watermark):
            def __init__(self, *arguments: Any) -> None:
                super().__init__(*arguments)
                seen.append(self)

        monkeypatch.setattr(_directory, "POLL", 0.002)
        monkeypatch.setattr(_directory, "Watermark", Seen)
        monkeypatch.setattr(_directory, "finished_files", watched)
        backup = component.backup(pg18, name, format="directory", jobs=1, scratch_limit="9MB")
        (watermark,) = seen
        assert watermark.stops > 0
        assert max(most) < 45_000_000  # of 48 MB in all
        pg18.drop_database(name)
        by_hand(component, backup, pg18)
        assert [pg18.value(f"SELECT count(*) FROM t{number}", db=name) for number in range(12)] == [4000] * 12

    def test_a_table_larger_than_the_limit_goes_through_with_a_warning(
        self, pg18: EmbeddedPostgres, database: Any, component: Component, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name = database(pg18)
        pg18.psql("CREATE TABLE t AS SELECT g, repeat(md5(g::text), 60) FROM generate_series(1, 20000) g", db=name)
        monkeypatch.setattr(_directory, "POLL", 0.002)
        backup = component.backup(pg18, name, format="directory", jobs=2, scratch_limit="100KB")
        assert any("scratch_limit" in warning for warning in backup.warnings)
        pg18.drop_database(name)
        by_hand(component, backup, pg18)
        assert pg18.value("SELECT count(*) FROM t", db=name) == 20000
