#!/usr/bin/python
# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module holdfast.ops.redis_purge."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_purge
short_description: Remove keys of Redis or Valkey by pattern
version_added: 1.0.0
author:
  - holdfast.ops authors (@holdfast)
description:
  - Removes the keys whose names fit one of the patterns, and that fulfil the other conditions. All of them are counted
    before the first one goes; with more than O(most), none does.
  - The keys are found with C(SCAN) and removed with C(UNLINK), O(batch) at a time with a pause after each, so that
    others do not wait. Never C(KEYS) or C(FLUSHDB).
  - A replica and a node of a cluster are refused.
notes:
  - A key that is used between the look at it and its removal, less than a second later, is removed all the same.
  - An ACL user needs C(+select +info +scan +type +pttl +object|idletime +unlink), and to write the keys.
  - O(idle_longer_than) needs a server that does not count uses (a C(maxmemory-policy) of C(lfu)).
extends_documentation_fragment:
  - holdfast.ops.redis
  - holdfast.ops.container
attributes:
  check_mode:
    description: Can run in check mode and tell what would change, without changing it.
    support: full
    details:
      - Counts the keys and shows some of their names. Where the time does not suffice, it says that there are at least
        so many.
  diff_mode:
    description: Returns details on what has changed (or would change in check mode) when in diff mode.
    support: none
    details:
      - Names that are shown stand in RV(sample).
  idempotent:
    description: Run again without a change in between, it changes nothing.
    support: full
options:
  patterns:
    description:
      - Patterns as C(SCAN) has them, with C(*), C(?), C([abc]), and C(\) before a character that is meant itself.
      - One that names every key, such as V(*), is refused unless O(everything) is set.
    type: list
    elements: str
    required: true
  everything:
    description: Patterns may name every key.
    type: bool
    default: false
  databases:
    description: Numbers of the databases.
    type: list
    elements: int
    default: [0]
  types:
    description: Only keys of these types. The default is all.
    type: list
    elements: str
    choices: [hash, list, set, stream, string, zset]
  idle_longer_than:
    description: Only keys that were neither read nor written for so long, such as V(30d).
    type: str
  without_expiry_only:
    description: Only keys without expiry.
    type: bool
    default: false
  most:
    description: With more keys than this, nothing is removed.
    type: int
    default: 100000
  batch:
    description: Keys that are looked at, and removed, at once. Inside a container at least 5000.
    type: int
    default: 500
  pause:
    description: Seconds between two batches.
    type: float
    default: 0.02
  max_runtime:
    description: After so long it gives up. Keys that were removed until then stay removed.
    type: str
    default: 10m
  progress_file:
    description: File in which progress is written while it runs, as JSON.
    type: path
seealso:
  - module: holdfast.ops.redis_report_info
"""

EXAMPLES = r"""
- name: Forget all pages in the cache
  holdfast.ops.redis_purge:
    patterns: ["cache:page:*"]

- name: How many sessions were left without expiry, and nobody used them for a month?
  holdfast.ops.redis_purge:
    patterns: ["session:*", "sess:*"]
    without_expiry_only: true
    idle_longer_than: 30d
  check_mode: true
  register: plan

- name: Old results of Celery, at most a million
  holdfast.ops.redis_purge:
    patterns: ["celery-task-meta-*"]
    idle_longer_than: 7d
    databases: [1]
    most: 1000000
"""

RETURN = r"""
msg:
  description: What was done, or would be.
  returned: success
  type: str
  sample: Removed 1204 keys like cache:page:*, in 0.4 s.
planned:
  description: Keys that were counted.
  returned: success
  type: int
complete:
  description: Whether all keys were looked at. In check mode the time may not suffice.
  returned: success
  type: bool
removed:
  description: Keys that are gone.
  returned: success
  type: int
seconds:
  description: How long the removal took.
  returned: when something may have been removed
  type: float
databases:
  description: Keys by database, removed or planned.
  returned: success
  type: list
  elements: dict
  sample: [{"database": 0, "keys": 1204}]
sample:
  description: Some of the keys. Of what may be a secret (the id of a session, say) only the beginning is told.
  returned: success
  type: list
  elements: dict
  sample: [{"database": 0, "key": "cache:page:1"}]
findings:
  description: What a person should know of, each with C(code), C(severity), C(text), C(subject) and C(advice).
  returned: success
  type: list
  elements: dict
section:
  description: The same as a part of a report, with tables.
  returned: success
  type: dict
error_code:
  description: The kind of failure, such as V(refused), V(permission_denied) or V(timeout).
  returned: on failure
  type: str
left_behind:
  description: How many keys had been removed.
  returned: on failure
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._kinds._redis_purge import RedisPurge
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._module import module_spec, run_kind


def main() -> None:
    """Entry point."""
    run_kind(AnsibleModule(**module_spec(RedisPurge).module()), RedisPurge)


if __name__ == "__main__":
    main()
