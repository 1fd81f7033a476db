# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real local repository whose calls fail, hang or lie on demand; and an engine whose data is a few streams."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

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
    StoredObject,
    Upload,
)
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._local import LocalRepository
from ansible_collections.holdfast.ops.plugins.module_utils._stream._source import IteratorSource
from ansible_collections.holdfast.ops.plugins.module_utils._stream._write import Stream

Fault = Callable[[str, str, int], None]
"""Called as fault(method, key, nth call of the method) before each call; raises or blocks to inject a fault."""


class FaultyRepository(LocalRepository):
    """A local repository that asks a fault function before every call."""

    def __init__(self, name: str, path: str, fault: Fault, *, part_size: int = 64 * 1024, **attributes: Any) -> None:
        super().__init__(name, {"path": path, "prefix": "c"})
        self.part_size = part_size
        self.fault = fault
        self.calls: dict[str, int] = {}
        self.in_flight = self.most_in_flight = 0
        self._lock = threading.Lock()
        for attribute, value in attributes.items():
            setattr(self, attribute, value)

    def before(self, method: str, key: str) -> None:
        with self._lock:
            nth = self.calls[method] = self.calls.get(method, 0) + 1
        self.fault(method, key, nth)

    def put(self, key: str, data: Buffer, sha256: bytes) -> None:
        self.before("put", key)
        super().put(key, data, sha256)

    def begin(self, key: str) -> Upload:
        self.before("begin", key)
        return _FaultyUpload(self, key, super().begin(key))

    def list(self, prefix: str) -> Iterator[StoredObject]:
        self.before("list", prefix)
        yield from super().list(prefix)

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        self.before("read", key)
        return super().read(key, offset, length)


class _FaultyUpload(Upload):
    def __init__(self, repository: FaultyRepository, key: str, upload: Upload) -> None:
        self.repository, self.key, self.upload = repository, key, upload

    def write_part(self, number: int, data: Buffer, sha256: bytes) -> None:
        repository = self.repository
        with repository._lock:
            repository.in_flight += 1
            repository.most_in_flight = max(repository.most_in_flight, repository.in_flight)
        try:
            repository.before("write_part", self.key)
            self.upload.write_part(number, data, sha256)
        finally:
            with repository._lock:
                repository.in_flight -= 1

    def complete(self, parts: Sequence[PartSum]) -> None:
        self.repository.before("complete", self.key)
        self.upload.complete(parts)

    def abort(self) -> None:
        self.repository.before("abort", self.key)
        self.upload.abort()


def no_fault(method: str, key: str, nth: int) -> None:
    """Nothing goes wrong."""


class StreamsEngine(Engine):
    """Backs up `options["streams"]` (names mapped to functions that return chunks), restores into `["target"]`."""

    name = "streams"
    OPTIONS: Mapping[str, Any] = {}

    def plan_backup(self) -> BackupPlan:
        return BackupPlan(0, tuple(self.options["streams"]), {"streams": sorted(self.options["streams"])})

    def backup(self, run: BackupRun) -> None:
        for name, chunks in self.options["streams"].items():
            run.store(Stream(name, "dump", IteratorSource(chunks())))
        run.fingerprint("digest", {"streams": sorted(self.options["streams"])})

    def plan_restore(self, run: RestoreRun) -> RestorePlan:
        return RestorePlan(tuple(a.name for a in run.backup.artefacts), live=self.options.get("live"))

    def restore(self, run: RestoreRun) -> Proof:
        for artefact in run.backup.artefacts:
            if artefact.kind == "dump":
                self.options["target"][artefact.name] = run.reader.read_bytes(artefact)
        return Proof("digest", 1)

    def verify_archive(self, run: RestoreRun) -> Mapping[str, Any]:
        for artefact in run.backup.artefacts:
            run.reader.decode(artefact, lambda data: None)
        return {}

    def verify_restore(self, run: RestoreRun) -> Proof:
        self.verify_archive(run)
        return Proof("digest", 1)
