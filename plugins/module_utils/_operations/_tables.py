# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables of some 100,000 rows in little memory: a dictionary of texts takes ten times as much.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from .._repositories._interface import StoredObject

SHORT = 16
"""Bytes of a short key: no two keys of any repository have the same."""
_SIZE = 8


def short_key(key: str) -> bytes:
    """A key in few bytes, for sets and tables."""
    return hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=SHORT).digest()


class Rows:
    """Rows of one width in one block, found by how they begin.

    Args:
        block: the rows, one after the other, in any order.
    """

    def __init__(self, block: bytes | bytearray, width: int) -> None:
        self._block, self._width = block, width
        if not self._in_order():
            self._block = b"".join(sorted(self._row(n) for n in range(len(self))))

    def __len__(self) -> int:
        return len(self._block) // self._width

    def _row(self, number: int) -> bytes:
        return bytes(self._block[number * self._width : (number + 1) * self._width])

    def _in_order(self) -> bool:
        before = b""
        for number in range(len(self)):
            row = self._row(number)
            if row < before:
                return False
            before = row
        return True

    def find(self, beginning: bytes) -> bytes | None:
        """The first row that begins so."""
        block, width, length = self._block, self._width, len(beginning)
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if block[middle * width : middle * width + length] < beginning:
                low = middle + 1
            else:
                high = middle
        row = self._row(low)
        return row if row.startswith(beginning) and row else None


class Sizes:
    """The sizes of listed objects by key."""

    def __init__(self, items: Iterable[StoredObject]) -> None:
        block = bytearray()
        for item in items:
            block += short_key(item.key) + item.size.to_bytes(_SIZE, "big")
        self._rows = Rows(block, SHORT + _SIZE)

    def get(self, key: str) -> int | None:
        """None when it was not listed."""
        row = self._rows.find(short_key(key))
        return None if row is None else int.from_bytes(row[SHORT:], "big")
