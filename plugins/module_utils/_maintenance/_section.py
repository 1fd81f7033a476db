# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one maintenance task has to tell: findings, tables, and figures that are kept from run to run.

PRIVATE to the collection; may change without notice.

Every task gives the same thing, so that one report in JSON, Markdown or HTML can be made of all of them. Values stay
numbers in base units (bytes, seconds); how a person reads them is the renderer's business.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

INFO, WARNING, CRITICAL = "info", "warning", "critical"
SEVERITIES = (INFO, WARNING, CRITICAL)
"""From good to bad."""

TEXT, CODE, COUNT, BYTES, SECONDS, PERCENT, TIME = "text", "code", "count", "bytes", "seconds", "percent", "time"
UNITS = (TEXT, CODE, COUNT, BYTES, SECONDS, PERCENT, TIME)
"""What a value is. `code` is shown as it is, such as a query or a path; `time` is RFC 3339 in UTC."""


@dataclass(frozen=True)
class Finding:
    """Something that a person should know of.

    Attributes:
        code: stable, for machines: `unused_index`.
        text: one sentence, with the figures. Holds no secret and no row of anybody's data.
        subject: what it is about: `public.orders_idx`, `/srv`, `redis-server.service`.
        advice: what to do next: a sentence, or a command to copy.
    """

    code: str
    severity: str
    text: str
    subject: str = ""
    advice: str = ""

    def __post_init__(self) -> None:
        _one_of(self.severity, SEVERITIES)


@dataclass(frozen=True)
class Column:
    """A column of a table; its values lie in each row under `key`, None where there is none."""

    key: str
    title: str
    unit: str = TEXT

    def __post_init__(self) -> None:
        _one_of(self.unit, UNITS)


@dataclass(frozen=True)
class Table:
    """Rows that belong together, the most important first.

    Attributes:
        name: stable within the section: `table_sizes`.
        rows: values by the key of their column.
        note: what the reader must know of it, such as how many smaller ones are not shown.
        plot: the key of the column that is worth a bar for each row, labelled with the first column; empty for none.
    """

    name: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Any]]
    note: str = ""
    plot: str = ""

    def __post_init__(self) -> None:
        keys = {column.key for column in self.columns}
        if self.plot:
            _one_of(self.plot, keys)
        for row in self.rows:
            if set(row) != keys:
                raise ValueError(f"table {self.name}: a row has {sorted(row)}, and there are columns {sorted(keys)}")


@dataclass(frozen=True)
class Measure:
    """A figure that is kept from run to run, so that its way can be plotted.

    Attributes:
        name: stable within the section: `database_bytes`.
    """

    name: str
    title: str
    value: float
    unit: str = COUNT

    def __post_init__(self) -> None:
        _one_of(self.unit, UNITS)


@dataclass(frozen=True)
class Section:
    """What one task found, or did.

    Attributes:
        title: what it is about: `PostgreSQL: database omnidoc`.
        summary: one sentence.
        changed: an action changed something, or would (when it was only planned).
        data: further structured values that the task's own module returns; they are not part of reports.
    """

    title: str
    summary: str
    findings: Sequence[Finding] = ()
    tables: Sequence[Table] = ()
    measures: Sequence[Measure] = ()
    changed: bool = False
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def severity(self) -> str:
        """The worst of its findings."""
        return worst(each.severity for each in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, which `from_dict` reads back; without `data`."""
        return {
            "title": self.title,
            "summary": self.summary,
            "severity": self.severity,
            "changed": self.changed,
            "findings": [dict(vars(each)) for each in self.findings],
            "tables": [
                {
                    **vars(table),
                    "columns": [dict(vars(column)) for column in table.columns],
                    "rows": [dict(row) for row in table.rows],
                }
                for table in self.tables
            ],
            "measures": [dict(vars(each)) for each in self.measures],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Section:
        """Raises KeyError, TypeError or ValueError when that is no section."""
        return cls(
            title=str(values["title"]),
            summary=str(values["summary"]),
            findings=tuple(Finding(**each) for each in values["findings"]),
            tables=tuple(
                Table(**{**table, "columns": tuple(Column(**column) for column in table["columns"])})
                for table in values["tables"]
            ),
            measures=tuple(Measure(**each) for each in values["measures"]),
            changed=bool(values["changed"]),
        )


def worst(severities: Iterable[str]) -> str:
    """The worst of some severities; `info` when there are none."""
    return SEVERITIES[max((SEVERITIES.index(each) for each in severities), default=0)]


def table_of(name: str, title: str, columns: Sequence[Column], rows: Iterable[Mapping[str, Any]], **more: str) -> Table:
    """A table of rows that may hold more than its columns show."""
    keys = [column.key for column in columns]
    return Table(name, title, columns, [{key: row.get(key) for key in keys} for row in rows], **more)


def bounded_table(
    name: str,
    title: str,
    columns: Sequence[Column],
    rows: Sequence[Mapping[str, Any]],
    limit: int,
    *,
    note: str = "",
    plot: str = "",
) -> Table:
    """The first `limit` of some sorted rows as `table_of` makes a table of them; the note says how many there are."""
    rest = "" if len(rows) <= limit else f"The first {limit} of {len(rows)} are shown."
    return table_of(name, title, columns, rows[:limit], note=" ".join(filter(None, (note, rest))), plot=plot)


def _one_of(value: str, known: Iterable[str]) -> None:
    if value not in known:
        raise ValueError(f"{value!r} is none of {', '.join(sorted(known))}")
