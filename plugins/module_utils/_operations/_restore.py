# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb restore: bring a backup back, proved, or leave everything as it was.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Callable

from .._engines._interface import Engine, Place, Proof, RestorePlan
from .._errors import HoldfastError, Interrupted, InvalidOption, Refused
from .._locks import host_lock
from .._manifest import Artefact, Backup, utc_now
from .._progress import Progress
from .._repositories._interface import Repository
from .._stream._codec import Identity
from .._stream._read import ArtefactReader
from ._backup import scratch_directory
from ._blobs import ReferenceTable
from ._catalogue import select_backup
from ._services import stopped_services

Hook = Callable[[Backup], Mapping[str, Any]]


@dataclass(frozen=True)
class RestoreSettings:
    """How a restore is made, whatever the engine.

    Attributes:
        backup_id: an id or `latest`.
        at: with `latest`: the newest backup of this moment or earlier.
        confirm: the name of the live thing that may be replaced.
        services: stopped before a live target is replaced and started again whatever happens.
    """

    component: str
    state_dir: str
    identity: Identity = field(default_factory=Identity)
    backup_id: str = "latest"
    at: datetime | None = None
    confirm: str | None = None
    services: tuple[str, ...] = ()
    lock_wait: float = 0.0
    check: bool = False


@dataclass
class RestoreResult:
    """What became of a restore."""

    changed: bool
    message: str
    backup: Backup
    plan: RestorePlan
    repository: str
    proof: Proof | None = None
    safety_backup: Mapping[str, Any] | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


class Reading:
    """One backup being read; implements `RestoreRun` for the engine."""

    def __init__(
        self, backup: Backup, repository: Repository, identity: Identity, place: Place, progress: Progress
    ) -> None:
        self.backup = backup
        self.place = place
        self.progress = progress
        self.reader = ArtefactReader(repository, identity, progress.add)
        self.warnings: list[str] = []
        self._references = ReferenceTable(self.reader, backup)

    def fingerprint(self) -> Mapping[str, Any] | None:
        artefact = self.backup.artefact("fingerprint")
        if artefact is None:
            return None
        document: Mapping[str, Any] = json.loads(self.reader.read_bytes(artefact))
        return document

    def read_blob(self, name: str) -> Artefact:
        return self._references.artefact(name)

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    @contextlib.contextmanager
    def scratch(self, owner: str | None = None) -> Iterator[str]:
        with scratch_directory(self.place, self.backup.id, owner) as path:
            yield path


def open_backup(
    engine_name: str,
    repositories: Sequence[Repository],
    settings: RestoreSettings,
    warn: Callable[[str], object] = lambda text: None,
) -> tuple[Backup, Repository]:
    """The backup that was asked for, from the first repository that has it and can be read.

    The latest is the newest of all repositories: the first one may lack what the others have.

    Args:
        warn: told of each repository that could not be asked or does not have it.

    Raises:
        HoldfastError: the first repository's reason, when none has it.
    """
    found: list[tuple[Backup, Repository]] = []
    failures: dict[str, HoldfastError] = {}
    for repository in repositories:
        try:
            found.append((select_backup(repository, settings.backup_id, settings.at, settings.component), repository))
        except Interrupted:
            raise
        except HoldfastError as error:
            failures[repository.name] = error.at("preflight")
            continue
        if settings.backup_id != "latest":
            break
    if not found:
        raise next(iter(failures.values()))
    backup, chosen = max(found, key=lambda each: each[0].id)  # the first repository of those that have it
    if backup.engine != engine_name:
        raise InvalidOption(
            f"{backup.id} was made by the engine {backup.engine}, not {engine_name}.", stage="preflight"
        )
    for name, failure in failures.items():
        warn(f"{backup.id} is taken from {chosen.name}; {name} was passed over: {failure}")
    return backup, chosen


def restore(
    engine: Engine,
    repositories: Sequence[Repository],
    settings: RestoreSettings,
    progress: Progress,
    safety_backup: Hook | None = None,
) -> RestoreResult:
    """Restore a component.

    Args:
        safety_backup: makes a backup of what will be replaced, first; its result is returned.

    Raises:
        Refused: the target is live and `confirm` does not name it.
        HoldfastError: nothing was changed.
    """
    progress.stage("preflight")
    passed_over: list[str] = []
    backup, repository = open_backup(engine.name, repositories, settings, passed_over.append)
    method = str(backup.encryption.get("method", "none"))
    settings.identity.check(method)
    run = Reading(backup, repository, settings.identity, engine.place, progress)
    plan = engine.plan_restore(run)
    result = RestoreResult(plan.changes, "Nothing to restore.", backup, plan, repository.name)
    result.warnings += [*passed_over, *plan.warnings]
    if not plan.changes:
        return result
    if settings.check:
        result.message = f"{backup.id} would be restored."
        return result
    guard(plan, settings.confirm)
    with host_lock(settings.state_dir, settings.component, "restore", settings.lock_wait):
        if safety_backup is not None and plan.live is not None:
            progress.stage("safety backup")
            result.safety_backup = safety_backup(backup)
        services = settings.services if plan.live is not None else ()
        with stopped_services(services, progress):
            progress.stage("restore", backup.size or None)
            try:
                result.proof = engine.restore(run)
            except HoldfastError as error:
                raise error.at(progress.name) from None
    progress.stage("done")
    age = (utc_now() - datetime.fromisoformat(backup.snapshot_at.replace("Z", "+00:00"))).total_seconds()
    proved = "proved equal to its fingerprint" if result.proof.proved else "not proved (no fingerprint to compare with)"
    result.message = f"{backup.id} is restored and {proved}; its data is {age:.0f} s old."
    result.seconds = dict(progress.seconds)
    result.warnings += run.warnings
    return result


def guard(plan: RestorePlan, confirm: str | None) -> None:
    """Stop before something in use is replaced without having been named."""
    if plan.live is not None and confirm != plan.live:
        given = "confirm names something else" if confirm else "confirm is not set"
        raise Refused(
            f"{plan.live!r} is live and would be replaced; {given}.",
            stage="preflight",
            hint=f"Set confirm: {plan.live!r} to allow it, or restore beside it under another name.",
        )
