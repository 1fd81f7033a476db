#!/usr/bin/python
# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module holdfast.ops.backup_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_info
short_description: Tell what backups of a component exist
version_added: 1.0.0
author:
  - holdfast.ops authors (@holdfast)
description:
  - Lists the backups of a component over all of its repositories, with their age, size and verification, which
    copies are missing, and how to restore them.
  - It is told by the repositories alone, so it also works on a machine that has never made a backup. Only the rights
    to list and to read are needed.
  - What it reads of the manifests, which never change, is kept below O(state_dir), so that the next time is quick.
  - A manifest that cannot be read, a missing repository, and a backup from the future are warnings, as long as any
    repository can be read.
extends_documentation_fragment:
  - holdfast.ops.repository
attributes:
  check_mode:
    description: Can run in check mode and tell what would change, without changing it.
    support: full
    details:
      - Nothing is changed in any mode. In check mode the cache below O(state_dir) is left as it is.
  diff_mode:
    description: Returns details on what has changed (or would change in check mode) when in diff mode.
    support: none
    details:
      - Nothing is changed.
  idempotent:
    description: Run again without a change in between, it changes nothing.
    support: full
    details:
      - Nothing is changed.
options:
  set:
    description: Only backups of this set, named with its stamp (V(omnidoc@20261122T020000Z)) or without.
    type: str
  at:
    description: Only backups whose data is of this moment or earlier, such as V(2026-11-22T02:00:00Z).
    type: str
  limit:
    description: Only so many, the newest.
    type: int
seealso:
  - module: holdfast.ops.backup_verify
  - module: holdfast.ops.backup_prune
"""

EXAMPLES = r"""
- name: What is there
  holdfast.ops.backup_info:
    component: shop_db
    repositories:
      - {name: primary, type: s3, endpoint_url: "https://s3.example.com", bucket: backups}
      - {name: nas, type: local, path: /srv/backups}
  register: catalogue

- name: Refuse to upgrade without a verified backup of today
  ansible.builtin.assert:
    that:
      - catalogue.backups | length > 0
      - catalogue.backups[0].age_seconds < 86400
      - catalogue.backups[0].verified is not none
      - catalogue.backups[0].missing_in == []

- name: The newest backup before the incident
  holdfast.ops.backup_info:
    component: shop_db
    at: "2026-11-22T09:30:00Z"
    limit: 1
    repositories:
      - {name: primary, type: s3, endpoint_url: "https://s3.example.com", bucket: backups}
      - {name: nas, type: local, path: /srv/backups}
"""

RETURN = r"""
component:
  description: The name of the component.
  returned: success
  type: str
  sample: shop_db
total:
  description: How many backups there are before O(set), O(at) and O(limit).
  returned: success
  type: int
  sample: 42
backups:
  description: The backups, newest first.
  returned: success
  type: list
  elements: dict
  contains:
    backup_id:
      description: The id of the backup. Ids sort by time.
      type: str
      sample: 20261122T020000.123Z-9f2c41b3a7de
    component:
      description: The name of the component.
      type: str
    repositories:
      description: Names of the repositories that hold it.
      type: list
      elements: str
    missing_in:
      description: Names of the repositories that could be read and lack it.
      type: list
      elements: str
    copies:
      description: For each repository that holds it, whether its manifest is readable, and how it was verified there.
      type: list
      elements: dict
    age_seconds:
      description: Age of the data.
      type: int
    in_future:
      description: Whether it is later than the store's clock, so that some clock is wrong.
      type: bool
    readable:
      description: Whether any copy of its manifest could be read. If not, what follows is missing.
      type: bool
    verified:
      description: The highest level that it was verified on, and when; null when no copy is known to be good.
      type: dict
      sample: {"level": "restore", "at": "2026-11-22T03:00:00.000Z"}
    last_failure:
      description: The level and time of the newest verification that failed.
      type: dict
    restore:
      description: A command that restores it with the declared inventory.
      type: str
    by_hand:
      description: Commands that restore it without this collection.
      type: list
      elements: str
    engine:
      description: The engine that made it.
      type: str
      sample: postgresql
    host:
      description: The host that made it.
      type: str
    set:
      description: The stamp that it shares with backups of other components.
      type: str
    started_at:
      description: When the backup began.
      type: str
    snapshot_at:
      description: The moment that the data is of.
      type: str
    finished_at:
      description: When the backup was complete.
      type: str
    bytes:
      description: Bytes that were read to make it.
      type: int
    stored_bytes:
      description: Bytes that it takes in a repository, those of shared large files included.
      type: int
    blobs:
      description: How many large files it refers to.
      type: int
    blob_bytes:
      description: Stored bytes of those. Backups share them.
      type: int
    encryption:
      description: C(age), C(gpg) or C(none).
      type: str
    fingerprint:
      description: The level of the fingerprint that a restore can be proved by.
      type: str
repositories:
  description: For each repository, whether it could be read, how many backups it holds, and the error if any.
  returned: success
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.ops.plugins.module_utils._arguments import info_spec
from ansible_collections.holdfast.ops.plugins.module_utils._run_verbs import run_info


def main() -> None:
    """Entry point."""
    run_info(AnsibleModule(**info_spec().module()))


if __name__ == "__main__":
    main()
