#!/usr/bin/python
# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module holdfast.ops.postgresql_restore."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_restore
short_description: Restore PostgreSQL databases, proved before they take their place
version_added: 1.0.0
author:
  - holdfast.ops authors (@holdfast)
description:
  - Restores one database, several, or a whole cluster from a backup made by M(holdfast.ops.postgresql_backup).
  - Every database is restored under a temporary name, analyzed, compared with the fingerprint that was taken when it
    was dumped, and looked at (sequences, indexes, vector indexes, C(pg_amcheck) where the server has it). Only when all
    of them are proved do they take their places, in one transaction that also renames those that were there.
    Whatever fails before leaves everything as it was.
  - The replaced databases are kept under the name C(<database>_before_<time>) unless O(keep_previous=false).
  - Owner, privileges, settings of the database and of roles in it, comment, encoding, locale, tablespace and connection
    limit are restored as well.
  - Before anything is touched, versions, roles, tablespaces, extensions, locales and free space are checked.
  - With O(tables) or O(schemas), these are replaced in an existing database, in one transaction that is committed only
    when they hold as many rows as were dumped.
  - The databases C(postgres) and C(template1) are restored into a fresh cluster only.
notes:
  - With O(globals=missing), roles that are only members of those that a database refers to are not created, often the
    login of an application among them. A warning names them, with the statements that create them (without passwords).
  - A vector index is probed unless its expression or condition calls a function that a user has made, because that
    would run with the rights of the restoring role.
  - To replace a database that holds anything, O(confirm) must name it. Several names are joined by a comma and a space,
    in alphabetical order. With O(globals=all) and roles in the cluster, C(roles) is one of the names.
  - Sessions of a database that is replaced are ended. Prepared transactions in it make the restore refuse.
  - Replication slots and subscriptions stay with the replaced database. A warning names them.
  - A subscription comes back disabled, and its slot is not touched. It may be that of the database that was dumped, so
    set C(slot_name = NONE) before you drop a copy.
  - While it is restored, a database lets only superusers in; where a role without that right restores, those whom the
    database's own privileges allow.
extends_documentation_fragment:
  - holdfast.ops.postgresql
  - holdfast.ops.postgresql_login
  - holdfast.ops.container
  - holdfast.ops.repository
  - holdfast.ops.identity
  - holdfast.ops.reporting
  - holdfast.ops.restore
attributes:
  check_mode:
    description: Can run in check mode and tell what would change, without changing it.
    support: full
    details:
      - Runs the whole preflight against the target and returns the plan.
  diff_mode:
    description: Returns details on what has changed (or would change in check mode) when in diff mode.
    support: full
    details:
      - The plan is the diff.
  idempotent:
    description: Run again without a change in between, it changes nothing.
    support: none
    details:
      - Every run restores.
options:
  target_database:
    description:
      - Restore the only database under this name.
      - With O(tables) or O(schemas), the database that they are restored into.
    type: str
  globals:
    description:
      - What becomes of the roles in the backup.
      - V(missing) creates the roles that the databases refer to and the cluster lacks, with the passwords that they
        had. Existing roles are never altered.
      - V(all) makes every role what it was, passwords included, and creates missing tablespaces. The password of the
        role that restores is left as it is. In a cluster that has roles, O(confirm) must name C(roles).
      - V(none) creates none, and fails when one is missing.
    type: str
    choices: [missing, all, none]
    default: missing
  keep_previous:
    description:
      - Keep the replaced database under another name. Otherwise it is dropped when the new one has taken its place.
      - What earlier restores have kept is told in a warning of each restore of the same database, with the statements
        that drop it. Its comment (C(\l+) in psql) says when it was replaced.
    type: bool
    default: true
  keep_previous_for:
    description:
      - When the restore has succeeded, drop what earlier restores of the same databases have replaced and kept, if that
        was longer ago (V(14d)). The plan names them.
      - Only those go that bear both the name and the comment that a restore has given them. What somebody has renamed
        stays.
      - Without it none is ever dropped.
    type: str
  jobs:
    description:
      - Restore with so many jobs of pg_restore. More than one need room in O(scratch_dir) for the archive.
      - A backup in directory format is always unpacked there.
    type: int
    default: 1
  tables:
    description:
      - Replace only these tables, with their partitions, indexes, constraints, triggers, sequences and privileges, in
        an existing database. Written as V(schema.table); a part that holds a dot in double quotes.
      - Foreign keys of other tables are made again, and so checked against the restored rows. Anything else that
        depends on a table, such as a view, must be restored with it.
    type: list
    elements: str
    default: []
  schemas:
    description: Replace everything in these schemas of an existing database.
    type: list
    elements: str
    default: []
  tablespaces:
    description: Put everything into the tablespaces that it was in. Otherwise into the default one.
    type: bool
    default: true
  amcheck:
    description: Run C(pg_amcheck) on what was restored, where the server has it. It reads everything once more.
    type: bool
    default: true
seealso:
  - module: holdfast.ops.postgresql_backup
  - module: holdfast.ops.backup_info
  - module: holdfast.ops.backup_verify
"""

EXAMPLES = r"""
- name: What would be restored
  holdfast.ops.postgresql_restore:
    component: shop_db
    repositories:
      - {name: nas, type: local, path: /srv/backups}
    identity:
      age_file: /root/backup-identity.txt
  check_mode: true
  diff: true

- name: The newest backup into the live database
  holdfast.ops.postgresql_restore:
    component: shop_db
    database: shop
    confirm: shop
    services: [shop-web, shop-worker]
    safety_backup: true
    repositories:
      - {name: nas, type: local, path: /srv/backups}
    identity:
      age_file: /root/backup-identity.txt

- name: Yesterday's state beside the live database
  holdfast.ops.postgresql_restore:
    component: shop_db
    database: shop
    target_database: shop_yesterday
    at: "2026-11-21T20:00:00Z"
    repositories:
      - {name: primary, type: s3, endpoint_url: "https://s3.example.com", bucket: backups}

- name: One table that was deleted by mistake
  holdfast.ops.postgresql_restore:
    component: shop_db
    database: shop
    tables: [public.prices]
    confirm: shop
    repositories:
      - {name: nas, type: local, path: /srv/backups}

- name: A whole cluster into a new server
  holdfast.ops.postgresql_restore:
    component: main_cluster
    globals: all
    jobs: 4
    repositories:
      - {name: primary, type: s3, endpoint_url: "https://s3.example.com", bucket: backups}
"""

RETURN = r"""
backup_id:
  description: The backup that was restored, or would be.
  returned: when one was found
  type: str
  sample: 20261122T020000.123Z-9f2c41b3a7de
plan:
  description: What was done, or would be.
  returned: when the preflight passed
  type: list
  elements: str
  sample: ["create database 'shop': UTF8, libc C.UTF-8, owner 'shop', 123456789 bytes"]
live:
  description: The name of what is in use and is replaced, as O(confirm) must say it; null where nothing is.
  returned: when the preflight passed
  type: str
  sample: shop
repository:
  description: The repository that was read.
  returned: when one was found
  type: str
proof:
  description: What the restored databases were compared with. Null in check mode.
  returned: when the preflight passed
  type: dict
  contains:
    proved:
      description: Whether a fingerprint that proves anything was there, and everything is as it was.
      type: bool
    level:
      description: The level of the fingerprint.
      type: str
      sample: counts
    checked:
      description: How many things were compared.
      type: int
    differences:
      description: What is not as it was. Empty after a success.
      type: list
      elements: str
    details:
      description:
        - Findings by check. One that could not be made says C(skipped) and why. Of several databases, by database.
        - C(previous) holds the new names of the databases that were replaced and kept, by their old names.
        - C(dropped) lists those of earlier restores that were dropped (O(keep_previous_for)).
      type: dict
      sample: {"amcheck": "ok", "invalid_indexes": 0, "previous": {"shop": "shop_before_20261122T143700Z"}}
safety_backup:
  description: The result of the safety backup, as from M(holdfast.ops.postgresql_backup).
  returned: when the preflight passed
  type: dict
seconds:
  description: How long it took.
  returned: when the preflight passed
  type: float
seconds_by_stage:
  description: The same by stage, so that the restore itself, the proof and ANALYZE can be told apart.
  returned: when the preflight passed
  type: dict
  sample: {"preflight": 0.2, "restore": 61.5, "analyze": 4.1, "prove": 6.0, "amcheck": 9.3, "swap": 0.1}
error_code:
  description: What kind of failure it was, such as C(refused), C(not_proved), C(version_mismatch) or C(corrupted).
  returned: on failure
  type: str
stage:
  description: Where it failed.
  returned: on failure
  type: str
tool_output:
  description: The tool's own words, redacted.
  returned: on failure
  type: str
hint:
  description: What to do next.
  returned: on failure
  type: str
left_behind:
  description: What was left in place, mostly C(nothing).
  returned: on failure
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.ops.plugins.module_utils._arguments import restore_spec
from ansible_collections.holdfast.ops.plugins.module_utils._engines._postgresql import PostgresqlEngine
from ansible_collections.holdfast.ops.plugins.module_utils._run import run_restore


def main() -> None:
    """Entry point."""
    run_restore(AnsibleModule(**restore_spec(PostgresqlEngine).module()), PostgresqlEngine)


if __name__ == "__main__":
    main()
