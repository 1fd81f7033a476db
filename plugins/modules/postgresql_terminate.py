#!/usr/bin/python
# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module holdfast.ops.postgresql_terminate."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_terminate
short_description: End sessions of PostgreSQL that exceed an age
version_added: 1.0.0
author:
  - holdfast.ops authors (@holdfast)
description:
  - Cancels statements that run too long, and ends sessions that have been idle, or idle in a transaction, for too long.
  - In the one statement that ends a session, everything is asked again. It must be the same process since the same
    moment, and still exceed the age and fulfil all conditions. A session that has done its work meanwhile lives.
  - Never ended are sessions of holdfast itself (backups among them), replication, autovacuum workers, and other
    processes of the server; sessions of superusers only with O(superusers).
notes:
  - The role needs C(pg_signal_backend) and C(pg_read_all_stats), or be a superuser, or be the one whose sessions
    these are.
  - An autovacuum worker "to prevent wraparound" is told of and left alone. It would begin anew at once, and without its
    work the server one day takes no more writes.
  - What a statement was is told without its literals.
extends_documentation_fragment:
  - holdfast.ops.postgresql_login
  - holdfast.ops.container
attributes:
  check_mode:
    description: Can run in check mode and tell what would change, without changing it.
    support: full
    details:
      - Tells which sessions would be ended.
  diff_mode:
    description: Returns details on what has changed (or would change in check mode) when in diff mode.
    support: none
    details:
      - The same stands in RV(sessions).
  idempotent:
    description: Run again without a change in between, it changes nothing.
    support: full
    details:
      - Until others exceed the age.
options:
  database:
    description: The database to log in to, and the one whose sessions are meant unless O(databases) says otherwise.
    type: str
    required: true
  older_than:
    description:
      - The age, such as V(5m). For V(active) how long the statement has run, for the others how long the session has
        done nothing.
    type: str
    required: true
  states:
    description:
      - Which sessions are meant. One that is V(idle in transaction) holds its locks, and keeps dead rows from being
        removed. One that is V(idle) holds only a connection.
    type: list
    elements: str
    choices: [active, idle, idle in transaction]
    required: true
  mode:
    description:
      - V(cancel) ends statements and no session; only for the state V(active).
      - V(terminate) cancels a statement first. It ends the session when the statement goes on after O(grace), or has
        left a transaction open. Idle sessions are ended at once.
    type: str
    choices: [cancel, terminate]
    default: terminate
  grace:
    description: How long a cancelled statement has to end.
    type: str
    default: 10s
  databases:
    description: Sessions of these databases; V(all) for those of every one. The default is O(database).
    type: list
    elements: str
  users:
    description: Only sessions of these roles. C(*) and C(?) are wildcards.
    type: list
    elements: str
  exclude_users:
    description: But not of these roles.
    type: list
    elements: str
    default: []
  applications:
    description: Only sessions with these application names. C(*) and C(?) are wildcards.
    type: list
    elements: str
  exclude_applications:
    description: But not with these. Backups of others are among the default.
    type: list
    elements: str
    default: [pg_dump, pg_dumpall, pg_restore, pg_basebackup, "pgbackrest*", "barman*"]
  query_matches:
    description:
      - Only sessions whose statement, or last one, matches this regular expression of PostgreSQL, somewhere and in any
        case.
    type: str
  superusers:
    description: Sessions of superusers too.
    type: bool
    default: false
  limit:
    description: How many sessions the report shows.
    type: int
    default: 20
  progress_file:
    description: File in which progress is written while it runs, as JSON.
    type: path
seealso:
  - module: holdfast.ops.postgresql_vacuum
"""

EXAMPLES = r"""
- name: Who has left a transaction open for more than ten minutes?
  holdfast.ops.postgresql_terminate:
    database: omnidoc
    states: [idle in transaction]
    older_than: 10m
  become: true
  check_mode: true

- name: End them
  holdfast.ops.postgresql_terminate:
    database: omnidoc
    states: [idle in transaction]
    older_than: 10m
  become: true

- name: Cancel reports that run for more than an hour, but end nobody's session
  holdfast.ops.postgresql_terminate:
    database: omnidoc
    states: [active]
    older_than: 1h
    mode: cancel
    users: ["reporting_*"]
  become: true
"""

RETURN = r"""
msg:
  description: What was done, or would be.
  returned: success
  type: str
  sample: "Of 2 sessions that had been active for 5m or longer: 1 cancelled, 1 terminated."
sessions:
  description: Every session that exceeded the age, the oldest first.
  returned: success
  type: list
  elements: dict
  contains:
    pid:
      description: Its process.
      type: int
    role:
      description: Whose it was.
      type: str
    database:
      description: In which database.
      type: str
    application:
      description: Its application name.
      type: str
    client:
      description: Its address, or V(local).
      type: str
    state:
      description: What it was.
      type: str
    age:
      description: For how many seconds.
      type: float
    waits_for:
      description: What it waited for.
      type: str
    query:
      description: Its statement, or last one, without literals.
      type: str
    outcome:
      description:
        - One of V(planned), V(cancelled), V(terminated), V(ended by itself), and V(not allowed).
      type: str
cancelled:
  description: Processes whose statement was cancelled.
  returned: success
  type: list
  elements: int
terminated:
  description: Processes that were ended.
  returned: success
  type: list
  elements: int
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
  description: The kind of failure; V(permission_denied) when the role may not end some of them.
  returned: failure
  type: str
  sample: permission_denied
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._kinds._postgresql_terminate import (
    PostgresqlTerminate,
)
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._module import module_spec, run_kind


def main() -> None:
    """Entry point."""
    run_kind(AnsibleModule(**module_spec(PostgresqlTerminate).module()), PostgresqlTerminate)


if __name__ == "__main__":
    main()
