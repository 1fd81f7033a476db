# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A declared Redis server by the playbooks, as an operator runs them."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.tests.support.playbook import PlaybookRun, run_playbook
from ansible_collections.holdfast.ops.tests.support.redis import BUILDS, UNIT, Service
from ansible_collections.holdfast.ops.tests.support.servers import short_directory

pytestmark = pytest.mark.ansible


@pytest.fixture
def directory() -> Iterator[Path]:
    made = short_directory("hf-play-")
    made.chmod(0o711)
    yield made
    shutil.rmtree(made)


def test_declared_lost_and_brought_back(directory: Path) -> None:
    build = BUILDS["valkey" if "valkey" in BUILDS else "redis"]
    with Service(build, "--appendonly", "yes", "--requirepass", "a secret of theirs") as server:
        component: dict[str, Any] = {
            "name": "sessions",
            "engine": "redis",
            "login_port": server.port,
            "login_password": "a secret of theirs",
            "service": UNIT,
            "bin_dir": build.bin_dir,
            "state_dir": str(directory / "state"),
            "scratch_dir": str(directory / "scratch"),
            "repositories": ["primary"],
        }
        variables = {
            "ansible_become": False,
            "holdfast_interpreter": sys.executable,
            "holdfast_repositories": {"primary": {"type": "local", "path": str(directory / "repository")}},
            "holdfast_components": [component],
        }
        systemctl = {"PATH": f"{server.home / 'bin'}{os.pathsep}{os.environ['PATH']}"}

        def run(verb: str, *arguments: str, **extra: Any) -> PlaybookRun:
            done = run_playbook(
                f"holdfast.ops.{verb}",
                directory,
                *arguments,
                extra_vars=extra,
                env=systemctl,
                hosts={"localhost": variables},
            )
            assert "a secret of theirs" not in done.output
            return done

        with server.client(password="a secret of theirs") as client:
            client.set("a", "1")
            client.rpush("b", "2", "3")
            run("backup").succeeded()
            verified = run("verify", holdfast_level="restore").succeeded()
            assert any("sessions" in line for line in verified.report)
            client.flushall()
            client.set("mistake", "1")
            refused = run("restore", holdfast_component="sessions").failed()
            assert server.where in refused.output
            assert client.get("mistake") == b"1"
            run("restore", holdfast_component="sessions", holdfast_restore_confirm=server.where).succeeded()
            assert (client.get("a"), client.lrange("b", 0, -1), client.get("mistake")) == (b"1", [b"2", b"3"], None)
