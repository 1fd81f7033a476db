# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules `health_check` and `docker_stats_info`, as Ansible runs them."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
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


LIMIT = 1 << 30
USED = {"shop-web-1": 0.5, "shop-celery-worker-1": 0.8}
"""What each container has of its limit."""


class Engine(http.server.BaseHTTPRequestHandler):
    """Answers as Docker does for two containers; each sample of a stream comes a moment after the one before."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].partition("/v1.40")[2]
        if self.path == "/_ping":
            self._answer("OK")
        elif path == "/containers/json":
            self._answer([{"Id": name * 2, "Names": [f"/{name}"], "Image": "shop"} for name in USED])
        elif path == "/info":
            self._answer({"MemTotal": 2 << 30, "NCPU": 2, "DockerRootDir": "/nowhere"})
        else:
            name = path.split("/")[2]
            self._answer(self._sample(name, 100), self._sample(name, 200))

    def _sample(self, name: str, ticks: int) -> dict[str, Any]:
        cpu = {"cpu_usage": {"total_usage": ticks}, "system_cpu_usage": 2 * ticks, "online_cpus": 2}
        memory = {"usage": int(LIMIT * USED[name]), "limit": LIMIT, "stats": {"inactive_file": 0}}
        return {"cpu_stats": cpu, "memory_stats": memory, "pids_stats": {"current": 3}}

    def _answer(self, *lines: Any) -> None:
        self.send_response(200)
        self.send_header("Api-Version", "1.40")
        self.end_headers()
        for line in lines:
            self.wfile.write(json.dumps(line).encode() + b"\n")

    def log_message(self, *_words: Any) -> None:
        """Nothing."""


@pytest.fixture
def engine() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Engine)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"tcp://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_containers_are_judged_by_what_they_are_called(engine: str) -> None:
    found = run_module("docker_stats_info", {"docker_host": engine})
    worker, web = found["containers"]
    assert (web["status"], web["memory_percent"], web["cpu_percent"], web["cpu_share_percent"]) == ("pass", 50, 100, 50)
    assert (worker["status"], found["status"]) == ("warn", "warn")
    assert found["problems"] == ["shop-celery-worker-1 uses of its memory 80 % (warning: 75 %)."]
    assert (found["host"]["memory_percent"], found["host"]["disk_percent"]) == (65, None)
    assert run_module("docker_stats_info", {"docker_host": engine, "fail_on": "warning"})["error_code"] == "unhealthy"
    busy = [{"pattern": "*", "cpu": [20, 50], "memory": []}]
    found = run_module("docker_stats_info", {"docker_host": engine, "thresholds": busy, "containers": ["shop-web-*"]})
    assert found["problems"] == ["shop-web-1 uses of all processors 50 % (critical: 50 %)."]
