# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file tree as a component, backed up and restored by the verbs' own functions; and what a tree looks like, told by
the file system and not by the code under test."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.ops.plugins.module_utils._engines._files import FilesEngine
from ansible_collections.holdfast.ops.plugins.module_utils._engines._interface import Place, Proof
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
from ansible_collections.holdfast.ops.plugins.module_utils._progress import Progress
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._interface import Repository
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._registry import open_repository
from ansible_collections.holdfast.ops.plugins.module_utils._stream._codec import Compression, Encryption, Identity

NAME = "docs"


def disk(path: Path, name: str = "disk") -> Repository:
    """A local repository."""
    return open_repository({"name": name, "type": "local", "path": str(path)}, NAME)


class TreeComponent:
    """`TreeComponent(tmp_path)`: the tree `tree`, backed up into `disk`, unless other repositories are given."""

    def __init__(
        self,
        path: Path,
        repositories: Sequence[Repository] | None = None,
        encryption: Encryption | None = None,
        identity: Identity | None = None,
    ) -> None:
        self.path = path
        self.tree = path / "tree"
        self.repositories = list(repositories) if repositories is not None else [disk(path / "disk")]
        self.encryption = encryption or Encryption()
        self.identity = identity or Identity()
        self.state = path / "state"
        self.place = Place(NAME, str(self.state / "components" / NAME), str(path / "scratch"))

    @contextlib.contextmanager
    def engine(self, **options: Any) -> Iterator[FilesEngine]:
        with contextlib.closing(FilesEngine({"path": str(self.tree), **options}, self.place)) as engine:
            yield engine

    def backup(self, *, check: bool = False, **options: Any) -> BackupResult:
        """Back the tree up."""
        settings = BackupSettings(
            NAME, str(self.state), compression=Compression(level=1), encryption=self.encryption, check=check
        )
        with self.engine(**options) as engine:
            return backup(engine, self.repositories, settings, Progress())

    def restore(
        self, target: Path | None = None, *, confirm: Path | None = None, check: bool = False, **options: Any
    ) -> RestoreResult:
        """Restore the newest backup."""
        settings = RestoreSettings(
            NAME, str(self.state), identity=self.identity, confirm=str(confirm) if confirm else None, check=check
        )
        if target is not None:
            options["target"] = str(target)
        with self.engine(**options) as engine:
            return restore(engine, self.repositories, settings, Progress())

    @contextlib.contextmanager
    def reading(self, number: int = 0) -> Iterator[tuple[FilesEngine, Reading]]:
        """The engine and the newest backup of one repository, as a verification has them."""
        settings = RestoreSettings(NAME, str(self.state), identity=self.identity)
        found, repository = open_backup("files", [self.repositories[number]], settings)
        with self.engine() as engine:
            yield engine, Reading(found, repository, self.identity, self.place, Progress())

    def verify_restore(self) -> Proof:
        with self.reading() as (engine, run):
            return engine.verify_restore(run)

    def keys(self, prefix: str = "", repository: int = 0) -> set[str]:
        """Keys in a repository, from its own listing."""
        return {item.key for item in self.repositories[repository].list(prefix)}


def write(path: Path, content: bytes | int, age: float = 3600) -> Path:
    """A file of some content, or of so many random bytes, last changed `age` seconds ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(content) if isinstance(content, int) else content)
    moment = path.stat().st_mtime_ns - int(age * 10**9)
    os.utime(path, ns=(moment, moment))
    return path


def describe(top: Path) -> dict[bytes, tuple[Any, ...]]:
    """Everything that a restore has to bring back, by path."""
    root = os.fsencode(top)
    paths = [root]
    for directory, directories, files in os.walk(root):
        paths += [os.path.join(directory, name) for name in directories + files]
    names: dict[int, list[bytes]] = {}
    for path in paths:
        names.setdefault(os.lstat(path).st_ino, []).append(os.path.relpath(path, root))
    return {os.path.relpath(path, root): _describe(path, names) for path in paths}


def _describe(path: bytes, names: dict[int, list[bytes]]) -> tuple[Any, ...]:
    found = os.lstat(path)
    kind = stat.S_IFMT(found.st_mode)
    content: bytes | str = ""
    if kind == stat.S_IFREG:
        with open(path, "rb") as stream:
            content = hashlib.sha256(stream.read()).hexdigest()
    elif kind == stat.S_IFLNK:
        content = os.readlink(path)
    attributes = {name: os.getxattr(path, name, follow_symlinks=False) for name in _attributes(path)}
    mode = 0 if kind == stat.S_IFLNK else stat.S_IMODE(found.st_mode)
    size = found.st_size if kind == stat.S_IFREG else 0
    same = sorted(names[found.st_ino]) if kind == stat.S_IFREG else []
    owner = (found.st_uid, found.st_gid)
    return kind, mode, owner, found.st_mtime_ns, size, content, attributes, found.st_rdev, same


def _attributes(path: bytes) -> list[str]:
    try:
        return os.listxattr(path, follow_symlinks=False)
    except OSError:
        return []


def allocated(path: Path) -> int:
    """Bytes that a file takes on disk."""
    return path.stat().st_blocks * 512
