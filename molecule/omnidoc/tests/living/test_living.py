# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""OmniDoc in use, and its host looking after itself. The tests follow each other, as days do."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ansible_collections.holdfast.ops.molecule.support.hosts import (
    Sink,
    Store,
    connect,
    entries,
    now,
    run,
    sql,
    wait_for,
)
from ansible_collections.holdfast.ops.molecule.support.omnidoc import (
    IDENTITY,
    REDIS,
    SERVICES,
    expectation,
    machine,
    order,
    place_identity,
    snapshot,
    stamp,
    the_host,
)

COMPONENTS = ("omnidoc_db", "omnidoc_documents", "omnidoc_redis")
PERIOD = 180  # seconds between two runs of a timer


def test_timers_back_up_what_users_made() -> None:
    host, store = the_host(), Store(connect(SERVICES))
    for number in range(5):
        order(host, f"Contract {number}")
    made = stamp(now(host))
    for component in COMPONENTS:
        wait_for(
            f"a backup of {component} that began after the documents were made",
            lambda component=component: [
                start
                for start in entries(host, event="start", job="backup", component=component)
                if start["time"] >= made and entries(host, event="end", run=start["run"], ok=True)
            ],
            timeout=2 * PERIOD + 60,
        )
        assert store.keys(f"omnidoc/{component}/manifests/")
        assert store.keys(f"elsewhere/{component}/manifests/")
        assert store.keys(f"omnidoc/{component}/verified/")
    assert host.run(f"test -e {IDENTITY}").rc == 1, "no backup needed the private key"


def test_everything_is_healthy_and_read_from_the_real_thing() -> None:
    document = json.loads(run(the_host(), "holdfast health comprehensive --json"))
    assert document["status"] == "pass", document
    names = {name.partition(":")[0] for name in document["checks"]}
    assert names >= {"backend", "site", "celery", "frontend", "redis", "nginx", "services", "postgresql", "libraries"}


def test_a_dead_backend_is_told_within_the_period_of_its_check() -> None:
    host, sink = the_host(), Sink(connect(SERVICES))
    run(host, "holdfast health liveness")
    began = now(host)
    run(host, "systemctl kill --signal=KILL omnidoc-backend.service")
    run(host, "holdfast health liveness", status=2)
    # The period of liveness is a minute; a slow machine may take some of the next.
    event = sink.wait_for_event(100, since=began, source="health", status="firing", severity="critical")
    assert "backend" in event["key"]
    run(host, "systemctl start omnidoc-backend.service")
    sink.wait_for_event(150, since=began, source="health", status="resolved", key=event["key"])


def test_what_a_timer_backed_up_is_restored_without_a_control_node() -> None:
    host = the_host()
    # Nothing of the control node is on the host, nor asked by it: what Molecule made of the inventory is taken away.
    assert os.environ["MOLECULE_PROJECT_DIRECTORY"] not in run(host, "cat /proc/mounts /proc/self/mountinfo")
    made = now(host)
    for component in COMPONENTS:
        wait_for(
            f"a timer's backup of {component} as it is now",
            lambda component=component: [
                start
                for start in entries(host, event="start", job="backup", component=component)
                if start["time"] >= stamp(made) and entries(host, event="end", run=start["run"], ok=True)
            ],
            timeout=2 * PERIOD + 60,
        )
    run(host, "systemctl stop 'holdfast-backup-*.timer'")
    before = snapshot(host)
    run(host, "systemctl stop omnidoc-celery")
    sql(host, "omnidoc", "DROP TABLE documents CASCADE")
    run(host, f"rm -r /srv/omnidoc/documents/* && {REDIS} FLUSHALL")
    inventory = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "inventory")
    away = inventory.rename(inventory.with_name("inventory.gone"))
    place_identity(host)
    try:
        run(host, "holdfast restore omnidoc_db --confirm omnidoc")
        run(host, "holdfast restore omnidoc_documents --confirm /srv/omnidoc/documents")
        run(host, "holdfast restore omnidoc_redis --confirm 127.0.0.1:6379")
    finally:
        run(host, f"rm -f {IDENTITY}")
        away.rename(inventory)
    after = snapshot(host)
    assert after == before
    run(host, "systemctl start omnidoc-celery")
    wait_for(
        "the application in use again", lambda: host.run("curl -sf http://127.0.0.1/api/health").rc == 0, timeout=60
    )
    order(host, "After the restore")


def test_the_last_backup_before_the_host_is_lost() -> None:
    host = the_host()
    run(host, "systemctl stop omnidoc-backend omnidoc-celery 'holdfast-*.timer'")
    # As jobs: verified, for a backup that nobody verified is pruned once a newer one is.
    for component in (*COMPONENTS, "omnidoc_config"):
        run(host, f"systemctl start holdfast-backup-{component}.service")
    expected = {"at": stamp(now(host) + 1), "machine": machine(host), "host": snapshot(host)}
    expectation().write_text(json.dumps(expected), encoding="utf-8")
