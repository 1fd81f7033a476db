# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb drill: was a rehearsed restore good enough? And the report that says so.

PRIVATE to the collection; may change without notice. Its format is public: docs/drills.md.

A drill is a verification of the level `restore` that is judged by the component's policy. It passes only when every
check does: something that could not be measured is no pass.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from .._durations import format_duration
from .._locks import private_directory
from .._manifest import rfc3339
from .._replace import replace_file
from ._verify import Finding

FORMAT = 1
"""Of the JSON report; raised when a reader would have to know."""

PASSED, FAILED = "passed", "failed"

_REPORT = re.compile(r"drill-(?P<component>.+)-(?P<time>[0-9]{8}T[0-9]{6}Z)\.(?:json|md)")


@dataclass(frozen=True)
class Check:
    """One thing that was judged: what was demanded, what was found."""

    name: str
    ok: bool
    demanded: str
    found: str

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "ok": self.ok, "demanded": self.demanded, "found": self.found}


@dataclass(frozen=True)
class Objectives:
    """What a restore has to reach, in seconds; None when nothing was declared."""

    rto: float | None = None
    rpo: float | None = None


@dataclass
class Drill:
    """A drill that has ended.

    Attributes:
        findings: one for each repository, as `describe_finding` gives them.
        error: why it could not come to its end, as a module returns it; None when it did.
    """

    component: str
    host: str
    begun: datetime
    seconds: float
    checks: Sequence[Check]
    findings: Sequence[Mapping[str, Any]]
    objectives: Objectives
    versions: Mapping[str, str]
    error: Mapping[str, Any] | None = None
    warnings: Sequence[str] = field(default_factory=tuple)

    @property
    def passed(self) -> bool:
        return self.error is None and bool(self.checks) and all(check.ok for check in self.checks)

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON."""
        return {
            "format": FORMAT,
            "kind": "drill",
            "verdict": PASSED if self.passed else FAILED,
            "component": self.component,
            "host": self.host,
            "begun": rfc3339(self.begun),
            "seconds": round(self.seconds, 3),
            "objectives": {"rto_seconds": self.objectives.rto, "rpo_seconds": self.objectives.rpo},
            "checks": [check.as_dict() for check in self.checks],
            "restores": [dict(each) for each in self.findings],
            "error": dict(self.error) if self.error is not None else None,
            "warnings": list(self.warnings),
            "versions": dict(self.versions),
        }


def judge(findings: Sequence[Finding], errors: Mapping[str, str], objectives: Objectives) -> tuple[Check, ...]:
    """What a drill demands of each repository: a sound backup, a proved restore, the RTO and the RPO.

    Args:
        errors: repository → why it could not be looked at.
    """
    checks = [Check(f"reachable in {name}", False, "the backup can be read", why) for name, why in errors.items()]
    for each in findings:
        where = f"in {each.repository}"
        checks.append(Check(f"sound {where}", each.ok, "every level up to restore", _soundness(each)))
        proved = each.proof is not None and each.proof.proved and each.ok and not each.shortfall
        checks.append(Check(f"proved {where}", proved, "equal to its fingerprint", _proof(each)))
        for name, limit, measured in (
            ("RTO", objectives.rto, each.restore_seconds),
            ("RPO", objectives.rpo, each.data_age_seconds),
        ):
            if limit is not None:
                ok = measured is not None and measured <= limit
                checks.append(Check(f"{name} {where}", ok, f"at most {_length(limit)}", _length(measured)))
    return tuple(checks)


def _soundness(finding: Finding) -> str:
    return "; ".join(finding.problems) or f"up to {finding.level}"


def _proof(finding: Finding) -> str:
    if finding.proof is None:
        return "nothing was restored"
    if finding.proof.differences:
        return f"{len(finding.proof.differences)} differences"
    return finding.shortfall or f"{finding.proof.checked} facts compared, all equal"


def _length(seconds: float | None) -> str:
    if seconds is None:
        return "not measured"
    return f"{seconds:.1f} s" if seconds < 60 else format_duration(timedelta(seconds=round(seconds)))


# -- the report --------------------------------------------------------------------------------------------------------


def markdown(drill: Drill) -> str:
    """The report for people."""
    lines = [
        f"# Drill of {_cell(drill.component)}: {(PASSED if drill.passed else FAILED).upper()}",
        "",
        f"On {_cell(drill.host)}, {rfc3339(drill.begun)}, {_length(drill.seconds)}.",
        "",
    ]
    if drill.error is not None:
        lines += [f"**It did not come to its end:** {_cell(drill.error.get('msg', ''))}", ""]
    if drill.checks:
        lines += ["| check | demanded | found | |", "| --- | --- | --- | --- |"]
        for each in drill.checks:
            cells = (_cell(each.name), _cell(each.demanded), _cell(each.found), "ok" if each.ok else "**FAILED**")
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    for found in drill.findings:
        lines += [f"## {_cell(found['backup_id'])} from {_cell(found['repository'])}", ""]
        lines += [f"- restored in {_length(found.get('restore_seconds'))}"]
        lines += [f"- data was {_length(found.get('data_age_seconds'))} old"]
        lines += [f"- stored bytes: {found.get('stored_bytes')}"]
        lines += [f"- PROBLEM: {_cell(problem)}" for problem in found.get("problems") or ()]
        lines.append("")
    lines += [f"- warning: {_cell(warning)}" for warning in drill.warnings]
    if drill.warnings:
        lines.append("")
    lines += [", ".join(f"{name} {version}" for name, version in drill.versions.items()) + "."]
    return "\n".join(lines) + "\n"


def _cell(text: object) -> str:
    """Text from elsewhere as one line of a table, which it can neither leave nor mark up."""
    return re.sub(r"([\\`*_|<>\[\]])", r"\\\1", " ".join(str(text).split()))


def write_report(directory: str, drill: Drill, keep: timedelta, now: datetime) -> str:
    """Write both forms of a report, and remove those of the component that are older than `keep`.

    Returns:
        The path of the JSON.

    Raises:
        OSError, InvalidOption: it cannot be written.
    """
    private_directory(directory)
    path = os.path.join(directory, f"drill-{drill.component}-{drill.begun:%Y%m%dT%H%M%SZ}")
    replace_file(f"{path}.json", json.dumps(drill.as_dict(), indent=2, sort_keys=True) + "\n", 0o600)
    replace_file(f"{path}.md", markdown(drill), 0o600)
    for name in os.listdir(directory):
        match = _REPORT.fullmatch(name)
        if match and match["component"] == drill.component and match["time"] < f"{now - keep:%Y%m%dT%H%M%SZ}":
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(directory, name))
    return f"{path}.json"
