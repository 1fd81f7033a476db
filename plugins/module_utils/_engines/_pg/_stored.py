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
import re
import shutil
import tarfile
import threading
from collections.abc import Container, Iterator, Mapping
from functools import cached_property
from typing import Any

from ..._errors import Corrupted
from ..._manifest import Artefact
from ..._process import Account, Process, hand_over, open_owned
from ..._stream._source import CHUNK
from .._interface import RestoreRun
from .._scratch_directories import mark
from . import _toc
from ._roles import Globals
from ._server import Server

_MEMBER = re.compile(r"(?:toc\.dat|\d+\.dat|blobs(?:_\d+)?\.toc|blob_\d+\.dat)\Z")
"""Files of pg_dump's directory format, uncompressed."""


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

    def dumps(self, database: str) -> list[Artefact]:
        """The archive of a database: one of custom format (`dump`), or the parts of a directory (`directory`).

        Raises:
            Corrupted: there is none.
        """
        found = [
            artefact
            for artefact in self.run.backup.artefacts
            if artefact.kind in ("dump", "directory") and artefact.attributes.get("database") == database
        ]
        if not found:
            raise Corrupted(f"{self.run.backup.id} has no dump of the database {database!r}.")
        return found

    def contents(self, server: Server, program: str, database: str) -> _toc.Contents:
        """The table of contents of a database's archive of custom format; reads its beginning only."""
        process = server.start(program, "--list", "--verbose", stdin=True)
        out = process.popen.stdout
        if out is None:
            raise AssertionError("out is None")
        said: list[bytes] = []
        listener = threading.Thread(target=lambda: said.append(out.read()), name="listen", daemon=True)
        listener.start()
        try:
            feed(self.run, self.dumps(database)[0], process, whole=False)
            listener.join()
            process.check(stage="restore")
        finally:
            process.terminate()
        return _toc.parse(said[0].decode("utf-8", "surrogateescape"))

    @contextlib.contextmanager
    def unpacked(self, database: str, owner: Account | None) -> Iterator[str]:
        """The archive of a database as a file or directory that pg_restore can seek in, below a scratch directory.

        Args:
            owner: whose it shall be; None: ours.
        """
        parts = self.dumps(database)
        with self.run.scratch(owner.name if owner else None) as scratch:
            mark(scratch, owner)
            path = os.path.join(scratch, "archive")
            if parts[0].kind == "dump":
                self.run.reader.to_file(parts[0], path)
            else:
                os.mkdir(path, 0o700)
                # Ours until it is whole; the account could have put another in its place.
                directory = open_owned(path, os.geteuid() if owner else None, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    for part in parts:
                        self.unpack(part, directory)
                finally:
                    os.close(directory)
            if owner is not None:
                hand_over(path, owner)
            yield path

    def unpack(self, part: Artefact, directory: int | None, keep: Container[str] | None = None) -> list[str]:
        """Read a tar stream of files of pg_dump's directory format to its end; the names in it.

        Args:
            directory: a descriptor of where the files go; None only reads.
            keep: those that go there; None: all.

        Raises:
            Corrupted: it breaks off, or holds what pg_dump does not write.
        """
        names = []
        with self.run.reader.open(part) as stream:
            try:
                with tarfile.open(fileobj=stream, mode="r|") as tar:  # type: ignore[call-overload]
                    for member in tar:
                        if not (member.isreg() and _MEMBER.match(member.name)):
                            raise Corrupted(f"{part.name} holds {member.name!r}, which pg_dump does not write.")
                        content = tar.extractfile(member)
                        if content is None:
                            raise AssertionError("content is None")
                        names.append(member.name)
                        if directory is not None and (keep is None or member.name in keep):
                            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                            target = os.open(member.name, flags, 0o600, dir_fd=directory)
                            with open(target, "wb") as out:
                                shutil.copyfileobj(content, out, CHUNK)
                        else:
                            while content.read(CHUNK):
                                pass
                while stream.read(CHUNK):  # the checksum is compared at the very end
                    pass
            except tarfile.TarError as error:
                raise Corrupted(f"{part.name} is no complete tar stream: {error}.") from None
        return names


class _Enough(Exception):
    """The tool has read what it wants."""


def feed(run: RestoreRun, artefact: Artefact, process: Process, *, whole: bool = True) -> None:
    """Decode an artefact into a tool that may stop reading early.

    Args:
        whole: read the artefact to its end nevertheless, so that its checksum is proved.
    """
    pipe = process.popen.stdin
    if pipe is None:
        raise AssertionError("pipe is None")
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
