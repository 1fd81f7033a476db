# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which tables need VACUUM or ANALYZE, how much, and whether the server did it.

PRIVATE to the collection; may change without notice.

VACUUM tells what it left out (a lock, a missing right) in warnings and succeeds all the same. So rights are looked at
before, and the server's own counters afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..._engines._pg._sql import Session, identifier

ANALYZE, VACUUM, VACUUM_ANALYZE = "analyze", "vacuum", "vacuum_analyze"
MODES = (ANALYZE, VACUUM, VACUUM_ANALYZE)

# Sizes are of pg_class and not of the disk: pg_table_size waits for whoever holds the table.
_TABLES = """
SELECT c.oid::bigint AS oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind,
       coalesce(s.n_live_tup, 0) AS live, coalesce(s.n_dead_tup, 0) AS dead,
       coalesce(s.n_mod_since_analyze, 0) AS changed, greatest(c.reltuples, 0)::bigint AS estimate,
       c.relpages::bigint * current_setting('block_size')::bigint AS bytes,
       coalesce(s.vacuum_count, 0) AS vacuums, coalesce(s.analyze_count, 0) AS analyzes,
       to_char(greatest(s.last_vacuum, s.last_autovacuum), 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS vacuumed_at,
       to_char(greatest(s.last_analyze, s.last_autoanalyze), 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS analyzed_at,
       pg_has_role(c.relowner, 'USAGE') OR pg_has_role(d.datdba, 'USAGE')
           OR current_setting('is_superuser') = 'on' OR {maintain} AS allowed,
       (SELECT json_agg(i.inhparent::bigint) FROM pg_inherits i WHERE i.inhrelid = c.oid) AS parents
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_database d ON d.datname = current_database()
  LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
 WHERE c.relkind IN ('r', 'm', 'p') AND c.relpersistence <> 't'
   AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' {more}
 ORDER BY n.nspname, c.relname"""

_ADVICE = """
SELECT current_setting('track_counts') = 'on' AS counted, current_setting('server_version_num')::int AS version,
       pg_is_in_recovery() AS replica"""

# What keeps dead rows from being removed. A prepared transaction and a slot do it with no session at all.
_HOLDERS = """
SELECT who, xmin_age FROM (
    SELECT format('session %s (%s, %s)', pid, coalesce(usename, '?'), coalesce(state, backend_type)) AS who,
           greatest(age(backend_xmin), age(backend_xid)) AS xmin_age
      FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
       AND backend_type <> 'walsender'
    UNION ALL SELECT format('prepared transaction %s', gid), age(transaction) FROM pg_prepared_xacts
    UNION ALL SELECT format('replication slot %s', slot_name), greatest(age(xmin), age(catalog_xmin))
      FROM pg_replication_slots WHERE xmin IS NOT NULL OR catalog_xmin IS NOT NULL) AS h
 ORDER BY xmin_age DESC NULLS LAST LIMIT 1"""


@dataclass(frozen=True)
class Thresholds:
    """From when on a table needs it: at least so many rows, and so many percent of the table's.

    Attributes:
        rows: below this many dead or changed rows nothing is worth the trouble.
    """

    dead_percent: float
    changed_percent: float
    rows: int


@dataclass(frozen=True)
class TableState:
    """What the server's statistics say of a table.

    Attributes:
        kind: as pg_class.relkind: `r`, `m`(aterialized view) or `p`(artitioned).
        changed: rows that were inserted, updated or deleted since the last ANALYZE.
        estimate: rows, as the planner believes.
        bytes: as of the last VACUUM or ANALYZE.
        vacuums, analyzes: how often they were run by hand.
        allowed: whether our role may.
        parents: what it is a partition or child of.
    """

    oid: int
    schema: str
    name: str
    kind: str
    live: int
    dead: int
    changed: int
    estimate: int
    bytes: int
    vacuums: int
    analyzes: int
    vacuumed_at: str | None
    analyzed_at: str | None
    allowed: bool
    parents: list[int] | None

    @property
    def title(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def rows(self) -> int:
        """Rows that are alive: counted since statistics began, or believed by the planner where that is more."""
        return max(self.live, self.estimate)

    @property
    def dead_percent(self) -> float:
        return percent(self.dead, self.rows + self.dead)

    @property
    def changed_percent(self) -> float:
        return percent(self.changed, self.rows)


@dataclass(frozen=True)
class Need:
    """What a table needs: at least one of both, or it would not stand in a plan.

    Attributes:
        weight: how urgent it is; more is more.
        why: in a person's words.
    """

    table: TableState
    vacuum: bool
    analyze: bool
    weight: float
    why: str

    @property
    def what(self) -> str:
        return " and ".join(word for word, wanted in (("VACUUM", self.vacuum), ("ANALYZE", self.analyze)) if wanted)


def percent(part: float, whole: float) -> float:
    """How much a part is of the whole; a part of nothing is all of it."""
    return 100.0 * part / whole if whole > 0 else (100.0 if part else 0.0)


def need_of(table: TableState, mode: str, thresholds: Thresholds, always: bool = False) -> Need | None:
    """What a table needs, or None.

    Args:
        always: it was chosen whatever the statistics say.
    """
    reasons = []
    vacuum = mode != ANALYZE and table.kind != "p"
    if vacuum and table.dead >= thresholds.rows and table.dead_percent >= thresholds.dead_percent:
        reasons.append(f"{table.dead:,} dead rows ({table.dead_percent:.0f} %)")
    vacuum = vacuum and (always or bool(reasons))
    analyze, why = mode != VACUUM, ""
    if table.analyzed_at is None and (table.rows or table.changed or table.kind == "p"):
        why = "never analyzed"
    elif table.changed >= thresholds.rows and table.changed_percent >= thresholds.changed_percent:
        why = f"{table.changed:,} rows changed since it was analyzed ({table.changed_percent:.0f} %)"
    if analyze and why:
        reasons.append(why)
    analyze = analyze and (always or bool(why))
    if not (vacuum or analyze):
        return None
    weight = (table.dead if vacuum else 0) + (table.changed if analyze else 0)
    return Need(table, vacuum, analyze, float(weight), ", ".join(reasons) or "chosen")


def order_of(need: Need) -> tuple[bool, float, int, str]:
    """The key that sorts the largest need first, but a partitioned table before the partitions that tell its need."""
    return (need.table.kind != "p", -need.weight, -need.table.rows, need.table.title)


def table_states(session: Session, timeout: float, oid: int | None = None) -> list[TableState]:
    """The tables of the database, or one of them, with what the statistics say; a partitioned one with its parts' sums.

    Partitioned tables are analyzed by nobody but a person, and their own statistics plan queries across partitions.
    """
    version = int(session.value("SELECT current_setting('server_version_num')::int AS v", timeout))
    # From 17 on a right of its own. Before 14, nothing says when a partitioned table was analyzed.
    maintain = "has_table_privilege(c.oid, 'MAINTAIN')" if version >= 170000 else "false"
    more = ("" if version >= 140000 else "AND c.relkind <> 'p'") + (f" AND c.oid = {oid}" if oid is not None else "")
    found = [TableState(**row) for row in session.rows(_TABLES.format(maintain=maintain, more=more), timeout)]
    return found if oid is not None else with_sums(found)


def with_sums(tables: list[TableState]) -> list[TableState]:
    """The same, partitioned tables with what their partitions have changed and hold, on all levels."""
    by_oid = {table.oid: table for table in tables}
    sums: dict[int, tuple[int, int]] = {table.oid: (0, 0) for table in tables if table.kind == "p"}
    for table in tables:
        waiting = list(table.parents or ()) if table.kind == "r" else []
        while waiting:
            parent = waiting.pop()
            if parent in sums:
                live, changed = sums[parent]
                sums[parent] = (live + table.rows, changed + table.changed)
                waiting += by_oid[parent].parents or ()
    return [
        TableState(**{**vars(table), "live": sums[table.oid][0], "changed": sums[table.oid][1]})
        if table.oid in sums
        else table
        for table in tables
    ]


def server_state(session: Session, timeout: float) -> dict[str, Any]:
    """`counted` (track_counts), `version` and `replica`."""
    return session.row(_ADVICE, timeout)


def holder(session: Session, timeout: float) -> str:
    """Who keeps dead rows from being removed, the oldest; empty when nobody does."""
    rows = session.rows(_HOLDERS, timeout)
    return str(rows[0]["who"]) if rows else ""


def statement(need: Need, options: Mapping[str, Any], version: int) -> str:
    """The statement that does what a table needs.

    Args:
        options: `skip_locked`, `truncate`, `parallel` (None leaves it to the server).
        version: as `server_version_num`.
    """
    name = identifier(need.table.schema, need.table.name)
    skip = f"SKIP_LOCKED {str(bool(options['skip_locked'])).lower()}"
    if not need.vacuum:
        # Before 18, a partitioned table takes all its partitions with it.
        only = "ONLY " if need.table.kind == "p" and version >= 180000 else ""
        return f"ANALYZE ({skip}) {only}{name}"
    words = [skip, f"TRUNCATE {str(bool(options['truncate'])).lower()}"]
    if need.analyze:
        words.append("ANALYZE")
    if options["parallel"] is not None:
        words.append(f"PARALLEL {int(options['parallel'])}")
    return f"VACUUM ({', '.join(words)}) {name}"
