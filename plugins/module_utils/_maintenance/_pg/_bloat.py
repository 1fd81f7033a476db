# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much of a table or a B-tree is wasted: an estimate from the planner's statistics. Pure.

PRIVATE to the collection; may change without notice.

The number of rows and the average width of each column are known from ANALYZE; from them follows how many pages a
freshly written table or index would have. What it has beyond that is free space or dead rows. It is an estimate: widths
are averages of a sample, and where a column lies in a page depends on those before it. It errs towards less bloat.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_PAGE_HEADER = 24
_LINE_POINTER = 4
_ROW_HEADER = 23
_INDEX_HEADER = 8
_BTREE_SPECIAL = 16
_MAXALIGN = 8
_SHORT = 126
"""Bytes up to which a value of variable length is stored without alignment, behind a header of one byte."""

_ALIGN = {"c": 1, "s": 2, "i": 4, "d": 8}


@dataclass(frozen=True)
class Field:
    """A column as it is stored.

    Attributes:
        width: average bytes of a value that is not null.
        nulls: the share of rows in which it is null, 0 to 1.
        length: bytes of the type; negative for those of variable length.
        align: as pg_attribute.attalign.
    """

    width: float
    nulls: float
    length: int
    align: str


def heap_pages(fields: Sequence[Field], rows: float, page: int, fill: int = 100) -> int:
    """How many pages a table of so many rows needs when nothing in it is wasted.

    Args:
        page: bytes of a page.
        fill: its fillfactor, in percent.
    """
    bitmap = math.ceil(len(fields) / 8) if any(field.nulls for field in fields) else 0
    size = _aligned(_ROW_HEADER + bitmap) + _data(fields)
    return _pages(rows, size + _LINE_POINTER, page - _PAGE_HEADER - page * (100 - fill) / 100)


def btree_pages(fields: Sequence[Field], rows: float, page: int, fill: int = 90) -> int:
    """How many pages a B-tree of so many entries needs, as CREATE INDEX writes it.

    Equal keys are stored once (since PostgreSQL 13), which is not taken into account: with many of them the index needs
    fewer pages than this says.
    """
    size = _INDEX_HEADER + (_MAXALIGN if any(field.nulls for field in fields) else 0) + _data(fields) + _LINE_POINTER
    room = (page - _PAGE_HEADER - _BTREE_SPECIAL) * fill / 100
    level = _pages(rows, size, room)
    total = level
    while level > 1:
        level = math.ceil(level / max(2, int(room / size)))
        total += level
    return total + 1  # and the page that says where the root is


def wasted(pages: int, needed: int, size: int) -> int:
    """Bytes that a relation of that size could do without, as far as its statistics know it."""
    return int(size * max(0, pages - needed) / pages) if pages > 0 else 0


def _pages(rows: float, size: float, room: float) -> int:
    """Rows are not cut in two: what is left at the end of a page is nobody's fault."""
    return math.ceil(rows / max(1, int(room / size))) if rows > 0 else 0


def _data(fields: Iterable[Field]) -> float:
    """Average bytes of the values of a row, with what lies between them."""
    offset, exact = 0.0, True
    for field in fields:
        align = 1 if field.length < 0 and field.width <= _SHORT else _ALIGN.get(field.align, 1)
        # Behind a value of any length the next one lies anywhere, so half of its alignment is lost on average.
        padding = -offset % align if exact else (align - 1) / 2
        exact = exact and field.length > 0 and not field.nulls
        offset += (padding + (field.length if field.length > 0 else field.width)) * (1 - field.nulls)
    return _aligned(offset) if exact else max(_aligned(offset), offset + (_MAXALIGN - 1) / 2)


def _aligned(size: float) -> float:
    return math.ceil(size / _MAXALIGN) * _MAXALIGN
