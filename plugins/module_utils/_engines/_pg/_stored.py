# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup of PostgreSQL as it is read back: details, globals, fingerprint, archives.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from ..._errors import Corrupted
from ..._manifest import Artefact
from ..._process import Process
from .._interface import RestoreRun
from . import _toc
from ._roles import Globals
from ._server import Server


class Stored:
    """What a backup holds.

    Args:
        run: gives its artefacts.
    """

    def __init__(self, run: RestoreRun) -> None:
        self.run = run

    @cached_property
    def details(self) -> Mapping[str, Any]:
        """What the databases were beside their contents; see `_catalog`.

        Raises:
            Corrupted: the backup has none.
        """
        artefact = self.run.backup.artefact("details")
        if artefact is None:
            raise Corrupted(f"{self.run.backup.id} does not say what its databases were like (details).")
        document = json.loads(self.run.reader.read_bytes(artefact))
        if not isinstance(document, dict) or not document.get("databases"):
            raise Corrupted(f"{artefact.name} of {self.run.backup.id} names no databases.")
        return document

    @cached_property
    def globals(self) -> Globals | None:
        artefact = self.run.backup.artefact("globals")
        if artefact is None:
            return None
        return Globals(self.run.reader.read_bytes(artefact).decode("utf-8", "surrogateescape"))

    @cached_property
    def _fingerprints(self) -> Mapping[str, Any]:
        document = self.run.fingerprint() or {}
        found: Mapping[str, Any] = document.get("databases", {})
        return found

    def fingerprint(self, database: str) -> Mapping[str, Any]:
        """Of one database; empty when none was taken."""
        found: Mapping[str, Any] = self._fingerprints.get(database, {})
        return found

    @property
    def dumped_by(self) -> int:
        """Major version of the pg_dump that wrote the archives; 0 when the backup does not say."""
        return int(self.run.backup.source.get("pg_dump_major") or 0)

    def dump(self, database: str) -> Artefact:
        """The archive of a database.

        Raises:
            Corrupted: there is none.
        """
        names = [one["name"] for one in self.details["databases"]]
        for artefact in self.run.backup.artefacts:
            if artefact.kind == "dump" and names[int(artefact.attributes.get("database", 0))] == database:
                return artefact
        raise Corrupted(f"{self.run.backup.id} has no dump of the database {database!r}.")

    def contents(self, server: Server, program: str, database: str) -> _toc.Contents:
        """The table of contents of a database's archive; reads its beginning only."""
        process = server.start(program, "--list", "--verbose", stdin=True)
        out = process.popen.stdout
        assert out is not None
        said: list[bytes] = []
        listener = threading.Thread(target=lambda: said.append(out.read()), name="listen", daemon=True)
        listener.start()
        try:
            feed(self.run, self.dump(database), process, whole=False)
            listener.join()
            process.check(stage="restore")
        finally:
            process.terminate()
        return _toc.parse(said[0].decode("utf-8", "surrogateescape"))


class _Enough(Exception):
    """The tool has read what it wants."""


def feed(run: RestoreRun, artefact: Artefact, process: Process, *, whole: bool = True) -> None:
    """Decode an artefact into a tool that may stop reading early.

    Args:
        whole: read the artefact to its end nevertheless, so that its checksum is proved.
    """
    pipe = process.popen.stdin
    assert pipe is not None
    reading = True

    def write(data: bytes | memoryview) -> None:
        nonlocal reading
        view = memoryview(data)
        try:
            while reading and len(view):
                view = view[os.write(pipe.fileno(), view) :]
        except BrokenPipeError:
            reading = False
            if not whole:
                raise _Enough from None

    with contextlib.suppress(_Enough):
        run.reader.decode(artefact, write)
    with contextlib.suppress(BrokenPipeError):
        pipe.close()
