# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables of many rows in little memory find what a dictionary would."""

from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._errors import Corrupted
from ansible_collections.holdfast.ops.plugins.module_utils._manifest import StoredPart, blob_key
from ansible_collections.holdfast.ops.plugins.module_utils._operations import _blobs
from ansible_collections.holdfast.ops.plugins.module_utils._operations._blob_registry import Reference
from ansible_collections.holdfast.ops.plugins.module_utils._operations._tables import Rows, Sizes
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._interface import StoredObject
from ansible_collections.holdfast.ops.tests.support.memory import NOON
from hypothesis import given
from hypothesis import strategies as st

BACKUP = "20261122T120000.000Z-aaaaaabbbbbb"
MANY = 20_000


@given(st.dictionaries(st.binary(min_size=3, max_size=3), st.binary(min_size=2, max_size=2)), st.data())
def test_rows_are_found_as_in_a_dictionary(rows: dict[bytes, bytes], data: Any) -> None:
    table = Rows(b"".join(key + value for key, value in rows.items()), 5)
    assert len(table) == len(rows)
    wanted = data.draw(st.one_of(st.binary(min_size=3, max_size=3), *([st.sampled_from(sorted(rows))] if rows else [])))
    assert table.find(wanted) == (wanted + rows[wanted] if wanted in rows else None)


@given(st.dictionaries(st.text(), st.integers(min_value=0, max_value=2**63)))
def test_sizes_are_those_that_were_listed(sizes: dict[str, int]) -> None:
    found = Sizes(StoredObject(key, size, NOON) for key, size in sizes.items())
    assert {key: found.get(key) for key in sizes} == sizes
    assert "blobs/none" in sizes or found.get("blobs/none") is None


def _reference(number: int, objects: int = 1) -> Reference:
    name = hashlib.sha256(b"%d" % number).hexdigest()
    parts = tuple(
        StoredPart(blob_key(name, BACKUP) + (f".{n:03d}" if n else ""), 1000 + n, hashlib.sha256(b"%d" % n).hexdigest())
        for n in range(objects)
    )
    return Reference(name, number, parts, "zstd", "age" if number % 2 else "none")


class _Backup:
    id = BACKUP


@pytest.fixture
def table_of(monkeypatch: pytest.MonkeyPatch) -> Any:
    def make(references: list[Reference]) -> _blobs.ReferenceTable:
        def read(*_which: object) -> Iterator[Reference]:
            return iter(references)

        monkeypatch.setattr(_blobs, "read_references", read)
        return _blobs.ReferenceTable(None, _Backup())  # type: ignore[arg-type]

    return make


@pytest.mark.parametrize("order", [sorted, list], ids=["by name", "in no order"])
def test_every_blob_of_a_backup_is_found_whole(table_of: Any, order: Any) -> None:
    references = [_reference(number, objects=1 + number % 3) for number in range(50)]
    table = table_of(sorted(references, key=lambda each: each.name) if order is sorted else references)
    assert [table.artefact(each.name) for each in references] == [each.artefact() for each in references]


@pytest.mark.parametrize("name", [_reference(99).name, "", "ab", "nothing", _reference(1).name.upper(), "\u00e9"])
def test_a_blob_that_it_does_not_refer_to(table_of: Any, name: str) -> None:
    with pytest.raises(Corrupted, match="is not among the references"):
        table_of([_reference(1)]).artefact(name)


@pytest.mark.parametrize("name", ["ab", "z" * 64, "0" * 66])
def test_a_list_of_what_is_no_blob(table_of: Any, name: str) -> None:
    part = StoredPart(blob_key(name, BACKUP), 1, "0" * 64)
    with pytest.raises(Corrupted, match="no blob's"):
        table_of([Reference(name, 1, (part,), "none", "none")]).artefact("0" * 64)


def test_a_large_tree_takes_little_memory(table_of: Any) -> None:
    references = sorted((_reference(number) for number in range(MANY)), key=lambda each: each.name)
    table = table_of(references)
    tracemalloc.start()
    try:
        assert table.artefact(references[7].name) == references[7].artefact()
        now, _peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert now / MANY < 130  # bytes; it was 550 as lines of text
