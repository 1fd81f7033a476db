# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking at as many keys as time allows: their types, sizes and expiry, the big ones, and names that belong together.

PRIVATE to the collection; may change without notice.

SCAN walks the hash table of a database, so what was seen when time is up is a sample by the hash of the names, about
as good as a random one. How much was seen is said; numbers for all are never made up without saying so.
"""

from __future__ import annotations

import heapq
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ._names import pattern_of
from ._session import Session

BATCH = 500
"""Keys that are asked for at once: a millisecond of the server's time."""
CONTAINER_BATCH = 5000
"""The same through a program inside a container, whose start costs more than the keys."""
LOOK_CLOSER = 16 * 1024
"""Bytes from which on the elements of a key are counted too."""
PATTERNS = 2000
"""Patterns of names that are told apart; the others are counted together."""

LENGTHS = {"string": "STRLEN", "list": "LLEN", "set": "SCARD", "zset": "ZCARD", "hash": "HLEN", "stream": "XLEN"}

_QUEUES = re.compile(
    rb"_kombu\.|unacked|celery\Z|celery-task-meta|rq:|bull:|arq:|dramatiq|huey|resque:|sidekiq|queues?\b|taskiq"
)
"""Names by which workers keep their queues."""


@dataclass
class Tally:
    """Keys counted together; bytes only of those whose size the server told."""

    keys: int = 0
    bytes: int = 0
    largest: int = 0
    lasting: int = 0
    """Without expiry."""

    def add(self, size: int | None, lasting: bool) -> None:
        self.keys += 1
        self.bytes += size or 0
        self.largest = max(self.largest, size or 0)
        self.lasting += lasting


@dataclass(frozen=True, order=True)
class Key:
    """A key that was seen.

    Attributes:
        weight: big ones first, by size.
        size: bytes in memory, as the server estimates; None when it does not tell.
        elements: of a collection, or the bytes of a string; None when it was not asked for.
    """

    weight: tuple[bool, int]
    database: int
    name: bytes
    kind: str = field(compare=False)
    size: int | None = field(compare=False)
    elements: int | None = field(compare=False)
    expires: bool | None = field(compare=False)
    big: bool = field(compare=False)


@dataclass
class Sample:
    """What was seen of the keys of a server.

    Attributes:
        totals: keys by database, as the server counts.
        seen: keys that were looked at, by database.
        complete: databases of which all was seen.
        forever: by pattern, names of the kind of a cache whose keys have no expiry.
    """

    totals: Mapping[int, int]
    seen: dict[int, int] = field(default_factory=dict)
    complete: set[int] = field(default_factory=set)
    types: dict[str, Tally] = field(default_factory=dict)
    patterns: dict[tuple[int, str], Tally] = field(default_factory=dict)
    others: Tally = field(default_factory=Tally)
    biggest: list[Key] = field(default_factory=list)
    forever: dict[tuple[int, str], Tally] = field(default_factory=dict)
    big: int = 0
    """Keys of at least the limit of bytes or elements."""
    queues: bool = False
    seconds: float = 0.0

    @property
    def keys_seen(self) -> int:
        return sum(self.seen.values())

    @property
    def keys(self) -> int:
        return max(sum(self.totals.values()), self.keys_seen)

    @property
    def lasting(self) -> int:
        return sum(tally.lasting for tally in self.types.values())

    @property
    def whole(self) -> bool:
        """Whether all keys were seen."""
        return all(number in self.complete for number in self.totals)

    @property
    def coverage(self) -> str:
        """How much was seen, for people."""
        if self.whole:
            return f"All {self.keys:,} keys were looked at."
        share = 100 * self.keys_seen / self.keys if self.keys else 0
        return (
            f"{self.keys_seen:,} of {self.keys:,} keys ({share:.1f} %) were looked at in {self.seconds:.1f} s; a big "
            "key among the others is not seen. Raise scan_seconds and scan_keys to see more."
        )


class Sampler:
    """Fills a sample.

    Args:
        limit: how many of the biggest keys are kept.
        big_size, big_elements: from which on a key is big.
        cache: whether a name is one of a cache.
    """

    def __init__(
        self,
        session: Session,
        sample: Sample,
        *,
        limit: int,
        big_size: int,
        big_elements: int,
        cache: re.Pattern[bytes],
    ) -> None:
        self._session = session
        self._sample = sample
        self._limit = limit
        self._big_size = big_size
        self._big_elements = big_elements
        self._cache = cache
        self._batch = CONTAINER_BATCH if session.server.container else BATCH

    def run(self, seconds: float, most: int) -> None:
        """Look for so long at most, and at so many keys; each database gets its share."""
        began = time.monotonic()
        remaining = sum(self._sample.totals.values())
        for database, keys in sorted(self._sample.totals.items(), key=lambda pair: pair[1]):
            left = seconds - (time.monotonic() - began)
            share = keys / remaining if remaining else 1.0
            room = most - self._sample.keys_seen
            if left <= 0 or room <= 0:
                break
            self._database(database, time.monotonic() + left * share, max(1, int(room * share)))
            remaining -= keys
        self._sample.seconds = time.monotonic() - began

    def _database(self, database: int, until: float, most: int) -> None:
        cursor = b"0"
        while True:
            reply = self._session.many(database, [("SCAN", cursor, "COUNT", str(self._batch))])[0]
            if reply is None:  # not permitted; the session remembers
                return
            cursor, names = reply[0], reply[1:]
            self._look(database, names)
            if cursor == b"0":
                self._sample.complete.add(database)
                return
            if time.monotonic() >= until or self._sample.seen.get(database, 0) >= most:
                return

    def _look(self, database: int, names: Sequence[bytes]) -> None:
        if not names:
            return
        asked = [words for name in names for words in (("TYPE", name), ("PTTL", name), ("MEMORY", "USAGE", name))]
        replies = iter(self._session.many(database, asked))
        rows = [row for row in zip(names, *[replies] * 3) if row[1] not in (b"none", None)]  # gone meanwhile, or denied
        self._sample.seen[database] = self._sample.seen.get(database, 0) + len(rows)
        for (name, kind, left, size), elements in zip(rows, self._elements(database, rows)):
            self._add(database, name, kind.decode("utf-8", "replace"), left, size, elements)

    def _elements(self, database: int, rows: Sequence[tuple[bytes, bytes, Any, Any]]) -> Iterator[int | None]:
        """Of those that are large, or of unknown size."""
        closer = [
            number
            for number, (_name, kind, _left, size) in enumerate(rows)
            if kind.decode("utf-8", "replace") in LENGTHS and (size is None or size >= LOOK_CLOSER)
        ]
        found: dict[int, int | None] = {}
        if closer:
            asked = [(LENGTHS[rows[number][1].decode()], rows[number][0]) for number in closer]
            found = dict(zip(closer, self._session.many(database, asked)))
        return (found.get(number) for number in range(len(rows)))

    def _add(self, database: int, name: bytes, kind: str, left: Any, size: int | None, elements: int | None) -> None:
        sample = self._sample
        lasting = left == -1
        sample.types.setdefault(kind, Tally()).add(size, lasting)
        if not sample.queues and _QUEUES.match(name):
            sample.queues = True
        pattern = (database, pattern_of(name))
        if pattern in sample.patterns or len(sample.patterns) < PATTERNS:
            sample.patterns.setdefault(pattern, Tally()).add(size, lasting)
        else:
            sample.others.add(size, lasting)
        if lasting and self._cache.match(name) and (pattern in sample.forever or len(sample.forever) < PATTERNS):
            sample.forever.setdefault(pattern, Tally()).add(size, lasting)
        expires = None if left is None else not lasting
        big = self._is_big(kind, size, elements)
        sample.big += big
        key = Key((big, elements or 0 if size is None else size), database, name, kind, size, elements, expires, big)
        if len(sample.biggest) < self._limit:
            heapq.heappush(sample.biggest, key)
        elif key > sample.biggest[0]:
            heapq.heapreplace(sample.biggest, key)

    def _is_big(self, kind: str, size: int | None, elements: int | None) -> bool:
        if kind == "string":  # its length is its bytes
            return (elements or 0 if size is None else size) >= self._big_size
        return (size or 0) >= self._big_size or (elements or 0) >= self._big_elements
