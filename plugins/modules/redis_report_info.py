#!/usr/bin/python
# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module holdfast.ops.redis_report_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_report_info
short_description: Report on the memory, clients, persistence and keys of Redis or Valkey
version_added: 1.0.0
author:
  - holdfast.ops authors (@holdfast)
description:
  - Tells what a person would look for in a server once a day, and what to do about it. Whether memory has a limit and
    the right policy for what the server is used for, who is connected, whether data reaches the disk and the replicas,
    which commands were slow, which keys are big, how names of keys divide the memory, and what looks like a cache and
    has no expiry.
  - Keys are looked at with C(SCAN), C(TYPE), C(PTTL), C(MEMORY USAGE) and the commands for lengths, a few hundred at a
    time, for O(scan_seconds) at most. Where that is not enough for all of them, the report says how many were seen.
    Never C(KEYS), C(MONITOR) or C(DEBUG).
  - What the user may not do is a finding, and the rest is reported.
notes:
  - Redis 6 to 8 and Valkey are supported, alone, as a replica, and as a node of a cluster (its own part of the keys).
  - An ACL user needs C(+select +info +config|get +client|list +slowlog|get +scan +type +pttl +memory|usage
    +strlen +llen +scard +zcard +hlen +xlen %R~*).
  - Names of keys are shown, up to 100 characters. Values and the arguments of slow commands never are.
extends_documentation_fragment:
  - holdfast.ops.redis
  - holdfast.ops.container
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
  use:
    description:
      - What the server is for, by which its policy is judged.
      - A V(cache) may throw keys away when memory is full, and should. A V(queue) and a V(store) of data must not.
      - V(auto) judges by the keys. With names of Celery, RQ, BullMQ and the like it is a queue; where at least half of
        all keys have an expiry, a cache; otherwise a store.
    type: str
    choices: [auto, cache, queue, store]
    default: auto
  databases:
    description: Numbers of the databases whose keys are looked at. The default is all that have any.
    type: list
    elements: int
  scan_seconds:
    description: Seconds for looking at keys; V(0) looks at none.
    type: float
    default: 3.0
  scan_keys:
    description: Keys that are looked at, at most; V(0) is none.
    type: int
    default: 100000
  big_size:
    description: From this size in memory on, a key is big.
    type: str
    default: 1MiB
  big_elements:
    description: With so many elements, a list, set, sorted set, hash or stream is big.
    type: int
    default: 10000
  cache_patterns:
    description: Keys like these should have an expiry, in the patterns of C(KEYS).
    type: list
    elements: str
    default: ["*cache*", "*session*", "sess:*", "tmp:*", "temp:*", "lock:*", "*:lock", "ratelimit*"]
  limit:
    description: Rows of a table, at most.
    type: int
    default: 20
seealso:
  - module: holdfast.ops.redis_purge
  - module: holdfast.ops.health_check
"""

EXAMPLES = r"""
- name: What is there to know of the local server?
  holdfast.ops.redis_report_info:
    login_password_file: /etc/holdfast/secrets/redis
  register: report

- name: The big keys
  ansible.builtin.debug:
    msg: "{{ report.big_keys | map(attribute='key') }}"

- name: A cache in a container, looked at for longer
  holdfast.ops.redis_report_info:
    container:
      project: wiki
      service: cache
    use: cache
    scan_seconds: 20
    scan_keys: 1000000
"""

RETURN = r"""
msg:
  description: The server in one sentence.
  returned: success
  type: str
  sample: "Redis 7.0.15: 48,210 keys in 120.4 MiB of 512 MiB, 14 clients. All 48,210 keys were looked at."
findings:
  description: What a person should know of.
  returned: success
  type: list
  elements: dict
  contains:
    code:
      description: Stable, such as V(memory_unlimited), V(policy_of_data), V(big_key), V(rdb_last_bgsave_failed).
      type: str
    severity:
      description: V(info), V(warning) or V(critical).
      type: str
    text:
      description: One sentence.
      type: str
    subject:
      description: What it is about.
      type: str
    advice:
      description: What to do.
      type: str
server:
  description: Product, version, role, seconds since it was started, and what it was judged to be used for.
  returned: success
  type: dict
  sample: {"product": "redis", "version": "7.0.15", "role": "primary", "uptime_seconds": 86400, "use": "queue"}
memory:
  description: Sizes in bytes, the policy when memory is full, and how many keys were thrown away.
  returned: success
  type: dict
  sample: {"used_bytes": 1048576, "peak_bytes": 2097152, "rss_bytes": 4194304, "maximum_bytes": 0,
           "policy": "noeviction", "fragmentation": 1.1, "evicted_keys": 0}
databases:
  description: Keys of every database, and how many of them have an expiry.
  returned: success
  type: list
  elements: dict
  sample: [{"number": 0, "keys": 48210, "expiring": 1200}]
hit_ratio_percent:
  description: Lookups that found their key since the server was started; null when there were none.
  returned: success
  type: float
sample:
  description: How many keys there are and were looked at, whether those are all, and how long that took.
  returned: success
  type: dict
  sample: {"keys": 48210, "seen": 48210, "complete": true, "seconds": 1.2}
big_keys:
  description: The biggest keys that were seen, with their database, type, bytes, elements, and whether they expire.
  returned: success
  type: list
  elements: dict
  sample: [{"key": "jobs", "database": 0, "type": "list", "bytes": 4194304, "elements": 60000, "expires": "no"}]
section:
  description: The same as a part of a report, with tables.
  returned: success
  type: dict
error_code:
  description: The kind of failure, such as V(unavailable) or V(authentication_failed).
  returned: on failure
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._kinds._redis_report import RedisReport
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._module import module_spec, run_kind


def main() -> None:
    """Entry point."""
    run_kind(AnsibleModule(**module_spec(RedisReport).module()), RedisReport)


if __name__ == "__main__":
    main()
