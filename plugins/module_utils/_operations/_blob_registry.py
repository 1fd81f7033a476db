# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What this host knows of the blobs that it has stored.

PRIVATE to the collection; may change without notice.

A tree may have some 100,000 blobs, so they are kept packed, once, at a position; what a repository has of them is told
by a byte for each position (`Flags`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Callable

from .._errors import DiskFull
from .._locks import private_directory
from .._manifest import Artefact, StoredPart, blob_key

NOWHERE = -1
"""The position of nothing."""
_HEAD = struct.Struct(">QI")
"""Of a record: bytes of the content, number of the encoding."""
_PART = struct.Struct(">Q32s")
"""Each object after it: stored bytes, SHA-256."""


@dataclass(frozen=True)
class Reference:
    """One blob as it lies in a repository: its objects, how they are encoded, and the bytes of its content."""

    name: str
    size: int
    objects: tuple[StoredPart, ...]
    compression: str
    encryption: str

    def to_line(self) -> bytes:
        """One line of JSON, the same for equal references."""
        document = {
            "name": self.name,
            "size": self.size,
            "compression": self.compression,
            "encryption": self.encryption,
            "objects": [{"key": part.key, "size": part.size, "sha256": part.sha256} for part in self.objects],
        }
        return json.dumps(document, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Reference:
        """The inverse of `to_line`.

        Raises:
            ValueError, KeyError, TypeError: it is none.
        """
        document = json.loads(line)
        if not isinstance(document, dict):
            raise ValueError("not an object")
        objects = tuple(StoredPart(**part) for part in document.pop("objects"))
        return cls(objects=objects, **document)

    def artefact(self) -> Artefact:
        """As something that an `ArtefactReader` reads."""
        sha256 = self.objects[0].sha256 if len(self.objects) == 1 else ""  # of several, each carries its own
        size = sum(part.size for part in self.objects)
        return Artefact(
            f"blob {self.name[:16]}…", "blob", self.size, size, sha256, self.objects, self.compression, self.encryption
        )


class Packing:
    """References in few bytes: what follows from a name is left out, and each encoding is held once."""

    def __init__(self) -> None:
        self._encodings: list[tuple[str, str, str]] = []  # backup id, compression, encryption
        self._numbers: dict[tuple[str, str, str], int] = {}

    def pack(self, reference: Reference) -> tuple[bytes, bytes]:
        """The name, and a record of the rest.

        Raises:
            ValueError, TypeError, AttributeError, struct.error: it is no reference that this collection makes.
        """
        prefix = blob_key(reference.name, "")
        backup_id = reference.objects[0].key[len(prefix) :] if reference.objects else ""
        packed = b""
        for number, part in enumerate(reference.objects):
            sha256 = bytes.fromhex(part.sha256)
            if part.key != _key(reference.name, backup_id, number) or len(sha256) != hashlib.sha256().digest_size:
                raise ValueError(f"{part.key} is no object of the blob {reference.name}")
            packed += _PART.pack(part.size, sha256)
        encoding = backup_id, reference.compression, reference.encryption
        number = self._numbers.setdefault(encoding, len(self._encodings))
        if number == len(self._encodings):
            self._encodings.append(encoding)
        return bytes.fromhex(reference.name), _HEAD.pack(reference.size, number) + packed

    def unpack(self, name: bytes, record: bytes) -> Reference:
        """The inverse of `pack`."""
        size, number = _HEAD.unpack_from(record)
        backup_id, compression, encryption = self._encodings[number]
        text = name.hex()
        parts = enumerate(_PART.iter_unpack(record[_HEAD.size :]))
        objects = tuple(StoredPart(_key(text, backup_id, n), stored, sha256.hex()) for n, (stored, sha256) in parts)
        return Reference(text, size, objects, compression, encryption)


class Flags:
    """A byte for each position of a registry; 0 for those that came later."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def __getitem__(self, position: int) -> int:
        return self._bytes[position] if position < len(self._bytes) else 0

    def add(self, position: int, flag: int) -> None:
        """Set a flag beside those that are set."""
        missing = position + 1 - len(self._bytes)
        if missing > 0:
            self._bytes.extend(bytes(missing))
        self._bytes[position] |= flag

    def positions(self) -> Iterator[int]:
        """Where any flag is set."""
        return (position for position, flags in enumerate(self._bytes) if flags)

    def pattern(self) -> bytes:
        """The same for equal flags, whenever they were set."""
        return bytes(self._bytes.rstrip(b"\0"))


class BlobRegistry:
    """The blobs that this host has stored: a journal of references, of which several may have one name."""

    def __init__(self, directory: str) -> None:
        self._path = os.path.join(directory, "blobs.jsonl")
        self._journal: int | None = None
        self._lines = 0
        self._newest: dict[bytes, int] = {}  # name → position
        self._older = array("q")  # position → the next older one of the same name
        self._names: list[bytes] = []
        self._records: list[bytes] = []
        self._packing = Packing()
        with contextlib.suppress(FileNotFoundError), open(self._path, "rb") as stream:
            for line in stream:
                self._lines += 1
                # a damaged line, and one that a crash has cut, is as good as none
                with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, struct.error):
                    self._remember(Reference.from_line(line))

    # Reading.

    def find(self, name: str) -> Iterator[int]:
        """The positions of the known encodings of a blob, newest first."""
        try:
            position = self._newest.get(bytes.fromhex(name), NOWHERE)
        except ValueError:  # no name of a blob
            return
        while position != NOWHERE:
            yield position
            position = self._older[position]

    def by_name(self, flags: Flags) -> list[int]:
        """The positions that have a flag, in the order of their names."""
        return sorted(flags.positions(), key=self._names.__getitem__)

    def reference(self, position: int) -> Reference:
        """What is at a position."""
        return self._packing.unpack(self._names[position], self._records[position])

    def lines(self, flags: Flags) -> Iterator[bytes]:
        """Lines of what has a flag, in the order of their names."""
        return (self.reference(position).to_line() for position in self.by_name(flags))

    # Writing.

    def add(self, reference: Reference) -> int:
        """Note a blob before its store has confirmed it: it counts only once a listing shows it, whole.

        Returns:
            Its position.
        """
        line = reference.to_line()
        if self._journal is None:
            private_directory(os.path.dirname(self._path))
            self._journal = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            size = os.fstat(self._journal).st_size
            if size and os.pread(self._journal, 1, size - 1) != b"\n":
                line = b"\n" + line  # end the line that a crash has cut
        if os.write(self._journal, line) != len(line):  # a disk that is full takes a part of it
            raise DiskFull(f"There is no more room for {self._path}.", hint="Make room, or prune.")
        self._lines += 1
        return self._remember(reference)

    def _remember(self, reference: Reference) -> int:
        """Pack it, unless it is known.

        Raises:
            ValueError, TypeError, AttributeError, struct.error: it is no reference that this collection makes.
        """
        name, record = self._packing.pack(reference)
        for position in self.find(reference.name):
            if self._records[position] == record:
                return position
        position = len(self._records)
        older = self._newest.get(name, NOWHERE)
        self._names.append(self._names[older] if older != NOWHERE else name)  # the dictionary's own key: one object
        self._newest[name] = position
        self._older.append(older)
        self._records.append(record)
        return position

    def close(self) -> None:
        if self._journal is not None:
            os.close(self._journal)
            self._journal = None

    def compact(self, keep: Callable[[int], bool]) -> None:
        """Forget what no repository has any more, when that is most of the journal."""
        kept = Flags()
        count = 0
        for position in filter(keep, range(len(self._records))):
            kept.add(position, 1)
            count += 1
        if count * 2 >= self._lines:
            return
        self.close()
        temporary = f"{self._path}.new"
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
            stream.writelines(self.reference(position).to_line() for position in kept.positions())
        os.replace(temporary, self._path)


def _key(name: str, backup_id: str, number: int) -> str:
    """The key of a blob's object."""
    return blob_key(name, backup_id) + (f".{number:03d}" if number else "")
