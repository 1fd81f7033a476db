#!/usr/bin/python
# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module holdfast.ops.postgresql_purge."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_purge
short_description: Delete old rows of PostgreSQL in short transactions
version_added: 1.0.0
author:
  - holdfast.ops authors (@holdfast)
description:
  - Deletes the rows of a table whose time lies further back than declared. They are counted before the first one
    goes; with more than O(most), none does.
  - Rows are deleted in batches whose size adapts to what a row costs, with triggers and all. No transaction lasts
    longer than five seconds. Rows that somebody else has locked are left for the next run.
  - Rows can be archived, into a table or into a compressed file. At no moment is a row in neither place, even if the
    run is killed, and after the next run none is archived twice.
  - What is committed stays done. A run that was killed, or had no time left, is gone on with by the next one.
notes:
  - Times without a zone are taken for UTC. A row whose time is NULL is never old.
  - The role needs SELECT, UPDATE (for the locks) and DELETE on the table. Where row security applies to it, it gets an
    error and not fewer rows.
  - An index that begins with O(column) makes it fast. Without one, the table is read once, page after page.
  - Where the whole of a partition is old, C(ALTER TABLE … DETACH PARTITION) and C(DROP TABLE) take no time at all.
extends_documentation_fragment:
  - holdfast.ops.postgresql_login
  - holdfast.ops.container
attributes:
  check_mode:
    description: Can run in check mode and tell what would change, without changing it.
    support: full
    details:
      - Counts, and says what would be refused. Where counting takes more than four seconds, it estimates and says so.
  diff_mode:
    description: Returns details on what has changed (or would change in check mode) when in diff mode.
    support: none
    details:
      - Numbers of rows stand in RV(tables).
  idempotent:
    description: Run again without a change in between, it changes nothing.
    support: full
    details:
      - Until rows have become old enough.
options:
  database:
    description: The database.
    type: str
    required: true
  table:
    description:
      - The table, such as V(public.projects). A part with a dot in it goes into double quotes; wildcards are refused.
      - Partitions and children of it are purged with it.
    type: str
  column:
    description: The column that says how old a row is, of type C(timestamp), C(timestamptz) or C(date).
    type: str
  older_than:
    description: How far back that must lie, such as V(90d).
    type: str
    required: true
  where:
    description:
      - Further conditions, a column and the value that it must have, or a list of values of which it must have one.
        Null is a value here.
    type: dict
    default: {}
  condition:
    description:
      - A further condition in SQL. It is passed to the server as it is, so it must come from whoever may do everything
        there. Names outside of C(pg_catalog) need their schema.
    type: str
  archive_table:
    description:
      - A table that takes the rows, in the transaction that deletes them. It is made, with the same columns and nothing
        else, when it is missing.
    type: str
  tables:
    description:
      - Several tables instead of O(table), in this order. Tables that refer to others come before them.
    type: list
    elements: dict
    suboptions:
      table:
        description: As O(table).
        type: str
        required: true
      column:
        description: As O(column).
        type: str
        required: true
      older_than:
        description: As O(older_than), which is the default.
        type: str
      where:
        description: As O(where).
        type: dict
        default: {}
      condition:
        description: As O(condition).
        type: str
      archive_table:
        description: As O(archive_table).
        type: str
  archive_directory:
    description:
      - A directory on the host that files with the rows are written to, C(<schema>.<table>-<time>.csv.zst), readable by
        their owner only. A batch is on the disk before its transaction commits.
      - It is made when missing. If it is there, others must have no rights on it.
    type: path
  cascade:
    description:
      - Whether rows of other tables may go, or be changed, by their foreign keys (C(ON DELETE CASCADE), C(SET NULL),
        C(SET DEFAULT)). Otherwise the purge is refused when there are any.
      - Rows that go like this are in no archive, so they are refused together with one.
    type: bool
    default: false
  most:
    description: With more rows than this in all, nothing is deleted.
    type: int
    default: 1000000
  batch_size:
    description: Rows of the first batch. The others adapt.
    type: int
    default: 100
  pause:
    description: Seconds between two batches, for replicas and the disk.
    type: float
    default: 0.1
  max_runtime:
    description: How long all of it may take, such as V(30m). What is left is said, and goes with the next run.
    type: str
    default: 1h
  fail_when_incomplete:
    description: Whether it is a failure when O(max_runtime) did not suffice.
    type: bool
    default: false
  progress_file:
    description: File in which progress is written while it runs, as JSON.
    type: path
seealso:
  - module: holdfast.ops.postgresql_vacuum
  - module: holdfast.ops.postgresql_backup
"""

EXAMPLES = r"""
- name: How many projects has nobody touched for 90 days?
  holdfast.ops.postgresql_purge:
    database: omnidoc
    table: public.projects
    column: updated_at
    older_than: 90d
  become: true
  check_mode: true

- name: Delete them with their documents, the documents first, and keep what was deleted
  holdfast.ops.postgresql_purge:
    database: omnidoc
    tables:
      - {table: public.documents, column: updated_at}
      - {table: public.projects, column: updated_at, where: {archived: true}}
    older_than: 90d
    archive_directory: /var/lib/holdfast/purged
  become: true

- name: Events of a year ago move to another table, for an hour each night
  holdfast.ops.postgresql_purge:
    database: omnidoc
    table: public.events
    column: happened_at
    older_than: 365d
    archive_table: archive.events
    most: 100000000
    max_runtime: 1h
  become: true
"""

RETURN = r"""
msg:
  description: What was done, or would be.
  returned: success
  type: str
  sample: 1,234 rows of public.projects deleted in 3 s, in 7 batches.
tables:
  description: Every table, in the order given.
  returned: success
  type: list
  elements: dict
  contains:
    table:
      description: Schema and name.
      type: str
    column:
      description: The column that says how old a row is.
      type: str
    cutoff:
      description: Rows older than this were meant.
      type: str
    rows:
      description: Rows that were counted before.
      type: int
    exact:
      description: Whether they were counted, and not estimated.
      type: bool
    oldest:
      description: The oldest of them.
      type: str
    referring:
      description: For each foreign key that refers to it, what it does and for how many of these rows.
      type: list
      elements: dict
    deleted:
      description: Rows that were deleted.
      type: int
    remaining:
      description: Rows that are left, or nothing when counting them took too long.
      type: int
    batches:
      description: Transactions that deleted something.
      type: int
    complete:
      description: Whether the time sufficed for the whole table.
      type: bool
    longest:
      description: Seconds that the longest transaction took.
      type: float
    archive:
      description: The table or file that took the rows.
      type: str
    load:
      description: The command that brings them back from a file.
      type: str
rows:
  description: Rows that were counted before, in all.
  returned: success
  type: int
deleted:
  description: Rows that were deleted, in all.
  returned: success
  type: int
complete:
  description: Whether the time sufficed.
  returned: success
  type: bool
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
  description: The kind of failure; V(refused) when a guard held.
  returned: failure
  type: str
  sample: refused
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._kinds._postgresql_purge import PostgresqlPurge
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._module import module_spec, run_kind


def main() -> None:
    """Entry point."""
    run_kind(AnsibleModule(**module_spec(PostgresqlPurge).module()), PostgresqlPurge)


if __name__ == "__main__":
    main()
