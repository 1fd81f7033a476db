# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One backup of a tree: what is unchanged is taken over, small files are packed, large ones stored by content.

PRIVATE to the collection; may change without notice.

Everything streams in the order of the walk. A directory's record is written when its files have got their place;
those that wait (for a pack to be full, for an upload) are few, so memory does not depend on the tree. While one
large file is being sent, the next is being hashed.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import time
from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Union

from ..._durations import counted
from ..._errors import PermissionDenied, SourceChanged
from ..._manifest import utc_now
from ..._stream._source import IteratorSource
from .._interface import BackupRun
from ._cache import Record, Summary, TreeCache, TreeCacheWriter
from ._index import Entry, Header
from ._packs import Packer, packs_to_rewrite, pieces
from ._read import (
    SAMPLE,
    TRIES,
    Content,
    LargeFile,
    Unreadable,
    Vanished,
    digest_large,
    is_compressed,
    metadata_entry,
    read_small,
    special_entry,
    xattrs_of,
)
from ._scan import NO_STATUS, STAT_FIELDS, Directory, Root, Scanner, Seen, Troubles, numbers, sign
from ._survey import Recall, Remembered, Survey, TreeSettings, paired

LARGE = 1024 * 1024
"""Bytes from which on a file is a blob of its own."""

YOUNG = 2 * 10**9
"""Nanoseconds: a file that was touched so shortly before it was read may change again without its times telling."""

AHEAD = 2
"""Large files that are hashed ahead of the one that is being sent."""

WAITING = 20_000
"""Entries that may wait for their place before packs are closed early."""


LOOK_EVERY = 1024
"""Entries of a directory after which those that have got their place are written down."""


@dataclass
class _Item:
    """A file that waits for its place. `entry` is None when it was left out."""

    entry: Entry | None
    numbers: Sequence[int]
    done: bool = True
    same_as: Entry | None = None
    """An earlier name of the same file."""

    def settled(self) -> bool:
        if not self.done:
            return False
        if self.entry is None or self.entry.size == 0:
            return True
        if self.same_as is not None:
            self.entry.blob, self.entry.offset = self.same_as.blob, self.same_as.offset
        return self.entry.blob is not None


class _Waiting:
    """A directory whose files have not all got their place yet.

    Only what waits is kept as objects: a directory may have very many entries.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._own: Sequence[int] = NO_STATUS
        self._lines: list[bytes] = []
        self._names: list[str] = []
        self._fields = array("q")
        self._waiting: deque[tuple[int, _Item]] = deque()
        self._left_out: list[int] = []
        self._usage: dict[str, int] = {}
        self._size = 0
        self._single = True
        self.weight = 1

    def set_own(self, entry: Entry, numbers: Sequence[int]) -> None:
        """The directory itself, before everything in it."""
        self._own = numbers
        self._single = False
        self._lines.append(entry.to_line())

    def add(self, name: str, item: _Item) -> None:
        """An entry; the names come in order."""
        position = len(self._names)
        self._names.append(name)
        self._fields.fromlist(list(item.numbers))
        self._lines.append(b"")
        self.weight += 1
        if item.settled():
            self._settle(position, item)
        else:
            self._waiting.append((position, item))

    def _settle(self, position: int, item: _Item) -> None:
        if item.entry is None:
            self._left_out.append(position)
            return
        entry = item.entry
        self._lines[position + (not self._single)] = entry.to_line()
        start = position * STAT_FIELDS
        self._fields[start : start + STAT_FIELDS] = array("q", item.numbers)
        self._size += entry.size
        if entry.blob is not None:
            self._usage[entry.blob] = self._usage.get(entry.blob, 0) + entry.size

    def ready(self) -> bool:
        """Whether everything has got its place."""
        while self._waiting and self._waiting[0][1].settled():
            self._settle(*self._waiting.popleft())
        return not self._waiting

    def record(self) -> Record:
        """What is remembered of the directory. What was left out is not, so that it is looked for again."""
        for position in sorted(self._left_out, reverse=True):
            del self._names[position]
            del self._lines[position + (not self._single)]
            del self._fields[position * STAT_FIELDS : (position + 1) * STAT_FIELDS]
        signature = sign(self._own, self._names, self._fields)
        return Record(self._path, signature, self._usage, len(self._lines), self._size, self._lines)


@dataclass
class _Large:
    """A large file whose checksum is being taken."""

    item: _Item
    path: str
    seen: Seen
    content: Future[Content]


Queued = Union[Record, _Waiting]


class TreeBackup:
    """One backup of a tree.

    Args:
        survey: a recent look at it.
        cache: what is remembered of it.
    """

    def __init__(
        self, run: BackupRun, root: Root, settings: TreeSettings, cache: TreeCache | None, survey: Survey
    ) -> None:
        self._run = run
        self._blobs = run.blobs
        self._root = root
        self._settings = settings
        self._survey = survey
        self._header = Header(settings.path, root.single is not None)
        self._naming = run.blobs.name(hashlib.sha256().hexdigest())
        self._cache = cache if cache is not None and cache.summary.naming == self._naming else None
        self._gone: set[str] = set()
        self._packer = Packer(self._store_pack)
        self._queue: deque[Queued] = deque()
        self._waiting = 0
        self._large: deque[_Large] = deque()
        self._links: dict[str, Entry] = {}
        self._stopping = threading.Event()
        self._hasher = ThreadPoolExecutor(1, thread_name_prefix="hash")
        self.troubles = Troubles()
        self.read = 0
        """Bytes of content that were read."""

    def execute(self) -> Summary:
        """Store what is new, refer to everything, remember the tree."""
        if self._cache is not None:
            self._gone = {name for name in self._cache.summary.usage if not self._blobs.have(name)}
            if self._reusable(self._cache.summary):
                self.troubles = self._survey.troubles
                return self._reuse(self._cache.summary)
            self._gone |= packs_to_rewrite(self._cache.summary.packs, self._survey.living)
        summary = Summary(self._naming, self._settings.path, self._header.single)
        writer = TreeCacheWriter(self._settings.cache, summary)
        try:
            self._run.snapshot_taken(utc_now())
            self._walk(writer)
            self._complete(summary)
            self._store_index(writer)
            writer.commit()
        finally:
            self._stopping.set()
            self._hasher.shutdown(wait=True, cancel_futures=True)
            writer.discard()
        return summary

    # Nothing has changed.

    def _reusable(self, summary: Summary) -> bool:
        return (
            self._survey.unchanged
            and self._survey.fresh
            and not self._gone
            and not self._settings.rehash
            and (summary.root, summary.single) == (self._settings.path, self._header.single)
            and self._blobs.have(summary.index)
        )

    def _reuse(self, summary: Summary) -> Summary:
        self._hasher.shutdown()
        self._run.snapshot_taken(self._survey.started)
        for name in (*summary.usage, summary.index):
            self._blobs.use(name)
        return summary

    # Something has.

    def _walk(self, writer: TreeCacheWriter) -> None:
        scanner = Scanner(self._root, self._settings.patterns, self._settings.one_file_system, self.troubles)
        for directory, record in paired(scanner, self._cache or ()):
            if directory is None:
                continue
            self._check_readable()
            same = record is not None and record.signature == directory.signature and not self._settings.rehash
            if record is not None and same and self._gone.isdisjoint(record.usage):
                self._queue.append(record)
                self._waiting += record.entries
            else:
                self._process(directory, record)
            self._flush(writer)
            if self._waiting > WAITING:
                self._settle(writer)
        self._check_readable()
        self._settle(writer)

    def _settle(self, writer: TreeCacheWriter) -> None:
        """Give everything that waits its place."""
        while self._large:
            self._send_large()
        self._packer.close()
        self._flush(writer)

    def _flush(self, writer: TreeCacheWriter) -> None:
        while self._queue:
            head = self._queue[0]
            if isinstance(head, Record):
                self._waiting -= head.entries
                record = head
            elif head.ready():
                self._waiting -= head.weight
                record = head.record()
            else:
                return
            self._queue.popleft()
            writer.add(record)

    def _process(self, directory: Directory, record: Record | None) -> None:
        """Look at every entry of a directory that is not as it was."""
        old = Recall(record)
        waiting = _Waiting(directory.path)
        if directory.own is not None:
            waiting.set_own(*self._directory(directory.path, directory.own, old.own()))
        self._queue.append(waiting)
        for name, found in directory.entries():
            waiting.add(name, self._item(directory.child(name), found, old.find(name)))
            if waiting.weight % LOOK_EVERY == 0:
                waiting.ready()
        self._waiting += waiting.weight

    def _directory(self, path: str, found: Seen, before: Remembered | None) -> tuple[Entry, Sequence[int]]:
        if before is not None and before.numbers == found[:STAT_FIELDS] and not self._settings.rehash:
            return Entry.from_line(before.line), before.numbers
        entry = metadata_entry(path or ".", found)
        started = time.time_ns()
        try:
            entry.xattrs = xattrs_of(self._root.path_of(path or "."))
        except OSError:
            self.troubles.add("unreadable", path)
        return entry, _trusted(found, started)

    def _item(self, path: str, status: Seen, before: Remembered | None) -> _Item:
        if before is not None and before.numbers == status[:STAT_FIELDS] and not self._settings.rehash:
            entry = Entry.from_line(before.line)
            if entry.blob is None or entry.blob not in self._gone:
                return _Item(entry, before.numbers)
        started = time.time_ns()
        try:
            if not stat.S_ISREG(status.st_mode):
                return _Item(special_entry(self._root, path, status), _trusted(status, started))
            return self._file(path, status, before, started)
        except Vanished:
            self.troubles.add("vanished", path)
        except Unreadable:
            self.troubles.add("unreadable", path)
        return _Item(None, NO_STATUS)

    def _file(self, path: str, status: Seen, before: Remembered | None, started: int) -> _Item:
        entry = metadata_entry(path, status)
        first = self._links.get(entry.link) if entry.link is not None else None
        if first is not None and (first.size, first.mtime) == (entry.size, entry.mtime):
            entry.sha256, entry.xattrs, entry.sparse = first.sha256, first.xattrs, first.sparse
            return _Item(entry, _trusted(status, started), same_as=first)
        content = None
        if status.st_size < LARGE:
            content = read_small(self._root, path, status, LARGE)
        if content is None:
            item = _Item(entry, NO_STATUS, done=False)
            future = self._hasher.submit(digest_large, self._root, path, status, self._stopping)
            self._large.append(_Large(item, path, status, future))
            if len(self._large) > AHEAD:
                self._send_large()
            return item
        item = self._described(path, content, started)
        if item.entry is None:
            raise AssertionError("item.entry is None")
        self.read += len(content.data)
        if content.data and not self._stored_already(item.entry, before):
            self._packer.add(item.entry, content.data)
        return item

    def _described(self, path: str, content: Content, started: int) -> _Item:
        """An entry of a file as it was when it was read."""
        entry = metadata_entry(path, content.status)
        entry.size, entry.sha256 = content.size, content.sha256
        entry.xattrs, entry.sparse = content.xattrs, content.sparse
        if content.changed:
            self.troubles.add("changed", path)
        if entry.link is not None:
            self._links[entry.link] = entry
        return _Item(entry, NO_STATUS if content.changed else _trusted(content.status, started))

    def _stored_already(self, entry: Entry, before: Remembered | None) -> bool:
        """Whether only the attributes of a packed file have changed; then it stays where it lies."""
        if before is None:
            return False
        old = Entry.from_line(before.line)
        if old.sha256 != entry.sha256 or old.blob is None or old.blob in self._gone:
            return False
        entry.blob, entry.offset = old.blob, old.offset
        return True

    # Large files.

    def _send_large(self) -> None:
        """Store the large file that was hashed first."""
        large = self._large.popleft()
        item = large.item
        try:
            started = time.time_ns()
            content = large.content.result()
            for _attempt in range(TRIES):
                if self._send(large, content):
                    break
                content = digest_large(self._root, large.path, large.seen, self._stopping)
            else:
                content = self._send_as_it_comes(large, content)
            if item.entry is None:
                raise AssertionError("item.entry is None")
            described = self._described(large.path, content, started)
            if described.entry is None:
                raise AssertionError("described.entry is None")
            described.entry.blob = item.entry.blob
            item.entry, item.numbers = described.entry, described.numbers
        except Vanished:
            self.troubles.add("vanished", large.path)
            item.entry = None
        except Unreadable:
            self.troubles.add("unreadable", large.path)
            item.entry = None
        item.done = True

    def _send(self, large: _Large, content: Content) -> bool:
        """Store a content under its name; False when it is no longer that content."""
        if large.item.entry is None:
            raise AssertionError("large.item.entry is None")
        name = self._blobs.name(content.sha256)
        large.item.entry.blob = name
        self.read += content.size
        if self._blobs.have(name):
            self._blobs.use(name)
            return True
        source = LargeFile(self._root, large.path, content.status)
        try:
            self._blobs.store(name, source, content.size, compressed=content.compressed, sha256=content.sha256)
        except SourceChanged:
            return False
        return True

    def _send_as_it_comes(self, large: _Large, content: Content) -> Content:
        """Store a file that does not hold still, in one pass, under a name of its own."""
        if large.item.entry is None:
            raise AssertionError("large.item.entry is None")
        digest = hashlib.sha256()
        source = LargeFile(self._root, large.path, content.status, digest)
        name = self._blobs.name(os.urandom(32).hex())
        self._blobs.store(name, source, content.size, compressed=content.compressed)
        large.item.entry.blob = name
        return Content(content.status, source.size, digest.hexdigest(), changed=True, xattrs=content.xattrs)

    # Packs and the index.

    def _store_pack(self, sha256: str, data: bytearray) -> str:
        name = self._blobs.name(sha256)
        if not self._blobs.have(name):
            samples = [bytes(data[len(data) * part // 4 :][:SAMPLE]) for part in (0, 1, 2, 3)]
            source = IteratorSource(pieces(data))
            self._blobs.store(name, source, len(data), compressed=is_compressed(samples), sha256=sha256)
        self._blobs.use(name)
        return name

    def _complete(self, summary: Summary) -> None:
        """Refer to everything that the tree uses."""
        known = {**(self._cache.summary.packs if self._cache is not None else {}), **self._packer.packs}
        summary.packs = {name: size for name, size in known.items() if name in summary.usage}
        for name in summary.usage:
            self._blobs.use(name)

    def _store_index(self, writer: TreeCacheWriter) -> None:
        digest, size = hashlib.sha256(), 0
        for lines in self._index(writer):
            digest.update(lines)
            size += len(lines)
        summary = writer.summary
        summary.index_sha256, summary.index_size = digest.hexdigest(), size
        summary.index = self._blobs.name(summary.index_sha256)
        if not self._blobs.have(summary.index):
            source = IteratorSource(self._index(writer))
            self._blobs.store(summary.index, source, size, compressed=False, sha256=summary.index_sha256)
        self._blobs.use(summary.index)

    def _index(self, writer: TreeCacheWriter) -> Iterator[bytes]:
        yield self._header.to_line()
        yield from writer.lines()

    def _check_readable(self) -> None:
        """Stop at what cannot be read, unless that was allowed."""
        if not self._settings.ignore_unreadable:
            refuse_unreadable(self.troubles, "dump")


def refuse_unreadable(troubles: Troubles, stage: str) -> None:
    """Raise when something could not be read.

    Raises:
        PermissionDenied: names the first few.
    """
    count = troubles.counts.get("unreadable", 0)
    if count:
        named = ", ".join(repr(path or ".") for path in troubles.paths["unreadable"][:5])
        raise PermissionDenied(
            f"{counted(count, 'entry', 'entries')} of the tree cannot be read: {named}{', …' if count > 5 else ''}.",
            right="read the source",
            stage=stage,
            hint="Run as root (become), exclude them, or set ignore_unreadable: true to leave them out.",
        )


def _trusted(status: Seen | os.stat_result, read: int) -> Sequence[int]:
    """The numbers by which an entry may be recognised as unchanged; none when it was touched just before."""
    if max(status.st_mtime_ns, status.st_ctime_ns) > read - YOUNG:
        return NO_STATUS
    return numbers(status)
