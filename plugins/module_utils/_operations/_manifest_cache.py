# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What this host has read of a repository's manifests: one compact file per repository and component.

PRIVATE to the collection; may change without notice.

An entry counts only while the repository lists the manifest with the size and time that it had when it was read.
The file can be lost, damaged or old at any time: what it does not tell is read again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from .._errors import Corrupted, InvalidOption
from .._locks import private_directory
from .._manifest import Backup, parse_time, safe_name
from .._repositories._interface import StoredObject

FORMAT = 1


@dataclass(frozen=True)
class Summary:
    """What the catalogue tells of a backup. `has_references`: it refers to blobs."""

    id: str
    engine: str
    host: str
    started_at: str
    snapshot_at: str
    finished_at: str
    size: int
    source_size: int
    blobs: int
    blob_size: int
    has_references: bool
    encryption: str
    fingerprint: str
    set: str | None
    by_hand: tuple[str, ...]

    @classmethod
    def of(cls, backup: Backup) -> Summary:
        """The summary of a manifest.

        Raises:
            Corrupted: it holds something else than a manifest must.
        """
        try:
            parse_time(backup.snapshot_at)
            return cls(
                id=backup.id,
                engine=backup.engine,
                host=backup.host,
                started_at=backup.started_at,
                snapshot_at=backup.snapshot_at,
                finished_at=backup.finished_at,
                size=backup.size,
                source_size=backup.source_size + int(backup.references.get("source_size", 0)),
                blobs=int(backup.references.get("count", 0)),
                blob_size=int(backup.references.get("size", 0)),
                has_references=backup.artefact("references") is not None,
                encryption=str(backup.encryption.get("method", "none")),
                fingerprint=backup.fingerprint,
                set=backup.set,
                by_hand=tuple(backup.by_hand),
            )
        except (ValueError, TypeError, AttributeError) as error:
            raise Corrupted(f"The manifest of {backup.id} makes no sense: {error}.") from None


_FIELDS = [each.name for each in fields(Summary)]


def _head(body: bytes) -> bytes:
    """The first line of the file: what the rest must be."""
    head = {"format": FORMAT, "fields": _FIELDS, "sha256": hashlib.sha256(body).hexdigest()}
    return json.dumps(head).encode() + b"\n"


class ManifestCache:
    """The cache of one component in one repository.

    Args:
        writable: False in check mode: it is used and left as it is.
    """

    def __init__(self, state_dir: str, component: str, repository: str, *, writable: bool = True) -> None:
        self._directory = os.path.join(state_dir, "components", component)
        self.path = os.path.join(self._directory, f"catalogue-{safe_name(repository)}.json")
        self._writable = writable
        self._stale = False

    def load(self, listing: Mapping[str, StoredObject]) -> dict[str, Summary]:
        """The summaries that are known and still hold, by id."""
        known: dict[str, Summary] = {}
        entries = self._entries()
        for backup_id, (size, modified, values) in entries.items():
            item = listing.get(backup_id)
            if item is not None and size == item.size and modified == item.modified.timestamp():
                known[backup_id] = Summary(**{**dict(zip(_FIELDS, values)), "by_hand": tuple(values[-1])})
            else:
                self._stale = True
        return known

    def _entries(self) -> dict[str, Any]:
        """All entries, or none: a file that is not as it was written tells nothing."""
        try:
            with open(self.path, "rb") as stream:
                head, body = stream.readline(), stream.read()
            if head == _head(body):
                entries: dict[str, Any] = json.loads(body)
                return entries
            self._stale = True
        except FileNotFoundError:
            pass
        except OSError:
            self._stale = True
        return {}

    def save(self, known: Mapping[str, tuple[StoredObject, Summary]], *, changed: bool) -> None:
        """Keep what is known now; a cache that cannot be written only costs time."""
        if not self._writable or not (changed or self._stale):
            return
        entries = {
            backup_id: [item.size, item.modified.timestamp(), [getattr(summary, name) for name in _FIELDS]]
            for backup_id, (item, summary) in known.items()
        }
        body = json.dumps(entries, separators=(",", ":")).encode("utf-8", "surrogateescape")
        temporary = f"{self.path}.{os.getpid()}.tmp"
        try:
            private_directory(self._directory)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(descriptor, "wb") as stream:
                stream.writelines((_head(body), body))
            os.replace(temporary, self.path)
        except (OSError, InvalidOption):
            with contextlib.suppress(OSError):
                os.unlink(temporary)
