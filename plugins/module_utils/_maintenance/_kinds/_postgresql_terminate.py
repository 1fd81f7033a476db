# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action `postgresql_terminate`: cancel statements and end sessions that exceed an age.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ..._deadline import Deadline
from ..._declaration._report import Report
from ..._durations import counted, roughly
from ..._engines._pg._faults import SqlFailed
from ..._engines._pg._sql import Session, literal
from ..._errors import InvalidOption, PermissionDenied, TimedOut
from ..._progress import Progress
from ..._spec import Spec
from .._interface import Action
from .._pg._login import LOGIN_SPEC, examine_login, limit, opened
from .._pg._options import examine_at_least, examine_duration, seconds_of
from .._pg._queries import shown
from .._pg._sessions import (
    ACTIVE,
    IDLE,
    STATES,
    Victim,
    condition,
    end,
    hidden,
    states_of,
    victims,
    wraparound_workers,
)
from .._section import CODE, INFO, SECONDS, WARNING, Column, Finding, Section, table_of

CANCEL, TERMINATE = "cancel", "terminate"

CANCELLED, TERMINATED, GONE, PLANNED, FORBIDDEN, ALIVE = (
    "cancelled",
    "terminated",
    "ended by itself",
    "planned",
    "not allowed",
    "still alive",
)

QUERY_SECONDS = 10.0
"""How long a question about the sessions may take while acting."""

GOING_SECONDS = 10.0
"""How long a session may take to go after it was told to: a rollback takes time only where it must write."""

_POLL = 0.1

_COLUMNS = (
    Column("pid", "Process"),
    Column("role", "Role"),
    Column("database", "Database"),
    Column("application", "Application"),
    Column("client", "Client"),
    Column("state", "State"),
    Column("age", "For", SECONDS),
    Column("waits_for", "Waits for"),
    Column("query", "Statement", CODE),
    Column("outcome", "Outcome"),
)


class PostgresqlTerminate(Action):
    """Cancels first where there is a statement, and ends the session when that did not help."""

    name = "postgresql_terminate"
    title = "Ending sessions of PostgreSQL that exceed an age"
    SPEC = LOGIN_SPEC + Spec(
        {
            "older_than": {"type": "str", "required": True},
            "states": {"type": "list", "elements": "str", "choices": list(STATES), "required": True},
            "mode": {"type": "str", "choices": [CANCEL, TERMINATE], "default": TERMINATE},
            "grace": {"type": "str", "default": "10s"},
            # No defaults: an empty list means nobody, and not everybody.
            "databases": {"type": "list", "elements": "str"},
            "users": {"type": "list", "elements": "str"},
            "exclude_users": {"type": "list", "elements": "str", "default": []},
            "applications": {"type": "list", "elements": "str"},
            "exclude_applications": {
                "type": "list",
                "elements": "str",
                "default": ["pg_dump", "pg_dumpall", "pg_restore", "pg_basebackup", "pgbackrest*", "barman*"],
            },
            "query_matches": {"type": "str"},
            "superusers": {"type": "bool", "default": False},
            "limit": {"type": "int", "default": 20},
        }
    )

    @classmethod
    def examine(cls, options: Mapping[str, Any], report: Report) -> None:
        examine_login(options, report)
        examine_duration(options, "older_than", report)
        examine_duration(options, "grace", report, zero=True)
        examine_at_least(options, 1, report, "limit")
        if not options["states"]:
            report.key("states").add("names none; say which of active, idle and idle in transaction are meant")
        if options["mode"] == CANCEL and set(options["states"] or ()) - {ACTIVE}:
            report.key("mode").add(
                "cancel ends a statement, and a session that is idle runs none: use terminate, or only the state active"
            )
        for name in ("databases", "users", "applications", "query_matches"):
            if options.get(name) is not None and not options[name]:
                report.key(name).add("is empty, and so means nobody; leave it out if all are meant")
        if "all" in (options["databases"] or ()) and len(options["databases"]) > 1:
            report.key("databases").add("all stands alone")

    # -- looking ------------------------------------------------------------------------------------------------

    def look(self, deadline: Deadline) -> Section:
        with opened(self.options, "maintenance", deadline.remaining("connecting")) as session:
            limit(session, min(5.0, deadline.remaining("the sessions")))
            found, findings = self._find(session, deadline.remaining())
        return self._section([(each, PLANNED if each.allowed else FORBIDDEN) for each in found], findings, True)

    def _find(self, session: Session, timeout: float) -> tuple[list[Victim], list[Finding]]:
        try:
            found = victims(session, condition(self.options), timeout)
        except SqlFailed as error:
            if error.sqlstate != "2201B":
                raise
            raise InvalidOption(
                "query_matches is no regular expression of PostgreSQL.",
                stage="preflight",
                tool_output=error.tool_output,
            ) from None
        return found, self._notes(session, found, timeout)

    def _notes(self, session: Session, found: list[Victim], timeout: float) -> list[Finding]:
        findings = []
        unseen = hidden(session, timeout)
        if unseen:
            findings.append(
                Finding(
                    "not_visible",
                    WARNING,
                    f"What {counted(unseen, 'session')} of other roles {'does' if unseen == 1 else 'do'} cannot be"
                    " seen, so none of them is ended.",
                    advice="GRANT pg_read_all_stats TO the role that logs in.",
                )
            )
        forbidden = [each for each in found if not each.allowed]
        if forbidden:
            findings.append(
                Finding(
                    "not_allowed",
                    WARNING,
                    f"{counted(len(forbidden), 'session')} exceed the age and cannot be ended by this role.",
                    advice="GRANT pg_signal_backend TO it; sessions of superusers are ended only by superusers.",
                )
            )
        findings += [
            Finding(
                "wraparound_vacuum",
                INFO,
                f"An autovacuum worker (process {worker['pid']}, {worker['database']}) has prevented wraparound for"
                f" {roughly(worker['age'])}: it is left alone.",
                subject=shown(worker["query"]),
                advice="Ended, it would begin anew at once; without its work the server one day takes no more writes.",
            )
            for worker in wraparound_workers(session, seconds_of(self.options, "older_than"), timeout)
        ]
        return findings

    # -- acting -------------------------------------------------------------------------------------------------

    def act(self, progress: Progress) -> Section:
        with opened(self.options, "terminate") as session:
            limit(session, QUERY_SECONDS)
            found, findings = self._find(session, QUERY_SECONDS + 5)
            allowed = [each for each in found if each.allowed]
            outcomes = {each.pid: FORBIDDEN for each in found if not each.allowed}
            progress.stage(str(self.options["mode"]), total=len(allowed))
            active = [each for each in allowed if each.state == ACTIVE]
            idle = [each for each in allowed if each.state != ACTIVE]
            outcomes.update(self._cancel(session, active))
            if self.options["mode"] == TERMINATE:
                stubborn = [each for each in active if outcomes[each.pid] == ALIVE]
                # It exceeds no age any more when its statement was cancelled within a transaction that it leaves open:
                # for ending that, it is enough to be the session that was cancelled.
                outcomes.update(self._terminate(session, stubborn, cancelled=True))
                outcomes.update(self._terminate(session, idle, cancelled=False))
            progress.add(len(allowed))
        section = self._section([(each, outcomes[each.pid]) for each in found], findings, False)
        self._raise_for(outcomes, section)
        return section

    def _cancel(self, session: Session, active: list[Victim]) -> dict[int, str]:
        """Cancel statements, and wait until they have ended: `cancelled`, `ended by itself` or `still alive`."""
        where = condition(self.options)
        signalled = [each for each in active if end(session, each, where, "pg_cancel_backend", QUERY_SECONDS)]
        outcomes = {each.pid: GONE for each in active}
        outcomes.update({each.pid: ALIVE for each in signalled})
        deadline = Deadline(seconds_of(self.options, "grace"))
        while True:
            now = states_of(session, signalled, QUERY_SECONDS)
            for each in signalled:
                if not self._goes_on(each, now.get(each.pid)):
                    outcomes[each.pid] = CANCELLED
            if ALIVE not in {outcomes[each.pid] for each in signalled} or deadline.left() <= 0:
                return outcomes
            time.sleep(_POLL)

    def _goes_on(self, victim: Victim, now: Mapping[str, Any] | None) -> bool:
        """Whether a session that was cancelled still does harm: the same statement, or the locks of its transaction."""
        if now is None or now["query_start"] != victim.query_start:
            return False
        left_open = str(now["state"]).startswith("idle in transaction") and self.options["mode"] == TERMINATE
        return now["state"] == ACTIVE or left_open

    def _terminate(self, session: Session, wanted: list[Victim], *, cancelled: bool) -> dict[int, str]:
        """End sessions and wait until they are gone: `terminated`, `ended by itself` or `still alive`."""
        told = []
        outcomes = {each.pid: GONE for each in wanted}
        for each in wanted:
            where = _same_statement(each) if cancelled else condition(self.options)
            if end(session, each, where, "pg_terminate_backend", QUERY_SECONDS):
                told.append(each)
                outcomes[each.pid] = ALIVE
            elif cancelled:
                outcomes[each.pid] = CANCELLED
        deadline = Deadline(GOING_SECONDS)
        while True:
            alive = states_of(session, told, QUERY_SECONDS)
            for each in told:
                outcomes[each.pid] = ALIVE if each.pid in alive else TERMINATED
            if not alive or deadline.left() <= 0:
                return outcomes
            time.sleep(_POLL)

    def _raise_for(self, outcomes: Mapping[int, str], section: Section) -> None:
        alive = [pid for pid, outcome in outcomes.items() if outcome == ALIVE]
        if alive:
            raise TimedOut(
                f"{counted(len(alive), 'session')} did not end: {', '.join(map(str, alive))}. {section.summary}",
                stage="terminate",
                hint="They were told to; one that waits for a disk or runs in foreign code ends when that lets it.",
            )
        forbidden = [pid for pid, outcome in outcomes.items() if outcome == FORBIDDEN]
        if forbidden:
            raise PermissionDenied(
                f"{counted(len(forbidden), 'session')} cannot be ended by this role. {section.summary}",
                stage="terminate",
                right="pg_signal_backend",
                hint="GRANT pg_signal_backend TO it; sessions of superusers are ended only by superusers.",
            )

    # -- telling ------------------------------------------------------------------------------------------------

    def _section(self, found: list[tuple[Victim, str]], findings: list[Finding], planned: bool) -> Section:
        rows = [_row(each, outcome) for each, outcome in found]
        most = int(self.options["limit"])
        note = f"{len(rows) - most} younger ones are not shown." if len(rows) > most else ""
        ended = [row for row in rows if row["outcome"] in (CANCELLED, TERMINATED)]
        wanted = [row for row in rows if row["outcome"] == PLANNED]
        age = f"{' or '.join(self.options['states'])} for {self.options['older_than']} or longer"
        if not rows:
            summary = f"No session is {age}."
        elif planned:
            verb = "cancelled" if self.options["mode"] == CANCEL else "ended"
            summary = f"{counted(len(wanted), 'session')} would be {verb}: {age}."
        else:
            numbers = {outcome: sum(row["outcome"] == outcome for row in rows) for _each, outcome in found}
            summary = f"Of {counted(len(rows), 'session')} that had been {age}: " + ", ".join(
                f"{number} {outcome}" for outcome, number in numbers.items()
            )
            summary += "."
        return Section(
            title=f"PostgreSQL: sessions of {', '.join(self.options['databases'] or [self.options['database']])}",
            summary=summary,
            findings=tuple(findings),
            tables=(table_of("sessions", "Sessions", _COLUMNS, rows[:most], note=note, plot="age"),) if rows else (),
            changed=bool(wanted or ended),
            data={"sessions": rows, "cancelled": _pids(rows, CANCELLED), "terminated": _pids(rows, TERMINATED)},
        )


def _same_statement(victim: Victim) -> str:
    """That a session is still in the statement that was cancelled, or in the transaction which that left open."""
    began = literal(victim.query_start or "infinity")
    return (
        f"a.backend_type = 'client backend' AND a.query_start = {began}::timestamptz"
        f" AND (a.state = '{ACTIVE}' OR a.state LIKE '{IDLE} in transaction%')"
    )


def _row(victim: Victim, outcome: str) -> dict[str, Any]:
    return {
        "pid": victim.pid,
        "role": victim.role,
        "database": victim.database,
        "application": victim.application,
        "client": victim.client,
        "state": victim.state,
        "age": victim.age,
        "waits_for": victim.waits_for,
        "query": shown(victim.query),
        "outcome": outcome,
    }


def _pids(rows: list[dict[str, Any]], outcome: str) -> list[int]:
    return [int(row["pid"]) for row in rows if row["outcome"] == outcome]
