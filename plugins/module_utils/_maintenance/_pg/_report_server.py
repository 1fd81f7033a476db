# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report on PostgreSQL: what concerns the whole server and can be seen from any of its databases.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from ..._durations import counted, format_size, roughly
from ..._engines._pg._sql import literals
from .._section import COUNT, CRITICAL, INFO, PERCENT, SECONDS, WARNING
from . import _report_sql as sql
from . import _report_tables as tables
from ._look import Look, Row
from ._queries import shown
from ._report_options import Thresholds

_WRAPAROUND = 2**31
"""Transactions after which the oldest number would be met again; the server stops taking writes shortly before."""

_SETTINGS: Mapping[str, tuple[str, str, str, str]] = {
    # name: (what it must not be, severity, what that means, what to do)
    "fsync": (
        "off",
        CRITICAL,
        "After a crash of the machine the whole cluster may be corrupted",
        "ALTER SYSTEM SET fsync = on; SELECT pg_reload_conf();",
    ),
    "full_page_writes": (
        "off",
        CRITICAL,
        "After a crash pages may be half old and half new, which no recovery mends",
        "ALTER SYSTEM SET full_page_writes = on; SELECT pg_reload_conf();",
    ),
    "zero_damaged_pages": (
        "on",
        CRITICAL,
        "Damaged pages are emptied in silence when they are read",
        "ALTER SYSTEM RESET zero_damaged_pages; SELECT pg_reload_conf();",
    ),
    "ignore_checksum_failure": (
        "on",
        CRITICAL,
        "Pages that fail their checksum are read as if nothing were wrong",
        "ALTER SYSTEM RESET ignore_checksum_failure; SELECT pg_reload_conf();",
    ),
    "autovacuum": (
        "off",
        CRITICAL,
        "Nothing removes dead rows or renews statistics by itself, so tables grow and plans get worse",
        "ALTER SYSTEM SET autovacuum = on; SELECT pg_reload_conf();",
    ),
    "track_counts": (
        "off",
        CRITICAL,
        "Autovacuum works by these counts and does nothing without them, nor does most of this report",
        "ALTER SYSTEM SET track_counts = on; SELECT pg_reload_conf();",
    ),
    "track_activities": (
        "off",
        WARNING,
        "Nobody can see which queries run",
        "ALTER SYSTEM SET track_activities = on; SELECT pg_reload_conf();",
    ),
    "synchronous_commit": (
        "off",
        INFO,
        "The last transactions before a crash may be lost, though nothing is corrupted",
        "ALTER SYSTEM SET synchronous_commit = on; SELECT pg_reload_conf();",
    ),
    "data_checksums": (
        "off",
        WARNING,
        "What a disk changes by mistake is read, and backed up, unnoticed",
        "pg_checksums --enable --progress --pgdata DIRECTORY",
    ),
}


def look_at_server(look: Look, limits: Thresholds, server: Row, databases: Sequence[Row], names: Sequence[str]) -> Row:
    """Everything that is no single database's.

    Args:
        server: the row of `_report_sql.SERVER`.
        databases: the rows of `_report_sql.DATABASES`.
        names: of the databases that the report is about.

    Returns:
        How many connections there are; empty when that could not be seen.
    """
    if not server["sees_all"]:
        look.finding(
            "limited_rights",
            WARNING,
            f"The role {server['login']} does not see what others do, so queries, locks and some sizes are missing.",
            str(server["login"]),
            f"GRANT pg_monitor TO {server['login']};",
        )
    connections: Row = {}
    with look.part("Connections"):
        connections = _connections(look, limits)
    _wraparound(look, limits, databases)
    _checksums(look, databases)
    with look.part("Activity"):
        _activity(look, limits, names)
    with look.part("Blocked queries"):
        _blocked(look, limits, names)
    with look.part("Prepared transactions"):
        _prepared(look, limits, names)
    with look.part("Replication slots"):
        _slots(look, limits)
    with look.part("Settings"):
        _settings(look)
    return connections


def _connections(look: Look, limits: Thresholds) -> Row:
    found = look.row(sql.CONNECTIONS)
    usable = max(1, found["most"] - found["reserved"])
    percent = 100 * found["used"] / usable
    by = look.rows(sql.CONNECTIONS_BY)
    look.add(tables.CONNECTIONS, by)
    look.measure("connections_used", "Connections", found["used"], COUNT)
    look.measure("connections_percent", "Connections, of those to be had", round(percent, 1), PERCENT)
    severity = _judged(percent, limits.connections_warning, limits.connections_critical)
    if severity:
        most = f" Most are {by[0]['state']} and belong to {by[0]['user']} in {by[0]['database']}." if by else ""
        look.finding(
            "few_connections",
            severity,
            f"{found['used']} of {usable} connections are used ({percent:.0f} %); {found['reserved']} more of the"
            f" {found['most']} are reserved for superusers.{most}",
            "max_connections",
            "Let the application keep fewer (its pool's size times its processes), or put PgBouncer in between;"
            " `ALTER SYSTEM SET max_connections = …;` needs a restart and memory.",
        )
    return {**found, "usable": usable, "percent": round(percent, 1)}


def _wraparound(look: Look, limits: Thresholds, databases: Sequence[Row]) -> None:
    worst = 0.0
    for row in databases:
        age = max(row["xid_age"], row["multixact_age"])
        kind = "multixacts" if row["multixact_age"] > row["xid_age"] else "transactions"
        percent = row["wraparound_percent"] = round(100 * age / _WRAPAROUND, 1)
        worst = max(worst, percent)
        severity = _judged(percent, limits.wraparound_warning, limits.wraparound_critical)
        if severity:
            look.finding(
                "wraparound",
                severity,
                f"The oldest rows of {row['name']} are {age} {kind} old: {percent:.0f} % of the way to where the server"
                " stops taking writes. Autovacuum should have frozen them long ago.",
                str(row["name"]),
                "See what holds it back (old transactions, prepared ones, replication slots), then"
                " `vacuumdb --freeze --jobs 2 " + _argument(str(row["name"])) + "`.",
            )
    look.measure("wraparound_percent", "Way to wraparound", worst, PERCENT)


def _checksums(look: Look, databases: Sequence[Row]) -> None:
    for row in databases:
        if row["checksum_failures"]:
            look.finding(
                "checksum_failures",
                CRITICAL,
                f"{counted(row['checksum_failures'], 'page')} of {row['name']} did not match the checksum: the disk or"
                " the memory gave back other bytes than were written.",
                str(row["name"]),
                "Make no new backup over the old ones; look at the server's log and the disk (`dmesg`, `smartctl -a`),"
                " and restore a verified backup elsewhere to compare.",
            )


def _activity(look: Look, limits: Thresholds, names: Sequence[str]) -> None:
    oldest = 0.0
    rows = []
    for row in look.rows(sql.ACTIVITY.of(names=literals(names))):
        row = {**row, "query": shown(row["query"])}
        transaction, state = row["transaction_seconds"] or 0, row["state_seconds"] or 0
        oldest = max(oldest, transaction)
        idle = str(row["state"]).startswith("idle in transaction")
        application = f", {row['application']}" if row["application"] else ""
        who = f"Process {row['pid']} ({row['user']} in {row['database']}{application})"
        end = f"SELECT pg_terminate_backend({row['pid']});"
        told = len(look.findings)
        if idle and state >= limits.idle_in_transaction_age:
            look.finding(
                "idle_in_transaction",
                WARNING,
                f"{who} has been idle within a transaction for {roughly(state)}. It keeps its locks, and VACUUM from"
                " removing what died since.",
                str(row["pid"]),
                f"Find out why the application does not commit; end the session with `{end}`. In future:"
                " `ALTER SYSTEM SET idle_in_transaction_session_timeout = '10min';`.",
            )
        elif row["state"] == "active" and (row["query_seconds"] or 0) >= limits.active_query_age:
            look.finding(
                "long_query",
                WARNING,
                f"{who} has been at one query for {roughly(row['query_seconds'])}: {row['query']}",
                str(row["pid"]),
                f"Look at its plan with EXPLAIN; stop the query with `SELECT pg_cancel_backend({row['pid']});`.",
            )
        elif transaction >= limits.transaction_age:
            look.finding(
                "long_transaction",
                WARNING,
                f"{who} has had a transaction open for {roughly(transaction)}. VACUUM cannot remove what died since.",
                str(row["pid"]),
                f"Let the application commit more often; end the session with `{end}`.",
            )
        if len(look.findings) > told or transaction >= 1:
            rows.append(row)
    look.add(tables.ACTIVITY, rows)
    look.measure("oldest_transaction_seconds", "Oldest transaction", round(oldest, 1), SECONDS)


def _blocked(look: Look, limits: Thresholds, names: Sequence[str]) -> None:
    pairs = [
        {**row, "query": shown(row["query"]), "blocker_query": shown(row["blocker_query"])}
        for row in look.rows(sql.BLOCKED.of(names=literals(names)))
        if (row["seconds"] or 0) >= limits.blocked_age
    ]
    look.add(tables.BLOCKED, pairs)
    roots: dict[int, list[Row]] = {}
    for pair in pairs:
        if not pair["blocker_waits"]:
            roots.setdefault(pair["blocker"], []).append(pair)
    look.measure("blocked_sessions", "Sessions that wait for a lock", len({pair["pid"] for pair in pairs}), COUNT)
    for blocker, waiting in roots.items():
        longest = max(waiting, key=lambda pair: pair["seconds"])
        on = f" for {longest['relation']}" if longest["relation"] else ""
        prepared = blocker == 0
        who = "A prepared transaction" if prepared else f"Process {blocker} ({longest['blocker_user']})"
        doing = longest["blocker_state"] + (f": {longest['blocker_query']}" if longest["blocker_query"] else "")
        look.finding(
            "blocked",
            WARNING,
            f"{who} blocks {counted(len(waiting), 'session')}; process {longest['pid']} ({longest['user']} in"
            f" {longest['database']}) has waited{on} for {roughly(longest['seconds'])}. The one that blocks is {doing}",
            str(blocker),
            "`SELECT * FROM pg_prepared_xacts;` names it; `COMMIT PREPARED` or `ROLLBACK PREPARED` ends it."
            if prepared
            else f"If that is not about to end by itself: `SELECT pg_terminate_backend({blocker});`.",
        )


def _prepared(look: Look, limits: Thresholds, names: Sequence[str]) -> None:
    for row in look.rows(sql.PREPARED.of(names=literals(names))):
        if row["seconds"] >= limits.transaction_age:
            look.finding(
                "prepared_transaction",
                WARNING,
                f"A prepared transaction of {row['user']} in {row['database']} has waited for its end for"
                f" {roughly(row['seconds'])}. It keeps locks, and VACUUM from cleaning up, over restarts too.",
                str(row["database"]),
                "`SELECT gid FROM pg_prepared_xacts;` names it; in its database `ROLLBACK PREPARED 'GID';` ends it.",
            )


def _slots(look: Look, limits: Thresholds) -> None:
    rows = look.rows(sql.SLOTS)
    look.add(tables.SLOTS, rows)
    for row in rows:
        held, state = row["bytes"] or 0, row["wal_status"]
        drop = f"When its consumer is gone for good: `SELECT pg_drop_replication_slot('{row['name']}');`."
        name = f"The replication slot {row['name']} ({'in use' if row['active'] else 'used by nobody'})"
        if state in ("unreserved", "lost"):
            lost = "has lost WAL that its consumer needs, which must be set up anew"
            soon = "is about to lose WAL that its consumer needs"
            text = f"{name} {lost if state == 'lost' else soon} (max_slot_wal_keep_size)."
            look.finding("slot_lost", CRITICAL, text, str(row["name"]), drop)
        elif held >= limits.slot_size:
            look.finding(
                "slot_holds_wal",
                WARNING,
                f"{name} holds {format_size(held)} of WAL, which stays on disk until it has been read.",
                str(row["name"]),
                f"Look at why its consumer is behind. {drop}"
                " `ALTER SYSTEM SET max_slot_wal_keep_size = '10GB';` bounds it.",
            )


def _settings(look: Look) -> None:
    for row in look.rows(sql.SETTINGS.of(names=literals(_SETTINGS))):
        name = str(row["name"])
        bad, severity, means, advice = _SETTINGS.get(name, ("", "", "", ""))
        if name == "data_checksums" and row["setting"] == bad:
            advice = f"Stop the server, then as its user `{advice}`, and start it. It reads and writes all data once."
        if bad and row["setting"] == bad:
            look.finding("setting", severity, f"{name} is {bad}. {means}.", name, advice)
        if row["pending_restart"]:
            text = f"{name} was changed, and counts from the next restart on."
            look.finding("pending_restart", INFO, text, name, "Restart PostgreSQL when it suits.")


def _judged(percent: float, warning: float | None, critical: float | None) -> str:
    """The severity of a share, or nothing."""
    if critical is not None and percent >= critical:
        return CRITICAL
    return WARNING if warning is not None and percent >= warning else ""


def _argument(name: str) -> str:
    """A database's name in a shell's command line."""
    return f"--dbname={shlex.quote(name)}"
