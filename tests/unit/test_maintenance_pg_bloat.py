# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pages that a table or index needs, against those that PostgreSQL 18 took when they were freshly written."""

from __future__ import annotations

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._pg._bloat import (
    Field,
    btree_pages,
    heap_pages,
    wasted,
)
from hypothesis import given
from hypothesis import strategies as st

INT, BIG = Field(4, 0, 4, "i"), Field(8, 0, 8, "d")
PAGE = 8192


def text(width: float, nulls: float = 0) -> Field:
    return Field(width, nulls, -1, "i")


@pytest.mark.parametrize(
    ("fields", "rows", "fill", "pages"),
    [
        ([INT], 100000, 100, 450),
        ([INT, BIG], 100000, 100, 560),  # the second one is aligned
        ([BIG, INT], 100000, 100, 560),
        ([INT], 100000, 50, 885),
        ([text(33)], 100000, 100, 846),
        ([BIG, text(33)], 1000000, 100, 9360),
        ([text(2000)], 1000, 100, 250),  # four fit, and the rest of the page nobody can use
        ([INT], 0, 100, 0),
    ],
)
def test_pages_of_a_table(fields: list[Field], rows: int, fill: int, pages: int) -> None:
    assert heap_pages(fields, rows, PAGE, fill) == pytest.approx(pages, rel=0.04)


@pytest.mark.parametrize(
    ("fields", "rows", "pages"), [([INT], 100000, 276), ([BIG], 1000000, 2745), ([text(33)], 100000, 724)]
)
def test_pages_of_an_index(fields: list[Field], rows: int, pages: int) -> None:
    assert btree_pages(fields, rows, PAGE) == pytest.approx(pages, rel=0.02)


fields = st.lists(
    st.builds(
        Field,
        st.floats(0, 3000),
        st.floats(0, 1),
        st.sampled_from([-1, -2, 1, 2, 4, 8, 16]),
        st.sampled_from(["c", "s", "i", "d"]),
    ),
    max_size=8,
)


@given(fields, st.floats(0, 1e9), st.floats(0, 1e9))
def test_more_rows_never_need_fewer_pages(columns: list[Field], one: float, other: float) -> None:
    few, many = sorted((one, other))
    for pages in (heap_pages, btree_pages):
        assert 0 <= pages(columns, few, PAGE) <= pages(columns, many, PAGE)


@given(st.integers(0, 1 << 31), st.integers(0, 1 << 31), st.integers(0, 1 << 40))
def test_never_more_is_wasted_than_there_is(pages: int, needed: int, size: int) -> None:
    assert 0 <= wasted(pages, needed, size) <= size
