# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading the catalogues: what a database is beside its contents, and what would be dumped of it.

PRIVATE to the collection; may change without notice.

`details` is stored with a backup (artefact of kind `details`, `details.json`), because pg_dump into another name
loses it and a restore has to set it again:

    {"schema": 1,
     "server": {"version", "version_num", "settings": {name: value}, "superuser", "standby", "role_passwords"},
     "tablespaces": [{"name", "owner", "location", "options": [text], "comment"}],
     "databases": [{
        "name", "oid", "owner", "encoding", "locale_provider": libc | icu | builtin, "collate", "ctype",
        "locale" (of icu and builtin), "icu_rules", "collation_version", "tablespace", "connection_limit",
        "allow_connections", "is_template", "comment", "size" (bytes, or null when we may not ask),
        "acl": null (never changed) or [{"grantor", "grantee" (null: PUBLIC), "privilege", "grantable"}],
        "settings": ["name=value" as in pg_db_role_setting], "role_settings": {role: [as before]},
        "security_labels": [{"provider", "label"}],
        "extensions": [{"name", "version", "schema", "comment"}],
        "roles": [every role that something in it refers to], "tablespaces": [used by something in it],
        "partial": whether schemas or tables were chosen, "format": custom | directory}]}
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ._sql import Session, literals

DETAILS_SCHEMA = 1

SERVER_SETTINGS = (
    "shared_preload_libraries",
    "server_encoding",
    "lc_messages",
    "max_locks_per_transaction",
    "wal_level",
    "data_checksums",
    "default_toast_compression",
)
"""What a scratch cluster or another server needs to be like, or a person wants to know."""

# to_jsonb reads a column that older servers lack as null, so one query fits 13 to 18.
_DATABASES = """
SELECT d.datname AS name, d.oid::bigint AS oid, pg_get_userbyid(d.datdba) AS owner,
       pg_encoding_to_char(d.encoding) AS encoding,
       CASE to_jsonb(d) ->> 'datlocprovider' WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' ELSE 'libc' END
           AS locale_provider,
       d.datcollate AS "collate", d.datctype AS ctype,
       coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale') AS locale,
       to_jsonb(d) ->> 'daticurules' AS icu_rules, to_jsonb(d) ->> 'datcollversion' AS collation_version,
       t.spcname AS tablespace, d.datconnlimit AS connection_limit, d.datallowconn AS allow_connections,
       d.datistemplate AS is_template, shobj_description(d.oid, 'pg_database') AS comment,
       CASE WHEN has_database_privilege(d.oid, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'USAGE')
            THEN pg_database_size(d.oid) END AS size,
       CASE WHEN d.datacl IS NOT NULL THEN (
           SELECT coalesce(json_agg(json_build_object('grantor', pg_get_userbyid(a.grantor), 'grantee',
                      CASE WHEN a.grantee <> 0 THEN pg_get_userbyid(a.grantee) END,
                      'privilege', a.privilege_type, 'grantable', a.is_grantable)), '[]')
           FROM aclexplode(d.datacl) AS a) END AS acl,
       (SELECT to_json(s.setconfig) FROM pg_db_role_setting s
         WHERE s.setdatabase = d.oid AND s.setrole = 0) AS settings,
       (SELECT json_object_agg(pg_get_userbyid(s.setrole), s.setconfig) FROM pg_db_role_setting s
         WHERE s.setdatabase = d.oid AND s.setrole <> 0) AS role_settings,
       (SELECT json_agg(json_build_object('provider', l.provider, 'label', l.label) ORDER BY l.provider)
          FROM pg_shseclabel l WHERE l.classoid = 'pg_database'::regclass AND l.objoid = d.oid) AS security_labels
  FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace
 ORDER BY d.datname"""

_TABLESPACES = """
SELECT spcname AS name, pg_get_userbyid(spcowner) AS owner, pg_tablespace_location(oid) AS location,
       coalesce(to_json(spcoptions), '[]') AS options, shobj_description(oid, 'pg_tablespace') AS comment
  FROM pg_tablespace WHERE spcname !~ '^pg_' ORDER BY spcname"""

_EXTENSIONS = """
SELECT e.extname AS name, e.extversion AS version, n.nspname AS schema,
       obj_description(e.oid, 'pg_extension') AS comment
  FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace ORDER BY e.extname"""

# pg_shdepend does not record the bootstrap superuser, so owners and grants are looked at too.
_ROLES = """
SELECT r.rolname AS name FROM pg_roles r WHERE r.oid IN (
    SELECT s.refobjid FROM pg_shdepend s, pg_database d
     WHERE d.datname = current_database() AND s.refclassid = 'pg_authid'::regclass
       AND (s.dbid = d.oid OR s.dbid = 0 AND s.classid = 'pg_database'::regclass AND s.objid = d.oid)
    UNION ALL SELECT datdba FROM pg_database WHERE datname = current_database()
    UNION ALL SELECT s.setrole FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
     WHERE d.datname = current_database()
    UNION ALL SELECT relowner FROM pg_class WHERE oid >= 16384
    UNION ALL SELECT proowner FROM pg_proc WHERE oid >= 16384
    UNION ALL SELECT typowner FROM pg_type WHERE oid >= 16384
    UNION ALL SELECT nspowner FROM pg_namespace WHERE oid >= 16384 AND nspname !~ '^pg_'
    UNION ALL SELECT oprowner FROM pg_operator WHERE oid >= 16384
    UNION ALL SELECT opcowner FROM pg_opclass WHERE oid >= 16384
    UNION ALL SELECT opfowner FROM pg_opfamily WHERE oid >= 16384
    UNION ALL SELECT collowner FROM pg_collation WHERE oid >= 16384
    UNION ALL SELECT conowner FROM pg_conversion WHERE oid >= 16384
    UNION ALL SELECT cfgowner FROM pg_ts_config WHERE oid >= 16384
    UNION ALL SELECT dictowner FROM pg_ts_dict WHERE oid >= 16384
    UNION ALL SELECT lanowner FROM pg_language WHERE oid >= 16384
    UNION ALL SELECT stxowner FROM pg_statistic_ext UNION ALL SELECT evtowner FROM pg_event_trigger
    UNION ALL SELECT pubowner FROM pg_publication UNION ALL SELECT fdwowner FROM pg_foreign_data_wrapper
    UNION ALL SELECT srvowner FROM pg_foreign_server UNION ALL SELECT umuser FROM pg_user_mappings
    UNION ALL SELECT subowner FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
     WHERE d.datname = current_database()
    UNION ALL SELECT lomowner FROM pg_largeobject_metadata UNION ALL SELECT defaclrole FROM pg_default_acl
    UNION ALL SELECT a.grantee FROM (
        SELECT datacl AS acl FROM pg_database WHERE datname = current_database()
        UNION ALL SELECT relacl FROM pg_class WHERE oid >= 16384 UNION ALL SELECT attacl FROM pg_attribute
        UNION ALL SELECT nspacl FROM pg_namespace WHERE oid >= 16384
        UNION ALL SELECT proacl FROM pg_proc WHERE oid >= 16384
        UNION ALL SELECT typacl FROM pg_type WHERE oid >= 16384
        UNION ALL SELECT lomacl FROM pg_largeobject_metadata UNION ALL SELECT defaclacl FROM pg_default_acl
    ) AS granted, aclexplode(granted.acl) AS a)
 ORDER BY r.rolname"""

_USED_TABLESPACES = """
SELECT spcname AS name FROM pg_tablespace WHERE oid IN (
    SELECT reltablespace FROM pg_class UNION ALL SELECT dattablespace FROM pg_database
     WHERE datname = current_database()) AND spcname !~ '^pg_' ORDER BY spcname"""

_SERVER = """
SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int AS version_num,
       current_setting('is_superuser') = 'on' AS superuser, pg_is_in_recovery() AS standby,
       has_table_privilege('pg_authid', 'SELECT') AS role_passwords,
       (SELECT json_object_agg(name, setting ORDER BY name) FROM pg_settings WHERE name = ANY ({names})) AS settings"""

_DUMPED = (
    "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND (x.config IS NOT NULL OR NOT EXISTS (SELECT FROM"
    " pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e'))"
)
"""Relations whose rows a dump holds: not an extension's own, unless it declares them configuration."""

# Nothing here waits for a lock (pg_table_size would): a preflight must be able to tell what is locked.
_RELATIONS = f"""
SELECT c.oid::bigint AS oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind, c.relpersistence AS persistence,
       (c.relpages + coalesce(t.relpages, 0))::bigint * current_setting('block_size')::bigint AS bytes,
       greatest(c.reltuples, 0)::bigint AS estimate, x.config AS condition, x.config IS NOT NULL AS configuration,
       CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(c.oid, 'SELECT') ELSE has_table_privilege(c.oid, 'SELECT')
        END AND has_schema_privilege(n.oid, 'USAGE') AS readable,
       row_security_active(c.oid) AS row_security,
       (SELECT json_agg(i.inhparent::bigint) FROM pg_inherits i WHERE i.inhrelid = c.oid) AS parents,
       CASE WHEN c.relkind = 'S' THEN (SELECT min(d.refobjid::bigint) FROM pg_depend d WHERE d.objid = c.oid
           AND d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
           AND d.deptype IN ('a', 'i')) END AS owned_by
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_class t ON t.oid = c.reltoastrelid AND t.oid <> 0
  LEFT JOIN LATERAL (SELECT coalesce(e.extcondition[u.n], '') AS config
                       FROM pg_extension e, unnest(e.extconfig) WITH ORDINALITY AS u (oid, n)
                      WHERE u.oid = c.oid) x ON true
 WHERE c.relkind IN ('r', 'p', 'm', 'v', 'f', 'S') AND {_DUMPED}
 ORDER BY n.nspname, c.relname"""

_LARGE_OBJECTS = """
SELECT count(*) AS n, count(*) FILTER (WHERE NOT (pg_has_role(m.lomowner, 'USAGE') OR EXISTS (
           SELECT FROM aclexplode(m.lomacl) a WHERE a.privilege_type = 'SELECT'
              AND (a.grantee = 0 OR pg_has_role(a.grantee, 'USAGE'))))) AS unreadable
  FROM pg_largeobject_metadata m"""


@dataclass(frozen=True)
class Relation:
    """A table of any kind, view or sequence that is not an extension's own.

    Attributes:
        kind: as pg_class.relkind: `r`, `p`(artitioned), `m`(aterialized view), `v`, `f`(oreign) or `S`(equence).
        persistence: `p` or `u` (unlogged).
        bytes: on disk, with TOAST and without indexes, as of the last VACUUM or ANALYZE.
        estimate: of the planner, in rows.
        condition: of an extension's configuration table: the WHERE clause of the rows that are dumped, or ''.
        readable: whether our role may read it.
        row_security: whether policies would hide rows from our role.
        parents: OIDs that it inherits from or is a partition of.
        owned_by: of a sequence: the OID of the table whose column it serves.
    """

    oid: int
    schema: str
    name: str
    kind: str
    persistence: str
    bytes: int
    estimate: int
    condition: str | None
    configuration: bool
    readable: bool
    row_security: bool
    parents: Sequence[int] | None
    owned_by: int | None

    @property
    def key(self) -> tuple[str, str]:
        return (self.schema, self.name)


def relations(session: Session, timeout: float | None = None) -> list[Relation]:
    """Every table, view and sequence in the session's database that pg_dump would dump."""
    return [Relation(**row) for row in session.rows(_RELATIONS, timeout)]


def server_facts(session: Session, timeout: float | None = None) -> dict[str, Any]:
    """`details["server"]`."""
    return session.row(_SERVER.format(names=literals(SERVER_SETTINGS)), timeout)


def tablespaces(session: Session, timeout: float | None = None) -> list[dict[str, Any]]:
    """`details["tablespaces"]`."""
    return session.rows(_TABLESPACES, timeout)


def databases(session: Session, timeout: float | None = None) -> list[dict[str, Any]]:
    """What is known of every database of the cluster from outside: `details["databases"]` but for what lies inside."""
    found = session.rows(_DATABASES, timeout)
    for row in found:
        row["settings"] = row["settings"] or []
        row["role_settings"] = row["role_settings"] or {}
        row["security_labels"] = row["security_labels"] or []
    return found


def inside(session: Session, timeout: float | None = None) -> dict[str, Any]:
    """What `details["databases"]` knows from inside the session's database: extensions, roles, tablespaces."""
    return {
        "extensions": session.rows(_EXTENSIONS, timeout),
        "roles": names(session.rows(_ROLES, timeout)),
        "tablespaces": names(session.rows(_USED_TABLESPACES, timeout)),
    }


def schemas(session: Session, timeout: float | None = None) -> list[str]:
    """The schemas that hold what users made."""
    query = "SELECT nspname AS name FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"
    return names(session.rows(query, timeout))


def large_objects(session: Session, timeout: float | None = None) -> tuple[int, int]:
    """How many large objects there are, and how many of them our role may not read."""
    row = session.row(_LARGE_OBJECTS, timeout)
    superuser = session.value("SELECT current_setting('is_superuser') = 'on' AS v", timeout)
    return int(row["n"]), 0 if superuser else int(row["unreadable"])


def names(rows: Iterable[dict[str, Any]]) -> list[str]:
    return [str(row["name"]) for row in rows]
