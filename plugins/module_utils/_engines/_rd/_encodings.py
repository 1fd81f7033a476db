# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The compact encodings inside an RDB: LZF, listpack, ziplist, intset. Bytes in, elements out.

PRIVATE to the collection; may change without notice.

Servers choose and change these encodings as they like, so values are compared by their elements.
Every function raises ValueError for bytes that are not what they should be.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_LISTPACK_HEADER = 6
_ZIPLIST_HEADER = 10
_END = 0xFF


def lzf_decompress(data: bytes, size: int) -> bytes:
    """What LZF made `data` of; `size` bytes."""
    out = bytearray()
    position, end = 0, len(data)
    while position < end:
        control = data[position]
        position += 1
        if control < 32:  # a run of literal bytes
            out += data[position : position + control + 1]
            position += control + 1
            continue
        length = control >> 5
        try:
            if length == 7:
                length += data[position]
                position += 1
            start = len(out) - ((control & 31) << 8) - data[position] - 1
        except IndexError:
            break
        position += 1
        length += 2
        if start < 0:
            break
        if start + length <= len(out):
            out += out[start : start + length]
        else:  # it repeats what it is just writing
            pattern = bytes(out[start:])
            out += (pattern * (length // len(pattern) + 1))[:length]
    if len(out) != size:
        raise ValueError("LZF")
    return bytes(out)


def listpack(blob: bytes) -> Iterator[bytes]:
    """The elements of a listpack; integers as their decimal text."""
    if len(blob) < _LISTPACK_HEADER + 1 or int.from_bytes(blob[:4], "little") != len(blob):
        raise ValueError("listpack")
    position = _LISTPACK_HEADER
    while True:
        try:
            first = blob[position]
            if first == _END:
                if position != len(blob) - 1:
                    raise ValueError("listpack")
                return
            element, length = _listpack_element(blob, position, first)
        except (IndexError, struct.error):
            raise ValueError("listpack") from None
        yield element
        position += length + _backward_length(length)


def _listpack_element(blob: bytes, at: int, first: int) -> tuple[bytes, int]:
    """An element and the bytes that it takes, without the length that is written behind it for reading backwards."""
    if first < 0x80:
        return b"%d" % first, 1
    if first < 0xC0:
        return _cut(blob, at + 1, first & 0x3F), 1 + (first & 0x3F)
    if first < 0xE0:
        value = (first & 0x1F) << 8 | blob[at + 1]
        return b"%d" % (value - 0x2000 if value & 0x1000 else value), 2
    if first < 0xF0:
        length = (first & 0x0F) << 8 | blob[at + 1]
        return _cut(blob, at + 2, length), 2 + length
    if first == 0xF0:
        length = int(struct.unpack_from("<I", blob, at + 1)[0])
        return _cut(blob, at + 5, length), 5 + length
    width = {0xF1: 2, 0xF2: 3, 0xF3: 4, 0xF4: 8}.get(first)
    if width is None:
        raise ValueError("listpack")
    return b"%d" % int.from_bytes(_cut(blob, at + 1, width), "little", signed=True), 1 + width


def _backward_length(length: int) -> int:
    if length <= 127:
        return 1
    if length < 16383:
        return 2
    if length < 2097151:
        return 3
    return 4 if length < 268435455 else 5


def ziplist(blob: bytes) -> Iterator[bytes]:
    """The elements of a ziplist (Redis up to 6.2); integers as their decimal text."""
    if len(blob) < _ZIPLIST_HEADER + 1 or int.from_bytes(blob[:4], "little") != len(blob):
        raise ValueError("ziplist")
    position = _ZIPLIST_HEADER
    while True:
        try:
            if blob[position] == _END:
                if position != len(blob) - 1:
                    raise ValueError("ziplist")
                return
            position += 5 if blob[position] == 0xFE else 1  # the length of the element before
            element, length = _ziplist_element(blob, position, blob[position])
        except (IndexError, struct.error):
            raise ValueError("ziplist") from None
        yield element
        position += length


def _ziplist_element(blob: bytes, at: int, first: int) -> tuple[bytes, int]:
    if first < 0x40:
        return _cut(blob, at + 1, first), 1 + first
    if first < 0x80:
        length = (first & 0x3F) << 8 | blob[at + 1]
        return _cut(blob, at + 2, length), 2 + length
    if first == 0x80:
        length = int(struct.unpack_from(">I", blob, at + 1)[0])
        return _cut(blob, at + 5, length), 5 + length
    if 0xF1 <= first <= 0xFD:
        return b"%d" % ((first & 0x0F) - 1), 1
    width = {0xC0: 2, 0xD0: 4, 0xE0: 8, 0xF0: 3, 0xFE: 1}.get(first)
    if width is None:
        raise ValueError("ziplist")
    return b"%d" % int.from_bytes(_cut(blob, at + 1, width), "little", signed=True), 1 + width


def intset(blob: bytes) -> Iterator[bytes]:
    """The members of an intset as their decimal text."""
    if len(blob) < 8:
        raise ValueError("intset")
    width, count = struct.unpack_from("<II", blob)
    if width not in (2, 4, 8) or len(blob) != 8 + width * count:
        raise ValueError("intset")
    for at in range(8, len(blob), width):
        yield b"%d" % int.from_bytes(blob[at : at + width], "little", signed=True)


def _cut(blob: bytes, start: int, length: int) -> bytes:
    piece = blob[start : start + length]
    if len(piece) != length:
        raise ValueError("an element is cut")
    return piece
