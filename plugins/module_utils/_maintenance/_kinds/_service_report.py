# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kind `service_report`: units of systemd, whatever has failed, and what PM2 keeps running.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from ..._deadline import Deadline
from ..._declaration._report import Report
from ..._durations import counted
from ..._errors import HoldfastError
from ..._limits import examine_limits, limits
from ..._notify._unit import is_unit, last_lines
from ..._spec import Spec
from ..._system import _pm2, _systemd
from .._interface import Kind
from .._section import (
    BYTES,
    CODE,
    COUNT,
    CRITICAL,
    PERCENT,
    SECONDS,
    TIME,
    WARNING,
    Column,
    Finding,
    Measure,
    Section,
    Table,
    bounded_table,
    table_of,
)
from .._service import _processes, _units
from .._service._units import PROPERTIES, Unit, unit_of
from .._side_by_side import side_by_side

_MOST_JOURNALS = 10
"""Units whose last lines are read; on a host where more have failed, the first ones say why."""
_RESERVE = 0.5
_UNITS = (
    Column("unit", "Unit", CODE),
    Column("state", "State"),
    Column("since", "Since", TIME),
    Column("restarts", "Restarts", COUNT),
    Column("memory_bytes", "Memory", BYTES),
    Column("cpu_seconds", "Processor time", SECONDS),
    Column("at_boot", "At boot"),
    Column("main_pid", "PID"),
)
_PROCESSES = (
    Column("process", "Process", CODE),
    Column("user", "User"),
    Column("state", "State"),
    Column("since", "Since", TIME),
    Column("restarts", "Restarts", COUNT),
    Column("memory_bytes", "Memory", BYTES),
    Column("cpu_percent", "Processor", PERCENT),
)
_LINES = (Column("unit", "Unit", CODE), Column("line", "Said", CODE))


class ServiceReport(Kind):
    """Reads properties and the journal; nothing is started."""

    name = "service_report"
    title = "State, restarts, memory and last words of services"
    SPEC = Spec(
        {
            "units": {"type": "list", "elements": "str", "default": []},
            "failed_units": {"type": "bool", "default": True},
            "pm2": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "run_as": {"type": "str", "required": True},
                    "pm2_home": {"type": "path"},
                    "command": {"type": "path", "default": "pm2"},
                },
            },
            "journal_lines": {"type": "int", "default": 10},
            "limit": {"type": "int", "default": 20},
            **limits("restarts", 5),
        }
    )

    @classmethod
    def examine(cls, options: Mapping[str, Any], report: Report) -> None:
        examine_limits(options, report, "restarts")
        for number, unit in enumerate(options["units"]):
            if not is_unit(unit):
                report.key("units").index(number).add("is not the name of a unit")
        if not 0 <= options["journal_lines"] <= 40:
            report.key("journal_lines").add("must lie between 0 and 40")
        if options["limit"] < 1:
            report.key("limit").add("must be at least 1")
        if not options["units"] and not options["failed_units"] and not options["pm2"]:
            report.add("units, failed_units or pm2 is required")

    def look(self, deadline: Deadline) -> Section:
        jobs: dict[str, Any] = {f"PM2 of {each['run_as']}": self._pm2(each, deadline) for each in self.options["pm2"]}
        if self.options["units"] or self.options["failed_units"]:
            jobs["systemd"] = functools.partial(self._systemd, deadline)
        done = side_by_side(jobs, deadline)
        units: list[Unit] = []
        processes: list[dict[str, Any]] = []
        unanswered = {what: found for what, found in done.items() if isinstance(found, HoldfastError)}
        findings = [_failure(what, error) for what, error in unanswered.items()]
        for what, found in done.items():
            if isinstance(found, HoldfastError):
                continue
            if what == "systemd":
                units = found
            else:
                processes += found
        lines = self._journals([unit for unit in units if unit.failed], deadline)
        findings += self._findings(units, processes)
        processes.sort(key=lambda row: (row["state"] == "online", row["user"], row["process"]))
        return Section(
            title="Services",
            summary=_summary(units, processes) if len(unanswered) < len(done) else "Nothing could be asked.",
            findings=findings,
            tables=self._tables(units, processes, lines),
            measures=_measures(units, processes, asked="systemd" in done and "systemd" not in unanswered),
            data={
                "units": [{**unit.as_dict(), "failed": unit.failed} for unit in units],
                "processes": processes,
                "journal": lines,
            },
        )

    def _systemd(self, deadline: Deadline) -> list[Unit]:
        """The declared units as they were declared, then all others that have failed."""
        declared = self.options["units"]
        others = _systemd.failed_units(deadline.remaining("asking systemd")) if self.options["failed_units"] else []
        found = _systemd.show([*declared, *others], PROPERTIES, deadline.remaining("asking systemd"))
        units: dict[str, Unit] = {}
        for number, properties in enumerate(found):
            # By the name that systemd has of it: what is declared may be an alias.
            unit = unit_of(properties, declared=number < len(declared))
            units.setdefault(unit.name, unit)
        return list(units.values())

    @staticmethod
    def _pm2(asked: Mapping[str, Any], deadline: Deadline) -> Any:
        user = asked["run_as"]

        def look() -> list[dict[str, Any]]:
            seconds = max(0.1, deadline.left() - _RESERVE)
            listed = _pm2.processes(user, asked.get("pm2_home"), asked.get("command") or "pm2", seconds)
            return [_processes.process_of(user, each) for each in listed]

        return look

    def _findings(self, units: Sequence[Unit], processes: Sequence[Mapping[str, Any]]) -> list[Finding]:
        restarts = (self.options.get("restarts_warning"), self.options.get("restarts_critical"))
        found: list[Finding] = []
        for unit in units:
            found += _units.findings(unit, restarts)
        for process in processes:
            found += _processes.findings(process, restarts)
        return found

    def _journals(self, failed: Sequence[Unit], deadline: Deadline) -> dict[str, list[str]]:
        """The last lines of the last run of each, redacted."""
        if not self.options["journal_lines"] or not failed:
            return {}
        seconds = max(0.1, deadline.left() - _RESERVE)
        jobs = {
            unit.name: functools.partial(_last_lines, unit, seconds, self.options["journal_lines"])
            for unit in failed[:_MOST_JOURNALS]
        }
        done = side_by_side(jobs, deadline)
        return {name: [str(lines)] if isinstance(lines, HoldfastError) else lines for name, lines in done.items()}

    def _tables(
        self, units: Sequence[Unit], processes: Sequence[Mapping[str, Any]], lines: Mapping[str, Sequence[str]]
    ) -> list[Table]:
        tables, limit = [], self.options["limit"]
        if units:
            rows = [unit.as_dict() for unit in sorted(units, key=lambda unit: (not unit.failed, unit.name))]
            tables.append(bounded_table("units", "Units", _UNITS, rows, limit, plot="memory_bytes"))
        if processes:
            tables.append(bounded_table("processes", "PM2", _PROCESSES, processes, limit, plot="memory_bytes"))
        if lines:
            rows = [{"unit": unit, "line": line} for unit, said in lines.items() for line in said]
            tables.append(table_of("journal", "What failed units said last", _LINES, rows))
        return tables


def _last_lines(unit: Unit, seconds: float, most: int) -> list[str]:
    troubles: list[str] = []
    said = last_lines(unit.name, unit.ending.invocation, (), troubles.append, seconds)
    return (said.splitlines() or troubles)[-most:]


def _failure(what: str, error: HoldfastError) -> Finding:
    severity = CRITICAL if error.code == "unavailable" else WARNING  # a PM2 that does not run keeps nothing running
    return Finding("not_looked_at", severity, f"{what}: {error.message}", what, error.hint or "")


def _summary(units: Sequence[Unit], processes: Sequence[Mapping[str, Any]]) -> str:
    failed = sum(unit.failed for unit in units)
    active = sum(unit.state == "active" for unit in units)
    online = sum(process["state"] == "online" for process in processes)
    parts = [f"{active} of {counted(len(units), 'unit')} active, {failed} failed"] if units else []
    parts += [f"{online} of {len(processes)} processes of PM2 online"] if processes else []
    return f"{'; '.join(parts)}." if parts else "No unit has failed."


def _measures(units: Sequence[Unit], processes: Sequence[Mapping[str, Any]], *, asked: bool) -> list[Measure]:
    """`asked`: systemd answered."""
    found = [Measure("failed_units", "Failed units", sum(unit.failed for unit in units))] if asked else []
    found += [
        Measure(f"memory_bytes:{unit.name}", f"Memory of {unit.name}", unit.memory_bytes, BYTES)
        for unit in units
        if unit.memory_bytes is not None and unit.state == "active"
    ]
    memory: dict[str, int] = {}
    for process in processes:
        name = f"{process['process']} ({process['user']})"
        memory[name] = memory.get(name, 0) + process["memory_bytes"]
    found += [Measure(f"memory_bytes:{name}", f"Memory of {name}", used, BYTES) for name, used in memory.items()]
    return found
