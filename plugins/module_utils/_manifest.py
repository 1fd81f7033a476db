# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nouns: Backup, Artefact, Verification, and the manifest that makes a backup one.

PRIVATE to the collection; may change without notice. The format itself is public: docs/manifest.md.

All keys are relative to the component's place in a repository (`<prefix>/<component>/`), so a manifest names
nothing of the repository that it lies in and a copy elsewhere is the same document.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from typing import Any

from ._errors import Corrupted, Unsupported

SCHEMA = 1
MANIFESTS = "manifests/"
DATA = "data/"
BLOBS = "blobs/"
VERIFIED = "verified/"
RUNNING = "running/"
PRUNE_MARKS = "prune/"
LEASE = "lease"
LEVELS = ("stat", "checksum", "archive", "restore")
"""Verification levels, each proving more than the one before."""

_ID = re.compile(r"(?P<time>\d{8}T\d{6}\.\d{3})Z-(?P<options>[0-9a-f]{6})(?P<random>[0-9a-f]{6})\Z")
_VERIFICATION = re.compile(
    re.escape(VERIFIED) + r"(?P<id>[^/]+)/(?P<time>\d{8}T\d{6}\.\d{3})Z-(?P<level>[a-z]+)-(?P<result>ok|failed)\.json\Z"
)
_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]")


def utc_now() -> datetime:
    return datetime.now(timezone.utc)


def rfc3339(moment: datetime) -> str:
    """A moment as RFC 3339 in UTC with milliseconds: `2026-11-22T14:37:00.123Z`."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def parse_time(text: str) -> datetime:
    """Read RFC 3339 (or ISO 8601 with an offset; without one it is UTC).

    Raises:
        ValueError: the text is no time.
    """
    moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00").replace("z", "+00:00"))
    return moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment.astimezone(timezone.utc)


def options_digest(options: Mapping[str, Any]) -> str:
    """Six hex digits that are equal for equal options; part of a backup's id, so that `max_age` can tell
    from a listing alone (no right to read needed) whether a young backup was made with the same options."""
    text = json.dumps(options, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:6]


def new_id(moment: datetime, digest: str) -> str:
    """A backup id: sorts by time, carries the options' digest, unique without a lock between hosts."""
    stamp = moment.astimezone(timezone.utc).strftime("%Y%m%dT%H%M%S.%f")[:-3]
    return f"{stamp}Z-{digest}{secrets.token_hex(3)}"


def _moment(stamp: str) -> datetime:
    """The moment of `20261122T143700.123`; `strptime` would take most of the time of a large catalogue.

    Raises:
        ValueError: there is no such moment.
    """
    day, clock = (int(stamp[0:4]), int(stamp[4:6]), int(stamp[6:8])), (int(stamp[9:11]), int(stamp[11:13]))
    return datetime(*day, *clock, int(stamp[13:15]), int(stamp[16:19]) * 1000, tzinfo=timezone.utc)


@dataclass(frozen=True)
class BackupId:
    """A parsed backup id."""

    text: str
    time: datetime
    options: str

    @classmethod
    def parse(cls, text: str) -> BackupId | None:
        """`None` when the text is no backup id (a stranger's file in the repository, for one)."""
        match = _ID.match(text)
        if match is None:
            return None
        try:
            moment = _moment(match["time"])
        except ValueError:
            return None
        return cls(text, moment, match["options"])


def safe_name(text: str) -> str:
    """A name that is safe as a file name and an object key, distinct for distinct texts."""
    plain = _UNSAFE.sub("_", text)
    if plain == text and not text.startswith((".", "-")) and 0 < len(text) <= 100:
        return text
    return f"x{plain.lstrip('.-')[:80]}-{hashlib.sha256(text.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"


def manifest_key(backup_id: str) -> str:
    return f"{MANIFESTS}{backup_id}.json"


def data_prefix(backup_id: str) -> str:
    return f"{DATA}{backup_id[0:4]}/{backup_id[4:6]}/{backup_id[6:8]}/{backup_id}/"


def blob_key(name: str, backup_id: str) -> str:
    """Key of the first object of a blob that a backup stored (the next are `<key>.001`, …)."""
    return f"{BLOBS}{name[:2]}/{name}.{backup_id}"


def mark_key(key: str) -> str:
    """Key of the mark that announces the deletion of a blob's object. One object, one mark."""
    return PRUNE_MARKS + key.rpartition("/")[2]


def blob_of_mark(key: str) -> str:
    """Key of the blob's object that a mark speaks of: the inverse of `mark_key`."""
    name = key[len(PRUNE_MARKS) :]
    return f"{BLOBS}{name[:2]}/{name}"


@dataclass(frozen=True)
class StoredPart:
    """One object of an artefact (an artefact longer than the store's largest object has several)."""

    key: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Artefact:
    """One stored stream of a backup.

    Attributes:
        name: file name under the backup's data directory, e.g. `omnidoc.dump.zst.age`.
        kind: what it is to the engine: `dump`, `globals`, `pack`, `index`, `fingerprint`, `references`, …
        source_size: bytes before compression and encryption.
        size, sha256: of the stored bytes of all objects joined.
        compression: `zstd` or `none`.
        encryption: `age`, `gpg` or `none`.
        restore: a command that reads the decoded bytes from stdin, for a restore by hand.
        attributes: clear facts that the engine needs again (never paths or names of an encrypted backup's contents).
    """

    name: str
    kind: str
    source_size: int
    size: int
    sha256: str
    objects: tuple[StoredPart, ...]
    compression: str = "none"
    encryption: str = "none"
    restore: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Backup:
    """A committed set of artefacts. Immutable.

    Attributes:
        snapshot_at: the moment that the data is of; the data's age (RPO) counts from here.
        source: facts of the engine about the server or tree (version, host, encoding, …), never secret.
        references: blob count and bytes, when large files are stored by content (the keys are in the artefact of
            kind `references`).
        fingerprint: the level that was taken; the fingerprint itself is an artefact of kind `fingerprint`.
        by_hand: shell lines that restore without holdfast.
    """

    id: str
    component: str
    engine: str
    host: str
    started_at: str
    snapshot_at: str
    finished_at: str
    artefacts: tuple[Artefact, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)
    encryption: Mapping[str, Any] = field(default_factory=lambda: {"method": "none"})
    references: Mapping[str, Any] = field(default_factory=dict)
    fingerprint: str = "none"
    set: str | None = None
    by_hand: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    writer: str = ""

    @property
    def size(self) -> int:
        """Stored bytes of the artefacts (blobs, which backups share, are counted in `references`)."""
        return sum(artefact.size for artefact in self.artefacts)

    @property
    def source_size(self) -> int:
        return sum(artefact.source_size for artefact in self.artefacts)

    def artefact(self, kind: str) -> Artefact | None:
        """The first artefact of a kind."""
        return next((a for a in self.artefacts if a.kind == kind), None)

    def objects(self) -> list[StoredPart]:
        return [part for artefact in self.artefacts for part in artefact.objects]

    def to_json(self) -> bytes:
        document = {"schema": SCHEMA, **asdict(self), "size": self.size, "source_size": self.source_size}
        # ASCII: a path that is not UTF-8 is kept as a lone surrogate, which only an escape can carry.
        return (json.dumps(document, indent=1) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes, *, where: str = "a manifest") -> Backup:
        """Read a manifest.

        Raises:
            Corrupted: it is not one.
            Unsupported: a newer holdfast wrote it.
        """
        try:
            document = json.loads(data)
            schema = document.pop("schema")
            if schema > SCHEMA:
                raise Unsupported(
                    f"{where} has schema {schema}; this holdfast reads up to {SCHEMA}.",
                    hint="Update the collection to read it.",
                )
            document.pop("size", None)
            document.pop("source_size", None)
            document["artefacts"] = tuple(
                Artefact(**{**a, "objects": tuple(StoredPart(**o) for o in a["objects"])})
                for a in document["artefacts"]
            )
            for name in ("by_hand", "warnings"):
                document[name] = tuple(document.get(name, ()))
            return cls(**document)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Corrupted(f"{where} is not a manifest: {type(error).__name__}: {error}.") from None


@dataclass(frozen=True)
class Verification:
    """The result of one verification of one backup in one repository."""

    backup_id: str
    level: str
    ok: bool
    time: str
    seconds: float = 0.0
    problems: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    def key(self) -> str:
        stamp = parse_time(self.time).strftime("%Y%m%dT%H%M%S.%f")[:-3] + "Z"
        return f"{VERIFIED}{self.backup_id}/{stamp}-{self.level}-{'ok' if self.ok else 'failed'}.json"

    @classmethod
    def from_key(cls, key: str) -> Verification | None:
        """Level, result and time, read from the key alone (no read needed to build a catalogue)."""
        match = _VERIFICATION.match(key)
        if match is None or match["level"] not in LEVELS:
            return None
        try:
            moment = _moment(match["time"])
        except ValueError:
            return None
        return cls(match["id"], match["level"], match["result"] == "ok", rfc3339(moment))

    def to_json(self) -> bytes:
        return (json.dumps({"schema": SCHEMA, **asdict(self)}, indent=1) + "\n").encode()
