# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests of maintenance share: a run as a small production host would give it, with a past."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._report._figures import remember
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._run_model import Failure, Run, TaskResult
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._section import (
    BYTES,
    CODE,
    COUNT,
    CRITICAL,
    INFO,
    PERCENT,
    SECONDS,
    TIME,
    WARNING,
    Column,
    Finding,
    Measure,
    Section,
    Table,
    table_of,
)
from ansible_collections.holdfast.ops.plugins.module_utils._manifest import rfc3339

STARTED = datetime(2026, 11, 22, 6, 30, 0, 123000, tzinfo=timezone.utc)
MIB, GIB = 2**20, 2**30


def sample_run(started: datetime = STARTED, part: str = "daily") -> Run:
    """Six tasks of which one failed: findings of every severity, tables with bars, figures, a planned purge."""
    age = (STARTED - started) / timedelta(days=1)
    return Run(
        host="omnidoc-1.example.org",
        part=part,
        started=started,
        seconds=4.218,
        tasks=(
            TaskResult("database", "postgresql_report", 1.904, _database(age)),
            TaskResult("cache", "redis_report", 0.212, _cache(age)),
            TaskResult("old_projects", "postgresql_purge", 0.388, _purge()),
            TaskResult("host", "host_report", 0.641, _host(age)),
            TaskResult("logs", "log_report", 0.094, _logs()),
            TaskResult(
                "packages",
                "package_report",
                3.02,
                failure=Failure(
                    "timeout",
                    "apt did not answer within 3 s.",
                    "Look whether another one holds the lock: `lsof /var/lib/dpkg/lock-frontend`.",
                ),
            ),
        ),
    )


def past(directory: str | Path, *, days: int = 30, started: datetime = STARTED) -> None:
    """The figures of earlier daily runs, in the directory of the reports."""
    for day in range(days, 0, -1):
        remember(str(directory), sample_run(started - timedelta(days=day)))


def with_texts(run: Run, text: str) -> Run:
    """The same run with a text in every place that holds a text of anybody's choosing."""
    return replace(
        run,
        host=text,
        tasks=tuple(
            replace(
                task,
                name=text,
                kind=text,
                section=_with_text(task.section, text) if task.section else None,
                failure=Failure(text, text, text) if task.failure else None,
            )
            for task in run.tasks
        ),
    )


def _with_text(section: Section, text: str) -> Section:
    return replace(
        section,
        title=text,
        summary=text,
        findings=[replace(each, code=text, text=text, subject=text, advice=text) for each in section.findings],
        measures=[replace(each, name=text, title=text) for each in section.measures],
        tables=[
            replace(
                table,
                name=text,
                title=text,
                note=text,
                columns=[replace(column, title=text) for column in table.columns],
                rows=[
                    {key: text if isinstance(value, str) else value for key, value in row.items()} for row in table.rows
                ],
            )
            for table in section.tables
        ],
    )


def _database(age: float) -> Section:
    size = 13.4 * GIB - age * 61 * MIB + 90 * MIB * math.sin(age)
    return Section(
        title="PostgreSQL: database omnidoc",
        summary="PostgreSQL 16.4, up since 2026-10-30; 13.4 GiB in 48 tables, 27 of 100 connections are used.",
        findings=(
            Finding(
                "blocked_query",
                CRITICAL,
                "A session has waited for 14 min for a lock that process 48211 (omnidoc-celery) holds.",
                "public.documents",
                "Look what it does; end it when nobody misses it: `SELECT pg_terminate_backend(48211);`",
            ),
            Finding(
                "bloated_table",
                WARNING,
                "38.2 % of 2.1 GiB are dead rows; autovacuum was last here 9 days ago.",
                "public.document_chunks",
                "VACUUM (ANALYZE, VERBOSE) public.document_chunks",
            ),
            Finding(
                "unused_index",
                WARNING,
                "The index takes 412 MiB and was not read once in 24 days, since statistics are kept.",
                "public.documents_legacy_status_idx",
                "If no replica reads it either: `DROP INDEX CONCURRENTLY public.documents_legacy_status_idx;`",
            ),
            Finding(
                "no_checksums",
                INFO,
                "Data checksums are off, so a damaged page is only noticed when it is read as nonsense.",
                advice="They can be switched on with `pg_checksums --enable` while the server is stopped.",
            ),
        ),
        tables=(_table_sizes(), _slow_queries()),
        measures=(
            Measure("database_bytes", "Size of the database", round(size), BYTES),
            Measure("connections", "Connections", 27 - round(age) % 7, COUNT),
            Measure("cache_hit", "Found in the cache", 99.1 - (age % 5) / 4, PERCENT),
        ),
    )


def _table_sizes() -> Table:
    names = [
        "document_chunks",
        "documents",
        "embeddings",
        "audit_log",
        "conversations",
        "messages",
        "users",
        "projects",
    ]
    rows = [
        {
            "table": f"public.{name}",
            "bytes": round(6.1 * GIB / (place + 1) ** 1.7),
            "rows": round(9_412_388 / (place + 1) ** 2),
            "dead": max(38.2 - 9.4 * place, 0.3),
            "vacuumed": None if place == 6 else f"2026-11-{21 - place:02}T03:1{place}:00.000Z",
        }
        for place, name in enumerate(names)
    ]
    columns = (
        Column("table", "Table", CODE),
        Column("bytes", "Size with indexes", BYTES),
        Column("rows", "Rows, about", COUNT),
        Column("dead", "Dead", PERCENT),
        Column("vacuumed", "Last vacuum", TIME),
    )
    note = "40 smaller tables, 211 MiB together, are not shown."
    return table_of("table_sizes", "Largest tables", columns, rows, note=note, plot="bytes")


def _slow_queries() -> Table:
    nearest = (
        "SELECT c.id, c.content, c.embedding <=> $1 AS distance FROM document_chunks c JOIN documents d ON d.id ="
        " c.document_id WHERE d.project_id = $2 ORDER BY distance LIMIT $3"
    )
    queries: Sequence[tuple[str, int, float, float]] = (
        (nearest, 88_120, 0.0412, 3630.5),
        ("UPDATE documents SET status = $1, updated_at = now() WHERE id = $2", 240_911, 0.0021, 505.9),
        ("SELECT count(*) FROM messages WHERE conversation_id = $1 AND role || $2 = $3", 12_007, 0.0184, 220.9),
        ("SELECT * FROM users WHERE lower(email) = $1", 1_204_118, 0.00008, 96.3),
    )
    columns = (
        Column("query", "Query", CODE),
        Column("calls", "Calls", COUNT),
        Column("mean", "Mean", SECONDS),
        Column("total", "Total", SECONDS),
    )
    rows = [dict(zip(("query", "calls", "mean", "total"), each)) for each in queries]
    return Table("slow_queries", "Queries that took the most time", columns, rows, plot="total")


def _cache(age: float) -> Section:
    return Section(
        title="Redis: 127.0.0.1:6379",
        summary="Valkey 8.0.1 holds 214,003 keys in 612 MiB of 1 GiB; policy allkeys-lru.",
        findings=(
            Finding(
                "big_key",
                WARNING,
                "One key holds 211 MiB in 1,904,112 elements.",
                "queue:dead",
                "redis-cli UNLINK queue:dead",
            ),
        ),
        tables=(
            Table(
                "big_keys",
                "Biggest keys",
                (Column("key", "Key", CODE), Column("type", "Type"), Column("bytes", "Memory", BYTES)),
                (
                    {"key": "queue:dead", "type": "list", "bytes": 211 * MIB},
                    {"key": "cache:projects:*", "type": "hash", "bytes": 34 * MIB},
                    {"key": "session:4f1c", "type": "string", "bytes": 812 * 1024},
                ),
                plot="bytes",
            ),
        ),
        measures=(Measure("memory_bytes", "Memory", round((612 - 3.1 * age - 40 * (age % 3)) * MIB), BYTES),),
    )


def _purge() -> Section:
    return Section(
        title="Purge: public.projects older than 90 days",
        summary="1,234 of 48,110 rows would be deleted in 3 batches.",
        findings=(Finding("would_purge", INFO, "1,234 rows have not been updated for 90 days.", "public.projects"),),
        changed=True,
    )


def _logs() -> Section:
    begin = STARTED.replace(minute=0, second=0, microsecond=0) - timedelta(hours=23)
    counts = [0, 0, 1, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 3, 0, 0, 41, 388, 112, 9, 2, 0, 1]
    rows = [{"hour": rfc3339(begin + timedelta(hours=hour)), "errors": count} for hour, count in enumerate(counts)]
    columns = (Column("hour", "From", TIME), Column("errors", "Errors", COUNT))
    return Section(
        title="Errors in logs: 1d",
        summary="560 errors in a day, most of them between midnight and three.",
        findings=(
            Finding(
                "error_burst",
                WARNING,
                "388 errors in one hour, and 1 in an ordinary one: connection to server at ? failed.",
                "/var/log/omnidoc/backend.log",
                "journalctl --unit=omnidoc-backend --since='2026-11-22 00:00' --priority=err",
            ),
        ),
        tables=(Table("errors_by_hour", "Errors by hour", columns, rows, plot="errors"),),
    )


def _host(age: float) -> Section:
    return Section(
        title="Host: Debian 13, 2 CPUs, 8 GiB",
        summary="Up for 23 days, load 0.42; /srv is nearly full.",
        findings=(
            Finding(
                "disk_full",
                CRITICAL,
                "The file system is 96 % full: 7.8 GiB are left, and at its pace of a week it is full in 5 days.",
                "/srv",
                "See what grew: `du --one-file-system --human-readable --max-depth=2 /srv | sort -h | tail`",
            ),
        ),
        tables=(
            Table(
                "file_systems",
                "File systems",
                (
                    Column("mount", "Mounted at", CODE),
                    Column("used", "Used", PERCENT),
                    Column("free", "Free", BYTES),
                    Column("size", "Size", BYTES),
                ),
                (
                    {"mount": "/srv", "used": 96.1, "free": round(7.8 * GIB), "size": 200 * GIB},
                    {"mount": "/", "used": 41.0, "free": round(23.6 * GIB), "size": 40 * GIB},
                    {"mount": "/boot", "used": 22.7, "free": 362 * MIB, "size": 469 * MIB},
                ),
                plot="used",
            ),
            Table("zombies", "Zombies", (Column("pid", "Process", COUNT), Column("name", "Name")), ()),
        ),
        measures=(
            Measure("srv_used", "Used of /srv", 96.1 - 0.42 * age, PERCENT),
            Measure("load", "Load", abs(0.42 + 0.3 * math.sin(age)), COUNT),
        ),
    )
