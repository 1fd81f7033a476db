# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check kind `docker` and the module `docker_stats_info` with a real engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._health._interface import FAIL, PASS
from ansible_collections.holdfast.ops.tests.support.docker import DockerEngine, needs_docker
from ansible_collections.holdfast.ops.tests.support.health import look, measured
from ansible_collections.holdfast.ops.tests.support.modules import run_module
from ansible_collections.holdfast.ops.tests.support.servers import wait_until

pytestmark = [pytest.mark.privileged, needs_docker]


@pytest.fixture(scope="module")
def engine() -> Iterator[DockerEngine]:
    with DockerEngine() as started:
        yield started


def test_what_containers_are(engine: DockerEngine) -> None:
    labels = {"com.docker.compose.project": "shop"}
    check = {
        "test": ["CMD-SHELL", "test -e /tmp/well"],
        "interval": 200_000_000,
        "retries": 1,
        "timeout": 2_000_000_000,
    }
    engine.run(["/bin/sleep", "600"], name="plain", labels=labels)
    checked = engine.run(["/bin/sleep", "600"], name="checked", healthcheck=check)
    engine.run(["/bin/sh", "-c", "exit 7"], name="ended", labels=labels).wait()
    about = {"kind": "docker", "docker_host": engine.url, "timeout": "20s"}

    found = look(**about, containers=["plain"])
    assert found.status == PASS, found
    wait_until(
        lambda: look(**about, containers=["checked"]).output == "The container checked is unhealthy.", "unhealthy"
    )
    checked.exec_run(["/bin/sh", "-c", ": > /tmp/well"])
    wait_until(lambda: look(**about, containers=["checked"]).status == PASS, "healthy")

    found = look(**about, project="shop")
    assert measured(found, "state", "plain").status == PASS
    assert found.output == "The container ended is exited (exit code 7)."
    assert look(**about, containers=["gone"]).output == "There is no container gone."
    assert "has no containers" in look(**about, project="other").output


def test_what_containers_use(engine: DockerEngine) -> None:
    """What Docker's own library says of the same container; where the engine has no numbers, that none are made up."""
    worker = engine.run(["/bin/sleep", "600"], name="shop-worker-1", mem_limit="64m")
    found = run_module("docker_stats_info", {"docker_host": engine.url, "containers": ["shop-*"], "disk": [1, 2]})
    (told,) = found["containers"]
    other = worker.stats(stream=False)["memory_stats"]
    if other:
        cache = other["stats"].get("total_inactive_file", other["stats"].get("inactive_file", 0))
        assert told["memory_limit_bytes"] == other["limit"] == 64 << 20
        assert told["memory_bytes"] == pytest.approx(other["usage"] - cache, rel=0.1)
        assert told["pids"] == 1
    else:
        assert (told["status"], "memory_bytes" in told) == ("warn", False)
    # The disk of Docker's data is a real one, whatever the engine knows of its containers.
    assert found["status"] == FAIL
    assert any("is full to" in problem for problem in found["problems"])
