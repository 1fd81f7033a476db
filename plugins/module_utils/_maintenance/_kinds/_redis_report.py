# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kind `redis_report`: memory, clients, persistence, slow commands and the keys of a Redis or Valkey server.

PRIVATE to the collection; may change without notice.

Never KEYS, MONITOR or DEBUG, and nothing that takes the server longer than about a millisecond at a time.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ..._deadline import Deadline
from ..._declaration._report import Report
from ..._durations import counted, format_size, parse_size
from ..._engines._rd._server import OPTIONS, State
from ..._errors import InvalidOption
from ..._spec import Spec
from .._interface import Kind
from .._rd import _tables
from .._rd._judge import CACHE, QUEUE, STORE, USES, Facts, judge
from .._rd._names import glob, shown
from .._rd._sample import Sample, Sampler
from .._rd._session import Session
from .._section import BYTES, COUNT, INFO, PERCENT, WARNING, Finding, Measure, Section, Table

AUTO = "auto"
_DAY = 86400
_TOLD = 5
"""Of the same kind of finding, how many stand by themselves."""
_RESERVE = 1.0
"""Seconds that are left for the rest when keys are looked at."""


class RedisReport(Kind):
    """What is worth knowing of a server once a day."""

    name = "redis_report"
    title = "Memory, clients, persistence and keys of Redis or Valkey"
    SPEC = Spec(
        {
            **OPTIONS,
            "use": {"type": "str", "choices": [AUTO, *USES], "default": AUTO},
            "databases": {"type": "list", "elements": "int"},
            "scan_seconds": {"type": "float", "default": 3.0},
            "scan_keys": {"type": "int", "default": 100000, "no_log": False},
            "big_size": {"type": "str", "default": "1MiB"},
            "big_elements": {"type": "int", "default": 10000},
            "cache_patterns": {
                "type": "list",
                "elements": "str",
                "default": ["*cache*", "*session*", "sess:*", "tmp:*", "temp:*", "lock:*", "*:lock", "ratelimit*"],
            },
            "limit": {"type": "int", "default": 20},
        },
        mutually_exclusive=[["login_host", "login_unix_socket"], ["login_password", "login_password_file"]],
    )

    @classmethod
    def examine(cls, options: Mapping[str, Any], report: Report) -> None:
        for name, least in (("scan_seconds", 0), ("scan_keys", 0), ("big_elements", 1), ("limit", 1)):
            if options[name] < least:
                report.key(name).add(f"must be at least {least}")
        if any(number < 0 for number in options.get("databases") or ()):
            report.key("databases").add("has a negative number")
        try:
            parse_size(options["big_size"])
        except InvalidOption as error:
            report.key("big_size").add(error.message)
        for number, pattern in enumerate(options["cache_patterns"]):
            if not pattern:
                report.key("cache_patterns").index(number).add("is empty")

    def look(self, deadline: Deadline) -> Section:
        session = Session(self.options, deadline)
        with contextlib.closing(session):
            state = session.state()
            rows = _tables.parse_clients(str(session.optional("CLIENT", "LIST") or ""))
            slow = _tables.parse_slow_log(session.many(0, [("SLOWLOG", "GET", "128")])[0] or [])
            names = ("save", "timeout", "slowlog-log-slower-than")
            settings = {name: value for name in names if (value := session.setting(name)) is not None}
            sample = self._sample(session, state, deadline)
        facts = self._facts(state, sample, settings, rows)
        findings = [*session.findings(self.options.get("login_user")), *judge(facts)]
        findings += [*self._slow(slow, facts.now), *self._keys(sample)]
        return Section(
            title=f"{state.name if state.info else 'Redis'}: {session.where}",
            summary=_summary(state, facts, sample),
            findings=findings,
            tables=self._tables(state, facts, sample, rows, slow),
            measures=list(_measures(state, facts)),
            data=_data(state, facts, sample),
        )

    # -- the keys ---------------------------------------------------------------------------------------------------

    def _sample(self, session: Session, state: State, deadline: Deadline) -> Sample:
        wanted = self.options.get("databases")
        totals = dict(state.keys)
        if not state.info:  # not told: then what was asked for, or the first
            totals = dict.fromkeys(wanted or [0], 0)
        elif wanted:
            totals = {number: totals.get(number, 0) for number in wanted}
        sample = Sample(totals)
        seconds = min(self.options["scan_seconds"], deadline.left() - _RESERVE)
        if seconds > 0 and self.options["scan_keys"]:
            patterns = [glob(each).pattern for each in self.options["cache_patterns"]]
            sampler = Sampler(
                session,
                sample,
                limit=self.options["limit"],
                big_size=parse_size(self.options["big_size"]),
                big_elements=self.options["big_elements"],
                cache=re.compile(b"|".join(patterns) or b"(?!)", re.DOTALL),
            )
            sampler.run(seconds, self.options["scan_keys"])
        return sample

    def _facts(self, state: State, sample: Sample, settings: Mapping[str, str], rows: list[dict[str, str]]) -> Facts:
        use = self.options["use"]
        keys, expiring = state.total, sum(state.expiring.values())
        if use == AUTO:
            use = QUEUE if sample.queues else CACHE if keys and expiring >= 0.5 * keys else STORE
        idle = [seconds for each in rows if (seconds := int(each.get("idle", 0))) > _DAY]
        return Facts(
            info=state.info,
            settings=settings,
            use=use,
            guessed=self.options["use"] == AUTO,
            now=time.time(),
            keys=keys,
            expiring=expiring,
            idle=(len(idle), max(idle, default=0)),
        )

    # -- findings ---------------------------------------------------------------------------------------------------

    def _slow(self, slow: list[dict[str, Any]], now: float) -> Iterator[Finding]:
        recent = [each for each in slow if now - each["when"] < _DAY]
        if recent:
            worst, are = recent[0], "is" if len(recent) == 1 else "are"
            yield Finding(
                "slow_commands",
                WARNING,
                f"{counted(len(recent), 'command')} of the last day {are} in the slow log; the slowest was "
                f"{worst['command']} with {worst['seconds']:.3f} s, during which nobody else was served.",
                "slowlog",
                "`KEYS`, `SMEMBERS`, `HGETALL`, `LRANGE` and `DEL` of big keys are the usual ones: use `SCAN` and "
                "`UNLINK`.",
            )

    def _keys(self, sample: Sample) -> Iterator[Finding]:
        big = sorted((key for key in sample.biggest if key.big), key=lambda key: key.weight, reverse=True)
        for key in big[:_TOLD]:
            parts = [] if key.size is None else [format_size(key.size)]
            if key.elements is not None and key.kind != "string":
                parts.append(counted(key.elements, "element"))
            yield Finding(
                "big_key",
                WARNING,
                f"The {key.kind} {shown(key.name)} in database {key.database} is big: {', '.join(parts)}"
                f"{', without expiry' if key.expires is False else ''}.",
                shown(key.name),
                "Reading or deleting it whole blocks everybody: split it, read it in parts, remove it with `UNLINK`.",
            )
        if sample.big > min(len(big), _TOLD):
            rest = sample.big - min(len(big), _TOLD)
            yield Finding("big_key", WARNING, f"{counted(rest, 'more big key')} {'was' if rest == 1 else 'were'} seen.")
        forever = sorted(sample.forever.items(), key=lambda pair: (-pair[1].bytes, -pair[1].keys, pair[0]))
        for (database, pattern), tally in forever[:_TOLD]:
            have = "has" if tally.keys == 1 else "have"
            yield Finding(
                "cache_without_expiry",
                WARNING,
                f"{counted(tally.keys, 'key')} like {pattern} in database {database} ({format_size(tally.bytes)}) "
                f"{have} the name of a cache and no expiry.",
                pattern,
                "Let the application set one (`EX`, `EXPIRE`); remove the old ones with a task of the kind "
                "`redis_purge` (`without_expiry_only`).",
            )
        if len(forever) > _TOLD:
            yield Finding(
                "cache_without_expiry", INFO, f"{len(forever) - _TOLD} more such patterns are not listed here."
            )

    # -- what is shown ----------------------------------------------------------------------------------------------

    def _tables(
        self, state: State, facts: Facts, sample: Sample, rows: list[dict[str, str]], slow: list[dict[str, Any]]
    ) -> list[Table]:
        limit = self.options["limit"]
        found = [_tables.overview(state, facts), _tables.memory(facts), _tables.databases(state, sample)]
        found += [_tables.clients(rows, limit), _tables.slow_log(slow, limit), _tables.types(sample)]
        found.append(_tables.big_keys(sample))
        found.append(_tables.patterns("patterns", "Names of keys", sample.patterns, sample, limit))
        title = "Keys with names of a cache, without expiry"
        found.append(_tables.patterns("cache_without_expiry", title, sample.forever, sample, limit))
        return [table for table in found if table.rows]


def _summary(state: State, facts: Facts, sample: Sample) -> str:
    if not state.info:
        return f"The server does not say what it is. {sample.coverage}"
    most = int(facts.number("maxmemory"))
    limit = f" of {format_size(most)}" if most else ""
    return (
        f"{state.name} {state.version}: {counted(state.total, 'key')} in {format_size(state.used_memory)}{limit}, "
        f"{counted(int(facts.number('connected_clients')), 'client')}. {sample.coverage}"
    )


def _measures(state: State, facts: Facts) -> Iterator[Measure]:
    if not state.info:
        return
    yield Measure("memory_bytes", "Memory used", state.used_memory, BYTES)
    yield Measure("keys", "Keys", state.total, COUNT)
    yield Measure("clients", "Clients", facts.number("connected_clients"), COUNT)
    yield Measure("evicted_keys", "Keys thrown away since the start", facts.number("evicted_keys"), COUNT)
    if facts.hit_ratio is not None:
        yield Measure("hit_ratio", "Lookups that found their key", facts.hit_ratio, PERCENT)


def _data(state: State, facts: Facts, sample: Sample) -> dict[str, Any]:
    info = state.info
    return {
        "server": {
            "product": state.product if info else None,
            "version": state.version if info else None,
            "role": {"master": "primary", "slave": "replica"}.get(state.role),
            "uptime_seconds": int(facts.number("uptime_in_seconds")),
            "use": facts.use,
        },
        "memory": {
            "used_bytes": state.used_memory,
            "peak_bytes": int(facts.number("used_memory_peak")),
            "rss_bytes": int(facts.number("used_memory_rss")),
            "maximum_bytes": int(facts.number("maxmemory")),
            "policy": facts.policy or None,
            "fragmentation": facts.number("mem_fragmentation_ratio"),
            "evicted_keys": int(facts.number("evicted_keys")),
        },
        "databases": [
            {"number": number, "keys": keys, "expiring": state.expiring.get(number, 0)}
            for number, keys in sorted(state.keys.items())
        ],
        "hit_ratio_percent": facts.hit_ratio,
        "sample": {
            "keys": sample.keys,
            "seen": sample.keys_seen,
            "complete": sample.whole,
            "seconds": round(sample.seconds, 3),
        },
        "big_keys": list(_tables.big_keys(sample).rows),
    }
