# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults of a host while a job runs: no false success, nothing half-done that looks whole, and people are told."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.holdfast.ops.molecule.support.hosts import (
    Sink,
    Store,
    connect,
    entries,
    now,
    properties,
    run,
    sql,
    wait_for,
)
from testinfra.host import Host

HOST, SERVICES = "hf-hostile-13", "hf-hostile-services"


@pytest.fixture
def host() -> Host:
    return connect(HOST)


@pytest.fixture
def sink() -> Sink:
    return Sink(connect(SERVICES))


@pytest.fixture
def store() -> Store:
    return Store(connect(SERVICES))


def begin(host: Host, component: str) -> None:
    """Start a job as its timer would, and do not wait for it."""
    host.run(f"systemctl reset-failed holdfast-backup-{component}.service")  # refused where it has not failed
    run(host, f"systemctl start --no-block holdfast-backup-{component}.service")


def ended(host: Host, component: str) -> dict[str, str]:
    """How the unit ended, as systemd says."""

    def look() -> dict[str, str] | None:
        found = properties(host, f"holdfast-backup-{component}.service", "ActiveState", "Result", "ExecMainStatus")
        return found if found["ActiveState"] in ("failed", "inactive") else None

    return wait_for(f"the end of the backup of {component}", look, 300)


def told(sink: Sink, component: str, since: float) -> dict[str, Any]:
    """The notification of a failure; it must be critical."""
    event = sink.wait_for_event(60, since=since, component=component, status="firing")
    assert event["severity"] == "critical"
    return event


def works_again(host: Host, sink: Sink, component: str, since: float) -> None:
    """The next run succeeds with no help, and says so where the failure was told."""
    begin(host, component)
    assert ended(host, component)["Result"] == "success"
    sink.wait_for_event(60, since=since, component=component, status="resolved")


def last_end(host: Host, component: str) -> dict[str, Any]:
    return entries(host, event="end", job="backup", component=component)[-1]


@contextlib.contextmanager
def no_new_backup(store: Store, component: str) -> Iterator[None]:
    """What is done inside leaves no backup: no manifest, therefore none."""
    before = store.keys(f"{component}/manifests/")
    yield
    assert store.keys(f"{component}/manifests/") == before


def test_before_anything_breaks_a_job_succeeds(host: Host, store: Store) -> None:
    for component in ("shop", "documents"):
        begin(host, component)
        assert ended(host, component)["Result"] == "success"
        assert store.keys(f"{component}/manifests/")


@pytest.mark.parametrize(("component", "disk"), [("crowded", "/srv/small"), ("growing", "/srv/filling")])
def test_a_full_disk(host: Host, sink: Sink, component: str, disk: str) -> None:
    """One is too small, which is seen before anything is written; the other is full (ENOSPC) in the middle."""
    began = now(host)
    begin(host, component)
    assert ended(host, component)["Result"] == "exit-code"
    assert "Make room" in told(sink, component, began)["details"]
    assert last_end(host, component)["error_code"] == "disk_full"
    assert run(host, f"find {disk} -type f") == "", "nothing is left of it, and no manifest"
    # It works again as soon as there is less to keep: nothing has to be cleaned up by hand.
    run(host, f"rm /srv/{component}/[4-8].bin")
    works_again(host, sink, component, began)
    assert run(host, f"find {disk} -path '*/manifests/*' -type f").split()


def test_a_repository_that_cannot_be_reached(host: Host, sink: Sink, store: Store) -> None:
    services, began = connect(SERVICES), now(host)
    with no_new_backup(store, "documents"):
        run(services, "systemctl stop seaweedfs")
        try:
            begin(host, "documents")
            assert ended(host, "documents")["Result"] == "exit-code"
            told(sink, "documents", began)
            assert last_end(host, "documents")["ok"] is False
        finally:
            run(services, "systemctl start seaweedfs")
        wait_for("the object store", lambda: services.run("curl -s http://127.0.0.1:8333/").rc == 0, 60)
        wait_for("its buckets", lambda: reachable(store), 60)
    works_again(host, sink, "documents", began)


def reachable(store: Store) -> bool:
    """Whether the store answers what it is asked."""
    try:
        store.keys("shop/")
    except Exception:  # whatever boto3 makes of a store that is starting
        return False
    return True


def test_a_database_that_stops_in_the_middle_of_its_dump(host: Host, sink: Sink, store: Store) -> None:
    began = now(host)
    with no_new_backup(store, "shop"):
        # The dump is held where it is as soon as it exists, so that the server is sure to stop within it.
        begin(host, "shop")
        run(host, "timeout 120 sh -c %s", "until pkill -STOP -x pg_dump; do sleep 0.01; done")
        run(host, "systemctl stop postgresql")
        run(host, "pkill -CONT -x pg_dump")
        assert ended(host, "shop")["Result"] == "exit-code"
        told(sink, "shop", began)
        assert last_end(host, "shop")["ok"] is False
    run(host, "systemctl start postgresql")
    wait_for("the database", lambda: host.run("runuser -u postgres -- pg_isready -q").rc == 0, 60)
    assert sql(host, "shop", "SELECT count(*) FROM ballast") == "600000"
    works_again(host, sink, "shop", began)


def test_a_job_that_is_killed(host: Host, sink: Sink, store: Store) -> None:
    began, before = now(host), len(entries(host, event="end", job="backup", component="shop"))
    with no_new_backup(store, "shop"):
        begin(host, "shop")
        run(host, "timeout 120 sh -c %s", "until pgrep -x pg_dump > /dev/null; do sleep 0.01; done")
        run(host, "systemctl kill --kill-whom=all --signal=KILL holdfast-backup-shop.service")
        assert ended(host, "shop")["Result"] == "signal"
        assert "KILL" in told(sink, "shop", began)["summary"]
        assert len(entries(host, event="end", job="backup", component="shop")) == before, "it could say nothing itself"
    works_again(host, sink, "shop", began)


@pytest.mark.parametrize("jump", ["+40d", "-40d"])
def test_a_clock_that_jumps(host: Host, sink: Sink, store: Store, jump: str) -> None:
    """The job alone sees another time than the object store: it must not believe that all is well."""
    began = now(host)
    drop_in = "/etc/systemd/system/holdfast-backup-documents.service.d/clock.conf"
    library = run(host, "find /usr/lib -name libfaketime.so.1").strip()
    run(host, "mkdir -p $(dirname %s)", drop_in)
    run(host, f"printf %s > {drop_in}", f"[Service]\nEnvironment=LD_PRELOAD={library} FAKETIME={jump}\n")
    run(host, "systemctl daemon-reload")
    try:
        with no_new_backup(store, "documents"):
            begin(host, "documents")
            assert ended(host, "documents")["Result"] == "exit-code"
            event = told(sink, "documents", began)
            assert "clock" in event["details"].lower()
    finally:
        run(host, "rm %s", drop_in)
        run(host, "systemctl daemon-reload")
    works_again(host, sink, "documents", began)


def test_a_probe_is_answered_without_anything_that_waits(host: Host) -> None:
    """systemd holds the socket; a process lives as long as one answer takes."""
    probe = "curl --silent --max-time 10 --write-out '\n%{http_code}' http://127.0.0.1:9880/readyz"
    looked = "holdfast health readiness --record --quiet"
    run(host, looked)
    body, _newline, code = run(host, probe).rpartition("\n")
    assert code == "200", body
    assert json.loads(body)["status"] == "pass"
    run(host, "systemctl stop postgresql")
    try:
        run(host, looked, status=2)
        body, _newline, code = run(host, probe).rpartition("\n")
        assert code == "503", body
        assert json.loads(body)["status"] == "fail"
    finally:
        run(host, "systemctl start postgresql")
    run(host, looked)
    assert run(host, probe).endswith("200")
    wait_for("no process that answers", lambda: host.run("pgrep -f '[_]health/_serve.py'").rc == 1, 15)


def test_nothing_is_left_of_all_this(host: Host) -> None:
    assert run(host, "systemctl list-units --failed --plain --no-legend 'holdfast*'") == ""
    assert host.run("pgrep -x pg_dump").rc == 1
    assert (
        sql(host, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE application_name ILIKE '%holdfast%'") == "0"
    )
