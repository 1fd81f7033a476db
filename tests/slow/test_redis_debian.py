# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's Redis 7: what the wheels lack. TLS with certificates on both sides, a container, restores by hand."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._deadline import Deadline
from ansible_collections.holdfast.ops.plugins.module_utils._engines._redis import RedisEngine
from ansible_collections.holdfast.ops.plugins.module_utils._errors import (
    AuthenticationFailed,
    NotFound,
    PermissionDenied,
    TlsFailed,
    ToolFailed,
)
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._interface import Kind
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._kinds._redis_purge import RedisPurge
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._kinds._redis_report import RedisReport
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._section import Section
from ansible_collections.holdfast.ops.plugins.module_utils._operations._restore import RestoreSettings, restore
from ansible_collections.holdfast.ops.plugins.module_utils._progress import Progress
from ansible_collections.holdfast.ops.tests.support.debian import Authority
from ansible_collections.holdfast.ops.tests.support.docker import DockerEngine, needs_docker
from ansible_collections.holdfast.ops.tests.support.redis import Build, Service, contents, fill
from ansible_collections.holdfast.ops.tests.support.redis_component import Sessions
from ansible_collections.holdfast.ops.tests.support.servers import (
    free_ports,
    short_directory,
    unprivileged_user,
    wait_until,
)

CHECKER = Path("/usr/bin/redis-check-rdb")
PASSWORD = "pass word's"
pytestmark = [
    pytest.mark.privileged,
    pytest.mark.skipif(
        os.geteuid() != 0 or not CHECKER.exists(),
        reason="needs root and Debian's package redis-tools (tests/slow/prepare installs it)",
    ),
]


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that the server's user can walk into, as it cannot into pytest's."""
    directory = short_directory("hf-public-")
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def build(public: Path) -> Build:
    """The server is its checker under another name; the package of the server would start it."""
    (public / "bin").mkdir()
    for name in ("redis-server", "redis-check-rdb"):
        (public / "bin" / name).symlink_to(CHECKER)
    return Build("redis", str(public / "bin" / "redis-server"))


@pytest.fixture
def sessions(tmp_path: Path) -> Iterator[Sessions]:
    with contextlib.closing(Sessions(tmp_path)) as made:
        yield made


@pytest.mark.parametrize("append_only", ["yes", "no"])
def test_redis_7_comes_back(build: Build, sessions: Sessions, append_only: str) -> None:
    with Service(build, "--appendonly", append_only) as server:
        fill(server)
        with server.client() as client:
            client.execute_command("FUNCTION", "LOAD", "#!lua name=l\nredis.register_function('f', function() end)")
        before = contents(server)
        made = sessions.backup(server, fingerprint="digest")
        assert made.source["rdb_version"] == 10
        with server.client() as client:
            client.flushall()
            client.execute_command("FUNCTION", "FLUSH")
        outcome = sessions.restore(server)
        assert outcome.proof is not None
        assert outcome.proof.proved, outcome.proof.differences
        assert contents(server) == before
        with server.client() as client:
            assert client.function_list()
    (finding,) = sessions.verify("restore", bin_dir=build.bin_dir).findings
    assert finding.ok
    assert finding.proof is not None
    assert finding.proof.proved


def test_tls_with_certificates_on_both_sides(build: Build, sessions: Sessions, public: Path) -> None:
    ours, theirs = Authority(public / "ca", "ours"), Authority(public / "other", "theirs")
    certificate, key = ours.issue("server", "DNS:localhost", unprivileged_user())
    client_certificate, client_key = ours.issue("client")
    (port,) = free_ports(1)
    settings = ["--tls-port", str(port), "--tls-cert-file", str(certificate), "--tls-key-file", str(key)]
    with Service(build, *settings, "--tls-ca-cert-file", str(ours.certificate)) as server, server.client() as client:
        client.set("a", "1")
        good: dict[str, Any] = {
            "login_host": "localhost",
            "login_port": port,
            "tls": True,
            "ca_cert": str(ours.certificate),
            "client_cert": str(client_certificate),
            "client_key": str(client_key),
        }
        sessions.run_backup(good)
        for wrong in (
            {"ca_cert": str(theirs.certificate)},
            {"login_host": "127.0.0.1"},  # the certificate does not name it
        ):
            with pytest.raises(TlsFailed):
                sessions.run_backup({**good, **wrong})
        sessions.run_backup({**good, "login_host": "127.0.0.1", "validate_certs": False})
        nobody = {name: value for name, value in good.items() if not name.startswith("client")}
        with pytest.raises(Exception, match=r"TLS|protected|broke|closed|handshake") as caught:
            sessions.run_backup(nobody)
        assert getattr(caught.value, "code", None) in ("tls_failed", "unavailable")


def test_the_lines_by_hand_bring_it_back(build: Build, sessions: Sessions) -> None:
    with Service(build) as server:
        fill(server)
        before = contents(server)
        made = sessions.backup(server)
    place = sessions.stored("dump").parent
    lines = [line for line in made.by_hand if not line.startswith("#")]
    subprocess.run(["sh", "-ec", "\n".join(lines)], cwd=place, check=True, capture_output=True)
    with Service(build) as other:
        other.stop()
        (other.data / "dump.rdb").write_bytes((place / "dump.rdb").read_bytes())
        other.start()
        assert contents(other) == before


def look(kind: type[Kind], options: Mapping[str, Any]) -> Section:
    """What a kind of maintenance has to tell, with time for all keys on a busy machine."""
    defaults = {name: option.get("default") for name, option in kind.SPEC.options.items()}
    patient = {"scan_seconds": 60.0} if kind is RedisReport else {}
    return kind({**defaults, **patient, **options}).look(Deadline(120))


def test_the_report_and_the_purge_know_redis_7(build: Build) -> None:
    with Service(build) as server, server.client() as client:
        fill(server)
        client.set("big", b"x" * 2_000_000)
        client.execute_command("ACL", "SETUSER", "report", "on", ">secret", "resetkeys", "-@all")
        options = {"login_port": server.port, "login_user": "report", "login_password": "secret"}
        (denied,) = (each for each in look(RedisReport, options).findings if each.code == "not_permitted")
        client.execute_command(*denied.advice.split("`")[1].split())  # with %R~ and subcommands, which Redis 6 lacks
        section = look(RedisReport, options)
        assert not [each for each in section.findings if each.code == "not_permitted"]
        assert [each.subject for each in section.findings if each.code == "big_key"] == ["big"]
        assert section.data["server"]["version"].startswith("7.")
        assert section.data["sample"]["seen"] == client.dbsize() + 1  # one is in database 5
        rights = ["+select", "+info", "+scan", "+type", "+pttl", "+object|idletime", "+unlink", "~string:*"]
        client.execute_command("ACL", "SETUSER", "purge", "on", ">secret", "-@all", *rights)
        options = {**options, "login_user": "purge", "patterns": ["string:*"], "types": ["string"]}
        before = client.dbsize()
        defaults = {name: option.get("default") for name, option in RedisPurge.SPEC.options.items()}
        assert look(RedisPurge, options).data["planned"] == 500
        assert RedisPurge({**defaults, **options}).act(Progress()).data["removed"] == 500
        assert client.dbsize() == before - 500


# In a container.


@pytest.fixture(scope="module")
def engine() -> Iterator[DockerEngine]:
    with DockerEngine() as started:
        yield started


class RedisContainer:
    """A server that nobody outside can reach, with its data on a volume."""

    def __init__(self, engine: DockerEngine, data: Path, *settings: str) -> None:
        import docker

        data.mkdir()
        os.chown(data, 999, 999)
        script = 'ln -sf /usr/bin/redis-check-rdb /tmp/redis-server; exec /tmp/redis-server "$@"'
        self.options = {"container": {"name": f"redis-{os.urandom(3).hex()}", "docker_host": engine.url}}
        self.container = engine.run(
            ["/bin/sh", "-c", script, "redis", "--dir", "/data", "--requirepass", PASSWORD, *settings],
            name=self.options["container"]["name"],
            user="postgres",
            mounts=[docker.types.Mount("/data", str(data), type="bind")],
        )
        self.options["login_password"] = PASSWORD  # type: ignore[assignment]
        wait_until(lambda: self.ask("PING") == "PONG", "Redis in the container", 60)

    def ask(self, *words: str) -> str:
        argv = ["redis-cli", *words]
        done = self.container.exec_run(argv, environment={"REDISCLI_AUTH": PASSWORD}, stderr=False)
        return str(done.output.decode().strip())


@needs_docker
@pytest.mark.parametrize("diskless", ["yes", "no"])
@pytest.mark.parametrize("append_only", ["yes", "no"])
def test_a_container_is_backed_up_and_restored(
    engine: DockerEngine, sessions: Sessions, tmp_path: Path, append_only: str, diskless: str
) -> None:
    settings = ["--appendonly", append_only, "--repl-diskless-sync", diskless, "--repl-diskless-sync-delay", "0"]
    server = RedisContainer(engine, tmp_path / "data", *settings)
    options = server.options
    for number in range(20):
        server.ask("SET", f"key:{number}", str(number) * 50)
    server.ask("SET", "expiring", "1", "EX", "3600")
    sessions.run_backup({**options, "fingerprint": "digest"})
    server.ask("FLUSHALL")
    server.ask("SET", "mistake", "1")
    how = RestoreSettings(sessions.name, sessions.place.state_dir, confirm=f"container {options['container']['name']}")
    with contextlib.closing(RedisEngine(options, sessions.place)) as redis:
        outcome = restore(redis, sessions.repositories, how, Progress())
    assert outcome.proof is not None
    assert outcome.proof.proved, outcome.proof.differences
    assert server.ask("GET", "key:7") == "7" * 50
    assert server.ask("EXISTS", "mistake") == "0"
    assert server.ask("SET", "writable", "1") == "OK"
    assert {path.stat().st_uid for path in (tmp_path / "data").iterdir() if "previous" not in path.name} == {999}


@needs_docker
def test_a_container_is_reported_on_and_purged(engine: DockerEngine, tmp_path: Path) -> None:
    server = RedisContainer(engine, tmp_path / "data")
    for number in range(30):
        server.ask("SET", f"cache:page:{number}", "x" * number)
    server.ask("SET", "customer", "1")
    section = look(RedisReport, server.options)
    assert section.data["sample"] == {**section.data["sample"], "keys": 31, "seen": 31, "complete": True}
    assert not [each for each in section.findings if each.code == "not_permitted"]
    options = {**server.options, "patterns": ["cache:page:*"]}
    assert look(RedisPurge, options).data["planned"] == 30
    defaults = {name: option.get("default") for name, option in RedisPurge.SPEC.options.items()}
    assert RedisPurge({**defaults, **options}).act(Progress()).data["removed"] == 30
    assert server.ask("DBSIZE") == "1"


@needs_docker
def test_faults_inside_a_container_are_told_apart(engine: DockerEngine, sessions: Sessions, tmp_path: Path) -> None:
    server = RedisContainer(engine, tmp_path / "data")
    server.ask("ACL", "SETUSER", "almost", "on", f">{PASSWORD}", "+info", "+replconf")
    with pytest.raises(AuthenticationFailed):
        sessions.run_backup({**server.options, "login_password": "wrong"})
    with pytest.raises(AuthenticationFailed):
        sessions.run_backup({**server.options, "login_password": None})
    with pytest.raises((PermissionDenied, ToolFailed)) as denied:
        sessions.run_backup({**server.options, "login_user": "almost"})
    assert denied.value.code == "permission_denied"
    with pytest.raises(NotFound):
        sessions.run_backup({**server.options, "container": {**server.options["container"], "name": "no-such"}})
    assert sessions.manifests() == []
