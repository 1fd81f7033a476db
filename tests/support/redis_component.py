# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Redis component with a repository on disk, by the verbs' own functions: no Ansible, so it is quick."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.ops.plugins.module_utils._engines._interface import Place, Proof
from ansible_collections.holdfast.ops.plugins.module_utils._engines._redis import RedisEngine
from ansible_collections.holdfast.ops.plugins.module_utils._manifest import Backup
from ansible_collections.holdfast.ops.plugins.module_utils._operations._backup import (
    BackupResult,
    BackupSettings,
    backup,
)
from ansible_collections.holdfast.ops.plugins.module_utils._operations._restore import (
    Reading,
    RestoreResult,
    RestoreSettings,
    open_backup,
    restore,
)
from ansible_collections.holdfast.ops.plugins.module_utils._operations._verify import (
    VerifyResult,
    VerifySettings,
    verify,
)
from ansible_collections.holdfast.ops.plugins.module_utils._progress import Progress
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._registry import open_repository
from ansible_collections.holdfast.ops.plugins.module_utils._stream._codec import Compression, Identity

from .redis import Service
from .servers import short_directory


class Sessions:
    """`with contextlib.closing(Sessions(tmp_path)) as sessions:` Its backups lie in one repository, whichever server
    they come from and go to."""

    name = "sessions"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.repository = {"name": "disk", "type": "local", "path": str(path / "disk")}
        self.repositories = [open_repository(self.repository, self.name)]
        # A scratch server's user cannot walk into pytest's directories.
        self._outside = short_directory("hf-scratch-")
        self._outside.chmod(0o711)
        self.place = Place(self.name, str(path / "state"), str(self._outside / "scratch"))

    def close(self) -> None:
        """Remove the scratch place."""
        shutil.rmtree(self._outside)

    def parameters(self) -> dict[str, Any]:
        """What a module takes for the same component."""
        return {
            "component": self.name,
            "repositories": [self.repository],
            "state_dir": self.place.state_dir,
            "scratch_dir": self.place.scratch_dir,
        }

    def run_backup(self, options: dict[str, Any], progress: Progress | None = None, **settings: Any) -> BackupResult:
        how = BackupSettings(self.name, self.place.state_dir, Compression("zstd"), **settings)
        with contextlib.closing(RedisEngine(options, self.place)) as engine:
            return backup(engine, self.repositories, how, progress or Progress())

    def backup(self, server: Service, **options: Any) -> Backup:
        made = self.run_backup(server.options(**options)).backup
        assert made is not None
        return made

    def restore(self, server: Service, *, confirm: bool = True, check: bool = False, **options: Any) -> RestoreResult:
        """Into a server, through its systemctl."""
        how = RestoreSettings(self.name, self.place.state_dir, confirm=server.where if confirm else None, check=check)
        with server.on_path(), contextlib.closing(RedisEngine(server.restore_options(**options), self.place)) as engine:
            return restore(engine, self.repositories, how, Progress())

    def verify(self, level: str, **options: Any) -> VerifyResult:
        how = VerifySettings(self.name, self.place, level)
        return verify(self.repositories, how, lambda _name: RedisEngine(options, self.place), Progress())

    @contextlib.contextmanager
    def reading(self, **options: Any) -> Iterator[tuple[RedisEngine, Reading]]:
        """The newest backup, being read by an engine."""
        newest, repository = open_backup("redis", self.repositories, RestoreSettings(self.name, self.place.state_dir))
        with contextlib.closing(RedisEngine(options, self.place)) as engine:
            yield engine, Reading(newest, repository, Identity(), self.place, Progress())

    def verify_restore(self, **options: Any) -> Proof:
        with self.reading(**options) as (engine, reading):
            return engine.verify_restore(reading)

    def manifests(self) -> list[Path]:
        return sorted(self.path.glob("disk/**/manifests/*.json"))

    def stored(self, kind: str) -> Path:
        """The (first) file of an artefact of the newest backup."""
        manifest = json.loads(self.manifests()[-1].read_text())
        (artefact, *_more) = [one for one in manifest["artefacts"] if one["kind"] == kind]
        return self.path / "disk" / self.name / artefact["objects"][0]["key"]
