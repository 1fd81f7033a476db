# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Blobs: what is stored by content, once, and shared by the backups of a component.

PRIVATE to the collection; may change without notice.

A blob is `blobs/ab/<name>.<backup id>`: named by content, stored once, kept as long as a backup refers to it. The
objects that a backup refers to are its clear artefact of kind `references`, one per repository, so that pruning
and checksum verification need no identity.

What a repository has is told by a listing. How those objects are encoded and what their checksums are is told by
this host's registry, because a host that backs up may have no right to read. An object counts as present when both
agree and no mark announces its deletion; losing the registry only costs sending again.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .._errors import Corrupted, DiskFull, HoldfastError, InternalError, Interrupted, SourceChanged, Unavailable
from .._locks import private_directory
from .._manifest import (
    BLOBS,
    PRUNE_MARKS,
    Artefact,
    Backup,
    StoredPart,
    blob_key,
    blob_of_mark,
    data_prefix,
)
from .._stream._codec import Compression, Encryption, private_file
from .._stream._fanout import FanOut, Leg
from .._stream._read import ArtefactReader
from .._stream._source import IteratorSource, Source
from .._stream._write import ArtefactWriter, Stream

REFERENCES = "references"
"""The kind of the artefact that lists the blobs of a backup: JSON lines, sorted by name."""

KEY_BYTES = 32


@dataclass(frozen=True)
class Reference:
    """One blob as it lies in a repository: its objects, how they are encoded, and the bytes of its content."""

    name: str
    size: int
    objects: tuple[StoredPart, ...]
    compression: str
    encryption: str

    def to_line(self) -> bytes:
        """One line of JSON, the same for equal references."""
        document = {
            "name": self.name,
            "size": self.size,
            "compression": self.compression,
            "encryption": self.encryption,
            "objects": [{"key": part.key, "size": part.size, "sha256": part.sha256} for part in self.objects],
        }
        return json.dumps(document, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Reference:
        """The inverse of `to_line`.

        Raises:
            ValueError, KeyError, TypeError: it is none.
        """
        document = json.loads(line)
        objects = tuple(StoredPart(**part) for part in document.pop("objects"))
        return cls(objects=objects, **document)

    def artefact(self) -> Artefact:
        """As something that an `ArtefactReader` reads."""
        sha256 = self.objects[0].sha256 if len(self.objects) == 1 else ""  # of several, each carries its own
        size = sum(part.size for part in self.objects)
        return Artefact(
            f"blob {self.name[:16]}…", "blob", self.size, size, sha256, self.objects, self.compression, self.encryption
        )


def read_references(reader: ArtefactReader, backup: Backup) -> Iterator[Reference]:
    """The blobs that a backup refers to in the reader's repository; none when it has no such artefact.

    Raises:
        Corrupted: the list is damaged or missing.
    """
    for line in _reference_lines(reader, backup):
        try:
            yield Reference.from_line(line)
        except (ValueError, KeyError, TypeError) as error:
            raise Corrupted(f"The references of {backup.id} cannot be read: {type(error).__name__}.") from None


def _reference_lines(reader: ArtefactReader, backup: Backup) -> Iterator[bytes]:
    artefact = backup.artefact(REFERENCES)
    if artefact is None:
        return
    rest = b""
    with reader.open(artefact) as stream:
        for chunk in stream.chunks():
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines


class ReferenceTable:
    """The blobs of one backup in one repository, by name; read when first asked."""

    def __init__(self, reader: ArtefactReader, backup: Backup) -> None:
        self._reader = reader
        self._backup = backup
        self._lines: dict[str, bytes] | None = None  # lines, not objects: a large tree has 100,000 of them

    def artefact(self, name: str) -> Artefact:
        """A blob as an artefact.

        Raises:
            Corrupted: the backup does not refer to it.
        """
        if self._lines is None:
            self._lines = {ref.name: ref.to_line() for ref in read_references(self._reader, self._backup)}
        line = self._lines.get(name)
        if line is None:
            raise Corrupted(f"The blob {name} is not among the references of {self._backup.id}.")
        return Reference.from_line(line).artefact()


class _Registry:
    """What this host knows of the blobs that it has stored: a journal of references, several per name possible."""

    def __init__(self, directory: str) -> None:
        self._path = os.path.join(directory, "blobs.jsonl")
        self._known: dict[str, list[bytes]] = {}
        self._journal: int | None = None
        self._lines = 0
        with contextlib.suppress(FileNotFoundError), open(self._path, "rb") as stream:
            for line in stream:
                self._remember(line)

    def _remember(self, line: bytes) -> None:
        # `to_line` begins with the name; a line that a crash has cut ends without a newline
        if line.startswith(b'{"name":"') and line.endswith(b"]}\n"):
            self._known.setdefault(line[9 : line.index(b'"', 9)].decode(), []).append(line)
            self._lines += 1

    def find(self, name: str) -> Iterator[Reference]:
        """The known encodings of a blob, newest first."""
        for line in reversed(self._known.get(name, ())):
            with contextlib.suppress(ValueError, KeyError, TypeError):  # a damaged line is as good as none
                yield Reference.from_line(line)

    def add(self, reference: Reference) -> None:
        """Note a blob before its store has confirmed it: it counts only once a listing shows it, whole."""
        line = reference.to_line()
        if self._journal is None:
            private_directory(os.path.dirname(self._path))
            self._journal = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            size = os.fstat(self._journal).st_size
            if size and os.pread(self._journal, 1, size - 1) != b"\n":
                line = b"\n" + line  # end the line that a crash has cut
        if os.write(self._journal, line) != len(line):  # a disk that is full takes a part of it
            raise DiskFull(f"There is no more room for {self._path}.", hint="Make room, or prune.")
        self._remember(line.lstrip())

    def close(self) -> None:
        if self._journal is not None:
            os.close(self._journal)
            self._journal = None

    def compact(self, present: Iterable[str]) -> None:
        """Forget what no repository has any more, when that is most of the journal."""
        keys = set(present)
        kept = [
            line
            for lines in self._known.values()
            for line in lines
            if any(part.key in keys for part in _objects_of(line))
        ]
        if len(kept) * 2 >= self._lines:
            return
        self.close()
        temporary = f"{self._path}.new"
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
            stream.writelines(kept)
        os.replace(temporary, self._path)


class BlobStore:
    """The blobs of one backup run; implements `Blobs` for the engine.

    Args:
        run_id: of the backup under way.
        component_dir: where this host keeps the registry and the key of names.
    """

    def __init__(
        self,
        run_id: str,
        fanout: FanOut,
        writer: ArtefactWriter,
        component_dir: str,
        compression: Compression,
        encryption: Encryption,
    ) -> None:
        self._id = run_id
        self._fanout = fanout
        self._writer = writer
        self._dir = component_dir
        self._compression = compression
        self._encryption = encryption
        self._naming: tuple[bytes, bytes] | None = None
        self._opened: _Registry | None = None
        self._listed: dict[str, dict[str, int]] = {}
        self._used: dict[str, dict[str, Reference]] = {leg.repository.name: {} for leg in fanout.legs}
        self._present: dict[str, dict[str, Reference]] = {leg.repository.name: {} for leg in fanout.legs}
        self._references: dict[str, Artefact] = {}
        self.bytes_sent = 0
        """Stored bytes of the blobs that this run has sent (once, however many repositories took them)."""

    # What the engine sees.

    def name(self, sha256: str) -> str:
        """The name of a content: its SHA-256, or, encrypted, an HMAC over recipients and SHA-256 that tells the
        store nothing and differs when the recipients do."""
        if self._encryption.method == "none":
            return sha256
        if self._naming is None:
            self._naming = self._host_key(), self._readers()
        key, readers = self._naming
        return hmac.new(key, readers + bytes.fromhex(sha256), hashlib.sha256).hexdigest()

    def have(self, name: str) -> bool:
        """Whether every repository in use holds it."""
        return all(self._find(leg, name) is not None for leg in self._fanout.healthy())

    def store(self, name: str, source: Source, size: int, *, compressed: bool, sha256: str | None = None) -> None:
        """Send it to the repositories that lack it, and refer to it.

        Raises:
            SourceChanged: the content no longer has this SHA-256; nothing is stored.
        """
        lacking = [leg for leg in self._fanout.healthy() if self._find(leg, name) is None]
        if lacking:
            compression = Compression("none") if compressed else self._compression
            # Stored as it is, a content has the checksum of the stored bytes, which is taken anyway.
            raw = compression.method == "none" and self._encryption.method == "none"
            stored = self._writer.write(
                source if raw or sha256 is None else _Checked(source, sha256),
                blob_key(name, self._id),
                compression,
                self._encryption,
                [leg.repository.name for leg in lacking],
                sha256 if raw else None,
            )
            reference = Reference(name, size, stored.objects, compression.method, self._encryption.method)
            self._registry.add(reference)
            self.bytes_sent += stored.size
            for leg in lacking:
                self._used[leg.repository.name][name] = reference
        self.use(name)

    def use(self, name: str) -> None:
        """This backup refers to it."""
        for leg in self._fanout.healthy():
            reference = self._find(leg, name)
            if reference is None:
                raise InternalError(f"The blob {name} is used and was not stored in {leg.repository.name}.")
            self._used[leg.repository.name][name] = reference

    # What the operation does.

    def finish(self) -> None:
        """Store the list of references, once for all repositories whose lists are equal."""
        groups: dict[bytes, list[str]] = {}
        for leg in self._fanout.healthy():
            used = self._used[leg.repository.name]
            if used:
                digest = hashlib.sha256()
                for line in _lines(used):
                    digest.update(line)
                groups.setdefault(digest.digest(), []).append(leg.repository.name)
        for names in groups.values():
            source = IteratorSource(_lines(self._used[names[0]]))
            stream = Stream("references.jsonl", REFERENCES, source, clear=True)
            artefact = self._writer.store(stream, data_prefix(self._id), names)
            self._references.update(dict.fromkeys(names, artefact))
        if self._opened is not None:
            if len(self._listed) == len(self._fanout.healthy()) == len(self._fanout.legs):
                present = [key for listed in self._listed.values() for key in listed]
                used_keys = (p.key for used in self._used.values() for r in used.values() for p in r.objects)
                self._opened.compact([*present, *used_keys])
            self._opened.close()

    def confirm(self, leg: Leg) -> None:
        """Look again before the commit: everything that is referred to is there, whole and not marked for deletion.

        Raises:
            Corrupted: something is missing or too short.
            Unavailable: a prune has marked something meanwhile.
        """
        artefact = self._references.get(leg.repository.name)
        if artefact is None:
            return
        listed, marked = _list_blobs(leg)
        for item in leg.repository.list(data_prefix(self._id)):
            listed[item.key] = item.size
        used = self._used[leg.repository.name].values()
        for part in (*artefact.objects, *(part for reference in used for part in reference.objects)):
            if listed.get(part.key) != part.size:
                raise Corrupted(
                    f"{leg.repository.name} lists {listed.get(part.key, 'no')} bytes of {part.key}; {part.size} "
                    "are needed.",
                    stage="commit",
                )
            if part.key in marked:
                raise Unavailable(
                    f"{part.key} in {leg.repository.name} was marked for deletion by a prune while this ran.",
                    stage="commit",
                    hint="Run the backup again: it will store that content anew.",
                )

    def complete(self, leg: Leg, manifest: Backup) -> Backup:
        """The manifest for one repository, with its own references."""
        artefact = self._references.get(leg.repository.name)
        if artefact is None:
            return manifest
        used = self._used[leg.repository.name].values()
        size = sum(part.size for reference in used for part in reference.objects)
        references: Mapping[str, Any] = {
            "count": len(used),
            "size": size,
            "source_size": sum(reference.size for reference in used),
        }
        return replace(manifest, artefacts=(*manifest.artefacts, artefact), references=references)

    def stored_keys(self, leg: Leg) -> list[str]:
        """Keys that this run has added to a repository, to be removed when it is not committed."""
        if self._opened is None:
            return []
        ours = f".{self._id}"
        return [item.key for item in leg.repository.list(BLOBS) if ours in item.key]

    # How it knows.

    @property
    def _registry(self) -> _Registry:
        if self._opened is None:
            self._opened = _Registry(self._dir)
        return self._opened

    def _find(self, leg: Leg, name: str) -> Reference | None:
        """The reference to a blob that this repository has, or that this run is sending there."""
        repository = leg.repository.name
        known = self._used[repository].get(name)
        if known is not None:
            return known
        present = self._present[repository]
        if name not in present:
            for reference in self._registry.find(name):
                listed = self._listing(leg)
                if all(listed.get(part.key) == part.size for part in reference.objects):
                    present[name] = reference
                    break
        return present.get(name)

    def _listing(self, leg: Leg) -> Mapping[str, int]:
        """Keys and sizes of the repository's blobs that no mark announces the deletion of."""
        name = leg.repository.name
        if name not in self._listed:
            try:
                listed, marked = _list_blobs(leg)
                self._listed[name] = {key: size for key, size in listed.items() if key not in marked}
            except Interrupted:
                raise
            except HoldfastError as error:
                leg.fail(error)
                self._listed[name] = {}
        return self._listed[name]

    def _host_key(self) -> bytes:
        """The key of names: made once, never leaves this host."""
        path = os.path.join(private_directory(self._dir), "blob-names.key")
        with contextlib.suppress(FileExistsError):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "wb") as stream:
                stream.write(secrets.token_bytes(KEY_BYTES))
        with open(path, "rb") as stream:
            key = stream.read()
        if len(key) != KEY_BYTES:  # cut by a crash: blobs get new names and are sent again
            os.unlink(path)
            return self._host_key()
        return key

    def _readers(self) -> bytes:
        """Who can read what this run encrypts, as bytes that change when they do."""
        public = self._encryption.public()
        public["recipients"] = sorted(public["recipients"])
        text = json.dumps(public, sort_keys=True).encode()
        if self._encryption.passphrase_file:
            text += private_file(self._encryption.passphrase_file, "encryption.passphrase_file")
        return hashlib.sha256(text).digest()


class _Checked:
    """A source whose bytes must have a given SHA-256."""

    def __init__(self, source: Source, sha256: str) -> None:
        self._source = source
        self._sha256 = sha256

    def chunks(self) -> Iterator[bytes]:
        digest = hashlib.sha256()
        for chunk in self._source.chunks():
            digest.update(chunk)
            yield chunk
        if digest.hexdigest() != self._sha256:
            raise SourceChanged("The content is not the same as when its checksum was taken.", stage="upload")

    def abort(self) -> None:
        self._source.abort()


def _objects_of(line: bytes) -> tuple[StoredPart, ...]:
    """The objects of a line of the registry; a damaged line is as good as none."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return Reference.from_line(line).objects
    return ()


def _lines(used: Mapping[str, Reference]) -> Iterator[bytes]:
    for name in sorted(used):
        yield used[name].to_line()


def _list_blobs(leg: Leg) -> tuple[dict[str, int], set[str]]:
    """Keys and sizes of all blobs of a repository, and the keys that are marked for deletion.

    The marks come second: one that is set after this look is older than the grace period when its blob goes.
    """
    listed = {item.key: item.size for item in leg.repository.list(BLOBS)}
    return listed, {blob_of_mark(item.key) for item in leg.repository.list(PRUNE_MARKS)}
