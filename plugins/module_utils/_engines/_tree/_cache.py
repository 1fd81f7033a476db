# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What this host remembers of a tree between two backups, so that unchanged files need not be read.

PRIVATE to the collection; may change without notice.

One file, read and written as a stream, so that its size does not matter: a record for each directory in the order
of the walk (signature, use of blobs, index lines), then a summary, then the summary's length. A file that a crash
has cut ends without that and counts as none.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import BinaryIO

from ..._locks import private_directory

MAGIC = b"holdfast tree 1\n"
END = b"\nend of tree\n"
_RECORD = struct.Struct("<IIIIIQ")
_LENGTH = struct.Struct("<Q")
BUFFER = 1024 * 1024


@dataclass(frozen=True)
class Record:
    """What is remembered of one directory.

    Attributes:
        path: as in `Directory`.
        signature: as in `Directory`; entries that must be read again have only zeros in it.
        usage: bytes of content in each blob that the entries use.
        entries, size: number of the lines, and bytes of the content of the files.
        lines: of the index: the directory's own first (unless the root is a single file), then one for each name in the
            signature. In pieces of any size.
    """

    path: str
    signature: bytes
    usage: Mapping[str, int]
    entries: int
    size: int
    lines: Sequence[bytes]


@dataclass
class Summary:
    """What is remembered of a whole tree.

    Attributes:
        naming: the blob name of a fixed content: another one when blobs have got other names since.
        root: the path.
        single: whether it is a file.
        index: name, SHA-256 and size of the index.
        entries, size: as in `Record`, of all directories.
        packs: bytes of content that were put in each pack.
        usage: bytes of content in use in each blob, packs included.
    """

    naming: str
    root: str
    single: bool
    index: str = ""
    index_sha256: str = ""
    index_size: int = 0
    entries: int = 0
    size: int = 0
    packs: dict[str, int] = field(default_factory=dict)
    usage: dict[str, int] = field(default_factory=dict)

    def add(self, record: Record) -> None:
        """Count a directory."""
        self.entries += record.entries
        self.size += record.size
        for name, used in record.usage.items():
            self.usage[name] = self.usage.get(name, 0) + used


class TreeCache:
    """A remembered tree, opened for one or more passes, one after the other.

    The file stays open: another run may put a new one in its place while this one waits for its turn.
    """

    def __init__(self, stream: BinaryIO, summary: Summary, end: int) -> None:
        self._stream = stream
        self._end = end
        self.summary = summary

    def close(self) -> None:
        self._stream.close()

    @classmethod
    def open(cls, path: str) -> TreeCache | None:
        """None when there is none, or when it is not whole."""
        try:
            stream = open(path, "rb", buffering=BUFFER)  # noqa: SIM115 - kept open, see close()
        except OSError:
            return None
        try:
            summary, end = _read_summary(stream)
        except (OSError, ValueError, TypeError):  # it only saves work: without it, everything is read again
            stream.close()
            return None
        return cls(stream, summary, end)

    def __iter__(self) -> Iterator[Record]:
        position = len(MAGIC)
        while position < self._end:
            self._stream.seek(position)
            record = _read_record(self._stream)
            position = self._stream.tell()
            yield record


def _read_summary(stream: BinaryIO) -> tuple[Summary, int]:
    """The summary and where the records end.

    Raises:
        ValueError, TypeError: the file is not whole.
    """
    if stream.read(len(MAGIC)) != MAGIC:
        raise ValueError
    size = stream.seek(0, os.SEEK_END)
    tail = _LENGTH.size + len(END)
    stream.seek(max(0, size - tail))
    last = stream.read()
    if len(last) != tail or not last.endswith(END):
        raise ValueError
    (length,) = _LENGTH.unpack(last[: _LENGTH.size])
    end = size - tail - length
    stream.seek(max(0, end))
    return Summary(**json.loads(stream.read(length))), end


def _read_record(stream: BinaryIO) -> Record:
    path, signature, usage, lines, entries, size = _RECORD.unpack(stream.read(_RECORD.size))
    return Record(
        stream.read(path).decode("utf-8", "surrogateescape"),
        stream.read(signature),
        json.loads(stream.read(usage)) if usage else {},
        entries,
        size,
        [stream.read(lines)],
    )


class TreeCacheWriter:
    """Writes a tree beside the old one; `commit` puts it in its place, `discard` removes it."""

    def __init__(self, path: str, summary: Summary) -> None:
        private_directory(os.path.dirname(path))
        self._path = path
        self._temporary = f"{path}.new"
        self.summary = summary
        self._stream = open(  # noqa: SIM115 - closed by commit or discard
            os.open(self._temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w+b", buffering=BUFFER
        )
        self._stream.write(MAGIC)

    def add(self, record: Record) -> None:
        """Append a directory; they must come in the order of the walk."""
        path = record.path.encode("utf-8", "surrogateescape")
        usage = json.dumps(record.usage, separators=(",", ":")).encode() if record.usage else b""
        length = sum(map(len, record.lines))
        self._stream.write(
            _RECORD.pack(len(path), len(record.signature), len(usage), length, record.entries, record.size)
        )
        self._stream.writelines((path, record.signature, usage, *record.lines))
        self.summary.add(record)

    def lines(self) -> Iterator[bytes]:
        """The index lines of all directories so far."""
        self._stream.flush()
        end = self._stream.tell()
        with open(self._temporary, "rb", buffering=BUFFER) as stream:
            stream.seek(len(MAGIC))
            while stream.tell() < end:
                yield from _read_record(stream).lines

    def commit(self) -> None:
        """Make it the remembered tree."""
        document = json.dumps(asdict(self.summary)).encode()
        self._stream.write(document + _LENGTH.pack(len(document)) + END)
        self._stream.close()
        os.replace(self._temporary, self._path)

    def discard(self) -> None:
        """Forget it; never raises, safe to call after `commit`."""
        with contextlib.suppress(OSError):
            self._stream.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._temporary)
