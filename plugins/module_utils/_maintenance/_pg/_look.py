# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking at a server part by part: what one part cannot say is a finding, and the others still speak.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..._deadline import Deadline
from ..._durations import counted
from ..._engines._pg._sql import Session
from ..._errors import HoldfastError, Interrupted, PermissionDenied, Unavailable
from .._section import SEVERITIES, WARNING, Column, Finding, Measure, Table, bounded_table
from ._login import limit
from ._report_sql import Query

Row = dict[str, Any]

ALIKE = 10
"""Findings of one code that are told; the others are counted."""

_GRACE = 2.0
"""Seconds that the answer of a server may come after it had to cancel the query itself."""

_LATE = 0.25
"""The same at the end of the whole look, whose own time is short then."""


@dataclass(frozen=True)
class Kind:
    """A table of the report, for the rows of all databases together.

    Attributes:
        order: keys to sort by, the largest first.
    """

    name: str
    title: str
    columns: Sequence[Column]
    order: Sequence[str]
    plot: str = ""
    note: str = ""


class Look:
    """What has been seen until now, and the session that sees.

    Args:
        statement_timeout: seconds that no query may exceed, whatever is its own limit; None for no other.
        limit: rows that a table shows.
    """

    def __init__(self, deadline: Deadline, statement_timeout: float | None, limit: int) -> None:
        self.deadline = deadline
        self.limit = limit
        self.findings: list[Finding] = []
        self.measures: list[Measure] = []
        self._statement_timeout = statement_timeout
        self._session: Session | None = None
        self._limited: float | None = None
        self._rows: dict[str, list[Row]] = {}
        self._missed: list[str] = []

    # -- asking -------------------------------------------------------------------------------------------------

    def use(self, session: Session) -> None:
        """Ask this session from now on, which can no longer change anything."""
        self._session, self._limited = session, None
        session.execute("SET default_transaction_read_only = on", self.deadline.remaining())
        session.execute("SET jit = off", self.deadline.remaining())  # compiling takes longer than any of these queries

    def rows(self, query: Query) -> list[Row]:
        """All rows of a query.

        Raises:
            HoldfastError: as `Session.rows`.
        """
        if self._session is None:
            raise AssertionError("no session")
        left = self.deadline.remaining()
        seconds = min(query.seconds, self._statement_timeout or query.seconds, left)
        if seconds != self._limited:
            limit(self._session, seconds)
            self._limited = seconds
        return [_encodable(row) for row in self._session.rows(query.sql, min(seconds + _GRACE, left + _LATE))]

    def row(self, query: Query) -> Row:
        """The only row."""
        (only,) = self.rows(query)
        return only

    @contextlib.contextmanager
    def part(self, what: str) -> Iterator[None]:
        """Whatever fails within is a finding that names `what`, the beginning of a sentence.

        Raises:
            HoldfastError: the session is lost, so nothing more can be asked.
        """
        try:
            yield
        except Interrupted:
            raise
        except HoldfastError as error:
            if self.deadline.left() <= 0:
                self._missed.append(what)
                return
            if isinstance(error, Unavailable):
                self._check()
            advice = error.hint or ""
            if isinstance(error, PermissionDenied):
                advice = "Grant the role pg_monitor to whom this logs in as."
            said = f" The server said: {error.tool_output}" if error.tool_output else ""
            text = f"{what}: this could not be looked at. {error.message}{said}"
            self.finding("not_looked_at", WARNING, text, "", advice)

    def _check(self) -> None:
        """Raises HoldfastError when the session is no longer there."""
        if self._session is not None:
            self._session.value("SELECT 1 AS one", _GRACE)

    # -- telling ------------------------------------------------------------------------------------------------

    def finding(self, code: str, severity: str, text: str, subject: str = "", advice: str = "") -> None:
        """Add one."""
        self.findings.append(Finding(code, severity, text, subject, advice))

    def measure(self, name: str, title: str, value: float, unit: str) -> None:
        """Add one."""
        self.measures.append(Measure(name, title, value, unit))

    def add(self, kind: Kind, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add rows to a table."""
        self._rows.setdefault(kind.name, []).extend(dict(row) for row in rows)

    def told(self) -> list[Finding]:
        """The findings, the worst first; of those of one code not more than ten, and how many others there are."""
        if self._missed:
            text = f"Time was up ({self.deadline.seconds:g} s) before this was looked at: {', '.join(self._missed)}."
            advice = "Name fewer databases, or look by the module itself, which has a minute."
            self.finding("out_of_time", WARNING, text, "", advice)
            self._missed = []
        kept: list[Finding] = []
        seen: dict[str, int] = {}
        for each in sorted(self.findings, key=lambda one: -SEVERITIES.index(one.severity)):
            seen[each.code] = seen.get(each.code, 0) + 1
            if seen[each.code] <= ALIKE:
                kept.append(each)
            elif seen[each.code] == ALIKE + 1:
                more = sum(one.code == each.code for one in self.findings) - ALIKE
                text = f"There are {counted(more, 'more finding')} like those before; the tables show them."
                kept.append(Finding(each.code, each.severity, text))
        return kept

    def tables(self, kinds: Iterable[Kind]) -> list[Table]:
        """The tables that have rows."""
        return [self._table(kind) for kind in kinds if self._rows.get(kind.name)]

    def _table(self, kind: Kind) -> Table:
        rows = sorted(self._rows[kind.name], key=lambda row: [-(row[key] or 0) for key in kind.order])
        return bounded_table(kind.name, kind.title, kind.columns, rows, self.limit, note=kind.note, plot=kind.plot)


def _encodable(row: Row) -> Row:
    """Names in databases of no known encoding (SQL_ASCII) may hold bytes that are no text."""

    def text(value: Any) -> Any:
        return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else value

    return {key: text(value) for key, value in row.items()}
