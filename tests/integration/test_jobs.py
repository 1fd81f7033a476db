# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`holdfast job` as timers and cron run it: real playbooks, real backups, and no success that is none."""

from __future__ import annotations

import json
import os
import signal
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._notify._parse import parse_notifications
from ansible_collections.holdfast.ops.tests.support.host import Host
from ansible_collections.holdfast.ops.tests.support.notify import HttpSink
from ansible_collections.holdfast.ops.tests.support.servers import short_directory

pytestmark = pytest.mark.ansible

SECRET = "hunter2-not-to-be-seen"


@pytest.fixture
def host() -> Iterator[Host]:
    one = Host(short_directory("hf-job-"))
    tree = one.root.parent / "tree"
    tree.mkdir()
    (tree / "letter.txt").write_text("dear reader\n")
    one.declare("letters", path=str(tree))
    one.write()
    yield one
    one.remove()


def events(lines: list[dict[str, Any]]) -> list[tuple[str, str | None]]:
    return [(line["event"], line.get("verb")) for line in lines]


def wait_for(condition: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it did not come to that")


def test_a_backup_is_made_verified_and_pruned_and_each_is_told(host: Host) -> None:
    code, out = host.run("job", "backup", "letters")
    assert code == 0, out
    (manifest,) = host.manifests("letters")
    (verified,) = (host.repository / "letters/verified").glob("*/*-checksum-ok.json")
    assert verified.parent.name == manifest["id"]
    lines = host.log()
    assert events(lines) == [
        ("start", None), ("result", "backup"), ("result", "verify"), ("result", "prune"), ("end", None),
    ]  # fmt: skip
    assert lines[1]["backup_id"] == manifest["id"]
    assert lines[1]["stored_bytes"] > 0
    assert (lines[2]["results"][0]["backup_id"], lines[2]["results"][0]["ok"]) == (manifest["id"], True)
    assert lines[-1]["ok"] is True
    assert len({line["run"] for line in lines}) == 1
    assert {(line["component"], line["host"], line["job"]) for line in lines} == {("letters", "here", "backup")}
    assert stat.S_IMODE((host.root / "var/log/holdfast/jobs.jsonl").stat().st_mode) & 0o007 == 0
    assert "holdfast: backup of letters succeeded" in out


def test_upkeep_elsewhere_only_backs_up(host: Host) -> None:
    host.components[0]["upkeep"] = "elsewhere"
    host.write()
    code, out = host.run("job", "backup", "letters")
    assert code == 0, out
    assert events(host.log()) == [("start", None), ("result", "backup"), ("end", None)]
    assert not list((host.repository / "letters").glob("verified/*/*"))


def test_deep_verification_looks_at_every_backup_again(host: Host) -> None:
    for _number in range(2):
        assert host.run("job", "backup", "letters")[0] == 0
    first, second = host.manifests("letters")
    code, out = host.run("job", "verify", "letters")
    assert code == 0, out
    last = [line for line in host.log() if line.get("verb") == "verify"][-1]
    assert {one["backup_id"] for one in last["results"]} == {first["id"], second["id"]}
    # One byte of the older one rots.
    blob = max((host.repository / "letters/data").rglob(f"*{first['id']}*/*"), key=lambda path: path.stat().st_size)
    blob.chmod(0o600)
    content = bytearray(blob.read_bytes())
    content[len(content) // 2] ^= 1
    blob.write_bytes(bytes(content))
    code, out = host.run("job", "verify", "letters")
    assert code == 1, out
    end = host.log()[-1]
    assert (end["event"], end["ok"], end["error_code"]) == ("end", False, "corrupted")
    assert first["id"] in end["msg"]


@pytest.mark.parametrize("component", ["lettres", "../letters", "*"])
def test_what_is_not_declared_is_no_success(host: Host, component: str) -> None:
    code, out = host.run("job", "backup", component)
    assert code == 1, out
    assert host.log()[-1]["ok"] is False
    assert host.log()[-1]["error_code"] == "invalid_option"


def test_a_failed_backup_is_neither_verified_nor_a_success(host: Host) -> None:
    host.components[0]["path"] = str(host.root / "nothing-here")
    host.repositories["primary"]["secret_key"] = SECRET
    host.write()
    code, out = host.run("job", "backup", "letters")
    assert code == 1
    assert SECRET not in out
    del host.repositories["primary"]["secret_key"]
    host.write()
    code, out = host.run("job", "backup", "letters")
    assert code == 1
    lines = host.log()
    assert events(lines)[-3:] == [("start", None), ("result", "backup"), ("end", None)]
    assert lines[-1]["error_code"] == lines[-2]["error_code"] == "not_found"
    assert "nothing-here" in lines[-1]["msg"]
    assert SECRET not in json.dumps(lines)


def test_a_playbook_that_cannot_even_start_is_a_failure(host: Host) -> None:
    (host.root / "etc/holdfast/inventory.yml").write_text("{")
    code, out = host.run("job", "backup", "letters")
    assert code == 1, out
    assert host.log()[-1]["ok"] is False


def slow(host: Host, gibibytes: int = 16) -> None:
    """Let backups of the component take a while, with a file that is long and takes no room."""
    with (Path(host.components[0]["path"]) / "big").open("wb") as stream:
        stream.truncate(gibibytes << 30)


def running(host: Host) -> list[Path]:
    """What backups that run have announced."""
    return list((host.repository / "letters/running").glob("*"))


def test_the_same_job_does_not_run_twice_at_once(host: Host) -> None:
    slow(host, 2)
    first = host.start("job", "backup", "letters")
    wait_for(host.log)
    try:
        code, out = host.run("job", "backup", "letters")
        assert code == 75, out
        assert host.log()[-1]["error_code"] == "locked"
        assert str(first.pid) in host.log()[-1]["msg"]
    finally:
        out, _none = first.communicate()
    assert first.returncode == 0, out


def test_a_stopped_job_stops_everything_that_it_began(host: Host) -> None:
    slow(host)
    job = host.start("job", "backup", "letters")
    wait_for(lambda: running(host))
    job.send_signal(signal.SIGTERM)
    out, _none = job.communicate(timeout=60)
    assert job.returncode == 128 + signal.SIGTERM, out
    assert (host.log()[-1]["ok"], host.log()[-1]["error_code"]) == (False, "interrupted")
    assert not host.manifests("letters")
    assert not of_host(host)


def test_a_job_that_takes_too_long_is_stopped(host: Host) -> None:
    slow(host)
    code, out = host.run("job", "--timeout", "3s", "backup", "letters")
    assert code == 124, out
    assert host.log()[-1]["error_code"] == "timeout"
    assert not of_host(host)


def of_host(host: Host) -> list[int]:
    """Processes that belong to this host."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if f"HOLDFAST_ROOT={host.root}\0".encode() in (path / "environ").read_bytes():
                found.append(int(path.name))
        except OSError:
            continue
    return found


def test_a_killed_job_leaves_nothing_running_and_is_told_by_its_supervisor(host: Host) -> None:
    slow(host)
    with HttpSink() as sink:
        channels = [
            {"name": "hook", "type": "webhook", "url": sink.url("/hook"), "retries": 0},
            {"name": "beat", "type": "heartbeat", "urls": {"letters": sink.url("/beat")}, "retries": 0},
        ]
        host.notifications = parse_notifications(channels).as_config()
        host.write()
        parent = host.start("job", "--supervised", "backup", "letters")
        (start,) = wait_for(lambda: [line for line in host.log() if line["event"] == "start"])
        wait_for(lambda: running(host))
        assert start["pid"] != parent.pid
        os.kill(start["pid"], signal.SIGKILL)
        out, _none = parent.communicate(timeout=60)
        assert parent.returncode == 128 + signal.SIGKILL, out
        assert not of_host(host)
        assert not host.manifests("letters")
        (told,) = [each.json() for each in sink.received if each.path == "/hook"]
        assert (told["key"], told["status"], told["severity"]) == ("backup:letters", "firing", "critical")
        assert "killed by SIGKILL" in told["summary"]
        assert [each.path for each in sink.received if each.path.startswith("/beat")] == ["/beat/start", "/beat/fail"]

        # It works again: the one who was told is told, and there is a sign of life.
        (Path(host.components[0]["path"]) / "big").unlink()
        code, out = host.run("job", "--supervised", "backup", "letters")
        assert code == 0, out
        told = [each.json() for each in sink.received if each.path == "/hook"][-1]
        assert (told["key"], told["status"]) == ("backup:letters", "resolved")
        assert [each.path for each in sink.received if each.path.startswith("/beat")][-1] == "/beat"
        before = len(sink.received)
        assert host.run("job", "verify", "letters")[0] == 0
        assert len(sink.received) == before  # nothing had failed, and only backups are a sign of life


def reports(host: Host) -> list[dict[str, Any]]:
    paths = sorted((host.root / "reports").glob("*.json"))
    return [json.loads(path.read_text()) for path in paths]


def test_a_drill_proves_measures_and_reports(host: Host) -> None:
    metrics = host.root / "metrics"
    metrics.mkdir()
    host.components[0].update(
        drill="weekly", rto="10m", rpo="26h", reports_dir=str(host.root / "reports"), textfile_dir=str(metrics)
    )
    host.write()
    assert host.run("job", "backup", "letters")[0] == 0
    code, out = host.run("job", "drill", "letters")
    assert code == 0, out
    (manifest,) = host.manifests("letters")
    (report,) = reports(host)
    assert (report["verdict"], report["restores"][0]["backup_id"]) == ("passed", manifest["id"])
    assert {check["name"].split()[0] for check in report["checks"]} == {"sound", "proved", "RTO", "RPO"}
    samples = dict(
        line.rsplit(" ", 1)
        for line in (metrics / "holdfast_drill_letters.prom").read_text().splitlines()
        if not line.startswith("#")
    )
    assert samples['holdfast_drill_last_run_success{component="letters"}'] == "1"
    assert samples['holdfast_drill_rto_target_seconds{component="letters"}'] == "600"
    assert samples['holdfast_drill_max_age_seconds{component="letters"}'] == str(7 * 86400)
    assert 0 < float(samples['holdfast_drill_restore_seconds{component="letters"}']) < 600
    drilled = host.log()[-2]
    assert (drilled["verb"], drilled["verdict"]) == ("drill", "passed")

    # One byte of it rots: the drill must not pass.
    stored = max(
        (host.repository / "letters").rglob("data/**/*"), key=lambda path: path.is_file() and path.stat().st_size
    )
    content = bytearray(stored.read_bytes())
    content[len(content) // 2] ^= 1
    stored.chmod(0o600)
    stored.write_bytes(bytes(content))
    code, out = host.run("job", "drill", "letters")
    assert code == 1, out
    assert host.log()[-1]["error_code"] == "corrupted"
    assert sorted(one["verdict"] for one in reports(host)) == ["failed", "passed"]
    text = (metrics / "holdfast_drill_letters.prom").read_text()
    assert 'holdfast_drill_last_run_success{component="letters"} 0' in text


def test_a_drill_that_takes_too_long_or_brings_back_old_data_fails(host: Host) -> None:
    host.components[0].update(schedule="*/1m", rpo="1m", rto="1s", reports_dir=str(host.root / "reports"))
    host.write()
    assert host.run("job", "backup", "letters")[0] == 0
    # Nothing is waited for: the backup is dated back by what a repository says of it.
    (path,) = (host.repository / "letters/manifests").glob("*.json")
    manifest = json.loads(path.read_text())
    manifest["snapshot_at"] = "2026-01-01T00:00:00Z"
    path.chmod(0o600)
    path.write_text(json.dumps(manifest))
    code, out = host.run("job", "drill", "letters")
    assert code == 1, out
    (report,) = reports(host)
    assert "RPO in primary" in [check["name"] for check in report["checks"] if not check["ok"]]
    assert host.log()[-1]["error_code"] in ("objective_missed", "corrupted")
