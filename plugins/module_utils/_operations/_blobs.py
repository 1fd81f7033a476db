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
import re
import secrets
import struct
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from .._errors import Corrupted, HoldfastError, InternalError, Interrupted, SourceChanged, Unavailable
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
from .._secret_files import private_file
from .._stream._codec import Compression, Encryption
from .._stream._fanout import FanOut, Leg
from .._stream._read import ArtefactReader
from .._stream._source import IteratorSource, Source
from .._stream._write import ArtefactWriter, Stream
from ._blob_registry import BlobRegistry, Flags, Packing, Reference
from ._tables import Rows

REFERENCES = "references"
"""The kind of the artefact that lists the blobs of a backup: JSON lines, sorted by name."""

KEY_BYTES = 32

_NAME = re.compile(r"[0-9a-f]{64}")
_ROW = struct.Struct(">32sQI")
"""Of a table of references: name, place and length of the record."""

SEEN, WHOLE, MARKED = 1, 2, 4
"""What a listing shows of a blob: an object of it, all of them with their sizes, a mark on one of them."""


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
        self._packing = Packing()
        self._rows: Rows | None = None
        self._records = bytearray()

    def artefact(self, name: str) -> Artefact:
        """A blob as an artefact.

        Raises:
            Corrupted: the backup does not refer to it.
        """
        if self._rows is None:
            self._rows = Rows(self._read(), _ROW.size)
        row = self._rows.find(bytes.fromhex(name)) if _NAME.fullmatch(name) else None
        if row is None:
            raise Corrupted(f"The blob {name} is not among the references of {self._backup.id}.")
        packed, begin, length = _ROW.unpack(row)
        return self._packing.unpack(packed, bytes(self._records[begin : begin + length])).artefact()

    def _read(self) -> bytearray:
        """All references into the records; a row for each, which tells where it lies."""
        rows = bytearray()
        for reference in read_references(self._reader, self._backup):
            try:
                name, record = self._packing.pack(reference)
                if not _NAME.fullmatch(reference.name):
                    raise ValueError(reference.name)
            except (ValueError, TypeError, AttributeError, struct.error):
                raise Corrupted(f"The references of {self._backup.id} name objects that are no blob's.") from None
            rows += _ROW.pack(name, len(self._records), len(record))
            self._records += record
        return rows


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
        self._opened: BlobRegistry | None = None
        self._listed: dict[str, Flags] = {}
        self._used = {leg.repository.name: Flags() for leg in fanout.legs}
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
            position = self._registry.add(reference)
            self.bytes_sent += stored.size
            for leg in lacking:
                self._used[leg.repository.name].add(position, 1)
        self.use(name)

    def use(self, name: str) -> None:
        """This backup refers to it."""
        for leg in self._fanout.healthy():
            position = self._find(leg, name)
            if position is None:
                raise InternalError(f"The blob {name} is used and was not stored in {leg.repository.name}.")
            self._used[leg.repository.name].add(position, 1)

    # What the operation does.

    def finish(self) -> None:
        """Store the list of references, once for all repositories whose lists are equal."""
        groups: dict[bytes, list[str]] = {}
        for leg in self._fanout.healthy():
            pattern = self._used[leg.repository.name].pattern()
            if pattern:
                groups.setdefault(pattern, []).append(leg.repository.name)
        for names in groups.values():
            source = IteratorSource(self._registry.lines(self._used[names[0]]))
            stream = Stream("references.jsonl", REFERENCES, source, clear=True)
            artefact = self._writer.store(stream, data_prefix(self._id), names)
            self._references.update(dict.fromkeys(names, artefact))
        if self._opened is not None:
            if len(self._listed) == len(self._fanout.healthy()) == len(self._fanout.legs):
                self._opened.compact(self._somewhere)
            self._opened.close()

    def _somewhere(self, position: int) -> bool:
        """Whether a repository has any of it, or was sent it."""
        return any(used[position] for used in self._used.values()) or any(
            listed[position] & (SEEN | MARKED) == SEEN for listed in self._listed.values()
        )

    def confirm(self, leg: Leg) -> None:
        """Look again before the commit: everything that is referred to is there, whole and not marked for deletion.

        Raises:
            Corrupted: something is missing or too short.
            Unavailable: a prune has marked something meanwhile.
        """
        artefact = self._references.get(leg.repository.name)
        if artefact is None:
            return
        sizes = {item.key: item.size for item in leg.repository.list(data_prefix(self._id))}
        for part in artefact.objects:
            if sizes.get(part.key) != part.size:
                raise _incomplete(leg, part, sizes.get(part.key))
        listed = self._look(leg)
        for position in self._used[leg.repository.name].positions():
            if not listed[position] & WHOLE:
                raise self._what_is_missing(leg, position)
            if listed[position] & MARKED:
                key = self._registry.reference(position).objects[0].key
                raise Unavailable(
                    f"{key} in {leg.repository.name} was marked for deletion by a prune while this ran.",
                    stage="commit",
                    hint="Run the backup again: it will store that content anew.",
                )

    def _what_is_missing(self, leg: Leg, position: int) -> Corrupted:
        reference = self._registry.reference(position)
        sizes = {item.key: item.size for item in leg.repository.list(reference.objects[0].key)}
        wrong = [part for part in reference.objects if sizes.get(part.key) != part.size]
        part = (wrong or reference.objects)[0]
        return _incomplete(leg, part, sizes.get(part.key) if wrong else None)

    def complete(self, leg: Leg, manifest: Backup) -> Backup:
        """The manifest for one repository, with its own references."""
        artefact = self._references.get(leg.repository.name)
        if artefact is None:
            return manifest
        count = size = source_size = 0
        for position in self._used[leg.repository.name].positions():
            reference = self._registry.reference(position)
            count += 1
            size += sum(part.size for part in reference.objects)
            source_size += reference.size
        references: Mapping[str, Any] = {"count": count, "size": size, "source_size": source_size}
        return replace(manifest, artefacts=(*manifest.artefacts, artefact), references=references)

    def stored_keys(self, leg: Leg) -> list[str]:
        """Keys that this run has added to a repository, to be removed when it is not committed."""
        if self._opened is None:
            return []
        ours = f".{self._id}"
        return [item.key for item in leg.repository.list(BLOBS) if ours in item.key]

    # How it knows.

    @property
    def _registry(self) -> BlobRegistry:
        if self._opened is None:
            self._opened = BlobRegistry(self._dir)
        return self._opened

    def _find(self, leg: Leg, name: str) -> int | None:
        """The position of a blob that this repository has, or that this run is sending there."""
        known = list(self._registry.find(name))
        used = self._used[leg.repository.name]
        for position in known:
            if used[position]:
                return position
        for position in known:
            if self._listing(leg)[position] & (WHOLE | MARKED) == WHOLE:
                return position
        return None

    def _listing(self, leg: Leg) -> Flags:
        """What the repository had when it was first asked for; nothing when that failed."""
        name = leg.repository.name
        if name not in self._listed:
            try:
                self._listed[name] = self._look(leg)
            except Interrupted:
                raise
            except HoldfastError as error:
                leg.fail(error)
                self._listed[name] = Flags()
        return self._listed[name]

    def _look(self, leg: Leg) -> Flags:
        """Look at all blobs of a repository, and at the marks of those that will be deleted.

        The marks come second: one that is set after this look is older than the grace period when its blob goes.
        """
        flags = Flags()
        found: dict[int, set[str]] = {}  # of blobs with several objects: keys that have their size
        for item in leg.repository.list(BLOBS):
            for position, reference in self._with_object(item.key):
                flags.add(position, SEEN)
                if any(part.key == item.key and part.size == item.size for part in reference.objects):
                    keys = found.setdefault(position, set()) if len(reference.objects) > 1 else set()
                    keys.add(item.key)
                    if len(keys) == len(reference.objects):
                        flags.add(position, WHOLE)
        for item in leg.repository.list(PRUNE_MARKS):
            for position, _reference in self._with_object(blob_of_mark(item.key)):
                flags.add(position, MARKED)
        return flags

    def _with_object(self, key: str) -> Iterator[tuple[int, Reference]]:
        """The known blobs that an object is part of."""
        for position in self._registry.find(key.rpartition("/")[2].partition(".")[0]):
            reference = self._registry.reference(position)
            if any(part.key == key for part in reference.objects):
                yield position, reference

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
            text += private_file(self._encryption.passphrase_file, "encryption.passphrase_file", group_may_read=True)
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


def _incomplete(leg: Leg, part: StoredPart, found: int | None) -> Corrupted:
    size = "no" if found is None else found
    return Corrupted(f"{leg.repository.name} lists {size} bytes of {part.key}; {part.size} are needed.", stage="commit")
