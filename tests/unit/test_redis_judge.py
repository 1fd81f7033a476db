# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server of Redis or Valkey says of itself is judged by what it is used for."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._rd._judge import USES, Facts, judge
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._rd._names import (
    SHOWN,
    masked,
    means_everything,
    pattern_of,
    shown,
)
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._rd._tables import parse_slow_log
from hypothesis import given
from hypothesis import strategies as st

NOW = 1_795_341_600.0
GIB = 2**30
WELL = {
    "redis_version": "7.0.15",
    "role": "master",
    "maxmemory": str(GIB),
    "maxmemory_policy": "noeviction",
    "used_memory": str(GIB // 4),
    "used_memory_rss": str(GIB // 4 + 2**20),
    "used_memory_peak": str(GIB // 3),
    "mem_fragmentation_ratio": "1.04",
    "maxclients": "10000",
    "connected_clients": "12",
    "rejected_connections": "0",
    "evicted_keys": "0",
    "keyspace_hits": "9000",
    "keyspace_misses": "1000",
    "rdb_last_bgsave_status": "ok",
    "rdb_last_save_time": str(int(NOW) - 600),
    "rdb_changes_since_last_save": "7",
    "aof_enabled": "0",
    "aof_last_write_status": "ok",
    "aof_last_bgrewrite_status": "ok",
}
SETTINGS = {"save": "3600 1", "timeout": "0"}


def judged(
    use: str = "store", settings: dict[str, str] | None = None, idle: tuple[int, int] = (0, 0), **info: Any
) -> dict[str, str]:
    told = {**WELL, **{name: str(value) for name, value in info.items()}}
    facts = Facts(told, SETTINGS if settings is None else settings, use, False, NOW, keys=100, expiring=50, idle=idle)
    return {each.code: each.severity for each in judge(facts)}


@pytest.mark.parametrize("use", USES)
def test_a_server_that_is_well_is_left_in_peace(use: str) -> None:
    policy = "allkeys-lru" if use == "cache" else "noeviction"
    assert judged(use, maxmemory_policy=policy) == {}


@pytest.mark.parametrize(
    ("use", "info", "expected"),
    [
        ("store", {"maxmemory": 0}, {"memory_unlimited": "warning"}),
        ("store", {"used_memory": 0.79 * GIB, "used_memory_rss": GIB}, {}),
        ("store", {"used_memory": int(0.81 * GIB), "used_memory_rss": GIB}, {"memory_nearly_full": "warning"}),
        ("queue", {"used_memory": int(0.96 * GIB), "used_memory_rss": GIB}, {"memory_nearly_full": "critical"}),
        ("cache", {"used_memory": GIB, "used_memory_rss": GIB, "maxmemory_policy": "allkeys-lfu"}, {}),
        ("store", {"used_memory_rss": GIB // 2, "mem_fragmentation_ratio": 2}, {"fragmented": "warning"}),
        ("store", {"used_memory": 2**20, "used_memory_rss": 2**23, "mem_fragmentation_ratio": 8}, {}),
        ("store", {"used_memory_rss": GIB // 8, "mem_fragmentation_ratio": 0.5}, {"swapped": "critical"}),
        ("queue", {"maxmemory_policy": "allkeys-lru"}, {"policy_of_data": "critical"}),
        (
            "queue",
            {"maxmemory_policy": "allkeys-lru", "maxmemory": 0},
            {"policy_of_data": "warning", "memory_unlimited": "warning"},
        ),
        ("store", {"evicted_keys": 1}, {"evicted": "critical"}),
        ("cache", {"evicted_keys": 1, "maxmemory_policy": "allkeys-lru"}, {"evicted": "info"}),
        (
            "cache",
            {"keyspace_hits": 100, "keyspace_misses": 901, "maxmemory_policy": "allkeys-lru"},
            {"hit_ratio": "warning"},
        ),
        ("cache", {"keyspace_hits": 100, "keyspace_misses": 800, "maxmemory_policy": "allkeys-lru"}, {}),
        ("store", {"keyspace_hits": 100, "keyspace_misses": 9000}, {}),
        ("store", {"connected_clients": 8000}, {"clients_nearly_full": "warning"}),
        ("store", {"connected_clients": 9900}, {"clients_nearly_full": "critical"}),
        ("store", {"rejected_connections": 1}, {"clients_rejected": "warning"}),
        ("store", {"rdb_last_bgsave_status": "err"}, {"rdb_last_bgsave_failed": "critical"}),
        ("store", {"aof_last_write_status": "err"}, {"aof_last_write_failed": "critical"}),
        ("store", {"aof_last_bgrewrite_status": "err"}, {"aof_last_bgrewrite_failed": "critical"}),
        ("store", {"rdb_last_save_time": NOW - 90_000}, {"save_old": "warning"}),
        ("store", {"rdb_last_save_time": NOW - 90_000, "rdb_changes_since_last_save": 0}, {}),
        ("store", {"rdb_last_save_time": NOW - 90_000, "aof_enabled": 1}, {}),
        ("store", {"role": "slave", "master_link_status": "up", "slave_read_only": 0}, {"replica_writable": "warning"}),
        ("store", {"role": "slave", "master_link_status": "down"}, {"replication_down": "critical"}),
        ("store", {"slave0": "ip=10.0.0.2,port=6379,state=online,offset=1,lag=1"}, {}),
        ("store", {"slave0": "ip=10.0.0.2,port=6379,state=online,offset=1,lag=31"}, {"replica_behind": "warning"}),
        ("store", {"slave0": "ip=10.0.0.2,port=6379,state=wait_bgsave,offset=0,lag=0"}, {"replica_behind": "warning"}),
        ("store", {"server_mode": "cluster"}, {"cluster_node": "info"}),
    ],
)
def test_trouble_is_told_by_its_severity(use: str, info: dict[str, Any], expected: dict[str, str]) -> None:
    assert judged(use, **info) == expected


def test_what_is_not_kept_and_who_is_idle() -> None:
    assert judged(settings={"save": "", "timeout": "0"}) == {"not_persistent": "warning"}
    assert judged(settings={"save": "", "timeout": "0"}, aof_enabled=1) == {}
    assert judged("cache", settings={"save": ""}, maxmemory_policy="allkeys-lru") == {}
    assert judged(idle=(3, 100_000)) == {"clients_idle": "info"}
    assert judged(settings={"save": "60 1", "timeout": "300"}, idle=(3, 100_000)) == {}
    assert judged(settings={}) == {}  # what may not be read is not judged


def test_nothing_is_made_up_when_the_server_says_nothing() -> None:
    assert judge(Facts({}, {}, "store", True, NOW)) == []


@given(st.binary(max_size=300))
def test_a_name_is_shown_without_doing_more(name: bytes) -> None:
    text = shown(name)
    assert text.isprintable()
    assert len(text) <= SHOWN
    assert pattern_of(name).isprintable()
    assert len(pattern_of(name)) <= SHOWN


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("user:17:profile", "user:*:profile"),
        ("celery-task-meta-7b4f6d8e-1c2a-4b3d-9e8f-0a1b2c3d4e5f", "celery-task-meta-*"),
        ("session:ab12cd34ef", "session:*"),
        ("mail:jane@example.com:7", "mail:*:*"),
        ("a:b:c:d:e", "a:b:c:*"),
        ("cache:page:1:2:3", "cache:page:*:*"),
        ("plain", "plain"),
    ],
)
def test_names_that_belong_together_have_one_pattern(name: str, pattern: str) -> None:
    assert pattern_of(name.encode()) == pattern


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("session:q7x2nfv0c3kz8m1p5t9w4y6b", "session:q7x2nf…"),
        ("reset:Zm9v-YmFy_1234567890", "reset:Zm9v-Y…"),
        ("celery-task-meta-7b4f6d8e-1c2a-4b3d-9e8f-0a1b2c3d4e5f", "celery-task-meta-7b4f6d…"),
        ("cache:page:1204", "cache:page:1204"),
        ("notification_preferences", "notification_preferences"),
    ],
)
def test_a_name_that_may_be_a_secret_is_not_told_to_its_end(name: str, text: str) -> None:
    assert masked(name.encode()) == text


@pytest.mark.parametrize(
    ("pattern", "everything"),
    [
        ("*", True),
        ("?*", True),
        ("[a-z]*", True),
        ("**", True),
        ("a*", False),
        (r"\\*", False),
        (":*", False),
        (r"[^\]]*", True),
    ],
)
def test_a_pattern_that_names_nothing_means_everything(pattern: str, everything: bool) -> None:
    assert means_everything(pattern) is everything


def test_a_slow_log_is_cut_into_its_entries() -> None:
    flat = [9, 100, 2500, b"SET", b"k", b"v", b"10.0.0.1:5", b"", 8, 90, 9000, b"KEYS", b"*", b"10.0.0.2:6", b"worker"]
    assert [(row["command"], row["arguments"], row["seconds"]) for row in parse_slow_log(flat)] == [
        ("KEYS", 1, 0.009),
        ("SET", 2, 0.0025),
    ]
    assert parse_slow_log([]) == []
    (odd,) = parse_slow_log([1, 2, 3, b"secret data\n", b"a", b"b"])
    assert not re.search("secret", odd["command"], re.IGNORECASE)
