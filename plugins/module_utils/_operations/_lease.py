# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lease of a repository: one prune at a time, across hosts.

PRIVATE to the collection; may change without notice.

The lease is one small object that is only ever replaced by who has seen its present state (conditional put). It
ends by the store's clock, so a pruner that dies, or whose clock is wrong, holds nobody up for longer than `LENGTH`.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from .._errors import AlreadyExists, HoldfastError, Locked, Unsupported
from .._manifest import LEASE, parse_time, rfc3339
from .._repositories._interface import Repository

LENGTH = timedelta(hours=1)

RENEW = timedelta(minutes=20)
"""Renewed when it is older than this, so that two tries may fail before it ends."""

LOOK = 30.0
"""Seconds between looks at the store's clock."""


class Lease:
    """A held lease. `single` when the store has none and the user vouches that only one place prunes."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._token: str | None = None
        self._until: datetime | None = None
        self._looked = 0.0

    def take(self) -> None:
        """Take the lease, or take a stale one over.

        Raises:
            Locked: somebody else holds it; the message names who, and until when.
            Unsupported: the store has no conditional put and `single_pruner` is not set.
        """
        try:
            state = self._repository.read_token(LEASE)
            now = self._repository.clock()
            if state is not None:
                self._refuse_if_held(state[0], now)
            self._write(state[1] if state else None, now)
        except AlreadyExists:
            raise self._lost("was taken by another prune just now") from None
        except Unsupported:
            if not self._repository.single_pruner:
                raise

    def _refuse_if_held(self, data: bytes, now: datetime) -> None:
        try:
            holder: dict[str, Any] = json.loads(data)
            until = parse_time(str(holder["until"]))
        except (ValueError, KeyError, TypeError):
            return  # nobody who follows the protocol wrote it
        # A lease can end at most LENGTH from now; what says more was written by a clock that was wrong.
        if now < until <= now + LENGTH:
            raise Locked(
                f"The repository {self._repository.name} is being pruned by process {holder.get('pid')} on "
                f"{holder.get('host')}.",
                stage="lock",
                hint=f"Wait for it; if it is dead, its lease ends at {holder['until']}.",
            )

    def keep(self) -> None:
        """Make sure that it is still ours; called before every step that deletes.

        Raises:
            Locked: it has ended, and somebody else has taken it.
        """
        if self._token is None or self._until is None:
            return
        if time.clock_gettime(time.CLOCK_BOOTTIME) - self._looked < LOOK:  # counts while the machine sleeps, too
            return
        now = self._repository.clock()
        self._looked = time.clock_gettime(time.CLOCK_BOOTTIME)
        if self._until - now > LENGTH - RENEW:
            return
        try:
            self._write(self._token, now)
        except AlreadyExists:
            raise self._lost("was taken over: this prune was too slow") from None

    def give_back(self) -> None:
        """End it now. When that fails, it ends by itself."""
        if self._token is None:
            return
        with contextlib.suppress(HoldfastError):
            now = self._repository.clock()
            document = json.dumps({"until": rfc3339(now - timedelta(seconds=1))}).encode()
            self._repository.replace(LEASE, document, self._token)
        self._token = None

    def _write(self, expected: str | None, now: datetime) -> None:
        until = now + LENGTH
        # The random part makes every state of the lease another one, also within one second of one process.
        document = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "until": rfc3339(until),
            "random": os.urandom(8).hex(),
        }
        self._token = self._repository.replace(LEASE, json.dumps(document).encode(), expected)
        self._until = until

    def _lost(self, how: str) -> Locked:
        self._token = None
        return Locked(
            f"The lease of the repository {self._repository.name} {how}.",
            stage="lock",
            hint="Run the prune again when the other one has ended.",
        )


@contextlib.contextmanager
def leased(repository: Repository) -> Iterator[Lease]:
    """Hold the lease of a repository."""
    lease = Lease(repository)
    lease.take()
    try:
        yield lease
    finally:
        lease.give_back()
