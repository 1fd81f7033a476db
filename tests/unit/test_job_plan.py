# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which jobs a host has, and what is kept of what their modules return."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.holdfast.ops.plugins.filter import maintenance_jobs
from ansible_collections.holdfast.ops.plugins.filter.jobs import FilterModule
from ansible_collections.holdfast.ops.plugins.module_utils._declaration._report import InvalidDeclaration
from ansible_collections.holdfast.ops.plugins.module_utils._schedules._jobs import MARGIN, Clocks, plan_jobs
from ansible_collections.holdfast.ops.plugins.plugin_utils._declared import (
    read_declaration,
    uses_shared_tmp,
    written_directories,
)
from ansible_collections.holdfast.ops.plugins.plugin_utils._job_lines import failure_line, result_line

REPOSITORIES = {
    "nas": {"type": "local", "path": "/srv/backups/"},
    "cloud": {"type": "s3", "bucket": "b", "secret_key": "hunter2!"},
}


def policy(**changes: Any) -> dict[str, Any]:
    component = {"name": "db", "engine": "postgresql", "database": "db", "repositories": ["nas", "cloud"], **changes}
    return read_declaration([component], REPOSITORIES).components[0].policy()


def names(policies: dict[str, Any]) -> list[str]:
    return [job.name for job in plan_jobs(policies, Clocks("UTC"))]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ["backup-db", "verify-db"]),
        ({"drill": "monthly"}, ["backup-db", "verify-db", "drill-db"]),
        ({"drill": "monthly", "upkeep": "elsewhere"}, ["backup-db"]),
        ({"schedule": "never"}, ["verify-db"]),
        ({"schedule": "never", "verification": {"schedule": "never"}}, []),
    ],
)
def test_the_jobs_of_a_component(changes: dict[str, Any], expected: list[str]) -> None:
    assert names({"db": policy(**changes)}) == expected


def test_a_job_has_longer_than_its_modules() -> None:
    backup, verify = plan_jobs({"db": policy(max_runtime="2h")}, Clocks("UTC"))
    assert (backup.timeout, verify.timeout) == (3 * 7200 + MARGIN, 7200 + MARGIN)


def test_everything_that_cron_cannot_say_is_named_at_once() -> None:
    policies = {
        "db": policy(schedule="02:00:30", drill="*-*~01"),
        "other": policy(verification={"schedule": "Mon *-*-08..14"}),
    }
    with pytest.raises(InvalidDeclaration) as refused:
        plan_jobs(policies, Clocks("UTC", "UTC"))
    keys = [problem.rpartition(": ")[0] for problem in refused.value.problems]
    assert keys == ["component db: schedule", "component db: drill", "component other: verification.schedule"]
    assert len(plan_jobs(policies, Clocks("UTC"))) == 5


def test_the_filter_gives_both_forms() -> None:
    jobs = FilterModule().filters()["jobs"]
    (first, second) = jobs({"db": policy()}, "Europe/Berlin", "Europe/Berlin")
    assert (first["unit"], first["on_calendar"], first["cron"]) == (
        "holdfast-backup-db", ["*-*-* 02:00:00 Europe/Berlin"], ["0 2 * * *"],
    )  # fmt: skip
    assert second["cron"] == ["0 0 * * 1"]
    for zones in (("Europe/Belrin", None), ("UTC", "Nowhere/Else"), ("UTC", "Europe/Berlin")):
        with pytest.raises(AnsibleFilterError):
            jobs({"db": policy()}, *zones)


def test_the_parts_of_maintenance_are_jobs_too() -> None:
    parts = {"daily": {"schedule": "06:30", "directories": ["/m"]}, "monthly": {"schedule": "never"}}
    jobs = maintenance_jobs.FilterModule().filters()["maintenance_jobs"]
    (daily,) = jobs(parts, "Europe/Berlin", "Europe/Berlin", 60)
    assert (daily["unit"], daily["verb"], daily["subject"]) == ("holdfast-maintenance-daily", "maintenance", "daily")
    assert (daily["on_calendar"], daily["cron"]) == (["*-*-* 06:30:00 Europe/Berlin"], ["30 6 * * *"])
    assert (daily["timeout_seconds"], daily["directories"], daily["shared_tmp"]) == (60, ["/m"], False)
    with pytest.raises(AnsibleFilterError, match="holdfast_maintenance_schedules: weekly: names seconds"):
        jobs({"weekly": {"schedule": "02:00:30"}}, "UTC", "UTC")


def test_where_jobs_write() -> None:
    def of(**changes: Any) -> Any:
        component = {"name": "db", "engine": "files", "path": "/srv/x", "repositories": ["nas", "cloud"], **changes}
        return read_declaration([component], REPOSITORIES).components[0]

    assert written_directories(of()) == ["/srv/backups"]
    assert written_directories(of(scratch_dir="/big", textfile_dir="/m")) == ["/big", "/m", "/srv/backups"]
    assert not uses_shared_tmp(of())
    assert uses_shared_tmp(of(path="/tmp/tree"))


# -- lines -----------------------------------------------------------------------------------------------------------


def test_known_fields_are_kept_and_no_others() -> None:
    returned = {
        "component": "db",
        "changed": True,
        "msg": "done",
        "backup_id": "20261122T020000.000Z-0123456789ab",
        "stored_bytes": 12,
        "repositories": ["nas"],
        "invocation": {"module_args": {"repositories": [{"secret_key": "hunter2!"}]}},
        "diff": {"after": "hunter2!"},
        "restore_by_hand": "hunter2!",
    }
    line = result_line("holdfast.ops.component", {"verb": "backup"}, returned, "db1", failed=False)
    assert line == {
        "verb": "backup", "host": "db1", "ok": True, "msg": "done", "changed": True, "component": "db",
        "backup_id": returned["backup_id"], "stored_bytes": 12, "repositories": ["nas"],
    }  # fmt: skip
    assert "hunter2" not in json.dumps(line)


def test_a_failure_says_which_and_what_next() -> None:
    returned = {"failed": True, "msg": "No. password=hunter2!", "error_code": "locked", "hint": "Wait.", "item": "db"}
    line = result_line("holdfast.ops.postgresql_backup", {}, returned, "db1", failed=True)
    assert line is not None
    assert (line["ok"], line["error_code"], line["component"], line["hint"]) == (False, "locked", "db", "Wait.")
    assert "hunter2" not in line["msg"]


@pytest.mark.parametrize(
    ("action", "args", "returned"),
    [
        ("ansible.builtin.debug", {}, {"msg": "x"}),
        ("holdfast.ops.component", {"verb": "info"}, {"msg": "x"}),
        ("holdfast.ops.component", {"verb": "backup"}, {"skipped": True}),
        ("community.other.files_backup", {}, {"msg": "x"}),
    ],
)
def test_what_is_no_result_of_ours(action: str, args: dict[str, Any], returned: dict[str, Any]) -> None:
    assert result_line(action, args, returned, "db1", failed=False) is None


def test_a_long_message_is_cut() -> None:
    assert len(failure_line("t", {"msg": "x" * 100_000}, "db1")["msg"]) < 2100
