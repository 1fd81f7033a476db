#!/usr/bin/python
# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module holdfast.ops.host_report_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_report_info
short_description: Report on the file systems, memory, load, disks, network and processes of a host
version_added: 1.0.0
author:
  - holdfast.ops authors (@holdfast)
description:
  - How full file systems are (space and inodes) and whether the kernel has made one read-only, how large directories
    are and what in them, memory, swap space, load, pressure (PSI), the processes that use most, traffic of disks and
    network, processes killed for want of memory, and whether something keeps the clock right.
  - Reads the files of the kernel. It takes O(sample) seconds and the walks through O(directories).
  - Of processes the name that the kernel has of them, the unit and the user are told. Command lines are not read, for
    they hold secrets.
notes:
  - A file system on another machine that does not answer within 2 seconds is a finding and is not waited for.
  - In a container with limits of its own, memory, swap space and processors are those of the container.
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
  directories:
    description:
      - Absolute paths of directories whose size is measured, as C(du -x) counts it, all of them side by side.
      - A file with several names counts once. What lies on other file systems is not counted.
    type: list
    elements: path
    default: []
  walk_seconds:
    description: How long that may take; what was counted until then is told as the least that there is.
    type: float
    default: 3.0
  sample:
    description: Seconds over which traffic and the use of processors are measured, at most 5.
    type: float
    default: 1.0
  limit:
    description: Most rows of a table; its note says how many there are.
    type: int
    default: 20
  space_warning:
    description:
      - Percent of the space of a file system that others than root can use,
        from which on there is a finding of the severity V(warning).
    type: float
    default: 80.0
  space_critical:
    description: Likewise of the severity V(critical).
    type: float
    default: 90.0
  inodes_warning:
    description:
      - Percent of the inodes of a file system
        from which on there is a finding of the severity V(warning).
    type: float
    default: 80.0
  inodes_critical:
    description: Likewise of the severity V(critical).
    type: float
    default: 90.0
  memory_warning:
    description:
      - Percent of the memory in use
        from which on there is a finding of the severity V(warning).
    type: float
    default: 85.0
  memory_critical:
    description: Likewise of the severity V(critical).
    type: float
    default: 95.0
  swap_warning:
    description:
      - Percent of the swap space in use
        from which on there is a finding of the severity V(warning).
    type: float
    default: 50.0
  swap_critical:
    description: Likewise of the severity V(critical).
    type: float
    default: 80.0
  load_warning:
    description:
      - Load of 5 minutes for each processor
        from which on there is a finding of the severity V(warning).
    type: float
    default: 2.0
  load_critical:
    description: Likewise of the severity V(critical).
    type: float
    default: 4.0
  pressure_warning:
    description:
      - Percent of the last 5 minutes in which something waited for disks, or for memory,
        from which on there is a finding of the severity V(warning).
    type: float
    default: 20.0
  pressure_critical:
    description: Likewise of the severity V(critical).
    type: float
    default: 50.0
seealso:
  - module: holdfast.ops.health_check
  - module: holdfast.ops.service_report_info
"""

EXAMPLES = r"""
- name: How is the host?
  holdfast.ops.host_report_info:
    directories: [/opt/omnidoc, /var/lib/postgresql]
  become: true
  register: host

- name: What fills the disks
  ansible.builtin.debug:
    msg: "{{ host.filesystems | selectattr('used_percent', '>', 80) | map(attribute='mount_point') }}"
"""

RETURN = r"""
filesystems:
  description: File systems that can fill up, the fullest first.
  returned: on success
  type: list
  elements: dict
  contains:
    mount_point: {description: Where it is mounted., type: str}
    device: {description: The device or server., type: str}
    type: {description: Such as ext4., type: str}
    size_bytes: {description: Its size., type: int}
    used_bytes: {description: What is used of it., type: int}
    available_bytes: {description: What others than root can still use., type: int}
    used_percent: {description: As C(df) counts., type: float}
    inodes: {description: How many there are; null where it makes them as it needs them., type: int}
    inodes_used_percent: {description: How many of them are used., type: float}
    read_only: {description: The file system is read-only., type: bool}
directories:
  description: The measured directories, the largest first, with C(path), C(size_bytes), C(files), C(complete),
    C(unreadable) (directories that could not be read) and C(below) (bytes by the name of each directory in it).
  returned: on success
  type: list
  elements: dict
  sample: []
memory:
  description: The memory, with C(total_bytes), C(used_bytes), C(available_bytes) and C(used_percent).
  returned: on success
  type: dict
swap:
  description: Likewise the swap space; nothing in all where there is none.
  returned: on success
  type: dict
processors:
  description: How many (C(count)), C(busy_percent), C(waiting_percent) (for disks), C(load_1), C(load_5) and
    C(load_15).
  returned: on success
  type: dict
pressure:
  description: For C(cpu), C(io) and C(memory) the percent of 10, 60 and 300 seconds (C(avg10), C(avg60), C(avg300)) in
    which something waited. Empty where the kernel does not measure it.
  returned: on success
  type: dict
uptime_seconds:
  description: Since the host was started.
  returned: on success
  type: int
  sample: 86400
killed_for_memory:
  description: How many processes the kernel has killed for want of memory since then; null where it does not tell.
  returned: on success
  type: int
  sample: 0
clock:
  description: Whether something keeps the clock right (C(synchronised)), and by how much it may be wrong at most
    (C(error_seconds), null where only systemd could be asked). Null where that may not be asked.
  returned: on success
  type: dict
  sample: {synchronised: true, error_seconds: 0.02}
disks:
  description: Traffic of each disk, with C(name), C(busy_percent), C(read_bytes_per_second) and
    C(written_bytes_per_second).
  returned: on success
  type: list
  elements: dict
interfaces:
  description: Traffic of each network interface, with C(name), C(received_bytes_per_second) and
    C(sent_bytes_per_second).
  returned: on success
  type: list
  elements: dict
process_count:
  description: How many processes there are.
  returned: on success
  type: int
  sample: 211
processes_by_memory:
  description: The ten that use most memory, with C(pid), C(name), C(unit), C(user), C(memory_bytes) and C(cpu_percent)
    (of one processor).
  returned: on success
  type: list
  elements: dict
processes_by_cpu:
  description: Likewise the ten that use the processors most.
  returned: on success
  type: list
  elements: dict
msg:
  description: One sentence.
  returned: always
  type: str
  sample: "Up 12 d, load 0.52 on 4 processors, 43 % of 15.6 GiB memory in use, /srv full to 81 %."
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
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._kinds._host_report import HostReport
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._module import module_spec, run_kind


def main() -> None:
    """Entry point."""
    run_kind(AnsibleModule(**module_spec(HostReport).module()), HostReport)


if __name__ == "__main__":
    main()
