# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of a unit that failed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._notify import _config, _unit
from ansible_collections.holdfast.ops.plugins.module_utils._notify._jobs import job_of
from ansible_collections.holdfast.ops.plugins.module_utils._notify._unit import Ending, event_of

UNIT = "holdfast-backup-shop_db.service"
INVOCATION = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("result", "code", "status", "words"),
    [
        ("exit-code", "exited", "1", "it exited with status 1"),
        ("exit-code", "exited", "203", "its program is missing or cannot be run (status 203)"),
        ("signal", "killed", "KILL", "it was killed by SIGKILL"),
        ("signal", "killed", "TERM", "it was killed by SIGTERM"),
        ("oom-kill", "killed", "KILL", "it was killed because memory ran out (OOM)"),
        ("oom-kill", "exited", "1", "it was killed because memory ran out (OOM)"),
        ("timeout", "killed", "TERM", "it took longer than it may and was ended"),
        ("timeout", "killed", "KILL", "it took longer than it may and was ended"),
        ("core-dump", "dumped", "SEGV", "it crashed with SIGSEGV"),
        ("watchdog", "dumped", "ABRT", "it gave no sign of life and was ended"),
        ("start-limit-hit", "", "", "it failed too often in a row, and systemd does not start it again by itself"),
        ("resources", "", "", "systemd could not start it"),
        ("protocol", "", "", "systemd calls the result protocol"),
        ("", "", "", "systemd does not say how"),
    ],
)
def test_how_it_ended(result: str, code: str, status: str, words: str) -> None:
    assert Ending(result, code, status).words() == words


@pytest.mark.parametrize(
    ("unit", "job"),
    [
        (UNIT, ("backup", "shop_db")),
        ("holdfast-verify-a-b.service", ("verify", "a-b")),
        ("holdfast-drill-a.b.service", ("drill", "a.b")),
        ("holdfast-maintenance-daily.service", ("maintenance", "daily")),
        ("holdfast-health-liveness.service", None),
        ("holdfast-backup-.service", None),
        ("nginx.service", None),
        ("xholdfast-backup-a.service", None),
    ],
)
def test_units_of_jobs(unit: str, job: tuple[str, str] | None) -> None:
    found = job_of(unit)
    assert (found and (found[0].verb, found[1])) == job


@pytest.mark.parametrize(
    ("unit", "key", "severity", "source", "component"),
    [
        (UNIT, "backup:shop_db", "critical", "job", "shop_db"),
        ("holdfast-verify-shop_db.service", "verify:shop_db", "critical", "job", "shop_db"),
        ("holdfast-drill-shop_db.service", "drill:shop_db", "warning", "drill", "shop_db"),
        ("holdfast-maintenance-weekly.service", "maintenance:weekly", "warning", "job", ""),
        ("holdfast-health-liveness.service", "unit:holdfast-health-liveness.service", "warning", "other", ""),
    ],
)
def test_what_event_it_is(unit: str, key: str, severity: str, source: str, component: str) -> None:
    event = event_of(unit, Ending("signal", "killed", "KILL"), "", "db1")
    assert (event.key, event.severity, event.source, event.component) == (key, severity, source, component)
    assert event.firing and event.host == "db1" and event.labels == {"unit": unit}
    assert "killed by SIGKILL" in event.summary
    assert "left no lines" in event.details


def test_the_message_says_what_to_do() -> None:
    event = event_of(UNIT, Ending("exit-code", "exited", "1"), "no space left on device", "db1")
    assert event.summary == "backup of shop_db failed: it exited with status 1"
    assert "no space left on device" in event.details
    for step in (f"journalctl -u {UNIT} -n 200", "holdfast status", "holdfast backup shop_db"):
        assert step in event.details


def test_who_was_killed_may_have_run_out_of_memory() -> None:
    killed = event_of(UNIT, Ending("signal", "killed", "KILL"), "", "db1")
    assert "journalctl -k --grep=oom" in killed.details
    assert "--grep=oom" not in event_of(UNIT, Ending("oom-kill", "killed", "KILL"), "", "db1").details


def test_the_environment_is_believed_only_for_its_own_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        _unit, "_ask", lambda program, arguments, warn: "Result=timeout\nExecMainCode=2\nExecMainStatus=15"
    )
    told = {
        "MONITOR_UNIT": UNIT,
        "MONITOR_SERVICE_RESULT": "oom-kill",
        "MONITOR_EXIT_CODE": "killed",
        "MONITOR_EXIT_STATUS": "KILL",
        "MONITOR_INVOCATION_ID": INVOCATION,
    }
    assert _unit.ending_of(UNIT, told, print) == Ending("oom-kill", "killed", "KILL", INVOCATION)
    asked = Ending("timeout", "killed", "TERM", "")
    assert _unit.ending_of(UNIT, {**told, "MONITOR_UNIT": "other.service"}, print) == asked
    assert _unit.ending_of(UNIT, {}, print) == asked


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in the place of journalctl, which says what stands in a file and keeps its arguments."""
    program = tmp_path / "journalctl"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\ncat {tmp_path}/said\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "said").touch()
    return tmp_path


def test_only_the_lines_of_the_run_that_failed(journal: Path) -> None:
    _unit.last_lines(UNIT, INVOCATION, [], pytest.fail)
    arguments = (journal / "arguments").read_text()
    assert f"_SYSTEMD_INVOCATION_ID={INVOCATION} + INVOCATION_ID={INVOCATION}" in arguments
    _unit.last_lines(UNIT, "", [], pytest.fail)
    assert f"--unit {UNIT}" in (journal / "arguments").read_text()


def test_the_lines_are_bounded_and_hold_no_secret(journal: Path, tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "one").write_text("hunter2hunter2\n")
    secrets = _config.known_secrets(str(tmp_path / "secrets"))
    (journal / "said").write_text("begin\n" + "x" * 10_000 + "\nlogin with hunter2hunter2 password=abc123\nend\n")
    lines = _unit.last_lines(UNIT, "", secrets, pytest.fail)
    assert len(lines) <= 3010 and lines.startswith("begin") and lines.endswith("end")
    assert "hunter2hunter2" not in lines and "abc123" not in lines


@pytest.mark.parametrize("environment", [{"PATH": "/nowhere"}])
def test_without_a_journal_the_message_is_sent_all_the_same(
    monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str]
) -> None:
    monkeypatch.setenv("PATH", environment["PATH"])
    said: list[str] = []
    assert _unit.last_lines(UNIT, INVOCATION, [], said.append) == ""
    assert _unit.ending_of(UNIT, {}, said.append).words() == "systemd does not say how"
    assert len(said) == 2 and "journalctl was of no help" in said[0]


@pytest.mark.parametrize("name", ["", "-x", "a b", "a/b", "a\n", "x" * 300])
def test_what_is_no_unit(name: str) -> None:
    assert not _unit.is_unit(name)
