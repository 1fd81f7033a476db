# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judging what a server says of itself: memory and its policy, clients, persistence, replication. Pure.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ..._durations import counted, format_size, roughly
from .._section import CRITICAL, INFO, WARNING, Finding

CACHE, QUEUE, STORE = "cache", "queue", "store"
USES = (CACHE, QUEUE, STORE)

_MANY = 100 * 1024 * 1024
"""Bytes below which fragmentation and swapping are no matter."""
_FEW_LOOKUPS = 1000
"""Below so many, a hit ratio says nothing."""
_DAY = 86400

_CONFIG = "`CONFIG SET {}`, and `CONFIG REWRITE` so that it stays"


@dataclass(frozen=True)
class Facts:
    """What is judged.

    Attributes:
        info: as `INFO` has it.
        settings: `save`, `timeout` and others, as far as they may be read.
        use: what the server is for.
        guessed: that was not declared.
        now: seconds since 1970.
    """

    info: Mapping[str, str]
    settings: Mapping[str, str]
    use: str
    guessed: bool
    now: float
    keys: int = 0
    expiring: int = 0
    idle: tuple[int, int] = field(default=(0, 0))
    """Clients that have been idle for a day, and for how many seconds the longest."""

    def number(self, name: str) -> float:
        """A number of INFO; 0 where there is none."""
        try:
            return float(self.info.get(name, 0))
        except ValueError:
            return 0.0

    def size(self, name: str) -> str:
        return format_size(int(self.number(name)))

    @property
    def policy(self) -> str:
        return self.info.get("maxmemory_policy", "")

    @property
    def hit_ratio(self) -> float | None:
        """Percent of lookups that found their key, since the server was started."""
        lookups = self.number("keyspace_hits") + self.number("keyspace_misses")
        return 100 * self.number("keyspace_hits") / lookups if lookups else None

    @property
    def used(self) -> str:
        """What it is for, in a sentence."""
        said = {CACHE: "a cache", QUEUE: "a queue", STORE: "a store of data"}[self.use]
        return f"{said} (judged by its keys; say `use` if that is wrong)" if self.guessed else said


def judge(facts: Facts) -> list[Finding]:
    """All findings that need no look at the keys, from memory to replication."""
    return [*_memory(facts), *_policy(facts), *_clients(facts), *_persistence(facts), *_replication(facts)]


def _memory(facts: Facts) -> Iterator[Finding]:
    most, used = facts.number("maxmemory"), facts.number("used_memory")
    if "maxmemory" in facts.info and not most:
        yield Finding(
            "memory_unlimited",
            WARNING,
            f"maxmemory is not set: the server, which uses {facts.size('used_memory')}, grows until the host has no "
            "memory left and the kernel ends a process.",
            "maxmemory",
            _CONFIG.format(f"maxmemory {max(64, round(1.5 * facts.number('used_memory_peak') / 2**20))}mb")
            + f": half as much again as its peak of {facts.size('used_memory_peak')}.",
        )
    elif most and 100 * used / most >= 80 and facts.use != CACHE:
        share = 100 * used / most
        yield Finding(
            "memory_nearly_full",
            CRITICAL if share >= 95 else WARNING,
            f"{share:.0f} % of maxmemory ({facts.size('maxmemory')}) is used; when it is full, "
            + ("writes are refused." if facts.policy == "noeviction" else f"keys are thrown away ({facts.policy})."),
            "maxmemory",
            "Look at the big keys and at those without expiry below, or raise maxmemory.",
        )
    rss, ratio = facts.number("used_memory_rss"), facts.number("mem_fragmentation_ratio")
    if ratio > 1.5 and rss - used > _MANY:
        yield Finding(
            "fragmented",
            WARNING,
            f"The process takes {facts.size('used_memory_rss')} of memory for {facts.size('used_memory')} of data "
            f"(fragmentation {ratio:.2f}).",
            "memory",
            _CONFIG.format("activedefrag yes") + "; or restart it at a quiet hour.",
        )
    if 0 < rss < 0.9 * used and used > _MANY:
        yield Finding(
            "swapped",
            CRITICAL,
            f"Only {facts.size('used_memory_rss')} of {facts.size('used_memory')} are in memory: the rest was swapped "
            "out, and every look at it waits for the disk.",
            "memory",
            "Give the host more memory, or lower maxmemory.",
        )


def _policy(facts: Facts) -> Iterator[Finding]:
    policy, most = facts.policy, facts.number("maxmemory")
    if facts.use == CACHE and policy == "noeviction" and most:
        yield Finding(
            "policy_of_cache",
            WARNING,
            f"The server is {facts.used}, and its policy is noeviction: when its {facts.size('maxmemory')} are full, "
            "writes fail instead of old entries giving way.",
            "maxmemory-policy",
            _CONFIG.format("maxmemory-policy allkeys-lru") + ".",
        )
    if facts.use != CACHE and policy.startswith("allkeys-"):
        yield Finding(
            "policy_of_data",
            CRITICAL if most else WARNING,
            f"The server is {facts.used}, and its policy is {policy}: when memory is full, "
            f"{'jobs' if facts.use == QUEUE else 'data'} will be thrown away without a word.",
            "maxmemory-policy",
            _CONFIG.format("maxmemory-policy noeviction") + "; a cache belongs into a server of its own.",
        )
    if policy.startswith("volatile-") and most and facts.keys and not facts.expiring:
        yield Finding(
            "policy_without_effect",
            WARNING,
            f"The policy is {policy}, and no key has an expiry: nothing can give way when memory is full.",
            "maxmemory-policy",
            "Let the application set expiries, or choose allkeys-lru (cache) or noeviction (data).",
        )
    evicted = int(facts.number("evicted_keys"))
    if evicted:
        yield Finding(
            "evicted",
            INFO if facts.use == CACHE else CRITICAL,
            f"{counted(evicted, 'key')} {'was' if evicted == 1 else 'were'} thrown away for want of memory since the "
            f"server was started ({policy}).",
            "evicted_keys",
            "Usual in a cache; watch the hit ratio."
            if facts.use == CACHE
            else "Raise maxmemory, and find what was lost.",
        )
    ratio = facts.hit_ratio
    lookups = facts.number("keyspace_hits") + facts.number("keyspace_misses")
    if facts.use == CACHE and ratio is not None and ratio < 50 and lookups >= _FEW_LOOKUPS:
        yield Finding(
            "hit_ratio",
            WARNING,
            f"Only {ratio:.0f} % of {lookups:,.0f} lookups found their key since the server was started.",
            "hit_ratio",
            "Are expiries too short, keys too special, or is memory too small (see evicted keys)?",
        )


def _clients(facts: Facts) -> Iterator[Finding]:
    now, most = facts.number("connected_clients"), facts.number("maxclients")
    if most and 100 * now / most >= 80:
        yield Finding(
            "clients_nearly_full",
            CRITICAL if 100 * now / most >= 95 else WARNING,
            f"{now:.0f} of {most:.0f} possible clients are connected.",
            "maxclients",
            "See below who they are; give their pools a limit, or raise maxclients.",
        )
    rejected = int(facts.number("rejected_connections"))
    if rejected:
        yield Finding(
            "clients_rejected",
            WARNING,
            f"{counted(rejected, 'connection')} {'was' if rejected == 1 else 'were'} refused since the server was "
            "started, because maxclients was reached.",
            "maxclients",
            "See below who is connected; give their pools a limit, or raise maxclients.",
        )
    idle, longest = facts.idle
    if idle and facts.settings.get("timeout") == "0":
        yield Finding(
            "clients_idle",
            INFO,
            f"{counted(idle, 'client')} said nothing for more than a day, the longest for {roughly(longest)}, and none "
            "is ever disconnected (timeout is 0).",
            "timeout",
            "If their number grows from day to day, an application leaks connections: "
            + _CONFIG.format("timeout 86400"),
        )


def _persistence(facts: Facts) -> Iterator[Finding]:
    info = facts.info
    for name, what in (
        ("rdb_last_bgsave_status", "save of a snapshot (RDB)"),
        ("aof_last_write_status", "write to the append-only file"),
        ("aof_last_bgrewrite_status", "rewrite of the append-only file"),
    ):
        if info.get(name, "ok") != "ok":
            yield Finding(
                name.replace("_status", "_failed"),
                CRITICAL,
                f"The last {what} failed"
                + ("; what was written since is lost when the server ends." if "rewrite" not in name else "."),
                name,
                "Look at the server's log; often its disk is full, its directory is not its own, or there is not "
                "enough memory for a fork (vm.overcommit_memory=1).",
            )
    saves, appends = facts.settings.get("save"), info.get("aof_enabled") == "1"
    if saves == "" and not appends and info and facts.use != CACHE:
        yield Finding(
            "not_persistent",
            WARNING,
            f"The server is {facts.used}, and keeps nothing on disk: neither snapshots (save) nor an append-only file.",
            "save",
            _CONFIG.format("appendonly yes") + "; unless all of it can be lost.",
        )
    age = facts.now - facts.number("rdb_last_save_time")
    changes = int(facts.number("rdb_changes_since_last_save"))
    if saves and not appends and changes and age > _DAY and info.get("rdb_last_bgsave_status") == "ok":
        yield Finding(
            "save_old",
            WARNING,
            f"The last snapshot was saved {roughly(age)} ago, and {counted(changes, 'change')} since would be lost.",
            "save",
            f"`BGSAVE` now; the setting save is {saves!r}.",
        )


def _replication(facts: Facts) -> Iterator[Finding]:
    info = facts.info
    if info.get("role") == "slave":
        if info.get("master_link_status") != "up":
            yield Finding(
                "replication_down",
                CRITICAL,
                f"The link to the primary has been {info.get('master_link_status', 'unknown')} for "
                f"{roughly(facts.number('master_link_down_since_seconds'))}; this replica's data is old.",
                "replication",
                "Look at the logs of both; is the primary reachable, and masterauth right?",
            )
        if info.get("slave_read_only") == "0":
            yield Finding(
                "replica_writable",
                WARNING,
                "This replica takes writes, which its primary never gets and the next synchronisation removes.",
                "replica-read-only",
                _CONFIG.format("replica-read-only yes") + ".",
            )
    late = [value for name, value in info.items() if name.startswith("slave") and "state=" in value]
    for value in late:
        fields = dict(part.split("=", 1) for part in value.split(",") if "=" in part)
        lag = float(fields.get("lag", 0)) if fields.get("lag", "0").lstrip("-").isdigit() else 0.0
        if fields.get("state") != "online" or lag > 30:
            yield Finding(
                "replica_behind",
                WARNING,
                f"The replica {fields.get('ip')}:{fields.get('port')} is {fields.get('state')} and was last heard of "
                f"{roughly(lag)} ago.",
                "replication",
                "Look at its log and at the network between them.",
            )
    if "cluster" in (info.get("redis_mode"), info.get("server_mode")):
        yield Finding(
            "cluster_node",
            INFO,
            "The server is a node of a cluster; this report is about its own part of the keys.",
            "cluster",
            "Declare a task for every node.",
        )
