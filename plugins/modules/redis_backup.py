#!/usr/bin/python
# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module holdfast.ops.redis_backup."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_backup
short_description: Back up a Redis or Valkey server into one or more repositories
version_added: 1.0.0
author:
  - holdfast.ops authors (@holdfast)
description:
  - Takes the dump (RDB) of all databases of a server as a replica would get it, and stores it in every repository in a
    single pass. The dump is of one moment; the server goes on.
  - The dump is read while it passes. Keys are counted by database and type, expiries are added up, and the values of a
    sample are hashed, so that a restore can be proved to bring back that very moment.
  - The backup exists when the server has sent all of the dump, every repository has confirmed what it was sent, and the
    manifest is written. Until then there is none, whatever happens to the process.
  - The manifest holds the shell lines that restore the backup without this collection.
notes:
  - Redis 6 to 8 and Valkey are supported, standalone or as a replica. A node of a cluster is refused.
  - Nothing needs to be installed on the host but Python, not even C(redis-cli). A server inside a container is reached
    through the container's own C(redis-cli) or C(valkey-cli), which must be 6.2 or newer.
  - An ACL user needs the rights C(+info +sync +psync +replconf). With C(+acl|whoami) and C(+acl|dryrun) (Redis 7) the
    preflight finds out whether C(+sync) is missing.
  - A server with C(repl-diskless-sync) (the default since Redis 7) writes nothing to its own disk for this, and waits
    C(repl-diskless-sync-delay) (5) seconds for others who want the same dump. Otherwise it saves to its disk first.
  - Settings, ACL users and passwords of the server are no part of a dump. Back up its configuration as files.
extends_documentation_fragment:
  - holdfast.ops.redis
  - holdfast.ops.container
  - holdfast.ops.repository
  - holdfast.ops.encryption
  - holdfast.ops.reporting
  - holdfast.ops.backup
attributes:
  check_mode:
    description: Can run in check mode and tell what would change, without changing it.
    support: full
    details:
      - Runs the whole preflight and returns the plan with sizes. Rights that cannot be proved by reading are
        reported as unproven.
  diff_mode:
    description: Returns details on what has changed (or would change in check mode) when in diff mode.
    support: full
    details:
      - The plan is the diff.
  idempotent:
    description: Run again without a change in between, it changes nothing.
    support: partial
    details:
      - With O(max_age), while a backup with the same options is younger in every repository.
options:
  fingerprint:
    description:
      - What is noted of the data, so that a restore can be proved.
      - V(estimate) asks the server how many keys there are, and proves nothing. V(counts) reads the dump while it
        passes, counts every key by database and type, and looks at a thousand or two values of each database.
        V(digest) looks at all values, which takes six times the processor time.
      - Values of modules are counted, and not compared. Where the dump holds something that this collection does not
        know yet, the backup is made without a fingerprint, and says so.
    type: str
    choices: [none, estimate, counts, digest]
    default: counts
  stall_timeout:
    description: Seconds of silence after which the server is given up. V(0) waits for ever.
    type: int
    default: 1800
seealso:
  - module: holdfast.ops.redis_restore
  - module: holdfast.ops.backup_verify
  - module: holdfast.ops.backup_info
"""

EXAMPLES = r"""
- name: The local server, encrypted, to a disk
  holdfast.ops.redis_backup:
    component: sessions
    repositories:
      - {name: nas, type: local, path: /srv/backups}
    encryption:
      method: age
      recipients: [age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p]

- name: A remote server with an ACL user and TLS, every six hours at most
  holdfast.ops.redis_backup:
    component: queue
    login_host: redis.example.com
    login_port: 6380
    login_user: backup
    login_password: "{{ redis_backup_password }}"
    tls: true
    ca_cert: /etc/ssl/redis-ca.pem
    max_age: 6h
    repositories:
      - {name: primary, type: s3, endpoint_url: "https://s3.example.com", bucket: backups}
      - {name: nas, type: local, path: /srv/backups}

- name: The server of a Docker Compose project
  holdfast.ops.redis_backup:
    component: wiki_cache
    container:
      project: wiki
      service: cache
    repositories:
      - {name: nas, type: local, path: /srv/backups}
  become: true
"""

RETURN = r"""
backup_id:
  description: The id of the backup.
  returned: when one was made
  type: str
  sample: 20261122T020000.123Z-9f2c41b3a7de
plan:
  description: What was done, or would be.
  returned: when the preflight passed
  type: list
  elements: str
  sample: ["Redis 7.0.15 at 127.0.0.1:6379 (primary): 48210 keys in 2 databases, 120.4 MiB in memory",
           "one RDB, as a replica gets it; fingerprint: counts"]
expected_bytes:
  description: How much would be dumped at most, by what the data takes in memory.
  returned: when the preflight passed
  type: int
rights:
  description: In check mode, what is known of the rights in each repository. Null means unproven.
  returned: when the preflight passed
  type: dict
repositories:
  description: The repositories in which the backup is committed.
  returned: when the preflight passed
  type: list
  elements: str
missing:
  description: The repositories in which it is not, and why. The task has failed then (C(error_code=degraded)).
  returned: when the preflight passed
  type: dict
artefacts:
  description: What was stored.
  returned: when one was made
  type: list
  elements: dict
  contains:
    name:
      description: File name below the backup's data directory.
      type: str
      sample: dump.rdb.zst.age
    kind:
      description: What it is, C(dump) or C(fingerprint).
      type: str
    size:
      description: Stored bytes.
      type: int
    sha256:
      description: Checksum of the stored bytes.
      type: str
source:
  description: Facts about the server.
  returned: when one was made
  type: dict
  sample: {"product": "redis", "server_version": "7.0.15", "rdb_version": 10, "role": "master"}
fingerprint:
  description: The level of the fingerprint.
  returned: when one was made
  type: str
  sample: counts
snapshot_at:
  description: The moment that the data is of.
  returned: when one was made
  type: str
  sample: "2026-11-22T02:00:00.345Z"
bytes:
  description: Bytes of the dump before compression.
  returned: when one was made
  type: int
stored_bytes:
  description: Bytes that were stored in each repository.
  returned: when one was made
  type: int
ratio:
  description: The first by the second.
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
  sample: {"preflight": 0.2, "dump": 61.5, "commit": 0.1}
mb_per_s:
  description: Megabytes of the dump a second.
  returned: when one was made
  type: float
error_code:
  description: What kind of failure it was, such as C(authentication_failed), C(not_found), C(locked) or C(degraded).
  returned: on failure
  type: str
stage:
  description: Where it failed.
  returned: on failure
  type: str
tool_output:
  description: The tool's own words, redacted.
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
from ansible_collections.holdfast.ops.plugins.module_utils._engines._redis import RedisEngine
from ansible_collections.holdfast.ops.plugins.module_utils._run import run_backup


def main() -> None:
    """Entry point."""
    run_backup(AnsibleModule(**backup_spec(RedisEngine).module()), RedisEngine)


if __name__ == "__main__":
    main()
