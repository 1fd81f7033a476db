# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is dumped and restored: the small interface that every engine implements in one file.

PRIVATE to the collection; may change without notice.

An engine knows its servers and tools. It hands streams to a run and takes artefacts back from one; it never
sees a repository, a key or a cipher.
"""

from __future__ import annotations

import abc
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Protocol

from .._manifest import Artefact, Backup
from .._progress import Progress
from .._stream._read import ArtefactReader
from .._stream._source import Source
from .._stream._write import Stream


@dataclass(frozen=True)
class Place:
    """Where an engine may work on the host.

    Attributes:
        state_dir: kept between runs (indexes), below `/var/lib/holdfast`.
        scratch_dir: for what cannot be streamed; emptied after each run.
        component: whose.
    """

    component: str
    state_dir: str
    scratch_dir: str


class Blobs(Protocol):
    """Large files by content, shared by the backups of a component."""

    def name(self, sha256: str) -> str:
        """The blob name of a content hash (hex): itself, or keyed when the backup is encrypted."""

    def have(self, name: str) -> bool:
        """Whether every repository in use holds it, so that it need not be sent."""

    def store(self, name: str, source: Source, size: int, *, compressed: bool, sha256: str | None = None) -> None:
        """Send it to the repositories that lack it, and refer to it.

        Args:
            size: bytes of the content.
            compressed: do not try to compress it.
            sha256: (hex) that the content must still have when it is read now; None when the source sees to it.

        Raises:
            SourceChanged: it has not; nothing is stored.
        """

    def use(self, name: str) -> None:
        """This backup refers to it."""


class BackupRun(Protocol):
    """What the operation offers an engine during a backup."""

    id: str
    place: Place
    progress: Progress
    blobs: Blobs

    def store(self, stream: Stream) -> Artefact:
        """Store a stream in all repositories; one at a time."""

    def snapshot_taken(self, at: datetime | None = None) -> None:
        """The data is of this moment, or of `at` (the age of a backup counts from it)."""

    def fingerprint(self, level: str, document: Mapping[str, Any]) -> None:
        """Keep what the data looked like, to prove a restore by."""

    def facts(self, facts: Mapping[str, Any]) -> None:
        """Clear facts for the manifest: versions and the like, never contents or secrets."""

    def report(self, details: Mapping[str, Any]) -> None:
        """For the user's eyes only, in the module's result: may name contents, and never gets into a repository."""

    def by_hand(self, lines: Iterable[str]) -> None:
        """Shell lines that restore this without holdfast, after the artefacts were decoded."""

    def warn(self, text: str) -> None:
        """Tell the user; kept in the manifest."""

    def scratch(self, owner: str | None = None) -> AbstractContextManager[str]:
        """A private directory (of `owner`), removed with its contents at the end."""


class RestoreRun(Protocol):
    """What the operation offers an engine during a restore or a verification."""

    backup: Backup
    place: Place
    progress: Progress
    reader: ArtefactReader

    def fingerprint(self) -> Mapping[str, Any] | None:
        """What the data looked like when it was dumped; None when none was taken."""

    def read_blob(self, name: str) -> Artefact:
        """The blob as an artefact of this repository, for `reader`.

        Raises:
            Corrupted: it is missing.
        """

    def warn(self, text: str) -> None:
        """Tell the user."""

    def scratch(self, owner: str | None = None) -> AbstractContextManager[str]:
        """As in `BackupRun`."""


@dataclass(frozen=True)
class BackupPlan:
    """What a backup would do, from a preflight that changed nothing.

    Attributes:
        expected_bytes: of the source, uncompressed; 0 when unknown.
        unsent_bytes: the part of them that no earlier backup has stored, when the engine knows it.
        summary: lines for `--diff`.
        identity: the options that make two backups "the same" for `max_age`.
    """

    expected_bytes: int = 0
    summary: tuple[str, ...] = ()
    identity: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    unsent_bytes: int | None = None


@dataclass(frozen=True)
class RestorePlan:
    """What a restore would do, from a preflight that changed nothing.

    Attributes:
        summary: lines for `--diff`.
        changes: whether anything would change.
        live: what in-use thing would be replaced (a database name, a path), to be confirmed; None for scratch places.
    """

    summary: tuple[str, ...] = ()
    changes: bool = True
    live: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Proof:
    """What a restore was compared with.

    Attributes:
        level: of the fingerprint (`none` proves nothing).
        checked: number of things compared.
        differences: what is not as it was; empty when proved.
        details: engine's own findings (amcheck, invalid indexes, skipped checks with the reason).
    """

    level: str
    checked: int = 0
    differences: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def proved(self) -> bool:
        return self.checked > 0 and not self.differences and self.level not in ("none", "estimate")


class Engine(abc.ABC):
    """One kind of component. Constructed per run from validated options."""

    name: ClassVar[str]
    OPTIONS: ClassVar[Mapping[str, Any]]
    """Option spec (form of an Ansible argument spec) of where and what: shared by backup, restore and verify."""
    BACKUP_OPTIONS: ClassVar[Mapping[str, Any]] = {}
    """Options of a backup only."""
    RESTORE_OPTIONS: ClassVar[Mapping[str, Any]] = {}
    """Options of a restore only."""
    VERIFY_OPTIONS: ClassVar[Mapping[str, Any]] = {}
    """Options of a verification only."""

    def __init__(self, options: Mapping[str, Any], place: Place) -> None:
        self.options = options
        self.place = place

    @abc.abstractmethod
    def plan_backup(self) -> BackupPlan:
        """Preflight: everything that can be known to fail fails here, and nothing is touched."""

    @abc.abstractmethod
    def backup(self, run: BackupRun) -> None:
        """Store everything that a restore needs; return only when every tool said it succeeded."""

    @abc.abstractmethod
    def plan_restore(self, run: RestoreRun) -> RestorePlan:
        """Preflight of a restore: target, versions, room, roles, extensions. Nothing is touched."""

    def safety_options(self) -> Mapping[str, Any]:
        """After `plan_restore`: the options with which a backup holds what the restore would replace."""
        return {}

    @abc.abstractmethod
    def restore(self, run: RestoreRun) -> Proof:
        """Bring it back and prove it; undo everything on failure."""

    @abc.abstractmethod
    def verify_archive(self, run: RestoreRun) -> Mapping[str, Any]:
        """Read every artefact to its end with the tool that would restore it, into nowhere.

        Raises:
            Corrupted: it cannot be read.
        """

    @abc.abstractmethod
    def verify_restore(self, run: RestoreRun) -> Proof:
        """Restore into a private scratch place, compare, and remove it."""

    def close(self) -> None:  # noqa: B027 - optional: an engine may hold nothing open
        """Give back connections and child processes; called whatever happened."""
