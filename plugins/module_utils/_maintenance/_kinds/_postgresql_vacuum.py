# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action `postgresql_vacuum`: VACUUM and ANALYZE where tables need it, within limits.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..._deadline import Deadline
from ..._declaration._report import Report, suggestion
from ..._durations import counted, roughly
from ..._engines._pg._faults import SqlFailed
from ..._engines._pg._sql import Session
from ..._errors import Locked, NotFound, OutOfTime, PermissionDenied, TimedOut, Unsupported
from ..._progress import Progress
from ..._spec import Spec
from .._interface import Action
from .._pg._login import LOGIN_SPEC, examine_login, limit, opened
from .._pg._options import (
    MAX_RUNTIME,
    examine_at_least,
    examine_duration,
    examine_tables,
    matches_any,
    patterns,
    seconds_of,
)
from .._pg._vacuum import (
    MODES,
    VACUUM_ANALYZE,
    Need,
    TableState,
    Thresholds,
    holder,
    need_of,
    order_of,
    server_state,
    statement,
    table_states,
)
from .._section import BYTES, CODE, COUNT, INFO, PERCENT, SECONDS, TIME, WARNING, Column, Finding, Section, table_of

DONE, PLANNED, LOCKED, LEFT, NEEDLESS = "done", "planned", "locked", "no time left", "needless"
UNTOUCHED, FAILED = "not done", "failed"
"""What became of a table; `not done` is what the server left out without an error."""

CATALOGUE_SECONDS = 30.0
"""How long a question about the catalogue may take while acting."""

COUNTED_SECONDS = 3.0
"""How long the counters of a server before 15 take to tell what was done."""

_FULL = (
    "is refused: VACUUM FULL locks out readers and writers for as long as it takes and needs room for a second copy of"
    " the table. Plain VACUUM makes the room usable again; to give it back to the disk, use pg_repack, or run VACUUM"
    " (FULL) by hand in a maintenance window"
)

_COLUMNS = (
    Column("table", "Table"),
    Column("what", "What"),
    Column("why", "Why"),
    Column("outcome", "Outcome"),
    Column("rows", "Rows", COUNT),
    Column("dead", "Dead rows", COUNT),
    Column("dead_percent", "Dead", PERCENT),
    Column("changed", "Changed rows", COUNT),
    Column("bytes", "Size", BYTES),
    Column("vacuumed_at", "Vacuumed", TIME),
    Column("analyzed_at", "Analyzed", TIME),
    Column("seconds", "Took", SECONDS),
    Column("statement", "Statement", CODE),
)


@dataclass
class _Row:
    """A table of the plan and what became of it."""

    need: Need
    outcome: str
    statement: str
    seconds: float | None = None
    error: SqlFailed | None = None

    def as_dict(self) -> dict[str, Any]:
        table = self.need.table
        return {
            "table": table.title,
            "what": self.need.what,
            "why": self.need.why,
            "outcome": self.outcome,
            "rows": table.rows,
            "dead": table.dead,
            "dead_percent": round(table.dead_percent, 1),
            "changed": table.changed,
            "bytes": table.bytes,
            "vacuumed_at": table.vacuumed_at,
            "analyzed_at": table.analyzed_at,
            "seconds": self.seconds,
            "statement": self.statement,
        }


class PostgresqlVacuum(Action):
    """Largest need first, one table after the other, each in a statement that the server itself ends in time."""

    name = "postgresql_vacuum"
    title = "VACUUM and ANALYZE of tables of PostgreSQL that need it"
    SPEC = LOGIN_SPEC + Spec(
        {
            # No `choices`: whoever asks for FULL is told why not.
            "mode": {"type": "str", "default": VACUUM_ANALYZE},
            "tables": {"type": "list", "elements": "str", "default": []},
            "exclude_tables": {"type": "list", "elements": "str", "default": []},
            "needed_only": {"type": "bool", "default": True},
            "dead_percent": {"type": "float", "default": 10},
            "changed_percent": {"type": "float", "default": 10},
            "minimum_rows": {"type": "int", "default": 1000},
            **MAX_RUNTIME,
            "lock_timeout": {"type": "str", "default": "5s"},
            "skip_locked": {"type": "bool", "default": False},
            "cost_delay": {"type": "float", "default": 2},
            "cost_limit": {"type": "int", "default": 2000},
            "parallel": {"type": "int"},
            "truncate": {"type": "bool", "default": False},
            "limit": {"type": "int", "default": 20},
        }
    )

    @classmethod
    def examine(cls, options: Mapping[str, Any], report: Report) -> None:
        examine_login(options, report)
        mode = str(options["mode"]).strip().lower()
        if "full" in mode:
            report.key("mode").add(_FULL)
        elif mode not in MODES:
            report.key("mode").add(f"is none of its choices{suggestion(mode, MODES, 'choices')}")
        for name in ("tables", "exclude_tables"):
            examine_tables(options, name, report)
        for name in ("max_runtime", "lock_timeout"):
            examine_duration(options, name, report)
        examine_at_least(options, 0, report, "dead_percent", "changed_percent", "cost_delay", "parallel")
        examine_at_least(options, 1, report, "minimum_rows", "cost_limit", "limit")
        for name, most in (("dead_percent", 100), ("cost_delay", 100), ("cost_limit", 10000), ("parallel", 1024)):
            if options.get(name) is not None and options[name] > most:
                report.key(name).add(f"must be at most {most}")

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        self._mode = str(options["mode"]).strip().lower()
        self._thresholds = Thresholds(
            float(options["dead_percent"]), float(options["changed_percent"]), int(options["minimum_rows"])
        )
        self._findings: list[Finding] = []

    # -- looking ------------------------------------------------------------------------------------------------

    def look(self, deadline: Deadline) -> Section:
        with opened(self.options, "maintenance", deadline.remaining("connecting")) as session:
            limit(session, min(5.0, deadline.remaining("the statistics of tables")))
            rows = self._plan(session, deadline.remaining())
        return self._section(rows, PLANNED, 0.0)

    def _plan(self, session: Session, timeout: float) -> list[_Row]:
        """The tables that need something, the largest need first."""
        self._findings = []
        server = server_state(session, timeout)
        if server["replica"]:
            raise Unsupported(
                "The server is a replica, and tables can be vacuumed and analyzed only on its primary.",
                stage="preflight",
                hint="Run it on the primary; the replica gets the result.",
            )
        if not server["counted"]:
            raise Unsupported(
                "The server counts no rows (track_counts is off), so nobody knows what needs VACUUM.",
                stage="preflight",
                hint="Set track_counts = on; autovacuum does not work without it either.",
            )
        chosen = self._chosen(table_states(session, timeout))
        needs = [need_of(each, self._mode, self._thresholds, not self.options["needed_only"]) for each in chosen]
        found = sorted((need for need in needs if need), key=order_of)
        forbidden = [need.table.title for need in found if not need.table.allowed]
        if forbidden:
            self._findings.append(
                Finding(
                    "not_allowed",
                    WARNING,
                    f"{counted(len(forbidden), 'table')} cannot be vacuumed or analyzed by this role:"
                    f" {_named(forbidden)}.",
                    advice="Log in as their owner or a superuser, or (from 17 on) GRANT pg_maintain TO the role.",
                )
            )
        version = int(server["version"])
        return [_Row(need, PLANNED, statement(need, self.options, version)) for need in found if need.table.allowed]

    def _chosen(self, tables: list[TableState]) -> list[TableState]:
        wanted, unwanted = patterns(self.options, "tables"), patterns(self.options, "exclude_tables")
        for pattern in wanted:
            if not any(pattern.matches(each.schema, each.name) for each in tables):
                raise NotFound(
                    f"No table of {self.options['database']!r} is meant by tables: {pattern.text!r}.",
                    stage="preflight",
                    hint="Names are taken as they are stored; tables of the system itself are left to autovacuum.",
                )
        return [
            each
            for each in tables
            if (not wanted or matches_any(wanted, each.schema, each.name))
            and not matches_any(unwanted, each.schema, each.name)
        ]

    # -- acting -------------------------------------------------------------------------------------------------

    def act(self, progress: Progress) -> Section:
        began = time.monotonic()
        deadline = Deadline(seconds_of(self.options, "max_runtime"))
        with opened(self.options, "vacuum") as session:
            limit(session, CATALOGUE_SECONDS)
            rows = self._plan(session, CATALOGUE_SECONDS + 5)
            delay, most = float(self.options["cost_delay"]), int(self.options["cost_limit"])
            session.execute(f"SET vacuum_cost_delay = {delay:g}")
            session.execute(f"SET vacuum_cost_limit = {most}")
            progress.stage("vacuum", total=len(rows))
            for row in rows:
                self._act_on(session, row, deadline)
                progress.add(1)
        section = self._section(rows, DONE, time.monotonic() - began)
        self._raise_for(rows, section)
        return section

    def _act_on(self, session: Session, row: _Row, deadline: Deadline) -> None:
        """Do what one table needs, if it still does, and set what became of it."""
        if deadline.left() <= 0:
            row.outcome = LEFT
            return
        limit(session, CATALOGUE_SECONDS)
        now = self._state(session, row.need.table)
        if now is None or (self.options["needed_only"] and need_of(now, self._mode, self._thresholds) is None):
            row.outcome = NEEDLESS  # somebody else was faster, or it is gone
            return
        began = time.monotonic()
        try:
            limit(session, max(0.05, deadline.left()), seconds_of(self.options, "lock_timeout"))
            session.execute(row.statement)
        except Locked:
            row.outcome = LOCKED
        except TimedOut:
            if deadline.left() > 0.5:  # somebody else cancelled it, or the connection hangs
                raise
            row.outcome = LEFT
        except SqlFailed as error:
            row.outcome, row.error = FAILED, error  # a broken table is no reason to leave the others out
        else:
            row.outcome = DONE
        limit(session, CATALOGUE_SECONDS)
        row.seconds = round(time.monotonic() - began, 3)
        if row.outcome == DONE:
            self._prove(session, row, now)

    def _state(self, session: Session, table: TableState) -> TableState | None:
        # What a partitioned table needs is told by its partitions.
        everything = table.kind == "p"
        found = table_states(session, CATALOGUE_SECONDS + 5, None if everything else table.oid)
        return next((each for each in found if each.oid == table.oid), None)

    def _prove(self, session: Session, row: _Row, before: TableState) -> None:
        """Believe the server's own counters, not the absence of an error."""
        end = time.monotonic() + COUNTED_SECONDS
        while True:
            after = self._state(session, row.need.table)
            if after is None:
                row.outcome = NEEDLESS
                return
            vacuumed = after.vacuums > before.vacuums or not row.need.vacuum
            if vacuumed and (after.analyzes > before.analyzes or not row.need.analyze):
                self._stuck_rows(session, row, after)
                return
            if time.monotonic() > end:
                row.outcome = LOCKED if self.options["skip_locked"] else UNTOUCHED
                return
            time.sleep(0.1)

    def _stuck_rows(self, session: Session, row: _Row, after: TableState) -> None:
        thresholds = self._thresholds
        if not row.need.vacuum or after.dead < thresholds.rows or after.dead_percent < thresholds.dead_percent:
            return
        who = holder(session, CATALOGUE_SECONDS)
        self._findings.append(
            Finding(
                "dead_rows_kept",
                WARNING,
                f"{after.dead:,} dead rows of {after.title} could not be removed: somebody may still see them"
                f"{f', first of all {who}' if who else ''}.",
                subject=after.title,
                advice="End it or wait for it, then vacuum again; postgresql_terminate ends sessions by their age.",
            )
        )

    # -- telling ------------------------------------------------------------------------------------------------

    def _section(self, rows: list[_Row], wanted: str, seconds: float) -> Section:
        by_outcome = {
            outcome: [row.need.table.title for row in rows if row.outcome == outcome]
            for outcome in (DONE, PLANNED, LOCKED, LEFT, NEEDLESS, UNTOUCHED)
        }
        self._findings += _findings(by_outcome, str(self.options["max_runtime"]))
        shown = rows[: int(self.options["limit"])]
        note = f"{len(rows) - len(shown)} with less need are not shown." if len(rows) > len(shown) else ""
        what = {"analyze": "ANALYZE", "vacuum": "VACUUM"}.get(self._mode, "VACUUM or ANALYZE")
        number = len(by_outcome[wanted])
        if not rows:
            summary = f"No table of {self.options['database']} needs {what}."
        elif wanted == PLANNED:
            summary = f"{counted(number, 'table')} of {self.options['database']} would get {what}."
        else:
            left = len(rows) - number - len(by_outcome[NEEDLESS])
            summary = f"{counted(number, 'table')} of {self.options['database']} got {what} in {roughly(seconds)}"
            summary += f"; {left} did not." if left else "."
        return Section(
            title=f"PostgreSQL: vacuum of {self.options['database']}",
            summary=summary,
            findings=tuple(self._findings),
            tables=(table_of("vacuum", "Tables", _COLUMNS, [row.as_dict() for row in shown], note=note, plot="dead"),)
            if rows
            else (),
            changed=bool(by_outcome[wanted]),
            data={
                "tables": [row.as_dict() for row in rows],
                "done": by_outcome[DONE],
                "locked": by_outcome[LOCKED],
                "left": by_outcome[LEFT],
                "seconds": round(seconds, 3),
            },
        )

    def _raise_for(self, rows: list[_Row], section: Section) -> None:
        failed = [row for row in rows if row.error]
        if failed and failed[0].error:
            error = failed[0].error
            error.message += f" That was {_named([row.need.table.title for row in failed])}. {section.summary}"
            raise error.at("vacuum")
        untouched = [row.need.table.title for row in rows if row.outcome == UNTOUCHED]
        if untouched:
            raise PermissionDenied(
                f"The server left out {_named(untouched)} without an error. {section.summary}",
                stage="vacuum",
                hint="Its log says why: usually a right that is missing.",
            )
        left = [row.need.table.title for row in rows if row.outcome == LEFT]
        if left and self.options["fail_when_incomplete"]:
            raise OutOfTime(
                f"max_runtime ({self.options['max_runtime']}) did not suffice for {_named(left)}. {section.summary}",
                stage="vacuum",
                hint="Raise max_runtime, or lower cost_delay.",
            )


def _findings(by_outcome: Mapping[str, list[str]], max_runtime: str) -> Iterable[Finding]:
    if by_outcome[LOCKED]:
        yield Finding(
            "locked",
            WARNING,
            f"{counted(len(by_outcome[LOCKED]), 'table')} skipped, because somebody else holds a lock:"
            f" {_named(by_outcome[LOCKED])}.",
            advice="Often autovacuum is at work on it already. pg_locks tells who; the next run tries again.",
        )
    if by_outcome[LEFT]:
        yield Finding(
            "no_time_left",
            INFO,
            f"max_runtime ({max_runtime}) did not suffice for {counted(len(by_outcome[LEFT]), 'table')}:"
            f" {_named(by_outcome[LEFT])}.",
            advice="The next run begins with what needs it most. If it recurs, raise max_runtime or lower cost_delay.",
        )


def _named(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"
