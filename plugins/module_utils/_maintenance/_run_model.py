# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of maintenance on one host: what each of its tasks told, or why it could not.

PRIVATE to the collection; may change without notice. What `Run.as_dict` gives is public, as JSON reports are made of
it: docs/maintenance/report.schema.json. A change that readers would notice makes it another FORMAT.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .._errors import HoldfastError
from .._manifest import parse_time, rfc3339
from ._section import CRITICAL, SEVERITIES, Finding, Section, worst

FORMAT = 1
"""Of the JSON report."""


@dataclass(frozen=True)
class Failure:
    """Why a task told nothing.

    Attributes:
        code: as in `error_code` of modules.
        text: what went wrong, with the tool's own words (redacted).
        advice: what to do next.
    """

    code: str
    text: str
    advice: str = ""

    @classmethod
    def of(cls, error: HoldfastError) -> Failure:
        """What an error says; its hint is the advice."""
        said = f" The tool said: {error.tool_output}" if error.tool_output else ""
        return cls(error.code, f"{error.message}{said}", error.hint or "")


@dataclass(frozen=True)
class TaskResult:
    """What became of one task: it has a section, or a failure.

    Attributes:
        name: as declared.
        kind: as in `kind:`.
        seconds: how long it took.
        acted: an action did what its section tells; otherwise it was only looked at, and the section is its plan.
    """

    name: str
    kind: str
    seconds: float
    section: Section | None = None
    failure: Failure | None = None
    acted: bool = False

    def __post_init__(self) -> None:
        if (self.section is None) == (self.failure is None):
            raise ValueError(f"task {self.name}: a result has a section or a failure")

    @property
    def severity(self) -> str:
        """The worst of its findings; a failed task is critical, for nobody knows what it would have found."""
        return self.section.severity if self.section else CRITICAL

    @property
    def title(self) -> str:
        """Of its section, or its name."""
        return self.section.title if self.section else self.name

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, which `from_dict` reads back."""
        return {
            "name": self.name,
            "kind": self.kind,
            "seconds": self.seconds,
            "severity": self.severity,
            "acted": self.acted,
            "section": self.section.as_dict() if self.section else None,
            "failure": dict(vars(self.failure)) if self.failure else None,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TaskResult:
        """Raises KeyError, TypeError or ValueError when that is no result of a task."""
        section, failure = values["section"], values["failure"]
        return cls(
            name=str(values["name"]),
            kind=str(values["kind"]),
            seconds=float(values["seconds"]),
            section=None if section is None else Section.from_dict(section),
            failure=None if failure is None else Failure(**failure),
            acted=bool(values["acted"]),
        )


@dataclass(frozen=True)
class Run:
    """One run of maintenance.

    Attributes:
        host: as the inventory calls it.
        part: `daily`, `weekly` or `monthly`; empty for tasks that somebody named.
        started: in UTC; milliseconds count, what is less is not kept.
        seconds: how long all of it took.
    """

    host: str
    part: str
    started: datetime
    seconds: float
    tasks: Sequence[TaskResult] = ()

    @property
    def severity(self) -> str:
        """The worst of its tasks."""
        return worst(each.severity for each in self.tasks)

    @property
    def failed(self) -> list[TaskResult]:
        """The tasks that told nothing."""
        return [each for each in self.tasks if each.failure]

    @property
    def findings(self) -> list[tuple[TaskResult, Finding]]:
        """All findings with the task that made them, the worst first, otherwise in the order of the tasks."""
        found = [(task, finding) for task in self.tasks if task.section for finding in task.section.findings]
        return sorted(found, key=lambda each: -SEVERITIES.index(each[1].severity))

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, which `from_dict` reads back."""
        return {
            "format": FORMAT,
            "host": self.host,
            "part": self.part,
            "started": rfc3339(self.started),
            "seconds": self.seconds,
            "severity": self.severity,
            "tasks": [each.as_dict() for each in self.tasks],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Run:
        """Raises KeyError, TypeError or ValueError when that is no run of this FORMAT."""
        if values["format"] != FORMAT:
            raise ValueError(f"a report of format {values['format']}, and this version reads {FORMAT}")
        return cls(
            host=str(values["host"]),
            part=str(values["part"]),
            started=parse_time(values["started"]),
            seconds=float(values["seconds"]),
            tasks=tuple(TaskResult.from_dict(each) for each in values["tasks"]),
        )
