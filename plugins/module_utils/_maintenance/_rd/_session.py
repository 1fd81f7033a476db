# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking a server many things at once, and remembering what it would not tell.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..._deadline import Deadline
from ..._engines._rd._client import Refusal
from ..._engines._rd._faults import refusal
from ..._engines._rd._server import OLDEST, Server, State, open_server
from ..._errors import Unavailable, VersionMismatch
from .._section import WARNING, Finding

Words = Sequence["str | bytes"]

RIGHTS = (
    "+select +info +config|get +client|list +slowlog|get +scan +type +pttl +memory|usage "
    "+strlen +llen +scard +zcard +hlen +xlen"
)
"""What an ACL user needs for the whole report, beside the right to read the keys."""


def within(options: Mapping[str, Any], deadline: Deadline) -> Server:
    """The server of the options, which is not waited for beyond the deadline.

    Raises:
        InvalidOption: the options contradict each other.
    """
    patience = min(int(options.get("connect_timeout") or 10), max(1, int(deadline.remaining("connecting"))))
    return open_server({**options, "connect_timeout": patience})


class Session:
    """A server that is asked by somebody who may not be allowed everything.

    Attributes:
        refused: the commands that it would not do, with its words.
    """

    def __init__(self, options: Mapping[str, Any], deadline: Deadline) -> None:
        """Nothing is contacted yet.

        Raises:
            InvalidOption: the options contradict each other.
        """
        self.server = within(options, deadline)
        self.where = self.server.where
        self.refused: dict[str, str] = {}

    def optional(self, *words: str) -> Any:
        """The reply, or None when the server will not give it."""
        try:
            return self.server.ask(*words)
        except Refusal as error:
            self.note(words, error)
            return None

    def many(self, database: int, commands: Sequence[Words]) -> list[Any]:
        """The replies to several commands in a database; None for what the server will not do."""
        replies = self.server.ask_many(database, commands)
        for number, (words, reply) in enumerate(zip(commands, replies)):
            if isinstance(reply, Refusal):
                self.note(words, reply)
                replies[number] = None
        return replies

    def note(self, words: Words, error: Refusal) -> None:
        """Remember that a right is missing, or a command was taken away.

        Raises:
            HoldfastError: it is another trouble.
        """
        if str(error).startswith("WRONGTYPE"):  # it is another key now
            return
        if not re.match("NOPERM|ERR unknown (sub)?command", str(error)):
            raise refusal(str(error), self.where)
        plain = [each if isinstance(each, str) else each.decode("utf-8", "replace") for each in words]
        two = plain[0] in ("CONFIG", "CLIENT", "SLOWLOG", "MEMORY", "OBJECT")
        self.refused.setdefault(" ".join(plain[: 1 + two]), str(error))

    def state(self) -> State:
        """What the server says of itself; nothing of it when it does not say.

        Raises:
            HoldfastError: it cannot be reached, does not know us, is loading, or is too old.
        """
        # No PING: a server that cannot save its data refuses it (MISCONF), and answers all the rest.
        state = State.parse(str(self.optional("INFO") or ""))
        if state.info.get("loading") == "1":
            raise Unavailable(f"The server at {self.where} is still loading its data.", stage="preflight")
        if state.info and state.numbers < OLDEST:
            raise VersionMismatch(
                f"The server at {self.where} is version {state.version}; Redis 6.0 is the oldest that is supported.",
                stage="preflight",
            )
        return state

    def setting(self, name: str) -> str | None:
        """A setting of the server."""
        row = self.optional("CONFIG", "GET", name)
        return str(row[1]) if row and len(row) > 1 else None

    def findings(self, user: str | None) -> list[Finding]:
        """What could not be looked at."""
        if not self.refused:
            return []
        missing = ", ".join(sorted(self.refused))
        words = next(iter(self.refused.values()))
        return [
            Finding(
                "not_permitted",
                WARNING,
                f"The server would not do {missing}, so what that tells is missing here. It said: {words[:200]}",
                advice=f"`ACL SETUSER {user or 'default'} {RIGHTS} %R~*`; Redis 6 knows only `~*` and whole commands "
                "(`+config`).",
            )
        ]

    def close(self) -> None:
        """Give the connection back."""
        self.server.close()
