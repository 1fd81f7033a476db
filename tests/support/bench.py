# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One component and its repositories on disk, with faults where a test wants them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.ops.plugins.module_utils._engines._interface import Place
from ansible_collections.holdfast.ops.plugins.module_utils._manifest import Backup
from ansible_collections.holdfast.ops.plugins.module_utils._operations._backup import (
    BackupResult,
    BackupSettings,
    backup,
)
from ansible_collections.holdfast.ops.plugins.module_utils._operations._restore import (
    RestoreResult,
    RestoreSettings,
    restore,
)
from ansible_collections.holdfast.ops.plugins.module_utils._progress import Progress
from ansible_collections.holdfast.ops.tests.support.faulty import FaultyRepository, StreamsEngine, no_fault

DATA = os.urandom(300_000)


def chunks() -> Iterator[bytes]:
    for start in range(0, len(DATA), 50_000):
        yield DATA[start : start + 50_000]


class Bench:
    """One component, its repositories, and what really lies in them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.streams: dict[str, Any] = {"one.dump": chunks, "two.dump": lambda: iter([b"small"])}

    def engine(self, **options: Any) -> StreamsEngine:
        return StreamsEngine(
            {"streams": self.streams, **options}, Place("c", str(self.path / "state"), str(self.path / "scratch"))
        )

    def repository(self, name: str = "a", fault: Any = no_fault, **attributes: Any) -> FaultyRepository:
        return FaultyRepository(name, str(self.path / name), fault, **attributes)

    def backup(self, *stores: FaultyRepository, **settings: Any) -> BackupResult:
        return backup(
            self.engine(),
            stores or [self.repository()],
            BackupSettings("c", str(self.path / "state"), **settings),
            Progress(),
        )

    def restore(
        self, *stores: FaultyRepository, target: dict[str, bytes], live: Any = None, **settings: Any
    ) -> RestoreResult:
        return restore(
            self.engine(target=target, live=live),
            stores or [self.repository()],
            RestoreSettings("c", str(self.path / "state"), **settings),
            Progress(),
        )

    def files(self, name: str = "a") -> list[str]:
        top = self.path / name / "c"
        return sorted(str(p.relative_to(top)) for p in top.rglob("*") if p.is_file())

    def backups(self, name: str = "a") -> list[Backup]:
        """What exists, proved from the files themselves: every committed backup's objects are there, whole."""
        found = []
        for path in sorted((self.path / name / "c/manifests").glob("*.json")):
            one = Backup.from_json(path.read_bytes())
            for part in one.objects():
                raw = (self.path / name / "c" / part.key).read_bytes()
                assert len(raw) == part.size
                assert hashlib.sha256(raw).hexdigest() == part.sha256
            found.append(one)
        return found
