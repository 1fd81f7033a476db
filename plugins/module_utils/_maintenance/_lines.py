# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run as lines of text, for whoever looks at a terminal: what is wrong first, the worst of it first.

PRIVATE to the collection; may change without notice. Tables and figures stand in the reports.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .._durations import counted
from ._report._units import heading, outcome, shown, verdict
from ._run_model import Failure, Run, TaskResult
from ._section import CRITICAL, INFO, SECONDS, WARNING, Finding

MOST_FINDINGS = 40
"""So many are shown; the reports have all."""

_WORDS = {CRITICAL: "CRITICAL", WARNING: "WARNING", INFO: "note"}
_FAILED = "FAILED"
_WIDTH = max(len(word) for word in (*_WORDS.values(), _FAILED)) + 2


def lines_of(run: Run, report: str = "") -> list[str]:
    """The lines.

    Args:
        report: path of the report on the host that people read; empty when none was written.
    """
    return [f"{heading(run)}: {verdict(run)}, in {shown(run.seconds, SECONDS)}.", *_below(run, report)]


def _below(run: Run, report: str) -> Iterator[str]:
    for task in run.failed:
        if task.failure is not None:
            yield from _failure(task.name, task.failure)
    found = run.findings
    for task, finding in found[:MOST_FINDINGS]:
        yield from _finding(task.name, finding)
    if len(found) > MOST_FINDINGS:
        yield f"  … and {counted(len(found) - MOST_FINDINGS, 'finding')} more, none of them worse."
    yield from _tasks([task for task in run.tasks if not task.failure])
    planned = [task.name for task in run.tasks if task.section and task.section.changed and not task.acted]
    if planned:
        yield f"Nothing of that plan was done. To act: holdfast maintenance --apply {','.join(planned)}"
        yield f"or from afar: ansible-playbook holdfast.ops.maintenance -e holdfast_apply={','.join(planned)}"
    if report:
        yield f"Report: {report}"


def _failure(name: str, failure: Failure) -> Iterator[str]:
    yield from _marked(_FAILED, f"{name}: {failure.text}", failure.advice)


def _finding(name: str, finding: Finding) -> Iterator[str]:
    yield from _marked(_WORDS[finding.severity], f"{name}: {finding.text}", finding.advice)


def _marked(word: str, text: str, advice: str) -> Iterator[str]:
    first, *rest = text.splitlines() or [""]
    yield f"  {word:<{_WIDTH}}{first}"
    indent = " " * (_WIDTH + 2)
    yield from (f"{indent}{line}" for line in rest)
    for number, line in enumerate(advice.splitlines()):
        yield f"{indent}{'-> ' if number == 0 else '   '}{line}"


def _tasks(tasks: Sequence[TaskResult]) -> Iterator[str]:
    """A line for each task that told something: what it is, and its summary."""
    width = max((len(task.name) for task in tasks), default=0)
    for task in tasks:
        done = outcome(task)
        summary = task.section.summary if task.section else ""
        yield f"  {task.name:<{width}}  {f'[{done}] ' if done else ''}{summary}"
