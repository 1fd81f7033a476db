# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What killed runs left on disk is removed; what the user that our tools run as writes there removes nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._engines._pg import _leftovers

DEAD = {"pid": 1, "start": "a boot long ago"}


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    (tmp_path / "scratch/run").mkdir(parents=True)
    (tmp_path / "sockets").mkdir()
    return tmp_path / "scratch"


def _claim(scratch: Path) -> str:
    return json.dumps({**DEAD, "sockets": str(scratch.parent / "sockets")})


def test_the_directory_of_a_dead_run_goes_with_its_sockets(scratch: Path) -> None:
    (scratch / "run" / _leftovers.MARK).write_text(_claim(scratch))
    assert _leftovers.sweep_directories(str(scratch)) == [str(scratch / "run")]
    assert not (scratch / "run").exists()
    assert not (scratch.parent / "sockets").exists()


def test_that_of_a_living_run_stays(scratch: Path) -> None:
    _leftovers.mark(str(scratch / "run"))
    assert _leftovers.sweep_directories(str(scratch)) == []
    assert (scratch / "run").exists()


def test_a_mark_that_is_not_ours_removes_nothing(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (scratch / "run" / _leftovers.MARK).write_text(_claim(scratch))
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert _leftovers.sweep_directories(str(scratch)) == []
    assert (scratch.parent / "sockets").exists()


def test_a_mark_that_is_a_link_removes_nothing(scratch: Path) -> None:
    (scratch.parent / "elsewhere").write_text(_claim(scratch))
    (scratch / "run" / _leftovers.MARK).symlink_to(scratch.parent / "elsewhere")
    assert _leftovers.sweep_directories(str(scratch)) == []
    assert (scratch.parent / "sockets").exists()


def test_a_mark_is_not_written_through_a_link(scratch: Path) -> None:
    victim = scratch.parent / "victim"
    victim.write_text("precious")
    (scratch / "run" / _leftovers.MARK).symlink_to(victim)
    _leftovers.mark(str(scratch / "run"))
    assert victim.read_text() == "precious"
