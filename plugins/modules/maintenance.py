#!/usr/bin/python
# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module holdfast.ops.maintenance."""

from __future__ import annotations

DOCUMENTATION = r"""
module: maintenance
short_description: Look after a host as it is declared, and act where that was asked for
version_added: 1.0.0
author:
  - holdfast.ops authors (@holdfast)
description:
  - Reads C(holdfast_maintenance) from the host's variables, checks the whole declaration on the controller, and runs
    its tasks on the host. Reports and plans are made side by side and take less than ten seconds together; a task that
    fails, or is late, stops no other. Actions follow one after the other, in the order of their declaration.
  - An action acts only when O(apply) names it, or when its declaration says C(every) and the schedule of that part runs
    it (O(scheduled)). Otherwise it is looked at, and what it would do is told. A name that is none of an action is
    refused, and there is no name for all of them.
  - Components that an action names as C(backup) are backed up first. When one of these backups fails, neither that
    action nor one after it acts.
  - What was found is written on the host as JSON, Markdown and HTML, and as metrics for node_exporter's textfile
    collector. Each kind of task is also a module of its own.
  - This is what the playbook C(holdfast.ops.maintenance) and the jobs of the role P(holdfast.ops.maintenance#role) run.
attributes:
  action:
    description: Has a corresponding action plugin, so some parts of it run on the controller.
    support: full
  async:
    description: Supports being used with the C(async) keyword.
    support: none
  bypass_host_loop:
    description: Forces a global task that does not execute per host.
    support: none
  check_mode:
    description: Can run in check mode and tell what would change, without changing it.
    support: full
    details:
      - Nothing acts, and neither reports nor metrics are written. What was to act is looked at, and so is the backup
        that it wants.
  diff_mode:
    description: Returns details on what has changed (or would change in check mode) when in diff mode.
    support: none
    details:
      - The plan is told in any mode.
  idempotent:
    description: Run again without a change in between, it changes nothing.
    support: partial
    details:
      - As the actions that are run. Reports change nothing.
options:
  part:
    description: Only the tasks of this part. All tasks that the host declares, unless others are named.
    type: str
    choices: [daily, weekly, monthly]
  names:
    description: Only the tasks with these names.
    type: list
    elements: str
    default: []
  apply:
    description:
      - Actions that shall act. With neither O(part) nor O(names), nothing else is looked at.
      - In check mode they are only looked at.
    type: list
    elements: str
    default: []
  scheduled:
    description: It is the schedule of O(part) that runs it, so that those of its actions act whose declaration says so.
    type: bool
    default: false
  fail_on:
    description: From which severity on findings make the module fail. A task that fails always does, at the end.
    type: str
    choices: [never, warning, critical]
    default: never
  formats:
    description:
      - What reports are written as. By default all of them.
      - V(html) needs Jinja2 on the host, which the role P(holdfast.ops.agent#role) brings. Without it that report is
        left out with a warning, unless it was asked for here.
    type: list
    elements: str
    choices: [json, markdown, html]
  reports_dir:
    description: Where reports are written on the host, with the figures that are kept from run to run.
    type: path
    default: /var/lib/holdfast/reports/maintenance
  keep_days:
    description: For how many days reports are kept.
    type: int
    default: 400
  textfile_dir:
    description: The directory of node_exporter's textfile collector; it must exist. Without it no metrics are written.
    type: path
  declared:
    description: What is declared, as JSON. The action plugin sets it; there is no need to.
    type: str
  host:
    description: What reports call the host. The action plugin sets it.
    type: str
  failed_backups:
    description: Components that could not be backed up, and why. The action plugin sets it.
    type: dict
    default: {}
  interval:
    description: The longest time in seconds between two runs of the part. The action plugin sets it.
    type: float
  progress_file:
    description: Where progress is written. The action plugin sets it.
    type: path
notes:
  - Runs as root (C(become)).
  - The module is run by the interpreter of the role P(holdfast.ops.runtime#role) where the host has it.
  - The declaration, its kinds and their options stand in docs/maintenance.md of this collection.
seealso:
  - module: holdfast.ops.health_check
  - module: holdfast.ops.component
"""

EXAMPLES = r"""
- name: How is the host?
  holdfast.ops.maintenance:
  become: true
  register: looked

- name: In words
  ansible.builtin.debug:
    msg: "{{ looked.lines }}"

- name: Remove the old projects that are declared, after a backup
  holdfast.ops.maintenance:
    apply: [old_projects]
  become: true

- name: Fail a pipeline when something is critical
  holdfast.ops.maintenance:
    part: daily
    fail_on: critical
  become: true
"""

RETURN = r"""
lines:
  description: What was found and done, as lines of text, the worst first.
  returned: when tasks were run
  type: list
  elements: str
  sample:
    - "Daily maintenance of db1: 1 warning, in 1.2 s."
    - "  WARNING   database: The index public.orders_old_idx was never used and holds 1.2 GiB."
    - "            -> DROP INDEX CONCURRENTLY public.orders_old_idx"
severity:
  description: The worst severity that was found; V(critical) when a task failed.
  returned: when tasks were run
  type: str
  sample: warning
findings:
  description: Everything that somebody should know of, the worst first.
  returned: when tasks were run
  type: list
  elements: dict
  contains:
    task:
      description: The task that found it.
      type: str
    code:
      description: What it is, for machines.
      type: str
    severity:
      description: V(info), V(warning) or V(critical).
      type: str
    text:
      description: A sentence.
      type: str
    subject:
      description: What it is about.
      type: str
    advice:
      description: What to do next.
      type: str
tasks:
  description: What became of each task, as in the JSON report.
  returned: when tasks were run
  type: list
  elements: dict
  contains:
    name:
      description: As declared.
      type: str
    kind:
      description: As declared.
      type: str
    seconds:
      description: How long it took.
      type: float
    severity:
      description: The worst of its findings; V(critical) when it failed.
      type: str
    acted:
      description: Whether it did what its section tells; otherwise that is its plan.
      type: bool
    section:
      description: Title, summary, findings, tables and figures; none when it failed.
      type: dict
    failure:
      description: Code, text and advice when it failed.
      type: dict
acted:
  description: Names of the actions that acted.
  returned: when tasks were run
  type: list
  elements: str
files:
  description: For each format the path of the report on the host; empty in check mode.
  returned: when tasks were run
  type: dict
  sample: {html: /var/lib/holdfast/reports/maintenance/20261122T063000.123Z-daily.html}
backups:
  description: What became of the backups that actions want first.
  returned: when tasks were run
  type: list
  elements: dict
  contains:
    component:
      description: What was backed up.
      type: str
    ok:
      description: Whether there is a backup of it now.
      type: bool
    changed:
      description: Whether one was made.
      type: bool
    msg:
      description: In words.
      type: str
    backup_id:
      description: Its id.
      type: str
    error_code:
      description: The kind of failure.
      type: str
part:
  description: The part that was asked for; empty when it was none.
  returned: always, unless the declaration is wrong
  type: str
  sample: daily
seconds:
  description: How long it took.
  returned: when tasks were run
  type: float
error_code:
  description: >-
    The kind of failure; V(task_failed), V(findings) when O(fail_on) was met, V(refused) when O(apply) names no action,
    V(invalid_declaration).
  returned: on failure
  type: str
  sample: task_failed
problems:
  description: Everything that is wrong with the declaration.
  returned: when the declaration is wrong
  type: list
  elements: str
  sample: ["maintenance task old_projects: backup[0]: no such component is declared, did you mean omnidoc_db?"]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._maintain import ARGUMENTS, run_maintenance


def main() -> None:
    """Entry point."""
    run_maintenance(AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True))


if __name__ == "__main__":
    main()
