# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding the keys that patterns and conditions name, and removing them in small steps.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Callable

from ..._engines._rd._client import Refusal
from ..._engines._rd._faults import refusal
from ..._engines._rd._server import Server
from ..._errors import HoldfastError, InvalidOption, OutOfTime, PermissionDenied, Unsupported
from ._names import glob

RIGHTS = "+select +info +scan +type +pttl +object|idletime +unlink"
"""What an ACL user needs, beside the right to write the keys (Redis 6: `+object`)."""
SAMPLE = 20
"""Names that a plan shows."""


@dataclass(frozen=True)
class Selection:
    """Which keys are meant.

    Attributes:
        types: any when empty.
        idle_seconds: not read or written for so long.
        without_expiry: only keys that would stay for ever.
    """

    patterns: Sequence[str]
    types: frozenset[str] = frozenset()
    idle_seconds: float = 0.0
    without_expiry: bool = False


@dataclass
class Found:
    """What a walk came across.

    Attributes:
        keys: that are meant, by database. A key that moves while a table is rehashed may be counted twice.
        looked_at: keys whose names fit.
        sample: names, with the number of their database.
        complete: the walk came to its end.
    """

    keys: dict[int, int] = field(default_factory=dict)
    looked_at: int = 0
    sample: list[tuple[int, bytes]] = field(default_factory=list)
    complete: bool = False

    @property
    def total(self) -> int:
        return sum(self.keys.values())


class Walker:
    """Walks over databases.

    Args:
        batch: keys that are asked for, and removed, at once.
    """

    def __init__(self, server: Server, selection: Selection, databases: Sequence[int], batch: int) -> None:
        self._server = server
        self._selection = selection
        self._databases = databases
        self._batch = batch
        self._globs = [glob(pattern) for pattern in selection.patterns]

    def count(self, late: Callable[[], bool]) -> Found:
        """Count, changing nothing.

        Args:
            late: whether it is time to give up.
        """
        found = Found()
        for database, looked_at, names in self._batches():
            found.looked_at += looked_at
            found.keys[database] = found.keys.get(database, 0) + len(names)
            found.sample += [(database, name) for name in names[: max(0, SAMPLE - len(found.sample))]]
            if late():
                return found
        found.complete = True
        return found

    def remove(self, most: int, pause: float, removed: Found, late: Callable[[], bool]) -> None:
        """Remove the keys; what was removed until then is told by `removed`, also when this is interrupted.

        Args:
            most: after so many it ends; `removed` is complete when there were no more.
            pause: seconds between two batches, in which others are served.
            late: whether it is time to give up.

        Raises:
            OutOfTime: it was.
        """
        for database, looked_at, names in self._batches():
            removed.looked_at += looked_at
            names = names[: most - removed.total]
            if names:
                (gone,) = self._ask(database, [("UNLINK", *names)])
                removed.keys[database] = removed.keys.get(database, 0) + int(gone)
            if removed.total >= most:
                removed.complete = not self._more(database)
                return
            if late():
                raise OutOfTime("The keys could not all be removed within max_runtime.", hint="Run it again.")
            if names and pause:
                time.sleep(pause)
        removed.complete = True

    def _more(self, database: int) -> bool:
        """Whether there are still keys that are meant, from a database on."""
        later = self._databases[list(self._databases).index(database) :]
        walker = Walker(self._server, self._selection, later, self._batch)
        return any(names for _database, _looked_at, names in walker._batches())

    def _batches(self) -> Iterator[tuple[int, int, list[bytes]]]:
        """Database, how many names fit, and the keys that are meant, until all was seen."""
        for database in self._databases:
            for number, pattern in enumerate(self._selection.patterns):
                cursor = b"0"
                while True:
                    asked = ("SCAN", cursor, "MATCH", pattern, "COUNT", str(self._batch))
                    (reply,) = self._ask(database, [asked])
                    cursor = reply[0]
                    # What an earlier pattern fits was met already.
                    names = [
                        name
                        for name in dict.fromkeys(reply[1:])
                        if not any(g.match(name) for g in self._globs[:number])
                    ]
                    yield database, len(names), self._meant(database, names)
                    if cursor == b"0":
                        break

    def _meant(self, database: int, names: list[bytes]) -> list[bytes]:
        wanted = self._selection
        if wanted.types and names:
            kinds = self._ask(database, [("TYPE", name) for name in names])
            names = [name for name, kind in zip(names, kinds) if kind.decode("utf-8", "replace") in wanted.types]
        if wanted.without_expiry and names:
            left = self._ask(database, [("PTTL", name) for name in names])
            names = [name for name, each in zip(names, left) if each == -1]
        if wanted.idle_seconds and names:
            idle = self._ask(database, [("OBJECT", "IDLETIME", name) for name in names])
            names = [name for name, each in zip(names, idle) if each is not None and each >= wanted.idle_seconds]
        return names

    def _ask(self, database: int, commands: Sequence[Sequence[str | bytes]]) -> list[Any]:
        """The replies; a refusal ends everything, but for a key that is gone meanwhile."""
        replies = self._server.ask_many(database, commands)
        for number, reply in enumerate(replies):
            if isinstance(reply, Refusal):
                if "no such key" in str(reply):
                    replies[number] = None
                    continue
                raise self._explained(str(reply), database)
        return replies

    def _explained(self, words: str, database: int) -> HoldfastError:
        where = self._server.where
        if words.startswith("NOPERM"):
            return PermissionDenied(
                f"The user may not do at {where} what is needed.",
                right="execute",
                tool_output=words,
                hint=f"A purge needs these rights: {RIGHTS}, and to write the keys (~pattern).",
            )
        if words.startswith("READONLY"):
            return Unsupported(f"The server at {where} is a replica now and takes no changes.", tool_output=words)
        if "LFU" in words:
            return Unsupported(
                f"The server at {where} does not know how long its keys were idle: its maxmemory-policy (lfu) counts "
                "their uses.",
                tool_output=words,
                hint="Leave out idle_longer_than, or choose a policy of lru or noeviction.",
            )
        if "DB index" in words:
            return InvalidOption(f"There is no database {database} at {where}.", stage="preflight", tool_output=words)
        return refusal(words, where)


def selection_of(options: Mapping[str, Any], idle_seconds: float) -> Selection:
    """From the options of the kind."""
    return Selection(
        tuple(dict.fromkeys(options["patterns"])),
        frozenset(options.get("types") or ()),
        idle_seconds,
        bool(options.get("without_expiry_only")),
    )
