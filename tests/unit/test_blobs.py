# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Blobs and this host's registry of them: whatever a crash or a bad disk made of a line, the others stand; what a
repository has is told by its listing; 100,000 blobs take little memory."""

from __future__ import annotations

import hashlib
import os
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._errors import Corrupted, DiskFull, Unavailable
from ansible_collections.holdfast.ops.plugins.module_utils._manifest import (
    Artefact,
    StoredPart,
    blob_key,
    mark_key,
)
from ansible_collections.holdfast.ops.plugins.module_utils._operations._blob_registry import BlobRegistry, Reference
from ansible_collections.holdfast.ops.plugins.module_utils._operations._blobs import BlobStore
from ansible_collections.holdfast.ops.plugins.module_utils._stream._codec import Compression, Encryption
from ansible_collections.holdfast.ops.plugins.module_utils._stream._source import IteratorSource

OLD, NEW = "20260101T000000Z-aaaaaa", "20260102T000000Z-bbbbbb"
BLOB_SIZE = 1024 * 1024
BYTES_PER_BLOB = 250
"""Of this process, for each blob and repository."""


def reference(name: str, parts: int = 1, backup_id: str = OLD) -> Reference:
    keys = [blob_key(name, backup_id) + (f".{number:03d}" if number else "") for number in range(parts)]
    objects = tuple(StoredPart(key, 10, hashlib.sha256(key.encode()).hexdigest()) for key in keys)
    return Reference(name, 10, objects, "zstd", "age")


def found(registry: BlobRegistry, *names: str) -> list[Reference]:
    return [registry.reference(position) for name in names for position in registry.find(name)]


@pytest.mark.parametrize(
    "damage",
    [
        b'{"name":"aa","size":x]}\n',
        b'{"name":"aa"]}\n',
        b"\0\0\0\n",
        b'{"name":"',
        b"[]\n",
        reference("aa").to_line().replace(b'"size":10', b'"size":-1', 1),
        reference("aa").to_line().replace(b'"size":10', b'"size":"x"'),
        reference("aa").to_line().replace(b'"name":"aa"', b'"name":"bb"'),
        reference("aa").to_line().replace(b'"sha256":"', b'"sha256":"00'),
        reference("aa").to_line().replace(b'"name":"aa"', b'"name":7'),
    ],
)
def test_a_damaged_line_is_as_good_as_none(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "blobs.jsonl").write_bytes(damage)
    registry = BlobRegistry(str(tmp_path))
    for name in ("aa", "bb", "cc", "dd"):
        registry.add(reference(name))
    (kept,) = registry.find("aa")
    registry.compact(lambda position: position == kept)
    assert found(BlobRegistry(str(tmp_path)), "aa", "bb", "cc", "dd") == [reference("aa")]


def test_a_line_that_a_full_disk_cuts_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = BlobRegistry(str(tmp_path))
    registry.add(reference("aa"))
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:20]))
    with pytest.raises(DiskFull):
        registry.add(reference("bb"))
    monkeypatch.undo()
    registry.close()
    again = BlobRegistry(str(tmp_path))
    again.add(reference("cc"))
    assert found(BlobRegistry(str(tmp_path)), "aa", "bb", "cc") == [reference("aa"), reference("cc")]


def test_all_encodings_of_a_blob_are_known_newest_first_and_equal_ones_once(tmp_path: Path) -> None:
    registry = BlobRegistry(str(tmp_path))
    known = [reference("aa"), reference("aa", 3), reference("aa", 2, NEW)]
    for each in (*known, known[0]):
        registry.add(each)
    assert found(registry, "aa") == found(BlobRegistry(str(tmp_path)), "aa") == known[::-1]
    assert found(registry, "bb", "no name", "") == []


class Listing:
    """A repository that is only listed; it makes its answers up as it goes, so that they take no memory."""

    def __init__(self, name: str, objects: Any, marks: Sequence[str] = ()) -> None:
        self.name = name
        self.objects = objects
        self.marks = marks

    def list(self, prefix: str) -> Iterator[SimpleNamespace]:
        keys = self.objects() if prefix.startswith("blobs/") else ()
        if prefix.startswith("prune"):
            keys = ((mark_key(key), 0) for key in self.marks)
        return (SimpleNamespace(key=key, size=size) for key, size in keys if key.startswith(prefix))


class Writer:
    """Takes what is written, and stores it nowhere."""

    lists: tuple[bytes, ...] = ()

    def write(self, source: Any, key: str, *_rest: Any) -> Artefact:
        sha256 = hashlib.sha256(key.encode()).hexdigest()
        return Artefact("", "blob", 0, BLOB_SIZE, sha256, (StoredPart(key, BLOB_SIZE, sha256),), "none", "none")

    def store(self, stream: Any, prefix: str, names: Sequence[str]) -> Artefact:
        digest = hashlib.sha256()
        for line in stream.source.chunks():
            digest.update(line)
        self.lists += (digest.digest(),)
        return Artefact("references.jsonl", "references", 0, 0, "", (), "none", "none")


def blob_store(directory: Path, repositories: Sequence[Listing], writer: Any) -> tuple[BlobStore, list[Any]]:
    legs: list[Any] = [SimpleNamespace(repository=each) for each in repositories]
    fanout: Any = SimpleNamespace(legs=legs, healthy=lambda: legs)
    return BlobStore(NEW, fanout, writer, str(directory), Compression("none"), Encryption()), legs


def listing(name: str, *references: Reference, marks: Sequence[str] = ()) -> Listing:
    return Listing(name, lambda: ((part.key, part.size) for each in references for part in each.objects), marks)


def test_a_blob_is_there_when_all_its_objects_are_whole_and_none_is_marked(tmp_path: Path) -> None:
    registry = BlobRegistry(str(tmp_path))
    whole, short, marked, twice = reference("aa", 3), reference("bb", 2), reference("cc", 2), reference("dd", 1)
    for each in (whole, short, marked, twice, reference("dd", 1, NEW)):
        registry.add(each)
    registry.close()
    cut = Reference("bb", 10, (short.objects[0], StoredPart(short.objects[1].key, 9, "")), "zstd", "age")
    repository = listing("one", whole, cut, marked, twice, marks=[marked.objects[1].key])
    store, (leg,) = blob_store(tmp_path, [repository], Writer())
    assert [name for name in ("aa", "bb", "cc", "dd", "ee") if store.have(name)] == ["aa", "dd"]
    store.use("aa")
    store.use("dd")
    store.finish()
    store.confirm(leg)
    repository.marks = [whole.objects[2].key]
    with pytest.raises(Unavailable, match="marked for deletion"):
        store.confirm(leg)
    leg.repository = listing("one", reference("aa", 2), twice)
    with pytest.raises(Corrupted, match=r"lists no bytes of blobs/aa/aa\..*\.002; 10 are needed"):
        store.confirm(leg)


def names(count: int) -> Iterator[str]:
    return (hashlib.sha256(b"%d" % number).hexdigest() for number in range(count))


@pytest.mark.parametrize(("count", "known"), [(20_000, True), (5_000, False)], ids=["sent before", "sent now"])
def test_blobs_take_little_memory(tmp_path: Path, count: int, known: bool) -> None:
    assert measure(tmp_path, count, 2, known) / 2 < BYTES_PER_BLOB


def measure(directory: Path, count: int, repositories: int, known: bool) -> float:
    """Peak bytes for each blob of a run over that many."""
    stored_by = OLD if known else NEW
    if known:
        registry = BlobRegistry(str(directory))
        for name in names(count):
            part = StoredPart(blob_key(name, OLD), BLOB_SIZE, name)
            registry.add(Reference(name, BLOB_SIZE, (part,), "none", "none"))
        registry.close()
        del registry
    lists = [
        Listing(f"r{n}", lambda: ((blob_key(name, stored_by), BLOB_SIZE) for name in names(count)))
        for n in range(repositories)
    ]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        writer = Writer()
        store, legs = blob_store(directory, lists, writer)
        for name in names(count):
            assert store.have(name) is known
            if known:
                store.use(name)
            else:
                store.store(name, IteratorSource([]), BLOB_SIZE, compressed=True, sha256=name)
        store.finish()
        for leg in legs:
            store.confirm(leg)
        assert len(writer.lists) == 1, "equal lists are stored once"
        return (tracemalloc.get_traced_memory()[1] - before) / count
    finally:
        tracemalloc.stop()
