# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which sessions of a PostgreSQL server may be ended, and ending exactly those.

PRIVATE to the collection; may change without notice.

Between the look and the act a session may have done what it had to, or its process id may be another's. So the act is
one statement that asks for everything again: the process, when it began, and every condition that made it a victim.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..._durations import parse_duration
from ..._engines._pg._sql import Session, literal, literals

ACTIVE, IDLE, IDLE_IN_TRANSACTION = "active", "idle", "idle in transaction"
STATES = (ACTIVE, IDLE, IDLE_IN_TRANSACTION)

# How long it has been so: an active session runs its statement, the others do nothing since their last one.
_AGE = "extract(epoch FROM clock_timestamp() - CASE WHEN a.state = 'active' THEN a.query_start ELSE a.state_change END)"

_FIELDS = f"""a.pid, a.backend_start::text AS backend_start, a.query_start::text AS query_start,
       coalesce(a.usename, '') AS role, coalesce(a.datname, '') AS database, a.application_name AS application,
       coalesce(host(a.client_addr), 'local') AS client, a.state, round({_AGE}::numeric, 1)::float AS age,
       a.query, coalesce(a.wait_event_type || ':' || a.wait_event, '') AS waits_for,
       pg_has_role(a.usesysid, 'USAGE') AND NOT r.rolsuper OR current_setting('is_superuser') = 'on'
           OR pg_has_role('pg_signal_backend', 'USAGE') AND NOT r.rolsuper AS allowed"""

_FROM = "pg_stat_activity a JOIN pg_roles r ON r.oid = a.usesysid"

# A walsender, an autovacuum worker or a parallel worker is no client backend; ours are named after us.
_ALWAYS = "a.backend_type = 'client backend' AND a.pid <> pg_backend_pid() AND a.application_name !~* '^holdfast'"

# Of others one sees neither what kind of process they are nor what they do.
_HIDDEN = """
SELECT count(*) AS n FROM pg_stat_activity a WHERE a.query = '<insufficient privilege>' AND a.usesysid IS NOT NULL"""

_WRAPAROUND = """
SELECT a.pid, coalesce(a.datname, '') AS database, a.query,
       extract(epoch FROM clock_timestamp() - a.xact_start)::float AS age
  FROM pg_stat_activity a WHERE a.backend_type = 'autovacuum worker' AND a.query LIKE '%(to prevent wraparound)%'
   AND {age} <= extract(epoch FROM clock_timestamp() - a.xact_start) ORDER BY a.xact_start"""


@dataclass(frozen=True)
class Victim:
    """A session that exceeds the age.

    Attributes:
        backend_start: when it began, exactly as the server writes it: with the pid, this is the session and no other.
        client: its address, or `local`.
        age: seconds that its statement runs, or that it has done nothing.
        allowed: whether our role may end it.
    """

    pid: int
    backend_start: str
    query_start: str | None
    role: str
    database: str
    application: str
    client: str
    state: str
    age: float
    query: str
    waits_for: str
    allowed: bool


def condition(options: Mapping[str, Any]) -> str:
    """What makes a session a victim, as SQL about `a` (pg_stat_activity) and `r` (pg_roles)."""
    seconds = parse_duration(str(options["older_than"])).total_seconds()
    # In a transaction that has failed it holds its locks just the same.
    more = [f"{IDLE_IN_TRANSACTION} (aborted)"] if IDLE_IN_TRANSACTION in options["states"] else []
    parts = [_ALWAYS, f"a.state = ANY ({literals([*options['states'], *more])})", f"{_AGE} >= {seconds:.0f}"]
    databases = options["databases"] or [options["database"]]
    if list(databases) != ["all"]:
        parts.append(f"a.datname = ANY ({literals(databases)})")
    if not options["superusers"]:
        parts.append("NOT r.rolsuper")
    for column, name in (("a.usename", "users"), ("a.application_name", "applications")):
        if options[name]:
            parts.append(_matches(column, options[name]))
        if options[f"exclude_{name}"]:
            parts.append(f"NOT {_matches(column, options[f'exclude_{name}'])}")
    if options.get("query_matches"):
        parts.append(f"a.query ~* {literal(str(options['query_matches']))}")
    return "\n   AND ".join(parts)


def _matches(column: str, globs: Iterable[str]) -> str:
    """Whether a column is one of some names with `*` and `?`."""
    return f"coalesce({column}::text, '') ~ ANY ({literals(regex(glob) for glob in globs)})"


def regex(glob: str) -> str:
    """A name with the wildcards `*` and `?` as a regular expression of PostgreSQL for the whole of a text."""
    wild = {"*": ".*", "?": "."}
    # A leading *** would be a director; every other character that means something is escaped.
    return "^(?:" + "".join(wild.get(each) or re.sub(r"[^\w]", r"\\\g<0>", each) for each in glob) + ")$"


def victims(session: Session, where: str, timeout: float) -> list[Victim]:
    """The sessions that a condition means, the oldest first."""
    query = f"SELECT {_FIELDS}\n  FROM {_FROM}\n WHERE {where}\n ORDER BY {_AGE} DESC"
    return [Victim(**row) for row in session.rows(query, timeout)]


def end(session: Session, victim: Victim, where: str, function: str, timeout: float) -> bool:
    """Signal a session, if it is still the one that was seen and the condition still holds.

    Args:
        function: `pg_cancel_backend` or `pg_terminate_backend`.

    Returns: whether it was signalled; otherwise it is gone, or no longer meant.
    """
    query = (
        f"SELECT {function}(a.pid) AS signalled\n  FROM {_FROM}\n WHERE {where}\n"
        f"   AND a.pid = {victim.pid} AND a.backend_start = {literal(victim.backend_start)}::timestamptz"
    )
    return any(row["signalled"] for row in session.rows(query, timeout))


def states_of(session: Session, seen: Sequence[Victim], timeout: float) -> dict[int, dict[str, Any]]:
    """What the sessions that were seen do now, by pid: `state` and `query_start`; those that are gone are missing."""
    if not seen:
        return {}
    pairs = ", ".join(f"({each.pid}, {literal(each.backend_start)}::timestamptz)" for each in seen)
    rows = session.rows(
        "SELECT a.pid, a.state, a.query_start::text AS query_start FROM pg_stat_activity a"
        f" WHERE (a.pid, a.backend_start) IN ({pairs})",
        timeout,
    )
    return {int(row["pid"]): row for row in rows}


def hidden(session: Session, timeout: float) -> int:
    """How many sessions of other roles our role cannot judge, because it may not see what they do."""
    return int(session.value(_HIDDEN, timeout))


def wraparound_workers(session: Session, age: float, timeout: float) -> list[dict[str, Any]]:
    """Autovacuum workers that prevent wraparound for longer than `age` seconds: `pid`, `database`, `query`, `age`."""
    return session.rows(_WRAPAROUND.format(age=f"{age:.0f}"), timeout)
