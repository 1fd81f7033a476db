# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry of blobs: whatever a crash or a bad disk made of a line, the others stand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._errors import DiskFull
from ansible_collections.holdfast.ops.plugins.module_utils._manifest import StoredPart
from ansible_collections.holdfast.ops.plugins.module_utils._operations._blobs import Reference, _Registry


def reference(name: str) -> Reference:
    return Reference(name, 10, (StoredPart(f"blobs/{name}", 10, "00"),), "none", "none")


@pytest.mark.parametrize("damage", [b'{"name":"aa","size":x]}\n', b'{"name":"aa"]}\n', b"\0\0\0\n", b'{"name":"'])
def test_a_damaged_line_is_as_good_as_none(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "blobs.jsonl").write_bytes(damage)
    registry = _Registry(str(tmp_path))
    for name in ("aa", "bb", "cc", "dd"):
        registry.add(reference(name))
    registry.compact(["blobs/aa"])
    again = _Registry(str(tmp_path))
    assert [each.name for name in ("aa", "bb", "cc", "dd") for each in again.find(name)] == ["aa"]


def test_a_line_that_a_full_disk_cuts_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = _Registry(str(tmp_path))
    registry.add(reference("aa"))
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:20]))
    with pytest.raises(DiskFull):
        registry.add(reference("bb"))
    monkeypatch.undo()
    registry.close()
    again = _Registry(str(tmp_path))
    again.add(reference("cc"))
    assert [each.name for name in ("aa", "bb", "cc") for each in _Registry(str(tmp_path)).find(name)] == ["aa", "cc"]
