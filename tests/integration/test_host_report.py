# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules `host_report_info` and `service_report_info` on this machine, compared with what its own tools say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.holdfast.ops.tests.support.modules import run_module


def test_what_is_told_is_what_the_machine_s_own_tools_say(tmp_path: Path) -> None:
    (tmp_path / "big" / "deep").mkdir(parents=True)
    (tmp_path / "big" / "deep" / "file").write_bytes(os.urandom(3_000_000))
    os.link(tmp_path / "big" / "deep" / "file", tmp_path / "big" / "again")
    (tmp_path / "small").mkdir()
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass", "--password=hunter2"])
    try:
        found = run_module("host_report_info", {"directories": [str(tmp_path)], "sample": 0.5})
    finally:
        busy.kill()
        busy.wait()
    assert not found.get("failed"), found
    assert found["changed"] is False

    (directory,) = found["directories"]
    du = subprocess.run(["du", "-xs", "--block-size=1", str(tmp_path)], capture_output=True, check=True, text=True)
    assert directory["size_bytes"] == int(du.stdout.split()[0])
    assert directory["complete"] and directory["below"]["big"] > 3_000_000 > directory["below"]["small"]

    df = subprocess.run(["df", "--output=size,target", "-B1", "/"], capture_output=True, check=True, text=True)
    root = next(each for each in found["filesystems"] if each["mount_point"] == "/")
    assert root["size_bytes"] == int(df.stdout.split()[-2])
    assert f"used_bytes:{root['mount_point']}" in {each["name"] for each in found["section"]["measures"]}

    # The one that does nothing but work is among those that work most, and known by its name alone.
    mine = next(each for each in found["processes_by_cpu"] if each["pid"] == busy.pid)
    assert mine["name"].startswith("python") and mine["cpu_percent"] > 1
    assert "hunter2" not in json.dumps(found)
    assert found["process_count"] > 3 and found["uptime_seconds"] > 0


def test_limits_and_what_cannot_be_measured(tmp_path: Path) -> None:
    options = {"sample": 0.1, "space_warning": 0, "space_critical": 0, "directories": [str(tmp_path / "none")]}
    found = run_module("host_report_info", options)
    codes = {(each["code"], each["severity"]) for each in found["findings"]}
    assert {("disk_full", "critical"), ("not_measured", "warning")} <= codes


@pytest.mark.parametrize(
    ("options", "problem"),
    [({"directories": ["srv"]}, "directories[0]: must begin with /"), ({"sample": 9}, "sample: must lie between")],
)
def test_what_is_refused(options: dict, problem: str) -> None:
    result = run_module("host_report_info", options)
    assert (result["failed"], result["error_code"]) == (True, "invalid_declaration")
    assert problem in result["msg"]


def test_services_without_systemd_are_a_finding_and_pm2_is_still_looked_at(tmp_path: Path) -> None:
    """PM2's own answer is played by a program; a real one is in tests/integration of health and in Molecule."""
    user = subprocess.run(["id", "-un"], capture_output=True, check=True, text=True).stdout.strip()
    program = tmp_path / "pm2"
    listed = [{"name": "web", "pid": 7, "pm2_env": {"status": "stopped", "restart_time": 9, "SECRET": "hunter2"}}]
    program.write_text(f"#!/bin/sh\n[ \"$1\" = jlist ] && echo '{json.dumps(listed)}'\n")
    program.chmod(0o755)
    (tmp_path / "pm2.pid").write_text(str(os.getpid()))
    options = {
        "units": ["no-such-unit-of-holdfast"],
        "pm2": [{"run_as": user, "pm2_home": str(tmp_path), "command": str(program)}],
    }
    found = run_module("service_report_info", options)
    assert [each["process"] for each in found["processes"]] == ["web"]
    codes = {each["code"] for each in found["findings"]}
    systemd = "no_unit" if Path("/run/systemd/system").exists() else "not_looked_at"
    assert {"not_online", "restarts", systemd} <= codes
    assert "hunter2" not in json.dumps(found)
