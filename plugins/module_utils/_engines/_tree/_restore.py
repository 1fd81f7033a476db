# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bringing a tree back: planned without touching anything, written, and proved by reading it again.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Callable

from ..._errors import DiskFull, HoldfastError, Refused
from .._interface import Proof, RestoreRun
from ._contents import FileList, Sink, StoredTree, same_place, selected
from ._index import DIRECTORY, FILE, Entry, printable
from ._scan import LISTED
from ._target import NewFile, Target, synchronise, target_errors

KEEP, REPLACE, IF_DIFFERENT = "keep", "replace", "if_different"
RESERVE = 16 * 1024 * 1024
"""Bytes of free room that a preflight wants beyond the files."""


@dataclass
class RestorePreview:
    """What a restore would do.

    Attributes:
        new, replaced, kept, same: numbers of entries.
        adjusted: directories that are there with other attributes.
        size: bytes of the content that would be written.
    """

    new: int = 0
    replaced: int = 0
    kept: int = 0
    same: int = 0
    adjusted: int = 0
    size: int = 0
    blocked: list[str] = field(default_factory=list)


class _Work:
    """Positions of entries that have to be written, by the way in which that is done."""

    def __init__(self) -> None:
        self.files = FileList()
        self.linked = array("Q")
        self.others = array("Q")
        self.directories = array("Q")


class TreeRestore:
    """One restore of a tree into one place.

    Args:
        path: where to: what was the root goes there.
        include: paths to bring back; none for all.
        existing: what to do with what is there already: `keep`, `replace` or `if_different`.
    """

    def __init__(self, run: RestoreRun, tree: StoredTree, path: str, include: Sequence[str], existing: str) -> None:
        self._run = run
        self._tree = tree
        self._existing = existing
        self._chosen, self._above = selected(tree, include)
        self.path = os.path.abspath(path)
        self._directory = self.path
        if tree.header.single:
            if not os.path.isdir(self.path):
                self._directory, tree.renamed = os.path.split(self.path)
            self._chosen, self._above = (lambda path: True), set()
        self._owners = os.geteuid() == 0
        self._fresh = False
        self._size = 0
        self._links: dict[str, str] = {}
        self._kept: set[int] = set()

    def entries(self) -> Iterator[tuple[int, Entry]]:
        """The entries that are asked for, and the directories above them."""
        for position, entry in self._tree.entries():
            if self._chosen(entry.path) or entry.path in self._above:
                yield position, entry

    # Before.

    def preview(self) -> RestorePreview:
        """Compare the backup with what is there; nothing is touched.

        Raises:
            Refused: a directory with something in it stands where a file must go.
            DiskFull: there is not enough room.
        """
        found = RestorePreview()
        anchor = self._directory
        while not os.path.isdir(anchor):
            if os.path.lexists(anchor):
                raise Refused(f"{anchor} is not a directory; nothing can be restored into it.", stage="preflight")
            anchor = os.path.dirname(anchor)
        with target_errors(self.path):
            if anchor == self._directory:
                with contextlib.closing(Target(anchor)) as target:
                    self._compare(target, found)
            else:
                for _position, entry in self.entries():
                    found.new += 1
                    found.size += stored_size(entry)
        if found.blocked:
            raise Refused(
                f"A directory with something in it stands where the backup has a file: {', '.join(found.blocked[:5])}.",
                stage="preflight",
                hint="Move it away, or restore elsewhere (target).",
            )
        self._check_room(anchor, found.size)
        self._size = found.size
        return found

    def _compare(self, target: Target, found: RestorePreview) -> None:
        for _position, entry in self.entries():
            there = target.status(entry.path)
            if there is None:
                found.new += 1
                found.size += stored_size(entry)
            elif entry.type == DIRECTORY and stat.S_ISDIR(there.st_mode):
                as_it_is = self._left_alone(entry) or not target.differences(entry, owners=self._owners)
                found.same += as_it_is
                found.adjusted += not as_it_is
            elif self._existing == KEEP:
                found.kept += 1
            elif self._existing == IF_DIFFERENT and not target.differences(entry, owners=self._owners):
                found.same += 1
            else:
                if stat.S_ISDIR(there.st_mode) and os.listdir(target.directory(entry.path)):
                    found.blocked.append(printable(entry.path))
                found.replaced += 1
                found.size += stored_size(entry)

    def _check_room(self, anchor: str, size: int) -> None:
        free = shutil.disk_usage(anchor).free
        if free < size + RESERVE:
            raise DiskFull(
                f"{anchor} has {free // 2**20} MiB free; this restore needs about {(size + RESERVE) // 2**20} MiB.",
                stage="preflight",
                hint="Make room, or restore elsewhere (target).",
            )

    # The restore.

    def execute(self) -> Proof:
        """Write everything and prove it; a target that was empty has nothing of it after a failure."""
        made = self._make_target()
        fresh = self._fresh = made is not None or not os.listdir(self._directory)
        self._run.progress.stage("restore", self._size or None)
        left: str | None = None
        if not fresh:
            left = f"some files of {self.path} are restored already, each of them whole; the others are as they were"
        try:
            with target_errors(self.path), contextlib.closing(Target(self._directory)) as target:
                try:
                    self._write(target)
                    self._run.progress.stage("proof")
                    return self._prove(target)
                except BaseException:
                    if fresh:
                        left = self._undo(target, made)
                    raise
        except HoldfastError as error:
            error.left_behind = error.left_behind or left
            raise

    def _make_target(self) -> str | None:
        """Make the target's directory; the topmost one that was missing, None when it was there."""
        topmost = None
        path = self._directory
        while not os.path.isdir(path):
            topmost, path = path, os.path.dirname(path)
        with target_errors(self.path):
            os.makedirs(self._directory, mode=0o700, exist_ok=True)
        return topmost

    def _undo(self, target: Target, made: str | None) -> str | None:
        """Remove what this run wrote into a place that had been empty, and nothing that others wrote there meanwhile.

        Returns:
            What is left there, as a sentence; None when nothing is.
        """
        inodes = set(target.made)
        positions = array("Q")
        for position, entry in self.entries():
            if target.holds(entry.path, inodes):
                positions.append(position)
                if entry.type == DIRECTORY:
                    target.make_writable(entry.path)
        for position in reversed(positions):  # what is in a directory goes before it
            with contextlib.suppress(OSError):  # somebody has put something into it: told below
                target.remove(self._tree.at(position))
        left = sorted(os.listdir(target.fd))
        if not left:
            self._remove_directories(made)
            return None
        names = ", ".join(printable(name) for name in left[:LISTED])
        more = f" and {len(left) - LISTED} more" if len(left) > LISTED else ""
        return f"in {self._directory}, what this run did not write or could not remove: {names}{more}"

    def _remove_directories(self, made: str | None) -> None:
        """Remove the target's directory and those above it that this run made, while nothing else is in them."""
        path = self._directory
        with contextlib.suppress(OSError):  # somebody has put something beside them: they are in use
            while made is not None and len(path) >= len(made):
                os.rmdir(path)
                path = os.path.dirname(path)

    def _write(self, target: Target) -> None:
        work = _Work()
        for position, entry in self.entries():
            if entry.type == DIRECTORY:
                if self._place_directory(target, position, entry):
                    work.directories.append(position)
            elif self._wanted(target, position, entry):
                self._take_on(work, target, position, entry)
        for blob, positions in work.files.by_blob():
            self._write_files(target, blob, positions)
        for position in work.linked:
            entry = self._tree.at(position)
            target.link(entry, self._links[entry.link or ""])
        for position in work.others:
            target.special(self._tree.at(position))
        for position in reversed(work.directories):  # what is written into a directory changes its times
            target.finish(self._tree.at(position))
        synchronise(target.fd)

    def _take_on(self, work: _Work, target: Target, position: int, entry: Entry) -> None:
        """Note what has to be written; directories are there already."""
        if entry.type != FILE:
            work.others.append(position)
        elif entry.link is not None and entry.link in self._links:
            work.linked.append(position)
        else:
            if entry.link is not None:
                self._links[entry.link] = entry.path
            if entry.blob is None:
                NewFile(target, entry).close()
            else:
                work.files.add(position, entry)

    def _left_alone(self, entry: Entry) -> bool:
        """Whether a directory that is there stays as it is: existing ones are kept, or it only lies on the way."""
        return self._existing == KEEP or not self._chosen(entry.path)

    def _place_directory(self, target: Target, position: int, entry: Entry) -> bool:
        """Make a directory; whether its attributes are ours to set."""
        there = target.status(entry.path)
        if there is not None and self._left_alone(entry) and not (self._fresh and entry.path == "."):
            self._kept.add(position)
            return False
        if entry.path != ".":
            target.make_directory(entry)
        return True

    def _wanted(self, target: Target, position: int, entry: Entry) -> bool:
        """Whether an entry has to be written; one that only differs in attributes gets these at once."""
        there = target.status(entry.path)
        if there is None or self._existing == REPLACE:
            return True
        if self._existing == KEEP:
            self._kept.add(position)
            return False
        differences = target.differences(entry, owners=self._owners)
        content = {"content", "is missing", "points elsewhere"} & set(differences)
        if content or any(text.startswith(("is a ", "size ", "device ")) for text in differences):
            return True
        if entry.link is not None:
            return True  # which names belong together is only sure when they are made anew
        if differences:
            target.finish(entry)
        return False

    def _write_files(self, target: Target, blob: str, positions: Sequence[int]) -> None:
        """Read one blob and write the files in it."""
        opened: list[NewFile] = []
        copies: list[tuple[Entry, Entry]] = []

        def opener(entry: Entry) -> Callable[[], Sink | None]:
            def open_file() -> Sink:
                opened[:] = [NewFile(target, entry)]
                return opened[0]

            return open_file

        members: list[tuple[Entry, Callable[[], Sink | None]]] = []
        for first, *others in same_place(self._tree, positions):
            members.append((first, opener(first)))
            copies += [(first, other) for other in others]
        try:
            self._tree.read(blob, members)
        finally:
            for file in opened:
                file.discard()
        for first, other in copies:
            self._copy(target, first, other)

    def _copy(self, target: Target, first: Entry, other: Entry) -> None:
        """A file with the content of another one that has just been written."""
        fd, name = target.place(first.path)
        source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        with open(source, "rb", buffering=0) as stream:
            file = NewFile(target, other)
            try:
                for chunk in iter(lambda: stream.read(1024 * 1024), b""):
                    file.write(chunk)
                file.close()
            finally:
                file.discard()

    # The proof.

    def _prove(self, target: Target) -> Proof:
        """Read everything again and compare it with the index."""
        checked = different = 0
        differences: list[str] = []
        for position, entry in self.entries():
            if position in self._kept:
                continue
            checked += 1
            found = target.differences(entry, owners=self._owners, from_disk=True)
            if found:
                different += 1
                if len(differences) < LISTED:
                    differences.append(f"{printable(entry.path)}: {', '.join(found)}")
        details = {
            "kept": len(self._kept),
            "different": different,
            "owners": "compared" if self._owners else "not restored (only root can)",
            "not_set": dict(target.unset),
        }
        return Proof("digest", checked, tuple(differences), details)


def stored_size(entry: Entry) -> int:
    """The room that an entry's content takes."""
    if entry.sparse is not None:
        return sum(length for _start, length in entry.sparse)
    return entry.size if entry.type == FILE else 0
