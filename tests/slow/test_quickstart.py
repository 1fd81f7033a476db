# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user meets first."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.holdfast.ops.tests.support.servers import short_directory

pytestmark = pytest.mark.ansible

QUICKSTART = Path(__file__).resolve().parents[2] / "scripts" / "quickstart"


def quickstart(temporary: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run it with a directory of its own for everything temporary but sockets."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [sys.executable, QUICKSTART],
        env={**os.environ, "PATH": path, "TMPDIR": str(temporary), **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@pytest.fixture
def temporary() -> Iterator[Path]:
    """Short and passable, for a scratch server runs as somebody else where we are root."""
    directory = short_directory("hf-quick-")
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory)


@pytest.mark.parametrize("store", ["local", "s3"])
def test_it_proves_what_it_says_and_leaves_nothing(temporary: Path, store: str) -> None:
    done = quickstart(temporary, STORE=store)
    assert done.returncode == 0, done.stdout
    for expected in (
        "is committed in primary",
        "sound, restored in",
        "proved equal",
        "✓ equal",
        "✓ caught",
        "Proved in",
    ):
        assert expected in done.stdout
    assert "\x1b" not in done.stdout
    assert list(temporary.iterdir()) == []


def test_a_step_that_fails_is_a_sentence_and_an_exit_code(temporary: Path) -> None:
    """ansible-playbook that does nothing: the quickstart must not believe it."""
    programs = temporary / "bin"
    programs.mkdir()
    (programs / "ansible-playbook").symlink_to("/bin/true")
    done = quickstart(temporary, PATH=f"{programs}{os.pathsep}{os.environ['PATH']}")
    assert done.returncode == 1, done.stdout
    assert "FAILED  holdfast.ops.backup reported nothing." in done.stdout
    assert "Traceback" not in done.stdout
    assert [path.name for path in temporary.iterdir()] == ["bin"]


def test_an_unknown_store_is_refused(temporary: Path) -> None:
    done = quickstart(temporary, STORE="tape")
    assert done.returncode == 2
    assert done.stdout == "STORE=tape is not known; it can be local or s3.\n"
    assert list(temporary.iterdir()) == []
