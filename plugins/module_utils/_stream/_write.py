# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing artefacts: source → zstd → encryption → SHA-256 → fan-out, in one pass.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Callable

from .._manifest import Artefact, StoredPart
from ._codec import Compression, Encryption
from ._fanout import FanOut, ObjectWriter
from ._source import Source

Count = Callable[[int], None]


@dataclass(frozen=True)
class Stream:
    """What an engine hands over to be stored.

    Attributes:
        name: base name, e.g. `omnidoc.dump`; the suffixes of compression and encryption are added.
        kind, restore, attributes: as in `Artefact`.
        source: the bytes.
        compressed: they are compressed already; do not try again.
        clear: never encrypt (only for what names nothing, such as blob keys).
    """

    name: str
    kind: str
    source: Source
    compressed: bool = False
    clear: bool = False
    restore: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)


class ArtefactWriter:
    """Stores streams under one prefix of all repositories of a fan-out."""

    def __init__(
        self, fanout: FanOut, compression: Compression, encryption: Encryption, count: Count = lambda size: None
    ) -> None:
        self._fanout = fanout
        self._compression = compression
        self._encryption = encryption
        self._count = count

    def store(self, stream: Stream, prefix: str, only: Sequence[str] | None = None) -> Artefact:
        """Read a source once and hand all of it to the repositories `only` (None: all); they confirm by
        `FanOut.drain`."""
        compression = Compression("none") if stream.compressed else self._compression
        encryption = Encryption() if stream.clear else self._encryption
        name = stream.name + (".zst" if compression.method == "zstd" else "") + encryption.suffix
        stored = self.write(stream.source, prefix + name, compression, encryption, only)
        return Artefact(
            name=name,
            kind=stream.kind,
            source_size=stored.source_size,
            size=stored.size,
            sha256=stored.sha256,
            objects=stored.objects,
            compression=compression.method,
            encryption=encryption.method,
            restore=stream.restore,
            attributes=stream.attributes,
        )

    def write(
        self,
        source: Source,
        key: str,
        compression: Compression,
        encryption: Encryption,
        only: Sequence[str] | None = None,
        expected: str | None = None,
    ) -> Stored:
        """Encode a source into the object `key` (and `key.001`, …) of the repositories `only` (None: all).

        Raises:
            SourceChanged: the stored bytes have another SHA-256 than `expected`; nothing is stored.
        """
        counter = _Counter(source.chunks(), self._count)
        writer = ObjectWriter(self._fanout, key, only, expected)
        try:
            encryption.encode(compression.encode(counter), writer.write)
            digest = writer.close()
        except BaseException:
            writer.discard()
            source.abort()
            raise
        objects = tuple(StoredPart(*item) for item in writer.objects)
        return Stored(counter.total, writer.size, digest, objects)


@dataclass(frozen=True)
class Stored:
    """What became of a stream: bytes before and after encoding, SHA-256 (hex) of the stored bytes, its objects."""

    source_size: int
    size: int
    sha256: str
    objects: tuple[StoredPart, ...]


class _Counter:
    """Counts bytes as they pass."""

    def __init__(self, chunks: Iterable[bytes], count: Count) -> None:
        self._chunks = chunks
        self._count = count
        self.total = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self.total += len(chunk)
            self._count(len(chunk))
            yield chunk
