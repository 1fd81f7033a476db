# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures of earlier runs: a line of JSON for each run in `figures.jsonl`, beside the reports.

PRIVATE to the collection; may change without notice. The file is public: docs/maintenance/reports.md.

    {"at": "2026-11-22T06:30:00.000Z", "part": "daily", "figures": {"database": {"database_bytes": 13312345678}}}
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ..._durations import counted
from ..._manifest import parse_time, rfc3339
from ..._replace import replace_file
from .._run_model import Run

NAME = "figures.jsonl"
LOCK = ".figures.lock"

RUNS = 1000
"""Lines that are kept: two years of daily runs with their weekly and monthly ones."""

LONGEST = 1024**2
"""Bytes of a line; a run with thousands of figures has fewer."""

LARGEST = 32 * 1024**2
"""Bytes of the file: with very many figures, fewer runs are kept."""

_DAMAGE = (KeyError, TypeError, AttributeError, ValueError, OverflowError, RecursionError)
"""What may happen when a line is read that this did not write."""

Figures = Mapping[str, Mapping[str, float]]
"""Values by the name of the task and of the measure."""


@dataclass(frozen=True)
class Entry:
    """The figures of one run."""

    at: datetime
    part: str
    figures: Figures

    def line(self) -> str:
        """As it stands in the file."""
        values = {"at": rfc3339(self.at), "part": self.part, "figures": self.figures}
        return json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(", ", ": "))

    @classmethod
    def parse(cls, line: str) -> Entry:
        """Raises one of _DAMAGE when that is no such line."""
        values = json.loads(line, parse_constant=_refuse)
        figures = {
            str(task): {str(name): _finite(value) for name, value in measures.items()}
            for task, measures in values["figures"].items()
        }
        return cls(parse_time(values["at"]), str(values["part"]), figures)


@dataclass(frozen=True)
class History:
    """What is known of earlier runs and this one, in the order of their times.

    Attributes:
        notes: sentences on what could not be read.
    """

    entries: Sequence[Entry] = ()
    notes: Sequence[str] = field(default=())

    def way(self, task: str, measure: str) -> list[tuple[datetime, float]]:
        """The values that a measure had, with their times."""
        found = [(entry.at, entry.figures.get(task, {}).get(measure)) for entry in self.entries]
        return [(at, value) for at, value in found if value is not None]


def of_run(run: Run) -> Entry:
    """The figures of a run; what is no finite number is none."""
    figures: dict[str, dict[str, float]] = {}
    for task in run.tasks:
        for measure in task.section.measures if task.section else ():
            if math.isfinite(measure.value):
                figures.setdefault(task.name, {})[measure.name] = measure.value
    return Entry(run.started, run.part, figures)


def remember(directory: str, run: Run) -> History:
    """Add the figures of a run to those that are kept, and give all of them.

    Two runs that end at the same time wait for each other. A run that is remembered already is replaced.

    Raises:
        OSError: they cannot be read or written; what was kept stays as it was.
    """
    path = os.path.join(directory, NAME)
    mine = of_run(run)
    with _alone(directory):
        known = load(directory)
        if not mine.figures:
            return known
        others = [entry for entry in known.entries if (entry.at, entry.part) != (mine.at, mine.part)]
        entries = sorted([*others, mine], key=lambda entry: entry.at)
        lines = _newest([f"{entry.line()}\n" for entry in entries])
        replace_file(path, "".join(lines), 0o640)
    return History(entries[-len(lines) :], known.notes)


def load(directory: str) -> History:
    """The figures that are kept.

    Raises:
        OSError: the file is there and cannot be read.
    """
    entries, damaged = [], 0
    with contextlib.suppress(FileNotFoundError):
        for line in _lines(os.path.join(directory, NAME)):
            try:
                entries.append(Entry.parse(line))
            except _DAMAGE:
                damaged += 1
    notes = []
    if damaged:
        notes.append(
            f"{counted(damaged, 'line')} of {NAME} could not be read and {'was' if damaged == 1 else 'were'} "
            "left out: lines over time may lack these runs."
        )
    return History(sorted(entries, key=lambda entry: entry.at), notes)


def _newest(lines: Sequence[str]) -> Sequence[str]:
    """As many of the last lines as may be kept, at least one."""
    kept, size = 0, 0
    for line in reversed(lines[-RUNS:]):
        size += len(line.encode())
        if kept and size > LARGEST:
            break
        kept += 1
    return lines[-kept:]


def _lines(path: str) -> Iterator[str]:
    """The lines that are not empty; one that is too long counts as one, with what is damaged in it."""
    with open(path, "rb") as stream:
        while line := stream.readline(LONGEST):
            while not line.endswith(b"\n") and (rest := stream.readline(LONGEST)):
                line = b"too long" + rest[-1:]
            if line.strip():
                yield line.decode(errors="replace")


@contextlib.contextmanager
def _alone(directory: str) -> Iterator[None]:
    path = os.path.join(directory, LOCK)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError("no figure")
    return value


def _refuse(constant: str) -> float:
    raise ValueError(constant)
