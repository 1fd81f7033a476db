# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report on PostgreSQL: slow queries, as pg_stat_statements has counted them.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..._durations import counted
from ..._engines._pg._sql import literals
from .._section import INFO, WARNING
from . import _report_sql as sql
from . import _report_tables as tables
from ._look import Look, Row
from ._queries import shown
from ._report_options import Thresholds

_UTILITIES = ("ALTER", "ANALYZE", "CHECKPOINT", "CLUSTER", "COPY", "CREATE", "LOCK", "REFRESH", "REINDEX", "VACUUM")
"""First words of statements that take as long as there is data; backups are made of them."""

_OURS = "SELECT coalesce(json_agg(r), "
"""How every question of this collection begins, such as the counts of a backup's fingerprint."""


class StatementsLook:
    """Asks in the first database that has the extension: its view knows of all.

    Args:
        names: of the databases that the report is about.
    """

    def __init__(self, look: Look, limits: Thresholds, names: Sequence[str]) -> None:
        self._look, self._limits, self._names = look, limits, names
        self._states: dict[str, Row] = {}
        self._read = False

    def run(self, database: str) -> None:
        """In the database of the session."""
        if self._read:
            return
        with self._look.part("Slow queries"):
            state = self._states[database] = self._look.row(sql.STATEMENTS_STATE)
            if state["loaded"] and state["schema"]:
                self._read = True  # also when it fails: elsewhere it would not do better
                self._tell(state)

    def finish(self) -> None:
        """When all were asked: say what is missing."""
        if self._read or not self._states:
            return
        database, state = next(iter(self._states.items()))
        create = f"`CREATE EXTENSION pg_stat_statements;` in {database}"
        if not state["available"]:
            text = "pg_stat_statements is not installed beside the server, so nobody counts which queries are slow"
            advice = "Install the package postgresql-contrib (Debian has it in postgresql-NN), "
        elif not state["loaded"]:
            text = "pg_stat_statements is not loaded by the server, so nobody counts which queries are slow"
            advice = ""
        else:
            text = f"{database} does not have the extension pg_stat_statements, so slow queries cannot be read"
            advice = f"{create[0].upper()}{create[1:]}."
        if not state["loaded"]:
            advice += f"{_preload(state['libraries'])}, restart PostgreSQL"
            advice += "." if state["schema"] else f", and {create}."
            advice = advice[0].upper() + advice[1:]
        self._look.finding("statements_missing", INFO, f"{text}.", "pg_stat_statements", advice)

    def _tell(self, state: Row) -> None:
        new = "total_exec_time" in (state["columns"] or ())  # until version 1.8: total_time
        query = sql.STATEMENTS.of(
            total="total_exec_time" if new else "total_time",
            mean="mean_exec_time" if new else "mean_time",
            schema=state["schema"],
            names=literals(self._names),
            calls=self._limits.slow_query_calls,
            limit=self._look.limit,
        )
        rows = []
        for row in self._look.rows(query):
            text = str(row["query"] or "")
            known = {**row, "share": round(row["share"] or 0, 1), "ours": text.startswith(_OURS)}
            rows.append({**known, "query": shown(text)})
        self._look.add(tables.QUERIES_BY_TOTAL, [row for row in rows if row["by_total"] <= self._look.limit])
        self._look.add(tables.QUERIES_BY_MEAN, [row for row in rows if row["by_mean"] <= self._look.limit])
        for row in sorted(rows, key=lambda each: each["by_mean"]):
            utility = row["query"].split(" ", 1)[0].upper() in _UTILITIES
            if row["mean_seconds"] >= self._limits.slow_query_mean and not (utility or row["ours"]):
                self._look.finding(
                    "slow_query",
                    WARNING,
                    f"A query of {row['user']} in {row['database']} takes {row['mean_seconds']:.1f} s on average"
                    f" ({counted(row['calls'], 'call')}, {row['share']:.0f} % of all time): {row['query']}",
                    str(row["database"]),
                    f"In {row['database']}: `EXPLAIN (ANALYZE, BUFFERS) …` with values of your own shows where the time"
                    " goes. Once it is faster, `SELECT pg_stat_statements_reset();` begins to count anew.",
                )


def _preload(libraries: str | None) -> str:
    """How to let the server load it beside what it loads already; ALTER SYSTEM wants each name quoted by itself."""
    if libraries is None:
        return "add pg_stat_statements to shared_preload_libraries in postgresql.conf"
    names = [part.strip().strip('"') for part in libraries.split(",") if part.strip()]
    quoted = ", ".join("'" + name.replace("'", "''") + "'" for name in [*names, "pg_stat_statements"])
    return f"`ALTER SYSTEM SET shared_preload_libraries = {quoted};`"
