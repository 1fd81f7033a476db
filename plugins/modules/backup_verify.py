#!/usr/bin/python
# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module holdfast.ops.backup_verify."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_verify
short_description: Prove that backups can be restored
version_added: 1.0.0
author:
  - holdfast.ops authors (@holdfast)
description:
  - Verifies backups in every repository given, up to a level. Each level includes those before it, and the cheap
    ones come first.
  - What was found out is written beside the manifest of the backup, where M(holdfast.ops.backup_info) shows it and
    M(holdfast.ops.backup_prune) relies on it. A host without the right to write there gets a warning, and its result
    is only returned.
  - A backup that fails makes the module fail, after everything was verified and recorded; the message names the
    object that is missing, truncated or damaged. What only keeps this from looking, such as the network or a missing
    identity, makes it fail as well, and is never recorded as a fault of the backup.
  - A backup that is pruned meanwhile is skipped.
extends_documentation_fragment:
  - holdfast.ops.repository
  - holdfast.ops.identity
  - holdfast.ops.reporting
  - holdfast.ops.verification
attributes:
  check_mode:
    description: Can run in check mode and tell what would change, without changing it.
    support: full
    details:
      - Tells which backups would be verified and their sizes. Nothing is read but manifests and listings.
  diff_mode:
    description: Returns details on what has changed (or would change in check mode) when in diff mode.
    support: partial
    details:
      - The plan in check mode.
  idempotent:
    description: Run again without a change in between, it changes nothing.
    support: partial
    details:
      - Every run verifies and records its result. With O(backup_id=unverified) there is nothing to do when all are
        verified.
options:
  backup_id:
    description:
      - The id of a backup, V(latest) (the newest in each repository), V(all), or V(unverified) (those without a
        successful verification of at least O(level), or whose last one failed).
      - Where no repository has any backup of the component, the module fails.
    type: str
    default: latest
  level:
    description:
      - V(stat) compares keys and sizes of all objects with a listing.
      - V(checksum) reads every stored byte and compares its SHA-256. It needs no identity.
      - V(archive) decrypts and decompresses every artefact and reads it to its end with the tool that would restore it.
      - V(restore) restores into a private scratch place, compares with the fingerprint, and removes it again. The time
        that this took and the age of the data are returned and published as metrics.
    type: str
    choices: [stat, checksum, archive, restore]
    default: checksum
seealso:
  - module: holdfast.ops.backup_info
"""

EXAMPLES = r"""
- name: Every stored byte of what was not verified yet
  holdfast.ops.backup_verify:
    component: shop_db
    backup_id: unverified
    level: checksum
    repositories:
      - {name: primary, type: s3, endpoint_url: "https://s3.example.com", bucket: backups}
      - {name: nas, type: local, path: /srv/backups}

- name: Weekly proof that the newest backup can be restored, and how long that takes
  holdfast.ops.backup_verify:
    component: shop_db
    level: restore
    rto: 30m
    rpo: 24h
    textfile_dir: /var/lib/prometheus/node-exporter
    identity:
      age_file: /root/backup-identity.txt
    postgresql:
      bin_dir: /usr/lib/postgresql/17/bin
    repositories:
      - {name: primary, type: s3, endpoint_url: "https://s3.example.com", bucket: backups}
      - {name: nas, type: local, path: /srv/backups}
"""

RETURN = r"""
component:
  description: The name of the component.
  returned: always but when nothing could be looked at
  type: str
  sample: shop_db
level:
  description: The level that was asked for.
  returned: always but when nothing could be looked at
  type: str
results:
  description: One entry a backup and repository.
  returned: always but when nothing could be looked at
  type: list
  elements: dict
  contains:
    repository:
      description: The name of the repository.
      type: str
    backup_id:
      description: The id of the backup.
      type: str
    ok:
      description: Whether nothing was found to be wrong.
      type: bool
    level:
      description: The highest level that succeeded, or the one that failed.
      type: str
    problems:
      description: What is wrong, naming the object.
      type: list
      elements: str
      sample: ["data/2026/11/22/20261122T020000.123Z-9f2c41b3a7de/shop.dump.zst is missing."]
    shortfall:
      description: Why the level that was asked for could not be reached although nothing is wrong.
      type: str
    recorded:
      description: Whether the result was written into the repository.
      type: bool
    seconds:
      description: How long it took.
      type: float
    stored_bytes:
      description: Bytes that the backup takes in the repository.
      type: int
    proof:
      description: "Level V(restore): what was compared with the fingerprint, and how it differs."
      type: dict
    restore_seconds:
      description: "Level V(restore): how long the restore took, the measured RTO."
      type: float
    data_age_seconds:
      description: "Level V(restore): how old the data was, the measured RPO."
      type: int
    details:
      description: What the engine found out.
      type: dict
skipped_backups:
  description: Backups that were pruned meanwhile.
  returned: always but when nothing could be looked at
  type: list
  elements: str
errors:
  description: For each repository that could not be looked at completely, why.
  returned: always but when nothing could be looked at
  type: dict
plan:
  description: In check mode, the backups that would be verified.
  returned: always but when nothing could be looked at
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.ops.plugins.module_utils._arguments import verify_spec
from ansible_collections.holdfast.ops.plugins.module_utils._run_verbs import run_verify


def main() -> None:
    """Entry point."""
    run_verify(AnsibleModule(**verify_spec().module()))


if __name__ == "__main__":
    main()
