# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stream that is read as it arrives, whatever its length: what waits for more bytes is a generator.

PRIVATE to the collection; may change without notice.

Every method that may wait is a generator: `value = yield from pieces.length()`. Each bare `yield` asks for the next
piece of the stream; None means that there is none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from typing import Any, TypeVar

from ._encodings import lzf_decompress

T = TypeVar("T")
Reading = Generator[None, Any, T]
"""A computation that takes pieces of the stream and ends with a T."""

_BLANK = bytes(64)
PIECE = 1 << 20
"""Bytes that are hashed at a time."""


class Truncated(Exception):
    """The stream ended in the middle of something."""


class Pieces:
    """The bytes that have arrived and were not yet read.

    Attributes:
        buffer, position: `buffer[position:]` comes next. A position behind the buffer's end skips what has not come.
        dropped: bytes of the stream before `buffer`.
        total: bytes of the whole stream, once it has ended.
    """

    def __init__(self) -> None:
        self.buffer = b""
        self.position = 0
        self.dropped = 0
        self.total: int | None = None

    @property
    def offset(self) -> int:
        """Where in the stream we are."""
        return self.dropped + self.position

    def fill(self, wanted: int) -> Reading[None]:
        """Have at least `wanted` (at most 64) bytes in the buffer; behind the end of the stream they are zeros.

        Raises:
            Truncated: the stream ended before this position.
        """
        while len(self.buffer) - self.position < wanted:
            piece = (yield) if self.total is None else None
            if piece is None:
                if self.total is None:
                    self.total = self.dropped + len(self.buffer)
                if self.offset > self.total:
                    raise Truncated
                self.buffer = self.buffer[self.position :] + _BLANK
                self.dropped += self.position
                self.position = 0
                continue
            behind = len(self.buffer)
            if self.position >= behind:
                self.buffer, self.position = piece, self.position - behind
                self.dropped += behind
            else:
                self.buffer = self.buffer[self.position :] + piece
                self.dropped += self.position
                self.position = 0

    def some(self, limit: int) -> Reading[bytes]:
        """The next bytes: at least one, at most `limit`."""
        yield from self.fill(1)
        if self.total is not None and self.offset + limit > self.total:
            raise Truncated
        piece = self.buffer[self.position : self.position + limit]
        self.position += len(piece)
        return piece

    def take(self, count: int) -> Reading[bytes]:
        """Exactly so many bytes."""
        pieces = []
        while count:
            piece = yield from self.some(count)
            pieces.append(piece)
            count -= len(piece)
        return b"".join(pieces)

    def length(self) -> Reading[int]:
        """A length; never one that announces a special encoding."""
        value, encoded = yield from self.length_or_encoding()
        if encoded:
            raise ValueError("a length")
        return value

    def length_or_encoding(self) -> Reading[tuple[int, bool]]:
        """A length, or the number of a special encoding and True."""
        first = (yield from self.take(1))[0]
        if first < 0x40:
            return first, False
        if first < 0x80:
            return (first & 0x3F) << 8 | (yield from self.take(1))[0], False
        if first == 0x80:
            return int.from_bytes((yield from self.take(4)), "big"), False
        if first == 0x81:
            return int.from_bytes((yield from self.take(8)), "big"), False
        if first < 0xC0:
            raise ValueError("a length")
        return first & 0x3F, True

    def string(self) -> Reading[bytes]:
        """A string, however it is encoded."""
        value, encoded = yield from self.length_or_encoding()
        if not encoded:
            return (yield from self.take(value))
        return (yield from self._encoded(value))

    def _encoded(self, encoding: int) -> Reading[bytes]:
        if encoding < 3:
            number = yield from self.take(1 << encoding)
            return b"%d" % int.from_bytes(number, "little", signed=True)
        if encoding != 3:
            raise ValueError("a string")
        packed = yield from self.length()
        size = yield from self.length()
        return lzf_decompress((yield from self.take(packed)), size)

    def string_into(self, hasher: hashlib.blake2b) -> Reading[None]:
        """Hash a string without holding more than a piece of it, unless it is compressed."""
        value, encoded = yield from self.length_or_encoding()
        if encoded:
            hasher.update((yield from self._encoded(value)))
            return
        while value:
            piece = yield from self.some(min(value, PIECE))
            hasher.update(piece)
            value -= len(piece)

    def skip_string(self) -> Reading[None]:
        yield from self.fill(32)
        self.position = after_string(self.buffer, self.position)


def after_string(buffer: bytes, position: int) -> int:
    """Where the string at `position` ends, which may be behind the buffer; 32 bytes of it must be there."""
    first = buffer[position]
    if first < 0x40:
        return position + 1 + first
    if first < 0x80:
        return position + 2 + ((first & 0x3F) << 8 | buffer[position + 1])
    if first < 0xC0:
        size, position = length_at(buffer, position)
        return position + size
    if first < 0xC3:
        return position + 1 + (1 << (first & 0x3F))
    if first != 0xC3:
        raise ValueError("a string")
    packed, position = length_at(buffer, position + 1)
    _size, position = length_at(buffer, position)
    return position + packed


def length_at(buffer: bytes, position: int) -> tuple[int, int]:
    """The length at `position`, and where it ends; 9 bytes must be there."""
    first = buffer[position]
    if first < 0x40:
        return first, position + 1
    if first < 0x80:
        return (first & 0x3F) << 8 | buffer[position + 1], position + 2
    if first == 0x80:
        return int.from_bytes(buffer[position + 1 : position + 5], "big"), position + 5
    if first == 0x81:
        return int.from_bytes(buffer[position + 1 : position + 9], "big"), position + 9
    raise ValueError("a length")
