# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The watcher sees what a careless program would give away."""

from __future__ import annotations

import os
import subprocess

import pytest
from ansible_collections.holdfast.ops.tests.support.procwatch import ProcessWatch
from ansible_collections.holdfast.ops.tests.support.servers import wait_until


@pytest.mark.parametrize(
    ("argv", "environment", "where"),
    [
        (["sh", "-c", "sleep 0.05; : s3cr3t-in-argv"], {}, "cmdline"),
        (["sh", "-c", "sleep 0.05"], {"PASSWORD": "s3cr3t-in-environ"}, "environ"),
        (["sh", "-c", "sh -c 'sleep 0.05; : s3cr3t-of-a-grandchild'"], {}, "cmdline"),
    ],
)
def test_a_leaked_secret_is_seen(argv: list[str], environment: dict[str, str], where: str) -> None:
    with ProcessWatch() as seen:
        subprocess.run(argv, env={**os.environ, **environment}, check=True)
        wait_until(lambda: bool(seen.holding("s3cr3t-")), "the leak is seen")
    assert any(line.startswith(where) for line in seen.holding("s3cr3t-"))


def test_an_orphan_stays_in_sight() -> None:
    with ProcessWatch() as seen:
        subprocess.run(["sh", "-c", "(sleep 0.1; exec sleep 0.123) & :"], check=True)
        wait_until(lambda: b"sleep\x000.123\x00" in seen.cmdlines, "the orphan's second program is seen")
    assert b"sleep\x000.123\x00" in seen.cmdlines


def test_what_nobody_leaks_is_not_reported() -> None:
    with ProcessWatch() as seen:
        subprocess.run(["sleep", "0.05"], check=True)
    assert "sleep" in seen.programs()
    assert seen.holding("s3cr3t") == []
