# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An update, planned or done, as a section of a report.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..._durations import counted
from .._section import CODE, COUNT, CRITICAL, INFO, TEXT, TIME, WARNING, Column, Finding, Measure, Section, Table
from ._checkout import Head, Notes, Target
from ._update import Outcome, named

_COLUMNS = (Column("commit", "Commit", CODE), Column("time", "Written", TIME), Column("subject", "Subject", TEXT))


@dataclass
class Plan:
    """What a look has found.

    Attributes:
        target: None when the remote could not be asked.
        notes: None when the commits are not here yet.
        findings: what a person should know; `refused` says which of them would end the update before it begins.
    """

    directory: str
    head: Head
    target: Target | None = None
    notes: Notes | None = None
    findings: list[Finding] = field(default_factory=list)
    unfinished: str = ""
    refused: str = ""

    @property
    def changed(self) -> bool:
        if self.refused:
            return False
        return bool(self.unfinished) or (self.target is not None and self.target.commit != self.head.commit)

    def as_section(self) -> Section:
        """The plan."""
        findings = list(self.findings)
        if self.changed and self.target is not None and self.target.commit != self.head.commit:
            news = f", {counted(self.notes.count, 'new commit')}" if self.notes else ""
            dropped = self.notes.dropped if self.notes else 0
            back = f"; {counted(dropped, 'commit')} of the present one not in it" if dropped else ""
            findings.append(
                Finding(
                    "update_available",
                    INFO,
                    f"{self.directory} is at {self.head}; {self.target} can be installed{news}{back}.",
                    self.directory,
                )
            )
        measures = [Measure("commits_behind", "Commits behind", self.notes.count, COUNT)] if self.notes else []
        return Section(
            title=f"Application {self.directory}",
            summary=self._summary(),
            findings=findings,
            tables=_tables(self.notes),
            measures=measures,
            changed=self.changed,
            data={
                "before": self.head.commit,
                "after": self.target.commit if self.changed and self.target else self.head.commit,
                "branch": self.head.branch,
                "target": self.target.name if self.target else None,
                "commit_count": self.notes.count if self.notes else None,
                "commits": self.notes.as_data() if self.notes else [],
            },
        )

    def _summary(self) -> str:
        if self.refused:
            return f"An update would be refused: {self.refused}"
        first = f"{self.unfinished} " if self.unfinished else ""
        if self.target is None:
            return f"{first}What the remote has is not known."
        if self.target.commit == self.head.commit:
            return f"{first}Nothing to update: {self.target} is checked out."
        what = counted(self.notes.count, "commit") if self.notes else "its commits are named when they are fetched"
        return f"{first}Would update from {self.head} to {self.target}: {what}."


def warn(code: str, text: str, subject: str, advice: str | None = None, *, critical: bool = False) -> Finding:
    """A finding that an operator has to deal with."""
    return Finding(code, CRITICAL if critical else WARNING, text, subject, advice or "")


def done(directory: str, outcome: Outcome) -> Section:
    """What was done."""
    findings = []
    if outcome.repaired:
        findings.append(warn("repaired", outcome.repaired, directory))
    if outcome.dirtied:
        findings.append(
            warn(
                "install_changed_files",
                f"Installing has changed files of the checkout: {named(outcome.dirtied)}.",
                directory,
                "The next update will refuse that: install without changing them (npm ci, pnpm install "
                "--frozen-lockfile), or take them out of the repository.",
            )
        )
    unwell = outcome.health.said
    if unwell:
        findings.append(warn("health", unwell, directory))
    return Section(
        title=f"Application {directory}",
        summary=_what_was_done(outcome),
        findings=findings,
        tables=_tables(outcome.notes),
        measures=[],
        changed=outcome.changed,
        data=_data(outcome),
    )


def _what_was_done(outcome: Outcome) -> str:
    first = f"{outcome.repaired} " if outcome.repaired else ""
    if outcome.target is None:
        return f"{first}Nothing to update: {outcome.after} is checked out."
    what = f": {counted(outcome.notes.count, 'commit')}" if outcome.notes else ""
    checks = len(outcome.health.results)
    well = f"; {counted(checks, 'check')} found it well" if checks else ""
    return f"{first}Updated from {outcome.before} to {outcome.target}{what}{well}."


def _data(outcome: Outcome) -> dict[str, Any]:
    return {
        "before": outcome.before.commit,
        "after": outcome.after.commit,
        "branch": outcome.after.branch,
        "target": outcome.target.name if outcome.target else None,
        "repaired": outcome.repaired,
        "commit_count": outcome.notes.count if outcome.notes else 0,
        "commits": outcome.notes.as_data() if outcome.notes else [],
        "install_seconds": outcome.seconds,
        "health": {each.name: each.status for each in outcome.health.results},
    }


def _tables(notes: Notes | None) -> list[Table]:
    if notes is None or not notes.count:
        return []
    more = notes.count - len(notes.commits)
    note = f"{counted(more, 'older commit')} not shown." if more > 0 else ""
    rows = [{"commit": each.commit[:12], "time": each.time, "subject": each.subject} for each in notes.commits]
    return [Table("commits", "What is new", _COLUMNS, rows, note)]
