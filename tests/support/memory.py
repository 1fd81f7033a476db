# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A repository in memory, with a clock that tests set and a death that tests choose; and backups to put into it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from ansible_collections.holdfast.ops.plugins.module_utils._errors import AlreadyExists, Corrupted, NotFound
from ansible_collections.holdfast.ops.plugins.module_utils._manifest import (
    Artefact,
    Backup,
    StoredPart,
    Verification,
    blob_key,
    data_prefix,
    manifest_key,
    new_id,
    rfc3339,
)
from ansible_collections.holdfast.ops.plugins.module_utils._operations._blob_registry import Reference
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._interface import (
    Buffer,
    Hold,
    PartSum,
    ProbeReport,
    Repository,
    StoredObject,
    Upload,
)

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=timezone.utc)


class Killed(BaseException):
    """The process is gone: nothing may catch this."""


class MemoryRepository(Repository):
    """Objects in a dict.

    Attributes:
        now: the store's clock.
        holds: what the store keeps from being deleted, by key.
        writes_left: the process dies at the write or delete after so many (None: it lives).
    """

    type = "memory"
    OPTIONS: Mapping[str, Any] = {}

    def __init__(self, name: str = "memory", now: datetime = NOON) -> None:
        self.name = name
        self.now = now
        self.objects: dict[str, bytes] = {}
        self.times: dict[str, datetime] = {}
        self.holds: dict[str, Hold] = {}
        self.writes_left: int | None = None
        self.lock = threading.RLock()

    def _write(self) -> None:
        if self.writes_left is not None:
            if self.writes_left <= 0:
                raise Killed
            self.writes_left -= 1

    def probe(self, rights: Sequence[str], expected_bytes: int = 0, *, write: bool = True) -> ProbeReport:
        return ProbeReport(dict.fromkeys(rights, True), "sha256")

    def put(self, key: str, data: Buffer, sha256: bytes) -> None:
        with self.lock:
            self._write()
            if key in self.objects:
                raise AlreadyExists(f"{key} exists.")
            if hashlib.sha256(data).digest() != sha256:
                raise Corrupted(f"{key} arrived damaged.")
            self.objects[key] = bytes(data)
            self.times[key] = self.now

    def begin(self, key: str) -> Upload:
        return _MemoryUpload(self, key)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        with self.lock:
            found = [StoredObject(k, len(self.objects[k]), self.times[k]) for k in sorted(self.objects)]
        return (item for item in found if item.key.startswith(prefix))

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        with self.lock:
            if key not in self.objects:
                raise NotFound(f"{self.name} has no {key}.")
            return self.objects[key][offset : None if length is None else offset + length]

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            with self.lock:
                self._write()
                self.objects.pop(key, None)
                self.times.pop(key, None)

    def hold(self, key: str) -> Hold:
        return self.holds.get(key, Hold())

    def replace(self, key: str, data: bytes, expected: str | None) -> str | None:
        with self.lock:
            self._write()
            state = self.read_token(key)
            if (state[1] if state else None) != expected:
                raise AlreadyExists(f"{key} was changed.")
            self.objects[key], self.times[key] = data, self.now
            return hashlib.sha256(data).hexdigest()

    def read_token(self, key: str) -> tuple[bytes, str] | None:
        with self.lock:
            data = self.objects.get(key)
            return None if data is None else (data, hashlib.sha256(data).hexdigest())

    def clock(self) -> datetime:
        return self.now

    def sweep_uploads(self, prefix: str, before: datetime) -> Sequence[str]:
        return []


class _MemoryUpload(Upload):
    def __init__(self, repository: MemoryRepository, key: str) -> None:
        self._repository, self._key = repository, key
        self._parts: dict[int, bytes] = {}

    def write_part(self, number: int, data: Buffer, sha256: bytes) -> None:
        self._parts[number] = bytes(data)

    def complete(self, parts: Sequence[PartSum]) -> None:
        data = b"".join(self._parts[part.number] for part in parts)
        self._repository.put(self._key, data, hashlib.sha256(data).digest())

    def abort(self) -> None:
        self._parts.clear()


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def put(repository: Repository, key: str, data: bytes) -> StoredPart:
    """An object as a manifest names it."""
    repository.put(key, data, hashlib.sha256(data).digest())
    return StoredPart(key, len(data), sha(data))


def commit_backup(
    repository: Repository,
    moment: datetime,
    *,
    component: str = "shop",
    content: bytes = b"a dump\n" * 40,
    blobs: Sequence[tuple[bytes, str]] = (),
    commit: bool = True,
    **fields: Any,
) -> Backup:
    """A backup as the protocol stores it, of any moment.

    Args:
        blobs: content and, for one that another backup has stored, that backup's id ("" stores it).
        commit: False leaves what a killed run leaves.
    """
    backup_id = new_id(moment, "abcdef")
    prefix = data_prefix(backup_id)
    put(repository, f"running/{backup_id}", b"{}")
    references = []
    for data, owner in blobs:
        key = blob_key(sha(data), owner or backup_id)
        part = StoredPart(key, len(data), sha(data)) if owner else put(repository, key, data)
        references.append(Reference(sha(data), len(data), (part,), "none", "none"))
    stored = {"shop.dump": ("dump", content)}
    if references:
        stored["references.jsonl"] = ("references", b"".join(each.to_line() for each in references))
    artefacts = tuple(
        Artefact(name, kind, len(data), len(data), sha(data), (put(repository, prefix + name, data),))
        for name, (kind, data) in stored.items()
    )
    put(repository, prefix + "SHA256SUMS", "".join(f"{a.sha256}  {a.name}\n" for a in artefacts).encode())
    backup = Backup(
        id=backup_id,
        component=component,
        engine=fields.pop("engine", "sample"),
        host="host",
        started_at=rfc3339(moment),
        snapshot_at=rfc3339(moment + timedelta(seconds=1)),
        finished_at=rfc3339(moment + timedelta(seconds=2)),
        artefacts=artefacts,
        references={"count": len(references), "size": sum(r.size for r in references)} if references else {},
        by_hand=("cat shop.dump",),
        **fields,
    )
    if commit:
        put(repository, manifest_key(backup_id), backup.to_json())
        repository.delete([f"running/{backup_id}"])
    return backup


def note_verification(
    repository: Repository, backup_id: str, moment: datetime, level: str = "checksum", ok: bool = True
) -> None:
    """A verification as `verify` records it."""
    verification = Verification(backup_id, level, ok, rfc3339(moment))
    put(repository, verification.key(), verification.to_json())
