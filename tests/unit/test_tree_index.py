# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Formats of the file-tree engine: index lines, what is remembered of a tree, packs, and when they are rewritten."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from array import array
from pathlib import Path

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._engines._tree._cache import (
    Record,
    Summary,
    TreeCache,
    TreeCacheWriter,
)
from ansible_collections.holdfast.ops.plugins.module_utils._engines._tree._index import Entry, Header
from ansible_collections.holdfast.ops.plugins.module_utils._engines._tree._packs import (
    MANY_SMALL_PACKS,
    SMALL_PACK,
    Packer,
    packs_to_rewrite,
)
from ansible_collections.holdfast.ops.plugins.module_utils._engines._tree._scan import (
    Seen,
    entry_count,
    numbers,
    order,
    sign,
    unsign,
)
from ansible_collections.holdfast.ops.plugins.module_utils._errors import Corrupted, Unsupported
from hypothesis import given
from hypothesis import strategies as st

NAMES = st.binary(min_size=1, max_size=30).filter(lambda b: b"/" not in b and b"\0" not in b and b not in (b".", b".."))
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(lambda parts: os.fsdecode(b"/".join(parts)))
NUMBER = st.integers(min_value=0, max_value=2**32 - 2)

ENTRIES = st.builds(
    Entry,
    path=PATHS,
    type=st.just("file"),
    mode=st.integers(min_value=0, max_value=0o7777),
    uid=NUMBER,
    gid=NUMBER,
    mtime=st.integers(min_value=-(2**62), max_value=2**62),
    size=st.integers(min_value=0, max_value=2**62),
    sha256=st.one_of(st.none(), st.binary(min_size=32, max_size=32).map(bytes.hex)),
    blob=st.one_of(st.none(), st.just("ab" * 32)),
    offset=st.one_of(st.none(), NUMBER),
    link=st.one_of(st.none(), st.just("fe01-2a")),
    device=st.one_of(st.none(), st.tuples(NUMBER, NUMBER)),
    xattrs=st.dictionaries(st.text(min_size=1, max_size=10), st.binary(max_size=40), max_size=3),
    sparse=st.one_of(st.none(), st.lists(st.tuples(NUMBER, NUMBER), max_size=3).map(tuple)),
)


@given(ENTRIES)
def test_an_entry_is_one_ascii_line_and_comes_back(entry: Entry) -> None:
    line = entry.to_line()
    assert line.endswith(b"\n") and line.count(b"\n") == 1 and line.isascii()
    found = Entry.from_line(line)
    assert found == entry
    assert os.fsencode(found.path) == os.fsencode(entry.path)


@pytest.mark.parametrize("path", ["../etc/passwd", "/etc/passwd", "a/../../b", "a//b", "a/.", ""])
def test_an_index_cannot_lead_out_of_the_tree(path: str) -> None:
    line = Entry(path, "file", 0o644, 0, 0, 0).to_line()
    with pytest.raises(Corrupted, match="out of the tree"):
        Entry.from_line(line)


@pytest.mark.parametrize("line", [b"", b"{}", b"[]", b"null", b'{"path":"a"}', b'{"path":"a","mode":"9"}'])
def test_a_line_that_is_no_entry_is_damage(line: bytes) -> None:
    with pytest.raises(Corrupted):
        Entry.from_line(line)


def test_header_of_a_newer_version() -> None:
    assert Header.from_line(Header("/srv", False).to_line()) == Header("/srv", False)
    with pytest.raises(Unsupported):
        Header.from_line(Header("/srv", False).to_line().replace(b'"version":1', b'"version":2'))
    with pytest.raises(Corrupted):
        Header.from_line(b'{"path":"a"}')


@given(st.lists(PATHS, max_size=8, unique=True))
def test_directories_sort_as_the_walk_visits_them(paths: list[str]) -> None:
    assert sorted(paths, key=order) == sorted(paths, key=lambda path: path.split("/"))


@given(
    own=st.tuples(*[NUMBER] * 9),
    entries=st.dictionaries(NAMES.map(os.fsdecode), st.tuples(*[st.integers(-(2**63), 2**63 - 1)] * 9), max_size=6),
)
def test_signatures_tell_entries_apart(own: tuple[int, ...], entries: dict[str, tuple[int, ...]]) -> None:
    names = sorted(entries)
    signature = sign(own, names, array("q", [number for name in names for number in entries[name]]))
    assert entry_count(signature) == len(names)
    assert dict(unsign(signature)) == {".": own, **entries}


def test_inode_numbers_of_64_bits() -> None:
    found = Seen(0o100644, 0, 0, 1, 2, 3, 2**64 - 1, 1, 2**63)
    assert dict(unsign(sign((0,) * 9, ["a"], array("q", numbers(found)))))["a"] == tuple(numbers(found))
    assert numbers(found) != numbers(found._replace(st_ino=2**64 - 2))


# What is remembered.


def remembered(path: Path) -> TreeCacheWriter:
    writer = TreeCacheWriter(str(path), Summary("n", "/srv", False))
    writer.add(Record("", b"s1", {"p": 5}, 2, 5, [b"line 1\n", b"line 2\n"]))
    writer.add(Record(os.fsdecode(b"d/\xff"), b"", {}, 0, 0, []))
    return writer


def test_what_is_written_is_remembered(tmp_path: Path) -> None:
    path = tmp_path / "new" / "cache"
    writer = remembered(path)
    assert b"".join(writer.lines()) == b"line 1\nline 2\n"
    assert TreeCache.open(str(path)) is None  # not yet in its place
    writer.commit()
    writer.discard()
    cache = TreeCache.open(str(path))
    assert cache is not None
    assert (cache.summary.entries, cache.summary.size, cache.summary.usage) == (2, 5, {"p": 5})
    assert [record.path for record in cache] == ["", os.fsdecode(b"d/\xff")]
    assert next(iter(cache)) == Record("", b"s1", {"p": 5}, 2, 5, [b"line 1\nline 2\n"])
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert os.listdir(path.parent) == ["cache"]


def test_a_file_that_was_cut_anywhere_counts_as_none(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    remembered(path).commit()
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert TreeCache.open(str(path)) is None, length


def test_a_discarded_one_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    remembered(path).commit()
    before = path.read_bytes()
    remembered(path).discard()
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["cache"]


# Packs.


def pack(files: list[tuple[Entry, bytes]]) -> bytes:
    made: list[bytes] = []

    def store(sha256: str, data: bytearray) -> str:
        made.append(bytes(data))
        return "name"

    packer = Packer(store)
    for entry, content in files:
        packer.add(entry, content)
    packer.close()
    packer.close()  # nothing is left: no second pack
    assert len(made) == 1
    return made[0]


ODD_NAMES = [
    "a",
    "with space",
    "-leading",
    "new\nline",
    "quote'\"",
    "ünïcode",
    os.fsdecode(b"caf\xe9"),
    "d/" + "x" * 200,
    "é" * 120,
]


def files_of(names: list[str]) -> list[tuple[Entry, bytes]]:
    contents = [f"{number} {name!r}".encode() * (number * 97 + 1) for number, name in enumerate(names)]
    return [
        (Entry(name, "file", 0o4755, 1000, 2**22, 1_700_000_000_987_654_321, size=len(content)), content)
        for name, content in zip(names, contents)
    ]


def test_contents_lie_where_the_index_says() -> None:
    files = files_of(ODD_NAMES)
    data = pack(files)
    for entry, content in files:
        assert entry.blob == "name" and entry.offset is not None
        assert data[entry.offset : entry.offset + entry.size] == content


def test_python_reads_packs() -> None:
    files = files_of(ODD_NAMES)
    with tarfile.open(fileobj=io.BytesIO(pack(files)), encoding="utf-8", errors="surrogateescape") as archive:
        members = archive.getmembers()
        assert [member.name for member in members] == ODD_NAMES
        for member, (_entry, content) in zip(members, files):
            stream = archive.extractfile(member)
            assert stream is not None and stream.read() == content
            assert (member.mode, member.uid, member.gid, member.mtime) == (0o4755, 1000, 2**22, 1_700_000_000)


@pytest.mark.skipif(shutil.which("tar") is None, reason="tar, which is to read our packs, is not installed here")
def test_tar_reads_packs(tmp_path: Path) -> None:
    files = files_of(ODD_NAMES)
    subprocess.run(["tar", "-x", "-C", str(tmp_path)], input=pack(files), check=True, capture_output=True)
    for entry, content in files:
        assert (tmp_path / entry.path).read_bytes() == content


MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("packs", "living", "expected"),
    [
        ({}, {}, set()),
        ({"p": 16 * MIB}, {"p": 16 * MIB}, set()),
        ({"p": 16 * MIB}, {"p": 8 * MIB}, set()),  # half is not more than half
        ({"p": 16 * MIB}, {"p": 8 * MIB - 1}, {"p"}),
        ({"p": 16 * MIB}, {}, set()),  # all dead: there is nothing to rewrite
        ({"p": MIB, "q": MIB}, {"p": MIB, "q": MIB}, set()),
        (
            {f"p{n}": MIB for n in range(MANY_SMALL_PACKS + 1)},
            {f"p{n}": MIB for n in range(MANY_SMALL_PACKS + 1)},
            {f"p{n}" for n in range(MANY_SMALL_PACKS + 1)},
        ),
        (
            {f"p{n}": SMALL_PACK for n in range(40)},
            {f"p{n}": SMALL_PACK for n in range(40)},
            set(),
        ),
    ],
)
def test_which_packs_are_rewritten(packs: dict[str, int], living: dict[str, int], expected: set[str]) -> None:
    assert packs_to_rewrite(packs, living) == expected


def test_rewriting_is_bounded_and_takes_the_deadest_first() -> None:
    packs = dict.fromkeys("abcd", 16 * MIB)
    living = {"a": 4 * MIB, "b": 1 * MIB, "c": 7 * MIB, "d": 16 * MIB}
    assert packs_to_rewrite(packs, living, limit=6 * MIB) == {"b", "a"}


@given(
    st.dictionaries(st.text(max_size=3), st.tuples(st.integers(1, 100), st.integers(0, 100)), max_size=30),
    st.integers(0, 1000),
)
def test_rewriting_never_exceeds_its_limit(sizes: dict[str, tuple[int, int]], limit: int) -> None:
    packs = {name: size for name, (size, _living) in sizes.items()}
    living = {name: min(size, used) for name, (size, used) in sizes.items()}
    chosen = packs_to_rewrite(packs, living, limit)
    assert sum(living[name] for name in chosen) <= limit
    assert all(living[name] > 0 for name in chosen)
