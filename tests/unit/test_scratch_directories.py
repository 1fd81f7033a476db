# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What killed runs left on disk is removed; what the user that our tools run as puts there harms nobody else."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._engines import _scratch_directories
from ansible_collections.holdfast.ops.plugins.module_utils._errors import Refused

DEAD = {"pid": 1, "start": "a boot long ago"}


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    (tmp_path / "scratch/run").mkdir(parents=True)
    (tmp_path / "sockets").mkdir()
    return tmp_path / "scratch"


def _claim(scratch: Path) -> str:
    return json.dumps({**DEAD, "sockets": str(scratch.parent / "sockets")})


def _swap(path: Path, target: Path) -> None:
    """A link takes the place of what was there."""
    path.rename(path.with_name(f"{path.name}-moved"))
    path.symlink_to(target)


def test_the_directory_of_a_dead_run_goes_with_its_sockets(scratch: Path) -> None:
    (scratch / "run" / _scratch_directories.MARK).write_text(_claim(scratch))
    assert _scratch_directories.sweep_directories(str(scratch)) == [str(scratch / "run")]
    assert not (scratch / "run").exists()
    assert not (scratch.parent / "sockets").exists()


def test_that_of_a_living_run_stays(scratch: Path) -> None:
    _scratch_directories.mark(str(scratch / "run"))
    assert _scratch_directories.sweep_directories(str(scratch)) == []
    assert (scratch / "run").exists()


def test_a_mark_that_is_not_ours_removes_nothing(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (scratch / "run" / _scratch_directories.MARK).write_text(_claim(scratch))
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert _scratch_directories.sweep_directories(str(scratch)) == []
    assert (scratch.parent / "sockets").exists()


def test_a_mark_that_is_a_link_removes_nothing(scratch: Path) -> None:
    (scratch.parent / "elsewhere").write_text(_claim(scratch))
    (scratch / "run" / _scratch_directories.MARK).symlink_to(scratch.parent / "elsewhere")
    assert _scratch_directories.sweep_directories(str(scratch)) == []
    assert (scratch.parent / "sockets").exists()


def test_a_mark_is_not_written_through_a_link(scratch: Path) -> None:
    victim = scratch.parent / "victim"
    victim.write_text("precious")
    (scratch / "run" / _scratch_directories.MARK).symlink_to(victim)
    _scratch_directories.mark(str(scratch / "run"))
    assert victim.read_text() == "precious"


def test_a_mark_with_a_second_name_removes_nothing(scratch: Path) -> None:
    (scratch.parent / "elsewhere").write_text(_claim(scratch))
    os.link(scratch.parent / "elsewhere", scratch / "run" / _scratch_directories.MARK)
    assert _scratch_directories.sweep_directories(str(scratch)) == []
    assert (scratch.parent / "sockets").exists()


def test_a_mark_is_not_written_into_a_directory_that_was_swapped(scratch: Path) -> None:
    victim = scratch.parent / "victim"
    victim.mkdir()
    _swap(scratch / "run", victim)
    with pytest.raises(Refused):
        _scratch_directories.mark(str(scratch / "run"))
    assert list(victim.iterdir()) == []


def test_links_below_a_swept_directory_lead_nowhere(scratch: Path) -> None:
    victim = scratch.parent / "victim"
    victim.mkdir()
    (victim / "file").write_text("precious")
    (scratch / "run" / _scratch_directories.MARK).write_text(_claim(scratch))
    (scratch / "run" / "directory").symlink_to(victim)
    (scratch / "run" / "file").symlink_to(victim / "file")
    assert _scratch_directories.sweep_directories(str(scratch)) == [str(scratch / "run")]
    assert not (scratch / "run").exists()
    assert (victim / "file").read_text() == "precious"


def test_what_is_swapped_while_it_is_swept_is_not_removed(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    victim = scratch.parent / "victim"
    victim.mkdir()
    (victim / "file").write_text("precious")
    (scratch / "run" / _scratch_directories.MARK).write_text(_claim(scratch))

    def swapped(_directory: object) -> None:
        shutil.move(scratch / "run", scratch.parent / "moved")
        shutil.move(victim, scratch / "run")

    monkeypatch.setattr(_scratch_directories, "end_server", swapped)
    assert _scratch_directories.sweep_directories(str(scratch)) == []
    assert (scratch / "run/file").read_text() == "precious"


def _working_in(directory: Path) -> subprocess.Popen[bytes]:
    # Whoever runs the tests in the background of a shell has SIGQUIT ignored, and children inherit that.
    return subprocess.Popen(["env", "--default-signal=QUIT", "sleep", "60"], cwd=directory)


@pytest.fixture
def data(scratch: Path) -> Path:
    """The data directory of a dead run's cluster."""
    (scratch / "run" / _scratch_directories.MARK).write_text(_claim(scratch))
    (scratch / "run/data").mkdir()
    return scratch / "run/data"


def test_the_server_of_a_dead_run_is_ended(scratch: Path, data: Path) -> None:
    with _working_in(data) as server:
        (data / "postmaster.pid").write_text(f"{server.pid}\n{data}\n")
        assert _scratch_directories.sweep_directories(str(scratch)) == [str(scratch / "run")]
        assert server.wait(10) == -signal.SIGQUIT


def test_a_process_that_works_elsewhere_is_left_alone(scratch: Path, data: Path) -> None:
    """The data directory becomes a link to where somebody else's process works."""
    elsewhere = scratch.parent / "elsewhere"
    elsewhere.mkdir()
    with _working_in(elsewhere) as other:
        (elsewhere / "postmaster.pid").write_text(f"{other.pid}\n")
        _swap(data, elsewhere)
        assert _scratch_directories.sweep_directories(str(scratch)) == [str(scratch / "run")]
        assert other.poll() is None
        other.kill()
    assert (elsewhere / "postmaster.pid").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root could end somebody else's process")
def test_another_user_s_process_is_left_alone(scratch: Path, data: Path) -> None:
    user = pwd.getpwnam("nobody")
    with _working_in(data) as other:
        (data / "postmaster.pid").write_text(f"{other.pid}\n{data}\n")
        for path in (scratch / "run", data, data / "postmaster.pid"):
            os.chown(path, user.pw_uid, user.pw_gid)
        _scratch_directories.sweep_directories(str(scratch))
        assert other.poll() is None
        other.kill()
