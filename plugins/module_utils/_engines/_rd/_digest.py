# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A value of an RDB as a hash of what it means: equal for equal values, however a server has encoded them.

PRIVATE to the collection; may change without notice.

Two servers write the same set in different orders and the same small hash in different encodings. So elements are
hashed one by one: in their order where the type has one, added up as numbers where it has none (never XOR, under which
two equal changes cancel each other).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator
from typing import Callable

from ._encodings import intset, listpack, ziplist
from ._reader import Pieces, Reading

SIZE = 16
MODULUS = 1 << (8 * SIZE)

STRING, LIST, SET, ZSET, HASH, STREAM, MODULE = "string", "list", "set", "zset", "hash", "stream", "module"
FIELDS_EXPIRE = "hash with expiring fields"
"""Counted apart: such a hash changes, and may vanish, while nobody writes."""

TYPES = {
    0: STRING,
    1: LIST,
    2: SET,
    3: ZSET,
    4: HASH,
    5: ZSET,
    7: MODULE,
    10: LIST,
    11: SET,
    12: ZSET,
    13: HASH,
    14: LIST,
    15: STREAM,
    16: HASH,
    17: ZSET,
    18: LIST,
    19: STREAM,
    20: SET,
    21: STREAM,
}
"""What a value of a number in the RDB is, wherever Redis and Valkey agree."""
REDIS_TYPES = {24: FIELDS_EXPIRE, 25: FIELDS_EXPIRE}
VALKEY_TYPES = {22: FIELDS_EXPIRE}


def hashed(*pieces: bytes) -> bytes:
    """One hash of several byte strings, each with its length, so that their borders count."""
    hasher = hashlib.blake2b(digest_size=SIZE)
    for piece in pieces:
        hasher.update(struct.pack("<Q", len(piece)))
        hasher.update(piece)
    return hasher.digest()


def as_number(digest: bytes) -> int:
    return int.from_bytes(digest, "little")


def content(pieces: Pieces, kind: int) -> Reading[bytes | None]:
    """Read a value whose number is `kind`; its hash, or None for what has no meaning that we know (modules)."""
    if kind == 0:
        hasher = hashlib.blake2b(digest_size=SIZE)
        yield from pieces.string_into(hasher)
        return hasher.digest()
    if kind in _UNPACK:
        elements = _UNPACK[kind]((yield from pieces.string()))
        return _combined(TYPES[kind], elements)
    if kind == 1:
        return (yield from _list(pieces, plain=True))
    if kind in (14, 18):
        return (yield from _list(pieces, plain=False, containers=kind == 18))
    if kind in (2, 3, 4, 5):
        return (yield from _unordered(pieces, kind))
    if kind in (15, 19, 21):
        return (yield from stream(pieces, kind))
    raise AssertionError(f"no content of {kind}")


_UNPACK: dict[int, Callable[[bytes], Iterator[bytes]]] = {
    10: ziplist,
    12: ziplist,
    13: ziplist,
    11: intset,
    16: listpack,
    17: listpack,
    20: listpack,
}


def _combined(name: str, elements: Iterator[bytes]) -> bytes:
    """The hash of a collection that came as a flat row of elements."""
    if name == LIST:
        return _ordered(elements)
    if name == SET:
        return _sum(hashed(member) for member in elements)
    pairs = zip(elements, elements)
    if name == ZSET:
        return _sum(hashed(member, _score(float(score))) for member, score in pairs)
    return _sum(hashed(field, value) for field, value in pairs)


def _ordered(elements: Iterable[bytes]) -> bytes:
    hasher = hashlib.blake2b(digest_size=SIZE)
    for element in elements:
        hasher.update(hashed(element))
    return hasher.digest()


def _sum(digests: Iterable[bytes]) -> bytes:
    return (sum(map(as_number, digests)) % MODULUS).to_bytes(SIZE, "little")


def _score(score: float) -> bytes:
    return struct.pack("<d", score + 0.0)  # -0.0 and 0.0 are one score


def _list(pieces: Pieces, *, plain: bool, containers: bool = False) -> Reading[bytes]:
    hasher = hashlib.blake2b(digest_size=SIZE)
    for _each in range((yield from pieces.length())):
        single = plain or (containers and (yield from pieces.length()) == 1)
        node = yield from pieces.string()
        if single:
            hasher.update(hashed(node))
            continue
        for element in listpack(node) if containers else ziplist(node):
            hasher.update(hashed(element))
    return hasher.digest()


def _unordered(pieces: Pieces, kind: int) -> Reading[bytes]:
    total = 0
    for _each in range((yield from pieces.length())):
        member = yield from pieces.string()
        if kind == 2:
            digest = hashed(member)
        elif kind == 4:
            digest = hashed(member, (yield from pieces.string()))
        elif kind == 5:
            digest = hashed(member, _score(struct.unpack("<d", (yield from pieces.take(8)))[0]))
        else:
            digest = hashed(member, _score((yield from old_score(pieces))))
        total += as_number(digest)
    return (total % MODULUS).to_bytes(SIZE, "little")


def old_score(pieces: Pieces) -> Reading[float]:
    """A score as text, which servers before 3.0 wrote and RDB type 3 still allows."""
    size = (yield from pieces.take(1))[0]
    if size > 252:
        return {253: float("nan"), 254: float("inf"), 255: float("-inf")}[size]
    return float((yield from pieces.take(size)))


def stream(pieces: Pieces, kind: int) -> Reading[bytes]:
    """Entries, last id, groups and what each of them and its consumers has pending.

    When a consumer was last seen is left out: versions differ in what they mean by it.
    """
    hasher = hashlib.blake2b(digest_size=SIZE)

    def add(*what: bytes) -> None:
        hasher.update(hashed(*what))

    def number() -> Reading[None]:
        add(b"%d" % (yield from pieces.length()))

    for _each in range((yield from pieces.length())):
        add((yield from pieces.string()), (yield from pieces.string()))
    for _each in range(3):
        yield from number()
    for _each in range(5 if kind > 15 else 0):  # statistics, which an older server does not have
        yield from pieces.length()
    groups = yield from pieces.length()
    add(b"groups", b"%d" % groups)
    for _each in range(groups):
        add((yield from pieces.string()))
        yield from number()
        yield from number()
        if kind > 15:
            yield from pieces.length()
        for _each in range((yield from pieces.length())):
            add((yield from pieces.take(24)))
            yield from number()
        consumers = yield from pieces.length()
        add(b"consumers", b"%d" % consumers)
        for _each in range(consumers):
            add((yield from pieces.string()))
            yield from pieces.take(16 if kind == 21 else 8)
            pending = yield from pieces.length()
            add(b"pending", b"%d" % pending)
            for _each in range(pending):
                add((yield from pieces.take(16)))
    return hasher.digest()
