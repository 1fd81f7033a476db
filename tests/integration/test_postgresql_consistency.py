# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup is of one moment, whatever others do meanwhile; and whatever happens to it, nothing of it goes on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._engines._pg import _catalog, _fingerprint
from ansible_collections.holdfast.ops.plugins.module_utils._engines._pg._dump import Dump, DumpOptions
from ansible_collections.holdfast.ops.plugins.module_utils._engines._pg._selection import Selection
from ansible_collections.holdfast.ops.plugins.module_utils._engines._pg._server import Server
from ansible_collections.holdfast.ops.plugins.module_utils._errors import HoldfastError, Locked, TimedOut, Unsupported
from ansible_collections.holdfast.ops.tests.support.component import NAME, Component, login
from ansible_collections.holdfast.ops.tests.support.modules import RunningModule, run_module
from ansible_collections.holdfast.ops.tests.support.postgres import EmbeddedPostgres
from ansible_collections.holdfast.ops.tests.support.servers import wait_until

OURS = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'holdfast:2%'"


@pytest.fixture(params=[16, 18])
def pg(request: Any) -> EmbeddedPostgres:
    server: EmbeddedPostgres = request.getfixturevalue(f"pg{request.param}")
    return server


@pytest.fixture
def busy(pg: EmbeddedPostgres, database: Any) -> str:
    """A database with rows, a sequence and something to drop."""
    name: str = database(pg)
    pg.psql(
        "CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text);"
        "INSERT INTO t (v) SELECT md5(g::text) FROM generate_series(1, 3000) g;"
        "CREATE TABLE doomed AS SELECT * FROM t; CREATE SEQUENCE s; SELECT setval('s', 5)",
        db=name,
    )
    return name


@pytest.fixture
def server(pg: EmbeddedPostgres) -> Iterator[Server]:
    opened = Server(login(pg), NAME)
    yield opened
    opened.close()


def options(lock_wait: float = 5, stall: float | None = 30, **selection: Any) -> DumpOptions:
    return DumpOptions(Selection.from_options(selection), lock_wait, stall, standby=False)


def restored(pg: EmbeddedPostgres, dump: Dump, name: str) -> dict[str, Any]:
    """Read a dump to its end, restore it under another name; its fingerprint taken there."""
    data = b"".join(dump.source().chunks())
    pg.create_database(name)
    target = ["-h", str(pg.socket_dir), "-p", str(pg.port), "-U", "postgres", "--exit-on-error", "-d", name]
    subprocess.run([str(pg.bin("pg_restore")), *target], input=data, check=True)
    with Server(login(pg), NAME).connect(name) as session:
        return _fingerprint.take(session, "digest")


class TestOneMoment:
    def test_what_others_write_meanwhile_is_not_in_it(self, pg: EmbeddedPostgres, busy: str, server: Server) -> None:
        with Dump(server, busy, options(), "digest", lambda: None) as dump:
            pg.psql(
                "INSERT INTO t (v) VALUES ('late'); UPDATE t SET v = 'changed' WHERE id < 500;"
                "DELETE FROM t WHERE id > 2900; SELECT nextval('s'), nextval('s'), nextval('s')",
                db=busy,
            )
            for statement in ("TRUNCATE t", "DROP TABLE doomed", "ALTER TABLE t ADD COLUMN w int"):
                with pytest.raises(psycopg.errors.LockNotAvailable), pg.connect(busy) as other:
                    other.execute("SET lock_timeout = 50")
                    other.execute(statement)
            found = restored(pg, dump, f"{busy}_copy")
            expected = dump.snapshot.finish()
        assert expected["tables"]['"public"."t"']["rows"] == 3000
        comparison = _fingerprint.compare(expected, found)
        assert comparison.differences == ()
        assert comparison.checked > 5
        # The sequence is read by pg_dump outside the snapshot: later or the same, never earlier.
        assert expected["sequences"]['"public"."s"']["value"] == 5
        assert found["sequences"]['"public"."s"']["value"] >= 5

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ("UPDATE t SET v = 'x' WHERE id = 7", "rows of the table"),
            ("DELETE FROM t WHERE id = 7", "2999 rows; 3000"),
            ("SELECT setval('s', 4)", "sequence"),
            ("DROP TABLE doomed", '"doomed" is missing'),
            ("CREATE TABLE more (n int)", "was not dumped"),
            ("CREATE INDEX ON t (v)", "kind index"),
            ("ALTER TABLE t DROP CONSTRAINT t_pkey", "kind constraint"),
            ("GRANT SELECT ON t TO PUBLIC", "kind grant"),
            ("ALTER TABLE t ALTER v SET NOT NULL", "kind column"),
            ("SELECT lo_from_bytea(0, 'x')", "large objects"),
            # Two rows become two others that are equal: an XOR of hashes would be 0 both times.
            ("UPDATE twins SET v = 'b'", "rows of the table"),
        ],
    )
    def test_every_difference_is_found(self, pg18: EmbeddedPostgres, database: Any, change: str, said: str) -> None:
        name = database(pg18)
        pg18.psql(
            "CREATE TABLE t AS SELECT g::bigint AS id, md5(g::text) AS v FROM generate_series(1, 3000) g;"
            "ALTER TABLE t ADD PRIMARY KEY (id); CREATE TABLE doomed (n int); CREATE SEQUENCE s; SELECT setval('s', 5);"
            "CREATE TABLE twins (v text); INSERT INTO twins VALUES ('a'), ('a')",
            db=name,
        )
        with Server(login(pg18), NAME).connect(name) as session:
            expected = _fingerprint.take(session, "digest")
            assert _fingerprint.compare(expected, _fingerprint.take(session, "digest")).differences == ()
            pg18.psql(change, db=name)
            found = _fingerprint.compare(expected, _fingerprint.take(session, "digest"))
        assert any(said in difference for difference in found.differences), found


class TestLocks:
    def test_the_holder_is_named(self, pg: EmbeddedPostgres, busy: str, server: Server) -> None:
        with pg.connect(busy, autocommit=False, application_name="migration") as holder:
            holder.execute("LOCK TABLE t")
            pid = holder.info.backend_pid
            with pytest.raises(Locked, match=f"process {pid} .*'migration'") as caught:
                Dump(server, busy, options(lock_wait=0.3), "none", lambda: None)
            assert '"public"."t"' in str(caught.value)
        assert pg.value(OURS) == 0

    def test_a_table_dropped_between_look_and_lock(
        self, pg: EmbeddedPostgres, busy: str, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real, looks = _catalog.relations, []

        def look(*arguments: Any) -> Any:
            found = real(*arguments)
            looks.append(1)
            if len(looks) == 1:
                pg.psql("DROP TABLE doomed; CREATE TABLE newcomer AS SELECT 1 AS n", db=busy)
            return found

        monkeypatch.setattr(_catalog, "relations", look)
        with Dump(server, busy, options(), "counts", lambda: None) as dump:
            locked = "SELECT count(*) FROM pg_locks WHERE relation = 'newcomer'::regclass AND mode = 'AccessShareLock'"
            assert pg.value(locked, db=busy) >= 1
            b"".join(dump.source().chunks())
            tables = dump.snapshot.finish()["tables"]
        assert set(tables) == {'"public"."t"', '"public"."newcomer"'}

    def test_a_truncate_that_squeezes_in_gets_its_turn_and_we_begin_again(
        self, pg: EmbeddedPostgres, busy: str, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It waits for our locks, and pg_dump would wait behind it, for ever."""
        real, threads = server.start, []
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"

        def start(program: str, *arguments: str, **more: Any) -> Any:
            if program.endswith("pg_dump") and not threads:
                threads.append(threading.Thread(target=pg.psql, args=("TRUNCATE doomed", busy)))
                threads[0].start()
                wait_until(lambda: pg.value(waiting, db=busy) > 0, "the TRUNCATE waits")
            return real(program, *arguments, **more)

        monkeypatch.setattr(server, "start", start)
        moments: list[int] = []
        with Dump(server, busy, options(), "counts", lambda: moments.append(1)) as dump:
            threads[0].join(20)
            assert not threads[0].is_alive()
            found = restored(pg, dump, f"{busy}_copy")
            expected = dump.snapshot.finish()
        assert len(moments) == 2
        assert expected["tables"]['"public"."doomed"']["rows"] == 0
        assert _fingerprint.compare(expected, found).differences == ()

    def test_no_room_for_locks_is_explained(self) -> None:
        with EmbeddedPostgres(18, {"max_locks_per_transaction": "10", "max_connections": "10"}) as small:
            small.psql("".join(f"CREATE SCHEMA s{n};" for n in range(20)))
            for n in range(20):
                small.psql("".join(f"CREATE TABLE s{n}.t{m} (n int);" for m in range(40)))
            with pytest.raises(Unsupported, match="no room for") as caught:
                Dump(Server(login(small), NAME), "postgres", options(), "none", lambda: None)
            assert "max_locks_per_transaction" in str(caught.value)

    def test_a_schema_dropped_afterwards_waits(self, pg: EmbeddedPostgres, busy: str, server: Server) -> None:
        pg.psql("CREATE SCHEMA x CREATE TABLE t (n int)", db=busy)
        with (
            Dump(server, busy, options(), "none", lambda: None),
            pytest.raises(psycopg.errors.LockNotAvailable),
            pg.connect(busy) as other,
        ):
            other.execute("SET lock_timeout = 50")
            other.execute("DROP SCHEMA x CASCADE")


class TestFaults:
    def test_a_dump_that_falls_silent_is_given_up(self, pg: EmbeddedPostgres, busy: str, server: Server) -> None:
        pg.psql("CREATE TABLE big AS SELECT g, repeat(md5(g::text), 90) FROM generate_series(1, 5000) g", db=busy)
        with Dump(server, busy, options(stall=1), "none", lambda: None) as dump:
            chunks = dump.source().chunks()
            next(chunks)
            os.kill(dump.process.popen.pid, signal.SIGSTOP)
            with pytest.raises(TimedOut, match="sent nothing for 1 s"):
                for _chunk in chunks:
                    pass
        wait_until(lambda: pg.value(OURS) == 0, "our sessions are gone")

    def test_a_session_that_is_ended_fails_the_dump(self, pg: EmbeddedPostgres, busy: str, server: Server) -> None:
        pg.psql("CREATE TABLE big AS SELECT g, repeat(md5(g::text), 90) FROM generate_series(1, 9000) g", db=busy)
        server.claim("20261122T000000.000Z-000000000000")
        with Dump(server, busy, options(), "none", lambda: None) as dump:
            chunks = dump.source().chunks()
            next(chunks)
            pg.value(f"SELECT count(pg_terminate_backend(pid)) FROM ({OURS.replace('count(*)', 'pid')}) AS s")
            with pytest.raises(HoldfastError) as caught:
                for _chunk in chunks:
                    pass
        assert caught.value.stage == "dump"


class TestKilled:
    """A run that is killed or stopped leaves no tool, no session and no backup; the next run works."""

    @pytest.mark.parametrize(
        ("chosen", "stopped", "how"),
        [
            ({}, False, signal.SIGKILL),
            ({}, False, signal.SIGTERM),
            ({"format": "directory", "jobs": 2}, False, signal.SIGKILL),
            ({"format": "directory", "jobs": 2}, True, signal.SIGKILL),
            ({"format": "directory", "jobs": 2}, True, signal.SIGTERM),
        ],
    )
    def test_nothing_goes_on(
        self,
        pg18: EmbeddedPostgres,
        database: Any,
        tmp_path: Path,
        chosen: dict[str, Any],
        stopped: bool,
        how: signal.Signals,
    ) -> None:
        name = database(pg18)
        tmp_path.chmod(0o755)
        pg18.psql(
            "CREATE TABLE first AS SELECT g, repeat(md5(g::text), 90) AS v FROM generate_series(1, 5000) g;"
            "CREATE TABLE second AS SELECT * FROM first",
            db=name,
        )
        wanted = {
            **login(pg18),
            "component": NAME,
            "database": name,
            "state_dir": str(tmp_path / "state"),
            "scratch_dir": str(tmp_path / "scratch"),
            "repositories": [{"name": "disk", "type": "local", "path": str(tmp_path / "disk")}],
            **chosen,
        }
        running = RunningModule("postgresql_backup", wanted)
        tools: list[psutil.Process] = []

        def caught() -> bool:
            """pg_dump is at work, and held where it is."""
            for tool in psutil.Process(running.process.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    if tool.name() == "pg_dump" and "--version" not in tool.cmdline():
                        tool.suspend()
                        tools.append(tool)
            return bool(tools)

        wait_until(caught, "pg_dump is at work", interval=0.001)
        for tool in tools if not stopped else ():
            tool.resume()
        running.signal(how)
        assert running.result()["rc"] != 0
        gone, alive = psutil.wait_procs(tools, timeout=15)
        assert not alive, (gone, alive)
        wait_until(lambda: pg18.value(OURS) == 0, "our sessions are gone")
        assert not list(tmp_path.glob("disk/**/manifests/*"))
        again = run_module("postgresql_backup", wanted)
        assert again["changed"], again
        assert len(list(tmp_path.glob("disk/**/manifests/*.json"))) == 1


@pytest.mark.parametrize("level", ["counts", "digest"])
def test_a_standby_is_dumped_and_its_unlogged_tables_are_known_to_be_empty(tmp_path: Path, level: str) -> None:
    with EmbeddedPostgres(18) as primary:
        primary.psql(
            "CREATE TABLE kept AS SELECT generate_series(1, 9) AS n;"
            "CREATE UNLOGGED TABLE cache (id serial, n int); INSERT INTO cache (n) VALUES (1)"
        )
        with (primary.data / "pg_hba.conf").open("a") as hba:
            hba.write("local replication all trust\n")
        primary.psql("SELECT pg_reload_conf()")
        standby = EmbeddedPostgres(18)
        try:
            target = standby.home / "base"
            where = ["-h", str(primary.socket_dir), "-p", str(primary.port), "-U", "postgres"]
            primary.run("pg_basebackup", "-D", str(target), "-R", "-X", "stream", "-c", "fast", *where)
            target.rename(standby.data)
            standby.start()
            assert standby.value("SELECT pg_is_in_recovery()")
            with contextlib.closing(Component(tmp_path)) as component:
                backup = component.backup(standby, "postgres", fingerprint=level)
                assert any("unlogged" in warning for warning in backup.warnings)
                proof = component.verify_restore(standby)
            assert proof.proved, proof
        finally:
            standby.close()
