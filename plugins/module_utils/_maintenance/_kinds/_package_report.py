# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kind `package_report`: outdated packages of the host, of Python environments and of Node projects.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Callable

from ..._deadline import Deadline
from ..._declaration._report import Report
from ..._durations import counted, parse_duration
from ..._errors import HoldfastError, InvalidOption
from ..._health._tool import examine_tool
from ..._manifest import utc_now
from ..._spec import Spec
from .._interface import WEEKLY, Kind
from .._packages import _apt, _findings, _languages, _outdated_processes, _release
from .._section import CODE, INFO, WARNING, Column, Finding, Measure, Section, Table, bounded_table
from .._side_by_side import side_by_side

REBOOT = "/run/reboot-required"
_APT, _STALE = "apt", "processes"
_RESERVE = 0.5
_PROJECT_LISTS = ((_languages.PIP, "venvs"), (_languages.NPM, "npm_projects"), (_languages.PNPM, "pnpm_projects"))
_PATHS: Mapping[str, Any] = {"type": "list", "elements": "path", "default": []}
_UPGRADES = (
    Column("name", "Package", CODE),
    Column("installed", "Installed", CODE),
    Column("available", "Available", CODE),
    Column("security", "Security"),
    Column("held", "Held"),
)
_PROJECTS = (
    Column("path", "Where", CODE),
    Column("tool", "Tool"),
    Column("name", "Package", CODE),
    Column("installed", "Installed", CODE),
    Column("wanted", "Allowed", CODE),
    Column("latest", "Latest", CODE),
)


@dataclass(frozen=True)
class _Looked:
    """What was found. `apt` is None where there is none or it is not asked for."""

    apt: _apt.Apt | None = None
    stale: Mapping[str, set[str]] = field(default_factory=dict)
    projects: Mapping[tuple[str, str], Sequence[_languages.Outdated] | HoldfastError] = field(default_factory=dict)
    failures: Sequence[Finding] = ()


class PackageReport(Kind):
    """Asks apt, pip, npm and pnpm side by side; installs nothing and refreshes no list."""

    name = "package_report"
    title = "Outdated packages of the system, of Python and of Node"
    every = WEEKLY
    SPEC = Spec(
        {
            "apt": {"type": "bool", "default": True},
            "lists_max_age": {"type": "str", "default": "3d"},
            "venvs": _PATHS,
            "npm_projects": _PATHS,
            "pnpm_projects": _PATHS,
            "npm_command": {"type": "path", "default": "npm"},
            "pnpm_command": {"type": "path", "default": "pnpm"},
            "environment": {"type": "dict", "default": {}},
            "tool_seconds": {"type": "float", "default": 30.0},
            "limit": {"type": "int", "default": 20},
        }
    )

    @classmethod
    def examine(cls, options: Mapping[str, Any], report: Report) -> None:
        try:
            parse_duration(options["lists_max_age"])
        except InvalidOption as error:
            report.key("lists_max_age").add(error.message)
        examine_tool(options, report)
        if options["tool_seconds"] <= 0:
            report.key("tool_seconds").add("must be more than nothing")
        if options["limit"] < 1:
            report.key("limit").add("must be at least 1")
        for _tool, name in _PROJECT_LISTS:
            for number, path in enumerate(options[name]):
                if not os.path.isabs(path):
                    report.key(name).index(number).add("must begin with /")

    def look(self, deadline: Deadline) -> Section:
        looked = self._look(deadline)
        findings = [*looked.failures]
        kernel = ""
        if looked.apt is not None:
            findings += _findings.of_apt(looked.apt, parse_duration(self.options["lists_max_age"]).total_seconds())
            kernel = _apt.newer_kernel(looked.apt.versions, os.uname().release, os.uname().version)
        required = _reboot_required()
        findings += _findings.of_restarts(required, kernel, looked.stale)
        release = _os_release()
        findings += _findings.of_release(release, utc_now().date())
        findings += _findings.of_projects(looked.projects)
        upgrades = [each.as_dict() for each in looked.apt.upgrades] if looked.apt else []
        outdated = _rows(looked.projects)
        return Section(
            title="Packages",
            summary=_summary(looked, upgrades, outdated),
            findings=findings,
            tables=self._tables(looked, upgrades, outdated),
            measures=list(_measures(looked, upgrades, outdated)),
            data={
                "upgrades": upgrades,
                "held": sorted(looked.apt.held) if looked.apt else [],
                "lists_age_seconds": looked.apt.refreshed if looked.apt else None,
                "reboot_required": required is not None or bool(kernel),
                "restart_services": {name: sorted(files) for name, files in sorted(looked.stale.items())},
                "projects": outdated,
                "release": {name: release[name] for name in ("ID", "VERSION_ID", "PRETTY_NAME") if name in release},
            },
        )

    def _look(self, deadline: Deadline) -> _Looked:
        limit = round(min(self.options["tool_seconds"], max(0.1, deadline.left() - _RESERVE)), 1)
        jobs: dict[str, Callable[[], Any]] = {}
        failures = []
        if self.options["apt"] and _apt.installed():
            jobs[_APT] = functools.partial(_apt.look, limit)
            jobs[_STALE] = functools.partial(_outdated_processes.units_with_old_files, Deadline(limit))
        elif self.options["apt"]:
            text = "This host has no apt; what its own package manager could upgrade is not looked at."
            failures.append(Finding("no_apt", INFO, text, "apt", "Set apt: false."))
        asked = {
            (tool, path): self._asker(tool, path, limit) for tool, name in _PROJECT_LISTS for path in self.options[name]
        }
        jobs.update({" ".join(key): job for key, job in asked.items()})
        done = side_by_side(jobs, deadline)
        apt, stale = done.get(_APT), done.get(_STALE)
        if isinstance(apt, HoldfastError):
            failures.append(_failure(apt, "apt"))
        old, all_seen = ({}, True) if stale is None or isinstance(stale, HoldfastError) else stale
        if isinstance(stale, HoldfastError):
            failures.append(_failure(stale, "services"))
        elif not all_seen:
            text = "Of some processes it could not be seen whether they use replaced files."
            failures.append(Finding("not_looked_at", INFO, text, "services", "Run as root (with CAP_SYS_PTRACE)."))
        return _Looked(
            apt if isinstance(apt, _apt.Apt) else None,
            old,
            {key: done[" ".join(key)] for key in asked},
            failures,
        )

    def _asker(self, tool: str, path: str, limit: float) -> Callable[[], list[_languages.Outdated]]:
        environment = {name: str(value) for name, value in self.options["environment"].items()}
        if tool == _languages.PIP:
            return functools.partial(_languages.pip, path, limit, environment)
        if tool == _languages.NPM:
            return functools.partial(_languages.npm, path, limit, environment, self.options["npm_command"])
        return functools.partial(_languages.pnpm, path, limit, environment, self.options["pnpm_command"])

    def _tables(
        self, looked: _Looked, upgrades: Sequence[Mapping[str, Any]], outdated: Sequence[Mapping[str, Any]]
    ) -> list[Table]:
        tables, limit = [], self.options["limit"]
        if looked.apt is not None:
            rows = [{**row, "security": _yes(row["security"]), "held": _yes(row["held"])} for row in upgrades]
            tables.append(bounded_table("upgrades", "Packages of the system", _UPGRADES, rows, limit))
        if looked.projects:
            tables.append(bounded_table("projects", "Packages of Python and Node", _PROJECTS, outdated, limit))
        if looked.stale:
            columns = (Column("unit", "Service", CODE), Column("files", "Replaced files", CODE))
            rows = [{"unit": unit, "files": ", ".join(sorted(files))} for unit, files in sorted(looked.stale.items())]
            tables.append(bounded_table("restart_services", "Services to restart", columns, rows, limit))
        return tables


def _failure(error: HoldfastError, subject: str) -> Finding:
    said = f" {error.tool_output.splitlines()[-1]}" if error.tool_output else ""
    return Finding("not_looked_at", WARNING, f"{error.message}{said}", subject, error.hint or "")


def _rows(projects: Mapping[tuple[str, str], Sequence[_languages.Outdated] | HoldfastError]) -> list[dict[str, Any]]:
    return [
        {"path": path, "tool": tool, **vars(each)}
        for (tool, path), found in projects.items()
        if not isinstance(found, HoldfastError)
        for each in found
    ]


def _summary(looked: _Looked, upgrades: Sequence[Mapping[str, Any]], outdated: Sequence[Mapping[str, Any]]) -> str:
    parts = []
    if looked.apt is not None:
        security = sum(1 for row in upgrades if row["security"])
        parts.append(f"{counted(len(upgrades), 'package')} of the system can be upgraded, {security} for security")
    if looked.projects:
        known = sum(1 for found in looked.projects.values() if not isinstance(found, HoldfastError))
        parts.append(f"{counted(len(outdated), 'package')} in {known} of {counted(len(looked.projects), 'project')}")
    return f"{'; '.join(parts)}." if parts else "Nothing could be looked at."


def _measures(
    looked: _Looked, upgrades: Sequence[Mapping[str, Any]], outdated: Sequence[Mapping[str, Any]]
) -> list[Measure]:
    found = []
    if looked.apt is not None:
        security = sum(1 for row in upgrades if row["security"])
        found += [
            Measure("upgrades", "Packages of the system to upgrade", len(upgrades)),
            Measure("security_upgrades", "Security updates to install", security),
        ]
    if looked.projects and not any(isinstance(each, HoldfastError) for each in looked.projects.values()):
        found.append(Measure("outdated_in_projects", "Outdated packages of Python and Node", len(outdated)))
    return found


def _yes(value: bool) -> str:
    return "yes" if value else ""


def _reboot_required() -> list[str] | None:
    """The packages that ask for a restart, if something does."""
    if not os.path.exists(REBOOT):
        return None
    try:
        with open(f"{REBOOT}.pkgs", encoding="utf-8", errors="replace") as stream:
            return sorted({line.strip() for line in stream if line.strip()})
    except OSError:
        return []


def _os_release() -> dict[str, str]:
    try:
        with open(_release.OS_RELEASE, encoding="utf-8", errors="replace") as stream:
            return _release.parse_os_release(stream)
    except OSError:
        return {}
