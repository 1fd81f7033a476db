#!/usr/bin/python
# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module holdfast.ops.service_report_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: service_report_info
short_description: Report on units of systemd, on what has failed, and on what PM2 keeps running
version_added: 1.0.0
author:
  - holdfast.ops authors (@holdfast)
description:
  - For each unit its state and since when, how often systemd has started it again, memory, processor time, main
    process, and whether it starts at boot. All other units of the host that have failed are told as well.
  - Of units that failed or do not stay up, the last lines of the journal of that run are shown; what looks like a
    secret is taken out of them.
  - Of processes of PM2 their state, restarts, memory and processor; never their environment.
notes:
  - A service of the type C(oneshot), or one that a timer, socket or path starts, need not run.
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
  units:
    description: Units that should be well, such as V(omnidoc-backend); V(.service) may be left out.
    type: list
    elements: str
    default: []
  failed_units:
    description: Tell also all other units that have failed.
    type: bool
    default: true
  pm2:
    description: Users whose PM2 is asked. One that does not run is not started by being asked.
    type: list
    elements: dict
    default: []
    suboptions:
      run_as:
        description: The user.
        type: str
        required: true
      pm2_home:
        description: Where PM2 keeps its state, if not in C(~/.pm2) of that user.
        type: path
      command:
        description: The program, where it is not in the PATH.
        type: path
        default: pm2
  journal_lines:
    description: How many of the last lines are shown of each unit that failed, at most 40. V(0) shows none.
    type: int
    default: 10
  limit:
    description: Most rows of a table; its note says how many there are.
    type: int
    default: 20
  restarts_warning:
    description:
      - Number of restarts of a unit or process
        from which on there is a finding of the severity V(warning).
    type: float
    default: 5.0
  restarts_critical:
    description: Likewise of the severity V(critical).
    type: float
seealso:
  - module: holdfast.ops.health_check
  - module: holdfast.ops.host_report_info
"""

EXAMPLES = r"""
- name: Are the services well?
  holdfast.ops.service_report_info:
    units: [omnidoc-backend, omnidoc-celery, postgresql, redis-server, nginx]
    pm2:
      - {run_as: omnidoc}
  become: true
  register: services

- name: What is not
  ansible.builtin.debug:
    msg: "{{ services.findings | map(attribute='text') }}"
"""

RETURN = r"""
units:
  description: The declared units as they were declared, then others that have failed.
  returned: on success
  type: list
  elements: dict
  contains:
    unit: {description: Its name., type: str}
    state: {description: 'Such as C(active), with the detail in parentheses.', type: str}
    failed: {description: It has failed or does not stay up., type: bool}
    since: {description: When it came into this state., type: str}
    restarts: {description: How often systemd has started it again by itself., type: int}
    memory_bytes: {description: Memory in use; null where systemd does not account for it., type: int}
    cpu_seconds: {description: Processor time since it was started., type: float}
    tasks: {description: Its processes and threads., type: int}
    main_pid: {description: Its main process., type: int}
    at_boot: {description: State of its unit file such as C(enabled)., type: str}
processes:
  description: Processes of PM2, with C(user), C(process), C(state), C(since), C(restarts), C(memory_bytes),
    C(cpu_percent) and C(pid).
  returned: on success
  type: list
  elements: dict
  sample: []
journal:
  description: The last lines of each unit that failed, by its name.
  returned: on success
  type: dict
  sample: {}
msg:
  description: One sentence.
  returned: always
  type: str
  sample: "4 of 5 units active, 1 failed; 2 of 2 processes of PM2 online."
findings:
  description: What a person should know of, each with C(code), C(severity) (V(info), V(warning) or V(critical)),
    C(text), C(subject) and C(advice).
  returned: on success
  type: list
  elements: dict
  sample: []
section:
  description: Findings, tables and measures, as reports are made of them.
  returned: on success
  type: dict
error_code:
  description: The kind of failure.
  returned: on failure
  type: str
  sample: unavailable
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._kinds._service_report import ServiceReport
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._module import module_spec, run_kind


def main() -> None:
    """Entry point."""
    run_kind(AnsibleModule(**module_spec(ServiceReport).module()), ServiceReport)


if __name__ == "__main__":
    main()
