# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb backup: one pass over a component into all of its repositories, committed or not at all.

PRIVATE to the collection; may change without notice.

The order is the protocol: announce `running/<id>`, store artefacts, wait until every store has confirmed them,
compare sizes with a listing, then write the manifest. Only a manifest makes a backup, so a process that dies
at any moment leaves either a complete backup or none. Only the rights to put and to list are used.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from .._engines._interface import BackupPlan, Blobs, Engine, Place
from .._errors import AlreadyExists, Corrupted, Degraded, HoldfastError, Interrupted, Unavailable
from .._locks import host_lock, private_directory
from .._manifest import (
    RUNNING,
    VERIFIED,
    Artefact,
    Backup,
    BackupId,
    Verification,
    data_prefix,
    manifest_key,
    new_id,
    options_digest,
    rfc3339,
    utc_now,
)
from .._process import account
from .._progress import Progress
from .._repositories._interface import Repository
from .._stream._codec import Compression, Encryption
from .._stream._fanout import MEMORY_BUDGET, FanOut, Leg
from .._stream._source import bytes_source
from .._stream._write import ArtefactWriter, Stream
from ._blobs import BlobStore
from ._catalogue import VerificationState, backup_ids

VERSION = "1.0.0"
"""The collection's own, as in galaxy.yml; manifests say who wrote them."""

MARGIN = 1.25
"""Room asked for, as a multiple of what the last backup took."""
UNSEEN_RATIO = 0.5
"""Stored bytes per source byte that a preflight assumes when there was no backup before."""


@dataclass(frozen=True)
class BackupSettings:
    """How a backup is made, whatever the engine.

    Attributes:
        max_age: seconds; nothing is done while a committed backup with the same options is younger everywhere.
        lock_wait: seconds to wait for another run of this component.
        set: the stamp that this backup shares with those of other components.
    """

    component: str
    state_dir: str
    compression: Compression = field(default_factory=Compression)
    encryption: Encryption = field(default_factory=Encryption)
    max_age: float | None = None
    lock_wait: float = 0.0
    set: str | None = None
    check: bool = False


@dataclass
class BackupResult:
    """What became of a run. `backup` is None when nothing had to be done, or in check mode."""

    changed: bool
    message: str
    plan: BackupPlan
    backup: Backup | None = None
    committed: list[str] = field(default_factory=list)
    missing: dict[str, HoldfastError] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    blob_bytes_sent: int = 0
    bytes_read: int = 0
    details: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    rights: dict[str, Mapping[str, bool | None]] = field(default_factory=dict)
    room: dict[str, tuple[int | None, int | None]] = field(default_factory=dict)
    """Free and total bytes of each repository, as far as it has such a limit."""

    @property
    def total_seconds(self) -> float:
        return sum(self.seconds.values())


def backup(
    engine: Engine,
    repositories: Sequence[Repository],
    settings: BackupSettings,
    progress: Progress,
    *,
    locked: bool = False,
    started: Callable[[], None] = lambda: None,
) -> BackupResult:
    """Back a component up.

    Args:
        started: told when it is certain that a backup will be attempted, with the lock held.
        locked: the caller holds the component's lock already (a safety backup within a restore).

    Raises:
        Degraded: committed in some repositories only; `result` holds what was.
        HoldfastError: nothing was committed anywhere.
    """
    progress.stage("preflight")
    settings.encryption.check()
    settings.compression.check()
    plan = engine.plan_backup()
    digest = options_digest({**plan.identity, "encryption": settings.encryption.public()})
    young = _young_enough(repositories, digest, settings.max_age)
    if young is not None:
        return BackupResult(False, f"{young.text} is younger than max_age in every repository.", plan)
    if settings.check:
        return _check_mode(repositories, plan, settings)
    lock = (
        contextlib.nullcontext()
        if locked
        else host_lock(settings.state_dir, settings.component, "backup", settings.lock_wait)
    )
    with lock:
        young = _young_enough(repositories, digest, settings.max_age)  # somebody may have made it while we waited
        if young is not None:
            return BackupResult(False, f"{young.text} is younger than max_age in every repository.", plan)
        started()
        run = _Run(engine, repositories, settings, progress, plan, digest)
        return run.execute()


def _young_enough(repositories: Sequence[Repository], digest: str, max_age: float | None) -> BackupId | None:
    """The newest committed backup with these options, when every repository has one younger than `max_age`."""
    if max_age is None:
        return None
    newest: BackupId | None = None
    for repository in repositories:
        limit = utc_now() - timedelta(seconds=max_age)
        fitting = [one for one in backup_ids(repository) if one.options == digest and limit < one.time <= utc_now()]
        newest = max(fitting, key=lambda one: one.text, default=None)
        if newest is None or _failed(repository, newest.text):
            return None
    return newest


def _failed(repository: Repository, backup_id: str) -> bool:
    """Whether the newest verification of a backup found it damaged: then it is none to rely on."""
    found = (Verification.from_key(item.key) for item in repository.list(f"{VERIFIED}{backup_id}/"))
    return VerificationState.of(each for each in found if each is not None).failed


def expected_stored_bytes(settings: BackupSettings, plan: BackupPlan) -> int:
    """Room that a preflight asks for: what the engine knows to be new, the last backup's size and a margin, or a
    share of the source."""
    if plan.unsent_bytes is not None:
        return int(plan.unsent_bytes * MARGIN)
    sizes = previous_sizes(settings.state_dir, settings.component)
    if sizes:
        return int(sizes[-1] * MARGIN)
    return int(plan.expected_bytes * UNSEEN_RATIO)


def previous_sizes(state_dir: str, component: str) -> list[int]:
    """Stored bytes of this host's earlier backups of a component, oldest first: from its own notes, so that no
    right to read is needed."""
    path = _notes_path(state_dir, component)
    sizes: list[int] = []
    with contextlib.suppress(FileNotFoundError), open(path, encoding="utf-8") as stream:
        for line in stream:
            with contextlib.suppress(ValueError, KeyError, TypeError):  # a line cut by a crash tells nothing
                sizes.append(int(json.loads(line)["size"]))
    return sizes


def component_directory(settings: BackupSettings) -> str:
    """Where this host keeps what it knows of a component between runs."""
    return os.path.join(settings.state_dir, "components", settings.component)


def _notes_path(state_dir: str, component: str) -> str:
    return os.path.join(state_dir, "components", component, "sizes.jsonl")


def _check_mode(repositories: Sequence[Repository], plan: BackupPlan, settings: BackupSettings) -> BackupResult:
    result = BackupResult(True, "A backup would be made.", plan)
    for repository in repositories:
        report = repository.probe(("write", "list"), expected_stored_bytes(settings, plan), write=False)
        result.rights[repository.name] = report.rights
        result.warnings += report.warnings
    return result


class _Run:
    """One backup under way; implements `BackupRun` for the engine."""

    def __init__(
        self,
        engine: Engine,
        repositories: Sequence[Repository],
        settings: BackupSettings,
        progress: Progress,
        plan: BackupPlan,
        digest: str,
    ) -> None:
        self.started = utc_now()
        self.id = new_id(self.started, digest)
        self.place: Place = engine.place
        self.progress = progress
        self._engine = engine
        self._settings = settings
        self._plan = plan
        self._prefix = data_prefix(self.id)
        self._artefacts: list[Artefact] = []
        self._facts: dict[str, Any] = {}
        self._by_hand: list[str] = []
        self._warnings: list[str] = list(plan.warnings)
        self._snapshot: datetime = self.started
        self._details: dict[str, Any] = {}
        self._bytes_read = 0
        self._fingerprint = "none"
        self._announced: list[Leg] = []
        self._offered: set[Leg] = set()
        """Repositories that have got the manifest, or may have: their answer did not come."""
        self._committing = False
        self._room: dict[str, tuple[int | None, int | None]] = {}
        self._fanout = FanOut(repositories, MEMORY_BUDGET - settings.compression.memory())
        self._writer = ArtefactWriter(self._fanout, settings.compression, settings.encryption, self._count)
        self._blob_store = BlobStore(
            self.id,
            self._fanout,
            self._writer,
            component_directory(settings),
            settings.compression,
            settings.encryption,
        )
        self.blobs: Blobs = self._blob_store

    # What the engine sees.

    def store(self, stream: Stream) -> Artefact:
        artefact = self._writer.store(stream, self._prefix)
        self._artefacts.append(artefact)
        return artefact

    def snapshot_taken(self, at: datetime | None = None) -> None:
        self._snapshot = at or utc_now()

    def fingerprint(self, level: str, document: Mapping[str, Any]) -> None:
        data = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogateescape")
        self.store(Stream("fingerprint.json", "fingerprint", bytes_source(data)))
        self._fingerprint = level

    def facts(self, facts: Mapping[str, Any]) -> None:
        self._facts.update(facts)

    def report(self, details: Mapping[str, Any]) -> None:
        self._details.update(details)

    def by_hand(self, lines: Iterable[str]) -> None:
        self._by_hand += lines

    def warn(self, text: str) -> None:
        self._warnings.append(text)

    @contextlib.contextmanager
    def scratch(self, owner: str | None = None) -> Iterator[str]:
        with scratch_directory(self.place, self.id, owner) as path:
            yield path

    # What the operation does.

    def _count(self, size: int) -> None:
        self._bytes_read += size
        self.progress.add(size)

    def execute(self) -> BackupResult:
        try:
            self._open_repositories()
            self.progress.stage("dump", self._plan.expected_bytes or None)
            self._engine.backup(self)
            self._blob_store.finish()
            self.progress.stage("commit")
            self._fanout.drain()
            manifest = self._manifest()
            self._confirm(manifest)
            committed = self._commit(manifest)
        except BaseException as error:
            self._fanout.close(abort=True)
            left = self._undo()
            if isinstance(error, HoldfastError):
                error.at(self.progress.name)
                error.left_behind = error.left_behind or left
            raise
        self._fanout.close(abort=False)
        self.progress.stage("done")
        return self._result(manifest, committed)

    def _open_repositories(self) -> None:
        """Probe and announce; a repository that fails is left out, all failing ends the run."""
        expected = expected_stored_bytes(self._settings, self._plan)
        note = json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "since": rfc3339(self.started)}).encode()
        for leg in self._fanout.legs:
            try:
                report = leg.repository.probe(("write", "list"), expected)
                self._warnings += report.warnings
                self._room[leg.repository.name] = (report.free_bytes, report.size_bytes)
                self._announced.append(leg)  # before: an interrupted put may have succeeded
                leg.repository.put(RUNNING + self.id, note, hashlib.sha256(note).digest())
            except Interrupted:
                raise
            except AlreadyExists as error:
                self._announced.remove(leg)
                leg.fail(error.at("preflight"))
            except HoldfastError as error:
                leg.fail(error.at("preflight"))
        self._fanout.drain()

    def _confirm(self, manifest: Backup) -> None:
        """The size of every object as the store lists it; a repository that shows less is dropped."""
        for leg in self._fanout.healthy():
            own = self._blob_store.complete(leg, manifest)
            sums = sha256sums(own.artefacts)
            wanted = {part.key: part.size for part in own.objects()}
            try:
                found = {item.key: item.size for item in leg.repository.list(self._prefix)}
                for key, size in wanted.items():
                    if found.get(key) != size:
                        raise Corrupted(
                            f"{leg.repository.name} lists {found.get(key, 'no')} bytes of {key}; {size} were sent.",
                            stage="commit",
                        )
                self._blob_store.confirm(leg)
                leg.repository.put(self._prefix + "SHA256SUMS", sums, hashlib.sha256(sums).digest())
            except Interrupted:
                raise
            except HoldfastError as error:
                leg.fail(error)
        self._fanout.drain()

    def _manifest(self) -> Backup:
        return Backup(
            id=self.id,
            component=self._settings.component,
            engine=self._engine.name,
            host=socket.gethostname(),
            started_at=rfc3339(self.started),
            snapshot_at=rfc3339(self._snapshot),
            finished_at=rfc3339(utc_now()),
            artefacts=tuple(self._artefacts),
            options=dict(self._plan.identity),
            source=self._facts,
            encryption=self._settings.encryption.public(),
            fingerprint=self._fingerprint,
            set=self._settings.set,
            by_hand=tuple(self._by_hand),
            warnings=tuple(self._warnings),
            writer=f"holdfast.ops {VERSION}",
        )

    def _commit(self, manifest: Backup) -> list[Leg]:
        committed = []
        self._committing = True
        for leg in self._fanout.healthy():
            try:
                document = self._blob_store.complete(leg, manifest).to_json()
                self._offered.add(leg)
                leg.repository.put(manifest_key(self.id), document, hashlib.sha256(document).digest())
                committed.append(leg)
            except Interrupted:
                raise
            except HoldfastError as error:
                if not isinstance(error, Unavailable):
                    self._offered.discard(leg)
                leg.fail(error.at("commit"))
        self._fanout.drain()
        return committed

    def _undo(self) -> str:
        """Remove what an uncommitted run has stored, where the rights allow it; else prune sweeps it later.

        Only where the announcement was ours: an id that exists already is somebody else's backup. And not where the
        manifest is, or may be: there it is a whole backup, or a prune sweeps what belongs to none.
        """
        left, offered = [], [leg.repository.name for leg in self._announced if leg in self._offered]
        for leg in self._announced:
            if leg in self._offered:
                continue
            try:
                if self._committing:  # it was refused; should it be there nevertheless, it goes before what it names
                    leg.repository.delete([manifest_key(self.id)])
                keys = [item.key for item in leg.repository.list(self._prefix)]
                leg.repository.delete([*keys, *self._blob_store.stored_keys(leg), RUNNING + self.id])
            except HoldfastError:
                left.append(leg.repository.name)
        said = [f"unreferenced objects of {self.id} in {', '.join(left)}; the next prune sweeps them"] if left else []
        said += [f"the backup {self.id} in {', '.join(offered)}, whole if backup_info shows it"] if offered else []
        return "; ".join(said) or "nothing"

    def _result(self, manifest: Backup, committed: Sequence[Leg]) -> BackupResult:
        names = [leg.repository.name for leg in committed]
        missing = {leg.repository.name: leg.failure for leg in self._fanout.legs if leg.failure is not None}
        result = BackupResult(
            True,
            f"{manifest.id} is committed in {', '.join(names)}.",
            self._plan,
            self._blob_store.complete(committed[0], manifest),
            names,
            missing,
            dict(self.progress.seconds),
            self._blob_store.bytes_sent,
            self._bytes_read,
            self._details,
            list(manifest.warnings),
            room=self._room,
        )
        self._note(result)
        if missing:
            raise DegradedBackup(result)
        return result

    def _note(self, result: BackupResult) -> None:
        """Remember the size, and warn when it is far from its predecessors' median."""
        if result.backup is None:
            raise AssertionError("result.backup is None")
        state, component = self._settings.state_dir, self._settings.component
        size = result.backup.size + int(result.backup.references.get("size", 0))
        path = _notes_path(state, component)
        try:
            anomaly = size_anomaly(previous_sizes(state, component), size)
            if anomaly:
                result.warnings.append(anomaly)
            private_directory(os.path.dirname(path))
            with open(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "a", encoding="utf-8") as stream:
                stream.write(json.dumps({"id": result.backup.id, "size": size}) + "\n")
        except (OSError, HoldfastError) as error:  # the backup is committed all the same
            result.warnings.append(f"The size of this backup could not be noted in {path}: {error}.")


def sha256sums(artefacts: Sequence[Artefact]) -> bytes:
    """The `SHA256SUMS` file beside the artefacts, in the form of `sha256sum -c`, an object a line."""
    lines = (f"{part.sha256}  {os.path.basename(part.key)}\n" for one in artefacts for part in one.objects)
    return "".join(lines).encode()


class DegradedBackup(Degraded):
    """Committed in some repositories, missing in others; `result` is what was committed."""

    def __init__(self, result: BackupResult) -> None:
        said = "; ".join(f"{name}: {error}" for name, error in result.missing.items())
        super().__init__(
            f"{result.message} The copy is missing in {said}",
            stage="upload",
            hint="The next run dumps to all repositories again; backup_copy repairs this one.",
        )
        self.result_of_run = result


def size_anomaly(previous: Sequence[int], size: int, window: int = 14) -> str | None:
    """A sentence when a backup is less than half or more than twice the median of its predecessors."""
    recent = sorted(previous[-window:])
    if len(recent) < 3:
        return None
    median = recent[len(recent) // 2]
    if median and not 0.5 <= size / median <= 2.0:
        relation = "less than half" if size < median else "more than twice"
        return f"This backup has {size} bytes: {relation} the median of its {len(recent)} predecessors ({median})."
    return None


@contextlib.contextmanager
def scratch_directory(place: Place, run_id: str, owner: str | None = None) -> Iterator[str]:
    """A 0700 directory below the scratch place, removed with its contents whatever happens."""
    path = os.path.join(private_directory(place.scratch_dir), f"{run_id}-{os.urandom(3).hex()}")
    os.mkdir(path, 0o700)
    try:
        user = account(owner)
        if user is not None:
            os.chown(path, user.uid, user.gid, follow_symlinks=False)
            mode = stat.S_IMODE(os.stat(place.scratch_dir).st_mode)
            if mode & 0o011 != 0o011:  # the owner must be able to walk to its own directory
                os.chmod(place.scratch_dir, mode | 0o011)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
