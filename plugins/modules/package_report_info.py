#!/usr/bin/python
# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module holdfast.ops.package_report_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: package_report_info
short_description: Report on outdated packages of the system, of Python environments and of Node projects
version_added: 1.0.0
author:
  - holdfast.ops authors (@holdfast)
description:
  - What apt could upgrade and which of that is for security, what is held back, how old the package lists are, whether
    the host or services must be restarted for upgrades to take effect, and until when the distribution is looked after.
  - What is outdated in virtual environments of Python and in projects of npm and pnpm.
  - Nothing is installed, no list is refreshed, and no lock is taken. All tools run side by side.
notes:
  - A tool of an environment or project runs as the owner of its directory, and as C(nobody) when that is root; never as
    root. It gets a clean environment with O(environment); caches are thrown away.
  - Until when a distribution is looked after is taken from a table of this collection, which says where it is from.
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
  apt:
    description: Report on the packages of the system.
    type: bool
    default: true
  lists_max_age:
    description: How old package lists may be before there is a finding, such as V(3d).
    type: str
    default: 3d
  venvs:
    description: Absolute paths of virtual environments of Python that have pip.
    type: list
    elements: path
    default: []
  npm_projects:
    description: Absolute paths of directories with a C(package.json) whose packages npm has installed.
    type: list
    elements: path
    default: []
  pnpm_projects:
    description: Likewise for pnpm; there must be its lock file.
    type: list
    elements: path
    default: []
  npm_command:
    description: The program, where it is not in the PATH.
    type: path
    default: npm
  pnpm_command:
    description: The program, where it is not in the PATH.
    type: path
    default: pnpm
  environment:
    description:
      - Variables for pip, npm and pnpm, such as V(https_proxy). Their own settings (C(pip.conf), C(.npmrc)) are those
        of the owner of the directory; credentials belong there.
    type: dict
    default: {}
  tool_seconds:
    description: How long each tool may take. In a report of a whole host it is the rest of that report's time at most.
    type: float
    default: 30.0
  limit:
    description: Most rows of a table; its note says how many there are.
    type: int
    default: 20
seealso:
  - module: holdfast.ops.host_report_info
"""

EXAMPLES = r"""
- name: What is outdated?
  holdfast.ops.package_report_info:
    venvs: [/opt/omnidoc/.venv]
    pnpm_projects: [/opt/omnidoc/frontend]
  become: true
  register: packages

- name: Fail when updates for security wait
  ansible.builtin.assert:
    that: packages.upgrades | selectattr('security') | rejectattr('held') | length == 0
"""

RETURN = r"""
upgrades:
  description: Packages of the system that could be upgraded, those for security first.
  returned: on success
  type: list
  elements: dict
  contains:
    name: {description: The package., type: str}
    installed: {description: The installed version., type: str}
    available: {description: The version that could be installed., type: str}
    security: {description: It comes from an archive of security updates., type: bool}
    held: {description: It must stay as it is (apt-mark hold)., type: bool}
    origins:
      description: Where the new version comes from.
      type: list
      elements: str
held:
  description: Packages that must stay as they are.
  returned: on success
  type: list
  elements: str
  sample: []
lists_age_seconds:
  description: Since the package lists last changed; null without lists.
  returned: on success
  type: float
  sample: 7200.0
reboot_required:
  description: The host must be restarted for upgrades to take effect.
  returned: on success
  type: bool
  sample: false
restart_services:
  description: Units that still use files which an upgrade has replaced, and these files.
  returned: on success
  type: dict
  sample: {nginx.service: [/usr/lib/x86_64-linux-gnu/libssl.so.3]}
projects:
  description: Outdated packages of environments and projects, with C(path), C(tool), C(name), C(installed), C(wanted)
    (what the project's declaration allows) and C(latest).
  returned: on success
  type: list
  elements: dict
  sample: []
release:
  description: The distribution, as C(/etc/os-release) has it.
  returned: on success
  type: dict
  sample: {ID: debian, VERSION_ID: "12"}
msg:
  description: One sentence.
  returned: always
  type: str
  sample: "7 packages of the system can be upgraded, 2 for security; 11 packages in 2 of 2 projects."
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
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._kinds._package_report import PackageReport
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._module import module_spec, run_kind


def main() -> None:
    """Entry point."""
    run_kind(AnsibleModule(**module_spec(PackageReport).module()), PackageReport)


if __name__ == "__main__":
    main()
