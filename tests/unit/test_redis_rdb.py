# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reader of RDBs: whatever pieces it comes in, however it is encoded, and never a cut one for a whole one."""

from __future__ import annotations

import struct

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._engines._rd import _encodings
from ansible_collections.holdfast.ops.plugins.module_utils._engines._rd._prove import compare
from ansible_collections.holdfast.ops.plugins.module_utils._engines._rd._rdb import Contents, Scanner
from ansible_collections.holdfast.ops.plugins.module_utils._errors import Corrupted
from hypothesis import given, settings
from hypothesis import strategies as st

HEAD = b"REDIS0011" + b"\xfa\x09redis-ver\x057.2.4" + b"\xfa\x05ctime\xc2\x00\x10\x20\x30"
END = b"\xff" + bytes(8)


def length(number: int) -> bytes:
    if number < 64:
        return bytes([number])
    if number < 16384:
        return struct.pack(">H", number | 0x4000)
    return b"\x80" + struct.pack(">I", number)


def text(data: bytes) -> bytes:
    return length(len(data)) + data


def key(kind: int, name: bytes, value: bytes, expiry: int = 0) -> bytes:
    return (b"\xfc" + struct.pack("<Q", expiry) if expiry else b"") + bytes([kind]) + text(name) + value


def rdb(*keys: bytes, database: int = 0, head: bytes = HEAD) -> bytes:
    return head + b"\xfe" + length(database) + b"\xfb" + length(len(keys)) + length(0) + b"".join(keys) + END


def scan(data: bytes, size: int = 1 << 20, **how: object) -> Contents:
    scanner = Scanner(**how)  # type: ignore[arg-type]
    for start in range(0, len(data), size):
        scanner.feed(data[start : start + size])
    return scanner.close()


def listpack(*elements: bytes) -> bytes:
    body = b"".join(
        bytes([0x80 | len(each)]) + each + bytes([1 + len(each)]) for each in elements
    )  # short strings only
    return struct.pack("<IH", 7 + len(body), len(elements)) + body + b"\xff"


def ziplist(*elements: bytes) -> bytes:
    body, before = b"", 0
    for each in elements:
        entry = bytes([before, len(each)]) + each
        body, before = body + entry, len(entry)
    return struct.pack("<IIH", 11 + len(body), 0, len(elements)) + body + b"\xff"


EVERYTHING = rdb(
    key(0, b"string", text(b"value" * 30)),
    key(0, b"number", b"\xc1\x39\x30"),
    key(0, b"packed", b"\xc3" + length(5) + length(11) + b"\x00a\xe0\x01\x00"),
    key(0, b"expires", text(b"v"), expiry=2_000_000_000_000),
    key(1, b"list", length(2) + text(b"a") + text(b"b" * 100)),
    key(2, b"set", length(2) + text(b"a") + text(b"b")),
    key(3, b"old zset", length(2) + text(b"a") + b"\x031.5" + text(b"b") + b"\xfe"),
    key(4, b"hash", length(1) + text(b"f") + text(b"v" * 70)),
    key(5, b"zset", length(1) + text(b"m") + struct.pack("<d", -1.5)),
    key(
        7, b"module", b"\x81" + struct.pack(">Q", 0x0123456789ABCDEF) + b"\x02\x05\x04" + bytes(8) + b"\x05\x03abc\x00"
    ),
    key(11, b"intset", text(struct.pack("<IIhh", 2, 2, -7, 300))),
    key(16, b"small hash", text(listpack(b"f", b"v"))),
    key(18, b"quick", length(2) + b"\x02" + text(listpack(b"a", b"b")) + b"\x01" + text(b"plain" * 40)),
    key(24, b"short fields", struct.pack("<Q", 5) + length(1) + b"\x01" + text(b"f") + text(b"v")),
    database=3,
)


@given(st.integers(1, 40))
@settings(deadline=None)
def test_it_does_not_matter_in_which_pieces_it_comes(size: int) -> None:
    assert scan(EVERYTHING, size).as_json() == scan(EVERYTHING).as_json()


@pytest.mark.parametrize("how", [{}, {"every_value": True}, {"bits": {3: 40}}])
def test_a_cut_one_is_never_taken_for_a_whole_one(how: dict[str, object]) -> None:
    scan(EVERYTHING, **how)
    for end in range(len(EVERYTHING)):
        with pytest.raises(Corrupted):
            scan(EVERYTHING[:end], **how)
    for size in (1, len(EVERYTHING), 2 * len(EVERYTHING)):
        with pytest.raises(Corrupted, match="behind its end"):
            scan(EVERYTHING + b"x", size, **how)


def test_where_nothing_is_read_the_end_is_looked_at() -> None:
    assert scan(EVERYTHING, frame_only=True).databases == {}
    with pytest.raises(Corrupted):
        scan(EVERYTHING[:-1], frame_only=True)


def test_everything_is_counted() -> None:
    found = scan(EVERYTHING)
    [space] = list(found.databases.values())
    assert space.keys == {
        "string": 4,
        "list": 2,
        "set": 2,
        "zset": 2,
        "hash": 2,
        "module": 1,
        "hash with expiring fields": 1,
    }
    assert (space.expiring, space.expiries) == (1, 2_000_000_000_000)
    assert space.sampled == 12  # not the module's, nor the one whose fields expire
    assert found.auxiliary["redis-ver"] == "7.2.4"
    assert len(found.modules) == 1
    # What is not looked at is counted all the same.
    [unseen] = list(scan(EVERYTHING, bits={3: 40}).databases.values())
    assert (unseen.keys, unseen.sampled) == (space.keys, 0)


A = text(b"a")
B = text(b"bb")


@pytest.mark.parametrize(
    "same",
    [
        [(0, b"\xc0\x07"), (0, text(b"7")), (0, b"\xc2\x07\x00\x00\x00")],
        [(0, b"\xc3" + length(5) + length(11) + b"\x00a\xe0\x01\x00"), (0, text(b"a" * 11))],
        [
            (1, length(2) + A + B),
            (10, text(ziplist(b"a", b"bb"))),
            (14, length(1) + text(ziplist(b"a", b"bb"))),
            (18, length(2) + b"\x02" + text(listpack(b"a")) + b"\x01" + B),
        ],
        [(2, length(2) + A + B), (2, length(2) + B + A), (20, text(listpack(b"bb", b"a")))],
        [(2, length(2) + text(b"-7") + text(b"300")), (11, text(struct.pack("<IIhh", 2, 2, -7, 300)))],
        [
            (4, length(2) + A + B + B + A),
            (13, text(ziplist(b"bb", b"a", b"a", b"bb"))),
            (16, text(listpack(b"a", b"bb", b"bb", b"a"))),
        ],
        [
            (3, length(1) + A + b"\x041.50"),
            (5, length(1) + A + struct.pack("<d", 1.5)),
            (12, text(ziplist(b"a", b"1.5"))),
            (17, text(listpack(b"a", b"1.5"))),
        ],
    ],
)
def test_the_same_value_is_the_same_however_it_is_encoded(same: list[tuple[int, bytes]]) -> None:
    found = {repr(scan(rdb(key(kind, b"k", value))).as_json()) for kind, value in same}
    assert len(found) == 1


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        (0, text(b"a"), text(b"b")),
        (1, length(2) + A + B, length(2) + B + A),
        (1, length(2) + text(b"ab") + text(b"c"), length(2) + text(b"a") + text(b"bc")),
        (2, length(1) + A, length(1) + B),
        (4, length(2) + A + B + B + A, length(2) + A + A + B + B),
        (5, length(1) + A + struct.pack("<d", 1.5), length(1) + A + struct.pack("<d", 1.25)),
    ],
)
def test_another_value_is_another(kind: int, one: bytes, other: bytes) -> None:
    first, second = scan(rdb(key(kind, b"k", one))), scan(rdb(key(kind, b"k", other)))
    checked, said = compare(first, second)
    assert checked > 1
    assert any("contents of 1 values" in line for line in said)


def test_a_key_an_expiry_or_a_database_too_many_is_seen() -> None:
    one = key(0, b"k", text(b"v"))
    two = key(0, b"l", text(b"v"))
    plain = scan(rdb(one, two))
    assert compare(plain, scan(rdb(one, two)))[1] == []
    for other in (
        rdb(one),
        rdb(one, two, database=1),
        rdb(one, key(0, b"l", text(b"v"), expiry=2_000_000_000_000)),
        rdb(one, key(2, b"l", length(1) + text(b"v"))),
        rdb(one, two, head=HEAD + b"\xf5" + text(b"#!lua name=l")),
    ):
        assert compare(plain, scan(other))[1], other


def test_keys_that_may_have_expired_are_left_out() -> None:
    def holding(*moments: int) -> bytes:
        return rdb(
            *(key(0, b"k%d" % moment, text(b"v"), expiry=moment) for moment in moments), key(0, b"k", text(b"v"))
        )

    dumped, restored = scan(holding(1000, 3000), cutoff=2000), scan(holding(3000), cutoff=2000)
    assert compare(dumped, restored)[1] == []
    assert [each.lapsed for each in dumped.databases.values()] == [1]
    assert compare(scan(holding(1000, 3000), cutoff=500), scan(holding(3000), cutoff=500))[1]


def test_what_it_does_not_know_is_not_guessed_at() -> None:
    data = rdb(key(0, b"a", text(b"v")), key(31, b"b", b"whatever"))
    assert scan(data).unknown == "the type 31 of RDB version 11"
    with pytest.raises(Corrupted):
        scan(data[:-1])
    # 22 is a hash for Valkey and was something else in a preview of Redis.
    fields = key(22, b"h", length(1) + text(b"f") + text(b"v") + bytes(8))
    assert scan(rdb(fields)).unknown
    assert scan(rdb(fields, head=b"VALKEY080")).databases[0].keys == {"hash with expiring fields": 1}


@pytest.mark.parametrize("data", [b"nonsense, not a dump at all", b"REDISxxxx", b"", b"PGDMP" + bytes(100)])
def test_something_else_is_no_rdb(data: bytes) -> None:
    with pytest.raises(Corrupted):
        scan(data)


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_garbage_is_refused_and_crashes_nothing(data: bytes) -> None:
    for damaged in (HEAD + b"\xfe\x00" + data, data):
        try:
            scan(damaged, every_value=True)
        except Corrupted:
            continue


# The compact encodings. The bytes are what servers wrote.


def test_listpack_elements() -> None:
    blob = bytes.fromhex("2e000000060001018361626304c1c802dfff02f1e803 03f4ffffffffffffff7f09 8161 02".replace(" ", ""))
    blob = struct.pack("<I", len(blob) + 1) + blob[4:] + b"\xff"
    assert list(_encodings.listpack(blob)) == [b"1", b"abc", b"456", b"-1", b"1000", b"9223372036854775807", b"a"]


def test_ziplist_elements() -> None:
    body = bytes.fromhex("00f2 02 03 616263 05 fef6 03 c0e803 04 d000000080".replace(" ", ""))
    blob = struct.pack("<IIH", 11 + len(body), 0, 5) + body + b"\xff"
    assert list(_encodings.ziplist(blob)) == [b"1", b"abc", b"-10", b"1000", b"-2147483648"]


@given(st.binary(max_size=60))
@settings(deadline=None)
def test_damaged_encodings_are_told(data: bytes) -> None:
    for decode in (_encodings.listpack, _encodings.ziplist, _encodings.intset):
        try:
            elements = list(decode(data))
        except ValueError:
            continue
        assert len(elements) <= len(data)
    try:
        plain = _encodings.lzf_decompress(data, 10)
    except ValueError:
        return
    assert len(plain) == 10
