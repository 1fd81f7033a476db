# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Without timers: cron starts the jobs, and a parent of each tells what became of it."""

from __future__ import annotations

from ansible_collections.holdfast.ops.molecule.support.hosts import (
    Sink,
    Store,
    connect,
    entries,
    now,
    run,
    wait_for,
)

HOST, SERVICES = "hf-cron-13", "hf-cron-services"
FIRES = 90  # seconds: the line comes every minute


def test_there_are_lines_and_no_timers() -> None:
    host = connect(HOST)
    lines = run(host, "cat /etc/cron.d/holdfast")
    assert "backup documents" in lines
    assert host.file("/etc/cron.d/holdfast").mode == 0o644
    assert run(host, "systemctl list-timers --all --no-legend 'holdfast*'").strip() == ""
    assert run(host, "find /etc/systemd/system -name 'holdfast-*.timer'").strip() == ""


def test_a_line_fires_and_its_job_says_so_in_the_journal() -> None:
    host, store = connect(HOST), Store(connect(SERVICES))
    (done, *_more) = wait_for(
        "a backup that cron started",
        lambda: entries(host, event="end", job="backup", component="documents", ok=True),
        timeout=FIRES + 60,
    )
    assert {line["verb"] for line in entries(host, event="result", run=done["run"])} == {"backup", "verify", "prune"}
    assert store.keys("documents/manifests/")
    assert "backup of documents succeeded" in run(host, "journalctl --no-pager -t holdfast-backup-documents")


def test_a_job_that_is_killed_is_told_by_its_parent() -> None:
    host, sink = connect(HOST), Sink(connect(SERVICES))
    began = now(host)
    known = {line["run"] for line in entries(host, event="start")}
    # The job itself, not the parent that watches it, as soon as the next line has started it.
    start = wait_for(
        "the next job that cron starts",
        lambda: [each for each in entries(host, event="start", job="backup") if each["run"] not in known],
        timeout=FIRES,
        interval=0.1,
    )[0]
    run(host, f"kill -KILL {start['pid']}")
    event = sink.wait_for_event(60, since=began, status="firing", component="documents")
    assert event["severity"] == "critical"
    assert "KILL" in event["summary"]
    assert not entries(host, event="end", run=start["run"]), "it could not say so itself"

    # The next one works, and takes it back.
    sink.wait_for_event(FIRES + 60, since=began, status="resolved", component="documents", key=event["key"])


def test_health_is_looked_at_every_minute() -> None:
    host, sink = connect(HOST), Sink(connect(SERVICES))
    began = now(host)
    run(host, "systemctl stop postgresql")
    try:
        event = sink.wait_for_event(150, since=began, status="firing", source="health")
        assert "database" in event["key"]
    finally:
        run(host, "systemctl start postgresql")


def test_old_files_go_and_logs_are_rotated() -> None:
    host = connect(HOST)
    lines = run(host, "cat /etc/cron.d/holdfast-clean")
    (cleaning,) = [line for line in lines.splitlines() if " clean" in line]
    user, command = cleaning.split(maxsplit=6)[5:]
    assert user == "root"
    run(host, "/bin/sh -c %s", command)
    assert run(host, "ls /srv/exports").split() == ["new"]
    run(host, "echo more >> /var/log/shop/app.log && logrotate --force /etc/logrotate.d/holdfast-shop")
    rotated = run(host, "find /var/log/shop -type f -printf '%u %f\\n'").splitlines()
    assert "postgres app.log" in rotated
    assert len(rotated) == 2, rotated
