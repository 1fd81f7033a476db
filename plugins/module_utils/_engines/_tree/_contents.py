# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contents of a stored tree: its index, and what lies in its blobs.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from typing import Any, Callable, Protocol

from ..._durations import counted
from ..._errors import Corrupted, NotFound
from .._interface import RestoreRun
from ._index import FILE, Entry, Header, printable


class Sink(Protocol):
    """Takes the content of one file."""

    def write(self, data: bytes | memoryview) -> None:
        """The next bytes."""

    def close(self) -> None:
        """That was all of it."""


class StoredTree:
    """The index of a backup, read into an unnamed file (it may be larger than memory) and proved whole."""

    def __init__(self, run: RestoreRun) -> None:
        self._run = run
        self.renamed: str | None = None
        """The name that the file of a single-file backup shall have."""
        name = run.backup.source.get("index")
        fingerprint = run.fingerprint() or {}
        if not name or "index_sha256" not in fingerprint:
            raise Corrupted(f"{run.backup.id} does not name its index.", stage="preflight")
        scratch = run.place.scratch_dir
        self._file = tempfile.TemporaryFile(dir=scratch if os.path.isdir(scratch) else None)  # noqa: SIM115 - close()
        digest = hashlib.sha256()

        def take(data: Any) -> None:
            digest.update(data)
            self._file.write(data)

        try:
            run.reader.decode(run.read_blob(str(name)), take)
            if digest.hexdigest() != fingerprint["index_sha256"]:
                raise Corrupted(f"The index of {run.backup.id} is not the one that its fingerprint names.")
            self._file.seek(0)
            self.header = Header.from_line(self._file.readline())
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        self._file.close()

    def entries(self) -> Iterator[tuple[int, Entry]]:
        """All entries, parents before what is in them, each with its position."""
        self._file.seek(0)
        position = len(self._file.readline())
        while True:
            self._file.seek(position)
            lines = self._file.readlines(1024 * 1024)
            if not lines:
                return
            for line in lines:
                yield position, self._entry(line)
                position += len(line)

    def at(self, position: int) -> Entry:
        """The entry at a position."""
        self._file.seek(position)
        return self._entry(self._file.readline())

    def _entry(self, line: bytes) -> Entry:
        entry = Entry.from_line(line)
        if self.renamed is not None:
            entry.path = self.renamed
        return entry

    def read(self, blob: str, members: Sequence[tuple[Entry, Callable[[], Sink | None]]]) -> None:
        """Read a blob once and give each member its bytes.

        Args:
            members: entries that lie in it, in the order of their offsets, and what opens their sinks.

        Raises:
            Corrupted: the blob is damaged, or too short for a member.
        """
        cutter = _Cutter(members)
        self._run.reader.decode(self._run.read_blob(blob), cutter.write)
        cutter.end(blob)


class _Cutter:
    """Cuts the stream of a blob into its members."""

    def __init__(self, members: Sequence[tuple[Entry, Callable[[], Sink | None]]]) -> None:
        self._members = iter(members)
        self._position = 0
        self._sink: Sink | None = None
        self._start = self._end = 0
        self._current: Entry | None = None
        self._next()

    def _next(self) -> None:
        entry, opener = next(self._members, (None, None))
        self._current = entry
        if entry is not None and opener is not None:
            self._start = entry.offset or 0
            self._end = self._start + entry.size
            if self._start < self._position:
                raise Corrupted(f"The index puts {printable(entry.path)} where another file lies in its pack.")
            self._sink = opener()

    def write(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        while self._current is not None and len(view):
            skip = min(len(view), max(0, self._start - self._position))
            self._position += skip
            view = view[skip:]
            take = min(len(view), self._end - self._position)
            if take and self._sink is not None:
                self._sink.write(view[:take])
            self._position += take
            view = view[take:]
            if self._position == self._end:
                if self._sink is not None:
                    self._sink.close()
                self._next()
        self._position += len(view)

    def end(self, blob: str) -> None:
        if self._current is not None:
            raise Corrupted(f"The blob {blob} ends before the content of {printable(self._current.path)}.")


class Checker:
    """A sink that compares a content with its checksum and keeps nothing."""

    def __init__(self, entry: Entry, damaged: list[str]) -> None:
        self._entry = entry
        self._damaged = damaged
        self._digest = hashlib.sha256()

    def write(self, data: bytes | memoryview) -> None:
        self._digest.update(data)

    def close(self) -> None:
        if self._digest.hexdigest() != self._entry.sha256:
            self._damaged.append(self._entry.path)


class FileList:
    """Files of an index in the order of the bytes that they need, so that every blob is read once."""

    def __init__(self) -> None:
        self._blobs: dict[str, int] = {}
        self._blob = array("L")
        self._offset = array("Q")
        self._position = array("Q")

    def add(self, position: int, entry: Entry) -> None:
        """Note a file with content."""
        if entry.blob is None:
            raise AssertionError("entry.blob is None")
        self._blob.append(self._blobs.setdefault(entry.blob, len(self._blobs)))
        self._offset.append(entry.offset or 0)
        self._position.append(position)

    def __len__(self) -> int:
        return len(self._position)

    def by_blob(self) -> Iterator[tuple[str, list[int]]]:
        """Each blob with the positions of the files in it, in the order of their offsets."""
        names = list(self._blobs)
        wanted = sorted(range(len(self)), key=lambda i: (self._blob[i], self._offset[i], self._position[i]))
        start = 0
        while start < len(wanted):
            blob = self._blob[wanted[start]]
            end = start
            while end < len(wanted) and self._blob[wanted[end]] == blob:
                end += 1
            yield names[blob], [self._position[i] for i in wanted[start:end]]
            start = end


def check_contents(tree: StoredTree) -> dict[str, int]:
    """Read every blob to its end and compare every file's checksum.

    Raises:
        Corrupted: names the first damaged files.
    """
    files = FileList()
    entries = 0
    for position, entry in tree.entries():
        entries += 1
        if entry.type == FILE and entry.blob is not None:
            files.add(position, entry)
    damaged: list[str] = []
    blobs = checked = size = 0
    for blob, positions in files.by_blob():
        members: list[tuple[Entry, Callable[[], Sink | None]]] = []
        for group in same_place(tree, positions):
            entry = group[0]
            members.append((entry, lambda entry=entry: Checker(entry, damaged)))  # type: ignore[misc]
            checked += len(group)
            size += entry.size
        tree.read(blob, members)
        blobs += 1
    if damaged:
        named = ", ".join(repr(path) for path in damaged[:5])
        what = counted(len(damaged), "file is", "files are")
        raise Corrupted(f"{what} not what the index says: {named}{'…' if len(damaged) > 5 else ''}.")
    return {"entries": entries, "files": checked, "blobs": blobs, "bytes": size}


def same_place(tree: StoredTree, positions: Sequence[int]) -> Iterator[list[Entry]]:
    """Entries of one blob, those together that have the very same bytes."""
    group: list[Entry] = []
    for position in positions:
        entry = tree.at(position)
        if group and (entry.offset or 0) != (group[0].offset or 0):
            yield group
            group = []
        group.append(entry)
    if group:
        yield group


def selected(tree: StoredTree, include: Sequence[str]) -> tuple[Callable[[str], bool], set[str]]:
    """A test for the paths that a user asked for (these and all that lies in them), and the directories above them.

    Raises:
        NotFound: nothing in the backup has one of these paths.
    """
    wanted = {}
    for given in include:
        path = given
        if os.path.isabs(given):
            path = os.path.relpath(given, tree.header.root)
        wanted[os.path.normpath(path)] = given
    if not wanted or "." in wanted:
        return lambda path: True, set()

    def chosen(path: str) -> str | None:
        while path:
            if path in wanted:
                return path
            path = path.rpartition("/")[0]
        return None

    missing = set(wanted)
    for _position, entry in tree.entries():
        missing.discard(chosen(entry.path) or "")
        if not missing:
            break
    if missing:
        named = ", ".join(sorted(wanted[path] for path in missing))
        raise NotFound(
            f"The backup holds nothing at {named}.",
            stage="preflight",
            hint="Paths are relative to the tree, or absolute as they were on the host.",
        )
    above = {"."}
    for path in wanted:
        while "/" in path:
            path = path.rpartition("/")[0]
            above.add(path)
    return lambda path: chosen(path) is not None, above
