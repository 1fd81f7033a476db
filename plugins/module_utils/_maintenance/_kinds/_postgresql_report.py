# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kind `postgresql_report`: how a PostgreSQL server and its databases are, and what to do about it.

PRIVATE to the collection; may change without notice.

Only wiring: the parts are in `_pg`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from ..._deadline import Deadline
from ..._declaration._report import Report
from ..._durations import counted, format_size, roughly
from ..._engines._pg._server import OLDEST
from ..._engines._pg._sql import Session, literals
from ..._errors import HoldfastError, Interrupted, NotFound, VersionMismatch
from .._interface import Kind
from .._pg import _report_sql as sql
from .._pg import _report_tables as tables
from .._pg._login import opened
from .._pg._look import Look, Row
from .._pg._report_database import DatabaseLook
from .._pg._report_options import SPEC, Thresholds, examine, wanted
from .._pg._report_server import look_at_server
from .._pg._report_statements import StatementsLook
from .._section import BYTES, CRITICAL, SEVERITIES, WARNING, Section


class PostgresqlReport(Kind):
    """One session at a time; every query has a time of its own, and none takes a lock beyond ACCESS SHARE."""

    name = "postgresql_report"
    title = "PostgreSQL: sizes, bloat, indexes, queries and connections"
    SPEC = SPEC

    @classmethod
    def examine(cls, options: Mapping[str, Any], report: Report) -> None:
        examine(options, report)

    def look(self, deadline: Deadline) -> Section:
        options = self.options
        look = Look(deadline, float(options["statement_timeout"]) or None, int(options["limit"]))
        named = wanted(options)
        with contextlib.ExitStack() as stack:
            session = stack.enter_context(self._opened(look, options.get("database")))
            server = look.row(sql.SERVER)
            if server["version_num"] < OLDEST * 10000:
                raise VersionMismatch(
                    f"The server is PostgreSQL {server['version']}; {OLDEST} is the oldest supported."
                )
            known = look.rows(sql.DATABASES)
            chosen = self._chosen(look, named, known)
            names = [str(row["name"]) for row in chosen]
            connections = look_at_server(look, self._limits, server, known, names)
            self._sizes(look, chosen, names)
            statements = StatementsLook(look, self._limits, names)
            # The one that we are in comes first, so that its session serves twice.
            for about in sorted(chosen, key=lambda row: row["name"] != session.database):
                with contextlib.ExitStack() as inner:
                    try:
                        if about["name"] != session.database:
                            stack.close()
                            inner.enter_context(self._opened(look, str(about["name"])))
                        DatabaseLook(look, self._limits, about, server["block_size"], str(options["bloat"])).run()
                        statements.run(str(about["name"]))
                    except Interrupted:
                        raise
                    except HoldfastError as error:
                        text = f"{about['name']}: nothing more could be looked at there. {error.message}"
                        look.finding("not_looked_at", WARNING, text, str(about["name"]), error.hint or "")
            statements.finish()
        return self._section(look, server, connections, chosen)

    @property
    def _limits(self) -> Thresholds:
        return Thresholds.of(self.options)

    @contextlib.contextmanager
    def _opened(self, look: Look, database: str | None) -> Any:
        """A session in a database, or in the one for what is server-wide; `look` uses it from then on."""
        with contextlib.ExitStack() as stack:
            session = self._session(stack, look.deadline, database)
            look.use(session)
            yield session

    def _session(self, stack: contextlib.ExitStack, deadline: Deadline, database: str | None) -> Session:
        first = database or str(self.options["maintenance_db"])
        try:
            return stack.enter_context(opened({**self.options, "database": first}, "report", deadline.remaining()))
        except NotFound:
            if database or first == "template1":
                raise
            return stack.enter_context(
                opened({**self.options, "database": "template1"}, "report", deadline.remaining())
            )

    def _chosen(self, look: Look, named: Sequence[str] | None, known: Sequence[Row]) -> list[Row]:
        """The databases that are looked at, as they are known."""
        if named is None:
            return [row for row in known if row["allows"] and row["granted"] and not row["template"]]
        by_name = {row["name"]: row for row in known}
        for name in named:
            if name not in by_name:
                look.finding("no_database", CRITICAL, f"There is no database {name}.", name, "Check databases.")
        return [by_name[name] for name in named if name in by_name]

    def _sizes(self, look: Look, chosen: Sequence[Row], names: Sequence[str]) -> None:
        sizes: dict[str, Any] = {}
        with look.part("Sizes of databases"):
            sizes = {row["name"]: row["bytes"] for row in look.rows(sql.DATABASE_SIZES.of(names=literals(names)))}
        for row in chosen:
            row["bytes"] = sizes.get(row["name"])
            if row["bytes"] is not None:
                look.measure(f"database_bytes {row['name']}", f"Size of {row['name']}", row["bytes"], BYTES)
        look.add(tables.DATABASES, chosen)

    def _section(self, look: Look, server: Row, connections: Row, chosen: Sequence[Row]) -> Section:
        findings = look.told()
        counts = {severity: sum(each.severity == severity for each in findings) for severity in SEVERITIES}
        what = str(chosen[0]["name"]) if len(chosen) == 1 else f"{len(chosen)} databases"
        size = sum(row["bytes"] or 0 for row in chosen)
        parts = [f"PostgreSQL {server['version']}, up {roughly(server['uptime'])}", f"{what} {format_size(size)}"]
        if connections:
            parts.append(f"{connections['used']} of {connections['usable']} connections")
        parts.append(
            f"{counts[CRITICAL]} critical, {counted(counts[WARNING], 'warning')}"
            if counts[CRITICAL] or counts[WARNING]
            else "nothing to worry about"
        )
        shown = ("name", "bytes", "xid_age", "multixact_age", "wraparound_percent", "deadlocks", "stats_reset")
        return Section(
            title=f"PostgreSQL: {'database ' if len(chosen) == 1 else ''}{what}",
            summary=f"{'; '.join(parts)}.",
            findings=findings,
            tables=look.tables(tables.KINDS),
            measures=look.measures,
            data={
                "server": {key: server[key] for key in ("version", "version_num", "started", "uptime", "standby")},
                "connections": connections,
                "databases": [{key: row.get(key) for key in shown} for row in chosen],
            },
        )
