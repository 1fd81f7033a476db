# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An engine that makes its bytes and a repository that forgets them: for streams that no disk here would hold."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from ansible_collections.holdfast.ops.plugins.module_utils._engines._interface import (
    BackupPlan,
    BackupRun,
    Engine,
    Proof,
    RestorePlan,
    RestoreRun,
)
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._interface import (
    Buffer,
    PartSum,
    ProbeReport,
    Repository,
    StoredObject,
    Upload,
)
from ansible_collections.holdfast.ops.plugins.module_utils._stream._source import IteratorSource
from ansible_collections.holdfast.ops.plugins.module_utils._stream._write import Stream

_CHUNK = 1024 * 1024
_VARIANTS = 10  # more than any window of the compressor sees at once


class GeneratedEngine(Engine):
    """`size` bytes that compress about 2:1, or not at all with `noise`; the same each time."""

    name = "generated"
    OPTIONS: ClassVar[Mapping[str, Any]] = {
        "size": {"type": "int", "required": True},
        "noise": {"type": "bool", "default": False},
    }

    def __init__(self, options: Mapping[str, Any], place: Any) -> None:
        super().__init__(options, place)
        self._size = int(options["size"])

    def _chunks(self) -> Iterator[bytes]:
        """Pieces of a fixed stock, each turned by its number so that none equals another."""
        dice = random.Random(42)
        stock = []
        for _number in range(_VARIANTS):
            if self.options.get("noise"):
                stock.append(dice.randbytes(_CHUNK))
                continue
            words = [dice.randbytes(16) + dice.randbytes(4).hex().encode() * 4 for _word in range(_CHUNK // 48)]
            piece = b"".join(words)
            stock.append(piece + bytes(_CHUNK - len(piece)))
        left, number = self._size, 0
        while left > 0:
            piece, shift = stock[number % _VARIANTS], number // _VARIANTS * 7919 % _CHUNK
            piece = (piece[shift:] + piece[:shift])[:left]
            yield piece
            left -= len(piece)
            number += 1

    def plan_backup(self) -> BackupPlan:
        return BackupPlan(self._size, (), {"size": self._size})

    def backup(self, run: BackupRun) -> None:
        run.store(Stream("generated", "dump", IteratorSource(self._chunks())))
        run.snapshot_taken()

    def plan_restore(self, run: RestoreRun) -> RestorePlan:
        return RestorePlan()

    def restore(self, run: RestoreRun) -> Proof:
        """Read it back and compare every byte."""
        found = _Compared(self._chunks())
        artefact = run.backup.artefact("dump")
        assert artefact is not None
        run.reader.decode(artefact, found.write)
        return Proof("digest", 1, () if found.equal() else ("the bytes",))

    def verify_archive(self, run: RestoreRun) -> Mapping[str, Any]:
        raise NotImplementedError

    def verify_restore(self, run: RestoreRun) -> Proof:
        raise NotImplementedError


class _Compared:
    def __init__(self, expected: Iterator[bytes]) -> None:
        self._expected = expected
        self._found, self._size = hashlib.sha256(), 0

    def write(self, data: bytes) -> None:
        self._found.update(data)
        self._size += len(data)

    def equal(self) -> bool:
        digest, size = hashlib.sha256(), 0
        for piece in self._expected:
            digest.update(piece)
            size += len(piece)
        return size == self._size and digest.digest() == self._found.digest()


class NullRepository(Repository):
    """Takes everything, counts it and keeps only small objects: the far end of a stream of any length."""

    type = "null"
    OPTIONS: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, name: str) -> None:
        self.name = name
        self._sizes: dict[str, int] = {}

    def probe(self, rights: Sequence[str], expected_bytes: int = 0, *, write: bool = True) -> ProbeReport:
        return ProbeReport(dict.fromkeys(rights, True), "sha256")

    def put(self, key: str, data: Buffer, sha256: bytes) -> None:
        self._sizes[key] = len(data)

    def begin(self, key: str) -> Upload:
        return _Forgotten(self, key)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        for key, size in sorted(self._sizes.items()):
            if key.startswith(prefix):
                yield StoredObject(key, size, self.clock())

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        raise NotImplementedError

    def delete(self, keys: Any) -> None:
        for key in keys:
            self._sizes.pop(key, None)

    def replace(self, key: str, data: bytes, expected: str | None) -> str | None:
        raise NotImplementedError

    def read_token(self, key: str) -> tuple[bytes, str] | None:
        return None

    def clock(self) -> Any:
        from datetime import datetime, timezone

        return datetime.now(timezone.utc)

    def sweep_uploads(self, prefix: str, before: Any) -> Sequence[str]:
        return ()


class _Forgotten(Upload):
    def __init__(self, repository: NullRepository, key: str) -> None:
        self._repository = repository
        self._key = key

    def write_part(self, number: int, data: Buffer, sha256: bytes) -> None:
        pass

    def complete(self, parts: Sequence[PartSum]) -> None:
        self._repository._sizes[self._key] = sum(part.size for part in parts)

    def abort(self) -> None:
        pass
