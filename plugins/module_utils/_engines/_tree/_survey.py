# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A look at a tree that changes nothing: what is new since the last backup, and what of the old one still lives.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import io
import os
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from ..._manifest import utc_now
from ._cache import Record, TreeCache
from ._index import Entry
from ._patterns import Patterns
from ._scan import STAT_FIELDS, Directory, Root, Scanner, Troubles, entry_count, order, unsign

FRESH = 10.0
"""Seconds for which an unchanged tree counts as unchanged without a second look."""


@dataclass(frozen=True)
class TreeSettings:
    """What to back up, and how.

    Attributes:
        ignore_unreadable: leave out what cannot be read, and say so, instead of failing.
        rehash: read every file, whatever is remembered of it.
        cache: where the tree is remembered.
    """

    path: str
    patterns: Patterns
    one_file_system: bool
    ignore_unreadable: bool
    rehash: bool
    cache: str


@dataclass
class Survey:
    """What a look at a tree has found.

    Attributes:
        started: the moment that the look is of.
        unchanged: nothing differs from what is remembered.
        entries, size: of the tree; `new_entries`, `new_size`: of what would have to be read.
        living: bytes of content that are still in use, in each remembered blob.
    """

    started: datetime = field(default_factory=utc_now)
    finished: float = 0.0
    unchanged: bool = True
    entries: int = 0
    size: int = 0
    new_entries: int = 0
    new_size: int = 0
    living: dict[str, int] = field(default_factory=dict)
    troubles: Troubles = field(default_factory=Troubles)

    @property
    def fresh(self) -> bool:
        return time.monotonic() - self.finished < FRESH


class Remembered(NamedTuple):
    """What is remembered of one entry: its stat fields and its line of the index."""

    numbers: tuple[int, ...]
    line: bytes


class Recall:
    """What is remembered of the entries of one directory, asked for in the order of their names.

    A directory may have very many entries, so nothing is unfolded before it is asked for.
    """

    def __init__(self, record: Record | None) -> None:
        self._entries = _unfold(record) if record is not None else iter(())
        self._next = next(self._entries, None)

    def own(self) -> Remembered | None:
        """The directory itself; to be asked for first."""
        return self.find(".") if self._next is not None and self._next[0] == "." else None

    def find(self, name: str) -> Remembered | None:
        """An entry."""
        while self._next is not None and self._next[0] < name:
            self._next = next(self._entries, None)
        if self._next is None or self._next[0] != name:
            return None
        found = self._next[1]
        self._next = next(self._entries, None)
        return found


def _unfold(record: Record) -> Iterator[tuple[str, Remembered]]:
    lines = io.BytesIO(b"".join(record.lines))
    fields = unsign(record.signature)
    if record.entries == entry_count(record.signature):  # a single file has no directory of its own
        next(fields, None)
    for name, found in fields:
        yield name, Remembered(found, lines.readline())


def paired(
    directories: Iterable[Directory], records: Iterable[Record]
) -> Iterator[tuple[Directory | None, Record | None]]:
    """Directories and what is remembered of them; either is None where the other has no counterpart."""
    old = iter(records)
    record = next(old, None)
    for directory in directories:
        key = order(directory.path)
        while record is not None and order(record.path) < key:
            yield None, record
            record = next(old, None)
        if record is not None and record.path == directory.path:
            yield directory, record
            record = next(old, None)
        else:
            yield directory, None
    while record is not None:
        yield None, record
        record = next(old, None)


def survey(root: Root, settings: TreeSettings, cache: TreeCache | None) -> Survey:
    """Look at a tree."""
    found = Survey()
    scanner = Scanner(root, settings.patterns, settings.one_file_system, found.troubles)
    for directory, record in paired(scanner, cache or ()):
        if directory is None:
            found.unchanged = False
        elif record is not None and record.signature == directory.signature and not settings.rehash:
            found.entries += record.entries
            found.size += record.size
            for name, used in record.usage.items():
                found.living[name] = found.living.get(name, 0) + used
        else:
            found.unchanged = False
            _compare(found, root, directory, record, settings.rehash)
    if found.troubles.counts.keys() - {"sockets"}:
        found.unchanged = False
    found.finished = time.monotonic()
    return found


def _compare(found: Survey, root: Root, directory: Directory, record: Record | None, rehash: bool) -> None:
    """Count what is new in a directory that is not as it was."""
    old = Recall(record)
    old.own()
    found.entries += len(directory.names) + (directory.own is not None)
    for name, status in directory.entries():
        before = old.find(name)
        if not stat.S_ISREG(status.st_mode):
            continue
        found.size += status.st_size
        if before is not None and before.numbers == status[:STAT_FIELDS]:
            entry = Entry.from_line(before.line)
            if entry.blob is not None:
                found.living[entry.blob] = found.living.get(entry.blob, 0) + entry.size
            if not rehash:
                continue
        found.new_entries += 1
        found.new_size += status.st_size
        path = directory.child(name)
        if not os.access(path, os.R_OK, dir_fd=root.fd, effective_ids=True, follow_symlinks=False):
            found.troubles.add("unreadable", path)
