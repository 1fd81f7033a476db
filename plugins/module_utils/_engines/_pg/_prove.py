# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof beyond the fingerprint: sequences, indexes, heaps and vectors of a restored database are sound.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..._errors import HoldfastError, MissingDependency, VersionMismatch
from ..._progress import Progress
from ._server import Server
from ._sql import Session, identifier, literal

PROBES = 3
"""Rows of each vector index that are looked up."""
_UNHURRIED = "options='-c statement_timeout=0 -c lock_timeout=0'"
"""pg_amcheck obeys timeouts that a role was given, and reports what they cut off as damage."""
_CALLS_USERS = (
    "EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid AND d.refclassid"
    " IN ('pg_proc'::regclass, 'pg_operator'::regclass) AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.deptype = 'e'"
    " AND e.classid = d.refclassid AND e.objid = d.refobjid))"
)
"""Whether the key or condition of an index calls a function that neither the server nor an extension has brought."""
_REPORTED = 20
"""Lines of a tool's findings that a proof keeps."""


@dataclass
class Findings:
    """What was looked at, and what is wrong.

    Attributes:
        checked: number of things compared.
        details: what was found, by name of the check; a check that was not made says `skipped: <reason>`.
    """

    checked: int = 0
    differences: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)


def soundness(
    server: Server,
    database: str,
    recorded: Mapping[str, Any],
    progress: Progress,
    *,
    amcheck: bool = True,
    jobs: int = 1,
) -> Findings:
    """Everything that a restored database must hold, whatever its fingerprint.

    Args:
        recorded: values that sequences had before the dump, by qualified name: one that lags behind its column now
            as it did then is no fault of the restore.
    """
    findings = Findings()
    with server.connect(database) as session:
        progress.stage("prove")
        _sequences(session, recorded, findings)
        _indexes(session, findings)
        _constraints(session, findings)
        _vectors(session, findings)
    if amcheck:
        progress.stage("amcheck")
        _amcheck(server, database, findings, jobs)
    else:
        findings.details["amcheck"] = "skipped: amcheck is set to false"
    return findings


def _sequences(session: Session, recorded: Mapping[str, Any], findings: Findings) -> None:
    """The next value of a sequence that a column owns must not be one that the column holds already."""
    owned = session.rows(
        'SELECT n.nspname AS schema, c.relname AS name, t.oid::regclass::text AS "table", a.attname AS column,'
        " s.seqincrement > 0 AS ascending, s.seqcycle AS cycles"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_sequence s ON s.seqrelid = c.oid"
        " JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')"
        " AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0"
        " JOIN pg_class t ON t.oid = d.refobjid JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid"
        " WHERE a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) ORDER BY 1, 2"
    )
    behind = []
    for one in owned:
        if one["cycles"]:
            continue  # it comes round to used values by design
        sequence = identifier(one["schema"], one["name"])
        extreme, order = ("max", ">=") if one["ascending"] else ("min", "<=")
        column = identifier(one["column"])
        ahead = session.row(
            f"SELECT s.last_value {order} m.extreme AS fine, s.last_value, m.extreme FROM {sequence} s,"
            f" (SELECT {extreme}({column})::bigint AS extreme FROM {one['table']}) m"
        )
        findings.checked += 1
        if ahead["fine"] is not False:
            continue
        before = recorded.get(sequence)
        said = f"{sequence} is at {ahead['last_value']}, {one['table']} holds {ahead['extreme']}"
        if isinstance(before, int) and before == ahead["last_value"]:
            behind.append(f"{said}, as it was when it was dumped")
        else:
            findings.differences.append(f"The sequence lags behind its column: {said}.")
    findings.details["sequences_behind"] = behind


def _indexes(session: Session, findings: Findings) -> None:
    rows = session.rows(
        "SELECT format('%I.%I', n.nspname, c.relname) AS name, c.relkind, i.indisvalid AND i.indisready AS sound"
        " FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname !~ '^pg_(catalog|toast)$' ORDER BY 1"
    )
    findings.checked += len(rows)
    # A partitioned index is invalid until every partition has one: a state that people keep, and no damage.
    invalid = [row["name"] for row in rows if row["relkind"] == "i" and not row["sound"]]
    findings.differences += [f"The index {name} is invalid." for name in invalid]
    findings.details["invalid_indexes"] = len(invalid)


def _constraints(session: Session, findings: Findings) -> None:
    rows = session.rows(
        "SELECT format('%s of %s', quote_ident(conname), conrelid::regclass) AS name FROM pg_constraint"
        " WHERE NOT convalidated AND conrelid <> 0 ORDER BY 1"
    )
    findings.details["unvalidated_constraints"] = [row["name"] for row in rows]


def _vectors(session: Session, findings: Findings) -> None:
    """Ask every vector index for the nearest neighbour of some of its rows: the row itself."""
    indexes = session.rows(
        'SELECT c.relname AS index, t.oid::regclass::text AS "table", m.amname AS method,'
        " pg_get_indexdef(i.indexrelid, 1, false) AS key, pg_get_expr(i.indpred, i.indrelid) AS predicate,"
        f" format('OPERATOR(%I.%s)', onsp.nspname, op.oprname) AS operator, op.oprname AS sign, {_CALLS_USERS} AS calls"
        " FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid"
        " JOIN pg_am m ON m.oid = c.relam JOIN pg_opclass oc ON oc.oid = i.indclass[0]"
        " JOIN pg_amop ao ON ao.amopfamily = oc.opcfamily AND ao.amoppurpose = 'o' AND ao.amoplefttype = oc.opcintype"
        " JOIN pg_operator op ON op.oid = ao.amopopr JOIN pg_namespace onsp ON onsp.oid = op.oprnamespace"
        " WHERE m.amname IN ('hnsw', 'ivfflat') AND c.relkind = 'i' AND i.indisvalid ORDER BY 1"
    )
    if not indexes:
        findings.details["vectors"] = "skipped: no index of pgvector"
        return
    said = {}
    for one in indexes:
        outcome = _probe(session, one)
        said[str(one["index"])] = outcome
        if not outcome.startswith("skipped"):
            findings.checked += 1
            if outcome != "found":
                findings.differences.append(f"The vector index {one['index']} {outcome}.")
    findings.details["vectors"] = said


def _probe(session: Session, index: Mapping[str, Any]) -> str:
    """`found`, `skipped: …`, or what is wrong."""
    if index["calls"]:
        return "skipped: its expression calls a function that a user has made, which would run with our rights"
    key, operator = index["key"], index["operator"]
    condition = f"({key}) IS NOT NULL" + (f" AND ({index['predicate']})" if index["predicate"] else "")
    rows = session.rows(f"SELECT ({key})::text AS key FROM {index['table']} WHERE {condition} LIMIT {PROBES}")
    if not rows:
        return "skipped: no rows"
    with session.transaction():
        session.execute("SET LOCAL enable_seqscan = off")
        session.execute("SET LOCAL enable_sort = off")
        _search_widely(session, str(index["method"]))
        for row in rows:
            probe = literal(row["key"])
            nearest = (
                f"SELECT ({key})::text AS key FROM {index['table']} WHERE {condition}"
                f" ORDER BY ({key}) {operator} {probe} LIMIT 1"
            )
            found = session.rows(nearest)
            if not found:
                return "finds nothing"
            if index["sign"] != "<#>" and found[0]["key"] != row["key"]:  # by inner product another may be nearer
                return "does not find a row by its own vector"
    return "found"


def _search_widely(session: Session, method: str) -> None:
    """An approximate index may miss a row unless it is told to look thoroughly."""
    name, value = ("hnsw.ef_search", "1000") if method == "hnsw" else ("ivfflat.probes", "32768")
    session.execute(f"SET LOCAL {name} = {value}")


def _amcheck(server: Server, database: str, findings: Findings, jobs: int) -> None:
    """Compare every B-tree with its table, and every table with itself, by the server's own checker."""
    major = server.major
    if major < 14:
        findings.details["amcheck"] = f"skipped: PostgreSQL {major} has no pg_amcheck"
        return
    try:
        tool = server.tool("pg_amcheck", major)
    except (MissingDependency, VersionMismatch) as error:
        findings.details["amcheck"] = f"skipped: {error.message}"
        return
    with server.connect(database) as session:
        state = session.row(
            "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'amcheck') AS available,"
            " EXISTS (SELECT FROM pg_extension WHERE extname = 'amcheck') AS installed,"
            " EXISTS (SELECT FROM pg_event_trigger WHERE evtenabled = 'A' OR (evtenabled = 'O'"
            " AND current_setting('is_superuser') = 'off'))"
            " AND coalesce(current_setting('event_triggers', true), 'on') = 'on' AS watched"
        )
        if not state["available"]:
            findings.details["amcheck"] = "skipped: the extension amcheck is not installed on the server"
            return
        if not state["installed"]:
            if state["watched"]:
                findings.details["amcheck"] = "skipped: an event trigger would act on the creation of the extension"
                return
            session.without_triggers()
            session.execute("CREATE EXTENSION amcheck WITH SCHEMA pg_catalog")
        try:
            _run_amcheck(server, tool.path, database, findings, jobs)
        finally:
            if not state["installed"]:
                session.execute("DROP EXTENSION amcheck")


def _run_amcheck(server: Server, program: str, database: str, findings: Findings, jobs: int) -> None:
    # It takes --dbname for nothing; its argument, not an option, may be a connection string.
    arguments = ["--no-password", "--heapallindexed", f"--jobs={jobs}", f"{server.conninfo(database)} {_UNHURRIED}"]
    process = server.start(program, *arguments)
    try:
        if process.popen.stdout is None:
            raise AssertionError("process.popen.stdout is None")
        said = process.popen.stdout.read().decode("utf-8", "replace")
        code = process.wait()
    finally:
        process.terminate()
    lines = [line for line in said.splitlines() if line.strip()]
    if code == 0 and not lines:
        findings.checked += 1
        findings.details["amcheck"] = "ok"
        return
    if code != 0 and not lines:  # it could not look; that is no finding about the data
        raise server.describe(process.failure(code, "amcheck"))
    findings.details["amcheck"] = lines[:_REPORTED]
    findings.differences.append(f"pg_amcheck found damage: {re.sub(r' +', ' ', ' '.join(lines[:2]))}")


def analyze(server: Server, database: str) -> None:
    """Give the planner its statistics, which a dump does not carry."""
    try:
        with server.connect(database) as session:
            session.execute("ANALYZE")
    except HoldfastError as error:
        raise error.at("analyze") from None
