# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Without holdfast: what docs/file-trees.md says, done with standard tools, brings the files back."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.holdfast.ops.tests.support.tree import TreeComponent, describe, write

PAGE = Path(__file__).parents[2] / "docs" / "file-trees.md"
MIB = 1024 * 1024

pytestmark = pytest.mark.skipif(shutil.which("zstd") is None, reason="restoring by hand takes the program zstd")


@pytest.fixture
def component(tmp_path: Path) -> TreeComponent:
    component = TreeComponent(tmp_path)
    for name in ("a", "d/with space", "d/e/-f", "d/new\nline", os.fsdecode(b"not utf-8 \xff"), "empty"):
        write(component.tree / name, f"content of {name!r}".encode() * 50 if name != "empty" else b"")
    (component.tree / "d" / "e" / "-f").chmod(0o4750)
    write(component.tree / "large", 3 * MIB)
    write(component.tree / "compressible", b"again " * MIB)
    os.symlink("a", component.tree / "link")
    return component


def contents(top: Path) -> dict[bytes, tuple[object, ...]]:
    """Type, mode and content: what the script brings back."""
    return {path: (found[0], found[1], found[4], found[5]) for path, found in describe(top).items() if found[4]}


def test_the_script_of_the_page(component: TreeComponent) -> None:
    backup = component.backup().backup
    assert backup is not None
    (script,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    target = component.path / "by hand"
    command = [sys.executable, "-I", "-c", script, str(component.path / "disk" / "docs"), backup.id, str(target)]
    subprocess.run(command, check=True, timeout=60)
    assert contents(target) == contents(component.tree)
    assert os.readlink(target / "link") == "a"
    assert (target / "empty").read_bytes() == b""


def test_sums_and_names_are_those_of_sha256sum(component: TreeComponent) -> None:
    component.backup()
    large = hashlib.sha256((component.tree / "large").read_bytes()).hexdigest()
    (stored,) = (component.path / "disk" / "docs" / "blobs" / large[:2]).glob(f"{large}.*")
    assert stored.read_bytes() == (component.tree / "large").read_bytes()


def test_packs_are_tar_archives(component: TreeComponent) -> None:
    component.backup()
    for path in (component.path / "disk" / "docs" / "blobs").rglob("*.*"):
        data = subprocess.run(["zstd", "-dc", str(path)], capture_output=True, check=False).stdout
        if b"ustar" in data[:2048]:
            command = ["tar", "--extract", "--to-stdout", "d/with space"]
            found = subprocess.run(command, input=data, capture_output=True, check=True).stdout
            assert found == (component.tree / "d" / "with space").read_bytes()
            return
    pytest.fail("there is no pack")
