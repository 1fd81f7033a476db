# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way through a table, window after window, so that no statement reads more than a little of it.

PRIVATE to the collection; may change without notice.

Where an index leads with the column of the age, windows follow it and end at the cutoff. Otherwise they are ranges of
pages: each page is read once, whatever has been deleted before it.
"""

from __future__ import annotations

import abc

from ..._engines._pg._sql import Session, identifier, literal
from ._purge_pace import Pace
from ._purge_target import Leaf, Target

FIRST_PAGES, MOST_PAGES = 128, 131_072
"""A MiB to begin with, a GiB at most, at the usual size of a page."""

FIRST_ENTRIES, MOST_ENTRIES = 1_000, 1_000_000


class Walk(abc.ABC):
    """The windows of one table.

    Attributes:
        pace: how wide a window is.
    """

    pace: Pace

    @abc.abstractmethod
    def window(self) -> str | None:
        """The window that comes next, as SQL about `t`; None at the end. It stays the same until `advance`, except
        that its width follows `pace`."""

    @abc.abstractmethod
    def advance(self) -> None:
        """Go past the window that was asked for last."""


class PageWalk(Walk):
    """Ranges of pages, up to where the table ended when the walk began: what came later is not old."""

    def __init__(self, session: Session, leaf: Leaf, timeout: float) -> None:
        self.pace = Pace(FIRST_PAGES, MOST_PAGES)
        row = session.row(
            f"SELECT pg_relation_size({leaf.oid}::oid) / current_setting('block_size')::bigint AS pages,"
            " current_setting('server_version_num')::int AS version",
            timeout,
        )
        self._pages = int(row["pages"] or 0)
        self._ranges = int(row["version"]) >= 140000
        self._next = self._end = 0

    def window(self) -> str | None:
        if self._next >= self._pages:
            return None
        self._end = min(self._next + self.pace.size, self._pages)
        if self._ranges:
            return f"t.ctid >= '({self._next},0)'::tid AND t.ctid < '({self._end},0)'::tid"
        # Before 14 a range of pages would be looked for in all of the table; single places are not.
        places = (
            f"SELECT format('(%s,%s)', p, i)::tid FROM generate_series({self._next}, {self._end - 1}) p,"
            " generate_series(1, current_setting('block_size')::int / 28) i"
        )
        return f"t.ctid = ANY (ARRAY({places}))"

    def advance(self) -> None:
        self._next = self._end


class IndexWalk(Walk):
    """Ranges of the column of the age. Many rows of one and the same value are one window."""

    def __init__(self, session: Session, target: Target, leaf: Leaf, timeout: float) -> None:
        self.pace = Pace(FIRST_ENTRIES, MOST_ENTRIES)
        self._session, self._timeout = session, timeout
        self._column = identifier(target.declared.column)
        self._type, self._cutoff, self._leaf = target.type, target.cutoff, leaf.sql
        self._after: str | None = None
        self._upto: str | None = None

    def window(self) -> str | None:
        lower = f" AND t.{self._column} > {self._value(self._after)}" if self._after is not None else ""
        self._upto = self._session.value(
            f"SELECT max(v)::text AS v FROM (SELECT t.{self._column} AS v FROM ONLY {self._leaf} t"
            f" WHERE t.{self._column} < {self._value(self._cutoff)}{lower}"
            f" ORDER BY t.{self._column} LIMIT {self.pace.size}) AS s",
            self._timeout,
        )
        if self._upto is None:
            return None
        return f"t.{self._column} <= {self._value(self._upto)}{lower}"

    def advance(self) -> None:
        self._after = self._upto

    def _value(self, text: str | None) -> str:
        return f"{literal(text or '')}::{self._type}"


def walk_through(session: Session, target: Target, leaf: Leaf, timeout: float) -> Walk:
    """The better way through a table."""
    if leaf.indexed:
        return IndexWalk(session, target, leaf, timeout)
    return PageWalk(session, leaf, timeout)
