# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A restore that fails, in whatever way, leaves the server as it was, or the next one cleans up after it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from ansible_collections.holdfast.ops.plugins.module_utils._engines._pg._preflight import check_extensions, check_locale
from ansible_collections.holdfast.ops.plugins.module_utils._engines._pg._server import Server
from ansible_collections.holdfast.ops.plugins.module_utils._errors import (
    Corrupted,
    DiskFull,
    HoldfastError,
    NotFound,
    NotProved,
    Unavailable,
    Unsupported,
    VersionMismatch,
)
from ansible_collections.holdfast.ops.plugins.module_utils._operations._restore import RestoreSettings, restore
from ansible_collections.holdfast.ops.plugins.module_utils._progress import Progress
from ansible_collections.holdfast.ops.tests.support.component import NAME, Component, login
from ansible_collections.holdfast.ops.tests.support.disks import NEEDS_ROOT, is_root, small_disk
from ansible_collections.holdfast.ops.tests.support.postgres import EmbeddedPostgres

ROWS = 20_000


class Stages(Progress):
    """Calls somebody when a stage begins, or when bytes have passed in it."""

    def __init__(self, stage: str, act: Callable[[], None], after: int = 0) -> None:
        super().__init__()
        self._at, self._act, self._after = stage, act, after

    def stage(self, name: str, total: int | None = None) -> None:
        super().stage(name, total)
        self._maybe()

    def add(self, size: int) -> None:
        super().add(size)
        self._maybe()

    def _maybe(self) -> None:
        if self.name == self._at and self.done >= self._after:
            self._at = ""
            self._act()


@pytest.fixture
def component(tmp_path: Path) -> Iterator[Component]:
    with contextlib.closing(Component(tmp_path)) as one:
        yield one


@pytest.fixture
def shop(pg16: EmbeddedPostgres, database: Any) -> str:
    name = database(pg16)
    fill(pg16, name)
    return str(name)


def fill(server: EmbeddedPostgres, name: str) -> None:
    server.psql(
        f'CREATE ROLE "{name} owner"; CREATE TABLE t (id int PRIMARY KEY, noise text);'
        f"INSERT INTO t SELECT g, repeat(md5(g::text), 12) FROM generate_series(1, {ROWS}) g;"
        f'ALTER TABLE t OWNER TO "{name} owner"',
        db=name,
    )


def state(server: EmbeddedPostgres) -> list[tuple[Any, ...]]:
    """Databases by OID and roles: equal means that none was made, dropped or renamed."""
    databases = server.query("SELECT oid, datname, datallowconn FROM pg_database ORDER BY oid")
    return databases + server.query("SELECT oid, rolname, true FROM pg_roles ORDER BY oid")


def restoring(component: Component, server: EmbeddedPostgres, progress: Progress, confirm: str) -> Any:
    with component.engine(server) as engine:
        settings = RestoreSettings(NAME, component.place.state_dir, confirm=confirm)
        return restore(engine, component.repositories, settings, progress)


def rewrite(component: Component, kind: str, change: Callable[[bytes], bytes]) -> None:
    """Change a stored artefact and its manifest, as if it had been written so."""
    path, manifest = component.stored(kind), component.manifest()
    data = zstandard.ZstdCompressor().compress(
        change(zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes()))
    )
    path.write_bytes(data)
    document = json.loads(manifest.read_text())
    for artefact in document["artefacts"]:
        if artefact["kind"] == kind:
            digest = hashlib.sha256(data).hexdigest()
            artefact.update(size=len(data), sha256=digest)
            artefact["objects"][0].update(size=len(data), sha256=digest)
    manifest.write_text(json.dumps(document))


class TestDamage:
    @pytest.mark.parametrize("compression", ["zstd", "none"])
    @pytest.mark.parametrize("where", [0.001, 0.5, 0.999])
    def test_a_flipped_byte(
        self, pg16: EmbeddedPostgres, shop: str, component: Component, compression: str, where: float
    ) -> None:
        component.compression = compression
        component.backup(pg16, shop)
        path = component.stored("dump")
        data = bytearray(path.read_bytes())
        data[int(len(data) * where)] ^= 0x40
        path.write_bytes(data)
        before = state(pg16)
        with pytest.raises(Corrupted, match=path.name):
            component.restore(pg16, confirm=shop)
        assert state(pg16) == before
        with pytest.raises(Corrupted, match=path.name):
            component.verify_archive(pg16)

    @pytest.mark.parametrize("kind", ["dump", "globals", "details", "fingerprint"])
    @pytest.mark.parametrize("how", ["truncated", "missing"])
    def test_a_part_that_is_not_whole(
        self, pg16: EmbeddedPostgres, shop: str, component: Component, kind: str, how: str
    ) -> None:
        component.backup(pg16, shop)
        path = component.stored(kind)
        if how == "missing":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:-20])
        before = state(pg16)
        with pytest.raises(Corrupted, match=path.name):
            component.restore(pg16, confirm=shop)
        assert state(pg16) == before
        with pytest.raises(Corrupted, match=path.name):
            component.verify_archive(pg16)

    def test_an_archive_that_was_cut_before_it_was_stored(
        self, pg16: EmbeddedPostgres, shop: str, component: Component
    ) -> None:
        component.backup(pg16, shop)
        rewrite(component, "dump", lambda data: data[: len(data) // 2])
        before = state(pg16)
        with pytest.raises(HoldfastError, match="pg_restore"):
            component.restore(pg16, confirm=shop)
        assert state(pg16) == before
        with pytest.raises(Corrupted, match="pg_restore cannot read"):
            component.verify_archive(pg16)

    @pytest.mark.parametrize("cut", ["CREATE ROLE", "ALTER ROLE", "'SCRAM"])
    def test_globals_that_break_off(self, pg16: EmbeddedPostgres, shop: str, component: Component, cut: str) -> None:
        component.backup(pg16, shop)
        rewrite(component, "globals", lambda data: data[: data.index(cut.encode()) + len(cut)])
        with pytest.raises(Corrupted, match="roles breaks off"):
            component.verify_archive(pg16)

    def test_rows_that_do_not_match_the_fingerprint(
        self, pg16: EmbeddedPostgres, shop: str, component: Component
    ) -> None:
        component.backup(pg16, shop)
        rewrite(component, "fingerprint", lambda data: data.replace(str(ROWS).encode(), str(ROWS + 1).encode()))
        before = state(pg16)
        with pytest.raises(NotProved) as error:
            component.restore(pg16, confirm=shop)
        assert str(ROWS + 1) in str(error.value)
        assert state(pg16) == before
        proof = component.verify_restore(None, bin_dir=str(pg16.bin_dir), run_as=pg16.user)
        assert not proof.proved
        assert len(proof.differences) == 1

    def test_a_file_missing_in_a_directory(self, pg16: EmbeddedPostgres, shop: str, component: Component) -> None:
        component.backup(pg16, shop, format="directory")
        assert component.verify_archive(pg16)["databases"][shop]["entries"] > 3
        rewrite(component, "directory", _without_rows)
        with pytest.raises(Corrupted, match="lacks the rows"):
            component.verify_archive(pg16)


def _without_rows(data: bytes) -> bytes:
    import io
    import tarfile

    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(data)) as old, tarfile.open(fileobj=out, mode="w") as new:
        for member in old:
            if not member.name.endswith(".dat") or member.name == "toc.dat":
                new.addfile(member, old.extractfile(member))
    return out.getvalue()


class TestFailures:
    def test_pg_restore_failing_midway(
        self, pg16: EmbeddedPostgres, clean: Any, shop: str, component: Component
    ) -> None:
        pg16.psql(
            "CREATE FUNCTION fine() RETURNS bool LANGUAGE plpgsql AS 'BEGIN RETURN true; END';"
            "CREATE TABLE zz (x int CHECK (public.fine())); INSERT INTO zz VALUES (1);"
            "CREATE OR REPLACE FUNCTION fine() RETURNS bool LANGUAGE plpgsql AS 'BEGIN RAISE ''not today''; END'",
            db=shop,
        )
        component.backup(pg16, shop)
        for server in (pg16, clean):  # with roles that were there, and with roles that had to be made
            before = state(server)
            with pytest.raises(HoldfastError, match="not today") as error:
                component.restore(server, confirm=shop)
            assert error.value.result()["left_behind"] == "nothing"
            assert error.value.stage == "restore"
            assert state(server) == before

    def test_the_server_crashes_in_the_middle(self, component: Component) -> None:
        with EmbeddedPostgres(16) as server:
            server.create_database("shop")
            fill(server, "shop")
            component.backup(server, "shop")
            before = state(server)

            def crash() -> None:
                server.stop(signal.SIGQUIT)
                server.start()

            with pytest.raises(HoldfastError):
                restoring(component, server, Stages("restore", crash, after=100_000), "shop")
            assert state(server) == before
            component.restore(server, confirm="shop")
            assert server.value("SELECT count(*) FROM t", db="shop") == ROWS

    @pytest.mark.parametrize("stage", ["restore", "analyze", "prove", "swap"])
    def test_an_interruption(self, pg16: EmbeddedPostgres, shop: str, component: Component, stage: str) -> None:
        component.backup(pg16, shop)
        before = state(pg16)

        def interrupt() -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            restoring(component, pg16, Stages(stage, interrupt), shop)
        assert state(pg16) == before
        assert pg16.value("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'holdfast:%'") == 0

    def test_a_swap_whose_answer_is_lost_is_told(
        self, pg16: EmbeddedPostgres, shop: str, component: Component, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from ansible_collections.holdfast.ops.plugins.module_utils._engines._pg import _restore, _swap

        def lost(*arguments: Any) -> None:
            _swap.swap(*arguments)
            raise Unavailable("The connection to the PostgreSQL server was lost.")

        component.backup(pg16, shop)
        pg16.psql("TRUNCATE t", db=shop)
        monkeypatch.setattr(_restore, "swap", lost)
        with pytest.raises(Unavailable) as error:
            component.restore(pg16, confirm=shop)
        assert "in place" in error.value.result()["left_behind"]
        assert pg16.value("SELECT count(*) FROM t", db=shop) == ROWS

    @pytest.mark.skipif(not is_root(), reason=NEEDS_ROOT)
    @pytest.mark.privileged
    def test_the_servers_disk_is_full(self, component: Component) -> None:
        with EmbeddedPostgres(16) as server, small_disk(server.home / "small", 24) as disk:
            place = disk / "space"
            place.mkdir(mode=0o700)
            shutil.chown(place, server.user)
            server.psql(f"CREATE TABLESPACE small LOCATION '{place}'")
            with server.connect() as connection:
                connection.execute("CREATE DATABASE shop TABLESPACE small")
            fill(server, "shop")
            server.psql("CHECKPOINT")  # on a file system with holes, its pages take their room only now
            component.backup(server, "shop")
            before = state(server)
            with pytest.raises(DiskFull) as error:
                component.restore(server, confirm="shop")
            assert error.value.stage in {"create", "restore", "analyze"}
            assert error.value.result()["left_behind"] == "nothing"
            assert state(server) == before
            assert server.value("SELECT count(*) FROM t", db="shop") == ROWS

    @pytest.mark.skipif(not is_root(), reason=NEEDS_ROOT)
    @pytest.mark.privileged
    def test_the_scratch_places_disk_is_full(self, pg16: EmbeddedPostgres, shop: str, component: Component) -> None:
        component.backup(pg16, shop)
        component.scratch.mkdir()
        with small_disk(component.scratch, 20):
            with pytest.raises(DiskFull, match="scratch cluster"):
                component.verify_restore(None, bin_dir=str(pg16.bin_dir), run_as=pg16.user)
            assert list(component.scratch.iterdir()) == []


@pytest.fixture
def clean(pg18: EmbeddedPostgres) -> EmbeddedPostgres:
    return pg18


# A restore in a process of its own, that is killed when it has come to a stage.
_CHILD = """
import dataclasses, json, os, signal, sys
from pathlib import Path
from ansible_collections.holdfast.ops.tests.support.component import NAME, Component
from ansible_collections.holdfast.ops.plugins.module_utils._engines._postgresql import PostgresqlEngine
from ansible_collections.holdfast.ops.plugins.module_utils._operations._restore import (
    RestoreSettings, Reading, open_backup, restore)
from ansible_collections.holdfast.ops.plugins.module_utils._stream._codec import Identity
from ansible_collections.holdfast.ops.plugins.module_utils._progress import Progress
verb, stage, path, options, confirm = sys.argv[1], sys.argv[2], Path(sys.argv[3]), json.loads(sys.argv[4]), sys.argv[5]
times = 2 if stage == "restore" else 1  # the operation announces that one, too, before anything is done
class Deadly(Progress):
    def stage(self, name, total=None):
        global times
        super().stage(name, total)
        times -= name == stage
        if times == 0:
            os.kill(os.getpid(), signal.SIGKILL)
c = Component(path)
c.place = dataclasses.replace(c.place, scratch_dir=sys.argv[6])
c.close()
engine = PostgresqlEngine(options, c.place)
settings = RestoreSettings(NAME, c.place.state_dir, confirm=confirm)
if verb == "restore":
    restore(engine, c.repositories, settings, Deadly())
else:
    backup, repository = open_backup("postgresql", c.repositories, settings)
    engine.verify_restore(Reading(backup, repository, Identity(), c.place, Deadly()))
"""


def killed(component: Component, verb: str, stage: str, options: dict[str, Any], confirm: str = "") -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            _CHILD,
            verb,
            stage,
            str(component.path),
            json.dumps(options),
            confirm,
            str(component.scratch),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


class TestKilled:
    @pytest.mark.parametrize("stage", ["restore", "prove", "swap"])
    def test_the_next_restore_sweeps(self, pg16: EmbeddedPostgres, shop: str, component: Component, stage: str) -> None:
        component.backup(pg16, shop)
        before = state(pg16)
        killed(component, "restore", stage, login(pg16), shop)
        (left,) = [name for name in pg16.databases() if name.startswith("holdfast_restore_")]
        assert state(pg16)[: len(before)] != before
        result = component.restore(pg16, confirm=shop)
        assert any(left in warning for warning in result.warnings)
        assert not [name for name in pg16.databases() if name.startswith("holdfast_")]
        assert pg16.value("SELECT count(*) FROM t", db=shop) == ROWS

    def test_what_another_restore_works_on_is_left_alone(
        self,
        pg16: EmbeddedPostgres,
        shop: str,
        component: Component,
        tmp_path: Path,
        request: pytest.FixtureRequest,
    ) -> None:
        component.backup(pg16, shop)
        (tmp_path / "other").mkdir()
        other = Component(tmp_path / "other", name="another")
        request.addfinalizer(other.close)
        other.backup(pg16, shop)
        other_result: list[Any] = []

        def meanwhile() -> None:
            other_result.append(other.restore(pg16, target_database=shop + "_2"))

        restoring(component, pg16, Stages("prove", meanwhile), shop)
        assert other_result[0].warnings == []
        assert pg16.value("SELECT count(*) FROM t", db=shop) == ROWS
        assert pg16.value("SELECT count(*) FROM t", db=shop + "_2") == ROWS

    def test_a_scratch_cluster_is_swept_with_its_server(
        self, pg16: EmbeddedPostgres, shop: str, component: Component
    ) -> None:
        component.backup(pg16, shop)
        options = {"bin_dir": str(pg16.bin_dir), "run_as": pg16.user}
        killed(component, "verify", "prove", options)
        (left,) = component.scratch.iterdir()
        proof = component.verify_restore(None, **options)
        assert proof.proved
        assert not left.exists()
        assert list(component.scratch.iterdir()) == []
        running = [Path(f"/proc/{pid}/cmdline") for pid in os.listdir("/proc") if pid.isdigit()]
        assert not [path for path in running if str(left).encode() in _read(path)]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


class TestPreflight:
    """What is missing at the target is one clear sentence, before anything is touched."""

    def test_extensions(self, pg16: EmbeddedPostgres, tmp_path: Path) -> None:
        details = {"server": {"settings": {"shared_preload_libraries": "timescaledb, auto_explain"}}}
        server = Server(login(pg16), NAME)
        with server.connect("postgres") as session:

            def check(name: str, version: str) -> list[str]:
                return check_extensions(session, {"extensions": [{"name": name, "version": version}]}, details)

            with pytest.raises(NotFound, match="postgis_of_old"):
                check("postgis_of_old", "3.0")
            with pytest.raises(VersionMismatch, match=r"vector is 99\.0"):
                check("vector", "99.0")
            assert "vector will be" in check("vector", "0.0.1")[0]
            assert check("plpgsql", "1.0") == []

    @pytest.mark.parametrize(
        ("provider", "name", "there"),
        [
            ("libc", "C", True),
            ("libc", "C.UTF-8", True),
            ("libc", "xx_YY.UTF-8", False),
            ("libc", "a'b", False),
            ("icu", "de-DE", False),  # the wheel's server is built without ICU
        ],
    )
    def test_locales(self, pg16: EmbeddedPostgres, provider: str, name: str, there: bool) -> None:
        described = {"name": "shop", "locale_provider": provider, "locale": name, "collate": name, "ctype": "C"}
        with Server(login(pg16), NAME).connect("postgres") as session:
            if there:
                assert check_locale(session, described, lenient=False) == []
            else:
                with pytest.raises(Unsupported, match="does not exist at the target"):
                    check_locale(session, described, lenient=False)
                assert len(check_locale(session, described, lenient=True)) == 1
        assert pg16.value("SELECT count(*) FROM pg_collation WHERE collname LIKE 'holdfast%'") == 0

    def test_room(self, pg16: EmbeddedPostgres, shop: str, component: Component) -> None:
        component.backup(pg16, shop)

        def bigger(data: bytes) -> bytes:
            document = json.loads(data)
            document["databases"][0]["size"] = 10**17
            return json.dumps(document).encode()

        rewrite(component, "details", bigger)
        before = state(pg16)
        if is_root():
            with pytest.raises(DiskFull, match="free"):
                component.restore(pg16, confirm=shop)
            assert state(pg16) == before
        with pytest.raises(DiskFull, match="scratch cluster needs"):
            component.verify_restore(None, bin_dir=str(pg16.bin_dir), run_as=pg16.user)
