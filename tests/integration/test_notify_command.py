# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`holdfast notify` as it runs on a host, a process of its own: exit codes, what arrives, and no secret anywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._notify._parse import parse_notifications
from ansible_collections.holdfast.ops.tests.support.notify import HttpSink, Reply, contract
from ansible_collections.holdfast.ops.tests.support.procwatch import ProcessWatch
from ansible_collections.holdfast.ops.tests.support.servers import free_ports

SECRET = "s3cr3t-0123456789-path"
TOKEN = "t0k3n-0123456789-token"
UNIT = "holdfast-backup-shop_db.service"
PACKAGE = "ansible_collections.holdfast.ops.plugins.module_utils._host"


class Host:
    """A directory that stands for a host, with everything where the roles put it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / "etc" / "holdfast"
        (self.config / "secrets").mkdir(parents=True)
        (self.config / "host.json").write_text('{"inventory_hostname": "db1"}')
        self.bin = root / "bin"
        self.bin.mkdir()
        self.program("journalctl", "echo starting; echo 'pg_dump: error: no space left on device'")
        self.program("systemctl", "echo Result=exit-code; echo ExecMainCode=1; echo ExecMainStatus=1")

    def program(self, name: str, script: str) -> None:
        """Something in the place of a program of systemd, which is not everywhere."""
        (self.bin / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.bin / name).chmod(0o755)

    def declare(self, *channels: Mapping[str, Any]) -> None:
        def place(name: str, value: str) -> str:
            path = self.config / "secrets" / name
            path.write_text(f"{value}\n")
            return str(path)

        config = parse_notifications(list(channels)).as_config(place)
        (self.config / "notify.json").write_text(json.dumps(config))

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", PACKAGE, "notify", *arguments],
            env={
                "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}",
                "HOLDFAST_ROOT": str(self.root),
                "LC_ALL": "C.UTF-8",
                **environment,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert SECRET not in done.stdout + done.stderr and TOKEN not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return done


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture
def sink() -> Iterator[HttpSink]:
    with HttpSink() as server:
        yield server


def hook(sink: HttpSink, **options: Any) -> dict[str, Any]:
    return {"name": "hook", "type": "webhook", "url": sink.url(f"/{SECRET}"), "token": TOKEN, "retries": 0, **options}


def test_a_unit_that_was_killed_is_told_with_what_it_said_last(host: Host, sink: HttpSink) -> None:
    host.declare(hook(sink))
    host.program("journalctl", f'echo "$@" > {host.root}/asked; echo "token {TOKEN}"; echo "no space left on device"')
    done = host.run(
        "unit",
        UNIT,
        MONITOR_UNIT=UNIT,
        MONITOR_SERVICE_RESULT="oom-kill",
        MONITOR_EXIT_CODE="killed",
        MONITOR_EXIT_STATUS="KILL",
        MONITOR_INVOCATION_ID="0123456789abcdef0123456789abcdef",
    )
    assert (done.returncode, done.stderr) == (0, "")
    document = sink.received[0].json()
    contract("webhook").validate(document)
    assert document["summary"] == "backup of shop_db failed: it was killed because memory ran out (OOM)"
    assert (document["host"], document["component"], document["key"]) == ("db1", "shop_db", "backup:shop_db")
    assert "no space left on device" in document["details"] and f"journalctl -u {UNIT}" in document["details"]
    assert TOKEN not in document["details"]  # what lies in /etc/holdfast/secrets is taken out of the journal's lines
    assert "_SYSTEMD_INVOCATION_ID=0123456789abcdef0123456789abcdef" in (host.root / "asked").read_text()


def test_an_old_systemd_is_asked_how_the_unit_ended(host: Host, sink: HttpSink) -> None:
    host.declare(hook(sink))
    assert host.run("unit", UNIT).returncode == 0
    assert sink.received[0].json()["summary"] == "backup of shop_db failed: it exited with status 1"


def test_a_unit_is_told_with_no_journal_and_no_room(host: Host, sink: HttpSink) -> None:
    host.declare(hook(sink))
    host.program("journalctl", "echo 'Failed to open journal' >&2; exit 1")
    (host.root / "var").touch()  # nothing can be written below
    done = host.run("unit", UNIT)
    assert done.returncode == 0
    assert "cannot be remembered" in done.stderr and "Failed to open journal" in done.stderr
    assert "left no lines" in sink.received[0].json()["details"]


def test_without_a_channel_the_journal_says_so(host: Host) -> None:
    done = host.run("unit", UNIT)
    assert done.returncode == 0
    assert "no channel is declared" in done.stderr


def test_what_fails_is_kept_and_sent_by_retry(host: Host, sink: HttpSink) -> None:
    host.declare(hook(sink))
    sink.replies = [Reply(400, f"bad token {TOKEN}")]
    done = host.run("send", "disk is nearly full", "--key", "disk:/", "--label", "mount=/srv")
    assert done.returncode == 1
    assert "hook (webhook): warning firing disk:/: NOT sent" in done.stderr
    assert (host.root / "var/lib/holdfast/notify/undelivered").exists()
    # It is due in five minutes, or with the next event.
    assert host.run("retry").stdout == "Nothing to send.\n"
    assert host.run("send", "something else", "--key", "other", "--severity", "info").returncode == 0
    assert [each.json()["key"] for each in sink.received] == ["disk:/", "other", "disk:/"]
    assert sink.received[2].json()["labels"] == {"mount": "/srv"}
    assert not (host.root / "var/lib/holdfast/notify/undelivered").exists()


def test_the_end_of_a_problem_is_told_once(host: Host, sink: HttpSink) -> None:
    host.declare(hook(sink))
    for arguments in ((), ("--resolved",), ("--resolved",)):
        assert host.run("send", "disk", "--key", "disk:/", *arguments).returncode == 0
    assert [each.json()["status"] for each in sink.received] == ["firing", "resolved"]


def test_tests_are_sent_and_reported_for_each_channel(host: Host, sink: HttpSink) -> None:
    (port,) = free_ports(1)
    host.declare(hook(sink), hook(sink, name="down", url=f"http://localhost:{port}/{SECRET}"))
    done = host.run("test", "--json")
    assert done.returncode == 1
    told = {(each["channel"], each["severity"]): each["outcome"] for each in json.loads(done.stdout)}
    severities = ("critical", "warning", "info")
    assert told == {
        **{("hook", severity): "sent" for severity in severities},
        **{("down", severity): "failed" for severity in severities},
    }
    assert [each.json()["severity"] for each in sink.received] == list(severities)
    assert host.run("test", "--channel", "hook", "--severity", "info").returncode == 0
    assert "there are: hook, down" in host.run("test", "--channel", "hok").stderr
    assert not (host.root / "var").exists()  # tests leave nothing behind


def test_channels_are_listed_and_reached(host: Host, sink: HttpSink) -> None:
    (port,) = free_ports(1)
    host.declare(hook(sink, components=["shop_db"]), hook(sink, name="down", url=f"http://localhost:{port}/{SECRET}"))
    done = host.run("channels")
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == "hook (webhook): critical, warning, info; only shop_db"
    done = host.run("channels", "--probe")
    assert done.returncode == 1
    assert f"reached localhost:{sink.port}" in done.stdout and "NOT reached: localhost" in done.stdout
    assert not sink.received


def test_heartbeats(host: Host, sink: HttpSink) -> None:
    host.declare({"name": "alive", "type": "heartbeat", "url": sink.url(f"/{SECRET}/{{component}}")})
    assert host.run("heartbeat", "shop_db").returncode == 0
    assert host.run("heartbeat", "shop_db", "--signal", "start").returncode == 0
    assert [each.path for each in sink.received] == [f"/{SECRET}/shop_db", f"/{SECRET}/shop_db/start"]


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["send", "x"], ["unit"], ["test", "--severity", "fatal"]])
def test_what_is_misspelled_is_no_result(host: Host, arguments: list[str]) -> None:
    assert host.run(*arguments).returncode == 64


def test_a_damaged_configuration_is_told(host: Host) -> None:
    (host.config / "notify.json").write_text("{")
    done = host.run("unit", UNIT)
    assert done.returncode == 1
    assert "notify.json is no JSON" in done.stderr and "holdfast.ops.site" in done.stderr


def test_no_secret_in_any_process_nor_in_what_is_kept(host: Host, sink: HttpSink) -> None:
    host.declare(hook(sink))
    sink.replies = [Reply(500, f"no such hook /{SECRET}, {TOKEN}")] * 2
    host.program("journalctl", f"sleep 0.2; echo 'Authorization: Bearer {TOKEN}'")
    with ProcessWatch() as seen:
        host.run("unit", UNIT)
        host.run("test")
        host.run("channels", "--probe")
    assert "journalctl" in str(seen.cmdlines), "the watch saw nothing"
    assert not seen.holding(SECRET, TOKEN)
    kept = [path for path in (host.root / "var").rglob("*") if path.is_file()]
    assert any(path.name == "state.json" for path in kept)
    for path in kept:
        assert not {word for word in (SECRET, TOKEN) if word in path.read_text()}, path
