# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kinds of checks against real servers and the real system; each is also made to fail."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from ansible_collections.holdfast.ops.plugins.module_utils._health._interface import FAIL, PASS, WARN
from ansible_collections.holdfast.ops.tests.support.disks import is_root, small_disk
from ansible_collections.holdfast.ops.tests.support.health import look, measured, tcp_server, web_server
from ansible_collections.holdfast.ops.tests.support.postgres import EmbeddedPostgres
from ansible_collections.holdfast.ops.tests.support.redis import BUILDS, Service
from ansible_collections.holdfast.ops.tests.support.servers import free_ports, short_directory


@pytest.fixture(scope="module")
def web() -> Iterator[Any]:
    with web_server() as server:
        yield server


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def tls(authority: trustme.CA) -> Iterator[Any]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "app.test").configure_cert(context)
    with web_server(context) as server:
        yield server


# -- HTTP and TLS -----------------------------------------------------------------------------------------------------


def test_a_page_as_it_should_be(web: Any) -> None:
    found = look(
        kind="http",
        url=f"http://127.0.0.1:{web.port}/health?x=1",
        contains='"ok"',
        matches='"version": [0-9]',
        json={"status": "ok", "checks[0].up": True, "version": 3},
        latency_critical=5,
        username="holdfast",
        password="hunter2",
        headers={"X-Probe": "1"},
    )
    assert found.status == PASS, found
    assert measured(found, "status").value == 200
    assert 0 < float(measured(found, "latency").value or 0) < 5
    path, headers = web.asked[-1]
    assert (path, headers["Host"], headers["X-Probe"]) == ("/health?x=1", f"127.0.0.1:{web.port}", "1")
    assert headers["Authorization"] == "Basic aG9sZGZhc3Q6aHVudGVyMg=="


@pytest.mark.parametrize(
    ("path", "more", "name", "output"),
    [
        ("/broken", {}, "status", "answered 500 and not 2xx"),
        ("/broken", {"status": [200, 204]}, "status", "answered 500 and not 200 or 204"),
        ("/to/x", {}, "status", "answered 302"),
        ("/", {"contains": "well"}, "body", "is not what was expected"),
        ("/", {"json": {"status": "well"}}, "json", "status is 'ok'"),
        ("/to/broken", {"follow_redirects": True}, "status", "answered 500"),
        ("/slow", {"latency_critical": 0.2}, "latency", "answered after 0.3"),
    ],
)
def test_a_page_that_is_not(web: Any, path: str, more: dict[str, Any], name: str, output: str) -> None:
    found = look(kind="http", url=f"http://127.0.0.1:{web.port}{path}", **more)
    bad = [each for each in found.measurements if each.status == FAIL]
    assert [each.name for each in bad] == [name]
    assert output in bad[0].output


def test_a_redirect_is_followed_when_asked_and_gets_no_login_elsewhere(web: Any, tmp_path: Path) -> None:
    with web_server() as other:
        web.other = f"http://127.0.0.1:{other.port}/there"
        token = tmp_path / "token"
        token.write_text("hunter2\n")
        token.chmod(0o600)
        url = f"http://127.0.0.1:{web.port}/elsewhere"
        assert look(kind="http", url=url, follow_redirects=True, token_file=str(token)).status == PASS
        assert web.asked[-1][1]["Authorization"] == "Bearer hunter2"
        assert "Authorization" not in other.asked[-1][1]


def test_a_server_that_is_silent_or_gone_or_something_else() -> None:
    with tcp_server(lambda connection: time.sleep(5)) as port:
        began = time.monotonic()
        found = look(kind="http", url=f"http://127.0.0.1:{port}/", timeout="1s")
        assert found.output == f"No answer within 1 s (waiting for 127.0.0.1:{port})."
        assert time.monotonic() - began < 3
    assert look(kind="http", url=f"http://127.0.0.1:{port}/").output == (
        f"127.0.0.1:{port} cannot be connected to: Connection refused."
    )
    with tcp_server(lambda connection: connection.sendall(b"SSH-2.0-x\r\n")) as port:
        assert "gave no answer" in look(kind="http", url=f"http://127.0.0.1:{port}/").output


def drip(connection: socket.socket) -> None:
    """Never ends an answer."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        connection.sendall(b".")
        time.sleep(0.05)


def test_a_server_that_drips_does_not_hold_us_up() -> None:
    with tcp_server(drip) as port:
        began = time.monotonic()
        assert look(kind="http", url=f"http://127.0.0.1:{port}/", timeout="1s").status == FAIL
        assert time.monotonic() - began < 3


def test_certificates(tls: Any, authority: trustme.CA, tmp_path: Path) -> None:
    trusted = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(trusted))
    url = f"https://127.0.0.1:{tls.port}/"
    found = look(kind="http", url=url, ca_cert=str(trusted))
    assert found.status == PASS, found
    # The same number, read by somebody else.
    with socket.create_connection(("127.0.0.1", tls.port)) as raw:
        context = ssl.create_default_context(cafile=str(trusted))
        with context.wrap_socket(raw, server_hostname="app.test") as connection:
            ends = ssl.cert_time_to_seconds(str((connection.getpeercert() or {})["notAfter"]))
    days = (ends - time.time()) / 86_400
    assert float(measured(found, "certificate_days").value or 0) == pytest.approx(days, abs=0.01)

    soon = {"certificate_warning": days + 1, "certificate_critical": days - 1}
    assert look(kind="http", url=url, ca_cert=str(trusted), **soon).status == WARN
    ended = {"certificate_warning": days + 2, "certificate_critical": days + 1}
    assert look(kind="tcp", port=tls.port, tls=True, validate_certs=False, **ended).status == FAIL

    assert "is not accepted" in look(kind="http", url=url).output
    wrong = look(kind="tcp", port=tls.port, tls=True, ca_cert=str(trusted), server_name="other.test")
    assert "is not accepted" in wrong.output
    assert look(kind="tcp", port=tls.port, tls=True, ca_cert=str(trusted), server_name="app.test").status == PASS


def test_tls_with_what_speaks_none(web: Any) -> None:
    assert look(kind="http", url=f"https://127.0.0.1:{web.port}/").output.startswith(
        f"No TLS with 127.0.0.1:{web.port}"
    )


def test_a_port_that_answers_and_a_socket(tmp_path: Path) -> None:
    with tcp_server(lambda connection: connection.sendall(b"220 " + connection.recv(10))) as port:
        assert look(kind="tcp", port=port, send="hello", expect="220 hello").status == PASS
        assert "did not say" in look(kind="tcp", port=port, send="hello", expect="221").output
    home = short_directory("hf-health-")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(home / "s"))
        listener.listen()
        assert look(kind="tcp", unix_socket=str(home / "s")).status == PASS
    assert "Connection refused" in look(kind="tcp", unix_socket=str(home / "s")).output


# -- DNS --------------------------------------------------------------------------------------------------------------


def dns_answer(question: bytes, over_tcp: bool) -> bytes:
    """Knows app.test and big.test as 192.0.2.7; the latter is too big for a datagram."""
    name = question[12 : question.index(b"\0", 12)]
    if name == b"\x03big\x04test" and not over_tcp:
        return question[:2] + b"\x83\x80\0\1\0\0\0\0\0\0" + question[12:]
    if name not in (b"\x03app\x04test", b"\x03big\x04test"):
        return question[:2] + b"\x81\x83\0\1\0\0\0\0\0\0" + question[12:]
    record = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x07"
    return question[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + question[12:] + record


@pytest.fixture
def resolver() -> Iterator[int]:
    """A name server that loses the first datagram; its port."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def datagrams() -> None:
        server.recvfrom(512)
        while True:
            question, client = server.recvfrom(512)
            if not question:
                return
            server.sendto(dns_answer(question, False), client)

    def stream(connection: socket.socket) -> None:
        said = dns_answer(connection.recv(512)[2:], True)
        connection.sendall(len(said).to_bytes(2, "big") + said)

    with server, tcp_server(stream) as port:
        server.bind(("127.0.0.1", port))
        thread = threading.Thread(target=datagrams, daemon=True)
        thread.start()
        yield port
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", ("127.0.0.1", port))
            thread.join()


def test_names(resolver: int) -> None:
    asked = {"kind": "dns", "server": "127.0.0.1", "port": resolver, "latency_warning": 60}
    found = look(record="app.test", expect=["192.0.2.7"], **asked)
    assert found.status == PASS, found
    assert float(measured(found, "latency").value or 0) >= 1  # the first question was lost
    assert look(record="big.test.", **asked).status == PASS
    assert look(record="app.test", expect=["192.0.2.8"], **asked).output == "app.test is not 192.0.2.8."
    assert "NXDOMAIN" in look(record="no.test", **asked).output
    assert "knows no AAAA record" in look(record="app.test", type="AAAA", **asked).output
    assert look(kind="dns", record="localhost", expect=["127.0.0.1"]).status == PASS
    assert "cannot be resolved" in look(kind="dns", record="no-such-name.invalid", timeout="10s").output


def test_a_name_server_that_is_silent() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        found = look(kind="dns", record="x.test", server="127.0.0.1", port=port, timeout="1s")
        assert found.output == "No answer within 1 s (waiting for the DNS server 127.0.0.1)."


# -- databases --------------------------------------------------------------------------------------------------------


def on_socket(server: EmbeddedPostgres, **more: Any) -> dict[str, Any]:
    return {
        "kind": "postgresql",
        "login_unix_socket": str(server.socket_dir),
        "login_port": server.port,
        "bin_dir": str(server.bin_dir),
        "timeout": "20s",
        **more,
    }


def test_postgresql(pg18: EmbeddedPostgres, database: Any) -> None:
    name = database(pg18)
    pg18.psql('CREATE EXTENSION vector; CREATE SCHEMA "odd.one"; CREATE TABLE "odd.one".t (); CREATE TABLE t2 ()', name)
    found = look(**on_socket(pg18, database=name, extensions=["vector"], tables=['"odd.one".t', "t2", "public.t2"]))
    assert found.status == PASS, found
    assert measured(found, "role").value == "primary"
    assert measured(found, "extension", "vector").value == pg18.value(
        "SELECT extversion FROM pg_extension WHERE extname = 'vector'", name
    )
    assert 0 < float(measured(found, "connections").value or 0) < 100
    wanted = {"extensions": ["postgis"], "tables": ["public.t", "t3"], "role": "primary", "replicas": 1}
    found = look(**on_socket(pg18, database=name, **wanted))
    assert {(each.name, each.target) for each in found.measurements if each.status == FAIL} == {
        ("extension", "postgis"),
        ("table", "public.t"),
        ("table", "t3"),
        ("replicas", ""),
    }
    assert look(**on_socket(pg18, role="replica")).output == "The server is a primary and should be a replica."


def test_postgresql_over_tcp_with_a_password_that_is_never_told(pg18: EmbeddedPostgres) -> None:
    login = {"kind": "postgresql", "login_host": "127.0.0.1", "login_port": pg18.port, "timeout": "20s"}
    assert look(**login, login_password=pg18.password).status == PASS
    found = look(**login, login_password="hunter2hunter2")
    assert "does not accept the login" in found.output
    assert "hunter2" not in repr(found)
    missing = look(**login, login_password=pg18.password, database="no_such_database")
    assert "does not exist" in missing.output


def test_postgresql_that_is_full_or_gone() -> None:
    with EmbeddedPostgres(18, {"max_connections": "10", "superuser_reserved_connections": "2"}) as server:
        held = [server.connect() for _number in range(7)]
        try:
            found = look(**on_socket(server, connections_warning=80, connections_critical=99.9))
            # Seven of ours and its own, of eight that anybody may have.
            assert measured(found, "connections").status == FAIL
        finally:
            for connection in held:
                connection.close()
        server.stop()
        assert look(**on_socket(server)).status == FAIL


def test_a_replica_is_followed(tmp_path: Path) -> None:
    with EmbeddedPostgres(18, {"wal_level": "replica", "max_wal_senders": "3"}) as primary:
        replica = EmbeddedPostgres(18)
        with (primary.data / "pg_hba.conf").open("a") as access:
            access.write("local replication all trust\n")
        primary.psql("SELECT pg_reload_conf()")
        try:
            primary.run(
                "pg_basebackup", "-D", str(replica.data), "-R", "-X", "stream", "-c", "fast", "-d", primary.dsn()
            )
            replica.start()
            deadline = time.monotonic() + 30
            while look(**on_socket(primary, replicas=1)).status != PASS and time.monotonic() < deadline:
                time.sleep(0.1)
            assert look(**on_socket(primary, replicas=1, role="primary")).status == PASS
            found = look(**on_socket(replica, role="replica"))
            assert (found.status, measured(found, "receiver").value) == (PASS, "streaming"), found
            primary.stop()
            deadline = time.monotonic() + 30
            while look(**on_socket(replica, role="replica")).status != FAIL and time.monotonic() < deadline:
                time.sleep(0.1)
            assert "receives nothing" in look(**on_socket(replica, role="replica")).output
        finally:
            replica.close()


@pytest.mark.skipif("redis" not in BUILDS, reason="there is no wheel with Redis for this Python")
def test_redis() -> None:
    with Service(BUILDS["redis"], "--requirepass", "hunter2hunter2", "--maxmemory", "8mb") as server:
        login = {"kind": "redis", "login_port": server.port, "login_password": "hunter2hunter2"}
        found = look(**login)
        assert found.status == PASS, found
        assert measured(found, "rdb_last_bgsave_status").value == "ok"
        assert float(measured(found, "memory").value or 0) > 1
        assert look(**login, memory_warning=0.1, memory_critical=0.2).status == FAIL
        assert {
            each.name for each in look(**login, role="replica", replicas=1).measurements if each.status == FAIL
        } == {
            "role",
            "replicas",
        }
        wrong = look(kind="redis", login_port=server.port, login_password="wrong-one")
        assert wrong.status == FAIL
        assert "wrong-one" not in repr(wrong)
        assert look(kind="redis", login_port=server.port).status == FAIL
    assert look(**login).status == FAIL


# -- this host --------------------------------------------------------------------------------------------------------


def test_memory_swap_and_load_are_those_of_this_host() -> None:
    """Compared with what psutil says of the same moment, wherever this is no container with limits."""
    import psutil

    found = look(kind="memory", warning=99.9, critical=100)
    if not Path("/sys/fs/cgroup/memory.max").exists():
        assert float(measured(found, "used_percent").value or 0) == pytest.approx(
            psutil.virtual_memory().percent, abs=5
        )
    assert look(kind="memory", warning=0, critical=0).status == FAIL
    assert look(kind="swap").measurements[0].unit == "%"
    found = look(kind="load", minutes=15, warning=1e6, critical=1e6)
    processors = len(os.sched_getaffinity(0))
    assert float(measured(found, "per_processor").value or 0) == pytest.approx(os.getloadavg()[2] / processors, abs=1)
    assert 0 <= float(measured(look(kind="cpu", sample=0.2), "busy_percent").value or 0) <= 100


@pytest.mark.skipif(not is_root(), reason="needs root, to mount a small disk")
def test_a_disk_that_fills(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 8) as disk:
        found = look(kind="disk", paths=[str(disk)], mounted=True, warning=50, critical=90)
        assert found.status == PASS, found
        (disk / "half").write_bytes(b"x" * (5 << 20))
        assert look(kind="disk", paths=[str(disk)], warning=50, critical=90).status == WARN
        low = look(kind="disk", paths=[str(disk)], free_critical="4MiB")
        assert f"{disk} has room for only" in low.output
        (disk / "rest").write_bytes(b"x" * (5 << 19))
        assert look(kind="disk", paths=[str(disk)], warning=50, critical=90).status == FAIL
        assert look(kind="inodes", paths=[str(disk)]).status == PASS
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        assert f"{disk} is read-only." in look(kind="disk", paths=[str(disk)], critical=100).output
    gone = look(kind="disk", paths=[str(tmp_path / "disk")], mounted=True)
    assert gone.output == f"Nothing is mounted at {tmp_path}/disk."
    assert look(kind="disk", paths=[str(tmp_path / "no")]).output == f"{tmp_path}/no does not exist."


def test_processes_by_name_and_command_line() -> None:
    mark = f"holdfast-{os.getpid()}"
    running = [subprocess.Popen(["/bin/sh", "-c", f"exec -a {mark} sleep 60"], executable="/bin/bash") for _n in (1, 2)]
    try:
        deadline = time.monotonic() + 10
        while look(kind="process", matches=mark, minimum=2).status != PASS and time.monotonic() < deadline:
            time.sleep(0.02)
        assert look(kind="process", process="sleep", matches=f"^{mark}", minimum=2, maximum=2).status == PASS
        assert look(kind="process", matches=mark, minimum=0, maximum=1).status == FAIL
        assert look(kind="process", matches=mark, user="nobody").status == FAIL
    finally:
        for process in running:
            process.kill()
            process.wait()
    assert look(kind="process", matches=mark).output == f"0 processes of {mark} run, and not at least 1."


def test_models_are_hashed_once(tmp_path: Path) -> None:
    model, state = tmp_path / "model.bin", tmp_path / "state"
    model.write_bytes(b"weights" * 1000)
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    (tmp_path / "SUMS").write_text(f"{digest}  model.bin\n")
    check = {"kind": "model_files", "sha256sums": str(tmp_path / "SUMS"), "state_dir": state}
    assert look(**check).status == PASS
    kept = json.loads((state / "model_files.json").read_text())
    assert kept[str(model)]["sha256"] == digest
    # What is kept is believed without reading: a lie in it shows.
    (state / "model_files.json").write_text(json.dumps({str(model): {**kept[str(model)], "sha256": "0" * 64}}))
    assert "is not the file that it should be" in look(**check).output
    # A changed file is read again, also when its size and time of change are the old ones.
    before = model.stat()
    model.write_bytes(b"w3ights" * 1000)
    os.utime(model, ns=(before.st_atime_ns, before.st_mtime_ns))
    (state / "model_files.json").write_text(json.dumps(kept))
    assert "is not the file that it should be" in look(**check).output
    assert look(kind="model_files", files=[{"path": str(model), "size": 1}]).status == FAIL
    assert "No such file" in look(kind="model_files", directory=str(tmp_path), files=[{"path": "gone"}]).output


def test_a_card_that_is_not_there_and_one_that_is_full(tmp_path: Path) -> None:
    assert look(kind="gpu", command=str(tmp_path / "no")).status == PASS
    assert look(kind="gpu", command=str(tmp_path / "no"), required=True).status == FAIL
    program = tmp_path / "nvidia-smi"
    # What the program prints for two cards, one of which does not tell its temperature.
    program.write_text('#!/bin/sh\nprintf "0, 1024, 16384, 3, 45\\n1, 16200, 16384, 100, [N/A]\\n"\n')
    program.chmod(0o755)
    found = look(kind="gpu", command=str(program), required=True, minimum=2)
    assert [(each.name, each.target) for each in found.measurements if each.status == FAIL] == [("memory", "1")]
    assert measured(found, "temperature", "0").value == 45
    assert look(kind="gpu", command=str(program), required=True, minimum=3).status == FAIL


def line(event: str, age: float, **more: Any) -> str:
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - age))
    return json.dumps({"time": moment, "event": event, "component": "shop", "job": "backup", **more}) + "\n"


def test_backups_by_the_log_of_jobs(tmp_path: Path) -> None:
    log = tmp_path / "jobs.jsonl"
    check = {"kind": "backup", "component": "shop", "job_log": str(log), "warning": "2h", "critical": "1d"}
    assert "No successful backup of shop is known" in look(**check).output
    made = time.strftime("%Y%m%dT%H%M%S.000Z", time.gmtime(time.time() - 3600)) + "-0123456789ab"
    (tmp_path / "jobs.jsonl.1").write_text(line("result", 9000, verb="backup", ok=True) + line("end", 9000, ok=True))
    found = look(**check)
    assert (found.status, found.output) == (WARN, "The newest backup of shop is 2h30m old (allowed: 2h).")
    log.write_text(
        line("result", 3000, verb="backup", ok=True, backup_id=made)
        + line("result", 10, verb="backup", ok=False)
        + "half a li"
    )
    found = look(**check)
    assert found.status == PASS
    assert float(measured(found, "age").value or 0) == pytest.approx(3600, abs=20)
    log.write_text(log.read_text() + "\n" + line("end", 5, ok=False, msg="no space"))
    assert look(**check).output == "The last run of shop failed: no space"
    assert look(**check, verified="8d").output == "No verification of shop is known."
    assert look(**{**check, "critical": "30m", "warning": "20m"}).status == FAIL


def test_pm2_is_not_started_by_being_asked(tmp_path: Path) -> None:
    program = tmp_path / "pm2"
    listed = [
        {
            "name": "web",
            "pm2_env": {"status": "online", "restart_time": 7, "SECRET": "hunter2"},
            "monit": {"memory": 5000},
        },
        {"name": "job", "pm2_env": {"status": "errored", "restart_time": 0}},
    ]
    program.write_text(f"#!/bin/sh\necho '>>>> In-memory PM2 is out-of-date'\ncat <<'E'\n{json.dumps(listed)}\nE\n")
    program.chmod(0o755)
    check = {"kind": "pm2", "command": str(program), "pm2_home": str(tmp_path)}
    assert "does not run" in look(**check).output
    (tmp_path / "pm2.pid").write_text(str(os.getpid()))
    found = look(**check, processes=["web"])
    assert found.status == PASS, found
    assert look(**check, processes=["web"], restarts_warning=5).status == WARN
    assert look(**check).output == "1 of 1 of job is errored."
    assert look(**check, processes=["other"]).output == "1 of 1 of other is missing."
    assert "hunter2" not in repr(look(**check))


def test_nothing_listens_where_docker_should_be(tmp_path: Path) -> None:
    found = look(kind="docker", containers=["x"], docker_host=f"unix://{tmp_path}/none")
    assert "The Docker engine does not run" in found.output
    (port,) = free_ports(1)
    assert "refused" in look(kind="docker", containers=["x"], docker_host=f"tcp://127.0.0.1:{port}").output


def test_what_runs_without_systemd_says_so() -> None:
    if Path("/run/systemd/system").exists():
        assert look(kind="systemd", units=["no-such-unit-of-holdfast"]).output == (
            "no-such-unit-of-holdfast is not found."
        )
    else:
        assert look(kind="systemd", units=["cron"]).status == FAIL
