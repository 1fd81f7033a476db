# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What PostgreSQL's servers and tools say when they fail, told apart.

PRIVATE to the collection; may change without notice.

The SQLSTATE does not depend on the server's language. Failures to connect have none in libpq, and tools give none,
so there the words decide (the tools run with LC_ALL=C).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ..._errors import (
    AlreadyExists,
    AuthenticationFailed,
    DiskFull,
    HoldfastError,
    InvalidOption,
    Locked,
    NotFound,
    PermissionDenied,
    TimedOut,
    TlsFailed,
    ToolFailed,
    Unavailable,
    Unsupported,
    redact,
)


class SqlFailed(ToolFailed):
    """The server refused a statement for a reason that has no class of its own; `sqlstate` is its code."""

    def __init__(self, message: str, *, sqlstate: str, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.sqlstate = sqlstate


_STATES: tuple[tuple[str, type[HoldfastError], str], ...] = (
    ("28", AuthenticationFailed, "The PostgreSQL server does not accept the login."),
    ("3D000", NotFound, "The database does not exist."),
    ("42501", PermissionDenied, "The PostgreSQL role may not do this."),
    ("42P04", AlreadyExists, "The database exists already."),
    ("42710", AlreadyExists, "The object exists already."),
    ("53100", DiskFull, "The PostgreSQL server's disk is full."),
    ("55P03", Locked, "A lock was not to be had in time."),
    ("57014", TimedOut, "The PostgreSQL server cancelled the statement."),
    ("57P", Unavailable, "The PostgreSQL server ended the session."),
    ("53300", Unavailable, "The PostgreSQL server takes no more connections."),
    ("08", Unavailable, "The connection to the PostgreSQL server was lost."),
)

_WORDS: tuple[tuple[str, type[HoldfastError], str, str | None], ...] = (
    (
        (
            r"password authentication failed|no password supplied|fe_sendauth"
            r"|(?<!certificate )authentication failed for user|no pg_hba\.conf entry|pg_hba\.conf rejects connection"
            r"|FATAL: +role \".*\" does not exist|role \".*\" is not permitted to log in"
        ),
        AuthenticationFailed,
        "The PostgreSQL server does not accept the login.",
        "Check login_user, login_password and run_as, and the server's pg_hba.conf.",
    ),
    (
        r"ERROR: +role \".*\" does not exist",
        NotFound,
        "A role that the backup refers to does not exist on the server.",
        "Create it, then restore again.",
    ),
    (r"database \".*\" does not exist", NotFound, "The database does not exist.", None),
    (
        r"definition of service|service file \".*\" not found",
        InvalidOption,
        "The service is not defined.",
        "Check service and service_file.",
    ),
    (
        # Never a bare word: it could be part of a table's name.
        (
            r"SSL error|server does not support SSL|SSL support is not|SSL connection|certificate verify failed"
            r"|root certificate file|server certificate for|certificate file|private key file"
            r"|certificate authentication failed|requires a valid client certificate|tlsv1|sslv3"
        ),
        TlsFailed,
        "The TLS connection to the PostgreSQL server failed.",
        "Check ssl_mode, ca_cert, ssl_cert and ssl_key.",
    ),
    (
        r"timeout expired|timed out",
        TimedOut,
        "The PostgreSQL server did not answer in time.",
        "Look at the server and the network; connect_timeout bounds the wait.",
    ),
    (
        r"permission denied for|must be superuser|must be owner|row-level security policy|permission denied to",
        PermissionDenied,
        "The PostgreSQL role may not do this.",
        None,
    ),
    (
        (
            r"Connection refused|No such file or directory|could not translate host name"
            r"|failed to resolve host|starting up|shutting down"
            r"|too many clients|remaining connection slots|Network is unreachable|No route to host"
            r"|server closed the connection|terminating connection|Is the server running|connection to server was lost"
            r"|recovery mode|Connection reset"
        ),
        Unavailable,
        "The PostgreSQL server cannot be reached.",
        "Check that it runs, and login_host, login_port or login_unix_socket.",
    ),
    (
        r"canceling statement due to lock timeout",
        Locked,
        "A lock was not to be had in time.",
        "Somebody uses what is wanted (pg_stat_activity and pg_locks tell who); try again when they have ended.",
    ),
    (
        r"out of shared memory|max_locks_per_transaction",
        Unsupported,
        "The server has no room for so many locks.",
        "Raise max_locks_per_transaction (needs a restart of PostgreSQL), or dump fewer schemas at once.",
    ),
    (r"No space left on device|Check free disk space", DiskFull, "The disk is full.", None),
)


def words_error(text: str) -> HoldfastError | None:
    """The typed error that a tool's or libpq's words mean, or None."""
    # The statement that a tool repeats after its complaint is full of other people's names.
    complaint = re.split(r"Query was:|Command was:", text)[0]
    for pattern, kind, message, hint in _WORDS:
        if re.search(pattern, complaint):
            return kind(message, tool_output=text, hint=hint)
    return None


def connection_error(text: str, secrets: Iterable[str | None] = ()) -> HoldfastError:
    """Why a connection was not made."""
    text = redact(text, secrets)
    return (words_error(text) or ToolFailed("No connection to the PostgreSQL server.", tool_output=text)).at(
        "preflight"
    )


def statement_error(sqlstate: str | None, text: str) -> HoldfastError:
    """Why a statement failed."""
    for prefix, kind, message in _STATES:
        if sqlstate and sqlstate.startswith(prefix):
            return kind(message, tool_output=text)
    if not sqlstate:
        return words_error(text) or Unavailable("The connection to the PostgreSQL server was lost.", tool_output=text)
    return SqlFailed(f"The PostgreSQL server refused a statement ({sqlstate}).", sqlstate=sqlstate, tool_output=text)


def describe_tool(error: HoldfastError) -> HoldfastError:
    """A tool's failure as the typed error that its words mean; for `ProcessSource(describe=…)`."""
    meant = words_error(error.tool_output or "")
    if meant is None:
        return error
    meant.message = f"{error.message} {meant.message}"
    return meant.at(error.stage or "dump")
