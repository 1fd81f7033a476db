# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A PostgreSQL component with a repository on disk, by the verbs' own functions: no Ansible, so it is quick."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.ops.plugins.module_utils._engines._interface import Place, Proof
from ansible_collections.holdfast.ops.plugins.module_utils._engines._postgresql import PostgresqlEngine
from ansible_collections.holdfast.ops.plugins.module_utils._manifest import Backup
from ansible_collections.holdfast.ops.plugins.module_utils._operations._backup import BackupSettings, backup
from ansible_collections.holdfast.ops.plugins.module_utils._operations._restore import (
    Reading,
    RestoreResult,
    RestoreSettings,
    open_backup,
    restore,
)
from ansible_collections.holdfast.ops.plugins.module_utils._progress import Progress
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._registry import open_repository
from ansible_collections.holdfast.ops.plugins.module_utils._stream._codec import Compression, Identity

from .postgres import EmbeddedPostgres
from .servers import short_directory

NAME = "shop"


def login(server: EmbeddedPostgres) -> dict[str, Any]:
    """How the engine reaches a test's server: its socket, its own tools."""
    return {
        "login_unix_socket": str(server.socket_dir),
        "login_port": server.port,
        "login_user": "postgres",
        "bin_dir": str(server.bin_dir),
    }


class Component:
    """`with contextlib.closing(Component(tmp_path)) as component:` Its backups lie in one repository, whichever server
    they come from and go to."""

    def __init__(self, path: Path, compression: str = "zstd", name: str = NAME) -> None:
        self.path = path
        self.compression = compression
        self.name = name
        self.repositories = [open_repository({"name": "disk", "type": "local", "path": str(path / "disk")}, name)]
        # A scratch cluster's user cannot walk into pytest's directories.
        self._outside = short_directory("hf-scratch-")
        self._outside.chmod(0o711)
        self.scratch = self._outside / "scratch"
        self.place = Place(name, str(path / "state"), str(self.scratch))

    def close(self) -> None:
        """Remove the scratch place."""
        shutil.rmtree(self._outside)

    @contextlib.contextmanager
    def engine(self, server: EmbeddedPostgres | None, **options: Any) -> Iterator[PostgresqlEngine]:
        with contextlib.closing(
            PostgresqlEngine({**(login(server) if server else {}), **options}, self.place)
        ) as engine:
            yield engine

    def backup(self, server: EmbeddedPostgres, *databases: str, **options: Any) -> Backup:
        """Back databases up."""
        settings = BackupSettings(self.name, self.place.state_dir, Compression(self.compression))
        with self.engine(server, databases=list(databases), **options) as engine:
            made = backup(engine, self.repositories, settings, Progress()).backup
        assert made is not None
        return made

    def restore(
        self,
        server: EmbeddedPostgres | None,
        *,
        confirm: str | None = None,
        check: bool = False,
        backup_id: str = "latest",
        **options: Any,
    ) -> RestoreResult:
        """Restore a backup."""
        settings = RestoreSettings(self.name, self.place.state_dir, backup_id=backup_id, confirm=confirm, check=check)
        with self.engine(server, **options) as engine:
            return restore(engine, self.repositories, settings, Progress())

    def reading(self) -> Reading:
        """The newest backup, being read."""
        settings = RestoreSettings(self.name, self.place.state_dir)
        newest, repository = open_backup("postgresql", self.repositories, settings)
        return Reading(newest, repository, Identity(), self.place, Progress())

    def verify_archive(self, server: EmbeddedPostgres | None = None, **options: Any) -> Any:
        with self.engine(server, **options) as engine:
            return engine.verify_archive(self.reading())

    def verify_restore(self, server: EmbeddedPostgres | None = None, **options: Any) -> Proof:
        with self.engine(server, **options) as engine:
            return engine.verify_restore(self.reading())

    def manifest(self) -> Path:
        """The file of the newest manifest."""
        return max(self.path.glob("disk/**/manifests/*.json"))

    def stored(self, kind: str) -> Path:
        """The (first) file of an artefact of the newest backup."""
        manifest = json.loads(self.manifest().read_text())
        (artefact, *_more) = [one for one in manifest["artefacts"] if one["kind"] == kind]
        return self.path / "disk" / self.name / artefact["objects"][0]["key"]
