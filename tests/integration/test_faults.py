# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults, end to end: real modules as processes, a real PostgreSQL, a real object store, and what breaks between them.

Every test asks the store and the server themselves what is there: our own report counts for nothing here.
"""

from __future__ import annotations

import hashlib
import json
import signal
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from ansible_collections.holdfast.ops.tests.support.disks import NEEDS_ROOT, is_root, small_disk
from ansible_collections.holdfast.ops.tests.support.modules import RunningModule, run_module, wait_for_stage
from ansible_collections.holdfast.ops.tests.support.postgres import EmbeddedPostgres
from ansible_collections.holdfast.ops.tests.support.procwatch import ProcessWatch
from ansible_collections.holdfast.ops.tests.support.proxy import FaultyProxy
from ansible_collections.holdfast.ops.tests.support.seaweed import SeaweedFS
from ansible_collections.holdfast.ops.tests.support.servers import wait_until

ROWS = 40_000
"""Enough for several parts of an upload, and long enough to be hit in the middle."""


class Shop:
    """A database of some size, and how the modules reach it and its repositories."""

    def __init__(self, server: EmbeddedPostgres, database: str, store: SeaweedFS, bucket: str, path: Path) -> None:
        self.server, self.database, self.store, self.bucket, self.path = server, database, store, bucket, path
        self.endpoint = store.endpoint

    def s3(self, **options: Any) -> dict[str, Any]:
        keys = {"access_key": self.store.admin.access_key, "secret_key": self.store.admin.secret_key}
        where = {"endpoint_url": self.endpoint, "bucket": self.bucket, "region": self.store.region}
        quick = {"connect_timeout": 2, "read_timeout": 3, "stall_timeout": 6, "retries": 1, "part_size": "5MiB"}
        return {"name": "s3", "type": "s3", "prefix": "p", **where, **keys, **quick, **options}

    def local(self, path: Path | None = None) -> dict[str, Any]:
        return {"name": "disk", "type": "local", "path": str(path or self.path / "disk")}

    def options(self, *repositories: dict[str, Any], **more: Any) -> dict[str, Any]:
        return {
            "component": "shop",
            "database": self.database,
            "login_unix_socket": str(self.server.socket_dir),
            "login_port": self.server.port,
            "login_user": "postgres",
            "bin_dir": str(self.server.bin_dir),
            "repositories": list(repositories or [self.s3()]),
            "state_dir": str(self.path / "state"),
            "progress_file": str(self.path / "progress"),
            **more,
        }

    def start(self, verb: str, *repositories: dict[str, Any], **more: Any) -> RunningModule:
        return RunningModule(f"postgresql_{verb}", self.options(*repositories, **more))

    def backup(self, *repositories: dict[str, Any], **more: Any) -> dict[str, Any]:
        return run_module("postgresql_backup", self.options(*repositories, **more))

    def committed(self) -> list[dict[str, Any]]:
        """Manifests in the bucket; every object that they name is read and hashed."""
        keys = set(self.store.keys(self.bucket))
        found = []
        for key in sorted(keys):
            if key.startswith("p/shop/manifests/"):
                manifest = json.loads(self.store.get(self.bucket, key))
                for artefact in manifest["artefacts"]:
                    for part in artefact["objects"]:
                        data = self.store.get(self.bucket, "p/shop/" + part["key"])
                        assert hashlib.sha256(data).hexdigest() == part["sha256"]
                        if artefact["compression"] == "zstd" and artefact["encryption"] == "none":
                            zstandard.ZstdDecompressor().decompressobj().decompress(data)
                found.append(manifest)
        return found

    def sessions(self) -> int:
        """Connections of ours to this test's databases that the server still has."""
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name ~ '^(holdfast|pg_)' AND datname LIKE %s"
        return int(self.server.value(query, parameters=(self.database + "%",)))

    def rows(self, database: str | None = None) -> tuple[int, str]:
        query = "SELECT count(*), md5(string_agg(md5(noise), '' ORDER BY id)) FROM orders"
        return self.server.query(query, db=database or self.database)[0]  # type: ignore[return-value]


def fill(server: EmbeddedPostgres, database: str) -> None:
    """Fill a database with rows of a kilobyte that does not compress."""
    server.psql(
        "CREATE TABLE orders (id int PRIMARY KEY, noise bytea);"
        "ALTER TABLE orders ALTER noise SET STORAGE EXTERNAL;"
        "INSERT INTO orders SELECT g, (SELECT string_agg(sha256((g * 32 + i)::text::bytea), ''::bytea)"
        f" FROM generate_series(1, 32) i) FROM generate_series(1, {ROWS}) g",
        db=database,
    )


@pytest.fixture(scope="module")
def template(pg16: EmbeddedPostgres) -> Iterator[str]:
    """A filled database that every test gets a copy of."""
    pg16.create_database("faults template")
    fill(pg16, "faults template")
    yield "faults template"
    pg16.drop_database("faults template")


@pytest.fixture
def shop(pg16: EmbeddedPostgres, template: str, seaweed: SeaweedFS, bucket: str, tmp_path: Path) -> Iterator[Shop]:
    name = f"faults_{uuid.uuid4().hex[:12]}"
    pg16.create_database(name, f'TEMPLATE "{template}"')
    yield Shop(pg16, name, seaweed, bucket, tmp_path)
    pg16.drop_with_offspring(name)


def no_tool_is_left(shop: Shop) -> None:
    """No session of ours outlives the module, and so no pg_dump or pg_restore either: each has one."""
    wait_until(lambda: shop.sessions() == 0, "our sessions on the server to end", 20)


class TestKilled:
    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
    @pytest.mark.parametrize("stage", ["preflight", "dump", "commit"])
    def test_a_backup_is_whole_or_not_there(self, shop: Shop, stage: str, number: signal.Signals) -> None:
        running = shop.start("backup")
        wait_for_stage(shop.path / "progress", stage, running, done=8_000_000 if stage == "dump" else 0)
        running.signal(number)
        result = running.result()
        if number == signal.SIGTERM and result["rc"] == 1:
            assert result["error_code"] == "interrupted", result
            assert shop.store.keys(shop.bucket, "p/shop/data/") == []
        before = len(shop.committed())
        assert before == (1 if result["rc"] == 0 else 0) or stage == "commit"
        no_tool_is_left(shop)

        again = shop.backup()
        assert not again.get("failed"), again
        assert len(shop.committed()) == before + 1

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
    def test_a_restore_leaves_the_live_database_alone(self, shop: Shop, number: signal.Signals) -> None:
        assert not shop.backup().get("failed")
        before = shop.rows()
        shop.server.psql("CREATE TABLE since_then (x int)", db=shop.database)
        running = shop.start("restore", confirm=shop.database)
        wait_for_stage(shop.path / "progress", "restore", running, done=4_000_000)
        running.signal(number)
        result = running.result()
        assert result["rc"] != 0
        no_tool_is_left(shop)
        assert shop.rows() == before
        assert shop.server.value("SELECT count(*) FROM since_then", db=shop.database) == 0

        again = run_module("postgresql_restore", shop.options(confirm=shop.database, keep_previous=False))
        assert not again.get("failed"), again
        assert again["proof"]["proved"], again
        assert shop.rows() == before
        assert shop.server.value("SELECT to_regclass('since_then')", db=shop.database) is None
        leftovers = [name for name in shop.server.databases() if name != shop.database and shop.database in name]
        assert leftovers == []


class TestStoreFails:
    def test_gone_in_the_middle_nothing_is_committed(self, shop: Shop) -> None:
        with FaultyProxy.before(shop.store.endpoint) as proxy:
            shop.endpoint = proxy.endpoint
            running = shop.start("backup")
            wait_for_stage(shop.path / "progress", "dump", running, done=8_000_000)
            proxy.faults.refuse = True
            proxy.cut()
            result = running.result()
        assert result["failed"]
        assert result["error_code"] in ("unavailable", "timeout")
        assert shop.committed() == []
        no_tool_is_left(shop)

    def test_a_socket_that_hangs_ends_in_time(self, shop: Shop) -> None:
        with FaultyProxy.before(shop.store.endpoint) as proxy:
            shop.endpoint = proxy.endpoint
            proxy.faults.stall_after = 6_000_000
            result = shop.backup()
        assert result["failed"]
        assert result["error_code"] in ("unavailable", "timeout"), result
        assert shop.committed() == []
        no_tool_is_left(shop)

    def test_the_other_repository_gets_its_copy_all_the_same(self, shop: Shop) -> None:
        with FaultyProxy.before(shop.store.endpoint) as proxy:
            shop.endpoint = proxy.endpoint
            proxy.faults.cut_after = 6_000_000
            result = shop.backup(shop.s3(), shop.local())
        assert result["failed"]
        assert result["error_code"] == "degraded"
        assert result.get("repositories") == ["disk"], result["msg"]
        assert list(result["missing"]) == ["s3"]
        assert shop.committed() == []
        assert len(list((shop.path / "disk").rglob("manifests/*.json"))) == 1
        proved = run_module("postgresql_restore", shop.options(shop.local(), target_database=shop.database + "_copy"))
        assert proved["proof"]["proved"], proved
        assert shop.rows(shop.database + "_copy") == shop.rows()

    @pytest.mark.parametrize(
        ("options", "code", "words"),
        [
            ({"secret_key": "wrong-secret"}, "authentication_failed", "secret"),
            ({"bucket": "no-such-bucket"}, "not_found", "no-such-bucket"),
            ({"endpoint_url": "http://127.0.0.1:9"}, "unavailable", "127.0.0.1:9"),
        ],
    )
    def test_bad_input_is_one_sentence(self, shop: Shop, options: dict[str, str], code: str, words: str) -> None:
        result = shop.backup(shop.s3(**options))
        assert result["failed"]
        assert (result["error_code"], result["changed"]) == (code, False), result
        assert words in result["msg"]
        assert "wrong-secret" not in json.dumps(result)
        assert shop.store.keys(shop.bucket) == []


class TestDatabaseFails:
    def test_the_server_dies_in_the_middle(self, shop: Shop, tmp_path: Path) -> None:
        with EmbeddedPostgres(16) as server:
            server.create_database("shop")
            fill(server, "shop")
            dying = Shop(server, "shop", shop.store, shop.bucket, tmp_path)
            running = dying.start("backup")
            wait_for_stage(tmp_path / "progress", "dump", running, done=8_000_000)
            server.stop(signal.SIGQUIT)
            result = running.result()
            assert result["failed"]
            assert result["error_code"] in ("tool_failed", "unavailable"), result
            assert shop.committed() == []
            server.start()
            assert not dying.backup().get("failed")
        assert len(shop.committed()) == 1

    @pytest.mark.parametrize(
        ("options", "code", "words"),
        [
            ({"database": "no such database"}, "not_found", "no such database"),
            ({"login_user": "nobody_here"}, "authentication_failed", "nobody_here"),
            ({"login_unix_socket": "/nowhere"}, "unavailable", "/nowhere"),
        ],
    )
    def test_bad_input_is_one_sentence(self, shop: Shop, options: dict[str, str], code: str, words: str) -> None:
        result = shop.backup(**options)
        assert result["failed"]
        assert (result["error_code"], result["changed"]) == (code, False), result
        assert words in result["msg"]
        assert shop.store.keys(shop.bucket, "p/shop/manifests") == []

    def test_a_client_older_than_the_server(self, shop: Shop, pg18: EmbeddedPostgres) -> None:
        result = shop.backup(database="postgres", login_unix_socket=str(pg18.socket_dir), login_port=pg18.port)
        assert result["error_code"] == "version_mismatch", result
        assert "16" in result["msg"] and "18" in result["msg"]
        assert shop.store.keys(shop.bucket) == []


@pytest.mark.privileged
@pytest.mark.skipif(not is_root(), reason=NEEDS_ROOT)
class TestFullDisks:
    def test_the_repository_fills_up(self, shop: Shop) -> None:
        with small_disk(shop.path / "small", megabytes=84) as disk:
            (disk / "ballast").write_bytes(bytes(48 << 20))
            result = shop.backup(shop.local(disk), compression={"method": "none"})
            assert result["error_code"] == "disk_full", result
            assert [p.name for p in disk.rglob("*") if p.is_file()] == ["ballast"]

    def test_the_scratch_fills_up(self, shop: Shop) -> None:
        with small_disk(shop.path / "small", megabytes=8) as disk:
            disk.chmod(0o755)
            result = shop.backup(format="directory", jobs=2, scratch_dir=str(disk))
            assert result["failed"]
            assert result["error_code"] == "disk_full", result
            assert [p for p in disk.rglob("*") if p.is_file()] == []
        assert shop.committed() == []
        no_tool_is_left(shop)


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


class TestDamage:
    """A byte flipped, an artefact cut or missing: verification and restore say which, and touch nothing."""

    @pytest.mark.parametrize(
        ("damage", "words"),
        [
            (
                lambda data: data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :],
                "SHA-256",
            ),
            (lambda data: data[:-100], "truncated"),
            (None, "missing"),
        ],
    )
    def test_it_is_caught_and_named(self, shop: Shop, damage: Callable[[bytes], bytes] | None, words: str) -> None:
        assert not shop.backup().get("failed")
        before = shop.rows()
        key = next(k for k in shop.store.keys(shop.bucket, "p/shop/data/") if ".dump" in k)
        data = shop.store.get(shop.bucket, key)
        if damage is None:
            shop.store.client().delete_object(Bucket=shop.bucket, Key=key)
        else:
            shop.store.client().put_object(Bucket=shop.bucket, Key=key, Body=damage(data))
        name = key.removeprefix("p/shop/")

        options = {k: v for k, v in shop.options().items() if k in ("component", "repositories", "state_dir")}
        verified = run_module("backup_verify", {**options, "level": "checksum"})
        assert verified["failed"]
        assert name in json.dumps(verified)

        result = run_module("postgresql_restore", shop.options(confirm=shop.database))
        assert result["failed"]
        assert result["error_code"] == "corrupted", result
        assert name in result["msg"]
        assert words in result["msg"]
        assert shop.rows() == before
        assert [n for n in shop.server.databases() if n != shop.database and shop.database in n] == []


class TestSecrets:
    def test_none_in_argv_environment_output_or_stored_files(self, shop: Shop) -> None:
        password, store_secret = shop.server.password, shop.store.admin.secret_key
        tcp = {"login_unix_socket": None, "login_host": "127.0.0.1", "login_password": password}
        history = {
            "host": "127.0.0.1",
            "port": shop.server.port,
            "user": "postgres",
            "password": password,
            "database": shop.database,
        }
        results = []
        with ProcessWatch() as seen:
            results.append(shop.backup(shop.s3(), shop.local(), history=history, **tcp))
            results.append(
                run_module(
                    "postgresql_restore",
                    shop.options(target_database=shop.database + "_copy", **tcp),
                )
            )
            results.append(shop.backup(**{**tcp, "login_password": "not-the-" + password}))
        assert [bool(result.get("failed")) for result in results] == [False, False, True], results
        assert results[2]["error_code"] == "authentication_failed"
        assert {"pg_dump", "pg_restore"} <= seen.programs()
        assert seen.holding(password, store_secret) == []
        for result in results:
            # Ansible itself replaces registered secrets, so look at what it had to replace as well
            text = json.dumps({k: v for k, v in result.items() if k != "invocation"})
            assert password not in text
            assert store_secret not in text
        stored = b"".join(p.read_bytes() for p in shop.path.rglob("*") if p.is_file() and ".dump" not in p.name)
        assert password.encode() not in stored
        assert store_secret.encode() not in stored
        assert shop.server.value("SELECT count(*) FROM backup_history WHERE status = 'success'", db=shop.database) == 1
