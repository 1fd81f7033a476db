# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where bytes rest: the small interface that every store implements in one file.

PRIVATE to the collection; may change without notice.

A repository knows objects by key and nothing about engines, backups or compression. Rights, from least to
most: *put* and *list* make a backup; *read* verifies and restores; *delete* prunes. No method needs more than
its name says.
"""

from __future__ import annotations

import abc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Union

Buffer = Union[bytes, bytearray, memoryview]

RIGHTS = ("write", "list", "read", "delete")


@dataclass(frozen=True)
class StoredObject:
    """An object as a listing shows it. `modified` is the store's clock, UTC."""

    key: str
    size: int
    modified: datetime


@dataclass(frozen=True)
class Hold:
    """What in the store itself keeps an object from being deleted (Object Lock).

    Attributes:
        until: not before this moment, UTC; None: there is none.
        legal: somebody has put a legal hold on it, which ends when it is lifted.
    """

    until: datetime | None = None
    legal: bool = False


@dataclass(frozen=True)
class PartSum:
    """What we know of one uploaded part: its number (from 1), length in bytes and SHA-256."""

    number: int
    size: int
    sha256: bytes


@dataclass(frozen=True)
class ProbeReport:
    """What a preflight found out. `rights` maps each right to True, False or None (not provable without trying)."""

    rights: Mapping[str, bool | None]
    checks_content: str
    """How this store proves what it received: `sha256`, `md5`, `read-back`."""
    free_bytes: int | None = None
    warnings: tuple[str, ...] = ()
    size_bytes: int | None = None


class Upload(abc.ABC):
    """One object being written in parts. Parts may arrive from several threads and out of order."""

    @abc.abstractmethod
    def write_part(self, number: int, data: Buffer, sha256: bytes) -> None:
        """Store one part; the store must have confirmed its SHA-256 when this returns.

        All parts but the last have the repository's `part_size`. `data` may be reused by the caller afterwards.
        """

    @abc.abstractmethod
    def complete(self, parts: Sequence[PartSum]) -> None:
        """Make the object visible, whole and durable, under its key, or raise. Never replaces an existing object."""

    @abc.abstractmethod
    def abort(self) -> None:
        """Give up and leave nothing behind where the rights allow that. Never raises; safe to call twice."""


class Repository(abc.ABC):
    """A place for backups. Keys are relative to the repository's prefix and use `/`.

    Every method raises the typed errors of `_errors` (AuthenticationFailed, PermissionDenied with its right,
    NotFound, Unavailable, TimedOut, TlsFailed, DiskFull, Unsupported), never a library's own.
    """

    type: ClassVar[str]
    OPTIONS: ClassVar[Mapping[str, Any]]
    """Option spec in the form of an Ansible argument spec; `name` and `type` are common to all stores."""
    WRITTEN: ClassVar[Sequence[str]] = ()
    """Options that name a directory of this host which is written to; sandboxed jobs must be let in."""

    name: str
    part_size: int = 16 * 1024 * 1024
    max_parts: int = 1_000_000
    parallel: int = 3
    """Parts in flight at once."""
    stall_timeout: float = 120.0
    """Seconds without a finished part after which a fan-out drops this repository."""
    single_pruner: bool = False
    """The user vouches that only one place prunes, for a store that has no conditional put."""

    @abc.abstractmethod
    def probe(self, rights: Sequence[str], expected_bytes: int = 0, *, write: bool = True) -> ProbeReport:
        """Prove reachability, the named rights and, where the store has one, free room; raise what is missing.

        With `write=False` (check mode) nothing is written and unprovable rights are reported as None.
        """

    @abc.abstractmethod
    def put(self, key: str, data: Buffer, sha256: bytes) -> None:
        """Create a small object, confirmed and durable.

        Raises:
            AlreadyExists: the key is taken (where the store can tell).
        """

    @abc.abstractmethod
    def begin(self, key: str) -> Upload:
        """Start an object of unknown length."""

    @abc.abstractmethod
    def list(self, prefix: str) -> Iterator[StoredObject]:
        """All objects whose key starts with `prefix`, in key order. Incomplete uploads are not objects."""

    @abc.abstractmethod
    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """The bytes of an object or of a range of it (shorter than asked only at the object's end).

        Raises:
            NotFound: there is no such object.
        """

    @abc.abstractmethod
    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; one that is gone already is no error."""

    def hold(self, key: str) -> Hold:
        """What keeps an object, as far as we may know; needs the right to read. Of one that is gone, nothing."""
        return Hold()

    @abc.abstractmethod
    def replace(self, key: str, data: bytes, expected: str | None) -> str | None:
        """Atomically write a small mutable object (the prune lease) if its state is `expected`.

        `expected` is None (must not exist) or the token of `read_token`. Returns the new token.

        Raises:
            AlreadyExists: somebody else was first.
            Unsupported: the store has no conditional put.
        """

    @abc.abstractmethod
    def read_token(self, key: str) -> tuple[bytes, str] | None:
        """The content and state token of a small mutable object, or None."""

    @abc.abstractmethod
    def clock(self) -> datetime:
        """The store's own time, UTC."""

    @abc.abstractmethod
    def sweep_uploads(self, prefix: str, before: datetime) -> Sequence[str]:
        """Abort incomplete uploads under `prefix` that began before a moment of the store's clock; their keys."""

    def close(self) -> None:  # noqa: B027 - optional: most stores hold nothing open
        """Give back connections."""
