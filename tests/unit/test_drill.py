# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drills: what passes, what fails, and what the report says of it."""

from __future__ import annotations

import json
import os
import shutil
import stat
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.holdfast.ops.plugins.module_utils import _run_drill
from ansible_collections.holdfast.ops.plugins.module_utils._engines._interface import Proof
from ansible_collections.holdfast.ops.plugins.module_utils._operations._drill import (
    Drill,
    Objectives,
    judge,
    markdown,
    write_report,
)
from ansible_collections.holdfast.ops.plugins.module_utils._operations._verify import Finding

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=timezone.utc)
ID = "20261122T020000.000Z-0123456789ab"
GOOD = Finding(
    "primary", ID, "restore", True, proof=Proof("digest", 12, (), {}), restore_seconds=60.0, data_age_seconds=7200.0
)
BOTH = Objectives(rto=1800.0, rpo=86400.0)


def failed(finding: Finding, objectives: Objectives = BOTH, errors: dict[str, str] | None = None) -> list[str]:
    return [check.name for check in judge([finding], errors or {}, objectives) if not check.ok]


@pytest.mark.parametrize(
    ("finding", "expected"),
    [
        (GOOD, []),
        (replace(GOOD, restore_seconds=1800.0, data_age_seconds=86400.0), []),
        (replace(GOOD, restore_seconds=1800.1), ["RTO in primary"]),
        (replace(GOOD, data_age_seconds=86400.1), ["RPO in primary"]),
        (replace(GOOD, restore_seconds=None), ["RTO in primary"]),
        (replace(GOOD, shortfall="without a fingerprint"), ["proved in primary"]),
        (replace(GOOD, proof=None), ["proved in primary"]),
        (replace(GOOD, ok=False, problems=["x is missing."]), ["sound in primary", "proved in primary"]),
        (
            replace(GOOD, ok=False, proof=Proof("digest", 12, ("table t: 3 rows instead of 4",), {})),
            ["sound in primary", "proved in primary"],
        ),
    ],
)
def test_what_a_drill_demands(finding: Finding, expected: list[str]) -> None:
    assert failed(finding) == expected


def test_a_repository_that_cannot_be_read_fails_the_drill() -> None:
    assert failed(GOOD, errors={"offsite": "The store does not answer."}) == ["reachable in offsite"]


def test_what_was_not_declared_is_not_demanded() -> None:
    assert failed(replace(GOOD, restore_seconds=None, data_age_seconds=None), Objectives()) == []


def drill(**changes: Any) -> Drill:
    given = {
        "component": "shop",
        "host": "db1",
        "begun": NOW,
        "seconds": 61.5,
        "checks": judge([GOOD], {}, BOTH),
        "findings": [{"repository": "primary", "backup_id": ID, "restore_seconds": 60.0, "data_age_seconds": 7200.0}],
        "objectives": BOTH,
        "versions": {"holdfast.ops": "1.0.0"},
        **changes,
    }
    return Drill(**given)


@pytest.mark.parametrize(
    ("changes", "passed"),
    [
        ({}, True),
        ({"checks": ()}, False),  # nothing was judged: nothing is proved
        ({"error": {"error_code": "not_found", "msg": "No backup."}}, False),
        ({"checks": judge([replace(GOOD, restore_seconds=9999.0)], {}, BOTH)}, False),
    ],
)
def test_the_verdict(changes: dict[str, Any], passed: bool) -> None:
    one = drill(**changes)
    assert one.passed is passed
    assert one.as_dict()["verdict"] == ("passed" if passed else "failed")
    assert markdown(one).splitlines()[0] == f"# Drill of shop: {'PASSED' if passed else 'FAILED'}"


def test_text_from_elsewhere_stays_in_its_cell() -> None:
    bad = replace(GOOD, ok=False, problems=["a | b\n| c <script>"])
    text = markdown(drill(checks=judge([bad], {}, BOTH)))
    (row,) = [line for line in text.splitlines() if line.startswith("| sound")]
    assert row == r"| sound in primary | every level up to restore | a \| b \| c \<script\> | **FAILED** |"


def test_reports_are_private_and_kept(tmp_path: Path) -> None:
    reports = tmp_path / "reports"
    for age in (500, 399, 0):
        write_report(str(reports), drill(begun=NOW - timedelta(days=age)), timedelta(days=400), NOW)
    write_report(str(reports), drill(component="shop-old", begun=NOW - timedelta(days=500)), timedelta(days=999), NOW)
    (reports / "drill-notes-20200101T000000Z.txt").touch()
    path = write_report(str(reports), drill(), timedelta(days=400), NOW)
    assert sorted(os.listdir(reports)) == [
        "drill-notes-20200101T000000Z.txt",
        "drill-shop-20251019T040000Z.json",
        "drill-shop-20251019T040000Z.md",
        "drill-shop-20261122T040000Z.json",
        "drill-shop-20261122T040000Z.md",
        "drill-shop-old-20250710T040000Z.json",
        "drill-shop-old-20250710T040000Z.md",
    ]
    assert json.loads(Path(path).read_text())["restores"][0]["backup_id"] == ID
    assert {stat.S_IMODE(each.stat().st_mode) for each in reports.glob("drill-shop*")} == {0o600}
    assert stat.S_IMODE(reports.stat().st_mode) == 0o700


def test_the_version_in_reports_is_that_of_the_collection() -> None:
    galaxy = yaml.safe_load((Path(__file__).parents[2] / "galaxy.yml").read_text())
    assert galaxy["version"] == _run_drill.VERSION


# -- the module, on a real repository --------------------------------------------------------------------------------


class Module:
    """What looks like an AnsibleModule."""

    def __init__(self, params: dict[str, Any], check_mode: bool = False) -> None:
        self.params = params
        self.check_mode = check_mode
        self.result: dict[str, Any] = {}
        self.warnings: list[str] = []

    def warn(self, warning: str) -> None:
        self.warnings.append(warning)

    def exit_json(self, **result: Any) -> None:
        self.result = result

    def fail_json(self, **result: Any) -> None:
        self.result = {**result, "failed": True}


def test_the_drill_of_a_component_without_backups_fails_and_reports(tmp_path: Path) -> None:
    result = run(tmp_path)
    assert (result["failed"], result["error_code"], result["verdict"]) == (True, "not_found", "failed")
    assert json.loads(Path(result["report"]).read_text())["error"]["error_code"] == "not_found"
    assert "holdfast_drill_last_run_success{" in (tmp_path / "metrics/holdfast_drill_shop.prom").read_text()


@pytest.mark.parametrize("which", ["all", "unverified"])
def test_a_drill_is_of_one_backup(tmp_path: Path, which: str) -> None:
    assert run(tmp_path, backup_id=which)["error_code"] == "invalid_option"


def test_reports_are_kept_for_a_year_at_least(tmp_path: Path) -> None:
    assert run(tmp_path, keep_reports="30d")["error_code"] == "invalid_option"


def run(directory: Path, **changes: Any) -> dict[str, Any]:
    from ansible_collections.holdfast.ops.plugins.module_utils._arguments import defaults, drill_spec

    metrics = directory / "metrics"
    shutil.rmtree(metrics, ignore_errors=True)
    metrics.mkdir()
    module = Module(
        {
            **defaults(drill_spec().options),
            "component": "shop",
            "repositories": [{"name": "primary", "type": "local", "path": str(directory / "repository")}],
            "state_dir": str(directory / "state"),
            "reports_dir": str(directory / "reports"),
            "textfile_dir": str(metrics),
            **changes,
        }
    )
    _run_drill.run_drill(module)
    return module.result
