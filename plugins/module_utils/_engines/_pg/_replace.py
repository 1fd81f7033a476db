# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Making way for tables and schemas that are restored into a database that is used.

PRIVATE to the collection; may change without notice.

Foreign keys of other tables are taken away and made again, which checks them against the restored rows. Anything
else that depends on what is replaced stops the restore; nothing that was not named disappears by a CASCADE.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ._sql import Session, identifier, literal, literals

DEPENDENT = "holdfast: something else depends on it"
LOCK_WAIT = 60
"""Seconds to wait for each lock on what is replaced."""

_CHOSEN = """
WITH RECURSIVE chosen AS (
    SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = ANY ({schemas}) OR quote_ident(n.nspname) || '.' || quote_ident(c.relname) IN
           (SELECT quote_ident(s) || '.' || quote_ident(t) FROM unnest({spaces}, {tables}) AS wanted (s, t))
    UNION SELECT i.inhrelid FROM pg_inherits i JOIN chosen ON chosen.oid = i.inhparent)"""
"""Relations that are replaced: of the schemas, or by name, with their partitions."""

_FOREIGN_KEYS = """
SELECT k.conrelid::regclass::text AS "table", k.conname AS name, pg_get_constraintdef(k.oid) AS definition
  FROM pg_constraint k WHERE k.contype = 'f' AND k.conparentid = 0 AND k.confrelid IN (SELECT oid FROM chosen)
   AND k.conrelid NOT IN (SELECT oid FROM chosen) ORDER BY 1, 2"""

_DROPPED_TABLES = """
SELECT CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' WHEN 'f' THEN
       'FOREIGN TABLE' ELSE 'TABLE' END AS kind, c.oid::regclass::text AS name
  FROM pg_class c JOIN chosen ON chosen.oid = c.oid WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
 ORDER BY c.relkind NOT IN ('v', 'm'), 2"""

# A partitioned table depends on its own columns.
_FREE = (
    "NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = '{0}'::regclass AND d.objid = o.oid AND d.refobjid <> o.oid"
    " AND d.deptype IN {1})"
)
_DROPPED_IN_SCHEMAS = f"""
SELECT 1 AS n, CASE o.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' WHEN 'f'
       THEN 'FOREIGN TABLE' ELSE 'TABLE' END AS kind, o.oid::regclass::text AS name
  FROM pg_class o JOIN pg_namespace n ON n.oid = o.relnamespace
 WHERE n.nspname = ANY ({{schemas}}) AND o.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
   AND {_FREE.format("pg_class", "('e', 'a', 'i')")}
UNION ALL
SELECT 2, 'ROUTINE', o.oid::regprocedure::text FROM pg_proc o JOIN pg_namespace n ON n.oid = o.pronamespace
 WHERE n.nspname = ANY ({{schemas}}) AND {_FREE.format("pg_proc", "('e', 'i')")}
UNION ALL
SELECT 3, 'TYPE', o.oid::regtype::text FROM pg_type o JOIN pg_namespace n ON n.oid = o.typnamespace
 WHERE n.nspname = ANY ({{schemas}}) AND o.typtype IN ('e', 'd', 'r', 'c') AND {_FREE.format("pg_type", "('e', 'i')")}
   AND (o.typrelid = 0 OR (SELECT relkind FROM pg_class WHERE pg_class.oid = o.typrelid) = 'c')
 ORDER BY 1, 3"""

# What a CASCADE could take along elsewhere, counted before and after.
_OUTSIDE = """
SELECT concat_ws(' ',
    (SELECT count(*) FROM pg_class c WHERE c.relnamespace NOT IN (SELECT oid FROM here)),
    (SELECT count(*) FROM pg_proc p WHERE p.pronamespace NOT IN (SELECT oid FROM here)),
    (SELECT count(*) FROM pg_type t WHERE t.typnamespace NOT IN (SELECT oid FROM here)),
    (SELECT count(*) FROM pg_constraint k WHERE k.connamespace NOT IN (SELECT oid FROM here)),
    (SELECT count(*) FROM pg_extension),
    (SELECT count(*) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
      WHERE NOT a.attisdropped AND c.relnamespace NOT IN (SELECT oid FROM here)),
    (SELECT count(*) FROM pg_attrdef a JOIN pg_class c ON c.oid = a.adrelid
      WHERE c.relnamespace NOT IN (SELECT oid FROM here)),
    (SELECT count(*) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
      WHERE NOT t.tgisinternal AND c.relnamespace NOT IN (SELECT oid FROM here)),
    (SELECT count(*) FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
      WHERE c.relnamespace NOT IN (SELECT oid FROM here)),
    (SELECT count(*) FROM pg_event_trigger), (SELECT count(*) FROM pg_cast))"""
_HERE = """
WITH here AS (SELECT oid FROM pg_namespace WHERE nspname = ANY ({schemas}) OR nspname ~ '^pg_(toast|temp)')"""


@dataclass(frozen=True)
class Way:
    """SQL that is run in the restoring transaction before and after the restored objects are made."""

    before: str
    after: str


def make_way(session: Session, tables: Sequence[tuple[str, str]], schemas: Sequence[str]) -> Way:
    """What makes room for tables and schemas, and puts back what had to step aside.

    Args:
        session: in the database; only reads.
    """
    chosen = _CHOSEN.format(
        schemas=literals(schemas), spaces=literals(s for s, _t in tables), tables=literals(t for _s, t in tables)
    )
    keys = session.rows(chosen + _FOREIGN_KEYS)
    before = [f"ALTER TABLE {key['table']} DROP CONSTRAINT {identifier(key['name'])};" for key in keys]
    after = [f"ALTER TABLE {k['table']} ADD CONSTRAINT {identifier(k['name'])} {k['definition']};" for k in keys]
    if tables:
        only = _CHOSEN.format(
            schemas=literals(()), spaces=literals(s for s, _t in tables), tables=literals(t for _s, t in tables)
        )
        found = session.rows(only + _DROPPED_TABLES)
        before += [_drop(kind, [r["name"] for r in found if r["kind"] == kind]) for kind in _kinds(found)]
    if schemas:
        here = _HERE.format(schemas=literals(schemas))
        count = f"SELECT set_config('holdfast.outside', ({here} {_OUTSIDE}), true)"
        before.append(f"DO {literal(f'BEGIN PERFORM ({count}); END')};")
        found = session.rows(_DROPPED_IN_SCHEMAS.format(schemas=literals(schemas)))
        before += [f"DROP {row['kind']} IF EXISTS {row['name']} CASCADE;" for row in found]
        check = (
            f"BEGIN IF current_setting('holdfast.outside') <> ({here} {_OUTSIDE}) THEN RAISE EXCEPTION '{DEPENDENT}';"
            " END IF; END"
        )
        before.append(f"DO {literal(check)};")
    # Whoever waits for a lock makes everybody else wait behind it.
    start = f"SET LOCAL lock_timeout = '{LOCK_WAIT}s';\n"
    start += "SET LOCAL search_path = pg_catalog;\nSET LOCAL client_min_messages = warning;\n"
    return Way(start + "\n".join(before) + "\n", "\n".join(after) + "\n")


def _kinds(found: Sequence[dict[str, str]]) -> list[str]:
    return list(dict.fromkeys(row["kind"] for row in found))


def _drop(kind: str, names: Sequence[str]) -> str:
    """Together, because they may depend on each other; IF EXISTS, because a partition goes with its table."""
    return f"DROP {kind} IF EXISTS {', '.join(names)};"


def existing_schemas(session: Session) -> set[str]:
    return {row["nspname"] for row in session.rows("SELECT nspname FROM pg_namespace")}
