# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every query of the report on PostgreSQL, for 13 to 18.

PRIVATE to the collection; may change without notice.

Relations are qualified, because temporary ones would come first otherwise; functions cannot be temporary, and the
session's search_path is pinned to pg_catalog. Nothing takes a lock beyond ACCESS SHARE. A column that older servers
lack is read through to_jsonb, as null.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Query:
    """A query, and how long it may take.

    Attributes:
        seconds: after which the server cancels it.
        sql: with `{names}` where `of` puts in what is known only when it is asked.
    """

    seconds: float
    sql: str

    def of(self, **values: Any) -> Query:
        """With its places filled in: SQL, quoted by whoever knows what it is."""
        return Query(self.seconds, self.sql.format(**values))


SERVER = Query(
    2,
    """
SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int AS version_num,
       current_setting('block_size')::int AS block_size, pg_is_in_recovery() AS standby,
       quote_ident(current_user) AS login, pg_has_role('pg_read_all_stats', 'USAGE') AS sees_all,
       date_trunc('second', pg_postmaster_start_time()) AS started,
       extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::float AS uptime""",
)

CONNECTIONS = Query(
    2,
    """
SELECT count(*) AS used, current_setting('max_connections')::int AS most,
       current_setting('superuser_reserved_connections')::int
         + coalesce(current_setting('reserved_connections', true)::int, 0) AS reserved
  FROM pg_catalog.pg_stat_activity
 WHERE datid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend'""",
)

CONNECTIONS_BY = Query(
    2,
    """
SELECT datname AS database, usename AS "user", coalesce(state, 'hidden') AS state, count(*) AS connections
  FROM pg_catalog.pg_stat_activity
 WHERE datid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend'
 GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1, 2, 3""",
)

DATABASES = Query(
    2,
    """
SELECT d.datname AS name, d.datallowconn AND d.datconnlimit <> -2 AS allows, d.datistemplate AS template,
       has_database_privilege(d.oid, 'CONNECT') AS granted, age(d.datfrozenxid) AS xid_age,
       mxid_age(d.datminmxid) AS multixact_age, date_trunc('second', s.stats_reset) AS stats_reset,
       extract(epoch FROM clock_timestamp() - s.stats_reset)::float AS stats_age,
       s.deadlocks, s.temp_bytes, coalesce(s.checksum_failures, 0) AS checksum_failures
  FROM pg_catalog.pg_database d LEFT JOIN pg_catalog.pg_stat_database s ON s.datid = d.oid
 ORDER BY d.datname""",
)

DATABASE_SIZES = Query(
    3,
    """
SELECT d.datname AS name,
       CASE WHEN has_database_privilege(d.oid, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'USAGE')
            THEN pg_database_size(d.oid) END AS bytes
  FROM pg_catalog.pg_database d WHERE d.datname = ANY ({names})""",
)

ACTIVITY = Query(
    2,
    """
SELECT pid, datname AS database, usename AS "user", application_name AS application, state,
       concat_ws(': ', wait_event_type, wait_event) AS waits, left(query, 10000) AS query,
       extract(epoch FROM clock_timestamp() - query_start)::float AS query_seconds,
       extract(epoch FROM clock_timestamp() - xact_start)::float AS transaction_seconds,
       extract(epoch FROM clock_timestamp() - state_change)::float AS state_seconds, age(backend_xmin) AS xmin_age
  FROM pg_catalog.pg_stat_activity
 WHERE pid <> pg_backend_pid() AND backend_type = 'client backend' AND state <> 'idle' AND datname = ANY ({names})
 ORDER BY xact_start NULLS LAST LIMIT 2000""",
)

# pg_blocking_pids holds up the lock manager for a moment: asked only of those that say they wait. A prepared
# transaction that blocks has the process id 0. `waitstart` came with 14.
BLOCKED = Query(
    3,
    """
WITH waiting AS MATERIALIZED (
    SELECT a.pid, a.datname, a.usename, a.query, a.query_start, unnest(pg_blocking_pids(a.pid)) AS blocker
      FROM pg_catalog.pg_stat_activity a WHERE a.wait_event_type = 'Lock' AND a.datname = ANY ({names}) LIMIT 2000)
SELECT w.pid, w.datname AS database, w.usename AS "user", left(w.query, 10000) AS query, w.blocker,
       b.usename AS blocker_user, coalesce(b.state, b.backend_type, 'prepared transaction') AS blocker_state,
       left(b.query, 10000) AS blocker_query, w.blocker IN (SELECT pid FROM waiting) AS blocker_waits,
       extract(epoch FROM clock_timestamp() - coalesce(l.since, w.query_start))::float AS seconds, l.mode,
       CASE WHEN l.here THEN l.relation::regclass::text END AS relation
  FROM waiting w LEFT JOIN pg_catalog.pg_stat_activity b ON b.pid = w.blocker
  LEFT JOIN LATERAL (
       SELECT (to_jsonb(k) ->> 'waitstart')::timestamptz AS since, k.mode, k.relation,
              k.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()) AS here
         FROM pg_catalog.pg_locks k WHERE k.pid = w.pid AND NOT k.granted LIMIT 1) l ON true
 ORDER BY seconds DESC NULLS LAST""",
)

PREPARED = Query(
    2,
    """
SELECT gid, database, owner AS "user", extract(epoch FROM clock_timestamp() - prepared)::float AS seconds
  FROM pg_catalog.pg_prepared_xacts WHERE database = ANY ({names}) ORDER BY prepared""",
)

SLOTS = Query(
    2,
    """
SELECT s.slot_name AS name, s.slot_type AS kind, s.database, s.active, s.wal_status,
       greatest(age(s.xmin), age(s.catalog_xmin)) AS xmin_age,
       pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN coalesce(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
                            ELSE pg_current_wal_lsn() END, s.restart_lsn)::bigint AS bytes
  FROM pg_catalog.pg_replication_slots s ORDER BY bytes DESC NULLS LAST""",
)

SETTINGS = Query(
    2,
    """
SELECT name, setting, pending_restart FROM pg_catalog.pg_settings WHERE pending_restart OR name = ANY ({names})
 ORDER BY name""",
)

# A parameter of a library exists once the server has loaded it; shared_preload_libraries itself is hidden from most.
STATEMENTS_STATE = Query(
    2,
    """
SELECT EXISTS (SELECT FROM pg_catalog.pg_settings WHERE name = 'pg_stat_statements.max') AS loaded,
       EXISTS (SELECT FROM pg_catalog.pg_available_extensions WHERE name = 'pg_stat_statements') AS available,
       (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'shared_preload_libraries') AS libraries,
       (SELECT quote_ident(n.nspname) FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n
          ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements') AS schema,
       (SELECT json_agg(a.attname) FROM pg_catalog.pg_extension e
          JOIN pg_catalog.pg_class c ON c.relnamespace = e.extnamespace AND c.relname = 'pg_stat_statements'
          JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
         WHERE e.extname = 'pg_stat_statements') AS columns""",
)

# Times are in milliseconds there.
STATEMENTS = Query(
    4,
    """
SELECT r.database, r."user", left(r.query, 10000) AS query, r.calls, r.rows, r.total / 1000 AS total_seconds,
       r.mean / 1000 AS mean_seconds, r.by_total, r.by_mean, r.share
  FROM (SELECT d.datname AS database, u.rolname AS "user", s.query, s.calls, s.rows, s.{total} AS total,
               s.{mean} AS mean, row_number() OVER (ORDER BY s.{total} DESC) AS by_total,
               row_number() OVER (ORDER BY s.{mean} DESC) AS by_mean,
               100 * s.{total} / nullif(sum(s.{total}) OVER (), 0) AS share
          FROM {schema}.pg_stat_statements s JOIN pg_catalog.pg_database d ON d.oid = s.dbid
          LEFT JOIN pg_catalog.pg_roles u ON u.oid = s.userid
         WHERE d.datname = ANY ({names}) AND s.calls >= {calls}) r
 WHERE r.by_total <= {limit} OR r.by_mean <= {limit}""",
)

_USERS = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"

# pg_relation_size waits for whoever rebuilds or changes the table; of those, the size of the last VACUUM is taken.
_SIZES = """
WITH locked AS MATERIALIZED (
    SELECT DISTINCT l.relation FROM pg_catalog.pg_locks l
     WHERE l.mode = 'AccessExclusiveLock' AND l.relation IS NOT NULL
       AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())),
sized AS MATERIALIZED (
    SELECT c.oid, CASE WHEN c.oid IN (SELECT relation FROM locked)
                       THEN c.relpages::bigint * current_setting('block_size')::bigint
                       ELSE coalesce(pg_relation_size(c.oid), 0) END AS bytes
      FROM pg_catalog.pg_class c WHERE c.relkind IN ({kinds}))"""

TABLES = Query(
    4,
    _SIZES.format(kinds="'r', 'm', 't', 'i'")
    + f""",
indexes AS (SELECT i.indrelid, sum(s.bytes) AS bytes FROM pg_catalog.pg_index i JOIN sized s ON s.oid = i.indexrelid
             GROUP BY i.indrelid)
SELECT c.oid::bigint AS oid, n.nspname AS schema, c.relname AS relation,
       quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name,
       s.bytes AS heap_bytes, coalesce(x.bytes, 0)::bigint AS index_bytes,
       (coalesce(t.bytes, 0) + coalesce(tx.bytes, 0))::bigint AS toast_bytes, c.relpages AS pages,
       c.reltuples::float8 AS rows, age(c.relfrozenxid) AS xid_age, mxid_age(c.relminmxid) AS multixact_age,
       (SELECT option_value::int FROM pg_options_to_table(c.reloptions) WHERE option_name = 'fillfactor') AS fill,
       pg_stat_get_live_tuples(c.oid) AS live_rows, pg_stat_get_dead_tuples(c.oid) AS dead_rows,
       pg_stat_get_mod_since_analyze(c.oid) AS changed_rows, pg_stat_get_numscans(c.oid) AS seq_scans,
       pg_stat_get_tuples_returned(c.oid) AS seq_rows, pg_stat_get_tuples_deleted(c.oid) AS deleted_rows,
       coalesce((SELECT sum(pg_stat_get_numscans(i.indexrelid)) FROM pg_catalog.pg_index i
                  WHERE i.indrelid = c.oid), 0)::bigint AS index_scans,
       date_trunc('second', greatest(pg_stat_get_last_vacuum_time(c.oid), pg_stat_get_last_autovacuum_time(c.oid)))
         AS last_vacuum,
       date_trunc('second', greatest(pg_stat_get_last_analyze_time(c.oid), pg_stat_get_last_autoanalyze_time(c.oid)))
         AS last_analyze
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN sized s ON s.oid = c.oid
  LEFT JOIN indexes x ON x.indrelid = c.oid LEFT JOIN sized t ON t.oid = c.reltoastrelid
  LEFT JOIN indexes tx ON tx.indrelid = c.reltoastrelid
 WHERE c.relkind IN ('r', 'm') AND {_USERS}""",
)

# Where a node lies in the text that made it differs between equal expressions.
_EXPRESSION = "regexp_replace({}::text, ':location -?[0-9]+', '', 'g')"

INDEXES = Query(
    4,
    _SIZES.format(kinds="'i'")
    + f""",
building AS MATERIALIZED (SELECT p.index_relid FROM pg_catalog.pg_stat_progress_create_index p)
SELECT c.oid::bigint AS oid, i.indrelid::bigint AS table_oid, n.nspname AS schema, c.relname AS relation,
       quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name, s.bytes, c.relpages AS pages,
       c.reltuples::float8 AS rows, m.amname AS method, i.indisvalid AS valid, i.indisunique AS is_unique,
       (SELECT option_value::int FROM pg_options_to_table(c.reloptions) WHERE option_name = 'fillfactor') AS fill,
       i.indisprimary OR i.indisexclusion OR i.indisreplident
         OR c.oid IN (SELECT conindid FROM pg_catalog.pg_constraint WHERE conindid <> 0) AS needed,
       i.indisprimary AS is_primary, c.relispartition AS of_partition,
       c.oid IN (SELECT index_relid FROM building) AS building, pg_stat_get_numscans(c.oid) AS scans,
       string_to_array(i.indkey::text, ' ')::int[] AS columns,
       md5(concat_ws('|', i.indrelid, c.relam, i.indkey, i.indclass, i.indcollation, i.indoption, i.indnkeyatts,
           CASE WHEN i.indisexclusion THEN c.oid END,
           '#', {_EXPRESSION.format("i.indexprs")}, '#', {_EXPRESSION.format("i.indpred")})) AS signature,
       CASE WHEN i.indisunique THEN coalesce(to_jsonb(i) ->> 'indnullsnotdistinct', 'false') END AS unique_kind
  FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
  JOIN pg_catalog.pg_class t ON t.oid = i.indrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_am m ON m.oid = c.relam JOIN sized s ON s.oid = c.oid
 WHERE t.relkind IN ('r', 'm') AND {_USERS}""",
)

# An index helps when its first columns are those of the key in any order, for all rows or for all that are not null.
UNINDEXED_KEYS = Query(
    3,
    f"""
SELECT o.conrelid::bigint AS table_oid, quote_ident(o.conname) AS "constraint",
       quote_ident(n.nspname) || '.' || quote_ident(t.relname) AS name,
       quote_ident(fn.nspname) || '.' || quote_ident(f.relname) AS referenced,
       (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY k.n)
          FROM unnest(o.conkey) WITH ORDINALITY AS k (attnum, n)
          JOIN pg_catalog.pg_attribute a ON a.attrelid = o.conrelid AND a.attnum = k.attnum) AS columns,
       pg_stat_get_tuples_deleted(f.oid) + pg_stat_get_tuples_updated(f.oid) AS changes
  FROM pg_catalog.pg_constraint o JOIN pg_catalog.pg_class t ON t.oid = o.conrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace JOIN pg_catalog.pg_class f ON f.oid = o.confrelid
  JOIN pg_catalog.pg_namespace fn ON fn.oid = f.relnamespace
 WHERE o.contype = 'f' AND t.relkind = 'r' AND {_USERS} AND NOT EXISTS (
       SELECT FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
         JOIN pg_catalog.pg_am m ON m.oid = c.relam
        WHERE i.indrelid = o.conrelid AND i.indisvalid AND m.amname IN ('btree', 'hash')
          AND (i.indpred IS NULL OR i.indpred::text ~ '^{{NULLTEST .*:nulltesttype 1')
          AND (i.indkey::int2[])[0:cardinality(o.conkey) - 1] @> o.conkey)""",
)

COLUMNS = Query(
    3,
    """
SELECT a.attrelid::bigint AS oid, a.attnum AS number, a.attname AS name, a.attlen AS length, a.attalign AS align,
       a.attisdropped AS dropped
  FROM pg_catalog.pg_attribute a WHERE a.attnum > 0 AND a.attrelid = ANY ('{{{oids}}}'::oid[]) ORDER BY 1, 2""",
)

# Rows are seen only of columns that we may read.
WIDTHS = Query(
    4,
    """
SELECT s.schemaname AS schema, s.tablename AS relation, s.attname AS name, s.avg_width AS width, s.null_frac AS nulls
  FROM pg_catalog.pg_stats s WHERE NOT s.inherited AND s.tablename = ANY ({names}::name[])""",
)

PGSTATTUPLE = Query(
    1,
    """
SELECT (SELECT quote_ident(n.nspname) FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n
          ON n.oid = e.extnamespace WHERE e.extname = 'pgstattuple') AS schema""",
)

# It skips pages that hold only what everybody sees, and reads the others.
APPROXIMATE = Query(
    2,
    """
SELECT table_len AS bytes, (approx_free_space + dead_tuple_len)::bigint AS wasted
  FROM {schema}.pgstattuple_approx({oid}::regclass)""",
)
