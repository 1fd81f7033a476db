# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report on PostgreSQL: indexes that nobody uses, that exist twice, or that are broken.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..._durations import format_size, roughly
from .._section import INFO, WARNING
from . import _report_tables as tables
from ._look import Look, Row
from ._report_options import Thresholds


def look_at_indexes(
    look: Look, limits: Thresholds, about: Row, indexes: Sequence[Row], tables_by_oid: Mapping[int, Row]
) -> None:
    """Judge the indexes of a database.

    Args:
        about: the row of `_report_sql.DATABASES`.
        indexes: the rows of `_report_sql.INDEXES`.
        tables_by_oid: the rows of `_report_sql.TABLES`.
    """
    known = [
        {**row, "table": tables_by_oid[row["table_oid"]]["name"], "database": about["name"]}
        for row in indexes
        if row["table_oid"] in tables_by_oid
    ]
    spare = _duplicates(look, known)
    _invalid(look, known)
    _unused(look, limits, about, [row for row in known if row["oid"] not in spare], tables_by_oid)


def _unused(
    look: Look, limits: Thresholds, about: Row, indexes: Iterable[Row], tables_by_oid: Mapping[int, Row]
) -> None:
    """Those that were not read although their table was: a table that nobody read proves nothing.

    An index of a partition cannot go alone, so it is not judged.
    """
    found = []
    for row in indexes:
        table = tables_by_oid[row["table_oid"]]
        reads = table["seq_scans"] + table["index_scans"]
        droppable = not (row["needed"] or row["is_unique"] or row["of_partition"]) and row["valid"]
        large = row["bytes"] >= limits.unused_index_size
        if droppable and large and not row["scans"] and reads >= limits.unused_index_reads:
            found.append({**row, "table_reads": reads})
    look.add(tables.UNUSED_INDEXES, found)
    age = about["stats_age"]
    young = age is not None and age < limits.unused_index_age
    since = "since the server began to count" if age is None else f"in the {roughly(age)} that are counted"
    again = f"That is less than {roughly(limits.unused_index_age)}, too short to judge: look again. " if young else ""
    for row in sorted(found, key=lambda each: -each["bytes"]):
        look.finding(
            "unused_index",
            INFO if young else WARNING,
            f"The index {row['name']} in {row['database']} ({format_size(row['bytes'])}) was not used {since}, while"
            f" {row['table']} was read {row['table_reads']} times. Every write pays for it.",
            f"{row['database']}.{row['name']}",
            f"{again}Replicas have statistics of their own: look there too, and at what runs once a month. Then in"
            f" {row['database']}: `SELECT pg_get_indexdef('{_quoted(row['name'])}'::regclass);` to note it, and"
            f" `DROP INDEX CONCURRENTLY {row['name']};`",
        )


def _duplicates(look: Look, indexes: Iterable[Row]) -> set[int]:
    """Tell of groups that index the same; returns the OIDs of those that could go."""
    groups: dict[str, list[Row]] = {}
    for row in indexes:
        if row["valid"] and not row["of_partition"]:
            groups.setdefault(row["signature"], []).append(row)
    spare: set[int] = set()
    for group in groups.values():
        kept = max(group, key=lambda row: (row["is_primary"], row["needed"], row["is_unique"], row["scans"]))
        for row in group:
            if row is kept or (row["is_unique"] and row["unique_kind"] != kept["unique_kind"]):
                continue
            spare.add(row["oid"])
            look.add(tables.INDEX_PROBLEMS, [{**row, "problem": f"the same as {kept['name']}"}])
            if row["needed"]:
                advice = (
                    f"Both serve a constraint or replication: `\\d {row['table']}` shows which. Drop the constraint."
                )
            else:
                advice = f"In {row['database']}: `DROP INDEX CONCURRENTLY {row['name']};`"
            look.finding(
                "duplicate_index",
                WARNING,
                f"The index {row['name']} in {row['database']} ({format_size(row['bytes'])}) indexes the same as"
                f" {kept['name']}. Every write pays for both.",
                f"{row['database']}.{row['name']}",
                advice,
            )
    return spare


def _invalid(look: Look, indexes: Iterable[Row]) -> None:
    """What CREATE INDEX CONCURRENTLY left when it failed; not what it is building now."""
    for row in indexes:
        if row["valid"] or row["building"]:
            continue
        look.add(tables.INDEX_PROBLEMS, [{**row, "problem": "invalid"}])
        # What REINDEX CONCURRENTLY leaves is called after the index that it was to replace.
        left = row["relation"].rstrip("0123456789").endswith(("_ccnew", "_ccold"))
        command = f"DROP INDEX CONCURRENTLY {row['name']};" if left else f"REINDEX INDEX CONCURRENTLY {row['name']};"
        look.finding(
            "invalid_index",
            WARNING,
            f"The index {row['name']} of {row['table']} in {row['database']} is invalid: no query uses it, and every"
            " write pays for it. Building it was interrupted, or a value was not unique.",
            f"{row['database']}.{row['name']}",
            f"In {row['database']}: `{command}`",
        )


def _quoted(name: str) -> str:
    return name.replace("'", "''")
