#!/usr/bin/python
# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module holdfast.ops.backup_prune."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_prune
short_description: Delete the backups that retention does not keep
version_added: 1.0.0
author:
  - holdfast.ops authors (@holdfast)
description:
  - Deletes backups by O(retention), in each repository on its own. Only verified backups count; see
    M(holdfast.ops.backup_verify).
  - Also sweeps what killed backups have left (data without a manifest, incomplete uploads, announcements) once it is
    older than O(max_runtime), and deletes large files that no backup refers to, in two steps with O(blob_grace)
    between them.
  - Runs from a trusted place with the rights to list, read, write and delete, not from the host that makes the
    backups. One prune at a time works on a repository, guarded by a lease in the store. A store without conditional
    put needs O(repositories[].single_pruner).
  - Can be killed at any moment; the next run finishes what it had begun.
  - A backup whose manifest cannot be read is never deleted, and while there is one, no large file is.
  - Backups that the store itself keeps (Object Lock, a legal hold) stay, visible and complete, and the plan says until
    when. In a versioned bucket such a deletion would succeed, and only hide them. It is the manifest that is asked, and
    the right C(s3:GetObjectRetention), for holds C(s3:GetObjectLegalHold), that lets us know.
extends_documentation_fragment:
  - holdfast.ops.repository
  - holdfast.ops.retention
attributes:
  check_mode:
    description: Can run in check mode and tell what would change, without changing it.
    support: full
    details:
      - Shows the plan and writes nothing, no lease either.
  diff_mode:
    description: Returns details on what has changed (or would change in check mode) when in diff mode.
    support: full
    details:
      - One line for each backup, with its reason; what is deleted is gone from the second half.
  idempotent:
    description: Run again without a change in between, it changes nothing.
    support: full
    details:
      - A second run has nothing to delete, until time has passed.
options:
  textfile_dir:
    description: Directory of node_exporter's textfile collector. Metrics of this run are written there, atomically.
    type: path
seealso:
  - module: holdfast.ops.backup_verify
"""

EXAMPLES = r"""
- name: Keep a month of days and a year of months (look first, with --check --diff)
  holdfast.ops.backup_prune:
    component: shop_db
    retention:
      daily: 30
      monthly: 12
    repositories:
      - {name: primary, type: s3, endpoint_url: "https://s3.example.com", bucket: backups}
      - {name: nas, type: local, path: /srv/backups}

- name: Keep only what has been restored for a test
  holdfast.ops.backup_prune:
    component: shop_db
    retention:
      within: 14d
      weekly: 8
      verified_level: restore
      minimum_verified: 5
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
policy:
  description: The rules, in words.
  returned: when at least the options were right
  type: str
  sample: daily 30, monthly 12
repositories:
  description: By the name of the repository, what was done there, or would be in check mode.
  returned: when at least the options were right
  type: dict
  contains:
    deleted:
      description: Ids of deleted backups.
      type: list
      elements: str
    kept:
      description: How many backups are left.
      type: int
    verified:
      description: How many of them count as verified.
      type: int
    skipped:
      description: By id, why the store refused to delete a backup.
      type: dict
    freed_bytes:
      description: Bytes that were deleted.
      type: int
    orphans:
      description: Ids of runs that never committed and whose data was swept.
      type: list
      elements: str
    uploads:
      description: Incomplete uploads that were given up.
      type: list
      elements: str
    blobs_marked:
      description: Large files that were marked for deletion in a later run.
      type: int
    blobs_deleted:
      description: Large files that were deleted.
      type: int
    blobs_waiting:
      description: Large files whose grace period is not over.
      type: int
    blobs_missing:
      description: Large files that backups refer to and that are not there.
      type: list
      elements: str
    plan:
      description: For each backup, newest first, C(keep), C(delete) or C(ignore), and the reasons.
      type: list
      elements: dict
errors:
  description: By the name of the repository, why it was not pruned, or not completely.
  returned: when at least the options were right
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.ops.plugins.module_utils._arguments import prune_spec
from ansible_collections.holdfast.ops.plugins.module_utils._run_verbs import run_prune


def main() -> None:
    """Entry point."""
    run_prune(AnsibleModule(**prune_spec().module()))


if __name__ == "__main__":
    main()
