# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is purged: which rows of a table, what refers to them, and what acts on their deletion.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..._declaration._report import Report
from ..._durations import parse_duration
from ..._engines._pg._selection import Pattern
from ..._engines._pg._sql import Session, identifier, literal
from ..._errors import InvalidOption, NotFound, Unsupported
from ._options import examine_duration, examine_tables

TIME_TYPES: Mapping[int, str] = {1082: "date", 1114: "timestamp", 1184: "timestamptz"}
"""Types of a column that says how old a row is, by OID."""

_TEXT, _VARCHAR = 25, 1043
"""Further OIDs of types: what is too long for the latter is refused and not cut."""

CASCADE, SET_NULL, SET_DEFAULT = "c", "n", "d"
CHANGING: Mapping[str, str] = {CASCADE: "deleted", SET_NULL: "set to NULL", SET_DEFAULT: "set to their default"}
"""What a foreign key does to referring rows when the row goes; others (NO ACTION, RESTRICT) do not let it go."""

TABLE_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "table": {"type": "str"},
    "column": {"type": "str"},
    "older_than": {"type": "str"},
    "where": {"type": "dict", "default": {}},
    "condition": {"type": "str"},
    "archive_table": {"type": "str"},
}

_RELATIONS = """
SELECT c.oid::bigint AS oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind,
       (SELECT json_agg(json_build_object('name', a.attname, 'type', coalesce(nullif(t.typbasetype, 0), t.oid)::bigint,
               'exact', a.atttypid::bigint, 'modifier', a.atttypmod, 'shown', format_type(a.atttypid, a.atttypmod),
               'generated', a.attgenerated <> '') ORDER BY a.attnum)
          FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
         WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
       EXISTS (SELECT FROM pg_rewrite w WHERE w.ev_class = c.oid AND w.ev_type = '4') AS ruled,
       greatest(c.reltuples, 0)::bigint AS estimate, c.relpersistence = 'u' AS unlogged
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relname = {name} AND {schema}"""

_TREE = """
WITH RECURSIVE tree (oid) AS (
    SELECT {oid}::oid UNION SELECT i.inhrelid FROM pg_inherits i JOIN tree ON tree.oid = i.inhparent)"""

_LEAVES = (
    _TREE
    + """
SELECT c.oid::bigint AS oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind,
       EXISTS (SELECT FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam
                 JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
                WHERE i.indrelid = c.oid AND i.indisvalid AND i.indpred IS NULL AND m.amname = 'btree'
                  AND a.attname = {column}) AS indexed
  FROM tree JOIN pg_class c ON c.oid = tree.oid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind <> 'p' ORDER BY n.nspname, c.relname"""
)

_TRIGGERS = (
    _TREE
    + """
SELECT DISTINCT t.tgname AS name FROM pg_trigger t JOIN tree ON tree.oid = t.tgrelid
 WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND t.tgtype & 8 <> 0 ORDER BY 1"""
)

# A foreign key has copies for the partitions of both sides: that one counts whose original refers to nothing of the
# tree. What is equal, its own operators say: those of a type from an extension are not on our search_path.
_REFERENCES = (
    _TREE
    + """
SELECT k.conname AS name, k.confdeltype AS action, k.conrelid::bigint AS child, n.nspname AS schema, c.relname AS table,
       (SELECT json_agg(a.attname ORDER BY u.n) FROM unnest(k.conkey) WITH ORDINALITY u (num, n)
          JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.num) AS columns,
       (SELECT json_agg(a.attname ORDER BY u.n) FROM unnest(k.confkey) WITH ORDINALITY u (num, n)
          JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.num) AS referred,
       (SELECT json_agg(format('OPERATOR(%I.%s)', p.nspname, o.oprname) ORDER BY u.n)
          FROM unnest(k.conpfeqop) WITH ORDINALITY u (op, n) JOIN pg_operator o ON o.oid = u.op
          JOIN pg_namespace p ON p.oid = o.oprnamespace) AS equals,
       EXISTS (SELECT FROM pg_index i WHERE i.indrelid = k.conrelid AND i.indisvalid AND i.indpred IS NULL
                  AND i.indkey[0] = ANY (k.conkey)) AS indexed
  FROM pg_constraint k JOIN tree ON tree.oid = k.confrelid
  JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE k.contype = 'f' AND NOT EXISTS (SELECT FROM pg_constraint o JOIN tree ON tree.oid = o.confrelid
                                          WHERE o.oid = k.conparentid)
 ORDER BY n.nspname, c.relname, k.conname"""
)


@dataclass(frozen=True)
class Declared:
    """What one table's options say."""

    table: str
    column: str
    seconds: float
    where: Mapping[str, Any]
    condition: str | None
    archive_table: str | None


@dataclass(frozen=True)
class Leaf:
    """A table that holds rows itself: the one that was named, or one of its partitions or children.

    Attributes:
        indexed: whether an index leads with the column that says how old a row is.
    """

    oid: int
    schema: str
    name: str
    indexed: bool

    @property
    def sql(self) -> str:
        return identifier(self.schema, self.name)


@dataclass(frozen=True)
class Reference:
    """A foreign key that refers to the table.

    Attributes:
        equals: for each pair of columns, the operator between the one that is referred to and the one that refers.
    """

    name: str
    action: str
    child: int
    schema: str
    table: str
    columns: Sequence[str]
    referred: Sequence[str]
    equals: Sequence[str]
    indexed: bool

    @property
    def title(self) -> str:
        return f"{self.schema}.{self.table}"

    def exists(self, but_not: str = "") -> str:
        """That a row refers to `t`, as SQL.

        Args:
            but_not: rows of the referring table (alias `k`) that do not count.
        """
        pairs = zip(self.columns, self.referred, self.equals)
        equal = " AND ".join(f"t.{identifier(b)} {operator} k.{identifier(a)}" for a, b, operator in pairs)
        more = f" AND NOT coalesce({but_not}, false)" if but_not else ""
        return f"EXISTS (SELECT FROM {identifier(self.schema, self.table)} k WHERE {equal}{more})"


@dataclass(frozen=True)
class Target:
    """A table to purge, as it is on the server.

    Attributes:
        cutoff: rows older than this go, as the server writes a value of the column's type (in UTC).
        columns: all that hold a value of their own; generated ones are left out.
        guards: foreign keys whose rows must not be there for a row to go.
        estimate: rows in the table, as the planner believes.
    """

    declared: Declared
    oid: int
    schema: str
    name: str
    kind: str
    type: str
    cutoff: str
    columns: tuple[str, ...]
    leaves: tuple[Leaf, ...]
    references: tuple[Reference, ...]
    triggers: tuple[str, ...]
    estimate: int
    guards: tuple[Reference, ...] = field(default=())

    @property
    def title(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def sql(self) -> str:
        return identifier(self.schema, self.name)

    @property
    def filtered(self) -> bool:
        """Whether more than the age decides, so that most rows of an age may have to stay."""
        return bool(self.declared.where or self.declared.condition or self.guards)

    def meant(self, alias: str = "t") -> str:
        """Which rows are meant, as SQL about an alias; guards aside."""
        parts = [f"{alias}.{identifier(self.declared.column)} < {literal(self.cutoff)}::{self.type}"]
        parts += [comparison(f"{alias}.{identifier(c)}", value) for c, value in self.declared.where.items()]
        if self.declared.condition:
            # A comment at its end must not take the parenthesis with it.
            parts.append(f"({self.declared.condition}\n)")
        return "(" + " AND ".join(parts) + ")"

    def deletable(self, purged: Mapping[int, str] | None = None) -> str:
        """Which rows may go, as SQL about `t`.

        Args:
            purged: what of other tables will have gone by then, from `purged_before`.
        """
        gone = purged or {}
        return " AND ".join([self.meant(), *(f"NOT {each.exists(gone.get(each.child, ''))}" for each in self.guards)])

    def guarded(self, cascade: bool, archived: bool) -> Target:
        """The same, with those foreign keys as guards whose rows must not be touched.

        Rows that would go with an archived one would be in no archive.
        """
        free = {SET_NULL, SET_DEFAULT, *(() if archived else (CASCADE,))} if cascade else set()
        return replace(self, guards=tuple(each for each in self.references if each.action not in free))


def comparison(column: str, value: Any) -> str:
    """A comparison of a column with a value, a list of values, or NULL; values are literals that its type reads."""
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    texts = [_text(each) for each in values if each is not None]
    parts = [f"{column} IN ({', '.join(literal(each) for each in texts)})"] if texts else []
    parts += [f"{column} IS NULL"] if None in values else []
    return parts[0] if len(parts) == 1 else "(" + " OR ".join(parts) + ")"


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def declared_tables(options: Mapping[str, Any]) -> list[Declared]:
    """What is to be purged, in the order in which it was given."""
    one = {name: options.get(name) for name in TABLE_OPTIONS}
    return [
        Declared(
            str(each["table"]),
            str(each["column"]),
            parse_duration(str(each.get("older_than") or options["older_than"])).total_seconds(),
            dict(each.get("where") or {}),
            each.get("condition") or None,
            each.get("archive_table") or None,
        )
        for each in (options.get("tables") or [one])
    ]


def examine_table(each: Mapping[str, Any], report: Report) -> None:
    """Add what is wrong with the options of one table."""
    for name in ("table", "archive_table"):
        if each.get(name):
            examine_tables({name: [each[name]]}, name, report)
            if "*" in each[name] or "?" in each[name]:
                report.key(name).add("must be one table; wildcards would delete from whatever comes to match")
    examine_duration(each, "older_than", report)
    for column, value in (each.get("where") or {}).items():
        values = value if isinstance(value, (list, tuple)) else [value]
        if not values or any(isinstance(one, (Mapping, list, tuple)) for one in values):
            report.key("where").key(str(column)).add("must be a value or a list of values, which the column may equal")
    if each.get("condition") is not None and not str(each["condition"]).strip():
        report.key("condition").add("is empty")


def names_of(text: str, option: str) -> list[str]:
    """The name of a table that has no wildcards: it alone, or after its schema."""
    return ["".join(piece[0] for piece in part) for part in Pattern.parse(text, option, 2).parts]


def find(session: Session, text: str, option: str, timeout: float) -> dict[str, Any] | None:
    """The relation of a name, or None.

    Raises:
        InvalidOption: several schemas have one.
    """
    *schemas, name = names_of(text, option)
    where = f"n.nspname = {literal(schemas[0])}" if schemas else "n.nspname !~ '^(pg_|information_schema$)'"
    rows = session.rows(_RELATIONS.format(name=literal(name), schema=where), timeout)
    if len(rows) > 1:
        raise InvalidOption(
            f"{option}: {text!r} is a table of several schemas: {', '.join(sorted(r['schema'] for r in rows))}.",
            stage="preflight",
            hint="Write schema.table.",
        )
    return rows[0] if rows else None


def lossy(columns: Sequence[Mapping[str, Any]], archive: Sequence[Mapping[str, Any]]) -> list[str]:
    """Columns whose values an archive might round or cut without a word, as `name (its type → the archive's)`.

    Args:
        columns, archive: from `find`.
    """
    there = {str(each["name"]): each for each in archive}
    pairs = [(each, there[str(each["name"])]) for each in columns if not each["generated"] and each["name"] in there]
    return [f"{a['name']} ({a['shown']} → {b['shown']})" for a, b in pairs if not _holds(b, a)]


def _holds(archive: Mapping[str, Any], column: Mapping[str, Any]) -> bool:
    """Whether every value goes into a column unchanged, or is refused."""
    if archive["exact"] == _TEXT:
        return True
    if archive["exact"] not in (column["exact"], column["type"]):
        return False
    return archive["modifier"] in (-1, column["modifier"]) or archive["exact"] == _VARCHAR


def resolve(session: Session, declared: Declared, timeout: float) -> Target:
    """The table that was declared, as it is.

    Raises:
        NotFound: there is no such table, or no such column.
        InvalidOption, Unsupported: it cannot be purged like this.
    """
    row = find(session, declared.table, "table", timeout)
    if row is None:
        raise NotFound(f"There is no table {declared.table!r} in {session.database!r}.", stage="preflight")
    title = f"{row['schema']}.{row['name']}"
    if row["kind"] not in "rp":
        raise InvalidOption(f"{title} is no table, but a view or a foreign table.", stage="preflight")
    if row["ruled"]:
        raise Unsupported(
            f"{title} has a rule ON DELETE, so that nobody knows what a deletion does.", stage="preflight"
        )
    types = {str(column["name"]): int(column["type"]) for column in row["columns"] or ()}
    missing = [name for name in (declared.column, *declared.where) if name not in types]
    if missing:
        raise NotFound(f"{title} has no column {', '.join(map(repr, missing))}.", stage="preflight")
    if types[declared.column] not in TIME_TYPES:
        raise InvalidOption(
            f"The column {declared.column!r} of {title} says no time: it is neither timestamp, timestamptz nor date.",
            stage="preflight",
            hint="Name the column that says when a row was last of use.",
        )
    kind = TIME_TYPES[types[declared.column]]
    oid = int(row["oid"])
    return Target(
        declared,
        oid,
        str(row["schema"]),
        str(row["name"]),
        str(row["kind"]),
        kind,
        # The session is in UTC, so that is what a column without a zone is taken for.
        str(session.value(f"SELECT (now() - interval '{declared.seconds:.0f} s')::{kind}::text AS v", timeout)),
        tuple(str(column["name"]) for column in row["columns"] if not column["generated"]),
        _leaves(session, oid, title, declared.column, timeout),
        tuple(Reference(**each) for each in session.rows(_REFERENCES.format(oid=oid), timeout)),
        tuple(str(each["name"]) for each in session.rows(_TRIGGERS.format(oid=oid), timeout)),
        int(row["estimate"]),
    )


def _leaves(session: Session, oid: int, title: str, column: str, timeout: float) -> tuple[Leaf, ...]:
    found = session.rows(_LEAVES.format(oid=oid, column=literal(column)), timeout)
    foreign = [f"{each['schema']}.{each['name']}" for each in found if each["kind"] != "r"]
    if foreign:
        raise Unsupported(f"A part of {title} is on another server: {', '.join(foreign)}.", stage="preflight")
    return tuple(Leaf(each["oid"], each["schema"], each["name"], each["indexed"]) for each in found)


def purged_before(targets: Iterable[Target]) -> dict[int, str]:
    """What of each table goes in the course of a purge, as SQL about `k`, by the table's oid."""
    return {each.oid: each.meant("k") for each in targets}
