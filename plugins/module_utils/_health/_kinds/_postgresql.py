# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check kind `postgresql`: a server takes logins and is in the state that it should be in.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ..._deadline import Deadline
from ..._declaration._report import Report
from ..._engines._pg._server import OPTIONS as SERVER_OPTIONS
from ..._engines._pg._server import Server
from ..._engines._pg._sql import Session, literal
from ..._limits import examine_limits, limits
from ..._spec import Spec
from .._connect import examine_port
from .._interface import FAIL, PASS, WARN, Kind, Measurement
from .._thresholds import judged

PRIMARY, REPLICA = "primary", "replica"

_TABLE = re.compile(r'(?:(?P<schema>"[^"]+"|[^".]+)\.)?(?P<table>"[^"]+"|[^".]+)')

_LOGIN = {
    name: option
    for name, option in SERVER_OPTIONS.items()
    if name not in ("connect_timeout", "statement_timeout", "maintenance_db")  # the check's own timeout bounds both
}

_CONNECTIONS = """SELECT count(*) AS used, current_setting('max_connections')::int AS most,
    current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int AS ours
    FROM pg_stat_activity WHERE datid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend'"""
# A replica that has replayed all that it received is not behind, however long ago the primary last wrote.
_BEHIND = """SELECT pg_is_in_recovery() AS replica,
    CASE WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
         ELSE coalesce(extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()), 0) END::float AS behind,
    (SELECT status FROM pg_stat_wal_receiver LIMIT 1) AS receiver"""
_REPLICAS = """SELECT application_name AS name, state,
    coalesce(extract(epoch FROM replay_lag), 0)::float AS behind FROM pg_stat_replication"""


class PostgresqlCheck(Kind):
    """Logs in as the engine does: over a socket as the account that owns it, or with a password."""

    name = "postgresql"
    component_type = "datastore"
    SPEC = Spec(
        {
            "database": {"type": "str", "default": "postgres"},
            **_LOGIN,
            **limits("latency"),
            **limits("connections", 80, 95),
            "extensions": {"type": "list", "elements": "str", "default": []},
            "tables": {"type": "list", "elements": "str", "default": []},
            "role": {"type": "str", "choices": [PRIMARY, REPLICA]},
            "replicas": {"type": "int", "default": 0},
            **limits("replication_lag", 30, 300),
        },
        mutually_exclusive=[
            ["login_host", "login_unix_socket"],
            ["login_password", "login_password_file"],
            ["container", "service"],
            ["container", "bin_dir"],
        ],
        required_together=[["ssl_cert", "ssl_key"]],
        required_by={"service_file": ["service"]},
    )

    @classmethod
    def examine(cls, options: Mapping[str, Any], report: Report) -> None:
        examine_port(options, report, "login_port")
        examine_limits(options, report, "latency", "replication_lag")
        examine_limits(options, report, "connections", maximum=100)
        for number, name in enumerate(options["tables"]):
            if _split(name) is None:
                report.key("tables").index(number).add("is no name of a table, such as documents or public.documents")
        if options["replicas"] < 0:
            report.key("replicas").add("is negative")
        if options["replicas"] and options.get("role") == REPLICA:
            report.key("replicas").add("are those of a primary, and role says replica")

    @classmethod
    def preload(cls, options: Mapping[str, Any]) -> None:
        if options.get("login_host"):
            try:
                import psycopg  # noqa: F401
            except ImportError:
                return  # the session says so, with a hint

    def run(self, deadline: Deadline) -> Iterator[Measurement]:
        login = {name: self.options.get(name) for name in SERVER_OPTIONS}
        login.update(
            connect_timeout=max(1, round(deadline.remaining())),
            statement_timeout=0,
        )
        server = Server(login, "health")
        server.application_name = "holdfast:health"
        began = time.monotonic()
        try:
            with server.connect(self.options["database"]) as session:
                session.value("SELECT 1 AS one", deadline.remaining())
                yield judged(
                    "latency",
                    time.monotonic() - began,
                    "s",
                    self.options.get("latency_warning"),
                    self.options.get("latency_critical"),
                    what=f"PostgreSQL ({server.where}) answered after",
                )
                yield from self._look(session, deadline)
        finally:
            server.close()

    def _look(self, session: Session, deadline: Deadline) -> Iterator[Measurement]:
        connections = session.row(_CONNECTIONS, deadline.remaining())
        yield judged(
            "connections",
            100 * connections["used"] / max(1, connections["ours"]),
            "%",
            self.options["connections_warning"],
            self.options["connections_critical"],
            what=f"{connections['used']} of {connections['most']} connections are used:",
        )
        yield from self._replication(session, deadline)
        for name in self.options["extensions"]:
            query = f"SELECT max(extversion) AS v FROM pg_extension WHERE extname = {literal(name)}"
            found = session.value(query, deadline.remaining())
            output = "" if found else f"The extension {name} is not installed in {self.options['database']}."
            yield Measurement("extension", PASS if found else FAIL, found, "", output, name)
        for name in self.options["tables"]:
            yield self._table(session, name, deadline)

    def _table(self, session: Session, name: str, deadline: Deadline) -> Measurement:
        """Whether a table is there: in the schema that its name says, or else in any of those of users."""
        schema, table = _split(name) or ("", name)
        query = f"""SELECT count(*) AS n FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace
            WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relname = {literal(table)}
            AND s.nspname !~ '^(pg_|information_schema$)'"""
        if schema:
            query += f" AND s.nspname = {literal(schema)}"
        found = int(session.value(query, deadline.remaining()))
        output = "" if found else f"There is no table {name} in {self.options['database']}."
        return Measurement("table", PASS if found else FAIL, found, "", output, name)

    def _replication(self, session: Session, deadline: Deadline) -> Iterator[Measurement]:
        state = session.row(_BEHIND, deadline.remaining())
        role = REPLICA if state["replica"] else PRIMARY
        wanted = self.options.get("role")
        output = f"The server is a {role} and should be a {wanted}." if wanted and role != wanted else ""
        yield Measurement("role", FAIL if output else PASS, role, "", output)
        if state["replica"]:
            receiver = state["receiver"] or "not connected"
            output = "" if receiver == "streaming" else f"The replica is {receiver} and receives nothing."
            # One that is fed from an archive has no receiver, and is judged by its lag alone.
            bad = FAIL if wanted == REPLICA else WARN
            yield Measurement("receiver", PASS if not output else bad, receiver, "", output)
            yield self._lag(float(state["behind"]), "")
            return
        replicas = session.rows(_REPLICAS, deadline.remaining()) if self.options["replicas"] else []
        streaming = [each for each in replicas if each["state"] == "streaming"]
        if len(streaming) < self.options["replicas"]:
            output = f"{len(streaming)} of {self.options['replicas']} replicas are connected and streaming."
            yield Measurement("replicas", FAIL, len(streaming), "", output)
        elif self.options["replicas"]:
            yield Measurement("replicas", PASS, len(streaming))
        for each in replicas:
            yield self._lag(float(each["behind"]), str(each["name"]))

    def _lag(self, seconds: float, replica: str) -> Measurement:
        return judged(
            "replication_lag",
            seconds,
            "s",
            self.options["replication_lag_warning"],
            self.options["replication_lag_critical"],
            what=f"The replica {replica} is behind by".replace("  ", " "),
            target=replica,
        )


def _split(name: str) -> tuple[str, str] | None:
    """Schema (or nothing) and name of a table; a part in double quotes may hold dots. None when it is no such name."""
    match = _TABLE.fullmatch(name)
    return None if match is None else ((match["schema"] or "").strip('"'), match["table"].strip('"'))
