# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Large files by content: what the repositories have, what must be sent, what a backup refers to.

PRIVATE to the collection; may change without notice.

A blob is `blobs/ab/<name>.<backup id>`: named by content, stored once, kept as long as a backup refers to it. The
keys that a backup refers to are its clear artefact of kind `references`, one per repository, so that pruning
and checksum verification need no identity.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from .._manifest import Artefact, Backup, StoredPart
from .._stream._codec import Encryption
from .._stream._fanout import FanOut, Leg
from .._stream._write import ArtefactWriter


@dataclass(frozen=True)
class Reference:
    """One blob of one repository: its name, its objects and how it was encoded."""

    name: str
    objects: tuple[StoredPart, ...]
    compression: str
    encryption: str


class BlobStore:
    """The blobs of one backup run; implements `Blobs` for the engine."""

    def __init__(
        self, run_id: str, fanout: FanOut, writer: ArtefactWriter, component_dir: str, encryption: Encryption
    ) -> None:
        self._id = run_id
        self._fanout = fanout
        self._writer = writer
        self._dir = component_dir
        self._encryption = encryption
        self._used: dict[str, dict[str, Reference]] = {}
        self._references: dict[str, Artefact] = {}
        self.bytes_sent = 0

    def finish(self) -> None:
        """Store the list of references, per repository, when the backup refers to any blob."""

    def confirm(self, leg: Leg) -> None:
        """Look again before the commit: every blob that is referred to is there, whole and not marked for deletion."""

    def complete(self, leg: Leg, manifest: Backup) -> Backup:
        """The manifest for one repository, with its own references."""
        artefact = self._references.get(leg.repository.name)
        if artefact is None:
            return manifest
        used = self._used[leg.repository.name].values()
        size = sum(part.size for reference in used for part in reference.objects)
        references = {"count": len(self._used[leg.repository.name]), "size": size}
        return replace(manifest, artefacts=(*manifest.artefacts, artefact), references=references)

    def stored_keys(self, leg: Leg) -> list[str]:
        """Keys that this run has added to a repository, to be removed when it is not committed."""
        return []
