# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run as Markdown: as readable in a terminal as on a forge.

PRIVATE to the collection; may change without notice. Written for GitHub's dialect (CommonMark with tables).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .._run_model import Run, TaskResult
from .._section import CODE, Column, Finding, Section, Table
from ._figures import History
from ._plots import bars, thinned
from ._sentences import Piece, advice_pieces, pieces
from ._units import NOTHING, NUMBERS, changed_by, heading, number_of, outcome, shown, verdict

WIDEST = 48
"""Characters up to which the cells of a column are filled up, so that a terminal shows columns."""

_BEGINS = re.compile(r"^(\d*)(?=[-+=.)])")
"""What could mean something, followed by that, at the beginning of a line."""

_BLOCKS = "▏▎▍▌▋▊▉█"
_STEPS = "▁▂▃▄▅▆▇█"
_BAR = 10
_WAY = 20

_SPECIAL = re.compile(r"([\\`*\[\]<>|~#!]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|&(?=#|[A-Za-z]))")
"""What could mean something in the middle of a line. An underscore between letters means nothing and stays readable."""


def to_markdown(run: Run, history: History) -> str:
    """The whole report."""
    return "\n".join(_lines(run, history)).rstrip("\n") + "\n"


def escaped(text: str) -> str:
    """A text on one line, in which nothing is markup."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def code(text: str) -> str:
    """A text on one line, shown as it is: a span of code, with as many backticks as it takes."""
    folded = " ".join(text.split())
    if not folded:
        return ""
    fence = "`" * (max((len(run) for run in re.findall("`+", folded)), default=0) + 1)
    room = " " if folded[0] == "`" or folded[-1] == "`" else ""
    return f"{fence}{room}{folded}{room}{fence}"


def cell_code(text: str) -> str:
    """The same in a table, where a bar must be escaped in code too; after a backslash dialects differ on how."""
    return escaped(text) if "\\|" in " ".join(text.split()) else code(text).replace("|", "\\|")


def _lines(run: Run, history: History) -> Iterator[str]:
    yield f"# {escaped(heading(run))}"
    yield ""
    tasks = f"{len(run.tasks)} task{'' if len(run.tasks) == 1 else 's'}"
    yield f"{shown(run.as_dict()['started'], 'time')}, {tasks} in {shown(run.seconds, 'seconds')}: **{verdict(run)}**."
    for note in history.notes:
        yield ""
        yield f"> {_inline(pieces(note))}"
    if run.failed or run.findings:
        yield ""
        yield "## Findings"
        yield ""
        for task in run.failed:
            yield from _failure(task)
        for task, finding in run.findings:
            yield from _finding(task, finding)
    for task in run.tasks:
        yield ""
        yield f"## {escaped(task.title)}"
        yield ""
        said = [f"task {code(task.name)}", code(task.kind), shown(task.seconds, "seconds"), outcome(task)]
        yield " · ".join(each for each in said if each)
        if task.section:
            yield from _section(task, task.section, history)
        elif task.failure:
            yield ""
            yield _paragraph(task.failure.text)


def _failure(task: TaskResult) -> Iterator[str]:
    failure = task.failure
    if failure:
        yield f"- **failed** {code(task.name)}: {_inline(pieces(failure.text))}"
        yield from _advice(failure.advice)


def _finding(task: TaskResult, finding: Finding) -> Iterator[str]:
    subject = f" {code(finding.subject)}:" if finding.subject else ""
    yield f"- **{finding.severity}**{subject} {_inline(pieces(finding.text))} ({escaped(task.name)})"
    yield from _advice(finding.advice)


def _advice(text: str) -> Iterator[str]:
    parts = advice_pieces(text)
    if any("\n" in part.text.strip() for part in parts if part.command):
        for part in parts:
            if part.command:
                yield "  ```"
                yield from (f"  {line}" for line in part.text.strip("\n").split("\n"))
                yield "  ```"
            elif part.text.strip():
                yield f"  {_inline([part]).strip()}"
                yield ""
    elif parts:
        yield f"  - → {_inline(parts)}"


def _inline(parts: Sequence[Piece]) -> str:
    """Sentences on one line."""
    texts = (code(part.text) if part.code else _escaped_part(part.text) for part in parts)
    return "".join(texts).strip()


def _paragraph(text: str) -> str:
    """Sentences on a line of their own."""
    return _BEGINS.sub(r"\1\\", _inline(pieces(text)))


def _escaped_part(text: str) -> str:
    """As `escaped`, with the blanks at the ends that part it from its neighbours."""
    inner = escaped(text)
    before, after = " " if text[:1].isspace() else "", " " if text[-1:].isspace() else ""
    return f"{before}{inner}{after}" if inner else " "


def _section(task: TaskResult, section: Section, history: History) -> Iterator[str]:
    if section.summary:
        yield ""
        yield _paragraph(section.summary)
    if section.measures:
        yield ""
        yield from _measures(task, section, history)
    for table in section.tables:
        yield ""
        yield f"### {escaped(table.title)}"
        yield ""
        if table.rows:
            yield from _table(table)
        else:
            yield "None."
        if table.note:
            yield ""
            yield _paragraph(table.note)


def _measures(task: TaskResult, section: Section, history: History) -> Iterator[str]:
    rows = []
    for measure in section.measures:
        way = history.way(task.name, measure.name)
        change = changed_by(measure.value - way[0][1], measure.unit) if len(way) > 1 else NOTHING
        since = shown(way[0][0].isoformat(), "time")[:10] if len(way) > 1 else NOTHING
        values = [value for _at, value in thinned(way)][-_WAY:]
        rows.append([escaped(measure.title), shown(measure.value, measure.unit), change, since, _sparkline(values)])
    titles, numbers = ["Figure", "Value", "Change", "Since", "Way"], [False, True, True, False, False]
    used = 5 if any(row[4] for row in rows) else 2  # a first run has nothing to compare with
    yield from _grid(titles[:used], numbers[:used], [row[:used] for row in rows])


def _table(table: Table) -> Iterator[str]:
    plotted = [column for column in table.columns if column.key == table.plot]
    lengths = bars([number_of(row[table.plot]) for row in table.rows], plotted[0].unit) if plotted else []
    titles = [escaped(column.title) for column in table.columns] + ["" for _column in plotted]
    numbers = [column.unit in NUMBERS for column in table.columns] + [False for _column in plotted]
    rows = []
    for place, row in enumerate(table.rows):
        cells = [_cell(row, column) for column in table.columns]
        rows.append(cells + ([_bar(lengths[place])] if plotted else []))
    yield from _grid(titles, numbers, rows)


def _cell(row: Mapping[str, Any], column: Column) -> str:
    text = shown(row[column.key], column.unit)
    return cell_code(text) if column.unit == CODE and text != NOTHING else escaped(text)


def _grid(titles: Sequence[str], numbers: Sequence[bool], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table whose columns stand below each other, numbers to the right."""
    widths = [
        max((_width(row[place]) for row in [titles, *rows] if _width(row[place]) <= WIDEST), default=3)
        for place in range(len(titles))
    ]
    widths = [max(width, 3) for width in widths]
    yield _row(titles, widths, numbers)
    yield (
        "|" + "|".join(f" {'-' * (width - 1)}{':' if number else '-'} " for width, number in zip(widths, numbers)) + "|"
    )
    for row in rows:
        yield _row(row, widths, numbers)


def _row(cells: Sequence[str], widths: Sequence[int], numbers: Sequence[bool]) -> str:
    filled = []
    for cell, width, number in zip(cells, widths, numbers):
        blanks = " " * (width - _width(cell))
        filled.append(f" {blanks}{cell} " if number else f" {cell}{blanks} ")
    return "|" + "|".join(filled) + "|"


def _width(text: str) -> int:
    """Places that a text takes in a terminal."""
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text
    )


def _bar(length: float | None) -> str:
    """A bar of up to `_BAR` places, in eighths of one; something, however little, is seen."""
    if length is None:
        return ""
    eighths = max(round(length / 100 * _BAR * 8), 1 if length > 0 else 0)
    whole, rest = divmod(eighths, 8)
    return "█" * whole + (_BLOCKS[rest - 1] if rest else "")


def _sparkline(values: Sequence[float]) -> str:
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    if low == high:
        return _STEPS[0] * len(values)
    return "".join(_STEPS[min(int((value - low) / (high - low) * 8), 7)] for value in values)
