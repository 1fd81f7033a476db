# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the maintenance of PostgreSQL logs in: as the engine does, for one statement after the other.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from ..._declaration._report import Report
from ..._engines._pg._server import OPTIONS as SERVER_OPTIONS
from ..._engines._pg._server import Server
from ..._engines._pg._sql import Session
from ..._spec import Spec

LOGIN_SPEC = Spec(
    {
        "database": {"type": "str", "required": True},
        **{
            name: option
            for name, option in SERVER_OPTIONS.items()
            if name not in ("statement_timeout", "maintenance_db")  # every statement has a limit of its own
        },
    },
    mutually_exclusive=[
        ["login_host", "login_unix_socket"],
        ["login_password", "login_password_file"],
        ["container", "service"],
        ["container", "bin_dir"],
    ],
    required_together=[["ssl_cert", "ssl_key"]],
    required_by={"service_file": ["service"]},
)
"""The database, and the options of the fragments `postgresql_login` and `container`."""

LOCK_TIMEOUT = 1.0
"""Seconds that a look waits for a lock: whoever holds one against readers has more urgent work than a report."""


def examine_login(options: Mapping[str, Any], report: Report) -> None:
    """Add what is wrong with the login that the spec cannot say."""
    port = options.get("login_port")
    if port is not None and not 0 < port < 65536:
        report.key("login_port").add("is no port: it must be between 1 and 65535")
    if (options.get("connect_timeout") or 1) < 1:
        report.key("connect_timeout").add("must be at least 1 (second)")


@contextlib.contextmanager
def opened(options: Mapping[str, Any], purpose: str, seconds: float | None = None) -> Iterator[Session]:
    """A session in the database of the options.

    Args:
        purpose: what it is called on the server: `holdfast:<purpose>`.
        seconds: how long connecting may take at most, where that is less than connect_timeout.

    Raises:
        HoldfastError: as `Server.connect`.
    """
    login = {name: options.get(name) for name in SERVER_OPTIONS}
    if seconds is not None:
        login["connect_timeout"] = max(1, min(int(seconds), int(login["connect_timeout"] or 10)))
    server = Server(login, "maintenance")
    server.application_name = f"holdfast:{purpose}"
    with contextlib.ExitStack() as stack:
        stack.callback(server.close)
        yield stack.enter_context(server.connect(str(options["database"])))


def limit(session: Session, statement: float, lock: float | None = LOCK_TIMEOUT, *, local: bool = False) -> None:
    """Let the server itself cancel what takes longer than this many seconds, so that nothing of ours goes on there.

    Args:
        statement: seconds for each statement from here on; more than 0.
        lock: seconds that one may wait for a lock; None for as long as the statement.
        local: for this transaction only.
    """
    scope = "LOCAL " if local else ""
    session.execute(f"SET {scope}statement_timeout = {max(1, round(statement * 1000))}")
    session.execute(f"SET {scope}lock_timeout = {0 if lock is None else max(1, round(lock * 1000))}")
