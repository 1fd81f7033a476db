# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that looks after itself, on both Debians: what lies on it, what works, and what it costs."""

from __future__ import annotations

import json
import stat

import pytest
from ansible_collections.holdfast.ops.molecule.support.hosts import (
    Sink,
    Store,
    connect,
    entries,
    now,
    properties,
    run,
    sha256sums,
    sql,
    wait_for,
)

HOSTS = ["hf-default-12", "hf-default-13"]
SERVICES = "hf-default-services"


@pytest.fixture(params=HOSTS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_everything_declared_is_readable_by_root_alone(name: str) -> None:
    host = connect(name)
    assert stat.S_IMODE(host.file("/etc/holdfast").mode) == 0o700
    found = run(host, "find /etc/holdfast -type f -printf '%m %u %p\\n'").splitlines()
    assert found
    assert all(line.startswith("600 root ") for line in found), found
    # A secret stands in a file of its own, and in nothing that other accounts or a log could see.
    with_secret = run(host, "grep -rlF molecules-secret /etc/holdfast").split()
    assert with_secret
    assert all(path.startswith("/etc/holdfast/secrets/") for path in with_secret), with_secret
    elsewhere = "/etc/systemd /etc/cron.d /opt/holdfast /var/lib/holdfast /var/log/holdfast /usr/local /run/log/journal"
    assert run(host, f"grep -rlF molecules-secret {elsewhere} 2>/dev/null || true") == ""


def test_nothing_runs_between_the_jobs(name: str) -> None:
    host = connect(name)
    # A job or a check may run just now; a daemon would never be gone.
    wait_for(
        "a moment without a process of holdfast",
        lambda: host.run("pgrep -f '[/]opt/holdfast/'").rc == 1,
        timeout=120,
    )


def test_no_unit_failed_and_timers_wait_for_what_was_declared(name: str) -> None:
    host = connect(name)
    assert run(host, "systemctl list-units --failed --plain --no-legend 'holdfast*'") == ""
    for unit in ("backup-shop", "backup-documents", "verify-shop", "drill-shop", "drill-documents"):
        timer = properties(host, f"holdfast-{unit}.timer", "ActiveState", "UnitFileState", "NextElapseUSecRealtime")
        assert timer["ActiveState"] == "active", unit
        assert timer["UnitFileState"] == "enabled", unit
        assert timer["NextElapseUSecRealtime"], unit
    for profile in ("liveness", "comprehensive"):
        assert properties(host, f"holdfast-health-{profile}.timer", "ActiveState") == {"ActiveState": "active"}


def test_a_timer_fires_and_what_it_made_can_be_read(name: str) -> None:
    """Nobody starts this one: the backup is there because its time came."""
    host, store = connect(name), Store(connect(SERVICES))
    done = wait_for(
        "a backup of documents that its timer started",
        lambda: entries(host, event="end", job="backup", component="documents", ok=True),
        timeout=300,
    )
    triggered = properties(host, "holdfast-backup-documents.timer", "LastTriggerUSec")
    assert triggered["LastTriggerUSec"], "the timer itself started it"
    verbs = {line["verb"] for line in entries(host, event="result", run=done[0]["run"])}
    assert verbs == {"backup", "verify", "prune"}
    keys = store.keys(f"{name}/documents/")
    assert any(key.startswith(f"{name}/documents/manifests/") for key in keys), keys
    assert any(key.startswith(f"{name}/documents/verified/") for key in keys), keys


def test_the_job_of_the_database_backs_up_into_both_repositories(name: str) -> None:
    host, store = connect(name), Store(connect(SERVICES))
    run(host, "systemctl start holdfast-backup-shop.service")
    assert properties(host, "holdfast-backup-shop.service", "Result")["Result"] == "success"
    assert store.keys(f"{name}/shop/manifests/")
    assert run(host, "find /srv/backups/shop/manifests -name '*.json'").split()
    # It was verified to the level that was declared, and a sign of life was sent.
    (last,) = entries(host, event="result", component="shop", verb="verify")[-1:]
    assert last["level"] == "archive"
    assert Sink(connect(SERVICES)).requests("/heartbeat/shop")


def test_the_hosts_own_command_restores_what_was_lost(name: str) -> None:
    host = connect(name)
    before = sql(host, "shop", "SELECT count(*), sum(price), md5(string_agg(what, ',' ORDER BY id)) FROM orders")
    run(host, "holdfast backup shop")
    sql(host, "shop", "DELETE FROM orders WHERE id > 10")
    run(host, "holdfast restore shop --confirm shop")
    after = sql(host, "shop", "SELECT count(*), sum(price), md5(string_agg(what, ',' ORDER BY id)) FROM orders")
    assert after == before
    assert before.startswith("20000|")

    files = sha256sums(host, "/srv/documents")
    # Its timer fires every two minutes here: a job would meet the restore, rightly fail, and be told.
    run(host, "systemctl stop holdfast-backup-documents.timer")
    unit = "holdfast-backup-documents.service"
    wait_for("the end of a job", lambda: properties(host, unit, "ActiveState") == {"ActiveState": "inactive"}, 60)
    try:
        run(host, "holdfast backup documents")
        run(host, "rm -r /srv/documents/2026 && echo spoiled > /srv/documents/large.bin")
        run(host, "holdfast restore documents --confirm /srv/documents")
    finally:
        run(host, "systemctl start holdfast-backup-documents.timer")
    assert sha256sums(host, "/srv/documents") == files
    assert run(host, "readlink /srv/documents/latest").strip() == "2026/1.pdf"


def test_a_drill_is_proved_and_measured(name: str) -> None:
    host = connect(name)
    databases = sql(host, "postgres", "SELECT datname FROM pg_database ORDER BY 1")
    run(host, "systemctl start holdfast-drill-shop.service")
    (last,) = entries(host, event="end", job="drill", component="shop")[-1:]
    assert last["ok"] is True
    reports = run(host, "find /var/lib/holdfast/reports -type f").split()
    assert any(path.endswith(".json") for path in reports)
    assert any(path.endswith(".md") for path in reports)
    assert sql(host, "postgres", "SELECT datname FROM pg_database ORDER BY 1") == databases, "it left nothing behind"


def test_health_tells_what_is_so_and_says_when_it_is_not(name: str) -> None:
    host, sink = connect(name), Sink(connect(SERVICES))
    document = json.loads(run(host, "holdfast health comprehensive --json"))
    assert document["status"] == "pass"
    wait_for(
        "a document that a timer's run has left",
        lambda: host.run("test -s /run/holdfast/health.json").rc == 0,
        timeout=150,
    )
    began = now(host)
    run(host, "systemctl stop postgresql")
    try:
        run(host, "holdfast health liveness", status=2)
        # Flap control: two looks of the timer in a row, a minute apart.
        event = sink.wait_for_event(200, since=began, host=name, source="health", status="firing")
        assert "database" in event["key"]
    finally:
        run(host, "systemctl start postgresql")
    run(host, "holdfast health liveness")
    sink.wait_for_event(150, since=began, host=name, source="health", status="resolved", key=event["key"])


def test_a_test_of_the_channels_arrives(name: str) -> None:
    host, sink = connect(name), Sink(connect(SERVICES))
    began = now(host)
    run(host, "holdfast notify test")
    event = sink.wait_for_event(30, since=began, host=name, source="test")
    assert event["severity"] in ("critical", "warning", "info")
    # A token that looks like a template reached the host, and the channel, as it is.
    (request,) = [each for each in sink.requests("/webhook") if each["json"] == event][:1]
    assert request["headers"]["authorization"] == "Bearer {{ is no template"


def test_a_job_that_fails_is_told_and_told_again_when_it_works(name: str) -> None:
    host, sink = connect(name), Sink(connect(SERVICES))
    began = now(host)
    run(host, "mv /srv/documents /srv/documents.away")
    try:
        assert host.run("systemctl start holdfast-backup-documents.service").rc != 0
        event = sink.wait_for_event(60, since=began, host=name, status="firing", component="documents")
        assert event["severity"] == "critical"
        (last,) = entries(host, event="end", job="backup", component="documents")[-1:]
        assert last["ok"] is False
    finally:
        run(host, "mv /srv/documents.away /srv/documents")
        run(host, "systemctl reset-failed holdfast-backup-documents.service || true")
    run(host, "systemctl start holdfast-backup-documents.service")
    sink.wait_for_event(60, since=began, host=name, status="resolved", component="documents")


def test_logs_rotate_and_directories_are_cleaned(name: str) -> None:
    host = connect(name)
    assert "error:" not in run(host, "logrotate -d /etc/logrotate.conf 2>&1")
    run(host, "logrotate -f /etc/logrotate.conf")
    rotated = run(host, "ls /var/log/shop").split()
    assert len(rotated) > 1, rotated
    run(host, "systemctl start holdfast-clean.service")
    assert run(host, "ls /srv/exports").split() == ["new"]
