# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is told of a tree with one file in it is told of one file."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._engines._tree import _contents
from ansible_collections.holdfast.ops.plugins.module_utils._errors import Corrupted
from ansible_collections.holdfast.ops.tests.support.tree import TreeComponent, write


def test_a_plan_counts_entries_and_files(tmp_path: Path) -> None:
    component = TreeComponent(tmp_path)
    write(component.tree / "one", b"x")
    plan = component.backup(check=True).plan.summary
    assert plan[0] == f"{component.tree}: 2 entries, 1 byte"  # the directory itself is one
    assert plan[1] == "to read: 1 file, 1 byte"
    write(component.tree / "two", b"yz")
    assert component.backup(check=True).plan.summary[1] == "to read: 2 files, 3 bytes"


@pytest.mark.parametrize(("count", "words"), [(1, "1 file is not what"), (2, "2 files are not what")])
def test_damage_counts_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, words: str) -> None:
    component = TreeComponent(tmp_path)
    for number in range(count):
        write(component.tree / f"file {number}", b"content")
    component.backup()
    # Every checksum of the repository stays right: only what the index says of the files is not.
    monkeypatch.setattr(_contents.Checker, "close", lambda self: self._damaged.append(self._entry.path))
    with component.reading() as (engine, reading), pytest.raises(Corrupted, match=words):
        engine.verify_archive(reading)
