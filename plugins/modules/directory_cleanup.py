#!/usr/bin/python
# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module holdfast.ops.directory_cleanup."""

from __future__ import annotations

DOCUMENTATION = r"""
module: directory_cleanup
short_description: Remove the old files of a directory
version_added: 1.0.0
author:
  - holdfast.ops authors (@holdfast)
description:
  - Removes regular files by their age. Symbolic links, devices, sockets and everything on another file system are left
    alone.
  - Safe in directories of services too, even of one that somebody has taken over. No link is followed on any part of
    the way, and a file goes only if it is still the one that was seen.
  - The role P(holdfast.ops.logrotate#role) makes a timer that does this every day.
attributes:
  check_mode:
    description: Can run in check mode and tell what would change, without changing it.
    support: full
    details:
      - Looks at everything and removes nothing.
  diff_mode:
    description: Returns details on what has changed (or would change in check mode) when in diff mode.
    support: full
    details:
      - A line for each file with its size and age, for at most 1000 of them.
  idempotent:
    description: Run again without a change in between, it changes nothing.
    support: full
    details:
      - Until files have become old enough.
options:
  path:
    description:
      - The directory. Absolute, and with no symbolic link in it, so that nobody can lead elsewhere what is removed.
      - Directories of the system and those that belong to many (C(/), C(/etc), C(/var/log), C(/home/ada), C(/opt/app))
        are refused; one below them is meant.
    type: path
    required: true
  older_than:
    description: How long ago a file must have been written last, such as V(7d) or V(12h).
    type: str
    required: true
  patterns:
    description:
      - Which files, with the meaning that C(.gitignore) gives patterns. The last one that matches a file decides; one
        that begins with V(!) takes files out again.
    type: list
    elements: str
    default: ["*"]
  exclude:
    description: What is left alone, with the same meaning. A directory that is excluded is not entered.
    type: list
    elements: str
    default: []
  keep_at_least:
    description: This many of the files that match are kept however old they are, the newest ones.
    type: int
    default: 0
  recurse:
    description: Whether directories below are cleaned too. Other file systems are not entered.
    type: bool
    default: false
  remove_empty:
    description:
      - With O(recurse), whether directories go that are empty now and have not changed for O(older_than) before.
    type: bool
    default: false
seealso:
  - module: holdfast.ops.host_upkeep
"""

EXAMPLES = r"""
- name: Documents are for a week (look first, with --check --diff)
  holdfast.ops.directory_cleanup:
    path: /srv/omnidoc/documents/generated
    older_than: 7d
    recurse: true
    remove_empty: true
  become: true

- name: Old uploads that were never finished, but never the newest three
  holdfast.ops.directory_cleanup:
    path: /srv/omnidoc/uploads
    older_than: 12h
    patterns: ["*.part", "*.tmp"]
    keep_at_least: 3
  become: true
"""

RETURN = r"""
removed:
  description: How many files were removed, or would be in check mode.
  returned: when the directory could be opened
  type: int
  sample: 12
removed_bytes:
  description: How large they were.
  returned: when the directory could be opened
  type: int
  sample: 1048576
removed_directories:
  description: How many empty directories went too.
  returned: when the directory could be opened
  type: int
  sample: 1
kept:
  description: How many files that match are left.
  returned: when the directory could be opened
  type: int
  sample: 30
skipped_entries:
  description: What was left alone, by the reason, and how often.
  returned: when the directory could be opened
  type: dict
  sample: {"no regular file": 2, "another file system": 1}
files:
  description: What was planned to go, oldest first, below the path; at most 1000.
  returned: when the directory could be opened
  type: list
  elements: str
  sample: ["2026/11/01/report.pdf"]
failures:
  description: What could not be looked at or removed, and why. The module fails then; the rest was done.
  returned: when the directory could be opened
  type: dict
  sample: {"report.pdf": "Operation not permitted"}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.ops.plugins.module_utils._upkeep._cleanups import CLEANUP
from ansible_collections.holdfast.ops.plugins.module_utils._upkeep._run import run_directory_cleanup


def main() -> None:
    """Entry point."""
    run_directory_cleanup(AnsibleModule(**CLEANUP.module()))


if __name__ == "__main__":
    main()
