# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules `health_check` and `docker_stats_info`, as Ansible runs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.tests.support.modules import run_module
from ansible_collections.holdfast.ops.tests.support.playbook import run_playbook

pytestmark = pytest.mark.ansible

BAD = {"name": "bad", "kind": "command", "command": ["/bin/sh", "-c", "exit 1"], "profiles": ["readiness"]}
GOOD = {"name": "good", "kind": "command", "command": ["/bin/true"], "profiles": ["liveness"]}


def check(*checks: dict[str, Any], **more: Any) -> dict[str, Any]:
    return run_module("health_check", {"checks": list(checks), **more})


def test_what_fails_is_for_the_user_to_say() -> None:
    assert check(BAD, GOOD).get("failed") is None
    found = check(BAD, GOOD, fail_on="warning")
    assert (found["failed"], found["error_code"], found["status"]) == (True, "unhealthy", "warn")
    assert found["msg"].startswith("1 check of 2 is not pass. bad: /bin/sh exited with status 1")
    worse = {**BAD, "command": ["/bin/false"], "warning_codes": [9]}
    assert check(worse)["failed"]
    assert check(worse, fail_on="never")["document"]["status"] == "fail"


def test_a_profile_or_some_names_are_run() -> None:
    assert set(check(BAD, GOOD, profile="liveness")["document"]["holdfast"]) == {"good"}
    assert set(check(BAD, GOOD, names=["bad"])["document"]["holdfast"]) == {"bad"}
    assert check(BAD, GOOD, names=["no"])["error_code"] == "invalid_option"


def test_a_playbook_shows_no_secret_and_refuses_before_it_connects(tmp_path: Path) -> None:
    secret = "hunter2-of-the-database"
    web = {"name": "web", "kind": "http", "url": "http://127.0.0.1:1/", "username": "u", "password": secret}
    task = {"holdfast.ops.health_check": {"checks": [web], "fail_on": "never"}}
    plays = [{"hosts": "all", "gather_facts": False, "tasks": [task]}]
    run = run_playbook(plays, tmp_path, "-vvv").succeeded()
    assert "cannot be connected to" in run.output
    assert secret not in run.output.replace(json.dumps(plays), "")
    wrong = {"holdfast.ops.health_check": {"checks": [{**web, "urll": secret}]}}
    hosts = {"far": {"ansible_connection": "ssh", "ansible_host": "192.0.2.1"}}
    run = run_playbook([{"hosts": "all", "gather_facts": False, "tasks": [wrong]}], tmp_path, hosts=hosts).failed()
    assert "health check web: urll: unknown key, did you mean url?" in run.output
    assert secret not in run.output
    assert "UNREACHABLE" not in run.output


def test_the_playbook_reports(tmp_path: Path) -> None:
    variables = {"holdfast_health_checks": [GOOD, BAD]}
    become = {"ansible_become": False}
    run = run_playbook("holdfast.ops.health", tmp_path, extra_vars={**variables, **become}).succeeded()
    assert run.report[0].startswith("pass  good")
    more = {"holdfast_health_fail_on": "warning", "holdfast_health_check": "bad"}
    run = run_playbook("holdfast.ops.health", tmp_path, extra_vars={**variables, **become, **more}).failed()
    assert run.report[0].startswith("WARN  bad")


def test_without_docker_it_says_so(tmp_path: Path) -> None:
    found = run_module("docker_stats_info", {"docker_host": f"unix://{tmp_path}/none"})
    assert (found["failed"], found["error_code"]) == (True, "unavailable")
    assert "The Docker engine does not run" in found["msg"]
    assert run_module("docker_stats_info", {"docker_host": "ssh://x"})["error_code"] == "invalid_option"
    assert "disk must be two numbers" in run_module("docker_stats_info", {"disk": [90, 80]})["msg"]
