#!/usr/bin/python
# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module holdfast.ops.postgresql_vacuum."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_vacuum
short_description: Vacuum and analyze the tables of PostgreSQL that need it
version_added: 1.0.0
author:
  - holdfast.ops authors (@holdfast)
description:
  - Runs C(VACUUM) and C(ANALYZE) for tables with many dead rows, with many rows changed since they were analyzed, or
    that were never analyzed. The largest need comes first, one table after the other.
  - Readers and writers go on. A table that somebody else has locked is skipped, and that is said.
  - Autovacuum does the same by itself. This is for what it leaves out (partitioned tables are never analyzed by it),
    for times of little use, and for tables after a purge or a load.
  - C(VACUUM FULL) is refused. It locks out everybody and needs room for a second copy of the table.
  - Whether the server did it is read from its own counters, because C(VACUUM) leaves tables out without an error.
notes:
  - The role must own the tables or the database, be a superuser, or (from PostgreSQL 17 on) have the right C(MAINTAIN).
  - Dead rows that an open transaction may still see cannot be removed. Who that is, is said.
extends_documentation_fragment:
  - holdfast.ops.postgresql_login
  - holdfast.ops.container
attributes:
  check_mode:
    description: Can run in check mode and tell what would change, without changing it.
    support: full
    details:
      - Tells what each table needs, and the statement that it would get.
  diff_mode:
    description: Returns details on what has changed (or would change in check mode) when in diff mode.
    support: none
    details:
      - The same stands in RV(tables).
  idempotent:
    description: Run again without a change in between, it changes nothing.
    support: partial
    details:
      - Not with O(needed_only=false).
options:
  database:
    description: The database.
    type: str
    required: true
  mode:
    description:
      - V(analyze) renews what the planner knows, V(vacuum) makes the room of dead rows usable again, and
        V(vacuum_analyze) does both, each where it is needed.
    type: str
    default: vacuum_analyze
  tables:
    description:
      - Only these, such as V(public.orders) or V(audit.*). C(*) and C(?) are wildcards; a part with a dot in it goes
        into double quotes. The default is every table of users.
    type: list
    elements: str
    default: []
  exclude_tables:
    description: But not these.
    type: list
    elements: str
    default: []
  needed_only:
    description: Only tables that need it. Otherwise all that are chosen get it, each time.
    type: bool
    default: true
  dead_percent:
    description: A table needs C(VACUUM) when so many percent of its rows are dead, and at least O(minimum_rows).
    type: float
    default: 10
  changed_percent:
    description:
      - A table needs C(ANALYZE) when so many percent of its rows have changed since the last one, and at least
        O(minimum_rows); and when it was never analyzed.
    type: float
    default: 10
  minimum_rows:
    description: With fewer dead or changed rows than this, a table needs nothing.
    type: int
    default: 1000
  max_runtime:
    description:
      - How long all of it may take, such as V(30m). What is at work then is cancelled, without harm, and what is left
        is said.
    type: str
    default: 1h
  fail_when_incomplete:
    description: Whether it is a failure when O(max_runtime) did not suffice.
    type: bool
    default: false
  lock_timeout:
    description: How long to wait for a table that somebody else has locked; then it is skipped.
    type: str
    default: 5s
  skip_locked:
    description: Do not wait for locks at all, not for those of partitions either (C(SKIP_LOCKED)).
    type: bool
    default: false
  cost_delay:
    description:
      - Milliseconds of rest each time that O(cost_limit) is used up (C(vacuum_cost_delay)), so that others get the
        disk. V(0) works without a rest.
    type: float
    default: 2
  cost_limit:
    description: How much work is done between two rests (C(vacuum_cost_limit)). Autovacuum's is 200 unless set.
    type: int
    default: 2000
  parallel:
    description:
      - Workers for the indexes of a table (C(PARALLEL)); V(0) for none. The default is the server's own choice.
    type: int
  truncate:
    description:
      - Whether empty pages at the end of a table are given back to the disk. That needs a short lock against everybody,
        which on a replica ends queries.
    type: bool
    default: false
  limit:
    description: How many tables the report shows.
    type: int
    default: 20
  progress_file:
    description: File in which progress is written while it runs, as JSON.
    type: path
seealso:
  - module: holdfast.ops.postgresql_purge
  - module: holdfast.ops.postgresql_terminate
"""

EXAMPLES = r"""
- name: What needs VACUUM or ANALYZE?
  holdfast.ops.postgresql_vacuum:
    database: omnidoc
  become: true
  check_mode: true

- name: Do it at night, for half an hour at most
  holdfast.ops.postgresql_vacuum:
    database: omnidoc
    max_runtime: 30m
  become: true

- name: New statistics for all partitions of one table, whatever has changed
  holdfast.ops.postgresql_vacuum:
    database: omnidoc
    mode: analyze
    tables: [public.events, public.events_*]
    needed_only: false
  become: true
"""

RETURN = r"""
msg:
  description: What was done, or would be.
  returned: success
  type: str
  sample: 3 tables of omnidoc got VACUUM or ANALYZE in 12 s.
tables:
  description: Every table that needed something, the largest need first.
  returned: success
  type: list
  elements: dict
  contains:
    table:
      description: Schema and name.
      type: str
    what:
      description: C(VACUUM), C(ANALYZE), or both.
      type: str
    why:
      description: Why it needed that.
      type: str
    outcome:
      description:
        - One of V(planned), V(done), V(locked), V(no time left), and V(needless) when somebody else did it meanwhile.
      type: str
    rows:
      description: Rows that are alive.
      type: int
    dead:
      description: Dead rows, before.
      type: int
    dead_percent:
      description: The same as a part of all rows.
      type: float
    changed:
      description: Rows that changed since the last C(ANALYZE), before.
      type: int
    bytes:
      description: Size without indexes, as of the last C(VACUUM) or C(ANALYZE).
      type: int
    vacuumed_at:
      description: When it was vacuumed last, before.
      type: str
    analyzed_at:
      description: When it was analyzed last, before.
      type: str
    seconds:
      description: How long it took.
      type: float
    statement:
      description: The statement.
      type: str
done:
  description: Tables that got what they needed.
  returned: success
  type: list
  elements: str
locked:
  description: Tables that were skipped because of a lock.
  returned: success
  type: list
  elements: str
left:
  description: Tables that O(max_runtime) did not suffice for.
  returned: success
  type: list
  elements: str
seconds:
  description: How long all of it took.
  returned: success
  type: float
findings:
  description: What a person should know, each with C(code), C(severity), C(text), C(subject) and C(advice).
  returned: success
  type: list
  elements: dict
section:
  description: The same for a report.
  returned: success
  type: dict
error_code:
  description: The kind of failure.
  returned: failure
  type: str
  sample: unsupported
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._kinds._postgresql_vacuum import (
    PostgresqlVacuum,
)
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._module import module_spec, run_kind


def main() -> None:
    """Entry point."""
    run_kind(AnsibleModule(**module_spec(PostgresqlVacuum).module()), PostgresqlVacuum)


if __name__ == "__main__":
    main()
