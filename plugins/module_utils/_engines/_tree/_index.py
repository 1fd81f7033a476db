# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The index: what a tree looked like, one JSON line for each of its entries.

PRIVATE to the collection; may change without notice. The format itself is public: docs/file-trees.md.
"""

from __future__ import annotations

import base64
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..._errors import Corrupted, Unsupported

FORMAT = "holdfast-file-tree"
VERSION = 1

FILE, DIRECTORY, SYMLINK, FIFO, CHARACTER, BLOCK = "file", "dir", "symlink", "fifo", "char", "block"
_TYPES = {
    stat.S_IFREG: FILE,
    stat.S_IFDIR: DIRECTORY,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFIFO: FIFO,
    stat.S_IFCHR: CHARACTER,
    stat.S_IFBLK: BLOCK,
}


def entry_type(mode: int) -> str | None:
    """The type of a file by its mode; None for what cannot be backed up (a socket)."""
    return _TYPES.get(stat.S_IFMT(mode))


@dataclass
class Entry:
    """One file, directory or other thing of a tree.

    Attributes:
        path: relative to the tree; bytes that are no UTF-8 are surrogates (`os.fsdecode`). The tree itself is `.`.
        mode: permission bits, with setuid, setgid and sticky.
        mtime: nanoseconds since 1970.
        sha256: of the content of a file.
        blob: name of the blob that holds the content; None for an empty file.
        offset: where the content begins in the blob, when that is a pack; None when the blob is the content.
        link: equal for the hard links to one file, None for a file with one name.
        target: of a symbolic link.
        device: major and minor number.
        sparse: `(offset, length)` of the data of a file with holes.
    """

    path: str
    type: str
    mode: int
    uid: int
    gid: int
    mtime: int
    size: int = 0
    sha256: str | None = None
    blob: str | None = None
    offset: int | None = None
    link: str | None = None
    target: str | None = None
    device: tuple[int, int] | None = None
    xattrs: Mapping[str, bytes] = field(default_factory=dict)
    sparse: tuple[tuple[int, int], ...] | None = None

    def to_line(self) -> bytes:
        """One line of JSON, pure ASCII; what does not apply is left out."""
        document: dict[str, Any] = {
            "path": self.path,
            "type": self.type,
            "mode": f"{self.mode:04o}",
            "uid": self.uid,
            "gid": self.gid,
            "mtime": self.mtime,
        }
        if self.type == FILE:
            document.update(size=self.size, sha256=self.sha256)
        for name in ("blob", "offset", "link", "target", "device", "sparse"):
            value = getattr(self, name)
            if value is not None:
                document[name] = value
        if self.xattrs:
            document["xattrs"] = {k: base64.b64encode(v).decode() for k, v in sorted(self.xattrs.items())}
        return json.dumps(document, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Entry:
        """The inverse of `to_line`.

        Raises:
            Corrupted: it is no entry, or its path leads out of the tree.
        """
        try:
            document = json.loads(line)
            document["mode"] = int(document["mode"], 8)
            if "xattrs" in document:
                document["xattrs"] = {k: base64.b64decode(v) for k, v in document["xattrs"].items()}
            if "device" in document:
                document["device"] = tuple(document["device"])
            if "sparse" in document:
                document["sparse"] = tuple((start, length) for start, length in document["sparse"])
            entry = cls(**document)
        except (ValueError, KeyError, TypeError) as error:
            raise Corrupted(f"A line of the index is no entry ({type(error).__name__}).") from None
        parts = entry.path.split("/")
        if entry.path != "." and (".." in parts or "" in parts or "." in parts or "\0" in entry.path):
            raise Corrupted(f"The index holds a path that leads out of the tree: {printable(entry.path)}.")
        return entry


@dataclass(frozen=True)
class Header:
    """The first line of an index.

    Attributes:
        root: the path that was backed up.
        single: it was a file, not a directory.
    """

    root: str
    single: bool

    def to_line(self) -> bytes:
        document = {"format": FORMAT, "version": VERSION, "root": self.root, "single": self.single}
        return json.dumps(document, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Header:
        """The inverse of `to_line`.

        Raises:
            Corrupted: it is no header.
            Unsupported: a newer holdfast wrote it.
        """
        try:
            document = json.loads(line)
            if document["format"] != FORMAT:
                raise ValueError
            if document["version"] > VERSION:
                raise Unsupported(
                    f"The index has version {document['version']}; this holdfast reads up to {VERSION}.",
                    hint="Update the collection to read it.",
                )
            return cls(str(document["root"]), bool(document["single"]))
        except (ValueError, KeyError, TypeError):
            raise Corrupted("The index does not begin with its header.") from None


def printable(path: str) -> str:
    """A path for a message: what cannot be printed is escaped."""
    text = path.encode("utf-8", "backslashreplace").decode()
    return text if text.isprintable() else ascii(text)[1:-1]


def same_metadata(entry: Entry, found: os.stat_result, *, owners: bool = True) -> list[str]:
    """What differs between an entry and a file on disk, in words; the content is not looked at."""
    differences = []
    if entry_type(found.st_mode) != entry.type:
        return [f"is a {entry_type(found.st_mode) or 'socket'}, not a {entry.type}"]
    if entry.type != SYMLINK and stat.S_IMODE(found.st_mode) != entry.mode:
        differences.append(f"mode {stat.S_IMODE(found.st_mode):04o}, not {entry.mode:04o}")
    if owners and (found.st_uid, found.st_gid) != (entry.uid, entry.gid):
        differences.append(f"owner {found.st_uid}:{found.st_gid}, not {entry.uid}:{entry.gid}")
    if found.st_mtime_ns != entry.mtime:
        differences.append(f"mtime {found.st_mtime_ns}, not {entry.mtime}")
    if entry.type == FILE and found.st_size != entry.size:
        differences.append(f"size {found.st_size}, not {entry.size}")
    if entry.device is not None and (os.major(found.st_rdev), os.minor(found.st_rdev)) != entry.device:
        differences.append(f"device {os.major(found.st_rdev)}:{os.minor(found.st_rdev)}, not {entry.device}")
    return differences
