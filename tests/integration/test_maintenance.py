# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook of maintenance as an operator runs it, on a real server: what is looked at, what acts, what must not."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.tests.conftest import DatabaseFactory
from ansible_collections.holdfast.ops.tests.support.playbook import PlaybookRun, run_playbook
from ansible_collections.holdfast.ops.tests.support.postgres import EmbeddedPostgres
from ansible_collections.holdfast.ops.tests.support.servers import free_ports

pytestmark = pytest.mark.ansible

SECRET = "hush-0123-hush"


class Site:
    """A host, which is this machine, with a database of old and new projects and what is declared of it."""

    def __init__(self, directory: Path, server: EmbeddedPostgres, database: str) -> None:
        self.directory = directory
        self.server = server
        self.database = database
        self.reports = directory / "root/var/lib/holdfast/reports/maintenance"
        server.psql("create table projects (id int primary key, updated_at timestamptz not null)", database)
        server.psql(
            "insert into projects select n, now() - case when n <= 7 then interval '200 days' else '0' end"
            " from generate_series(1, 20) n",
            database,
        )
        self.login = {
            "login_unix_socket": str(server.socket_dir),
            "login_port": server.port,
            "login_user": "postgres",
            "bin_dir": str(server.bin_dir),
        }
        self.components = [
            {
                "name": "db",
                "engine": "postgresql",
                "database": database,
                "repositories": ["primary"],
                "state_dir": str(directory / "state"),
                **self.login,
            }
        ]
        self.tasks: list[dict[str, Any]] = [
            {"name": "database", "kind": "postgresql_report", "database": database, **self.login},
            {
                "name": "old_projects",
                "kind": "postgresql_purge",
                "database": database,
                "table": "projects",
                "column": "updated_at",
                "older_than": "90d",
                "backup": ["db"],
                **self.login,
            },
        ]

    def run(self, *arguments: str, **extra_vars: Any) -> PlaybookRun:
        declared = {
            "ansible_become": False,
            "holdfast_interpreter": sys.executable,
            "holdfast_root": str(self.directory / "root"),
            "holdfast_repositories": {"primary": {"type": "local", "path": str(self.directory / "repository")}},
            "holdfast_components": self.components,
            "holdfast_maintenance": self.tasks,
        }
        return run_playbook(
            "holdfast.ops.maintenance",
            self.directory,
            *arguments,
            hosts={"localhost": declared},
            extra_vars=extra_vars,
        )

    @property
    def projects(self) -> int:
        return int(self.server.psql("select count(*) from projects", self.database))

    @property
    def backups(self) -> list[Path]:
        return list(self.directory.glob("repository/db/manifests/*.json"))

    def written(self, ending: str) -> list[Path]:
        return [path for path in self.reports.glob(f"*.{ending}") if not path.is_symlink()]


@pytest.fixture
def site(tmp_path: Path, pg18: EmbeddedPostgres, database: DatabaseFactory) -> Iterator[Site]:
    (tmp_path / "root/var/lib/holdfast").mkdir(parents=True)
    yield Site(tmp_path, pg18, database(pg18))


def test_everything_is_looked_at_and_nothing_acts_that_was_not_named(site: Site) -> None:
    (nobody,) = free_ports(1)
    away = {"login_host": "127.0.0.1", "login_port": nobody, "login_user": "x", "login_password": SECRET}
    site.tasks.insert(0, {"name": "away", "kind": "postgresql_report", "database": "x", **away})
    fetched = site.directory / "fetched"
    done = site.run("-vvv", holdfast_report_dir=str(fetched), holdfast_textfile_dir=str(site.directory)).failed()

    assert SECRET not in done.output
    assert site.projects == 20
    assert not site.backups
    assert done.counts["changed"] == 0
    # One that cannot be looked at keeps no other from it; it is told first.
    assert len(done.report) > 1, done.output
    head, first, *rest = done.report
    assert head.startswith("Maintenance by hand of localhost: 1 failed task")
    assert first.startswith("  FAILED    away: ")
    assert any("old_projects" in line and "[would change]" in line and "7" in line for line in rest), rest
    assert any(line.endswith("holdfast maintenance --apply old_projects") for line in rest)

    (report,) = site.written("json")
    told = json.loads(report.read_text())
    assert [(task["name"], task["failure"] is None, task["acted"]) for task in told["tasks"]] == [
        ("away", False, False), ("database", True, False), ("old_projects", True, False),
    ]  # fmt: skip
    assert told["seconds"] < 10
    assert len(site.written("html")) == len(site.written("md")) == 1
    assert {path.name for path in (fetched / "localhost").iterdir()} == {
        path.name for ending in ("json", "md", "html") for path in site.written(ending)
    }
    assert SECRET not in "".join(path.read_text() for path in (fetched / "localhost").iterdir())
    # By hand it says what is found, and nothing of whether its schedule works.
    metrics = (site.directory / "holdfast_maintenance_daily.prom").read_text()
    assert 'holdfast_maintenance_task_success{part="daily",task="away"} 0' in metrics
    assert 'holdfast_maintenance_task_success{part="daily",task="database"} 1' in metrics
    assert "last_run" not in metrics


def test_what_is_named_acts_after_its_backup(site: Site) -> None:
    looked = site.run("--check", holdfast_apply="old_projects").succeeded()
    assert (site.projects, site.backups, site.written("json")) == (20, [], [])
    assert looked.counts["changed"] == 1
    assert any("[would change]" in line for line in looked.report), looked.report

    done = site.run(holdfast_apply="old_projects").succeeded()
    assert site.projects == 13
    assert len(site.backups) == 1
    assert done.counts["changed"] == 1
    assert any("old_projects" in line and "[changed]" in line for line in done.report), done.report
    assert not any("database" in line for line in done.report[1:-1]), "nothing else was asked for"


def test_without_its_backup_nothing_acts(site: Site) -> None:
    site.components[0]["database"] = "not_there"
    done = site.run(holdfast_apply="old_projects").failed()
    assert site.projects == 20
    assert any(
        line.startswith("  FAILED    old_projects: It did not act: the backup of db failed") for line in done.report
    )


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"holdfast_apply": "all"}, "nothing acts on all; name each action; actions: old_projects"),
        ({"holdfast_apply": "old_project"}, "no such action is declared, did you mean old_projects?"),
        ({"holdfast_apply": "database"}, "database is a report, which changes nothing"),
        ({"holdfast_task": "databse"}, "did you mean database?"),
    ],
)
def test_what_is_no_action_is_refused_before_anything_is_touched(site: Site, asked: dict[str, str], said: str) -> None:
    done = site.run(**asked).failed()
    assert said in done.output
    assert site.projects == 20
    assert not (site.directory / "state").exists()
    assert not site.reports.exists()


def test_a_young_backup_is_not_what_an_action_wants_first(site: Site) -> None:
    """`max_age` spares a schedule a backup; a row that came since the last one would be purged and in none."""
    site.components[0]["max_age"] = "1d"
    site.run(holdfast_apply="old_projects").succeeded()
    assert (site.projects, len(site.backups)) == (13, 1)
    site.server.psql("insert into projects values (21, now() - interval '200 days')", site.database)
    site.run(holdfast_apply="old_projects").succeeded()
    assert (site.projects, len(site.backups)) == (13, 2)
