#!/usr/bin/python
# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module holdfast.ops.redis_restore."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_restore
short_description: Restore a Redis or Valkey server, proved or undone
version_added: 1.0.0
author:
  - holdfast.ops authors (@holdfast)
description:
  - Restores all databases of a server from a backup made by M(holdfast.ops.redis_backup). Runs on the host that runs
    the server, or the container that it is in.
  - The dump is fetched into the server's directory, compared with its fingerprint, and read to its end by
    C(redis-check-rdb) where the host has it. Only then the server is stopped, its files are moved away, the dump takes
    their place, and the server is started again.
  - When it has loaded the dump, the server is asked for a dump of its own, and that must hold what was dumped.
    Otherwise, and whenever anything else fails, the server is stopped again, the old files come back, and it is started
    with them.
  - An append-only file wins over a dump. Where the server keeps one, it is begun anew with the dump as its base, as the
    server itself does when it rewrites it, so it stays on all the time.
  - The replaced files are kept in C(holdfast-previous-<time>) in the server's directory unless O(keep_previous=false).
  - Before anything is touched, version, rights, number of databases and free space are checked.
notes:
  - To replace a server that holds any key, O(confirm) must name it as the plan does, such as V(127.0.0.1:6379).
  - While the restored data is compared, clients can read and not write (C(CLIENT PAUSE), from Redis 6.2 on). A client
    that writes in the moment before makes the restore fail and be undone; O(services) stops what uses the server.
  - A server without an append-only file is told to save before it is stopped, so that its data can come back even where
    it saves nothing when it ends.
  - A replica is refused. Its data comes from its primary.
  - Settings, ACL users and passwords are no part of a dump, and stay as they are.
  - An ACL user needs the rights of a backup and C(+config|get +bgsave +client|pause +client|unpause).
  - To restore elsewhere, name the other server by the login options and O(service).
extends_documentation_fragment:
  - holdfast.ops.redis
  - holdfast.ops.container
  - holdfast.ops.repository
  - holdfast.ops.identity
  - holdfast.ops.reporting
  - holdfast.ops.restore
attributes:
  check_mode:
    description: Can run in check mode and tell what would change, without changing it.
    support: full
    details:
      - Runs the whole preflight against the target and returns the plan.
  diff_mode:
    description: Returns details on what has changed (or would change in check mode) when in diff mode.
    support: full
    details:
      - The plan is the diff.
  idempotent:
    description: Run again without a change in between, it changes nothing.
    support: none
    details:
      - Every run restores.
options:
  service:
    description:
      - The systemd unit that runs the server, such as V(redis-server.service). By default it is the one that the
        server's process belongs to. With O(container), the container is stopped and started.
    type: str
  config_file:
    description:
      - The server's configuration file. Only used when the server does not run, for example because its own files are
        damaged. Where its data lies, and whether it keeps an append-only file, is read there.
      - O(service) is needed then, and the server is started.
    type: path
  keep_previous:
    description: Keep the replaced files. Otherwise they are removed when the restore is proved.
    type: bool
    default: true
  load_timeout:
    description: Seconds that the server gets to load the dump.
    type: int
    default: 1800
seealso:
  - module: holdfast.ops.redis_backup
  - module: holdfast.ops.backup_info
  - module: holdfast.ops.backup_verify
"""

EXAMPLES = r"""
- name: What would be restored
  holdfast.ops.redis_restore:
    component: sessions
    repositories:
      - {name: nas, type: local, path: /srv/backups}
    identity:
      age_file: /root/backup-identity.txt
  check_mode: true
  diff: true
  become: true

- name: The newest backup into the live server
  holdfast.ops.redis_restore:
    component: sessions
    confirm: "127.0.0.1:6379"
    services: [shop-web, shop-worker]
    safety_backup: true
    repositories:
      - {name: nas, type: local, path: /srv/backups}
    identity:
      age_file: /root/backup-identity.txt
  become: true

- name: Yesterday's state into a second, empty server of the same host
  holdfast.ops.redis_restore:
    component: sessions
    login_port: 6390
    service: redis-server@yesterday.service
    at: "2026-11-21T20:00:00Z"
    repositories:
      - {name: primary, type: s3, endpoint_url: "https://s3.example.com", bucket: backups}
  become: true

- name: A server that does not start any more
  holdfast.ops.redis_restore:
    component: sessions
    service: redis-server.service
    config_file: /etc/redis/redis.conf
    confirm: "127.0.0.1:6379"
    repositories:
      - {name: nas, type: local, path: /srv/backups}
  become: true
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
  sample: ["Redis 7.0.15 at 127.0.0.1:6379, run by redis-server.service: 48210 keys",
           "dump of redis 7.0.15: 61.3 MiB", "redis-server.service is stopped and started"]
live:
  description: The name of what is in use and is replaced, as O(confirm) must say it; null where nothing is.
  returned: when the preflight passed
  type: str
  sample: shop
repository:
  description: The repository that was read.
  returned: when one was found
  type: str
proof:
  description: What the restored server was compared with. Null in check mode.
  returned: when the preflight passed
  type: dict
  contains:
    proved:
      description: Whether a fingerprint that proves anything was there, and everything is as it was.
      type: bool
    level:
      description: The level of the fingerprint.
      type: str
      sample: counts
    checked:
      description: How many things were compared.
      type: int
    differences:
      description: What is not as it was. Empty after a success.
      type: list
      elements: str
    details:
      description:
        - How many keys the server holds, how many values were compared, and how many keys had expired meanwhile.
        - C(previous) is the directory with the replaced files.
      type: dict
      sample:
        keys: 48193
        sampled: 1041
        lapsed: 17
        previous: /var/lib/redis/holdfast-previous-20261122T143700123Z
safety_backup:
  description: The result of the safety backup, as from M(holdfast.ops.redis_backup).
  returned: when the preflight passed
  type: dict
seconds:
  description: How long it took.
  returned: when the preflight passed
  type: float
seconds_by_stage:
  description: The same by stage. From C(stop) to C(prove) the server does not serve writes.
  returned: when the preflight passed
  type: dict
  sample: {"preflight": 0.2, "fetch": 3.1, "check": 1.0, "stop": 0.4, "place": 0.1, "start": 2.0, "prove": 7.2}
error_code:
  description: What kind of failure it was, such as C(refused), C(not_proved), C(version_mismatch) or C(corrupted).
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
from ansible_collections.holdfast.ops.plugins.module_utils._arguments import restore_spec
from ansible_collections.holdfast.ops.plugins.module_utils._engines._redis import RedisEngine
from ansible_collections.holdfast.ops.plugins.module_utils._run import run_restore


def main() -> None:
    """Entry point."""
    run_restore(AnsibleModule(**restore_spec(RedisEngine).module()), RedisEngine)


if __name__ == "__main__":
    main()
