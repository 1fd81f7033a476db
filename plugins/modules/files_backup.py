#!/usr/bin/python
# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module holdfast.ops.files_backup."""

from __future__ import annotations

DOCUMENTATION = r"""
module: files_backup
short_description: Back up a file tree, large files by content, small ones in packs
version_added: 1.0.0
author:
  - holdfast.ops authors (@holdfast)
description:
  - Backs up a directory, or a single file, into one or several repositories in one pass.
  - Files of 1 MiB and more are stored by content, each content once, however many backups and names it has. New or
    changed smaller files travel together in packs, which are tar archives.
  - Unchanged files are recognised by path, size, times and inode, without reading them. A second backup of an unchanged
    tree costs one look at every file and sends no content.
  - Numeric owners, modes, times, extended attributes, POSIX ACLs, symbolic and hard links, sparse files, FIFOs and
    devices are kept, and names that are not UTF-8. Sockets are left out, with a warning.
  - Every backup is whole by itself. There are no increments that depend on each other.
notes:
  - A file that changes while it is read is read again, up to three times. One that never holds still is stored as it
    was last read. A file that vanishes is left out. Both give a warning, and RV(details) names them. For databases use
    their own engine, or a snapshot of the file system.
  - When a repository, O(state_dir) or O(scratch_dir) lies within O(path), exclude it.
  - What this host remembers of the tree lies in O(state_dir). Losing it only costs reading and sending again.
  - Of an encrypted backup, the names of files are encrypted as well. Paths never stand in the manifest.
extends_documentation_fragment:
  - holdfast.ops.files
  - holdfast.ops.repository
  - holdfast.ops.encryption
  - holdfast.ops.reporting
  - holdfast.ops.backup
attributes:
  check_mode:
    description: Can run in check mode and tell what would change, without changing it.
    support: full
    details:
      - Looks at the whole tree, checks the repositories without writing to them, and returns the plan with its size.
  diff_mode:
    description: Returns details on what has changed (or would change in check mode) when in diff mode.
    support: full
    details:
      - The plan is the diff.
  idempotent:
    description: Run again without a change in between, it changes nothing.
    support: partial
    details:
      - With O(max_age), while a backup is young enough.
options:
  exclude:
    description:
      - What to leave out, as patterns with the meaning that they have in C(.gitignore). V(*.tmp) at any depth,
        V(/cache) only at the top, V(logs/) only directories, V(data/**/old), and V(!keep.tmp) to include again.
      - The last pattern that matches decides. A directory that is left out is not entered.
    type: list
    elements: str
    default: []
  one_file_system:
    description: Do not enter other file systems. Their mount points are backed up as empty directories.
    type: bool
    default: false
  ignore_unreadable:
    description: Leave out what cannot be read, with a warning. Otherwise the backup fails.
    type: bool
    default: false
  rehash:
    description: Read every file, even when nothing says that it has changed. Content that is stored is not sent again.
    type: bool
    default: false
seealso:
  - module: holdfast.ops.files_restore
  - module: holdfast.ops.backup_verify
  - module: holdfast.ops.backup_prune
"""

EXAMPLES = r"""
- name: Documents, encrypted, into two places
  holdfast.ops.files_backup:
    component: documents
    path: /srv/documents
    exclude:
      - "*.tmp"
      - /cache/
      - "!/cache/README"
    encryption:
      method: age
      recipients: [age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p]
    repositories:
      - {name: primary, type: s3, endpoint_url: "https://s3.example.com", bucket: backups}
      - {name: nas, type: local, path: /mnt/nas/backups}

- name: Model files, at most once a day
  holdfast.ops.files_backup:
    component: models
    path: /srv/models
    one_file_system: true
    max_age: 20h
    repositories:
      - {name: primary, type: s3, endpoint_url: "https://s3.example.com", bucket: backups}

- name: How much a backup would read and send
  holdfast.ops.files_backup:
    component: documents
    path: /srv/documents
    repositories:
      - {name: nas, type: local, path: /mnt/nas/backups}
  check_mode: true
  diff: true
"""

RETURN = r"""
backup_id:
  description: The backup that was made.
  returned: when one was made
  type: str
  sample: 20261122T020000.123Z-9f2c41b3a7de
repositories:
  description: Names of the repositories that the backup is committed in.
  returned: when the preflight passed
  type: list
  elements: str
missing:
  description: Repositories that lack the backup, each with the reason. The task fails when there are any.
  returned: when the preflight passed
  type: dict
plan:
  description: What was done, or would be.
  returned: when the preflight passed
  type: list
  elements: str
  sample: ["/srv/documents: 18234 entries, 9876543210 bytes", "to read: 12 files, 3456789 bytes"]
expected_bytes:
  description: Bytes of all files in the tree.
  returned: when the preflight passed
  type: int
details:
  description:
    - What was met, by name. It is returned to you only, and stands in no repository.
    - Of each kind of trouble at most 100 paths are named.
  returned: when the preflight passed
  type: dict
  contains:
    entries:
      description: Files, directories and other things in the backup.
      type: int
    tree_bytes:
      description: Bytes of their content.
      type: int
    read_bytes:
      description: Bytes that were read, because they were new or changed.
      type: int
    changed:
      description: Files that changed while they were read.
      type: list
      elements: str
    vanished:
      description: Files that were gone before they could be read.
      type: list
      elements: str
    unreadable:
      description: Files that were left out, with O(ignore_unreadable=true).
      type: list
      elements: str
    sockets:
      description: Sockets, which cannot be backed up.
      type: list
      elements: str
bytes:
  description: Bytes of content that the backup holds.
  returned: when one was made
  type: int
stored_bytes:
  description: Bytes that were sent to each repository, after compression. Next to nothing for an unchanged tree.
  returned: when one was made
  type: int
ratio:
  description: Bytes that were read, divided by the bytes that they became.
  returned: when one was made
  type: float
seconds:
  description: How long it took.
  returned: when one was made
  type: float
seconds_by_stage:
  description: The same by stage.
  returned: when one was made
  type: dict
mb_per_s:
  description: Megabytes (10^6 bytes) read per second.
  returned: when one was made
  type: float
rights:
  description: What could be found out of the rights in each repository. Null is what cannot be proved without writing.
  returned: in check mode
  type: dict
error_code:
  description: What kind of failure it was, such as C(degraded), C(permission_denied) or C(disk_full).
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
from ansible_collections.holdfast.ops.plugins.module_utils._arguments import backup_spec
from ansible_collections.holdfast.ops.plugins.module_utils._engines._files import FilesEngine
from ansible_collections.holdfast.ops.plugins.module_utils._run import run_backup


def main() -> None:
    """Entry point."""
    run_backup(AnsibleModule(**backup_spec(FilesEngine).module()), FilesEngine)


if __name__ == "__main__":
    main()
