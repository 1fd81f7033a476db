# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role `runtime` on this machine: a virtual environment out of a wheelhouse, made by pip from the index."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.tests.support.playbook import PlaybookRun, run_playbook

pytestmark = [pytest.mark.ansible, pytest.mark.xdist_group("runtime")]


@pytest.fixture(scope="module")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheels of what the role installs without a database driver: enough to prove that it works offline."""
    directory = tmp_path_factory.mktemp("wheels")
    wanted = ["zstandard>=0.22", "pyrage>=1.2", "Jinja2>=3.0", "boto3>=1.36"]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary", ":all:", "--dest", str(directory)]
    subprocess.run([*pip, *wanted], check=True)
    return directory


@pytest.fixture
def apply(tmp_path: Path) -> Any:
    """Run the role with variables; a path of its own for the environment, and the interpreter behind this one."""
    scratch = tmp_path / "tmp"
    fixed = {"runtime_venv_path": str(tmp_path / "opt" / "venv"), "runtime_python": os.path.realpath(sys.executable)}

    def run(*arguments: str, **variables: Any) -> PlaybookRun:
        play = {"hosts": "localhost", "gather_facts": False, "roles": ["holdfast.ops.runtime"]}
        scratch.mkdir(exist_ok=True)
        return run_playbook(
            [play], tmp_path, *arguments, extra_vars={**fixed, **variables}, env={"TMPDIR": str(scratch)}
        )

    return run


def has(venv: Path, *modules: str) -> bool:
    """Whether the environment's own interpreter can import the modules, with nothing of ours in reach."""
    code = "import " + ", ".join(modules)
    return subprocess.run([venv / "bin/python", "-I", "-c", code], capture_output=True, check=False).returncode == 0


def test_a_fresh_host_gets_the_libraries_offline_and_once(apply: Any, tmp_path: Path, wheelhouse: Path) -> None:
    venv = tmp_path / "opt" / "venv"
    offline = {
        "runtime_wheelhouse": str(wheelhouse),
        "runtime_features": ["s3"],
        # No index can be reached, so what is installed came out of the wheelhouse.
        "runtime_index_url": "http://127.0.0.1:9/simple",
    }

    checked = apply("--check", "--diff", **offline).succeeded()
    assert checked.counts["changed"] > 0
    assert not venv.parent.exists(), "check mode wrote"

    apply(**offline).succeeded()
    assert has(venv, "boto3", "zstandard", "pyrage")
    assert not has(venv, "psycopg"), "not asked for"

    assert apply(**offline).succeeded().counts["changed"] == 0

    # What got lost is seen, first by check mode, and comes back.
    subprocess.run([venv / "bin/python", "-m", "pip", "uninstall", "--quiet", "--yes", "zstandard"], check=True)
    assert apply("--check", **offline).succeeded().counts["changed"] > 0
    assert not has(venv, "zstandard")
    apply(**offline).succeeded()
    assert has(venv, "zstandard")

    # A library that is there but cannot be loaded is a failure that says so.
    broken = next(venv.glob("lib/python*/site-packages/pyrage/__init__.py"))
    broken.write_text("raise ImportError('wrong ELF class')")
    failed = apply(**offline).failed()
    assert "pyrage: wrong ELF class" in failed.output

    assert not list((tmp_path / "tmp").iterdir()), "temporary files were left"
    assert apply("--check", runtime_state="absent").succeeded().counts["changed"] == 1
    assert venv.exists()
    assert apply(runtime_state="absent").succeeded().counts["changed"] == 1
    assert not venv.exists()
    assert apply(runtime_state="absent").succeeded().counts["changed"] == 0


def test_a_directory_that_is_no_environment_is_neither_filled_nor_removed(apply: Any, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("kept")
    for state in ("present", "absent"):
        failed = apply(runtime_venv_path=str(precious), runtime_state=state).failed()
        assert "is no virtual environment" in failed.output
        assert [path.name for path in precious.iterdir()] == ["file"]


def test_an_empty_wheelhouse_is_named_before_anything_is_done(apply: Any, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    failed = apply(runtime_wheelhouse=str(empty)).failed()
    assert f"{empty} on the controller holds no wheels" in failed.output
    assert not (tmp_path / "opt").exists()


def test_an_old_interpreter_is_refused(apply: Any, tmp_path: Path) -> None:
    old = tmp_path / "python3.8"
    old.write_text('#!/bin/sh\necho \'{"version": [3, 8], "venv": true}\'\n')
    old.chmod(0o755)
    failed = apply(runtime_python=str(old)).failed()
    assert "is Python 3.8; holdfast.ops needs 3.9 or newer" in " ".join(failed.output.split())


def test_an_unknown_feature_is_refused(apply: Any) -> None:
    failed = apply(runtime_features=["s3", "floppy"]).failed()
    assert "floppy" in failed.output
