#!/usr/bin/python
# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module holdfast.ops.postgresql_report_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_report_info
short_description: Tell how a PostgreSQL server and its databases are, and what to do about it
version_added: 1.0.0
author:
  - holdfast.ops authors (@holdfast)
description:
  - Looks at a server and its databases - connections, sizes, bloat and dead rows, unused, duplicate, invalid and
    missing indexes, slow queries, what runs and who blocks whom, transactions left open, replication slots, the way to
    wraparound, and settings that endanger data.
  - Each finding says what it means and what to run next. What cannot be looked at (a missing extension, a right that is
    not granted) is a finding too, and the rest is still looked at.
  - Nothing is changed, the session is read-only, and no lock beyond C(ACCESS SHARE) is taken. Every query has a time of
    its own, after which the server cancels it.
  - Texts of queries are shown without their literals and comments.
notes:
  - PostgreSQL 13 to 18 are supported.
  - A role that is no superuser needs C(pg_monitor), and to estimate bloat the right to read the tables, such as
    C(pg_read_all_data).
  - Slow queries are those that the extension C(pg_stat_statements) has counted.
  - Bloat is an estimate from the planner's statistics, which errs towards less, unless O(bloat=pgstattuple).
  - Indexes of partitions are judged neither as unused nor as duplicates, because they cannot go alone.
extends_documentation_fragment:
  - holdfast.ops.postgresql_login
  - holdfast.ops.container
attributes:
  check_mode:
    description: Can run in check mode and tell what would change, without changing it.
    support: full
    details:
      - Nothing is changed in any mode.
  diff_mode:
    description: Returns details on what has changed (or would change in check mode) when in diff mode.
    support: none
    details:
      - Nothing is changed.
  idempotent:
    description: Run again without a change in between, it changes nothing.
    support: full
options:
  database:
    description: One database. It is an error when it does not exist.
    type: str
  databases:
    description:
      - Several databases, or V(all), which is the default - every one that the role may connect to, templates left out.
    type: list
    elements: str
  maintenance_db:
    description: Database to connect to for what concerns the whole server, unless O(database) is given.
    type: str
    default: postgres
  statement_timeout:
    description:
      - Seconds that a query may take at most. Each has a limit of its own of 1 to 4 seconds; this can only shorten it.
      - V(0) shortens nothing.
    type: int
    default: 0
  limit:
    description: Rows that a table of the report shows.
    type: int
    default: 20
  bloat:
    description:
      - How bloat of tables is known.
      - V(estimate) takes the planner's statistics. V(pgstattuple) has C(pgstattuple_approx) look at the pages of the
        ten tables that waste most by the estimate, where that extension is installed.
      - Bloat of indexes is always estimated.
    type: str
    choices: [estimate, pgstattuple]
    default: estimate
  bloat_percent:
    description: Share of a table or index that must be wasted to be told.
    type: int
    default: 40
  bloat_size:
    description: How much of a table or index must be wasted to be told.
    type: str
    default: 16MiB
  connections_warning:
    description: Share of the connections to be had, in percent, from which on their use is a warning.
    type: float
    default: 80
  connections_critical:
    description: The same, from which on it is critical.
    type: float
    default: 95
  wraparound_warning:
    description: Share of the way to the wraparound of transaction numbers, in percent, from which on it is a warning.
    type: float
    default: 50
  wraparound_critical:
    description: The same, from which on it is critical.
    type: float
    default: 75
  dead_rows:
    description: Dead rows that a table must have to be told.
    type: int
    default: 10000
  dead_rows_percent:
    description: Share of the rows of a table that must be dead to be told.
    type: int
    default: 20
  unused_index_size:
    description: Size that an unused index must have to be told.
    type: str
    default: 1MiB
  unused_index_reads:
    description: How often the table of an unused index must have been read. A table that nobody reads proves nothing.
    type: int
    default: 100
  unused_index_age:
    description: How long the server must have counted before an unused index is a warning; until then it is a remark.
    type: str
    default: 7d
  seq_scan_size:
    description: Size of the rows of a table from which on it should not be read from end to end.
    type: str
    default: 10MiB
  seq_scans:
    description: How often that must have been done to be told.
    type: int
    default: 100
  seq_scan_rows:
    description: Rows that were read each time on average for it to be told.
    type: int
    default: 10000
  slow_query_mean:
    description: Average time of a query to be told as slow.
    type: str
    default: 1s
  slow_query_calls:
    description: How often a query must have been run to be counted at all.
    type: int
    default: 1
  active_query_age:
    description: For how long a query must have been running to be told.
    type: str
    default: 5m
  idle_in_transaction_age:
    description: For how long a session must have been idle within a transaction to be told.
    type: str
    default: 5m
  transaction_age:
    description: For how long a transaction, or a prepared one, must have been open to be told.
    type: str
    default: 1h
  blocked_age:
    description: For how long a session must have waited for a lock to be told.
    type: str
    default: 10s
  slot_size:
    description: How much WAL a replication slot must hold to be told.
    type: str
    default: 1GiB
seealso:
  - module: holdfast.ops.postgresql_backup
"""

EXAMPLES = r"""
- name: How is the database of the application
  holdfast.ops.postgresql_report_info:
    database: omnidoc
  become: true
  register: report

- name: What somebody has to look at
  ansible.builtin.debug:
    msg: "{{ report.findings | selectattr('severity', '!=', 'info') | map(attribute='text') }}"

- name: All databases of a server elsewhere, as a role that may only look
  holdfast.ops.postgresql_report_info:
    login_host: db.example.com
    login_user: monitor
    login_password: "{{ monitor_password }}"
    ca_cert: /etc/ssl/certs/ca.pem
    slow_query_mean: 2s
"""

RETURN = r"""
msg:
  description: All of it in one sentence.
  returned: success
  type: str
  sample: "PostgreSQL 16.4, up 12 d; omnidoc 1.2 GiB; 14 of 97 connections; 0 critical, 2 warnings."
findings:
  description: What a person should know of, the worst first.
  returned: success
  type: list
  elements: dict
  contains:
    code:
      description: What kind of finding it is.
      type: str
      sample: unused_index
    severity:
      description: How bad it is, C(info), C(warning) or C(critical).
      type: str
    text:
      description: One sentence with the figures.
      type: str
    subject:
      description: What it is about.
      type: str
      sample: omnidoc.public.documents_title_idx
    advice:
      description: What to do next. What stands between backticks is to be copied.
      type: str
section:
  description: The whole report, with its tables and the figures that are kept over time.
  returned: success
  type: dict
server:
  description: The server.
  returned: success
  type: dict
  contains:
    version:
      description: As the server calls it.
      type: str
    version_num:
      description: The same as a number.
      type: int
      sample: 160004
    started:
      description: When it was started (RFC 3339, UTC).
      type: str
    uptime:
      description: Seconds since.
      type: float
    standby:
      description: Whether it follows another one.
      type: bool
connections:
  description: How many there are, empty when that could not be seen.
  returned: success
  type: dict
  contains:
    used:
      description: Those that exist.
      type: int
    reserved:
      description: Those that only superusers, and members of C(pg_use_reserved_connections), get.
      type: int
    most:
      description: C(max_connections).
      type: int
    usable:
      description: Those that everybody gets.
      type: int
    percent:
      description: Those used, of those that everybody gets.
      type: float
databases:
  description: The databases that were looked at.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
    bytes:
      description: Its size, or null when the role may not know it.
      type: int
    xid_age:
      description: Transactions since its oldest row that is not frozen.
      type: int
    multixact_age:
      description: The same of multixacts.
      type: int
    wraparound_percent:
      description: How far that is on the way to wraparound.
      type: float
    deadlocks:
      description: Deadlocks since counting began.
      type: int
    stats_reset:
      description: Since when is counted (RFC 3339, UTC), or null for since ever.
      type: str
error_code:
  description: What kind of failure it was, such as C(authentication_failed), C(not_found) or C(unavailable).
  returned: on failure
  type: str
stage:
  description: Where it failed.
  returned: on failure
  type: str
tool_output:
  description: The server's own words, redacted.
  returned: on failure
  type: str
hint:
  description: What to do next.
  returned: on failure
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._kinds._postgresql_report import (
    PostgresqlReport,
)
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._module import module_spec, run_kind


def main() -> None:
    """Entry point."""
    run_kind(AnsibleModule(**module_spec(PostgresqlReport).module()), PostgresqlReport)


if __name__ == "__main__":
    main()
