# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that does its maintenance by itself: the job of a part acts, writes down, and tells what it found."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._notify._parse import parse_notifications
from ansible_collections.holdfast.ops.tests.conftest import DatabaseFactory
from ansible_collections.holdfast.ops.tests.support.host import Host
from ansible_collections.holdfast.ops.tests.support.notify import HttpSink
from ansible_collections.holdfast.ops.tests.support.postgres import EmbeddedPostgres
from ansible_collections.holdfast.ops.tests.support.servers import short_directory

pytestmark = pytest.mark.ansible


class Database:
    """A table with old rows in it, and the tasks that look after it."""

    def __init__(self, server: EmbeddedPostgres, name: str) -> None:
        self._server, self._name = server, name
        login = {
            "database": name,
            "login_unix_socket": str(server.socket_dir),
            "login_port": server.port,
            "login_user": "postgres",
            "bin_dir": str(server.bin_dir),
        }
        # The server of the tests has fsync off, which a report cannot but call critical.
        self.report = {"name": "database", "kind": "postgresql_report", **login}
        self.purge = {
            "name": "purge",
            "kind": "postgresql_purge",
            "every": "daily",
            "table": "events",
            "column": "at",
            "older_than": "30d",
            **login,
        }
        server.psql("create table events (at timestamptz not null)", name)
        self.age()

    def age(self, rows: int = 5) -> None:
        self._server.psql(
            f"insert into events select now() - interval '99 days' from generate_series(1, {rows})", self._name
        )

    @property
    def rows(self) -> int:
        return int(self._server.psql("select count(*) from events", self._name))


@pytest.fixture
def data(pg16: EmbeddedPostgres, database: DatabaseFactory) -> Database:
    return Database(pg16, database(pg16))


@pytest.fixture
def host(data: Database) -> Iterator[Host]:
    one = Host(short_directory("hf-care-"))
    one.maintenance = [data.report, data.purge]
    one.textfile_dir = one.root
    one.write()
    yield one
    one.remove()


def told(sink: HttpSink) -> list[tuple[Any, ...]]:
    events = [each.json() for each in sink.received]
    return [(event["key"], event["status"], event["source"]) for event in events]


def test_a_part_acts_is_written_down_and_tells_what_it_found(host: Host, data: Database) -> None:
    with HttpSink() as sink:
        channel = {"name": "hook", "type": "webhook", "url": sink.url("/hook"), "retries": 0}
        host.notifications = parse_notifications([channel]).as_config()
        host.write()
        code, out = host.run("job", "maintenance", "daily")
        assert code == 0, out
        assert data.rows == 0
        lines = host.log()
        assert [line["event"] for line in lines] == ["start", "result", "end"]
        assert {(line["job"], line["part"], line.get("component")) for line in lines} == {
            ("maintenance", "daily", None)
        }
        result = lines[1]
        assert (result["verb"], result["ok"], result["acted"]) == ("maintenance", True, ["purge"])
        assert "fsync" in json.dumps(result["findings"])
        reports = host.root / "var/lib/holdfast/reports/maintenance"
        assert result["report"].startswith(f"{reports}/")
        told_in_report = json.loads((reports / "latest.json").read_text())
        assert (told_in_report["part"], told_in_report["host"]) == ("daily", "here")
        metrics = (host.root / "holdfast_maintenance_daily.prom").read_text()
        assert 'holdfast_maintenance_last_run_success{part="daily"} 1' in metrics
        assert 'holdfast_maintenance_max_age_seconds{part="daily"} 86400' in metrics
        assert told(sink) == [("findings:daily", "firing", "maintenance")]
        assert "fsync" in sink.received[0].json()["details"]

        # What is critical is gone; and what is done is done.
        host.maintenance = [data.purge]
        host.write()
        code, out = host.run("job", "maintenance", "daily")
        assert code == 0, out
        assert host.log()[-2]["changed"] is False
        assert told(sink)[1:] == [("findings:daily", "resolved", "maintenance")]
        assert "database" not in (host.root / "holdfast_maintenance_daily.prom").read_text()


def test_by_hand_nothing_acts_that_was_not_named(host: Host, data: Database) -> None:
    code, out = host.run("maintenance", "--part", "daily")
    assert code == 0, out
    assert data.rows == 5
    assert "[would change]" in out
    code, out = host.run("maintenance", "--apply", "purge")
    assert code == 0, out
    assert data.rows == 0
    assert not host.log()


def test_a_part_without_tasks_and_a_task_that_fails_are_no_success(host: Host, data: Database) -> None:
    code, out = host.run("job", "maintenance", "weekly")
    assert code == 1, out
    assert "no task is declared for the part weekly" in host.log()[-1]["msg"].lower()
    code, out = host.run("job", "maintenance", "yearly")
    assert (code, host.log()[-1]["error_code"]) == (1, "invalid_option"), out

    host.maintenance[0] = {**data.report, "database": "not_there"}
    host.write()
    code, out = host.run("job", "maintenance", "daily")
    assert code == 1, out
    assert data.rows == 0, "one that fails stops no other"
    end = host.log()[-1]
    assert (end["event"], end["ok"], end["stage"]) == ("end", False, "maintenance")
    assert "not_there" in end["msg"]
    assert 'last_run_success{part="daily"} 0' in (host.root / "holdfast_maintenance_daily.prom").read_text()
    code, out = host.run("status", "--json")
    assert code == 1, out
    (row,) = json.loads(out)["jobs"]
    assert (row["part"], row["job"], row["ok"]) == ("daily", "maintenance", False)
