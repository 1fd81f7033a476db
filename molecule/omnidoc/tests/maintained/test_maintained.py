# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""OmniDoc's host in trouble: its own maintenance finds all of it, and mends what it is told to. The tests follow each
other."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from ansible_collections.holdfast.ops.molecule.support import trouble
from ansible_collections.holdfast.ops.molecule.support.hosts import Store, connect, entries, run, sql, wait_for
from ansible_collections.holdfast.ops.molecule.support.omnidoc import REDIS, SERVICES, the_host
from ansible_collections.holdfast.ops.molecule.support.trouble import findings, found_in, report

GIT = "runuser -u omnidoc -- git -c user.name=Ada -c user.email=ada@example.com"


@pytest.fixture(scope="module", autouse=True)
def sessions() -> Iterator[dict[str, str]]:
    """The host is in trouble, and afterwards as the next tests expect it."""
    host = the_host()
    made = trouble.make(host)
    yield made
    trouble.clear(host)


def test_every_part_has_a_timer() -> None:
    host = the_host()
    for part in ("daily", "weekly", "monthly"):
        assert run(host, f"systemctl is-active holdfast-maintenance-{part}.timer").strip() == "active"


def test_the_daily_job_finds_all_of_it_and_changes_nothing() -> None:
    host = the_host()
    before = trouble.standing(host)
    run(host, "systemctl start holdfast-maintenance-daily.service")
    assert trouble.standing(host) == before
    told = report(host)
    assert told["part"] == "daily"
    assert told["seconds"] <= 10
    assert found_in(told) >= {
        ("database", "bloat"),
        ("database", "unused_index"),
        ("database", "sequential_scans"),
        ("database", "slow_query"),
        ("database", "blocked"),
        ("database", "idle_in_transaction"),
        ("redis", "big_key"),
        ("packages", "updates"),
        ("logs", "burst"),
    }
    assert any("wasted" in each["text"] for each in findings(told, "database", "bloat"))
    assert any("searched_colour" in each["text"] for each in findings(told, "database", "unused_index"))
    assert any("searched" in each["text"] for each in findings(told, "database", "sequential_scans"))
    assert any("pg_sleep" in each["text"] for each in findings(told, "database", "slow_query"))
    assert any("cache:thumbnails" in each["text"] for each in findings(told, "redis", "big_key"))
    text = json.dumps(told)
    assert "omnidoc-fonts" in text
    for secret in (trouble.PASSWORD, "redis-of-omnidoc"):
        assert secret not in text
    assert entries(host, event="end", job="maintenance", ok=True)
    for ending in ("html", "md"):
        assert run(host, f"cat {trouble.REPORTS}/latest.{ending}")


def test_what_is_named_by_nobody_is_only_planned(sessions: dict[str, str]) -> None:
    host = the_host()
    before = trouble.standing(host)
    run(host, "holdfast maintenance")
    assert trouble.standing(host) == before
    told = report(host)
    assert told["seconds"] <= 10
    assert not [task["name"] for task in told["tasks"] if task["acted"]]
    planned = {task["name"]: task["section"] for task in told["tasks"] if task["section"]["changed"]}
    assert set(planned) >= {"old_projects", "stuck", "cache", "analyze"}
    assert str(trouble.OLD_PROJECTS) in planned["old_projects"]["summary"]
    assert sessions["idle"] in json.dumps(planned["stuck"])
    assert sessions["blocked"] not in json.dumps(planned["stuck"])


def test_what_is_named_acts_on_exactly_that_after_a_backup(sessions: dict[str, str]) -> None:
    host, store = the_host(), Store(connect(SERVICES))
    manifests = set(store.keys("omnidoc/omnidoc_db/manifests/"))
    documents = sql(host, "omnidoc", "SELECT count(*) FROM documents")
    run(host, "systemctl stop holdfast-backup-omnidoc_db.timer")  # whose backup it is shall be certain
    try:
        run(host, "holdfast maintenance --apply stuck,old_projects,cache")
    finally:
        run(host, "systemctl start holdfast-backup-omnidoc_db.timer")
    assert len(set(store.keys("omnidoc/omnidoc_db/manifests/")) - manifests) == 1
    acted = {task["name"] for task in report(host)["tasks"] if task["acted"]}
    assert acted == {"stuck", "old_projects", "cache"}
    assert trouble.session(host, "forgotten") == ""
    # The one that waited was not ended: it went on.
    wait_for("the session that waited", lambda: not trouble.session(host, "waiting"), 30)
    titles = sql(host, "omnidoc", "SELECT string_agg(title, ',' ORDER BY title) FROM projects")
    assert titles == ",".join([*(f"new {number}" for number in range(2, trouble.NEW_PROJECTS + 1)), "waited"])
    assert sql(host, "omnidoc", "SELECT count(*) FROM documents") == documents
    assert run(host, f"{REDIS} --scan --pattern 'cache:*'") == ""


def push(version: str, status: str) -> None:
    """What developers do: a new version, in the repository."""
    host = the_host()
    change = f'sed -i \'s/^VERSION, STATUS = .*/VERSION, STATUS = "{version}", "{status}"/\' omnidoc.py'
    run(
        host,
        f"rm -rf /srv/git/work && {GIT} clone -q /srv/git/omnidoc.git /srv/git/work && cd /srv/git/work"
        f" && runuser -u omnidoc -- {change} && {GIT} commit -qam 'OmniDoc {version}' && {GIT} push -q",
    )


def version() -> str:
    """What the backend says of itself."""
    return str(json.loads(run(the_host(), "curl -sS --fail-with-body http://127.0.0.1/api/health"))["version"])


def test_an_update_arrives() -> None:
    host = the_host()
    push("2", "ok")
    before = run(host, "systemctl show --property=MainPID omnidoc-backend omnidoc-celery")
    restarts = "PM2_HOME=/opt/omnidoc/pm2 runuser -u omnidoc -- pm2 jlist"
    frontend = json.loads(run(host, restarts))[0]["pid"]
    run(host, "holdfast maintenance --apply update")
    assert version() == "2"
    assert run(host, "systemctl show --property=MainPID omnidoc-backend omnidoc-celery") != before
    assert json.loads(run(host, restarts))[0]["pid"] != frontend
    assert run(host, "find /opt/omnidoc/app ! -user omnidoc") == ""
    (task,) = report(host)["tasks"]
    assert [row["subject"] for row in task["section"]["tables"][0]["rows"]] == ["OmniDoc 2"]


def test_an_update_that_is_not_well_is_undone() -> None:
    host = the_host()
    before = run(host, f"{GIT} -C /opt/omnidoc/app rev-parse HEAD")
    push("3", "broken")
    done = host.run("holdfast maintenance --apply update")
    assert done.rc != 0
    assert "It was rolled back" in done.stdout
    assert version() == "2"
    assert run(host, f"{GIT} -C /opt/omnidoc/app rev-parse HEAD") == before
    (task,) = report(host)["tasks"]
    assert task["failure"]["code"] == "rolled_back"
    push("4", "ok")
    run(host, "holdfast maintenance --apply update")
    assert version() == "4"
