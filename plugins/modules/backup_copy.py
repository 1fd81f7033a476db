#!/usr/bin/python
# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module holdfast.ops.backup_copy."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_copy
short_description: Copy backups from one repository to another
version_added: 1.0.0
author:
  - holdfast.ops authors (@holdfast)
description:
  - Copies backups of a component from one of its O(repositories) to another one, of whatever type, through this host.
    It adds an off-site copy after the fact, and repairs a repository that a backup could not reach.
  - Stored bytes are copied as they are. What is encrypted stays so, and no identity is needed.
  - The SHA-256 of every object is compared with the manifest on the way, and the destination confirms what it received.
    The manifest is written last, so that a copy that is killed leaves no backup, and the next one goes on from there.
  - Verifications are not copied. Verify the copy with M(holdfast.ops.backup_verify).
  - Needs the rights to list and read at the source, and all rights at the destination. Runs beside backups.
extends_documentation_fragment:
  - holdfast.ops.repository
attributes:
  check_mode:
    description: Can run in check mode and tell what would change, without changing it.
    support: full
    details:
      - Tells which backups would be copied and their sizes, and writes nothing.
  diff_mode:
    description: Returns details on what has changed (or would change in check mode) when in diff mode.
    support: full
    details:
      - The backups that are copied, with their sizes.
  idempotent:
    description: Run again without a change in between, it changes nothing.
    support: full
    details:
      - What the destination has is not copied again.
options:
  source:
    description: The name of the repository to copy from. Without it, the first of O(repositories).
    type: str
  destination:
    description: The name of the repository to copy to.
    type: str
    required: true
  backup_id:
    description: The id of a backup, V(latest), or V(missing) (all that the destination lacks).
    type: str
    default: missing
  newer_than:
    description:
      - With O(backup_id=missing), only backups younger than this, such as V(7d).
      - Set it where the destination keeps fewer backups than the source, so that what was pruned there is not copied
        again.
    type: str
  textfile_dir:
    description: Directory of node_exporter's textfile collector. Metrics of this run are written there, atomically.
    type: path
seealso:
  - module: holdfast.ops.backup_verify
"""

EXAMPLES = r"""
- name: Bring everything to the NAS that it lacks
  holdfast.ops.backup_copy:
    component: shop_db
    source: primary
    destination: nas
    repositories:
      - {name: primary, type: s3, endpoint_url: "https://s3.example.com", bucket: backups}
      - {name: nas, type: local, path: /srv/backups}

- name: The newest backup only
  holdfast.ops.backup_copy:
    component: shop_db
    source: primary
    destination: nas
    backup_id: latest
    repositories:
      - {name: primary, type: s3, endpoint_url: "https://s3.example.com", bucket: backups}
      - {name: nas, type: local, path: /srv/backups}
"""

RETURN = r"""
component:
  description: The name of the component.
  returned: when at least the options were right
  type: str
  sample: shop_db
source:
  description: The name of the repository that was read.
  returned: when at least the options were right
  type: str
destination:
  description: The name of the repository that was written.
  returned: when at least the options were right
  type: str
copied:
  description: Ids of the copied backups, or of those that would be in check mode.
  returned: when at least the options were right
  type: list
  elements: str
present:
  description: Ids of those that the destination had already.
  returned: when at least the options were right
  type: list
  elements: str
not_copied:
  description: By id, why a backup could not be copied. The others were.
  returned: when at least the options were right
  type: dict
sent_bytes:
  description: Bytes that were read to be sent.
  returned: when at least the options were right
  type: int
seconds:
  description: How long it took.
  returned: when at least the options were right
  type: float
mb_per_s:
  description: Megabytes a second.
  returned: when something was sent
  type: float
plan:
  description: One line for each backup to copy.
  returned: when at least the options were right
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.ops.plugins.module_utils._arguments import copy_spec
from ansible_collections.holdfast.ops.plugins.module_utils._run_verbs import run_copy


def main() -> None:
    """Entry point."""
    run_copy(AnsibleModule(**copy_spec().module()))


if __name__ == "__main__":
    main()
