# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof of a restore: what the restored server gives out is what was dumped.

PRIVATE to the collection; may change without notice.

Three readings are compared. The dump is read again while it is fetched: it must give the fingerprint exactly. Then the
server that has loaded it is asked for a dump of its own, whose reading must be that of the fetched one. Keys expire
meanwhile, so that comparison is made of the keys that could not have: those whose expiry lies behind the moment at
which the server's dump began.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..._errors import Corrupted
from ..._manifest import Artefact
from ..._stream._source import CHUNK
from .._interface import Proof, RestoreRun
from ._digest import FIELDS_EXPIRE
from ._rdb import Contents, Keyspace, Scanner
from ._server import Server

NOTHING = Keyspace()


@dataclass
class Recorded:
    """The fingerprint of a backup.

    Attributes:
        level: `none` when there is none.
        document: as `Contents.as_json` wrote it.
    """

    level: str = "none"
    document: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, run: RestoreRun) -> Recorded:
        document = run.fingerprint()
        return cls() if document is None else cls(str(document["level"]), document)

    @property
    def proves(self) -> bool:
        return self.level in ("counts", "digest")

    @property
    def bits(self) -> dict[int, int]:
        """The sample of each database."""
        return {int(number): int(one["bits"]) for number, one in self.document.get("databases", {}).items()}

    def scanner(self, cutoff: int | None = None) -> Scanner:
        """A scanner that looks at what was looked at."""
        return Scanner(bits=self.bits, cutoff=cutoff, frame_only=not self.proves)

    def check(self, contents: Contents) -> None:
        """What was fetched must be what was dumped.

        Raises:
            Corrupted: it is not.
        """
        if not self.proves:
            return
        found = contents.as_json()
        wanted = {name: self.document[name] for name in found}
        if found != wanted:
            raise Corrupted(
                "The stored dump is not what was dumped: its keys differ from the fingerprint.", stage="fetch"
            )


def fetch(run: RestoreRun, artefact: Artefact, path: str, recorded: Recorded) -> Contents:
    """Write the dump into a new file, 0600, comparing it with the fingerprint on its way."""
    scanner = recorded.scanner()
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", buffering=0) as stream:

        def write(piece: Any) -> None:
            scanner.feed(bytes(piece))
            stream.write(piece)

        run.reader.decode(artefact, write)
        contents = scanner.close()
        os.fsync(stream.fileno())
    recorded.check(contents)
    return contents


def prove(server: Server, path: str, contents: Contents, recorded: Recorded, silence: float | None) -> Proof:
    """Compare what a server has loaded with the dump that it was given.

    Args:
        path, contents: of that dump.
    """
    if not recorded.proves:
        return Proof(recorded.level, 0, (), {"keys": server.state().total})
    cutoff, found = _read_server(server, recorded, silence)
    expected = contents
    if contents.has_expiries:
        expected = _read(_file(path, contents.size), recorded.scanner(cutoff))
    if found.unknown is not None:
        return _by_number(server, contents, expected, found.unknown)
    checked, differences = compare(expected, found)
    details = {
        "keys": found.keys,
        "sampled": sum(each.sampled for each in found.databases.values()),
        "lapsed": sum(each.lapsed for each in expected.databases.values()),
    }
    return Proof(recorded.level, checked, tuple(differences), details)


def _file(path: str, size: int) -> Iterator[bytes]:
    """The first `size` bytes: an append-only file of Redis 6 goes on in the dump that it begins with."""
    with open(path, "rb", buffering=0) as stream:
        while size:
            piece = stream.read(min(size, CHUNK))
            if not piece:
                return
            size -= len(piece)
            yield piece


def _read_server(server: Server, recorded: Recorded, silence: float | None) -> tuple[int, Contents]:
    pieces = server.dump(silence)
    try:
        first = next(pieces, b"")
        # The dump is of an earlier moment than this: what expires later was there.
        cutoff = int(time.time() * 1000)
        scanner = recorded.scanner(cutoff)
        scanner.feed(first)
        return cutoff, _read(pieces, scanner)
    finally:
        pieces.close()  # type: ignore[attr-defined]


def _read(pieces: Iterable[bytes], scanner: Scanner) -> Contents:
    for piece in pieces:
        scanner.feed(piece)
    return scanner.close()


def _by_number(server: Server, most: Contents, least: Contents, unknown: str) -> Proof:
    """What can be said where a newer server writes the same data in a format that is not known here yet.

    Args:
        most, least: the dump with and without the keys that may have expired.
    """
    keys = server.state().total
    differences = []
    if not least.keys <= keys <= most.keys:
        differences.append(f"The server has {keys} keys instead of {most.keys}.")
    details = {"keys": keys, "contents": f"skipped: the restored server writes {unknown}; update the collection"}
    return Proof("estimate", 1, tuple(differences), details)


def compare(expected: Contents, found: Contents) -> tuple[int, list[str]]:
    """How many things were compared, and what differs. Only numbers are told, never a key."""
    said: list[str] = []
    checked = 1
    if (expected.libraries, expected.library_sum) != (found.libraries, found.library_sum):
        said.append(f"The functions differ: {found.libraries} libraries instead of {expected.libraries}.")
    for number in sorted(expected.databases.keys() | found.databases.keys()):
        one, other = expected.databases.get(number, NOTHING), found.databases.get(number, NOTHING)
        checked += len(one.keys) + 1 + one.sampled
        said += [f"Database {number}: {difference}." for difference in _differences(one, other)]
    return checked, said


def _differences(one: Keyspace, other: Keyspace) -> Iterator[str]:
    for name in sorted(one.keys.keys() | other.keys.keys()):
        wanted, there = one.keys.get(name, 0), other.keys.get(name, 0)
        # A hash whose last field expires is gone.
        if there > wanted or (there < wanted and name != FIELDS_EXPIRE):
            yield f"{there} keys of the type {name} instead of {wanted}"
    vanishing = FIELDS_EXPIRE in one.keys  # and with them, maybe, an expiry of their own
    if not vanishing and (one.expiring, one.expiries) != (other.expiring, other.expiries):
        yield f"{other.expiring} keys expire instead of {one.expiring}, or at other times"
    if (one.sampled, one.sample) != (other.sampled, other.sample):
        yield f"the contents of {one.sampled} values that were compared are not the same"
