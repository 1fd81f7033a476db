# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb verify: is what was stored still there, whole, readable, and does it bring back what was dumped?

PRIVATE to the collection; may change without notice.

Levels, each of which includes those before it, cheap ones first: `stat` compares keys and sizes with a listing,
`checksum` reads and hashes every stored byte, `archive` reads every artefact with the tool that would restore it,
`restore` restores into a scratch place and compares with the fingerprint. Only a finding about the *backup* is
recorded as a failed verification; what keeps us from looking (network, rights, key, room) is an error of this run.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._engines._interface import Engine, Place, Proof
from .._errors import (
    AlreadyExists,
    Corrupted,
    HoldfastError,
    InternalError,
    Interrupted,
    InvalidOption,
    NotFound,
    NotProved,
    PermissionDenied,
    Unsupported,
)
from .._locks import private_directory
from .._manifest import (
    BLOBS,
    LEVELS,
    VERIFIED,
    Backup,
    BackupId,
    StoredPart,
    Verification,
    data_prefix,
    manifest_key,
    parse_time,
    rfc3339,
    utc_now,
)
from .._progress import Progress
from .._repositories._interface import Repository
from .._stream._codec import Identity
from .._stream._read import ArtefactReader
from ._blobs import read_references
from ._catalogue import VerificationState, backup_ids, load_backup
from ._checksum import check_objects
from ._restore import Reading
from ._tables import Sizes, short_key

LATEST, ALL, UNVERIFIED = "latest", "all", "unverified"

EngineFactory = Callable[[str], Engine]
"""Makes the engine of a name, for the levels `archive` and `restore`."""


@dataclass(frozen=True)
class VerifySettings:
    """How to verify.

    Attributes:
        level: how much is proved.
        which: a backup id, `latest`, `all`, or `unverified` (those without a good verification of this level).
    """

    component: str
    place: Place
    level: str = "checksum"
    which: str = LATEST
    identity: Identity = field(default_factory=Identity)
    check: bool = False


@dataclass
class Finding:
    """What was found out about one backup in one repository.

    Attributes:
        level: the highest level that succeeded, or the one that failed; None in check mode.
        problems: what is wrong, each naming the object; empty when ok.
        shortfall: why it is sound as far as it was looked at, and the level that was asked for is not reached.
        recorded: a verification object was written.
    """

    repository: str
    backup_id: str
    level: str | None
    ok: bool
    problems: list[str] = field(default_factory=list)
    shortfall: str | None = None
    seconds: float = 0.0
    stored_bytes: int = 0
    recorded: bool = False
    proof: Proof | None = None
    restore_seconds: float | None = None
    data_age_seconds: float | None = None
    details: dict[str, Any] = field(default_factory=dict)


@dataclass
class VerifyResult:
    """What became of a verification.

    Attributes:
        held: how many backups the repositories listed (not when one is named by its id).
        skipped: backups that a prune deleted meanwhile, as `repository: id`.
        errors: repository → what kept us from looking, or from looking further.
    """

    findings: list[Finding] = field(default_factory=list)
    held: int = 0
    errors: dict[str, HoldfastError] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def failed(self) -> list[Finding]:
        """Backups that are not sound."""
        return [each for each in self.findings if not each.ok]

    @property
    def short(self) -> list[Finding]:
        """Backups that are sound as far as could be told, which is not as far as was asked."""
        return [each for each in self.findings if each.ok and each.shortfall]


def verify(
    repositories: Sequence[Repository], settings: VerifySettings, make_engine: EngineFactory, progress: Progress
) -> VerifyResult:
    """Verify backups in every repository given.

    A backup that is not sound is a finding, recorded beside its manifest, and a repository that cannot be looked at is
    an entry in `errors`: neither keeps the rest from being verified, and it is for the caller to fail.

    Raises:
        NotFound: no repository has such a backup, or any.
        InvalidOption: `which` makes no sense.
    """
    if settings.which not in (LATEST, ALL, UNVERIFIED) and BackupId.parse(settings.which) is None:
        raise InvalidOption(
            f"backup_id {settings.which!r} is no backup id, and not {LATEST}, {ALL} or {UNVERIFIED}.",
            stage="preflight",
        )
    result = VerifyResult()
    for repository in repositories:
        try:
            _InRepository(repository, settings, make_engine, progress, result).run()
        except Interrupted:
            raise
        except HoldfastError as error:
            result.errors[repository.name] = error.at(f"verify {repository.name}")
    _require_one(result, settings)
    return result


def _require_one(result: VerifyResult, settings: VerifySettings) -> None:
    """Where there is no backup at all, nothing is proved; that all there are were verified before is a success. An id
    that no repository has was mistyped; one that some have is a missing copy in the others, and a finding."""
    if result.held or result.skipped or result.errors or any(each.problems != [_ABSENT] for each in result.findings):
        return
    named = settings.which not in (LATEST, ALL, UNVERIFIED)
    raise NotFound(
        f"No repository holds {f'the backup {settings.which}' if named else 'any backup of this component'}.",
        stage="preflight",
        hint="backup_info lists what exists.",
    )


_ABSENT = "the backup is missing here"


class _Vanished(Exception):
    """The backup was pruned while we were looking at it."""


class _InRepository:
    """Verifications in one repository."""

    def __init__(
        self,
        repository: Repository,
        settings: VerifySettings,
        make_engine: EngineFactory,
        progress: Progress,
        result: VerifyResult,
    ) -> None:
        self._repository = repository
        self._settings = settings
        self._make_engine = make_engine
        self._progress = progress
        self._result = result
        self._reader = ArtefactReader(repository, settings.identity)
        self._blobs: Sizes | None = None
        self._verifications: dict[str, list[Verification]] | None = None
        self._proved: set[bytes] = set()
        """Short keys of blobs whose checksum was compared already: backups share them."""

    def run(self) -> None:
        chosen = self._choose()
        if self._deep and not self._settings.check:
            self._require_identity(chosen)
        for backup_id in chosen:
            try:
                finding = self._verify(backup_id)
            except _Vanished:
                self._result.skipped.append(f"{self._repository.name}: {backup_id}")
                continue
            self._result.findings.append(finding)
            if finding.level is not None and finding.problems != [_ABSENT]:
                self._record(finding, finding.level)

    @property
    def _deep(self) -> bool:
        """Whether the content is read, not only its stored bytes."""
        return LEVELS.index(self._settings.level) >= LEVELS.index("archive")

    def _choose(self) -> list[str]:
        """The ids to verify here, newest first."""
        which = self._settings.which
        if which not in (LATEST, ALL, UNVERIFIED):
            return [which]
        ids = sorted((each.text for each in backup_ids(self._repository)), reverse=True)
        self._result.held += len(ids)
        if not ids:
            self._result.warnings.append(f"{self._repository.name} holds no backup of this component.")
        if which == LATEST:
            return ids[:1]
        return ids if which == ALL else [each for each in ids if not self._is_verified(each)]

    def _is_verified(self, backup_id: str) -> bool:
        if self._verifications is None:
            self._verifications = {}
            for item in self._repository.list(VERIFIED):
                found = Verification.from_key(item.key)
                if found is not None:
                    self._verifications.setdefault(found.backup_id, []).append(found)
        state = VerificationState.of(self._verifications.get(backup_id, ()))
        return state.reaches(self._settings.level) and not state.failed

    def _require_identity(self, chosen: Iterable[str]) -> None:
        """Refuse before hours of reading what cannot be read at all."""
        for backup_id in chosen:
            try:
                backup = load_backup(self._repository, backup_id)
            except (NotFound, Corrupted, Unsupported):
                continue  # the verification says it better
            self._settings.identity.check(str(backup.encryption.get("method", "none")))

    # -- one backup -----------------------------------------------------------------------------------------------

    def _verify(self, backup_id: str) -> Finding:
        begun = time.monotonic()
        finding = Finding(self._repository.name, backup_id, None, True)
        self._progress.stage(f"verify {self._repository.name}")
        steps: Mapping[str, Callable[[Backup, Finding], None]] = {
            "stat": self._stat,
            "checksum": self._checksum,
            "archive": self._archive,
            "restore": self._restore,
        }
        level = LEVELS[0]
        try:
            backup = load_backup(self._repository, backup_id)
            finding.stored_bytes = backup.size + int(backup.references.get("size", 0))
            if self._settings.check:
                return finding
            for level in LEVELS[: LEVELS.index(self._settings.level) + 1]:
                self._progress.stage(f"{level} {self._repository.name}", finding.stored_bytes or None)
                steps[level](backup, finding)
                if finding.problems or finding.shortfall:
                    break
                finding.level = level
        except NotFound:
            if self._settings.which != backup_id:
                raise _Vanished from None
            finding.problems = [_ABSENT]
        except (Corrupted, NotProved) as error:
            finding.problems.append(str(error))
        if finding.problems:
            if finding.problems != [_ABSENT] and not self._still_there(backup_id):
                raise _Vanished
            finding.ok, finding.level = False, level
        finding.seconds = time.monotonic() - begun
        return finding

    def _still_there(self, backup_id: str) -> bool:
        return any(item.key == manifest_key(backup_id) for item in self._repository.list(manifest_key(backup_id)))

    def _stat(self, backup: Backup, finding: Finding) -> None:
        """Keys and sizes, as the store lists them now."""
        listed = {item.key: item.size for item in self._repository.list(data_prefix(backup.id))}
        finding.problems += _differences(backup.objects(), listed)
        if data_prefix(backup.id) + "SHA256SUMS" not in listed:
            self._result.warnings.append(
                f"{self._repository.name}: {backup.id} has lost its SHA256SUMS; only restores by hand use it."
            )
        if backup.artefact("references") is None or finding.problems:
            return
        if self._blobs is None:
            self._blobs = Sizes(self._repository.list(BLOBS))
        for reference in read_references(self._reader, backup):
            finding.problems += _differences(reference.objects, self._blobs)

    def _checksum(self, backup: Backup, finding: Finding) -> None:
        """Every stored byte."""
        finding.problems += check_objects(self._repository, backup.objects(), self._progress.add)
        if finding.problems:
            return
        new: list[bytes] = []
        finding.problems += check_objects(self._repository, self._unproved(backup, new), self._progress.add)
        if not finding.problems:
            self._proved.update(new)

    def _unproved(self, backup: Backup, noted: list[bytes]) -> Iterator[StoredPart]:
        """Objects of blobs whose checksum was not compared yet; their short keys are noted."""
        for reference in read_references(self._reader, backup):
            for part in reference.objects:
                key = short_key(part.key)
                if key not in self._proved:
                    noted.append(key)
                    yield part

    def _archive(self, backup: Backup, finding: Finding) -> None:
        run = self._reading(backup)
        finding.details["archive"] = dict(self._with_engine(backup, lambda engine: engine.verify_archive(run)))
        self._result.warnings += run.warnings

    def _restore(self, backup: Backup, finding: Finding) -> None:
        run = self._reading(backup)
        private_directory(self._settings.place.scratch_dir)
        begun = time.monotonic()
        proof: Proof = self._with_engine(backup, lambda engine: engine.verify_restore(run))
        finding.restore_seconds = time.monotonic() - begun
        finding.data_age_seconds = (utc_now() - parse_time(backup.snapshot_at)).total_seconds()
        finding.proof = proof
        self._result.warnings += run.warnings
        finding.problems += [f"restored, and differs: {each}" for each in proof.differences]
        if not finding.problems and not proof.proved:
            # It came back; there is nothing to say whether all of it did. That is no fault of what is stored.
            finding.shortfall = (
                f"{backup.id} was restored, but its fingerprint ({proof.level}) cannot prove that all of it came back."
            )

    def _reading(self, backup: Backup) -> Reading:
        return Reading(backup, self._repository, self._settings.identity, self._settings.place, self._progress)

    def _with_engine(self, backup: Backup, action: Callable[[Engine], Any]) -> Any:
        engine = self._make_engine(backup.engine)
        try:
            return action(engine)
        finally:
            engine.close()

    # -- recording ------------------------------------------------------------------------------------------------

    def _record(self, finding: Finding, level: str) -> None:
        """Write what was found beside the manifest, by the store's clock, which orders what several hosts write."""
        if finding.level is None:
            raise AssertionError("finding.level is None")
        for _attempt in range(3):
            verification = Verification(
                finding.backup_id,
                level,
                finding.ok,
                rfc3339(self._repository.clock()),
                round(finding.seconds, 3),
                tuple(finding.problems),
                finding.details,
            )
            document = verification.to_json()
            try:
                self._repository.put(verification.key(), document, hashlib.sha256(document).digest())
                finding.recorded = True
                return
            except AlreadyExists:  # the store's clock shows seconds, and somebody verified this backup in this one
                time.sleep(1)
            except PermissionDenied as error:
                self._result.warnings.append(
                    f"The result for {finding.backup_id} could not be recorded, so retention does not count it: {error}"
                )
                return
        raise InternalError(f"The verification of {finding.backup_id} could not be given a name of its own.")


def _differences(objects: Iterable[StoredPart], listed: Mapping[str, int] | Sizes) -> list[str]:
    """What a listing lacks or shows with another size."""
    said = []
    for part in objects:
        size = listed.get(part.key)
        if size is None:
            said.append(f"{part.key} is missing.")
        elif size != part.size:
            said.append(f"{part.key} has {size} bytes instead of {part.size}.")
    return said
