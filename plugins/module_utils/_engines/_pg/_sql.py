# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One SQL channel with two implementations: psycopg in this process, and psql in a child of another kind.

PRIVATE to the collection; may change without notice.

psql is used where libpq in this process cannot be who it must be: a peer-authenticated socket asks the kernel which
user connected, so a child dropped to that user has to; and a server inside a container is reached by the
container's own psql. Both implementations hand rows over as JSON made by the server, so they return the same.
"""

from __future__ import annotations

import abc
import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..._errors import HoldfastError, MissingDependency, TimedOut, Unavailable, failures_ignored
from ..._process import Process, wait_readable
from ._faults import connection_error, statement_error

PINNED: Mapping[str, str] = {
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
    "search_path": "pg_catalog",
    "row_security": "off",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "xmloption": "content",
    "quote_all_identifiers": "off",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "transaction_timeout": "0",
}
"""What every session of ours sets for itself: roles and databases may have been told otherwise. A role that row
security applies to gets an error (`row_security = off`) instead of fewer rows."""

# set_config() reaches only what the server knows, so one statement fits 13 to 18.
_PIN = "SELECT count(set_config(p.name, p.value, false)) AS n FROM (VALUES {values}) AS p (name, value) JOIN pg_settings s ON lower(s.name) = lower(p.name)"  # noqa: E501


def identifier(*names: str) -> str:
    """A quoted, possibly qualified name."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def literal(value: str) -> str:
    """A quoted string (`standard_conforming_strings` is pinned on)."""
    return "'" + value.replace("'", "''") + "'"


def literals(values: Iterable[str]) -> str:
    """A text array of quoted strings."""
    return "ARRAY[" + ", ".join(literal(value) for value in values) + "]::text[]"


class Session(abc.ABC):
    """A connection in autocommit; transactions are begun and ended by statements. Not for two threads at once."""

    database: str

    def rows(self, query: str, timeout: float | None = None) -> list[dict[str, Any]]:
        """All rows of a query, by column name; values as JSON has them (integers are exact; cast what JSON lacks).

        Args:
            timeout: seconds until the answer must be there; the session is ended when it is not.

        Raises:
            HoldfastError: typed after the SQLSTATE.
        """
        text = self._run(f"SELECT coalesce(json_agg(r), '[]') FROM (\n{query}\n) AS r", timeout)
        found: list[dict[str, Any]] = json.loads(text)
        return found

    def row(self, query: str, timeout: float | None = None) -> dict[str, Any]:
        """The only row."""
        (only,) = self.rows(query, timeout)
        return only

    def value(self, query: str, timeout: float | None = None) -> Any:
        """The only value of the only row."""
        (only,) = self.row(query, timeout).values()
        return only

    def document(self, statement: str, timeout: float | None = None) -> Any:
        """The JSON document that a statement gives which cannot stand within a query: it changes rows, or explains."""
        return json.loads(self._run(statement, timeout))

    def execute(self, statement: str, timeout: float | None = None) -> None:
        """One statement without a result."""
        self._run(statement, timeout)

    @contextlib.contextmanager
    def transaction(self, mode: str = "") -> Iterator[None]:
        """BEGIN …, COMMIT at the end, ROLLBACK on an error."""
        self.execute(f"BEGIN {mode}")
        try:
            yield
        except BaseException:
            with failures_ignored():  # the session may be gone, and the transaction with it
                self.execute("ROLLBACK")
            raise
        self.execute("COMMIT")

    def pin(self, timeout: float | None = None) -> None:
        """Set what our sessions rely on."""
        values = ", ".join(f"({literal(name)}, {literal(value)})" for name, value in PINNED.items())
        self._run(_PIN.format(values=values), timeout)

    def without_triggers(self) -> None:
        """Let no trigger, event triggers included, act on what this session does, but those that are enabled always.
        Only a superuser may say so; for others nothing changes."""
        self.rows(
            "SELECT set_config('session_replication_role', 'replica', false) FROM pg_roles"
            " WHERE rolname = current_user AND rolsuper"
        )

    @abc.abstractmethod
    def copy_out(self, statement: str, timeout: float | None = None) -> bytes:
        """What `COPY … TO STDOUT` gives, all at once; no line of it may be empty."""

    @abc.abstractmethod
    def _run(self, statement: str, timeout: float | None) -> str:
        """Run one statement; the first column of its only row, or nothing."""

    @abc.abstractmethod
    def close(self) -> None:
        """End the session. Never raises; safe to call twice, and from another thread."""

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class PsycopgSession(Session):
    """psycopg 3 in this process."""

    def __init__(self, database: str, parameters: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        """Connect.

        Args:
            parameters: of libpq, by name; a password may be among them.
            environment: libpq variables (PGSERVICEFILE) that it reads from our environment while it connects.
        """
        psycopg = _psycopg()
        self.database = database
        try:
            with _environment(environment):
                self._connection = psycopg.connect(**parameters, autocommit=True, prepare_threshold=None)
        except psycopg.Error as error:
            raise connection_error(str(error), [parameters.get("password")]) from None
        self._connection.adapters.register_loader("json", _raw_text_loader())
        self._timed_out = False

    def _run(self, statement: str, timeout: float | None) -> str:
        with self._limited(timeout):
            cursor = self._connection.execute(statement.encode("utf-8", "surrogateescape"))
            if cursor.description is None:
                return ""
            row = cursor.fetchone()
            return "" if row is None or row[0] is None else str(row[0])

    def copy_out(self, statement: str, timeout: float | None = None) -> bytes:
        encoded = statement.encode("utf-8", "surrogateescape")
        with self._limited(timeout), self._connection.cursor() as cursor, cursor.copy(encoded) as copy:
            return b"".join(bytes(chunk) for chunk in copy)

    @contextlib.contextmanager
    def _limited(self, timeout: float | None) -> Iterator[None]:
        """Cut the connection when the time is over; what psycopg raises becomes an error of ours."""
        psycopg = _psycopg()
        timer = threading.Timer(timeout, self._give_up) if timeout else None
        if timer:
            timer.daemon = True
            timer.start()
        try:
            yield
        except psycopg.Error as error:
            if self._timed_out:
                raise _too_late(timeout) from None
            diagnostics = getattr(error, "diag", None)
            said = (diagnostics and diagnostics.message_primary) or str(error)
            detail = diagnostics and (diagnostics.message_detail or diagnostics.message_hint)
            raise statement_error(error.sqlstate, f"{said} {detail or ''}".strip()) from None
        finally:
            if timer:
                timer.cancel()

    def _give_up(self) -> None:
        """Cut the connection, so that the thread that waits for an answer gets an error."""
        self._timed_out = True
        self._cut()

    def _cut(self) -> None:
        with (
            contextlib.suppress(OSError, _psycopg().Error),
            socket.socket(fileno=os.dup(self._connection.fileno())) as s,
        ):
            s.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        if not self._connection.closed and self._connection.info.transaction_status == 1:  # ACTIVE: a thread waits
            self._cut()
        with contextlib.suppress(_psycopg().Error):
            self._connection.close()


class PsqlSession(Session):
    """psql in a child process: its stdin takes statements, its stdout gives one JSON text for each."""

    def __init__(self, database: str, process: Process, connect_timeout: float) -> None:
        self.database = database
        self._process = process
        self._token = secrets.token_hex(12)
        self._pending = b""
        self._connected = False
        # libpq keeps its own timeout; this one is for a psql that never even starts (a frozen container, say).
        self.execute("\\set ON_ERROR_STOP 0", connect_timeout * 2 + 5)
        self._connected = True

    def _run(self, statement: str, timeout: float | None) -> str:
        token = self._token
        end = "" if statement.startswith("\\") else "\n;"
        outcome = f"\\echo\n\\echo {token} :ERROR :SQLSTATE\n\\echo :LAST_ERROR_MESSAGE\n\\echo {token} end\n"
        text = f"{statement}{end}\n{outcome}".encode("utf-8", "surrogateescape")
        try:
            self._write(text)
        except (BrokenPipeError, ValueError):  # the latter where it was found to have ended before
            raise self._ended() from None
        answer = self._read_until(f"{token} end\n".encode(), timeout).decode("utf-8", "surrogateescape")
        result, _token, status = answer.rpartition(f"\n{token} ")
        first, _newline, message = status.partition("\n")
        failed, _space, sqlstate = first.partition(" ")
        if failed == "true" and end:
            raise statement_error(sqlstate.strip(), message.strip())
        return result.strip("\n")

    def copy_out(self, statement: str, timeout: float | None = None) -> bytes:
        text = self._run(statement, timeout)
        return f"{text}\n".encode("utf-8", "surrogateescape") if text else b""

    def _write(self, data: bytes) -> None:
        pipe = self._process.popen.stdin
        if pipe is None:
            raise AssertionError("pipe is None")
        view = memoryview(data)
        while view:
            view = view[os.write(pipe.fileno(), view) :]

    def _read_until(self, mark: bytes, timeout: float | None) -> bytes:
        pipe = self._process.popen.stdout
        if pipe is None:
            raise AssertionError("pipe is None")
        deadline = time.monotonic() + timeout if timeout else None
        buffer = bytearray()
        while not buffer.endswith(mark):
            if deadline is not None and not wait_readable(pipe.fileno(), deadline - time.monotonic()):
                self.close()
                raise _too_late(timeout)
            try:
                chunk = os.read(pipe.fileno(), 1 << 20)
            except (OSError, ValueError):
                chunk = b""  # closed by another thread
            if not chunk:
                raise self._ended()
            buffer += chunk
        return bytes(buffer[: -len(mark)])

    def _ended(self) -> HoldfastError:
        """Why psql is gone: it could not connect, or lost its server."""
        self._process.terminate()
        said = self._process.stderr
        if self._connected:
            return Unavailable("The connection to the PostgreSQL server was lost.", tool_output=said)
        return connection_error(said)

    def close(self) -> None:
        pipe = self._process.popen.stdin
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
        self._process.terminate()


def _too_late(timeout: float | None) -> TimedOut:
    return TimedOut(
        f"The PostgreSQL server gave no answer within {timeout:g} s.",
        hint="Look at the server (is it hung, or is a lock held?); statement_timeout bounds the wait.",
    )


def _psycopg() -> Any:
    try:
        import psycopg
    except ImportError as error:
        raise MissingDependency(
            "The Python library psycopg (3) is not usable in the interpreter that runs this module.",
            stage="preflight",
            tool_output=str(error),
            hint="The role holdfast.ops.runtime installs it; or set ansible_python_interpreter to one that has it.",
        ) from None
    return psycopg


def _raw_text_loader() -> Any:
    """A loader that keeps the server's text: databases in SQL_ASCII hold bytes of no known encoding."""
    from psycopg.adapt import Loader

    class RawText(Loader):
        def load(self, data: Any) -> str:
            return bytes(data).decode("utf-8", "surrogateescape")

    return RawText


_ENVIRONMENT_LOCK = threading.Lock()


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Our own environment for the moment in which libpq reads it: exactly these PG variables and no others."""
    with _ENVIRONMENT_LOCK:
        before = {name: value for name, value in os.environ.items() if name.startswith("PG")}
        try:
            for name in before:
                del os.environ[name]
            os.environ.update(variables)
            yield
        finally:
            for name in variables:
                os.environ.pop(name, None)
            os.environ.update(before)
