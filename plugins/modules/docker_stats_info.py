#!/usr/bin/python
# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module holdfast.ops.docker_stats_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_stats_info
short_description: Tell what the containers of a host use, and whether that is too much
version_added: 1.0.0
author:
  - holdfast.ops authors (@holdfast)
description:
  - Processor, memory, network, block devices and processes of every running container, from two samples of about the
    same second, taken of all containers side by side. Memory is counted as C(docker stats) does, without the file cache
    that is not in use, on cgroup version 1 and 2.
  - What reaches a limit is told. Limits are in percent and have defaults that suit a host with an application and its
    workers on it.
  - Asks the Docker Engine itself; neither its Python library nor its command line is needed.
attributes:
  action:
    description: Has a corresponding action plugin, so some parts of it run on the controller.
    support: none
  async:
    description: Supports being used with the C(async) keyword.
    support: full
  bypass_host_loop:
    description: Forces a global task that does not execute per host.
    support: none
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
  containers:
    description: Only running containers whose name fits one of these patterns, such as V(reims-*). Empty means all.
    type: list
    elements: str
    default: []
  docker_host:
    description:
      - V(unix:///path) or V(tcp://host:port). The default is the environment variable C(DOCKER_HOST), or
        C(unix:///var/run/docker.sock).
    type: str
  timeout:
    description: Seconds until all samples must be there.
    type: float
    default: 15.0
  thresholds:
    description:
      - Limits by the name of containers; the first pattern that fits counts.
      - Each limit is a list of a warning and a critical percentage; an empty list is none.
    type: list
    elements: dict
    default:
      - pattern: "*worker*"
        memory: [75, 90]
      - pattern: "*"
    suboptions:
      pattern:
        description: Which containers, with C(*), C(?) and C([…]).
        type: str
        required: true
      memory:
        description: Of the container's limit, or of the host's memory where it has none.
        type: list
        elements: float
        default: [85, 95]
      cpu:
        description: Of all processors of the host.
        type: list
        elements: float
        default: [70, 90]
  total_memory:
    description: Of the host's memory, all containers together.
    type: list
    elements: float
    default: [85, 95]
  disk:
    description: How full the file system of Docker's data is, where that is one of this host.
    type: list
    elements: float
    default: [80, 90]
  fail_on:
    description: What makes the module fail. The result is the same either way.
    type: str
    choices: [critical, warning, never]
    default: never
seealso:
  - module: holdfast.ops.health_check
"""

EXAMPLES = r"""
- name: What do the containers use?
  holdfast.ops.docker_stats_info:
  become: true
  register: stats

- name: The hungriest ones
  ansible.builtin.debug:
    msg: "{{ (stats.containers | sort(attribute='memory_bytes', reverse=true))[:3] | map(attribute='name') }}"

- name: Fail when the models need more than they may
  holdfast.ops.docker_stats_info:
    containers: [reims-*]
    thresholds:
      - {pattern: reims-celery-worker*, memory: [75, 90]}
      - {pattern: "*", cpu: []}
    fail_on: critical
  become: true
"""

RETURN = r"""
status:
  description: C(pass), C(warn) or C(fail), the worst of everything.
  returned: when Docker could be asked
  type: str
  sample: warn
problems:
  description: Every limit that was reached.
  returned: when Docker could be asked
  type: list
  elements: str
  sample: ["reims-celery-worker-1 uses of its memory 81.2 % (warning: 75 %)."]
containers:
  description: The containers, by name.
  returned: when Docker could be asked
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
    id:
      description: Its id.
      type: str
    image:
      description: The image it was made of.
      type: str
    status:
      description: C(pass), C(warn) or C(fail). What follows is missing where Docker does not know it (C(warn)).
      type: str
    cpu_percent:
      description: As C(docker stats) has it, 100 is one processor. Null when Docker did not tell.
      type: float
    cpu_share_percent:
      description: Of all processors of the host.
      type: float
    memory_bytes:
      description: Memory in use.
      type: int
    memory_limit_bytes:
      description: Its limit, or the memory of the host.
      type: int
    memory_percent:
      description: Of that limit.
      type: float
    network_received_bytes:
      description: Since it was started.
      type: int
    network_sent_bytes:
      description: Since it was started.
      type: int
    block_read_bytes:
      description: Since it was started.
      type: int
    block_written_bytes:
      description: Since it was started.
      type: int
    pids:
      description: Its processes and threads.
      type: int
host:
  description: All containers together, and the disk of Docker's data.
  returned: when Docker could be asked
  type: dict
  sample: {"memory_percent": 41.3, "disk_percent": 62.0, "status": "pass"}
error_code:
  description: The kind of failure; V(unhealthy) when O(fail_on) was met.
  returned: on failure
  type: str
  sample: unavailable
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.ops.plugins.module_utils._health._docker_module import ARGUMENTS, run_docker_stats


def main() -> None:
    """Entry point."""
    run_docker_stats(AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True))


if __name__ == "__main__":
    main()
