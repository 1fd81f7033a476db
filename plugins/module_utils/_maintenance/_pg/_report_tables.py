# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of the report on PostgreSQL: their columns, their order, and what a reader must know of them.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

from .._section import BYTES, CODE, COUNT, PERCENT, SECONDS, TIME, Column
from ._look import Kind

_DATABASE = Column("database", "Database")
_USER = Column("user", "User")
_NAME = Column("name", "Table", CODE)
_INDEX = Column("name", "Index", CODE)
_TABLE = Column("table", "Table", CODE)
_QUERY = Column("query", "Query", CODE)
_PID = Column("pid", "Process", COUNT)
_BYTES = Column("bytes", "Size", BYTES)
_LATEST = (Column("last_vacuum", "Last vacuum", TIME), Column("last_analyze", "Last analyze", TIME))

DATABASES = Kind(
    "databases",
    "Databases",
    (
        Column("name", "Database"),
        _BYTES,
        Column("wraparound_percent", "Way to wraparound", PERCENT),
        Column("deadlocks", "Deadlocks", COUNT),
        Column("temp_bytes", "Written to temporary files", BYTES),
        Column("stats_reset", "Counted since", TIME),
    ),
    ("bytes",),
    "bytes",
)
CONNECTIONS = Kind(
    "connections",
    "Connections",
    (_DATABASE, _USER, Column("state", "State"), Column("connections", "Connections", COUNT)),
    ("connections",),
)
TABLE_SIZES = Kind(
    "table_sizes",
    "Largest tables",
    (
        _NAME,
        _DATABASE,
        Column("bytes", "Together", BYTES),
        Column("heap_bytes", "Rows", BYTES),
        Column("index_bytes", "Indexes", BYTES),
        Column("toast_bytes", "Long values (TOAST)", BYTES),
        Column("rows", "Rows (estimated)", COUNT),
    ),
    ("bytes",),
    "bytes",
)
BLOAT = Kind(
    "bloat",
    "Bloat",
    (
        Column("name", "Table or index", CODE),
        _DATABASE,
        Column("kind", "Kind"),
        _BYTES,
        Column("wasted_bytes", "Wasted", BYTES),
        Column("wasted_percent", "Wasted", PERCENT),
        Column("method", "How it is known"),
    ),
    ("wasted_bytes",),
    "wasted_bytes",
    "An estimate comes from the statistics of the last ANALYZE and errs towards less; pgstattuple_approx has looked.",
)
DEAD_ROWS = Kind(
    "dead_rows",
    "Dead rows",
    (
        _NAME,
        _DATABASE,
        Column("dead_rows", "Dead rows", COUNT),
        Column("live_rows", "Live rows", COUNT),
        Column("dead_percent", "Dead", PERCENT),
        *_LATEST,
    ),
    ("dead_rows",),
    "dead_rows",
)
UNUSED_INDEXES = Kind(
    "unused_indexes",
    "Unused indexes",
    (_INDEX, _TABLE, _DATABASE, _BYTES, Column("table_reads", "Reads of its table since", COUNT)),
    ("bytes",),
    "bytes",
    "Counted on this server alone: a replica that is read from has statistics of its own.",
)
INDEX_PROBLEMS = Kind(
    "index_problems",
    "Duplicate and invalid indexes",
    (_INDEX, _TABLE, _DATABASE, Column("problem", "Problem"), _BYTES),
    ("bytes",),
)
SEQUENTIAL_SCANS = Kind(
    "sequential_scans",
    "Sequential scans of large tables",
    (
        _NAME,
        _DATABASE,
        _BYTES,
        Column("seq_scans", "Sequential scans", COUNT),
        Column("rows_per_scan", "Rows read for each", COUNT),
        Column("seq_rows", "Rows read together", COUNT),
        Column("index_scans", "Index scans", COUNT),
    ),
    ("seq_rows",),
    "seq_rows",
)
FOREIGN_KEYS = Kind(
    "foreign_keys",
    "Foreign keys without an index",
    (
        _NAME,
        Column("columns", "Columns", CODE),
        Column("referenced", "Refers to", CODE),
        _DATABASE,
        _BYTES,
        Column("changes", "Deletes and updates there", COUNT),
    ),
    ("bytes",),
)
_TIMES = (
    Column("total_seconds", "Together", SECONDS),
    Column("mean_seconds", "On average", SECONDS),
    Column("calls", "Calls", COUNT),
    Column("rows", "Rows", COUNT),
    Column("share", "Of all time", PERCENT),
)
QUERIES_BY_TOTAL = Kind(
    "queries_by_total_time",
    "Queries by the time they took together",
    (_QUERY, _DATABASE, _USER, *_TIMES),
    ("total_seconds",),
    "total_seconds",
)
QUERIES_BY_MEAN = Kind(
    "queries_by_mean_time",
    "Queries by the time that one takes",
    (_QUERY, _DATABASE, _USER, *_TIMES),
    ("mean_seconds",),
    "mean_seconds",
)
ACTIVITY = Kind(
    "activity",
    "Transactions that go on",
    (
        _PID,
        _DATABASE,
        _USER,
        Column("application", "Application"),
        Column("state", "State"),
        Column("transaction_seconds", "Transaction", SECONDS),
        Column("state_seconds", "In this state", SECONDS),
        Column("waits", "Waits for"),
        _QUERY,
    ),
    ("transaction_seconds", "state_seconds"),
)
BLOCKED = Kind(
    "blocked",
    "Who blocks whom",
    (
        _PID,
        _DATABASE,
        _USER,
        Column("seconds", "Waits", SECONDS),
        Column("relation", "For", CODE),
        _QUERY,
        Column("blocker", "Blocked by", COUNT),
        Column("blocker_user", "Who is"),
        Column("blocker_state", "And is"),
        Column("blocker_query", "With", CODE),
    ),
    ("seconds",),
)
SLOTS = Kind(
    "replication_slots",
    "Replication slots",
    (
        Column("name", "Slot"),
        Column("kind", "Kind"),
        _DATABASE,
        Column("active", "Active"),
        Column("bytes", "WAL held", BYTES),
        Column("wal_status", "WAL"),
    ),
    ("bytes",),
)

KINDS = (
    DATABASES,
    CONNECTIONS,
    ACTIVITY,
    BLOCKED,
    TABLE_SIZES,
    BLOAT,
    DEAD_ROWS,
    QUERIES_BY_TOTAL,
    QUERIES_BY_MEAN,
    SEQUENTIAL_SCANS,
    FOREIGN_KEYS,
    UNUSED_INDEXES,
    INDEX_PROBLEMS,
    SLOTS,
)
"""In the order of the report."""
