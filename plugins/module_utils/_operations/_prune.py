# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb prune: delete what retention does not keep, and what killed runs have left.

PRIVATE to the collection; may change without notice.

Which backups go is decided by `_retention`, pure. Here is the order of things, which makes a prune safe to kill at
any moment: the manifest goes first, so what remains of a backup is an orphan that the next prune sweeps; blobs are
marked in one run and deleted in a later one, when every backup that could have relied on them has committed or
given up. Everything that could turn out to be needed is listed *before* the manifests that could need it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from .._durations import counted
from .._errors import AlreadyExists, Corrupted, HoldfastError, NotFound, PermissionDenied, Unsupported
from .._manifest import (
    BLOBS,
    DATA,
    PRUNE_MARKS,
    RUNNING,
    BackupId,
    blob_of_mark,
    manifest_key,
    mark_key,
    rfc3339,
)
from .._progress import Progress
from .._repositories._interface import Hold, Repository, StoredObject
from .._retention import DELETE, BlobPlan, Candidate, OrphanPlan, Plan, Policy, blob_plan, orphan_plan, plan
from .._stream._codec import Identity
from .._stream._read import ArtefactReader
from ._blobs import read_references
from ._catalogue import READERS, Holdings, load_backup, read_holdings
from ._lease import Lease, leased
from ._manifest_cache import ManifestCache

VERIFIED_LEVEL = "checksum"
"""Level that a verification must have reached for a backup to count, unless the user says otherwise."""


@dataclass(frozen=True)
class PruneSettings:
    """How to prune.

    Attributes:
        verified_level: level from which on a backup counts as verified.
        blob_grace: time between the mark on a blob and its deletion.
        max_runtime: a backup that has not committed by then never will.
    """

    component: str
    state_dir: str
    policy: Policy
    verified_level: str = VERIFIED_LEVEL
    blob_grace: timedelta = timedelta(days=7)
    max_runtime: timedelta = timedelta(days=6)
    check: bool = False


@dataclass
class PruneResult:
    """What became of one repository; in check mode, what would."""

    repository: str
    plan: Plan
    deleted: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    """Backups that the store refused to delete (Object Lock, for one), and its reason. They are still complete."""
    orphans: list[str] = field(default_factory=list)
    markers: list[str] = field(default_factory=list)
    blobs: BlobPlan = field(default_factory=BlobPlan)
    uploads: list[str] = field(default_factory=list)
    freed_bytes: int = 0
    left: int = 0
    verified: int = 0
    warnings: list[str] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        blobs = self.blobs.mark or self.blobs.delete or self.blobs.unmark
        return bool(self.deleted or self.orphans or self.markers or blobs or self.uploads)


@dataclass
class _Survey:
    """All that a repository holds, as far as prune cares."""

    now: datetime
    blobs: dict[str, StoredObject]
    marks: dict[str, datetime]
    data: dict[str, list[StoredObject]]
    running: dict[str, datetime]
    holdings: Holdings
    plan: Plan
    orphans: OrphanPlan


def prune(repository: Repository, settings: PruneSettings, progress: Progress) -> PruneResult:
    """Prune one repository. In check mode nothing is written, and the result tells what would be done.

    Raises:
        Locked: somebody else prunes it.
        Unsupported: the store has no conditional put, and `single_pruner` is not set.
        HoldfastError: it could not be read completely, or a step failed; what was done is complete in itself.
    """
    progress.stage(f"prune {repository.name}")
    rights = ("write", "list", "read", "delete")
    repository.probe(rights, write=not settings.check)
    try:
        if settings.check:
            return _Pruning(repository, settings, None).execute()
        with leased(repository) as lease:
            return _Pruning(repository, settings, lease).execute()
    except HoldfastError as error:
        raise error.at("prune") from None


class _Pruning:
    """One repository being pruned. Without a lease it only plans."""

    def __init__(self, repository: Repository, settings: PruneSettings, lease: Lease | None) -> None:
        self._repository = repository
        self._settings = settings
        self._lease = lease

    def execute(self) -> PruneResult:
        survey = self._survey()
        result = PruneResult(self._repository.name, survey.plan, warnings=list(survey.plan.warnings))
        result.warnings += [line for line in survey.holdings.warnings() if "store's clock" not in line]
        self._delete_backups(survey, result)
        if survey.data and not survey.holdings.ids:
            result.warnings.append(
                f"{self._repository.name} holds data and not a single manifest: nothing is swept, because manifests "
                "that were lost look the same as backups that never ended."
            )
        else:
            self._sweep(survey, result)
            self._prune_blobs(survey, result)
            self._sweep_uploads(survey, result)
        gone = set(result.deleted)
        result.left = len(survey.holdings.ids) - len(gone)
        result.verified = sum(self._counts(survey.holdings, one) for one in survey.holdings.backups if one not in gone)
        return result

    # -- looking --------------------------------------------------------------------------------------------------

    def _survey(self) -> _Survey:
        list_all = self._repository.list
        blobs = {item.key: item for item in list_all(BLOBS)}
        marks = {blob_of_mark(item.key): item.modified for item in list_all(PRUNE_MARKS)}
        data = _by_backup(list_all(DATA))
        running = {item.key[len(RUNNING) :]: item.modified for item in list_all(RUNNING)}
        running = {name: moment for name, moment in running.items() if BackupId.parse(name)}
        settings = self._settings
        cache = ManifestCache(
            settings.state_dir, settings.component, self._repository.name, writable=not settings.check
        )
        holdings = read_holdings(self._repository, cache)
        now = holdings.clock
        orphans = orphan_plan(
            data={one: max(item.modified for item in items) for one, items in data.items()},
            manifests=holdings.ids,
            running=running,
            now=now,
            max_runtime=settings.max_runtime,
        )
        # An unreadable backup is no candidate: it neither counts nor goes before somebody has looked at it.
        candidates = [
            self._candidate(holdings, parsed)
            for parsed in (BackupId.parse(one) for one in holdings.backups)
            if parsed is not None
        ]
        return _Survey(now, blobs, marks, data, running, holdings, self._plan(candidates, now), orphans)

    def _plan(self, candidates: Sequence[Candidate], now: datetime) -> Plan:
        """Plan; what would go is looked at in the store, which may keep it, and then planned again."""
        first = plan(candidates, self._settings.policy, now)
        holds = self._holds(first.ids(DELETE))
        kept = [
            replace(each, locked_until=holds[each.id].until, held=holds[each.id].legal) if each.id in holds else each
            for each in candidates
        ]
        return plan(kept, self._settings.policy, now)

    def _holds(self, ids: Sequence[str]) -> dict[str, Hold]:
        """What keeps each backup: that of its manifest, which is written last and deleted first."""
        if not ids:
            return {}
        with ThreadPoolExecutor(READERS, thread_name_prefix="hold") as pool:
            return dict(zip(ids, pool.map(lambda one: self._repository.hold(manifest_key(one)), ids)))

    def _candidate(self, holdings: Holdings, backup: BackupId) -> Candidate:
        state = holdings.state(backup.text)
        return Candidate(backup.text, backup.time, state.reaches(self._settings.verified_level), state.failed)

    def _counts(self, holdings: Holdings, backup_id: str) -> bool:
        state = holdings.state(backup_id)
        return state.reaches(self._settings.verified_level) and not state.failed

    # -- deleting -------------------------------------------------------------------------------------------------

    def _delete(self, keys: Sequence[str]) -> None:
        """Delete, unless this is check mode or the lease is lost."""
        if self._lease is not None and keys:
            self._lease.keep()
            self._repository.delete(keys)

    def _delete_backups(self, survey: _Survey, result: PruneResult) -> None:
        for backup_id in reversed(survey.plan.ids(DELETE)):  # the oldest first
            try:
                self._delete([manifest_key(backup_id)])
            except PermissionDenied as error:
                result.skipped[backup_id] = str(error)
                result.warnings.append(f"{backup_id} was not deleted: {error}")
                continue
            result.deleted.append(backup_id)
            self._delete_remains(backup_id, survey, result)

    def _delete_remains(self, backup_id: str, survey: _Survey, result: PruneResult) -> None:
        """What a backup consists of beside its manifest. What the store keeps locked is left to a later sweep."""
        objects = survey.data.get(backup_id, [])
        keys = [item.key for item in objects]
        keys += [each.key() for each in survey.holdings.verifications.get(backup_id, ())]
        keys += [RUNNING + backup_id] if backup_id in survey.running else []
        try:
            self._delete(keys)
        except PermissionDenied as error:
            result.warnings.append(f"Objects of {backup_id} are left for a later prune: {error}")
        else:
            result.freed_bytes += sum(item.size for item in objects)

    def _sweep(self, survey: _Survey, result: PruneResult) -> None:
        for backup_id in survey.orphans.sweep:
            if self._revived(backup_id, survey):
                continue
            self._delete_remains(backup_id, survey, result)
            result.orphans.append(backup_id)
        stale: list[str] = [
            one for one in survey.orphans.stale_markers if one not in (*result.deleted, *result.orphans)
        ]
        self._delete([RUNNING + one for one in stale])
        result.markers = stale
        alive = {*survey.holdings.ids, *survey.data}
        self._delete(
            [
                each.key()
                for backup_id, verifications in survey.holdings.verifications.items()
                if backup_id not in alive
                for each in verifications
            ]
        )

    def _revived(self, backup_id: str, survey: _Survey) -> bool:
        """Whether somebody has begun to copy this very backup here since the survey."""
        markers = [item.modified for item in self._repository.list(RUNNING + backup_id)]
        fresh = any(moment != survey.running.get(backup_id) for moment in markers)
        return fresh or any(True for _item in self._repository.list(manifest_key(backup_id)))

    def _sweep_uploads(self, survey: _Survey, result: PruneResult) -> None:
        if self._lease is None:
            return
        try:
            self._lease.keep()
            result.uploads = list(self._repository.sweep_uploads("", survey.now - self._settings.max_runtime))
        except (PermissionDenied, Unsupported) as error:
            result.warnings.append(f"Incomplete uploads were not swept: {error}")

    # -- blobs ----------------------------------------------------------------------------------------------------

    def _prune_blobs(self, survey: _Survey, result: PruneResult) -> None:
        if not survey.blobs and not survey.marks:
            return
        if survey.holdings.unreadable:
            result.warnings.append(
                f"No blob is deleted in {self._repository.name}: what the unreadable backups need is unknown."
            )
            return
        try:
            referenced = self._referenced(survey.holdings, result.deleted)
        except Corrupted as error:
            result.warnings.append(f"No blob is deleted in {self._repository.name}: {error}")
            return
        blobs = blob_plan(
            referenced=referenced,
            blobs={key: item.modified for key, item in survey.blobs.items()},
            marks=survey.marks,
            now=survey.now,
            grace=self._settings.blob_grace,
            max_runtime=self._settings.max_runtime,
        )
        if blobs.missing:
            result.warnings.append(
                f"{self._repository.name} lacks {counted(len(blobs.missing), 'blob')} that backups refer to, "
                f"{blobs.missing[0]} for one: verify those backups."
            )
        self._mark(blobs.mark, survey.now)
        self._delete([mark_key(key) for key in blobs.unmark])
        try:
            self._delete(blobs.delete)
        except PermissionDenied as error:
            result.warnings.append(f"Blobs are left for a later prune: {error}")
        else:
            self._delete([mark_key(key) for key in blobs.delete])
            result.freed_bytes += sum(survey.blobs[key].size for key in blobs.delete)
        result.blobs = blobs

    def _referenced(self, holdings: Holdings, gone: Iterable[str]) -> set[str]:
        """Keys of all blobs that the remaining backups need.

        Raises:
            Corrupted: a list of references is damaged or missing.
        """
        reader = ArtefactReader(self._repository, Identity())
        needed: set[str] = set()
        gone = set(gone)
        for backup_id, summary in holdings.backups.items():
            if not summary.has_references or backup_id in gone:
                continue
            try:
                backup = load_backup(self._repository, backup_id)
            except NotFound as error:  # nobody but us may delete it
                raise Corrupted(f"The manifest of {backup_id} vanished during the prune.") from error
            for reference in read_references(reader, backup):
                needed.update(part.key for part in reference.objects)
        return needed

    def _mark(self, keys: Sequence[str], now: datetime) -> None:
        for key in keys:
            if self._lease is None:
                return
            self._lease.keep()
            document = json.dumps({"blob": key, "marked": rfc3339(now)}).encode()
            try:
                self._repository.put(mark_key(key), document, hashlib.sha256(document).digest())
            except AlreadyExists:
                continue  # an earlier prune's, or a retry of ours


def _by_backup(items: Iterable[StoredObject]) -> dict[str, list[StoredObject]]:
    """Objects below `data/` by backup id; a stranger's file is nobody's and stays."""
    found: dict[str, list[StoredObject]] = {}
    for item in items:
        parts = item.key[len(DATA) :].split("/")
        if len(parts) > 4 and BackupId.parse(parts[3]) is not None:
            found.setdefault(parts[3], []).append(item)
    return found


def plan_lines(result: PruneResult) -> tuple[list[str], list[str]]:
    """The plan as a diff: lines before and after, one a backup with its reasons."""
    diff = result.plan.diff()
    before = [f"{result.repository}: {line}" for line in diff["before"].splitlines()]
    after = [f"{result.repository}: {line}" for line in diff["after"].splitlines()]
    before += [f"{result.repository}: {one}  sweep: left by a run that never committed" for one in result.orphans]
    blobs: Mapping[str, int] = {
        "to be marked for deletion": len(result.blobs.mark),
        "no longer to be deleted": len(result.blobs.unmark),
    }
    after += [f"{result.repository}: {counted(count, 'blob')} {what}" for what, count in blobs.items() if count]
    if result.blobs.delete:
        before.append(f"{result.repository}: {counted(len(result.blobs.delete), 'unreferenced blob')}")
    return before, after
