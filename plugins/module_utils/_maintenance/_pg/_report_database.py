# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report on PostgreSQL: the tables of one database, what is dead or wasted in them, and how they are read.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..._durations import format_size, roughly
from ..._engines._pg._sql import literals
from .._section import COUNT, INFO, WARNING
from . import _report_sql as sql
from . import _report_tables as tables
from ._bloat import Field, btree_pages, heap_pages, wasted
from ._look import Look, Row
from ._report_indexes import look_at_indexes
from ._report_options import PGSTATTUPLE, Thresholds

_APPROXIMATED = 10
"""Tables that pgstattuple_approx reads at most: it has to look at the pages."""


class DatabaseLook:
    """One database, through the session that `look` uses.

    Args:
        about: the row of `_report_sql.DATABASES`.
        block: bytes of a page.
    """

    def __init__(self, look: Look, limits: Thresholds, about: Row, block: int, bloat: str) -> None:
        self._look, self._limits = look, limits
        self._about, self._block, self._bloat = about, block, bloat
        self.name = str(about["name"])

    def run(self) -> None:
        """All of it."""
        look = self._look
        found: list[Row] = []
        with look.part(f"Tables of {self.name}"):
            found = look.rows(sql.TABLES)
            self._sizes(found)
            self._dead_rows(found)
            self._never_analyzed(found)
            self._sequential_scans(found)
        by_oid = {row["oid"]: row for row in found}
        indexes: list[Row] = []
        with look.part(f"Indexes of {self.name}"):
            indexes = look.rows(sql.INDEXES)
            look_at_indexes(look, self._limits, self._about, indexes, by_oid)
        with look.part(f"Foreign keys of {self.name}"):
            self._foreign_keys(by_oid)
        with look.part(f"Bloat of {self.name}"):
            self._look_at_bloat(found, indexes)

    # -- tables -------------------------------------------------------------------------------------------------

    def _sizes(self, found: Iterable[Row]) -> None:
        rows = [
            {
                **row,
                "database": self.name,
                "bytes": row["heap_bytes"] + row["index_bytes"] + row["toast_bytes"],
                "rows": int(row["rows"]) if row["rows"] >= 0 else None,
            }
            for row in found
        ]
        self._look.add(tables.TABLE_SIZES, rows)

    def _dead_rows(self, found: Iterable[Row]) -> None:
        dead = 0
        for row in found:
            dead += row["dead_rows"]
            if not row["dead_rows"]:
                continue
            percent = round(100 * row["dead_rows"] / (row["dead_rows"] + row["live_rows"]), 1)
            self._look.add(tables.DEAD_ROWS, [{**row, "database": self.name, "dead_percent": percent}])
            if row["dead_rows"] >= self._limits.dead_rows and percent >= self._limits.dead_rows_percent:
                last = f"last vacuumed {row['last_vacuum']}" if row["last_vacuum"] else "not vacuumed as far as known"
                self._tell(
                    "dead_rows",
                    WARNING,
                    f"{row['dead_rows']} rows of {row['name']} in {self.name} are dead ({percent:.0f} %), {last}. Every"
                    " scan reads them, and their room is not used again.",
                    row,
                    f"VACUUM (ANALYZE) {row['name']};",
                    "If they stay, an old transaction or a replication slot still needs them; if they come back, lower"
                    " autovacuum_vacuum_scale_factor for this table.",
                )
        self._look.measure(f"dead_rows {self.name}", f"Dead rows of {self.name}", dead, COUNT)

    def _never_analyzed(self, found: Iterable[Row]) -> None:
        for row in found:
            if row["rows"] <= 0 and not row["last_analyze"] and row["heap_bytes"] >= self._limits.seq_scan_size:
                self._tell(
                    "never_analyzed",
                    WARNING,
                    f"{row['name']} in {self.name} ({format_size(row['heap_bytes'])}) was never analyzed, so queries of"
                    " it are planned by guessing.",
                    row,
                    f"ANALYZE {row['name']};",
                )

    def _sequential_scans(self, found: Iterable[Row]) -> None:
        limits = self._limits
        for row in found:
            if row["heap_bytes"] < limits.seq_scan_size or not row["seq_scans"]:
                continue
            each = row["seq_rows"] // row["seq_scans"]
            shown = {**row, "database": self.name, "bytes": row["heap_bytes"], "rows_per_scan": each}
            self._look.add(tables.SEQUENTIAL_SCANS, [shown])
            if row["seq_scans"] >= limits.seq_scans and each >= limits.seq_scan_rows:
                self._tell(
                    "sequential_scans",
                    WARNING,
                    f"{row['name']} in {self.name} ({format_size(row['heap_bytes'])}) was read from end to end"
                    f" {row['seq_scans']} times{self._since()}, {each} rows each. An index is probably missing.",
                    row,
                    f"SELECT query, calls, rows FROM pg_stat_statements WHERE query ILIKE '%{row['relation']}%'"
                    " ORDER BY calls DESC;"
                    if "'" not in row["relation"]
                    else "",
                    "Look at those queries with EXPLAIN, and index the columns that they filter by"
                    " (CREATE INDEX CONCURRENTLY). Reports and exports of whole tables are no fault.",
                )

    def _foreign_keys(self, by_oid: dict[int, Row]) -> None:
        rows = []
        for row in self._look.rows(sql.UNINDEXED_KEYS):
            table = by_oid.get(row["table_oid"])
            if table is None:
                continue
            size = table["heap_bytes"]
            rows.append({**row, "database": self.name, "bytes": size})
            if size >= self._limits.seq_scan_size:
                often = f" {row['changes']} were deleted or updated there{self._since()}." if row["changes"] else ""
                self._tell(
                    "foreign_key_without_index",
                    WARNING if row["changes"] else INFO,
                    f"The foreign key {row['constraint']} of {row['name']} in {self.name} has no index on"
                    f" ({row['columns']}): each row deleted from {row['referenced']} reads all"
                    f" {format_size(size)} of it.{often}",
                    table,
                    f"CREATE INDEX CONCURRENTLY ON {row['name']} ({row['columns']});",
                )
        self._look.add(tables.FOREIGN_KEYS, rows)

    # -- bloat --------------------------------------------------------------------------------------------------

    def _look_at_bloat(self, found: Sequence[Row], indexes: Sequence[Row]) -> None:
        """Of what could waste enough to be worth a word, in that it is as large as that."""
        pages = self._limits.bloat_size // self._block
        heaps = [row for row in found if row["rows"] > 0 and row["pages"] >= max(1, pages)]
        trees = [
            row
            for row in indexes
            if row["method"] == "btree" and row["valid"] and row["rows"] > 0 and row["pages"] >= max(1, pages)
        ]
        by_oid = {row["oid"]: row for row in found}
        trees = [row for row in trees if row["table_oid"] in by_oid]
        if not heaps and not trees:
            return
        fields = _Fields(self._look, heaps, trees, by_oid)
        rows = [each for each in (self._of_table(row, fields) for row in heaps) if each]
        rows += [each for each in (self._of_index(row, fields) for row in trees) if each]
        if self._bloat == PGSTATTUPLE:
            self._approximate(rows)
        unknown = len(heaps) + len(trees) - len(rows)
        if unknown:
            self._look.finding(
                "bloat_unknown",
                INFO,
                f"The bloat of {unknown} of {len(heaps) + len(trees)} large tables and indexes of {self.name} cannot be"
                " estimated: they were not analyzed, or the role that logs in may not read their statistics.",
                self.name,
                f"In {self.name}: `ANALYZE;`. A role that is no superuser needs pg_read_all_data (from 14 on) for it.",
            )
        self._look.add(tables.BLOAT, [row for row in rows if row["wasted_bytes"]])
        for row in sorted(rows, key=lambda each: -each["wasted_bytes"]):
            if row["wasted_bytes"] >= self._limits.bloat_size and row["wasted_percent"] >= self._limits.bloat_percent:
                self._tell_bloat(row)

    def _of_table(self, row: Row, fields: _Fields) -> Row | None:
        known = fields.of_table(row)
        needed = heap_pages(known, row["rows"], self._block, row["fill"] or 100) if known is not None else None
        return self._bloated(row, "table", row["heap_bytes"], needed)

    def _of_index(self, row: Row, fields: _Fields) -> Row | None:
        known = fields.of_index(row)
        needed = btree_pages(known, row["rows"], self._block, row["fill"] or 90) if known is not None else None
        return self._bloated(row, "index", row["bytes"], needed)

    def _bloated(self, row: Row, kind: str, size: int, needed: int | None) -> Row | None:
        if needed is None:
            return None
        bytes_ = wasted(row["pages"], needed, size)
        return {
            **row,
            "database": self.name,
            "kind": kind,
            "bytes": size,
            "wasted_bytes": bytes_,
            "wasted_percent": round(100 * bytes_ / size, 1) if size else 0.0,
            "method": "estimate",
        }

    def _approximate(self, rows: Sequence[Row]) -> None:
        """Let the server look at the tables that waste most; a table that takes too long keeps its estimate."""
        schema = self._look.row(sql.PGSTATTUPLE)["schema"]
        if schema is None:
            text = f"The extension pgstattuple is not in {self.name}, so its bloat is only estimated."
            advice = f"In {self.name}: `CREATE EXTENSION pgstattuple;`."
            self._look.finding("pgstattuple_missing", INFO, text, self.name, advice)
            return
        heaps = sorted((row for row in rows if row["kind"] == "table"), key=lambda row: -row["wasted_bytes"])
        for row in heaps[:_APPROXIMATED]:
            with self._look.part(f"Bloat of {row['name']} by pgstattuple_approx"):
                seen = self._look.row(sql.APPROXIMATE.of(schema=schema, oid=row["oid"]))
                row.update(
                    bytes=seen["bytes"],
                    wasted_bytes=seen["wasted"],
                    wasted_percent=round(100 * seen["wasted"] / max(1, seen["bytes"]), 1),
                    method="pgstattuple_approx",
                )

    def _tell_bloat(self, row: Row) -> None:
        about = "about " if row["method"] == "estimate" else ""
        if row["kind"] == "index":
            command = f"REINDEX INDEX CONCURRENTLY {row['name']};"
            more = "It needs room for a second copy, and lets everybody go on."
        else:
            command = f"VACUUM FULL {row['name']};"
            more = (
                "It locks the table until it is done and needs room for a second copy; pg_repack does not lock it."
                " Otherwise the room is used again by new rows, after a VACUUM."
            )
        self._tell(
            "bloat",
            WARNING,
            f"The {row['kind']} {row['name']} in {self.name} is {format_size(row['bytes'])} large, and {about}"
            f"{format_size(row['wasted_bytes'])} of that ({row['wasted_percent']:.0f} %) is empty or dead"
            f" ({row['method']}).",
            row,
            command,
            more,
        )

    # -- telling ------------------------------------------------------------------------------------------------

    def _tell(self, code: str, severity: str, text: str, row: Row, command: str, more: str = "") -> None:
        advice = f"In {self.name}: `{command}`" if command else ""
        self._look.finding(code, severity, text, f"{self.name}.{row['name']}", f"{advice} {more}".strip())

    def _since(self) -> str:
        """Since when the server has counted, as the end of a phrase."""
        age = self._about["stats_age"]
        return f" in {roughly(age)}" if age is not None else " since it began to count"


class _Fields:
    """What is known of the columns of large tables and indexes."""

    def __init__(self, look: Look, heaps: Sequence[Row], trees: Sequence[Row], by_oid: dict[int, Row]) -> None:
        self._by_oid = by_oid
        own = {row["oid"]: row for row in [*heaps, *trees]}
        tables_of = {row["table_oid"] for row in trees}
        oids = sorted({*own, *tables_of})
        named = [*heaps, *(by_oid[oid] for oid in tables_of), *(row for row in trees if 0 in row["columns"])]
        self._columns: dict[int, list[Row]] = {}
        for column in look.rows(sql.COLUMNS.of(oids=",".join(map(str, oids)))):
            self._columns.setdefault(column["oid"], []).append(column)
        widths = look.rows(sql.WIDTHS.of(names=literals(sorted({str(row["relation"]) for row in named}))))
        self._widths = {(row["schema"], row["relation"], row["name"]): row for row in widths}

    def of_table(self, row: Row) -> list[Field] | None:
        """None when one of them is not known."""
        columns = [column for column in self._columns.get(row["oid"], []) if not column["dropped"]]
        return _known(self._field(row, column, column["name"]) for column in columns)

    def of_index(self, row: Row) -> list[Field] | None:
        """Of columns as of the table's; of expressions, ANALYZE keeps statistics under the index's own name."""
        table = self._by_oid[row["table_oid"]]
        names = {column["number"]: column["name"] for column in self._columns.get(table["oid"], [])}
        own = self._columns.get(row["oid"], [])
        return _known(
            self._field(table, column, names.get(number)) if number else self._field(row, column, column["name"])
            for column, number in zip(own, row["columns"])
        )

    def _field(self, relation: Row, column: Row, name: Any) -> Field | None:
        width = self._widths.get((relation["schema"], relation["relation"], name))
        if width is None:
            return None
        return Field(float(width["width"]), float(width["nulls"]), column["length"], column["align"])


def _known(fields: Iterable[Field | None]) -> list[Field] | None:
    found = list(fields)
    return None if not found or None in found else [field for field in found if field is not None]
