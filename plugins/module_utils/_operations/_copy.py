# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb copy: backups of one repository into another, proved on the way.

PRIVATE to the collection; may change without notice.

Stored bytes are copied as they are, so what is encrypted stays so and no identity is needed. Every object's SHA-256
is compared with the manifest's while it passes, and the destination confirms what it received. The manifest goes
last: a copy that is killed leaves no backup, and the next one takes up what it finds. What was verified here says
nothing about there, so verifications are not copied.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from .._durations import counted
from .._errors import (
    AlreadyExists,
    Corrupted,
    HoldfastError,
    Interrupted,
    InvalidOption,
    NotFound,
    PermissionDenied,
    Unavailable,
)
from .._locks import host_lock
from .._manifest import (
    BLOBS,
    PRUNE_MARKS,
    RUNNING,
    Artefact,
    Backup,
    BackupId,
    StoredPart,
    blob_key,
    blob_of_mark,
    data_prefix,
    manifest_key,
    new_id,
    options_digest,
    rfc3339,
    utc_now,
)
from .._progress import Progress
from .._repositories._interface import Repository
from .._stream._codec import Compression, Encryption, Identity
from .._stream._fanout import MEMORY_BUDGET, FanOut
from .._stream._read import RANGE, READ_MEMORY, ArtefactReader, fetch
from .._stream._source import IteratorSource
from .._stream._write import ArtefactWriter, Stream
from ._backup import sha256sums
from ._blob_registry import Reference
from ._blobs import REFERENCES, read_references
from ._catalogue import backup_ids, load_backup
from ._tables import Sizes, short_key

LATEST, MISSING = "latest", "missing"

TRIES = 3
"""Of one backup, while somebody else copies it to the same place."""


@dataclass(frozen=True)
class CopySettings:
    """What to copy.

    Attributes:
        which: a backup id, `latest`, or `missing` (all that the destination lacks).
        since: with `missing`, only backups made after this moment.
    """

    component: str
    state_dir: str
    which: str = MISSING
    since: datetime | None = None
    lock_wait: float = 0.0
    check: bool = False


@dataclass
class CopyResult:
    """What became of a copy; in check mode `copied` is what would be.

    Attributes:
        present: of those chosen, the ones that were there already.
        failed: backup id → why it could not be copied; the others were.
        plan: lines for `--diff`.
    """

    copied: list[str] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    failed: dict[str, HoldfastError] = field(default_factory=dict)
    sent_bytes: int = 0
    plan: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def copy(source: Repository, destination: Repository, settings: CopySettings, progress: Progress) -> CopyResult:
    """Copy backups. One that is damaged at the source is in `failed`; the rest are copied.

    Raises:
        NotFound: the source has no such backup.
        Locked: another copy to this destination runs on this host.
        HoldfastError: a repository cannot be used.
    """
    progress.stage("preflight")
    source.probe(("list", "read"), write=False)
    result = CopyResult()
    chosen = _choose(source, destination, settings, result)
    sizes = {each: _size(source, each, result) for each in chosen}
    todo = [each for each in chosen if sizes[each] is not None]
    result.plan = [f"{each} ({sizes[each]} bytes): {source.name} -> {destination.name}" for each in todo]
    expected = max((size or 0 for size in sizes.values()), default=0)
    destination.probe(("write", "list", "read", "delete"), expected, write=not settings.check)
    if settings.check:
        result.copied = todo
        return result
    # Not the component's own lock: backups go on while terabytes are copied.
    with host_lock(settings.state_dir, f"{settings.component}.copy-{destination.name}", "copy", settings.lock_wait):
        for number, backup_id in enumerate(todo, 1):
            progress.stage(f"copy {number} of {len(todo)}", sizes[backup_id])
            try:
                _Copying(source, destination, progress, result).run(backup_id)
            except (Corrupted, NotFound) as error:
                if _exists(source, backup_id):
                    result.failed[backup_id] = error.at("copy")
                else:
                    result.warnings.append(f"{backup_id} was pruned in {source.name} while it was copied.")
            except HoldfastError as error:
                raise error.at("copy") from None
    progress.stage("done")
    return result


def _choose(source: Repository, destination: Repository, settings: CopySettings, result: CopyResult) -> list[str]:
    """The ids to copy, oldest first, so that an interrupted copy has no gaps."""
    which = settings.which
    held = sorted(backup_ids(source), key=lambda each: each.text)
    there = {each.text for each in backup_ids(destination)}
    if which == MISSING:
        wanted = [each.text for each in held if settings.since is None or each.time >= settings.since]
    elif which == LATEST:
        wanted = [each.text for each in held[-1:]]
    elif BackupId.parse(which) is None:
        raise InvalidOption(f"backup_id {which!r} is no backup id, and not {LATEST} or {MISSING}.", stage="preflight")
    else:
        wanted = [which]
        if which not in {each.text for each in held}:
            load_backup(source, which)  # says that it is not there
    result.present = [each for each in wanted if each in there]
    return [each for each in wanted if each not in there]


def _size(source: Repository, backup_id: str, result: CopyResult) -> int | None:
    """Bytes of a backup with its blobs; None when it cannot be read, which is noted."""
    try:
        backup = load_backup(source, backup_id)
    except NotFound:
        result.warnings.append(f"{backup_id} was pruned in {source.name} meanwhile.")
        return None
    except Interrupted:
        raise
    except HoldfastError as error:
        result.failed[backup_id] = error.at("copy")
        return None
    return backup.size + int(backup.references.get("size", 0))


def _exists(repository: Repository, backup_id: str) -> bool:
    return any(item.key == manifest_key(backup_id) for item in repository.list(manifest_key(backup_id)))


class _Contended(Unavailable):
    """Somebody else works on what we copy."""


class _Copying:
    """One backup on its way."""

    def __init__(self, source: Repository, destination: Repository, progress: Progress, result: CopyResult) -> None:
        self._source = source
        self._destination = destination
        self._progress = progress
        self._result = result
        self._reused: dict[bytes, int] = {}  # short key → size
        """Blobs of the destination that the copy relies on: looked at again before the commit."""

    def run(self, backup_id: str) -> None:
        backup = load_backup(self._source, backup_id)
        self._announce(backup_id)
        try:
            for tries_left in reversed(range(TRIES)):
                try:
                    self._try(backup)
                    self._result.copied.append(backup_id)
                    return
                except (AlreadyExists, _Contended):
                    # Somebody copies the same backup from another host: what they sent is taken up by the next try.
                    if _exists(self._destination, backup_id):
                        self._result.present.append(backup_id)
                        return
                    if not tries_left:
                        raise
        finally:
            with contextlib.suppress(HoldfastError):  # the next prune takes it away
                self._destination.delete([RUNNING + backup_id])

    def _announce(self, backup_id: str) -> None:
        """Say that this is under way, so that no prune takes it for an orphan."""
        note = json.dumps(
            {"host": socket.gethostname(), "pid": os.getpid(), "since": rfc3339(utc_now()), "copy": self._source.name}
        ).encode()
        with contextlib.suppress(AlreadyExists, PermissionDenied):
            self._destination.delete([RUNNING + backup_id])  # one left by a killed copy would look too old
            self._destination.put(RUNNING + backup_id, note, hashlib.sha256(note).digest())

    def _try(self, backup: Backup) -> None:
        fanout = FanOut([self._destination], MEMORY_BUDGET - READ_MEMORY)
        writer = ArtefactWriter(fanout, Compression(), Encryption(), self._count)
        try:
            artefacts, blob_size = self._blobs(backup, fanout, writer)
            fanout.drain()  # all blobs are there before what refers to them
            listed = {item.key: item.size for item in self._destination.list(data_prefix(backup.id))}
            own_references = bool(artefacts)
            for artefact in backup.artefacts:
                if artefact.kind != REFERENCES or not own_references:
                    artefacts.append(self._artefact(artefact, backup, listed, writer))
            fanout.drain()
        except BaseException as error:
            fanout.close(abort=True)
            if isinstance(error, HoldfastError) and error.left_behind is None:
                error.left_behind = f"uncommitted objects of {backup.id} in {self._destination.name}"
            raise
        fanout.close(abort=False)
        order = {artefact.name: place for place, artefact in enumerate(backup.artefacts)}
        artefacts.sort(key=lambda each: order.get(each.name, len(order)))
        references = {**backup.references, "size": blob_size} if backup.references else backup.references
        self._commit(replace(backup, artefacts=tuple(artefacts), references=references))

    def _count(self, size: int) -> None:
        self._result.sent_bytes += size
        self._progress.add(size)

    # -- artefacts ------------------------------------------------------------------------------------------------

    def _artefact(
        self, artefact: Artefact, backup: Backup, listed: Mapping[str, int], writer: ArtefactWriter
    ) -> Artefact:
        """One artefact, cut anew where the destination's objects must be smaller."""
        key = data_prefix(backup.id) + artefact.name
        there = sorted(each for each in listed if re.fullmatch(re.escape(key) + r"(\.\d{3,})?", each))
        if there:
            parts = self._prove(artefact, there, listed)
            if parts is not None:
                return replace(artefact, objects=parts)
            self._destination.delete(there)  # another cut, or incomplete
        source = IteratorSource(fetch(self._source, artefact.objects, what=artefact.name))
        stored = writer.write(source, key, Compression("none"), Encryption())
        if (stored.size, stored.sha256) != (artefact.size, artefact.sha256):
            raise Corrupted(f"{artefact.name} of {backup.id} in {self._source.name} is not what its manifest says.")
        return replace(artefact, objects=stored.objects)

    def _prove(
        self, artefact: Artefact, keys: Sequence[str], listed: Mapping[str, int]
    ) -> tuple[StoredPart, ...] | None:
        """What an earlier try has left, when it is the whole artefact by its SHA-256; None otherwise."""
        if sum(listed[key] for key in keys) != artefact.size:
            return None
        total = hashlib.sha256()
        parts = []
        for key in keys:
            own = hashlib.sha256()
            for offset in range(0, listed[key], RANGE):
                data = self._destination.read(key, offset, RANGE)
                own.update(data)
                total.update(data)
            parts.append(StoredPart(key, listed[key], own.hexdigest()))
        return tuple(parts) if total.hexdigest() == artefact.sha256 else None

    # -- blobs ----------------------------------------------------------------------------------------------------

    def _blobs(self, backup: Backup, fanout: FanOut, writer: ArtefactWriter) -> tuple[list[Artefact], int]:
        """Send the blobs that the destination lacks.

        Returns:
            The list of references when it differs from the source's, because some have other keys there (otherwise
            nothing: the source's own list is right there, too), and the bytes of all blobs.
        """
        if backup.artefact(REFERENCES) is None:
            return [], 0
        listed = Sizes(self._destination.list(BLOBS))
        marked = {blob_of_mark(item.key) for item in self._destination.list(PRUNE_MARKS)}
        changed: dict[str, bytes] = {}
        size = 0
        self._reused = {}
        for reference in self._references(backup):
            mine = reference
            if all(listed.get(part.key) == part.size and part.key not in marked for part in reference.objects):
                self._reused.update((short_key(part.key), part.size) for part in reference.objects)
            else:
                taken = any(listed.get(part.key) is not None for part in reference.objects)
                mine = self._send_blob(reference, taken, writer)
            if mine != reference:
                changed[reference.name] = mine.to_line()
            size += sum(part.size for part in mine.objects)
        if not changed:
            return [], size
        # Read once more rather than kept: a large tree has 100,000 of them.
        lines = (changed.get(each.name) or each.to_line() for each in self._references(backup))
        stream = Stream("references.jsonl", REFERENCES, IteratorSource(lines), clear=True)
        self._destination.delete([item.key for item in self._old_references(backup)])
        return [writer.store(stream, data_prefix(backup.id))], size

    def _references(self, backup: Backup) -> Iterator[Reference]:
        return read_references(ArtefactReader(self._source, Identity()), backup)

    def _old_references(self, backup: Backup) -> Iterator[StoredPart]:
        """A list of references that an earlier try has left: this try's may name other keys."""
        for item in self._destination.list(data_prefix(backup.id) + "references.jsonl"):
            yield StoredPart(item.key, item.size, "")

    def _send_blob(self, reference: Reference, taken: bool, writer: ArtefactWriter) -> Reference:
        """Send a blob; under a name of its own when its key is taken by one that is incomplete or about to go."""
        key = reference.objects[0].key
        if taken:
            key = blob_key(reference.name, new_id(utc_now(), options_digest({"copy": self._destination.name})))
        source = IteratorSource(fetch(self._source, reference.objects, what=f"blob {reference.name[:16]}"))
        stored = writer.write(source, key, Compression("none"), Encryption())
        self._reused.update((short_key(part.key), part.size) for part in stored.objects)
        return replace(reference, objects=stored.objects)

    # -- commit ---------------------------------------------------------------------------------------------------

    def _commit(self, backup: Backup) -> None:
        """Look at everything once more, then make it a backup."""
        destination = self._destination
        prefix = data_prefix(backup.id)
        listed = {item.key: item.size for item in destination.list(prefix)}
        self._confirm_blobs()
        for part in backup.objects():
            if listed.get(part.key) != part.size:
                raise _Contended(
                    f"{destination.name} lists {listed.get(part.key, 'no')} bytes of {part.key} instead of "
                    f"{part.size}: somebody else works on it.",
                    hint="Run the copy again.",
                )
        sums = sha256sums(backup.artefacts)
        if prefix + "SHA256SUMS" in listed:
            destination.delete([prefix + "SHA256SUMS"])
        destination.put(prefix + "SHA256SUMS", sums, hashlib.sha256(sums).digest())
        document = backup.to_json()
        destination.put(manifest_key(backup.id), document, hashlib.sha256(document).digest())

    def _confirm_blobs(self) -> None:
        """
        Raises:
            _Contended: a blob that the backup refers to is gone, has another size, or is going to be deleted.
        """
        if not self._reused:
            return
        where = self._destination
        whole = sum(self._reused.get(short_key(item.key)) == item.size for item in where.list(BLOBS))
        marked = sum(short_key(blob_of_mark(item.key)) in self._reused for item in where.list(PRUNE_MARKS))
        if marked:
            raise _Contended(f"A prune has marked {counted(marked, 'blob')} in {where.name} meanwhile.")
        if whole != len(self._reused):
            raise _Contended(
                f"{where.name} lists only {whole} of {counted(len(self._reused), 'object')} of blobs as they should "
                "be: somebody else works on it.",
                hint="Run the copy again.",
            )
