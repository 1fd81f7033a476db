# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong with Redis and Valkey: told apart, never a success, and nothing half-done is left."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._engines._redis import RedisEngine
from ansible_collections.holdfast.ops.plugins.module_utils._errors import (
    AuthenticationFailed,
    Corrupted,
    DiskFull,
    MissingDependency,
    NotFound,
    PermissionDenied,
    Refused,
    ToolFailed,
    Unavailable,
)
from ansible_collections.holdfast.ops.plugins.module_utils._progress import Progress
from ansible_collections.holdfast.ops.tests.support.disks import NEEDS_ROOT, is_root, small_disk
from ansible_collections.holdfast.ops.tests.support.modules import RunningModule, run_module
from ansible_collections.holdfast.ops.tests.support.procwatch import ProcessWatch
from ansible_collections.holdfast.ops.tests.support.redis import BUILDS, UNIT, Build, Service
from ansible_collections.holdfast.ops.tests.support.redis_component import Sessions
from ansible_collections.holdfast.ops.tests.support.servers import wait_until

SECRET = "S3cret-of-the-backup"


@pytest.fixture(params=sorted(BUILDS))
def build(request: pytest.FixtureRequest) -> Build:
    """Each server that comes in a wheel."""
    return BUILDS[request.param]


@pytest.fixture
def sessions(tmp_path: Path) -> Iterator[Sessions]:
    with contextlib.closing(Sessions(tmp_path)) as made:
        yield made


def test_logins_are_told_apart(build: Build, sessions: Sessions, tmp_path: Path) -> None:
    password_file = tmp_path / "password"
    password_file.write_text(f"{SECRET}\n")
    with Service(build, "--requirepass", SECRET) as server, server.client(password=SECRET) as client:
        client.acl_setuser(
            "backup", enabled=True, passwords=[f"+{SECRET}"], commands=["+info", "+sync", "+psync", "+replconf"]
        )
        client.acl_setuser("reader", enabled=True, passwords=[f"+{SECRET}"], commands=["+@read", "+info"], keys=["*"])
        client.set("a", "1")
        with pytest.raises(AuthenticationFailed, match="wants a password"):
            sessions.backup(server)
        with pytest.raises(AuthenticationFailed) as caught:
            sessions.backup(server, login_password=f"not {SECRET}")
        assert SECRET not in str(caught.value)
        with pytest.raises(PermissionDenied, match="replconf") as denied:
            sessions.backup(server, login_user="reader", login_password=SECRET)
        assert denied.value.stage == "preflight"
        assert sessions.manifests() == []
        made = sessions.backup(server, login_user="backup", login_password_file=str(password_file))
        assert SECRET not in sessions.manifests()[0].read_text()
        assert made.fingerprint == "counts"


@pytest.mark.skipif(
    "valkey" not in BUILDS, reason="Redis before 7 cannot be asked for a right; no wheel of Valkey here"
)
def test_a_right_that_only_the_dump_needs_is_missed_before_it_is_used(sessions: Sessions) -> None:
    with Service(BUILDS["valkey"]) as server, server.client() as client:
        client.acl_setuser(
            "almost",
            enabled=True,
            passwords=[f"+{SECRET}"],
            commands=["+info", "+replconf", "+acl|whoami", "+acl|dryrun"],
        )
        with pytest.raises(PermissionDenied, match="sync") as denied:
            sessions.backup(server, login_user="almost", login_password=SECRET)
        assert denied.value.stage == "preflight"


def test_no_other_process_sees_the_password(build: Build, sessions: Sessions) -> None:
    with Service(build, "--requirepass", SECRET) as server:
        parameters = {**sessions.parameters(), "login_port": server.port, "login_password": SECRET}
        with ProcessWatch() as seen:
            result = run_module("redis_backup", parameters)
        assert result["rc"] == 0, result
        assert SECRET not in str(result)
        assert not seen.holding(SECRET)


class Killing(Progress):
    """Kills a server when the first bytes of its dump have arrived."""

    def __init__(self, server: Service) -> None:
        super().__init__()
        self._server: Service | None = server

    def add(self, size: int) -> None:
        if self._server is not None:
            server, self._server = self._server, None
            server.kill()
        super().add(size)


def test_a_server_that_dies_while_it_is_dumped_leaves_no_backup(build: Build, sessions: Sessions) -> None:
    with Service(build, "--rdbcompression", "no") as server, server.client() as client:
        for number in range(60):
            client.set(f"large:{number}", os.urandom(1 << 20))
        with pytest.raises(Unavailable, match="in the middle of the dump"):
            sessions.run_backup(server.options(), Killing(server))
    assert sessions.manifests() == []
    assert [path for path in (sessions.path / "disk").rglob("*") if path.is_file() and "lock" not in path.name] == []


def test_a_replica_without_its_primary_is_not_backed_up(build: Build, sessions: Sessions) -> None:
    with Service(build) as server, server.client() as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(Unavailable, match="lost its primary"):
            sessions.backup(server)


def test_nobody_there_and_no_such_socket(sessions: Sessions, tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        sessions.run_backup({"login_port": 1})
    with pytest.raises(NotFound):
        sessions.run_backup({"login_unix_socket": str(tmp_path / "none")})


def test_a_unix_socket_serves_as_well(build: Build, sessions: Sessions) -> None:
    with Service(build) as server, server.client() as client:
        client.set("a", "1")
        sessions.run_backup({"login_unix_socket": str(server.socket)})
    assert sessions.verify_restore(bin_dir=build.bin_dir).proved


# Verification.


def test_a_damaged_dump_is_found_before_the_server_is_touched(build: Build, sessions: Sessions) -> None:
    with Service(build) as server, server.client() as client:
        client.set("a", "1")
        sessions.backup(server)
        stored = sessions.stored("dump")
        stored.chmod(0o600)
        data = bytearray(stored.read_bytes())
        data[len(data) // 2] ^= 0x10
        stored.write_bytes(data)
        client.set("a", "2")
        with pytest.raises(Corrupted):
            sessions.restore(server)
        assert server.calls() == ["start"]
        assert client.get("a") == b"2"
        assert not list(server.data.glob("holdfast*"))
    (finding,) = sessions.verify("archive", bin_dir=build.bin_dir).findings
    assert not finding.ok


def test_without_the_programs_it_says_what_to_install(build: Build, sessions: Sessions, tmp_path: Path) -> None:
    with Service(build) as server:
        sessions.backup(server)
    empty = tmp_path / "empty"
    empty.mkdir()
    with sessions.reading(bin_dir=str(empty)) as (engine, reading):
        for verify in (engine.verify_archive, engine.verify_restore):
            with pytest.raises(MissingDependency, match=r"[Rr]edis"):
                verify(reading)
    assert not list(Path(sessions.place.scratch_dir).iterdir())


# Restore.


def test_a_server_that_does_not_start_gets_its_old_data_back(build: Build, sessions: Sessions) -> None:
    with Service(build, "--appendonly", "yes") as server, server.client() as client:
        client.set("a", "old")
        sessions.backup(server)
        client.set("a", "new")
        files = sorted(path.relative_to(server.data) for path in server.data.rglob("*"))
        server.break_next_start()
        with pytest.raises(ToolFailed, match="did not start") as caught:
            sessions.restore(server)
        assert caught.value.result()["left_behind"] == "nothing"
        assert client.get("a") == b"new"
        assert server.calls() == ["start", "stop", "start", "start"]
        client.set("b", "writable")
        assert not list(server.data.glob("holdfast*"))
        found = sorted(path.relative_to(server.data) for path in server.data.rglob("*"))
        assert set(files) - set(found) <= {Path("socket")}


def test_data_that_was_never_saved_comes_back_too(build: Build, sessions: Sessions) -> None:
    with Service(build, "--save", "") as server, server.client() as client:
        client.set("a", "old")
        sessions.backup(server)
        client.set("a", "only in memory")
        server.break_next_start()
        with pytest.raises(ToolFailed):
            sessions.restore(server)
        assert client.get("a") == b"only in memory"


def test_a_dump_that_the_server_holds_otherwise_is_undone(
    build: Build, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody got in before writing was held back."""
    from ansible_collections.holdfast.ops.plugins.module_utils._engines._rd import _restore
    from ansible_collections.holdfast.ops.plugins.module_utils._errors import NotProved

    with Service(build) as server, server.client() as client:
        client.set("a", "old")
        sessions.backup(server)
        client.set("a", "new")
        prove = _restore.prove

        def disturbed(*arguments: Any) -> Any:
            with server.client() as other:
                other.execute_command("CLIENT", "UNPAUSE")
                other.set("intruder", "1")
            return prove(*arguments)

        monkeypatch.setattr(_restore, "prove", disturbed)
        with pytest.raises(NotProved, match="2 keys of the type string instead of 1"):
            sessions.restore(server)
        assert (client.get("a"), client.get("intruder")) == (b"new", None)


def test_a_killed_restore_is_undone_by_the_next(build: Build, sessions: Sessions, tmp_path: Path) -> None:
    with Service(build, "--appendonly", "yes") as server, server.client() as client:
        client.set("a", "old")
        sessions.backup(server)
        client.set("a", "new")
        server.hold_starts()
        parameters = {**sessions.parameters(), **server.restore_options(), "confirm": server.where}
        with server.on_path():
            module = RunningModule("redis_restore", parameters)
        wait_until(lambda: "stop" in server.calls() and server.calls()[-1] == "start", "the restore's start", 120)
        module.signal(signal.SIGKILL)
        assert module.result()["rc"] == -signal.SIGKILL
        assert not server.pid
        (left,) = server.data.glob("holdfast-previous-*")
        server.release_starts()
        wait_until(lambda: bool(server.pid), "the start that nobody waits for any more", 30)
        server.stop()

        configuration = tmp_path / "redis.conf"
        configuration.write_text(f'# comment\ndir "{server.data}"\nappendonly yes\n')
        outcome = sessions.restore(server, config_file=str(configuration))
        assert any("was undone first" in warning for warning in outcome.warnings)
        assert outcome.proof is not None
        assert outcome.proof.proved
        assert client.get("a") == b"old"
        assert not left.exists()
        (previous,) = server.data.glob("holdfast*")
        assert b"new" in b"".join(path.read_bytes() for path in previous.rglob("*") if path.is_file())


def test_a_stopped_server_needs_its_configuration_named(build: Build, sessions: Sessions) -> None:
    with Service(build) as server:
        sessions.backup(server)
        server.stop()
        with pytest.raises(Unavailable, match="config_file"):
            sessions.restore(server)
        assert server.calls() == ["start", "stop"]


def test_a_replica_is_not_restored_into(build: Build, sessions: Sessions) -> None:
    with Service(build) as server, server.client() as client:
        sessions.backup(server)
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(Refused, match="replica"):
            sessions.restore(server)


@pytest.mark.skipif(not is_root(), reason=NEEDS_ROOT)
def test_a_full_disk_is_seen_before_the_server_is_stopped(build: Build, sessions: Sessions, tmp_path: Path) -> None:
    with Service(build, "--rdbcompression", "no") as server, server.client() as client:
        for number in range(12):
            client.set(f"large:{number}", os.urandom(1 << 20))
        sessions.backup(server)
    with small_disk(Path(sessions.place.scratch_dir).parent / "small") as disk, Service(build, data=disk) as other:
        with pytest.raises(DiskFull):
            sessions.restore(other)
        assert other.calls() == ["start"]


def test_the_module_tells_the_plan_in_check_mode(build: Build, sessions: Sessions) -> None:
    with Service(build) as server, server.client() as client, server.on_path():
        client.set("a", "1")
        sessions.backup(server)
        result = run_module(
            "redis_restore", {**sessions.parameters(), **server.restore_options()}, check=True, diff=True
        )
        assert result["rc"] == 0, result
        assert result["changed"]
        assert f"{UNIT} is stopped and started" in result["diff"]["after"]
        assert server.calls() == ["start"]


def test_a_safety_backup_holds_what_was_replaced(build: Build, sessions: Sessions) -> None:
    with Service(build) as server, server.client() as client, server.on_path():
        client.set("a", "old")
        sessions.backup(server)
        client.set("a", "new")
        asked = {**server.restore_options(), "confirm": server.where, "safety_backup": True, "keep_previous": False}
        result = run_module("redis_restore", {**sessions.parameters(), **asked})
        assert result["rc"] == 0, result
        assert result["proof"]["proved"]
        assert client.get("a") == b"old"
        again = run_module(
            "redis_restore",
            {**sessions.parameters(), **asked, "backup_id": result["safety_backup"]["backup_id"]},
        )
        assert again["rc"] == 0, again
        assert client.get("a") == b"new"


def test_what_a_killed_verification_left_is_swept(build: Build, sessions: Sessions, tmp_path: Path) -> None:
    with Service(build) as server, server.client() as client:
        client.set("a", "1")
        sessions.backup(server)
    bin_dir = tmp_path / "slow"
    bin_dir.mkdir()
    for name in ("redis-server", "valkey-server"):
        program = bin_dir / name
        program.write_text(f'#!/bin/sh\n[ "$1" = --version ] && exec {build.server} --version\nexec sleep 600\n')
        program.chmod(0o755)
    for directory in (bin_dir, *bin_dir.parents[:3]):
        directory.chmod(directory.stat().st_mode | 0o055)
    asked = {"level": "restore", "redis": {"bin_dir": str(bin_dir)}}
    module = RunningModule("backup_verify", {**sessions.parameters(), **asked})
    scratch = Path(sessions.place.scratch_dir)

    def reached_the_server() -> bool:
        assert module.process.poll() is None, module.result()
        return bool(list(scratch.glob("*/dump.rdb")))

    wait_until(reached_the_server, "the scratch directory", 120)
    wait_until(lambda: bool(list(scratch.glob("*/holdfast-scratch.json"))), "its mark", 120)
    module.signal(signal.SIGKILL)
    assert module.result()["rc"] == -signal.SIGKILL
    assert len(list(scratch.iterdir())) == 1
    assert sessions.verify_restore(bin_dir=build.bin_dir).proved
    assert list(scratch.iterdir()) == []


def test_options_that_contradict_each_other_are_refused(sessions: Sessions) -> None:
    for options in (
        {"login_host": "h", "login_unix_socket": "/s"},
        {"tls": True, "login_unix_socket": "/s"},
        {"client_cert": "/c", "tls": True},
        {"ca_cert": "/c"},
        {"login_password": "a", "login_password_file": "/b"},
    ):
        with pytest.raises(Exception, match=r"exclude|TLS|belong|need") as caught:
            RedisEngine(options, sessions.place).plan_backup()
        assert getattr(caught.value, "code", None) == "invalid_option"
