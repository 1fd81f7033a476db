#!/usr/bin/python
# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which never runs this file on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: component
short_description: Run a verb for a declared component
version_added: 1.0.0
author:
  - holdfast.ops authors (@holdfast)
description:
  - Reads C(holdfast_components) and C(holdfast_repositories) from the host's variables, checks the whole declaration
    on the controller, and only then runs the module of the verb on the host, such as
    M(holdfast.ops.postgresql_backup) for the verb V(backup) of a component with C(engine=postgresql).
  - A declaration that cannot be right is refused with every problem on a line of its own, naming the component and
    the key. No value is shown, and no host is contacted.
  - This is what the playbooks of this collection are made of.
attributes:
  action:
    description: Has a corresponding action plugin, so some parts of it run on the controller.
    support: full
  async:
    description: Supports being used with the C(async) keyword.
    support: full
    details:
      - There is no progress then. V(select) does nothing on a host and takes no time.
  bypass_host_loop:
    description: Forces a global task that does not execute per host.
    support: none
  check_mode:
    description: Can run in check mode and tell what would change, without changing it.
    support: full
    details:
      - Passed on to the module.
  diff_mode:
    description: Returns details on what has changed (or would change in check mode) when in diff mode.
    support: full
    details:
      - Passed on to the module.
  idempotent:
    description: Run again without a change in between, it changes nothing.
    support: partial
    details:
      - As the module that is run. V(select) and V(info) change nothing.
options:
  verb:
    description:
      - What to do.
      - V(select) only checks the declaration and returns the names of the components that were asked for.
    type: str
    required: true
    choices: [select, backup, restore, verify, drill, prune, copy, info]
  component:
    description:
      - The name of a declared component. Required, except with O(verb=select), where it is a filter and may hold
        several names with commas between.
    type: str
  set:
    description: With O(verb=select), only components of this set.
    type: str
  tag:
    description: With O(verb=select), only components with this tag.
    type: str
  upkeep:
    description:
      - With O(verb=select), only components whose backups are verified and pruned there, as their key C(upkeep) says.
      - The host's own jobs select V(host) for these two verbs.
    type: str
    choices: [host, elsewhere]
  options:
    description:
      - Options of the module for this run, over those that follow from the declaration, such as C(backup_id) or
        C(confirm) of a restore.
    type: dict
    default: {}
notes:
  - The module is run by the interpreter of the role P(holdfast.ops.runtime#role) where the host has it
    (C(bin/python) below C(holdfast_venv_path), by default C(/opt/holdfast/venv)), else by the host's own. The variable
    C(holdfast_interpreter) names another one.
  - In a terminal a live line shows the progress of a long run, elsewhere a line every 30 seconds. The variable
    C(holdfast_progress) can be C(auto), C(live), C(lines) or C(none), and C(holdfast_progress_interval) is in seconds.
    Progress is read over a second connection and never changes a result; there is none over connections other than
    V(ssh), V(local), V(docker), V(podman) and V(kubectl).
  - Module defaults of the engine's module do not apply. What holds for a component stands in its declaration.
"""

EXAMPLES = r"""
- name: Back up one component
  holdfast.ops.component:
    verb: backup
    component: omnidoc_db
  become: true

- name: Bring it back as it was in the evening, beside the present one
  holdfast.ops.component:
    verb: restore
    component: omnidoc_db
    options:
      at: "2026-11-22T20:00:00Z"
      target_database: omnidoc_evening
  become: true

- name: Bring to a second place what only the first has
  holdfast.ops.component:
    verb: copy
    component: omnidoc_db
    options:
      destination: offsite
      newer_than: 30d
  become: true

- name: What is there?
  holdfast.ops.component:
    verb: select
  register: declared
"""

RETURN = r"""
component:
  description: The component that the module was run for; beside it stands what that module returns.
  returned: when a module was run
  type: str
  sample: omnidoc_db
components:
  description: Names of the components that were asked for, in the order in which they are declared.
  returned: with O(verb=select)
  type: list
  elements: str
  sample: [omnidoc_db, omnidoc_files]
sets:
  description: The set of each of these components that belongs to one.
  returned: with O(verb=select)
  type: dict
  sample: {omnidoc_db: omnidoc, omnidoc_files: omnidoc}
policies:
  description:
    - For each of these components, when it is backed up, verified and rehearsed and within which limits, with all
      defaults filled in; and which directories of the host its runs write to. It holds no secret.
  returned: with O(verb=select)
  type: dict
  sample:
    omnidoc_db:
      engine: postgresql
      schedule: "02:00"
      verification: {level: checksum, schedule: weekly}
      drill: weekly
      upkeep: host
      rpo_seconds: 86400
      rto_seconds: 1800
      max_runtime_seconds: 518400
      directories: [/srv/backups]
      shared_tmp: false
error_code:
  description: The kind of failure; V(invalid_declaration) when the declaration is wrong.
  returned: on failure
  type: str
  sample: invalid_declaration
problems:
  description: Everything that is wrong with the declaration.
  returned: when the declaration is wrong
  type: list
  elements: str
  sample: ["component omnidoc_db: retantion: unknown key, did you mean retention?"]
"""
