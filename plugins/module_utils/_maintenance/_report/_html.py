# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run as one page of HTML that needs nothing beside itself.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..._durations import counted, roughly
from ..._errors import MissingDependency
from .._run_model import Run, TaskResult
from .._section import CODE, CRITICAL, TIME, Column, Finding, Measure, Section, Table
from ._figures import History
from ._page import ICONS, POLICY, TEMPLATE
from ._plots import HEIGHT, LEFT, RIGHT, WIDTH, Line, bars, line
from ._sentences import advice_pieces, pieces
from ._style import STYLE
from ._units import (
    NOTHING,
    NUMBERS,
    SEVERITY_NAMES,
    changed_by,
    day,
    heading,
    number_of,
    outcome,
    part_title,
    shown,
)

LONG = 200
"""Characters from which on code in a table is folded away behind its beginning."""

_JOINTS = re.compile(r"(?<=[._/:,-])(?=\w)")

MOMENTS = 4
"""Rows of moments from which on a plotted column is drawn over them, rather than beside each."""

GOOD = "good"
"""The tone of a task without findings."""


@functools.lru_cache(maxsize=1)
def template() -> Any:
    """The page, ready to be rendered.

    Raises:
        MissingDependency: Jinja2 is not installed beside this interpreter.
    """
    try:
        import jinja2
    except ImportError:
        raise MissingDependency(
            "The report cannot be written as HTML: the Python library Jinja2 is not installed on this host.",
            stage="report",
            hint="Run the role holdfast.ops.runtime, or leave html out of the formats.",
        ) from None
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["breakable"] = _breakable
    return environment.from_string(TEMPLATE)


def to_html(run: Run, history: History) -> str:
    """The whole page.

    Raises:
        MissingDependency: as `template`.
    """
    page = template()
    from markupsafe import Markup

    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    return str(
        page.render(
            **_view(run, history),
            style=Markup(STYLE),  # ours, and the only text that is not escaped
            icons=ICONS,
            policy=POLICY.format(style=digest),
            width=WIDTH,
            height=HEIGHT,
            left=LEFT,
            right=RIGHT,
        )
    )


def _breakable(text: str) -> Any:
    """A name or path that may be broken where its parts meet, which leaves nothing behind in what is copied."""
    from markupsafe import Markup

    return Markup("<wbr>").join(_JOINTS.split(text))  # which escapes each part


def _view(run: Run, history: History) -> dict[str, Any]:
    """What the template shows; nothing in it is computed there."""
    tasks = [_task(task, f"task-{number}", history) for number, task in enumerate(run.tasks, 1)]
    by_result = {id(task): view for task, view in zip(run.tasks, tasks)}
    failures = [_failed(task, by_result[id(task)]) for task in run.failed]
    findings = failures + [_finding(finding, by_result[id(task)]) for task, finding in run.findings]
    for number, finding in enumerate(findings, 1):
        finding["id"] = f"finding-{number}"
        finding["task"]["found"].append(finding)
    for task in tasks:
        task["chips"] = _chips(task["found"])
    return {
        "heading": heading(run),
        "kicker": part_title(run.part),
        "host": run.host,
        "started": f"{day(run.started, year=True)}, {run.started:%H:%M} UTC",
        "took": f"{counted(len(run.tasks), 'task')} in {shown(run.seconds, 'seconds')}",
        "chips": _chips(findings),
        "notes": [pieces(note) for note in history.notes],
        "findings": findings,
        "tasks": tasks,
    }


def _chips(findings: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """How many findings there are of each sort, with the way to the first of them."""
    names = {"failed": "failed task", **SEVERITY_NAMES}
    chips = []
    for sort, name in names.items():
        some = [finding for finding in findings if finding["sort"] == sort]
        if some:
            anchor, tone = some[0]["id"], some[0]["severity"]
            chips.append({"tone": tone, "anchor": anchor, "text": counted(len(some), name)})
    return chips


def _failed(task: TaskResult, view: dict[str, Any]) -> dict[str, Any]:
    if task.failure is None:
        raise AssertionError("a failed task has a failure")
    return {
        "sort": "failed",
        "severity": CRITICAL,
        "label": "Failed",
        "subject": task.name,
        "text": pieces(task.failure.text),
        "advice": advice_pieces(task.failure.advice),
        "task": view,
    }


def _finding(finding: Finding, view: dict[str, Any]) -> dict[str, Any]:
    return {
        "sort": finding.severity,
        "severity": finding.severity,
        "label": {"info": "Note"}.get(finding.severity, finding.severity.capitalize()),
        "subject": finding.subject,
        "text": pieces(finding.text),
        "advice": advice_pieces(finding.advice),
        "task": view,
    }


def _task(task: TaskResult, anchor: str, history: History) -> dict[str, Any]:
    section = task.section
    count = len(section.findings) if section else 1
    return {
        "id": anchor,
        "name": task.name,
        "kind": task.kind,
        "title": task.title,
        "tone": task.severity if count else GOOD,
        "count": count,
        "found": [],
        "outcome": "" if task.failure else outcome(task),
        "took": shown(task.seconds, "seconds"),
        "failure": pieces(task.failure.text) if task.failure else [],
        "summary": pieces(section.summary) if section else [],
        "figures": _figures(task.name, section, anchor, history) if section else [],
        "tables": [_table(table, f"{anchor}-table-{number}") for number, table in enumerate(section.tables, 1)]
        if section
        else [],
    }


def _figures(task: str, section: Section, anchor: str, history: History) -> list[dict[str, Any]]:
    return [
        _figure(measure, f"{anchor}-figure-{number}", history.way(task, measure.name))
        for number, measure in enumerate(section.measures, 1)
    ]


def _figure(measure: Measure, anchor: str, way: Sequence[tuple[Any, float]]) -> dict[str, Any]:
    drawn = line(way, measure.unit)
    change = ""
    if drawn:
        begin, end = drawn.points[0], drawn.points[-1]
        span = roughly((end.at - begin.at).total_seconds())
        change = f"{changed_by(end.value - begin.value, measure.unit)} in {span}"
    return {
        "id": anchor,
        "title": measure.title,
        "value": shown(measure.value, measure.unit),
        "change": change,
        "plot": _plot(measure, drawn) if drawn else None,
    }


def _plot(measure: Measure, drawn: Line) -> dict[str, Any]:
    values = [point.value for point in drawn.points]
    ends = f"{shown(values[0], measure.unit)} to {shown(values[-1], measure.unit)}"
    bounds = f"least {shown(min(values), measure.unit)}, most {shown(max(values), measure.unit)}"
    return {
        "line": drawn,
        "title": f"{measure.title} over time",
        "description": f"From {ends}; {bounds}. The table below has all values.",
        "moments": [(shown(point.at.isoformat(), TIME), shown(point.value, measure.unit)) for point in drawn.points],
    }


@dataclass(frozen=True)
class _Cell:
    """A value of a table, as the template shows it."""

    text: str
    classes: str = ""
    code: bool = False
    more: str = ""
    length: float | None = None
    title: str = ""


def _table(table: Table, anchor: str) -> dict[str, Any]:
    columns = _in_order(table)
    plotted = next((column for column in columns if column.key == table.plot), None)
    lengths = bars([number_of(row[plotted.key]) for row in table.rows], plotted.unit) if plotted else []
    rows = []
    for place, row in enumerate(table.rows):
        label = shown(row[columns[0].key], columns[0].unit)
        rows.append([_cell(row, column, lengths[place] if column is plotted else None, label) for column in columns])
    return {
        "id": anchor,
        "title": table.title,
        "histogram": _histogram(table, columns[0], plotted) if plotted else None,
        "columns": [
            {"title": column.title, "classes": _classes(column, plotted=column is plotted)} for column in columns
        ],
        "rows": rows,
        "note": pieces(table.note),
    }


def _histogram(table: Table, first: Column, plotted: Column) -> dict[str, Any] | None:
    """The plotted column over the moments of the first one; None when the rows are no moments, or too few."""
    if first.unit != TIME or first is plotted or len(table.rows) < MOMENTS:
        return None
    rows = sorted(table.rows, key=lambda row: str(row[first.key]))
    numbers = [number_of(row[plotted.key]) for row in rows]
    moments = [shown(row[first.key], TIME) for row in rows]
    values = [shown(row[plotted.key], plotted.unit) for row in rows]
    most = shown(max((number for number in numbers if number is not None), default=0.0), plotted.unit)
    lengths = bars(numbers, plotted.unit)
    return {
        "title": f"{plotted.title} over time",
        "description": f"From {moments[0]} to {moments[-1]}, most {most}. The table below has all values.",
        "most": most,
        "ends": (moments[0], moments[-1]),
        "columns": [(length or 0.0, f"{moment}: {value}") for length, moment, value in zip(lengths, moments, values)],
    }


def _in_order(table: Table) -> list[Column]:
    """The columns, with the plotted one next to the first: on a telephone these two are seen without scrolling."""
    first, rest = table.columns[:1], table.columns[1:]
    return [*first, *sorted(rest, key=lambda column: column.key != table.plot)]


def _cell(row: Mapping[str, Any], column: Column, length: float | None, label: str) -> _Cell:
    text = shown(row[column.key], column.unit)
    code = column.unit == CODE and text != NOTHING
    classes = _classes(column, plotted=length is not None)
    if code and len(text) > LONG:
        return _Cell(f"{text[:LONG].rstrip()}…", f"{classes} long", code=True, more=text)
    if code and len(text) > LONG // 4:
        classes += " long"
    return _Cell(text, classes, code=code, length=length, title=f"{label}: {text}" if length is not None else "")


def _classes(column: Column, *, plotted: bool) -> str:
    if plotted:
        return "plot"
    if column.unit in NUMBERS:
        return "number"
    return {CODE: "code", TIME: "time"}.get(column.unit, "words")
