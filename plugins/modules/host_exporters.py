#!/usr/bin/python
# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module holdfast.ops.host_exporters."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_exporters
short_description: Let a host be scraped by Prometheus
version_added: 1.0.0
author:
  - holdfast.ops authors (@holdfast)
description:
  - Makes of a host the exporters that are declared of it, each with an account, a hardened unit and files of its own,
    and takes away those that are declared no more. Packages have to be installed already; O(state=planned) tells which.
  - Whatever can fail without touching what runs comes first, for all of them. Archives are proved by their SHA-256, and
    programs are asked whether they know their flags and their configuration.
  - Then each one is started and scraped once, as Prometheus would. One that does not come up, does not live on after
    that, or lacks a collector that was asked for is put back to how it was before, and the module fails.
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
  diff_mode:
    description: Returns details on what has changed (or would change in check mode) when in diff mode.
    support: full
    details:
      - Units in full; of files that may hold a secret only the names.
  idempotent:
    description: Run again without a change in between, it changes nothing.
    support: full
options:
  state:
    description:
      - V(present) makes them, V(absent) takes all of them away.
      - V(planned) only looks at what is missing on the host.
    type: str
    choices: [present, absent, planned]
    default: present
  exporters:
    description:
      - The exporters, all of them. What an element can say is described in docs/exporters.md of this collection; a
        declaration that cannot be right is refused on the controller, naming every key and no value.
    type: list
    elements: dict
    default: []
  textfile_dir:
    description: The directory of textfiles of an exporter of the kind C(node) that names none itself.
    type: path
    default: ''
  mirror:
    description: What takes the place of C(https://github.com) in the addresses that archives are downloaded from.
    type: str
    default: ''
  declaration:
    description: The exporters as JSON. The action plugin sets it; there is no need to.
    type: str
notes:
  - The role P(holdfast.ops.exporters#role) runs this.
"""

EXAMPLES = r"""
- name: The host itself, for all who have the password, and its database
  holdfast.ops.host_exporters:
    exporters:
      - name: node
        kind: node
        listen: 0.0.0.0:9100
        tls: self_signed
        basic_auth:
          prometheus: "{{ vault_prometheus_password }}"
      - name: postgres
        kind: postgres
  become: true
"""

RETURN = r"""
exporters:
  description: The exporters as they are now.
  returned: with O(state=present)
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
      sample: node
    kind:
      description: Its kind.
      type: str
      sample: node
    unit:
      description: The unit that runs it.
      type: str
      sample: holdfast-exporter-node.service
    account:
      description: The user that it runs as.
      type: str
      sample: exporter-node
    listen:
      description: Where it listens.
      type: str
      sample: 0.0.0.0:9100
    tls:
      description: Whether it speaks TLS, and whose certificate it has.
      type: str
      sample: self_signed
    certificate:
      description: The file of its certificate, which Prometheus has to trust.
      type: str
      sample: /etc/holdfast-exporters/node/tls.crt
    version:
      description: The version of the archive; none for a package.
      type: str
      sample: 1.9.1
changes:
  description: What was done, or would be in check mode.
  returned: with O(state=present) and O(state=absent)
  type: list
  elements: str
  sample: ["node: fetch version 1.9.1", "node: use version 1.9.1", "node: start it anew"]
packages:
  description: Packages that have to be installed first.
  returned: with O(state=planned)
  type: list
  elements: str
  sample: [prometheus-node-exporter]
archives:
  description: Names of exporters whose archive is not on the host yet.
  returned: with O(state=planned)
  type: list
  elements: str
  sample: [node]
leftovers:
  description: Names of exporters that are on the host and declared no more.
  returned: with O(state=planned)
  type: list
  elements: str
  sample: [redis]
needed:
  description: Whether there is anything to look after at all.
  returned: with O(state=planned)
  type: bool
  sample: true
error_code:
  description: The kind of failure, such as V(invalid_declaration), V(corrupted) or V(not_proved).
  returned: on failure
  type: str
  sample: corrupted
problems:
  description: Everything that is wrong with the declaration.
  returned: when the declaration is wrong
  type: list
  elements: str
  sample: ["exporter node: listen: its port is that of exporter edge; two cannot listen on one port"]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.ops.plugins.module_utils._exporters._run import HOST_EXPORTERS, run_host_exporters


def main() -> None:
    """Entry point."""
    run_host_exporters(AnsibleModule(**HOST_EXPORTERS.module()))


if __name__ == "__main__":
    main()
