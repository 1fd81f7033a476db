# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`holdfast health` as timers and people call it, the endpoint that serves what it wrote, and the modules."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._health import _serve
from ansible_collections.holdfast.ops.plugins.module_utils._health._parse import as_config, parse_checks
from ansible_collections.holdfast.ops.tests.support.notify import HttpSink
from ansible_collections.holdfast.ops.tests.support.servers import wait_until

_COMMAND = [sys.executable, "-m", "ansible_collections.holdfast.ops.plugins.module_utils._host", "health"]


class Host:
    """A host below a directory, whose one check says what a file says."""

    def __init__(self, root: Path, hook: str) -> None:
        self.root = root
        self.state = root / "code"
        self.config = root / "etc" / "holdfast"
        self.config.mkdir(parents=True)
        self.say(0)
        self.declare({"name": "app", "failures": 2, "recoveries": 2, "profiles": ["liveness"]})
        channel = {"name": "hook", "type": "webhook", "url": hook, "severities": ["critical", "warning", "info"]}
        (self.config / "notify.json").write_text(json.dumps({"channels": [channel]}))
        (self.config / "host.json").write_text(json.dumps({"inventory_hostname": "app1"}))

    def declare(self, *checks: dict[str, Any]) -> None:
        program = ["/bin/sh", "-c", f"echo it says so; exit $(cat {self.state})"]
        declared = [{"kind": "command", "command": program, **check} for check in checks]
        (self.config / "health.json").write_text(json.dumps(as_config(parse_checks(declared))))

    def say(self, code: int) -> None:
        self.state.write_text(str(code))

    def health(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*_COMMAND, *arguments],
            env={**os.environ, "HOLDFAST_ROOT": str(self.root)},
            capture_output=True,
            encoding="utf-8",
            check=False,
        )

    @property
    def report(self) -> Path:
        return self.root / "run" / "holdfast" / "health.json"

    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.report.read_text())
        return found


@pytest.fixture
def told() -> Iterator[HttpSink]:
    """A webhook, and what it was sent in `.received`."""
    with HttpSink() as sink:
        yield sink


@pytest.fixture
def host(tmp_path: Path, told: HttpSink) -> Host:
    return Host(tmp_path, told.url())


def test_a_run_by_hand_says_what_is_and_keeps_nothing(host: Host) -> None:
    assert host.health().returncode == 0
    host.say(1)
    found = host.health("liveness")
    assert found.returncode == 1
    assert found.stdout.splitlines()[0] == "WARN  app  /bin/sh exited with status 1: it says so"
    host.say(2)
    found = host.health("--json", "--check", "app")
    assert (found.returncode, json.loads(found.stdout)["status"]) == (2, "fail")
    assert not host.report.exists()
    assert not (host.root / "var").exists()
    assert host.health("readiness").stdout == "No checks are declared here.\n"


def test_what_cannot_be_checked_is_neither_well_nor_ill(host: Host) -> None:
    found = host.health("--check", "ap")
    assert (found.returncode, found.stdout) == (3, "")
    assert "No such check is declared: ap; there are: app." in found.stderr
    (host.config / "health.json").write_text("{}")
    assert host.health().returncode == 3
    (host.config / "health.json").unlink()
    assert "does not exist" in host.health().stderr
    assert host.health("livness").returncode == 64


def test_people_are_told_once_when_it_is_certain_and_once_when_it_is_over(host: Host, told: HttpSink) -> None:
    record = ("liveness", "--record", "--quiet", "--every", "1m")
    assert host.health(*record).stdout == ""
    host.say(2)
    first = host.health(*record)
    assert (first.returncode, host.document()["status"], told.received) == (1, "warn", [])
    assert "Not yet confirmed" in first.stdout
    assert host.health(*record).returncode == 2
    assert host.document()["status"] == "fail"
    assert host.health(*record).returncode == 2
    assert len(told.received) == 1
    said = told.received[0].body.decode()
    assert all(word in said for word in ("health:app", "critical", "firing", "app1", "it says so"))
    host.say(0)
    assert host.health(*record).returncode == 2
    assert host.document()["holdfast"]["app"]["output"].startswith("It has failed before")
    assert host.health(*record).returncode == 0
    assert len(told.received) == 2
    assert "resolved" in told.received[1].body.decode()


def test_somebody_who_could_not_be_told_is_told_later(host: Host, told: HttpSink) -> None:
    host.declare({"name": "app", "failures": 1})
    host.say(2)
    # Killed between what was found and telling it: what was kept says that nobody knows yet.
    host.health("--record")
    state = host.root / "var/lib/holdfast/health/state.json"
    kept = json.loads(state.read_text())
    assert kept["checks"][0]["state"]["told"] == "fail"
    kept["checks"][0]["state"]["told"] = "pass"
    state.write_text(json.dumps(kept))
    before = len(told.received)
    assert host.health("--record").returncode == 2
    assert len(told.received) == before  # the channel knows of it: `_notify` does not repeat what is open
    assert json.loads(state.read_text())["checks"][0]["state"]["told"] == "fail"


def test_runs_of_profiles_leave_each_other_alone_and_what_is_gone_is_forgotten(host: Host) -> None:
    host.declare({"name": "a", "profiles": ["liveness"]}, {"name": "b", "profiles": ["readiness"]})
    metrics = host.root / "metrics"
    metrics.mkdir()
    for profile in ("liveness", "readiness"):
        assert host.health(profile, "--record", "--textfile-dir", str(metrics)).returncode == 0
    assert set(host.document()["holdfast"]) == {"a", "b"}
    text = (metrics / "holdfast_health.prom").read_text()
    assert 'holdfast_health_status{check="a"} 0' in text
    assert 'holdfast_health_status{check="b"} 0' in text
    host.declare({"name": "b"})
    host.health("--record", "--textfile-dir", str(metrics))
    assert set(host.document()["holdfast"]) == {"b"}
    assert 'check="a"' not in (metrics / "holdfast_health.prom").read_text()
    assert "could not be written" in host.health("--record", "--textfile-dir", "/no/dir").stderr


def test_rights_of_what_is_written(host: Host) -> None:
    os.umask(os.umask(0o077))
    host.health("--record")
    assert host.report.stat().st_mode & 0o777 == 0o644
    assert host.report.parent.stat().st_mode & 0o777 == 0o755
    state = host.root / "var/lib/holdfast/health"
    assert (state.stat().st_mode & 0o777, (state / "state.json").stat().st_mode & 0o777) == (0o700, 0o600)


def test_what_was_damaged_is_begun_anew_and_said(host: Host) -> None:
    host.health("--record")
    state = host.root / "var/lib/holdfast/health/state.json"
    for damage in ("", "[]", '{"version": 1, "checks": [{"name": 3}]}', '{"version": 9}'):
        state.write_text(damage)
        found = host.health("--record")
        assert found.returncode == 0
        assert "is begun anew" in found.stderr
        assert host.document()["status"] == "pass"


def test_a_run_that_is_ended_leaves_no_check_behind(host: Host, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    host.declare({"name": "long", "command": ["/bin/sh", "-c", f"echo $$ > {pid_file}; sleep 60"], "timeout": "1m"})
    running = subprocess.Popen(_COMMAND, env={**os.environ, "HOLDFAST_ROOT": str(host.root)})
    wait_until(lambda: pid_file.exists() and pid_file.read_text().endswith("\n"), "the check")
    pid = int(pid_file.read_text())
    running.send_signal(signal.SIGTERM)
    assert running.wait(10) == 128 + signal.SIGTERM
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the end of the check")


def probe(report: Path, request: bytes) -> bytes:
    """Ask as systemd lets it be asked: a process whose standard input is the connection."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        serving = subprocess.Popen([sys.executable, "-I", "-S", _serve.__file__, str(report)], stdin=theirs, cwd="/")
        theirs.close()
        ours.sendall(request)
        ours.settimeout(20)
        answer = b""
        while True:
            data = ours.recv(65_536)
            answer += data
            if not data:
                break
        assert serving.wait(10) == 0
        return answer


def test_the_endpoint_serves_the_last_document(host: Host) -> None:
    request = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
    assert b"503 Service Unavailable" in probe(host.report, request)
    host.health("--record")
    answer = probe(host.report, request)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: application/health+json\r\n")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["status"] == "pass"


def test_somebody_who_asks_nothing_or_too_much_is_left_alone(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_serve, "_PATIENCE", 0.2)
    for request in (b"", b"GET /livez", b"x" * 20_000):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.sendall(request)
            began = time.monotonic()
            _serve.serve(theirs, str(host.report))
            assert time.monotonic() - began < 5
