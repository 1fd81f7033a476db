# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue: what exists, told by the repositories alone.

PRIVATE to the collection; may change without notice.

What a repository holds is its listing. Manifests never change, so what was read of them is kept on this host
(`_manifest_cache`); the result of a verification is in its key. With a warm cache nothing is read at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from .._errors import Corrupted, HoldfastError, NotFound, Unsupported
from .._manifest import (
    LEVELS,
    MANIFESTS,
    VERIFIED,
    Backup,
    BackupId,
    Verification,
    manifest_key,
    parse_time,
    utc_now,
)
from .._repositories._interface import Repository, StoredObject
from ._manifest_cache import ManifestCache, Summary

READERS = 12
"""Manifests read at once when they are not in the cache."""

SUFFIX = ".json"

BEFORE_RESTORE = "before-restore"
"""The set of the backups that a restore makes of what it replaces."""


def id_of_manifest(key: str) -> BackupId | None:
    """The backup that a key is the manifest of; `None` for a stranger's file."""
    if not key.endswith(SUFFIX):
        return None
    return BackupId.parse(key[len(MANIFESTS) : -len(SUFFIX)])


def backup_ids(repository: Repository) -> Iterator[BackupId]:
    """Ids of all committed backups, oldest first; a stranger's file among the manifests is passed over."""
    for item in repository.list(MANIFESTS):
        found = id_of_manifest(item.key)
        if found is not None:
            yield found


def load_backup(repository: Repository, backup_id: str) -> Backup:
    """One manifest.

    Raises:
        NotFound: there is no such backup here.
        Corrupted: its manifest cannot be read, or is another backup's.
    """
    try:
        data = repository.read(manifest_key(backup_id))
    except NotFound:
        raise NotFound(
            f"There is no backup {backup_id} in the repository {repository.name}.",
            stage="preflight",
            hint="backup_info lists what exists.",
        ) from None
    where = f"{manifest_key(backup_id)} in {repository.name}"
    backup = Backup.from_json(data, where=where)
    if backup.id != backup_id:
        raise Corrupted(f"{where} is the manifest of another backup ({backup.id}).")
    return backup


def select_backup(
    repository: Repository, backup_id: str = "latest", at: datetime | None = None, component: str | None = None
) -> Backup:
    """The backup that was asked for.

    Args:
        component: whose place in the repository it is, for the message when there is none.
        backup_id: an id, or `latest`, which passes over what a restore has saved before it replaced it.
        at: the newest backup whose data is of this moment or earlier; goes with `latest`.

    Raises:
        NotFound: there is none.
    """
    if backup_id != "latest":
        return load_backup(repository, backup_id)
    for found in sorted(backup_ids(repository), key=lambda each: each.text, reverse=True):
        if at is not None and found.time > at:
            continue
        backup = load_backup(repository, found.text)
        if at is None and _in_set(backup.set, BEFORE_RESTORE):
            continue  # else the same restore, run again, would bring back what it was to replace
        # The id tells when the run began; its data can be of a later moment than was asked for.
        if at is None or parse_time(backup.snapshot_at) <= at:
            return backup
    when = f" at or before {at.isoformat()}" if at else ""
    raise NotFound(
        f"The repository {repository.name} holds no committed backup of {component or 'this component'}{when}.",
        stage="preflight",
        hint="backup_info lists what exists; look at the component's spelling and the repository's prefix too.",
    )


@dataclass(frozen=True)
class VerificationState:
    """What the verifications of one backup say together.

    Attributes:
        level, at: the highest level that succeeded, and when it last did; None when none did.
        failed_level, failed_at: of the newest failure.
        failed: the newest verification is a failure: nothing earlier can be relied on.
    """

    level: str | None = None
    at: str | None = None
    failed_level: str | None = None
    failed_at: str | None = None
    failed: bool = False

    @classmethod
    def of(cls, verifications: Iterable[Verification]) -> VerificationState:
        by_time = sorted(verifications, key=lambda each: (each.time, not each.ok))  # in doubt, it failed
        good = [each for each in by_time if each.ok]
        bad = [each for each in by_time if not each.ok]
        best = max(good, key=lambda each: (LEVELS.index(each.level), each.time)) if good else None
        return cls(
            best.level if best else None,
            best.time if best else None,
            bad[-1].level if bad else None,
            bad[-1].time if bad else None,
            bool(by_time) and not by_time[-1].ok,
        )

    def reaches(self, level: str) -> bool:
        """Whether a verification of at least this level succeeded."""
        return self.level is not None and LEVELS.index(self.level) >= LEVELS.index(level)


@dataclass
class Holdings:
    """What one repository holds of a component.

    Attributes:
        clock: the store's own time.
        backups: readable ones by id, newest first.
        unreadable: id → why its manifest cannot be read.
        future: ids later than the store's clock: whose clock is wrong cannot be told from here.
        foreign: keys among the manifests that are none.
    """

    repository: str
    clock: datetime
    backups: dict[str, Summary] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    future: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    verifications: dict[str, list[Verification]] = field(default_factory=dict)

    @property
    def ids(self) -> list[str]:
        """All committed backups, readable or not, newest first."""
        return sorted({*self.backups, *self.unreadable}, reverse=True)

    def state(self, backup_id: str) -> VerificationState:
        return VerificationState.of(self.verifications.get(backup_id, ()))

    def warnings(self) -> list[str]:
        """What an operator should know."""
        said = [f"{self.repository}: {why}" for why in self.unreadable.values()]
        said += [
            f"{self.repository}: backup {one} is later than the store's clock "
            f"({self.clock.strftime('%Y-%m-%dT%H:%M:%SZ')}); a clock is wrong."
            for one in self.future
        ]
        if self.foreign:
            said.append(f"{self.repository}: these files are no manifests: {', '.join(self.foreign[:5])}.")
        return said


def read_holdings(repository: Repository, cache: ManifestCache | None = None, *, verified: bool = True) -> Holdings:
    """Everything that a repository holds of a component.

    Args:
        cache: what this host knows of the manifests already; brought up to date.
        verified: list the verifications as well.

    Raises:
        HoldfastError: it cannot be listed, or a manifest cannot be read for another reason than what is in it.
    """
    with ThreadPoolExecutor(3, thread_name_prefix="list") as pool:
        clock = pool.submit(repository.clock)
        listing = pool.submit(lambda: list(repository.list(MANIFESTS)))
        verifications = pool.submit(lambda: list(repository.list(VERIFIED)) if verified else [])
        holdings = Holdings(repository.name, clock.result())
        by_id: dict[str, StoredObject] = {}
        foreign = []
        for item in listing.result():
            found = id_of_manifest(item.key)
            if found is None:
                foreign.append(item.key)
            else:
                by_id[found.text] = item
        holdings.foreign = tuple(foreign)
        now = holdings.clock.astimezone(timezone.utc)
        late = [BackupId.parse(one) for one in by_id if one[:15] >= now.strftime("%Y%m%dT%H%M%S")]
        holdings.future = tuple(
            each.text for each in late if each is not None and (each.time - now).total_seconds() > 1
        )
        _read_manifests(repository, by_id, holdings, cache)
        for item in verifications.result():
            result = Verification.from_key(item.key)
            if result is not None:
                holdings.verifications.setdefault(result.backup_id, []).append(result)
    return holdings


def _read_manifests(
    repository: Repository, by_id: Mapping[str, StoredObject], holdings: Holdings, cache: ManifestCache | None
) -> None:
    known = cache.load(by_id) if cache is not None else {}
    wanted = [one for one in by_id if one not in known]

    def read(backup_id: str) -> tuple[str, Summary | None, str]:
        try:
            return backup_id, Summary.of(load_backup(repository, backup_id)), ""
        except NotFound:  # pruned since the listing
            return backup_id, None, ""
        except (Corrupted, Unsupported) as error:
            return backup_id, None, str(error)

    if wanted:
        with ThreadPoolExecutor(READERS, thread_name_prefix="manifest") as pool:
            for backup_id, summary, why in pool.map(read, wanted):
                if summary is not None:
                    known[backup_id] = summary
                elif why:
                    holdings.unreadable[backup_id] = why
    if cache is not None:
        cache.save({one: (by_id[one], summary) for one, summary in known.items()}, changed=bool(wanted))
    holdings.backups = {one: known[one] for one in sorted(known, reverse=True)}


@dataclass(frozen=True)
class Copy:
    """A backup in one repository."""

    repository: str
    readable: bool
    verification: VerificationState


@dataclass(frozen=True)
class CatalogueEntry:
    """A backup over all repositories. `summary` is None when no copy of its manifest can be read."""

    id: str
    time: datetime
    summary: Summary | None
    copies: tuple[Copy, ...]
    missing: tuple[str, ...]
    future: bool

    @property
    def verification(self) -> VerificationState:
        """The best that is known of any copy; failed when every copy that was verified is."""
        states = [copy.verification for copy in self.copies]
        good = [state for state in states if not state.failed and state.level is not None]
        best = max(good, key=lambda state: (LEVELS.index(state.level or ""), state.at or ""), default=None)
        bad = max((state for state in states if state.failed_at), key=lambda each: each.failed_at or "", default=None)
        return VerificationState(
            best.level if best else None,
            best.at if best else None,
            bad.failed_level if bad else None,
            bad.failed_at if bad else None,
            best is None and any(state.failed for state in states),
        )


@dataclass
class Catalogue:
    """Backups of a component, newest first, and what was found out on the way."""

    entries: list[CatalogueEntry]
    holdings: dict[str, Holdings]
    unreachable: dict[str, HoldfastError]
    total: int
    warnings: list[str]


def catalogue(
    repositories: Sequence[Repository],
    cache_of: Callable[[Repository], ManifestCache | None],
    *,
    stamp: str | None = None,
    at: datetime | None = None,
    limit: int | None = None,
) -> Catalogue:
    """The backups of a component over all repositories.

    Args:
        cache_of: the local cache of a repository.
        stamp: only backups of this set, named with its stamp (`omnidoc@20261122T020000Z`) or without.
        at: only backups whose data is of this moment or earlier.
        limit: only so many, the newest.

    Raises:
        HoldfastError: no repository could be read; the first one's reason.
    """
    found: dict[str, Holdings] = {}
    unreachable: dict[str, HoldfastError] = {}
    with ThreadPoolExecutor(len(repositories), thread_name_prefix="catalogue") as pool:
        pending = [(each, pool.submit(read_holdings, each, cache_of(each))) for each in repositories]
        for repository, future in pending:
            try:
                found[repository.name] = future.result()
            except HoldfastError as error:
                unreachable[repository.name] = error.at("catalogue")
    if not found:
        raise next(iter(unreachable.values()))
    entries = [_entry(one, found) for one in sorted({one for each in found.values() for one in each.ids}, reverse=True)]
    total = len(entries)
    if stamp is not None:
        entries = [each for each in entries if each.summary is not None and _in_set(each.summary.set, stamp)]
    if at is not None:
        entries = [each for each in entries if _moment(each) <= at]
    warnings = [line for each in found.values() for line in each.warnings()]
    warnings += [f"The repository {name} could not be read: {error}" for name, error in unreachable.items()]
    return Catalogue(entries if limit is None else entries[:limit], found, unreachable, total, warnings)


def _entry(backup_id: str, found: Mapping[str, Holdings]) -> CatalogueEntry:
    holders = [each for each in found.values() if backup_id in each.backups or backup_id in each.unreadable]
    parsed = BackupId.parse(backup_id)
    return CatalogueEntry(
        backup_id,
        parsed.time if parsed else utc_now(),
        next((each.backups[backup_id] for each in holders if backup_id in each.backups), None),
        tuple(Copy(each.repository, backup_id in each.backups, each.state(backup_id)) for each in holders),
        tuple(name for name, each in found.items() if each not in holders),
        all(backup_id in each.future for each in holders),
    )


def _in_set(of_backup: str | None, wanted: str) -> bool:
    return of_backup is not None and wanted in (of_backup, of_backup.rpartition("@")[0])


def _describe_state(state: VerificationState) -> dict[str, Any]:
    return {
        "verified": {"level": state.level, "at": state.at} if state.level else None,
        "last_failure": {"level": state.failed_level, "at": state.failed_at} if state.failed_level else None,
    }


def _moment(entry: CatalogueEntry) -> datetime:
    return parse_time(entry.summary.snapshot_at) if entry.summary is not None else entry.time


def describe_entry(entry: CatalogueEntry, component: str, now: datetime) -> dict[str, Any]:
    """A backup as backup_info returns it."""
    summary = entry.summary
    result: dict[str, Any] = {
        "backup_id": entry.id,
        "component": component,
        "repositories": [copy.repository for copy in entry.copies],
        "missing_in": list(entry.missing),
        "age_seconds": round((now - _moment(entry)).total_seconds()),
        "in_future": entry.future,
        "readable": summary is not None,
        **_describe_state(entry.verification),
        "copies": [
            {"repository": copy.repository, "readable": copy.readable, **_describe_state(copy.verification)}
            for copy in entry.copies
        ],
        "restore": f"ansible-playbook holdfast.ops.restore -e holdfast_component={component} "
        f"-e holdfast_backup_id={entry.id}",
    }
    if summary is not None:
        result.update(
            engine=summary.engine,
            host=summary.host,
            set=summary.set,
            started_at=summary.started_at,
            snapshot_at=summary.snapshot_at,
            finished_at=summary.finished_at,
            stored_bytes=summary.size + summary.blob_size,
            bytes=summary.source_size,
            blobs=summary.blobs,
            blob_bytes=summary.blob_size,
            encryption=summary.encryption,
            fingerprint=summary.fingerprint,
            by_hand=list(summary.by_hand),
        )
    return result
