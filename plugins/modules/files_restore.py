#!/usr/bin/python
# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module holdfast.ops.files_restore."""

from __future__ import annotations

DOCUMENTATION = r"""
module: files_restore
short_description: Restore a file tree, all of it or some paths, proved by hash
version_added: 1.0.0
author:
  - holdfast.ops authors (@holdfast)
description:
  - Restores what M(holdfast.ops.files_backup) has backed up, into its own place or elsewhere.
  - Every file is written aside, compared with the checksum in the backup's index, and then renamed into place, so that
    no name ever stands for half a file. Symbolic links in the target are never followed.
  - Owners, modes, times, extended attributes, ACLs, links and holes are restored as well. Owners only as root, which
    is said in RV(proof).
  - In the end everything is read again and compared with the index, content and attributes. The task fails when
    anything differs.
  - Files that are in the target and not in the backup are left alone.
notes:
  - A target that was missing or empty is so again after a failure. In one that held files, each file is either as it
    was or restored, and RV(left_behind) says that some are.
extends_documentation_fragment:
  - holdfast.ops.files
  - holdfast.ops.repository
  - holdfast.ops.identity
  - holdfast.ops.reporting
  - holdfast.ops.restore
attributes:
  check_mode:
    description: Can run in check mode and tell what would change, without changing it.
    support: full
    details:
      - Compares the backup with the target and returns what is new, replaced, kept or the same.
  diff_mode:
    description: Returns details on what has changed (or would change in check mode) when in diff mode.
    support: full
    details:
      - The plan is the diff.
  idempotent:
    description: Run again without a change in between, it changes nothing.
    support: partial
    details:
      - Not with O(existing=replace).
options:
  target:
    description:
      - Restore here instead of O(path). What was the directory (or the file) O(path) becomes this one.
      - Replacing files needs O(confirm) to name it, as for O(path).
    type: path
  include:
    description:
      - Restore only these paths, with all that lies in them. Relative to the tree, or absolute as they were on the
        host.
    type: list
    elements: str
    default: []
  existing:
    description:
      - What becomes of files that are there already.
      - V(if_different) compares them with the backup, content included, and replaces those that differ.
      - V(keep) leaves all of them, and restores only what is missing.
      - V(replace) writes all of them anew.
    type: str
    choices: [if_different, keep, replace]
    default: if_different
seealso:
  - module: holdfast.ops.files_backup
  - module: holdfast.ops.backup_info
  - module: holdfast.ops.backup_verify
"""

EXAMPLES = r"""
- name: Two files that were deleted by mistake
  holdfast.ops.files_restore:
    component: documents
    path: /srv/documents
    include:
      - contracts/2026
      - /srv/documents/logo.svg
    existing: keep
    repositories:
      - {name: nas, type: local, path: /mnt/nas/backups}
    identity:
      age_file: /root/backup-identity.txt

- name: Everything as it was this morning, in its place
  holdfast.ops.files_restore:
    component: documents
    path: /srv/documents
    at: "2026-11-22T06:00:00Z"
    confirm: /srv/documents
    safety_backup: true
    services: [document-server]
    repositories:
      - {name: nas, type: local, path: /mnt/nas/backups}

- name: The newest backup beside the live tree
  holdfast.ops.files_restore:
    component: documents
    path: /srv/documents
    target: /srv/documents.restored
    repositories:
      - {name: primary, type: s3, endpoint_url: "https://s3.example.com", bucket: backups}
"""

RETURN = r"""
backup_id:
  description: The backup that was restored, or would be.
  returned: when one was found
  type: str
  sample: 20261122T020000.123Z-9f2c41b3a7de
plan:
  description: What was done, or would be.
  returned: when the preflight passed
  type: list
  elements: str
  sample: ["/srv/documents: 2 new, 0 replaced, 18232 kept, 0 as they are", "to write: 34567 bytes"]
live:
  description: The name of what is in use and is replaced, as O(confirm) must say it; null where nothing is.
  returned: when the preflight passed
  type: str
  sample: /srv/documents
repository:
  description: The repository that was read.
  returned: when one was found
  type: str
proof:
  description: What the restored files were compared with. Null in check mode, and when nothing had to be done.
  returned: when the preflight passed
  type: dict
  contains:
    proved:
      description: Whether everything is as it was.
      type: bool
    level:
      description: Always C(digest), which means by content.
      type: str
    checked:
      description: How many entries were read again and compared.
      type: int
    differences:
      description: What is not as it was. Empty after a success.
      type: list
      elements: str
    details:
      description:
        - C(kept) is how many existing entries were left alone, C(owners) whether owners were compared, and C(not_set)
          which attributes could not be set, and why.
      type: dict
safety_backup:
  description: The result of the safety backup, as from M(holdfast.ops.files_backup).
  returned: when the preflight passed
  type: dict
seconds:
  description: How long it took.
  returned: when the preflight passed
  type: float
seconds_by_stage:
  description: The same by stage, so that the restore itself and the proof can be told apart.
  returned: when the preflight passed
  type: dict
error_code:
  description: What kind of failure it was, such as C(refused), C(not_proved), C(corrupted) or C(no_identity).
  returned: on failure
  type: str
stage:
  description: Where it failed.
  returned: on failure
  type: str
tool_output:
  description: The words of a tool or service, redacted.
  returned: on failure
  type: str
hint:
  description: What to do next.
  returned: on failure
  type: str
left_behind:
  description: What was left in place, mostly C(nothing).
  returned: on failure
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.ops.plugins.module_utils._arguments import restore_spec
from ansible_collections.holdfast.ops.plugins.module_utils._engines._files import FilesEngine
from ansible_collections.holdfast.ops.plugins.module_utils._run import run_restore


def main() -> None:
    """Entry point."""
    run_restore(AnsibleModule(**restore_spec(FilesEngine).module()), FilesEngine)


if __name__ == "__main__":
    main()
