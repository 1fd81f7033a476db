# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Trouble on a host that its maintenance must find, each as it comes about in life, only smaller."""

from __future__ import annotations

import json
from typing import Any

from testinfra.host import Host

from .hosts import run, sql, wait_for
from .omnidoc import REDIS

PASSWORD = "database-of-omnidoc"
REPORTS = "/var/lib/holdfast/reports/maintenance"
LOG = "/opt/omnidoc/logs/omnidoc.log"
OLD_PROJECTS, NEW_PROJECTS = 3, 5
ERRORS = 200

_BLOAT = """
CREATE TABLE wasted WITH (autovacuum_enabled = false) AS
  SELECT n, repeat(md5(n::text), 12) AS filler FROM generate_series(1, 12000) AS n;
DELETE FROM wasted WHERE n % 10 <> 0;
ANALYZE wasted
"""
_SCANS = """
CREATE TABLE searched AS SELECT n, md5(n::text) AS word, n % 7 AS colour FROM generate_series(1, 30000) AS n;
CREATE INDEX searched_colour ON searched (colour) WHERE colour < 6; -- no use for a backup that counts the rows
ANALYZE searched;
DO $$ BEGIN FOR i IN 1..30 LOOP PERFORM count(*) FROM searched WHERE word = md5(i::text); END LOOP; END $$
"""
_PROJECTS = f"""
INSERT INTO projects (title, updated_at)
  SELECT 'old ' || n, now() - interval '100 days' - n * interval '1 day' FROM generate_series(1, {OLD_PROJECTS}) AS n;
INSERT INTO projects (title, updated_at)
  SELECT 'new ' || n, now() - n * interval '10 days' FROM generate_series(1, {NEW_PROJECTS}) AS n
"""


def make(host: Host) -> dict[str, str]:
    """All of it; the process numbers of the sessions that are `idle` in a transaction and `blocked` by that."""
    for statement in (_BLOAT, _SCANS, _PROJECTS, "SELECT pg_sleep(1.1)"):
        sql(host, "omnidoc", statement)
    run(host, f"head -c 3000000 /dev/zero | {REDIS} -x SET cache:thumbnails && {REDIS} SET cache:small 1")
    _package(host, "1.0")
    run(host, "dpkg -i /srv/packages/omnidoc-fonts_1.0_all.deb")
    _package(host, "1.1")
    _log(host)
    return _sessions(host)


def _package(host: Host, version: str) -> None:
    """A package and a source of it, which has this version as the newest."""
    control = f"""Package: omnidoc-fonts
Version: {version}
Architecture: all
Maintainer: Ada <ada@example.com>
Description: fonts of the documents
"""
    file = f"omnidoc-fonts_{version}_all.deb"
    build = "mkdir -p /srv/packages/tree/DEBIAN && printf %%s %s > /srv/packages/tree/DEBIAN/control"
    run(host, build, control)
    run(host, f"cd /srv/packages && dpkg-deb --build tree {file} && rm -r tree")
    entry = f'dpkg-deb --field {file}; echo "Filename: ./{file}"; echo "Size: $(stat --format=%s {file})"'
    run(host, f"cd /srv/packages && {{ {entry}; sha256sum {file} | sed 's/ .*//; s/^/SHA256: /'; }} > Packages")
    source = "/etc/apt/sources.list.d/omnidoc.list"
    run(host, f"echo 'deb [trusted=yes] file:/srv/packages ./' > {source}")
    # Only this source: the others are out of reach.
    only = f"-o Dir::Etc::sourcelist={source} -o Dir::Etc::sourceparts=- -o APT::Get::List-Cleanup=0"
    run(host, f"apt-get update -qq {only}")


def _log(host: Host) -> None:
    """A quiet day, and a burst of one error in the last minutes."""
    quiet = (
        "for i in $(seq 48); do date -u -d \"-$((i * 30)) minutes\" '+%F %T,000 INFO omnidoc: document written'; done"
    )
    error = "ERROR omnidoc: document $i: connection to fonts.example.com refused"
    burst = f'for i in $(seq {ERRORS}); do date -u -d "-$((i / 10)) seconds" "+%F %T,000 {error}"; done'
    run(host, f"{{ {quiet}; {burst}; }} | sort > {LOG} && chown omnidoc: {LOG}")


def _sessions(host: Host) -> dict[str, str]:
    """A session that began something and forgot it, and one that waits for it."""
    first = "BEGIN; UPDATE projects SET title = title || '' WHERE title = 'new 1';"
    second = "UPDATE projects SET title = 'waited' WHERE title = 'new 1'"
    psql = f"psql -XAtq postgresql://omnidoc:{PASSWORD}@127.0.0.1/omnidoc"
    start = "systemd-run --quiet --collect --unit=%s --uid=omnidoc -- /bin/sh -c %s"
    run(host, start, "trouble-idle", f'{{ echo "{first}"; sleep 900; }} | PGAPPNAME=forgotten {psql}')
    wait_for("an idle transaction", lambda: session(host, "forgotten", "idle in transaction"), 30)
    run(host, start, "trouble-blocked", f'PGAPPNAME=waiting {psql} -c "{second}"')
    wait_for("a session that waits", lambda: session(host, "waiting", "active"), 30)
    return {"idle": session(host, "forgotten"), "blocked": session(host, "waiting")}


def session(host: Host, name: str, state: str = "") -> str:
    """The process number of a session by its name, as a text; empty when there is none."""
    more = f" AND state = '{state}'" if state else ""
    return sql(host, "postgres", f"SELECT pid FROM pg_stat_activity WHERE application_name = '{name}'{more}")


def standing(host: Host) -> dict[str, str]:
    """All that the troubles consist of: what a report must leave as it is."""
    return {
        "projects": sql(host, "omnidoc", "SELECT json_agg(p ORDER BY id) FROM projects AS p"),
        "dead": sql(host, "omnidoc", "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'wasted'"),
        "indexes": sql(host, "omnidoc", "SELECT json_agg(indexname ORDER BY indexname) FROM pg_indexes"),
        "sessions": f"{session(host, 'forgotten', 'idle in transaction')} {session(host, 'waiting', 'active')}",
        "keys": run(host, f"{REDIS} --scan --pattern 'cache:*' | sort"),
        "package": run(host, "dpkg-query --show omnidoc-fonts"),
        "log": run(host, f"sha256sum {LOG}"),
        "commit": run(host, "runuser -u omnidoc -- git -C /opt/omnidoc/app rev-parse HEAD FETCH_HEAD 2>&1 || true"),
        "units": run(host, "systemctl show --property=MainPID omnidoc-backend omnidoc-celery nginx"),
    }


def clear(host: Host) -> None:
    """Take it away again, so that what comes after backs up the application alone."""
    run(host, "systemctl stop trouble-idle trouble-blocked 2>/dev/null || true")
    sql(host, "omnidoc", "DROP TABLE IF EXISTS wasted, searched")
    run(host, "dpkg --purge omnidoc-fonts && rm -f /etc/apt/sources.list.d/omnidoc.list")


def report(host: Host) -> dict[str, Any]:
    """The newest report."""
    found: dict[str, Any] = json.loads(run(host, f"cat {REPORTS}/latest.json"))
    return found


def found_in(report: dict[str, Any]) -> set[tuple[str, str]]:
    """What a report tells: tasks, and codes of their findings."""
    failed = {task["name"]: task["failure"] for task in report["tasks"] if task["failure"]}
    assert not failed, failed
    return {(task["name"], each["code"]) for task in report["tasks"] for each in task["section"]["findings"]}


def findings(report: dict[str, Any], task: str, code: str) -> list[dict[str, Any]]:
    """The findings of a task that have this code."""
    (section,) = (each["section"] for each in report["tasks"] if each["name"] == task)
    return [each for each in section["findings"] if each["code"] == code]
