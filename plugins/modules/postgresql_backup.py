#!/usr/bin/python
# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module holdfast.ops.postgresql_backup."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_backup
short_description: Back up PostgreSQL databases into one or more repositories
version_added: 1.0.0
author:
  - holdfast.ops authors (@holdfast)
description:
  - Dumps one database, several, or all of a server, with its roles and tablespaces, and stores the dump in every
    repository in a single pass. Nothing is written to a disk of the host with O(format=custom).
  - The tables are locked against changes of their definition first, then one exported snapshot of each database serves
    its dump and its fingerprint, so the backup is of one moment. Reading and writing rows goes on.
  - The backup exists when every tool has succeeded, every repository has confirmed what it was sent, and the manifest
    is written. Until then there is none, whatever happens to the process.
  - The manifest holds the shell lines that restore the backup without this collection.
  - Before anything starts, the versions of the programs, the databases, the rights on every table, sequence and large
    object, and the room in the repositories are checked.
notes:
  - PostgreSQL 13 to 18 are supported.
  - A role that row security applies to makes the backup fail; it would hold fewer rows than there are.
  - Roles are saved without their passwords when O(login_user) may not read them, and the manifest says so.
  - A backup of several databases has one moment for each, and counts as old as the first of them.
  - Whoever wants to change the definition of a table, or to empty it with TRUNCATE, waits until the dump has ended.
extends_documentation_fragment:
  - holdfast.ops.postgresql
  - holdfast.ops.postgresql_login
  - holdfast.ops.container
  - holdfast.ops.repository
  - holdfast.ops.encryption
  - holdfast.ops.reporting
  - holdfast.ops.backup
attributes:
  check_mode:
    description: Can run in check mode and tell what would change, without changing it.
    support: full
    details:
      - Runs the whole preflight and returns the plan with sizes. Rights that cannot be proved by reading are
        reported as unproven.
  diff_mode:
    description: Returns details on what has changed (or would change in check mode) when in diff mode.
    support: full
    details:
      - The plan is the diff.
  idempotent:
    description: Run again without a change in between, it changes nothing.
    support: partial
    details:
      - With O(max_age), while a backup with the same options is younger in every repository.
options:
  schemas:
    description:
      - Dump only these schemas. A name is taken as it is stored; V(*) and V(?) are wildcards; what stands in double
        quotes is taken literally.
      - What belongs to no schema is left out then, such as large objects. Extensions are dumped.
    type: list
    elements: str
    default: []
  exclude_schemas:
    description: Leave these schemas out. Written as in O(schemas).
    type: list
    elements: str
    default: []
  tables:
    description:
      - Dump only these tables, views or sequences, written as V(schema.table), or V(table) for any schema. Partitions
        come with their table. Excludes O(schemas) and O(exclude_schemas).
    type: list
    elements: str
    default: []
  exclude_tables:
    description: Leave these tables out, with their partitions. Written as in O(tables).
    type: list
    elements: str
    default: []
  exclude_table_data:
    description: Dump these tables, with their partitions, without rows. Written as in O(tables).
    type: list
    elements: str
    default: []
  format:
    description:
      - V(custom) is streamed.
      - V(directory) can be dumped by several O(jobs). The files of finished tables are sent while others are written to
        O(scratch_dir). Not possible with O(container).
    type: str
    choices: [custom, directory]
    default: custom
  jobs:
    description: With O(format=directory), how many connections dump at the same time.
    type: int
    default: 1
  scratch_limit:
    description:
      - With O(format=directory), how much may wait in O(scratch_dir) to be sent. At that size C(pg_dump) is stopped
        until half of it is sent.
      - A table that is larger by itself is still dumped, with a warning, as long as the file system has room.
    type: str
    default: 16GiB
  fingerprint:
    description:
      - What is noted of the data, so that a restore can be proved.
      - V(estimate) takes the planner's estimates and proves nothing. V(counts) counts the rows of every table.
        V(digest) also reads their contents, which costs about as much as the dump.
    type: str
    choices: [none, estimate, counts, digest]
    default: counts
  lock_wait_timeout:
    description: Seconds to wait for the locks on all tables of a database. The error names who holds one.
    type: int
    default: 60
  stall_timeout:
    description: Seconds of silence after which C(pg_dump) is given up. V(0) waits for ever.
    type: int
    default: 1800
seealso:
  - module: holdfast.ops.postgresql_restore
  - module: holdfast.ops.backup_verify
  - module: holdfast.ops.backup_info
"""

EXAMPLES = r"""
- name: One database of the local server, encrypted, to a disk
  holdfast.ops.postgresql_backup:
    component: shop_db
    database: shop
    repositories:
      - {name: nas, type: local, path: /srv/backups}
    encryption:
      method: age
      recipients: [age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p]
  become: true

- name: What would be done
  holdfast.ops.postgresql_backup:
    component: shop_db
    database: shop
    repositories:
      - {name: nas, type: local, path: /srv/backups}
  check_mode: true
  diff: true
  become: true

- name: Everything of a remote server, once a day at most, into two stores at once
  holdfast.ops.postgresql_backup:
    component: main_cluster
    databases: all
    login_host: db.example.com
    login_user: backup
    login_password: "{{ backup_password }}"
    ssl_mode: verify-full
    max_age: 20h
    repositories:
      - {name: primary, type: s3, endpoint_url: "https://s3.example.com", bucket: backups}
      - {name: nas, type: local, path: /srv/backups}

- name: A large database, four tables at a time
  holdfast.ops.postgresql_backup:
    component: warehouse
    database: warehouse
    format: directory
    jobs: 4
    scratch_dir: /var/tmp/holdfast
    exclude_table_data: [app.cache_*]
    repositories:
      - {name: primary, type: s3, endpoint_url: "https://s3.example.com", bucket: backups}
  become: true

- name: The server of a Docker Compose project
  holdfast.ops.postgresql_backup:
    component: wiki_db
    database: wiki
    container:
      project: wiki
      service: db
    repositories:
      - {name: nas, type: local, path: /srv/backups}
  become: true
"""

RETURN = r"""
backup_id:
  description: The id of the backup.
  returned: when one was made
  type: str
  sample: 20261122T020000.123Z-9f2c41b3a7de
plan:
  description: What was done, or would be.
  returned: when the preflight passed
  type: list
  elements: str
  sample: ["PostgreSQL 17.6 at /var/run/postgresql/.s.PGSQL.5432, dumped by /usr/lib/postgresql/17/bin/pg_dump (17)",
           "roles and tablespaces", "database 'shop': 31 tables, about 1.2 GiB, custom"]
expected_bytes:
  description: How much would be dumped, by the sizes of the tables.
  returned: when the preflight passed
  type: int
rights:
  description: In check mode, what is known of the rights in each repository. Null means unproven.
  returned: when the preflight passed
  type: dict
repositories:
  description: The repositories in which the backup is committed.
  returned: when the preflight passed
  type: list
  elements: str
missing:
  description: The repositories in which it is not, and why. The task has failed then (C(error_code=degraded)).
  returned: when the preflight passed
  type: dict
artefacts:
  description: What was stored.
  returned: when one was made
  type: list
  elements: dict
  contains:
    name:
      description: File name below the backup's data directory.
      type: str
      sample: shop.dump.zst.age
    kind:
      description: What it is, such as C(dump), C(directory), C(globals), C(details) or C(fingerprint).
      type: str
    size:
      description: Stored bytes.
      type: int
    sha256:
      description: Checksum of the stored bytes.
      type: str
source:
  description: Facts about the server.
  returned: when one was made
  type: dict
  sample: {"server_version": "17.6", "databases": ["shop"], "role_passwords": true, "format": "custom"}
fingerprint:
  description: The level of the fingerprint.
  returned: when one was made
  type: str
  sample: counts
snapshot_at:
  description: The moment that the data is of.
  returned: when one was made
  type: str
  sample: "2026-11-22T02:00:00.345Z"
bytes:
  description: Bytes of the dump before compression.
  returned: when one was made
  type: int
stored_bytes:
  description: Bytes that were stored in each repository.
  returned: when one was made
  type: int
ratio:
  description: The first by the second.
  returned: when one was made
  type: float
seconds:
  description: How long it took.
  returned: when one was made
  type: float
seconds_by_stage:
  description: The same by stage.
  returned: when one was made
  type: dict
  sample: {"preflight": 0.2, "dump": 61.5, "commit": 0.1}
mb_per_s:
  description: Megabytes of the dump a second.
  returned: when one was made
  type: float
error_code:
  description: What kind of failure it was, such as C(authentication_failed), C(not_found), C(locked) or C(degraded).
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
from ansible_collections.holdfast.ops.plugins.module_utils._arguments import backup_spec
from ansible_collections.holdfast.ops.plugins.module_utils._engines._postgresql import PostgresqlEngine
from ansible_collections.holdfast.ops.plugins.module_utils._run import run_backup


def main() -> None:
    """Entry point."""
    run_backup(AnsibleModule(**backup_spec(PostgresqlEngine).module()), PostgresqlEngine)


if __name__ == "__main__":
    main()
