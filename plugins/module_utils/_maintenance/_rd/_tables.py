# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of a report on a server: what it says of itself, its clients, slow commands and keys. Pure.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..._durations import roughly
from ..._engines._rd._server import State
from .._moment import moment
from .._section import BYTES, CODE, COUNT, PERCENT, SECONDS, TEXT, TIME, Column, Table, bounded_table, table_of
from ._judge import Facts
from ._names import shown
from ._sample import Sample, Tally

_PAIR = re.compile(r"([a-z-]+)=(\S*)")


def overview(state: State, facts: Facts) -> Table:
    """What it is, in words."""
    info = state.info
    primary = f"{info.get('master_host')}:{info.get('master_port')}"
    hits, uptime = facts.hit_ratio, facts.number("uptime_in_seconds")
    rows = {
        "server": f"{state.name} {state.version}",
        "used as": facts.used,
        "running since": f"{moment(facts.now - uptime)} ({roughly(uptime)})",
        "role": {"master": "primary", "slave": f"replica of {primary}"}.get(state.role, state.role),
        "replicas": info.get("connected_slaves", ""),
        "policy when memory is full": facts.policy,
        "keys thrown away": info.get("evicted_keys", ""),
        "fragmentation": info.get("mem_fragmentation_ratio", ""),
        "hit ratio": "" if hits is None else f"{hits:.1f} %",
        "clients": f"{info.get('connected_clients')} of {info.get('maxclients', '?')}, "
        f"{info.get('blocked_clients')} waiting, {info.get('rejected_connections')} refused since the start",
        "last snapshot": f"{moment(facts.number('rdb_last_save_time'))} ({info.get('rdb_last_bgsave_status')}), "
        f"{info.get('rdb_changes_since_last_save')} changes since",
        "snapshots": facts.settings.get("save") or ("none" if "save" in facts.settings else ""),
        "append-only file": f"on ({info.get('aof_last_write_status')})" if info.get("aof_enabled") == "1" else "off",
    }
    columns = [Column("what", "What"), Column("value", "Value")]
    return table_of(
        "overview",
        "Server",
        columns,
        ({"what": what, "value": value} for what, value in rows.items() if value and info),
    )


def memory(facts: Facts) -> Table:
    """Where its memory goes."""
    names = {
        "used_memory": "used",
        "used_memory_dataset": "of it data",
        "used_memory_overhead": "of it overhead",
        "used_memory_peak": "peak",
        "used_memory_rss": "of the process",
        "maxmemory": "maxmemory (0 is no limit)",
    }
    rows = [{"what": what, "bytes": int(facts.number(name))} for name, what in names.items() if name in facts.info]
    return table_of("memory", "Memory", [Column("what", "What"), Column("bytes", "Size", BYTES)], rows, plot="bytes")


def databases(state: State, sample: Sample) -> Table:
    """Keys by database."""
    rows = [
        {
            "database": number,
            "keys": keys,
            "expiring": state.expiring.get(number, 0),
            "expiring_percent": 100 * state.expiring.get(number, 0) / keys if keys else None,
            "seen": sample.seen.get(number, 0),
        }
        for number, keys in sorted(sample.totals.items())
    ]
    columns = [
        Column("database", "Database", CODE),
        Column("keys", "Keys", COUNT),
        Column("expiring", "With expiry", COUNT),
        Column("expiring_percent", "With expiry", PERCENT),
        Column("seen", "Looked at", COUNT),
    ]
    return table_of("databases", "Databases", columns, rows, note=sample.coverage, plot="keys")


def parse_clients(text: str) -> list[dict[str, str]]:
    """`CLIENT LIST`, a mapping for each; ourselves left out."""
    found = [dict(_PAIR.findall(line)) for line in text.splitlines()]
    return [each for each in found if each and not each.get("cmd", "").startswith("client")]


def clients(rows: Iterable[Mapping[str, str]], limit: int) -> Table:
    """By name and address, the most first."""
    groups: dict[tuple[str, str, str], dict[str, Any]] = {}
    for each in rows:
        address = each.get("addr", "").rpartition(":")[0]
        who = (each.get("name", ""), address, each.get("user", ""))
        group = groups.setdefault(
            who, {"name": who[0], "address": address, "user": who[2], "number": 0, "blocked": 0, "idle": 0, "age": 0}
        )
        group["number"] += 1
        group["blocked"] += "b" in each.get("flags", "")
        for name in ("idle", "age"):
            group[name] = max(group[name], int(each.get(name, 0)))
    ordered = sorted(groups.values(), key=lambda group: (-group["number"], group["name"], group["address"]))
    columns = [
        Column("name", "Name"),
        Column("address", "Address", CODE),
        Column("user", "User"),
        Column("number", "Connections", COUNT),
        Column("blocked", "Waiting", COUNT),
        Column("idle", "Longest idle", SECONDS),
        Column("age", "Oldest", SECONDS),
    ]
    return bounded_table("clients", "Clients", columns, ordered, limit, plot="number")


def parse_slow_log(flat: Sequence[Any]) -> list[dict[str, Any]]:
    """`SLOWLOG GET` as one flat list: of each entry id, moment and microseconds, the command's words, client and name.

    Only the command itself is kept, and how many words it had: the words may be anybody's data.
    """
    found: list[dict[str, Any]] = []
    at = 0
    while at + 2 < len(flat):
        _id, when, duration = flat[at : at + 3]
        at += 3
        begin = at
        while at < len(flat) and not isinstance(flat[at], int):
            at += 1
        words = flat[begin : max(begin, at - 2)]  # the client's address and name stand last
        command = shown(bytes(words[0])).upper() if words else ""
        found.append(
            {
                "command": command if re.fullmatch(r"[A-Z][A-Z0-9._|-]{0,40}", command) else "?",
                "arguments": max(0, len(words) - 1),
                "seconds": duration / 1e6,
                "at": moment(when),
                "when": when,
            }
        )
    return sorted(found, key=lambda each: -float(each["seconds"]))


def slow_log(rows: Sequence[Mapping[str, Any]], limit: int) -> Table:
    """The slowest first."""
    columns = [
        Column("command", "Command", CODE),
        Column("arguments", "Arguments", COUNT),
        Column("seconds", "Took", SECONDS),
        Column("at", "When", TIME),
    ]
    note = "Arguments are not shown: they are data. The server shows no more than 31 of them."
    return bounded_table("slow_commands", "Slow commands", columns, rows, limit, note=note, plot="seconds")


def types(sample: Sample) -> Table:
    """Keys by type."""
    rows = [
        {"type": kind, "keys": tally.keys, "lasting": tally.lasting, "bytes": tally.bytes, "largest": tally.largest}
        for kind, tally in sorted(sample.types.items(), key=lambda pair: -pair[1].bytes)
    ]
    columns = [
        Column("type", "Type"),
        Column("keys", "Keys seen", COUNT),
        Column("lasting", "Without expiry", COUNT),
        Column("bytes", "Memory", BYTES),
        Column("largest", "Largest key", BYTES),
    ]
    return table_of("types", "Types of keys", columns, rows, note=sample.coverage, plot="bytes")


def big_keys(sample: Sample) -> Table:
    """The biggest keys that were seen."""
    rows = [
        {
            "key": shown(key.name),
            "database": key.database,
            "type": key.kind,
            "bytes": key.size,
            "elements": key.elements if key.kind != "string" else None,
            "expires": {True: "yes", False: "no"}.get(key.expires) if key.expires is not None else None,
        }
        for key in sorted(sample.biggest, key=lambda key: key.weight, reverse=True)
    ]
    columns = [
        Column("key", "Key", CODE),
        Column("database", "Database", CODE),
        Column("type", "Type"),
        Column("bytes", "Memory", BYTES),
        Column("elements", "Elements", COUNT),
        Column("expires", "Has an expiry", TEXT),
    ]
    return table_of("big_keys", "Biggest keys", columns, rows, note=sample.coverage, plot="bytes")


def patterns(name: str, title: str, tallies: Mapping[tuple[int, str], Tally], sample: Sample, limit: int) -> Table:
    """Names that belong together, by memory and by number."""
    ordered = sorted(tallies.items(), key=lambda pair: (-pair[1].bytes, -pair[1].keys, pair[0]))
    rows = [
        {
            "pattern": pattern,
            "database": database,
            "keys": tally.keys,
            "lasting": tally.lasting,
            "bytes": tally.bytes,
            "share": 100 * tally.keys / sample.seen[database],
        }
        for (database, pattern), tally in ordered
    ]
    columns = [
        Column("pattern", "Keys like", CODE),
        Column("database", "Database", CODE),
        Column("keys", "Keys seen", COUNT),
        Column("share", "Of the database", PERCENT),
        Column("lasting", "Without expiry", COUNT),
        Column("bytes", "Memory", BYTES),
    ]
    return bounded_table(name, title, columns, rows, limit, note=sample.coverage, plot="bytes")
