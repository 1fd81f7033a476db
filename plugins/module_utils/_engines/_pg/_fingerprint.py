# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a database looked like when it was dumped, and what of that a restored one lacks.

PRIVATE to the collection; may change without notice.

Levels: `none`; `estimate` (the planner's numbers: proves nothing); `counts` (rows of every table); `digest` (rows
and their contents). The document, one a backup, stored as JSON:

    {"schema": 1, "level": "counts", "databases": {name: {
        "level", "version_num",
        "tables": {"\"schema\".\"table\"": {"rows": 12, "digest": "…"}},
        "sequences": {"\"schema\".\"sequence\"": {"value": 7, "called": true, "step": 1}},
        "extensions": {name: version}, "large_objects": {"count": 3, "digest": "…"},
        "objects": {kind: {"count": 5, "names": sha256}}}}}

`objects` is there when the whole database was dumped. Names are hashed, so the document stays small and tells nobody
more than the dump does. Everything is read in a session with pinned settings (`_sql.PINNED`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ._catalog import Relation, relations
from ._selection import Selection
from ._sql import Session, identifier

SCHEMA = 1
LEVELS = ("none", "estimate", "counts", "digest")
BATCH = 200
"""Sequences that are read by one statement."""

Print = dict[str, Any]
"""The fingerprint of one database."""

_COLUMNS = """
SELECT attname AS name FROM pg_attribute
 WHERE attrelid = {oid} AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum"""

_HASH = "('x' || left(encode(sha256({bytes}), 'hex'), 15))::bit(60)::bigint"
"""60 bits of a SHA-256 as a number. Their sum does not depend on the order of rows, and unlike XOR it does not let two
equal rows vanish."""

# Zero bytes at the end of a page, and pages of nothing else, are how sparse objects differ after a restore.
_LARGE_OBJECTS = f"""
SELECT (SELECT count(*) FROM pg_largeobject_metadata) AS count,
       (SELECT coalesce(sum({_HASH.format(bytes="convert_to(loid || ':' || pageno || ':', 'UTF8') || page")}), 0)::text
          FROM (SELECT loid, pageno, btrim('\\x01'::bytea || data, '\\x00'::bytea) AS page FROM pg_largeobject) AS p
         WHERE page <> '\\x01'::bytea) AS digest"""

_OURS = (
    "{n}.nspname !~ '^pg_' AND {n}.nspname <> 'information_schema' AND NOT EXISTS (SELECT FROM pg_depend e"
    " WHERE e.classid = '{table}'::regclass AND e.objid = {oid} AND e.deptype IN ('e', 'i'))"
)


def _ours(table: str, oid: str) -> str:
    """The condition on an object with namespace `n`: made by a user, not by an extension or for another object."""
    return _OURS.format(n="n", table=table, oid=oid)


_TABLES = _ours("pg_class", "c.oid")
# Names as text and nothing that one server version spells otherwise than another: constraints for NOT NULL (18),
# rows for the partitions of a foreign key, identity of a partition's columns (17), the privilege MAINTAIN (17).
_OBJECTS = f"""
SELECT kind, count(*) AS count, encode(sha256(convert_to(string_agg(name, E'\\n' ORDER BY name COLLATE "C"),
       getdatabaseencoding())), 'hex') AS names FROM (
    SELECT 'schema' AS kind, n.nspname::text AS name FROM pg_namespace n WHERE {_ours("pg_namespace", "n.oid")}
    UNION ALL
    SELECT CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' WHEN 'v' THEN 'view' WHEN 'S'
           THEN 'sequence' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' ELSE 'composite type' END,
           n.nspname || '.' || c.relname
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'v', 'S', 'm', 'f', 'c') AND n.nspname !~ '^pg_'
       AND n.nspname <> 'information_schema' AND NOT EXISTS (SELECT FROM pg_depend e
           WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')
    UNION ALL
    SELECT 'index', n.nspname || '.' || c.relname || '.' || i.relname
      FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class c ON c.oid = x.indrelid
      JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {_TABLES}
    UNION ALL
    SELECT 'column', n.nspname || '.' || c.relname || '.' || a.attname || ':' || format_type(a.atttypid, a.atttypmod)
           || CASE WHEN a.attnotnull THEN ':not null' ELSE '' END || ':' || a.attgenerated::text
           || CASE WHEN c.relispartition THEN '' ELSE ':' || a.attidentity::text END
      FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'f', 'c') AND a.attnum > 0 AND NOT a.attisdropped AND {_TABLES}
    UNION ALL
    SELECT 'default', n.nspname || '.' || c.relname || '.' || a.attname
      FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
      JOIN pg_class c ON c.oid = d.adrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {_TABLES}
    UNION ALL
    SELECT 'constraint', n.nspname || '.' || c.relname || '.' || k.conname || ':' || k.contype::text
           || CASE WHEN k.convalidated THEN '' ELSE ':not valid' END
      FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE k.contype <> 'n' AND k.conparentid = 0 AND {_TABLES}
    UNION ALL
    SELECT 'trigger', n.nspname || '.' || c.relname || '.' || t.tgname || ':' || t.tgenabled::text
      FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE NOT t.tgisinternal AND t.tgparentid = 0 AND {_TABLES}
    UNION ALL
    SELECT 'rule', n.nspname || '.' || c.relname || '.' || r.rulename
      FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE r.rulename <> '_RETURN' AND {_TABLES}
    UNION ALL
    SELECT 'policy', n.nspname || '.' || c.relname || '.' || p.polname
      FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE {_TABLES}
    UNION ALL
    SELECT 'row security', n.nspname || '.' || c.relname || CASE WHEN c.relforcerowsecurity THEN ':forced' ELSE '' END
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relrowsecurity AND {_TABLES}
    UNION ALL
    SELECT 'function', n.nspname || '.' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')'
      FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE {_ours("pg_proc", "p.oid")}
    UNION ALL
    SELECT 'type', n.nspname || '.' || t.typname || ':' || t.typtype::text || coalesce(':' || (SELECT string_agg(
           l.enumlabel, ',' ORDER BY l.enumsortorder) FROM pg_enum l WHERE l.enumtypid = t.oid), '')
      FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
     WHERE t.typtype IN ('e', 'd', 'r') AND {_ours("pg_type", "t.oid")}
    UNION ALL
    SELECT 'operator', n.nspname || '.' || o.oprname || '(' || o.oprleft::regtype || ',' || o.oprright::regtype || ')'
      FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace WHERE {_ours("pg_operator", "o.oid")}
    UNION ALL
    SELECT 'collation', n.nspname || '.' || l.collname FROM pg_collation l
      JOIN pg_namespace n ON n.oid = l.collnamespace WHERE {_ours("pg_collation", "l.oid")}
    UNION ALL
    SELECT 'statistics', n.nspname || '.' || s.stxname FROM pg_statistic_ext s
      JOIN pg_namespace n ON n.oid = s.stxnamespace WHERE {_ours("pg_statistic_ext", "s.oid")}
    UNION ALL
    SELECT 'text search configuration', n.nspname || '.' || f.cfgname FROM pg_ts_config f
      JOIN pg_namespace n ON n.oid = f.cfgnamespace WHERE {_ours("pg_ts_config", "f.oid")}
    UNION ALL SELECT 'event trigger', evtname::text FROM pg_event_trigger v WHERE NOT EXISTS (SELECT FROM pg_depend e
           WHERE e.classid = 'pg_event_trigger'::regclass AND e.objid = v.oid AND e.deptype = 'e')
    UNION ALL SELECT 'publication', pubname::text FROM pg_publication
    UNION ALL SELECT 'foreign server', srvname::text FROM pg_foreign_server
    UNION ALL
    SELECT 'owner', n.nspname || '.' || c.relname || ':' || pg_get_userbyid(c.relowner)
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND {_TABLES}
    UNION ALL
    SELECT 'grant', n.nspname || '.' || c.relname || ':' || CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE
           '=' || pg_get_userbyid(a.grantee) END || ':' || a.privilege_type || ':' || a.is_grantable
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) AS a
     WHERE a.grantee <> c.relowner AND a.privilege_type <> 'MAINTAIN' AND {_TABLES}
) AS found GROUP BY kind"""


def before(session: Session, level: str, dumped: Sequence[Relation], selection: Selection) -> Print:
    """What has to be read before pg_dump begins, and quickly: sequences go on while it runs (they have no snapshot),
    so a restored one must be at least here."""
    if level == "none":
        return {}
    found: Print = {
        "level": level,
        "version_num": int(session.value("SELECT current_setting('server_version_num') AS v")),
        "sequences": _sequences(session, [r for r in dumped if r.kind == "S"]),
    }
    if not selection.partial:
        rows = session.rows("SELECT extname AS name, extversion AS version FROM pg_extension")
        found["extensions"] = {row["name"]: row["version"] for row in rows}
    if selection.everything:
        kinds = session.rows(_OBJECTS)
        found["objects"] = {row["kind"]: {"count": row["count"], "names": row["names"]} for row in kinds}
    return found


def contents(
    session: Session, level: str, dumped: Sequence[Relation], *, large_objects: bool = True, standby: bool = False
) -> Print:
    """What costs time: rows of tables. Runs while pg_dump does, in the transaction whose snapshot it dumps.

    Args:
        standby: unlogged tables have no rows there, and asking for them is an error.
    """
    tables: dict[str, dict[str, Any]] = {}
    for relation in dumped if level != "none" else ():
        if relation.kind != "r":
            continue
        if standby and relation.persistence == "u":
            tables[identifier(*relation.key)] = {"rows": 0, **({"digest": "0"} if level == "digest" else {})}
        else:
            tables[identifier(*relation.key)] = _table(session, level, relation)
    found: Print = {"tables": tables}
    if large_objects and level in ("counts", "digest"):
        found["large_objects"] = _large_objects(session, level)
    return found


def take(session: Session, level: str, selection: Selection | None = None) -> Print:
    """The whole fingerprint of the session's database, in one go."""
    selection = selection or Selection()
    dumped = selection.with_data(relations(session))
    return {
        **before(session, level, dumped, selection),
        **contents(session, level, dumped, large_objects=not selection.partial),
    }


def _table(session: Session, level: str, relation: Relation) -> dict[str, Any]:
    if level == "estimate":
        return {"rows": relation.estimate}
    source = f"FROM ONLY {identifier(*relation.key)} {relation.condition or ''}"
    if level == "counts":
        return session.row(f"SELECT count(*) AS rows {source}")
    columns = ", ".join(identifier(row["name"]) for row in session.rows(_COLUMNS.format(oid=relation.oid)))
    number = _HASH.format(bytes=f"convert_to(ROW({columns})::text, getdatabaseencoding())")
    return session.row(f"SELECT count(*) AS rows, coalesce(sum({number}), 0)::text AS digest {source}")


def _sequences(session: Session, sequences: Sequence[Relation]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for start in range(0, len(sequences), BATCH):
        batch = sequences[start : start + BATCH]
        parts = [
            f"SELECT {n} AS n, last_value AS value, is_called AS called, (SELECT seqincrement FROM pg_sequence"
            f" WHERE seqrelid = {sequence.oid}) AS step FROM {identifier(*sequence.key)}"
            for n, sequence in enumerate(batch)
        ]
        for row in session.rows(" UNION ALL ".join(parts)):
            found[identifier(*batch[row.pop("n")].key)] = row
    return found


def _large_objects(session: Session, level: str) -> dict[str, Any]:
    if level == "digest" and session.value("SELECT has_table_privilege('pg_largeobject', 'SELECT') AS v"):
        return session.row(_LARGE_OBJECTS)
    return session.row("SELECT count(*) AS count FROM pg_largeobject_metadata")


@dataclass(frozen=True)
class Comparison:
    """What a comparison found.

    Attributes:
        checked: number of things compared.
        differences: what is not as it was, a sentence each.
        notes: what is otherwise than it was and allowed to be (a newer extension).
    """

    checked: int
    differences: tuple[str, ...]
    notes: tuple[str, ...] = ()


def compare(
    expected: Print, found: Print, *, ignore: Collection[str] = (), only: Collection[str] | None = None
) -> Comparison:
    """Compare a restored database with the fingerprint of its source.

    Args:
        expected, found: of the source, and of the restored database, taken at the same level or a higher one.
        ignore: kinds of `objects` that the restore was told to leave out (`owner`, `grant`).
        only: the tables and sequences (as keys) that were restored, when not all were.
    """
    judge = _Judge(only)
    judge.tables(expected, found)
    judge.sequences(expected.get("sequences", {}), found.get("sequences", {}))
    if only is None:
        judge.extensions(expected.get("extensions", {}), found.get("extensions", {}))
        judge.large_objects(expected.get("large_objects", {}), found.get("large_objects", {}))
        judge.objects(expected.get("objects", {}), found.get("objects", {}), ignore)
    return Comparison(judge.checked, tuple(judge.differences), tuple(judge.notes))


class _Judge:
    """Collects what a comparison finds."""

    def __init__(self, only: Collection[str] | None) -> None:
        self.only = only
        self.checked = 0
        self.differences: list[str] = []
        self.notes: list[str] = []

    def _wanted(self, names: Mapping[str, Any]) -> list[str]:
        return [name for name in names if self.only is None or name in self.only]

    def tables(self, expected: Print, found: Print) -> None:
        were, are = expected.get("tables", {}), found.get("tables", {})
        for name in self._wanted(were):
            self.checked += 1
            now = are.get(name)
            if now is None:
                self.differences.append(f"The table {name} is missing.")
            elif expected.get("level") == "estimate":
                continue
            elif now["rows"] != were[name]["rows"]:
                self.differences.append(f"The table {name} has {now['rows']} rows; {were[name]['rows']} were dumped.")
            elif "digest" in were[name] and now.get("digest") != were[name]["digest"]:
                self.differences.append(f"The rows of the table {name} are not those that were dumped.")
        if self.only is None and "objects" in expected:
            self.differences += [f"The table {name} was not dumped." for name in are if name not in were]

    def sequences(self, were: Mapping[str, Any], are: Mapping[str, Any]) -> None:
        for name in self._wanted(were):
            self.checked += 1
            then, now = were[name], are.get(name)
            if now is None:
                self.differences.append(f"The sequence {name} is missing.")
                continue
            sign = -1 if then["step"] < 0 else 1
            if (sign * now["value"], now["called"]) < (sign * then["value"], then["called"]):
                self.differences.append(
                    f"The sequence {name} stands at {now['value']}; it stood at {then['value']} before the dump."
                )

    def extensions(self, were: Mapping[str, str], are: Mapping[str, str]) -> None:
        for name, version in were.items():
            self.checked += 1
            now = are.get(name)
            if now is None:
                self.differences.append(f"The extension {name} is missing.")
            elif _version(now) < _version(version):
                self.differences.append(f"The extension {name} is version {now}; it was {version}.")
            elif now != version:
                self.notes.append(f"The extension {name} is version {now}; it was {version}.")

    def large_objects(self, was: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        if not was:
            return
        self.checked += 1
        if was["count"] != now.get("count"):
            self.differences.append(f"There are {now.get('count')} large objects; {was['count']} were dumped.")
        elif "digest" in was and "digest" in now and was["digest"] != now["digest"]:
            self.differences.append("The large objects are not those that were dumped.")

    def objects(self, were: Mapping[str, Any], are: Mapping[str, Any], ignore: Collection[str]) -> None:
        nothing = {"count": 0, "names": None}
        for kind in sorted({*were, *are} - set(ignore)) if were else ():
            self.checked += 1
            then, now = were.get(kind, nothing), are.get(kind, nothing)
            if then["count"] != now["count"]:
                self.differences.append(f"Objects of kind {kind}: {now['count']}; {then['count']} were dumped.")
            elif then["names"] != now["names"]:
                self.differences.append(f"Objects of kind {kind} are not those that were dumped.")


def _version(text: str) -> tuple[tuple[int, str], ...]:
    """An extension's version, so that 1.10 comes after 1.9."""
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in re.findall(r"\d+|[^\d.]+", text))
