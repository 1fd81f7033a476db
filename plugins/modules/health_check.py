#!/usr/bin/python
# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module holdfast.ops.health_check."""

from __future__ import annotations

DOCUMENTATION = r"""
module: health_check
short_description: Check whether a host and its services are well
version_added: 1.0.0
author:
  - holdfast.ops authors (@holdfast)
description:
  - Runs checks side by side on the host, each with a timeout of its own at which it is ended with all that it started,
    and returns what they found as a health+json document (draft-inadarei-api-health-check).
  - The same checks, declared as C(holdfast_health_checks), are run by the host itself with the role
    P(holdfast.ops.health#role); that is where flap control, notifications and metrics are. This module looks once.
  - Kinds of checks are C(http), C(tcp), C(dns), C(postgresql), C(redis), C(celery), C(systemd), C(docker), C(pm2),
    C(nginx), C(process), C(disk), C(inodes), C(memory), C(swap), C(cpu), C(load), C(gpu), C(python), C(model_files),
    C(backup) and C(command). Their options and defaults stand in docs/health.md of this collection.
  - Checks are judged on the controller first. Those that cannot be right are refused with every problem on a line of
    its own, naming check and key and no value, and no host is contacted.
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
      - Nothing is changed in any mode, except that hashes of model files are remembered outside of check mode.
  diff_mode:
    description: Returns details on what has changed (or would change in check mode) when in diff mode.
    support: none
    details:
      - Nothing is changed.
  idempotent:
    description: Run again without a change in between, it changes nothing.
    support: full
options:
  checks:
    description:
      - The checks. Each has a C(name), a C(kind), and may have C(profiles) (C(liveness), C(readiness)) and a C(timeout)
        (C(5s)); every other key is an option of its kind. C(failures) and C(recoveries) mean nothing here.
      - Secrets among them, such as C(password), are never shown; C(password_file) names a file on the host instead.
    type: list
    elements: dict
    required: true
  profile:
    description: Only the checks of this profile. V(comprehensive) holds all of them.
    type: str
    choices: [liveness, readiness, comprehensive]
    default: comprehensive
  names:
    description: Only the checks with these names.
    type: list
    elements: str
    default: []
  fail_on:
    description: What makes the module fail. The result is the same either way.
    type: str
    choices: [critical, warning, never]
    default: critical
notes:
  - Runs as root (C(become)) unless no check needs it.
  - The module is run by the interpreter of the role P(holdfast.ops.runtime#role) where the host has it.
seealso:
  - module: holdfast.ops.docker_stats_info
"""

EXAMPLES = r"""
- name: After a deployment, the application has to be well
  holdfast.ops.health_check:
    checks:
      - name: backend
        kind: http
        url: http://127.0.0.1:8000/health
        json: {status: ok}
        latency_warning: 0.5
      - name: database
        kind: postgresql
        database: omnidoc
        extensions: [vector]
        tables: [public.projects]
      - name: queue
        kind: redis
        login_password_file: /etc/omnidoc/redis.password
      - name: workers
        kind: celery
        app: src.tasks.celery_app
        command: /opt/omnidoc/.venv/bin/celery
        directory: /opt/omnidoc
        run_as: omnidoc
        timeout: 15s
      - {name: disk, kind: disk, paths: [/, /srv], mounted: true}
  become: true
  register: health
  until: health is success
  retries: 5
  delay: 5

- name: What is declared for this host
  holdfast.ops.health_check:
    checks: "{{ holdfast_health_checks }}"
    profile: readiness
    fail_on: warning
  become: true
"""

RETURN = r"""
status:
  description: The worst that was found.
  returned: when the checks were run
  type: str
  sample: warn
report:
  description: The same as lines of text.
  returned: when the checks were run
  type: list
  elements: str
  sample: ["pass  database  latency 0.021 s, connections 4 %", "WARN  disk      / is full to 83 % (warning: 80 %)."]
document:
  description: The health+json document.
  returned: when the checks were run
  type: dict
  contains:
    status:
      description: The worst that was found, C(pass), C(warn) or C(fail).
      type: str
    output:
      description: Why it is not C(pass).
      type: str
    checks:
      description: For each C(check:measurement) what was measured, an element for each thing it was measured on.
      type: dict
      sample:
        "disk:used_percent":
          - {componentId: "/", componentType: system, observedValue: 83.1, observedUnit: "%", status: warn}
    holdfast:
      description: For each check its kind, status, why, and how long it took.
      type: dict
error_code:
  description: The kind of failure; V(unhealthy) when O(fail_on) was met.
  returned: on failure
  type: str
  sample: unhealthy
problems:
  description: Everything that is wrong with O(checks).
  returned: when they cannot be right
  type: list
  elements: str
  sample: ["health check disk: warnning: unknown key, did you mean warning?"]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.ops.plugins.module_utils._health._module import ARGUMENTS, run_health_check


def main() -> None:
    """Entry point."""
    run_health_check(AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True))


if __name__ == "__main__":
    main()
