# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A connection to Redis or Valkey: commands, and the dump as a replica gets it.

PRIVATE to the collection; may change without notice.

An own one, because it is small, because no client library offers SYNC, and because redis-cli takes a password only
where other processes can see it, waits for ever on a silent server, and differs from version to version in what
`--rdb -` prints.
"""

from __future__ import annotations

import contextlib
import io
import os
import socket
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..._errors import HoldfastError, InvalidOption, NotFound, PermissionDenied, TimedOut, TlsFailed, Unavailable
from ._faults import refusal

CHUNK = 1 << 18
MARK = 40
"""Bytes of the mark behind a dump whose length the server did not know when it began."""


class Refusal(Exception):
    """The server answered with an error; its words."""


@dataclass(frozen=True)
class Address:
    """Where a server listens, and how it is protected.

    Attributes:
        timeout: seconds for a connection and for the answer to a command.
        verify: compare the server's certificate with its name and `ca_cert` (the system's when None).
    """

    host: str = "127.0.0.1"
    port: int = 6379
    unix_socket: str | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    verify: bool = True
    ca_cert: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    timeout: float = 10.0

    @property
    def where(self) -> str:
        if self.unix_socket:
            return self.unix_socket
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Client:
    """An open connection, logged in.

    Raises:
        AuthenticationFailed, PermissionDenied, Unavailable, TimedOut, TlsFailed, NotFound (no such socket).
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self.where = address.where
        self._socket = self._connect()
        self._incoming = io.BufferedReader(self._socket.makefile("rb", buffering=0), CHUNK)
        try:
            if address.password is not None:
                login = [address.user, address.password] if address.user else [address.password]
                self.command("AUTH", *login)
        except BaseException:
            self.close()
            raise

    @property
    def connection(self) -> socket.socket:
        """The socket, an `ssl.SSLSocket` with TLS: for what it tells of the other side."""
        return self._socket

    # -- connecting -----------------------------------------------------------------------------------------------

    def _connect(self) -> socket.socket:
        address = self.address
        try:
            if address.unix_socket:
                return self._connect_unix(address.unix_socket)
            plain = socket.create_connection((address.host, address.port), address.timeout)
        except socket.timeout:  # only from Python 3.10 on it is TimeoutError
            raise TimedOut(f"{self.where} did not answer within {address.timeout:g} s.", stage="preflight") from None
        except OSError as error:
            raise self._unreachable(error) from None
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return self._secure(plain) if address.tls else plain

    def _connect_unix(self, path: str) -> socket.socket:
        plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            plain.settimeout(self.address.timeout)
            plain.connect(path)
        except BaseException:
            plain.close()
            raise
        return plain

    def _unreachable(self, error: OSError) -> HoldfastError:
        path = self.address.unix_socket
        if path and not (os.path.exists(path) and stat.S_ISSOCK(os.stat(path).st_mode)):
            return NotFound(f"There is no socket {path}.", stage="preflight")
        if isinstance(error, PermissionError):
            return PermissionDenied(f"No permission for {self.where}.", right="connect", stage="preflight")
        return Unavailable(
            f"{self.where} cannot be reached.", stage="preflight", tool_output=str(error.strerror or error)
        )

    def _secure(self, plain: socket.socket) -> socket.socket:
        import ssl  # a health check that reads this file's neighbours every minute does not pay for it

        address = self.address
        try:
            context = ssl.create_default_context(cafile=address.ca_cert)
            if not address.verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if address.client_cert:
                context.load_cert_chain(address.client_cert, address.client_key)
        except (OSError, ssl.SSLError) as error:
            plain.close()
            raise InvalidOption(
                "The certificate files cannot be used.", stage="preflight", tool_output=str(error)
            ) from None
        try:
            return context.wrap_socket(plain, server_hostname=address.host)
        except OSError as error:
            plain.close()
            raise TlsFailed(
                f"No protected connection with {self.where} came about.",
                stage="preflight",
                tool_output=str(error),
                hint="Look at tls, ca_cert and the server's tls-port and certificate.",
            ) from None

    # -- commands -------------------------------------------------------------------------------------------------

    def command(self, *words: str | bytes, stage: str | None = None) -> Any:
        """The reply: bytes, int, None or a list of these.

        Raises:
            HoldfastError: it is an error, or there is none.
        """
        try:
            return self.ask(*words)
        except Refusal as error:
            raise refusal(str(error), self.where, stage=stage) from None

    def ask(self, *words: str | bytes) -> Any:
        """As `command`, for who can do without: an error is a `Refusal`."""
        self._send(*words)
        with self._troubles():
            return self._reply()

    def ask_many(self, commands: Sequence[Sequence[str | bytes]]) -> list[Any]:
        """The replies to several commands that are sent at once; a `Refusal` is one of them, and ends nothing.

        Not more than some thousand commands: the server keeps all replies until they are read.
        """
        replies: list[Any] = []
        with self._troubles():
            self._socket.sendall(b"".join(_encoded(words) for words in commands))
            for _command in commands:
                try:
                    replies.append(self._reply())
                except Refusal as error:
                    replies.append(error)
        return replies

    def _send(self, *words: str | bytes) -> None:
        with self._troubles():
            self._socket.sendall(_encoded(words))

    def _reply(self) -> Any:
        line = self._line()
        mark, rest = line[:1], line[1:]
        if mark == b"+":
            return rest
        if mark == b"-":
            raise Refusal(rest.decode("utf-8", "replace"))
        if mark == b":":
            return int(rest)
        if mark == b"$":
            size = int(rest)
            return None if size < 0 else self._exactly(size + 2)[:-2]
        if mark == b"*":
            return None if int(rest) < 0 else [self._reply() for _element in range(int(rest))]
        raise Unavailable(f"{self.where} does not speak as Redis does.", tool_output=repr(line[:80]))

    def _line(self) -> bytes:
        line = self._incoming.readline(1 << 16)
        if not line.endswith(b"\n"):
            raise Unavailable(f"{self.where} closed the connection.")
        return line.rstrip(b"\r\n")

    def _exactly(self, size: int) -> bytes:
        data = self._incoming.read(size)
        if len(data) < size:
            raise Unavailable(f"{self.where} closed the connection.")
        return data

    @contextlib.contextmanager
    def _troubles(self) -> Iterator[None]:
        try:
            yield
        except socket.timeout:  # only from Python 3.10 on it is TimeoutError
            raise TimedOut(f"{self.where} has said nothing for {self._socket.gettimeout():g} s.") from None
        except OSError as error:
            raise Unavailable(
                f"The connection to {self.where} broke.", tool_output=str(error.strerror or error)
            ) from None
        except ValueError as error:
            raise Unavailable(f"{self.where} does not speak as Redis does.", tool_output=str(error)) from None

    # -- the dump -------------------------------------------------------------------------------------------------

    def dump(self, silence: float | None, version: str) -> Iterator[bytes]:
        """The RDB, as a replica gets it; complete when the iterator ends.

        Args:
            silence: seconds without a byte after which it is given up; None waits for ever.
            version: the server's own.
        """
        self._socket.settimeout(silence)
        for words in (
            ("capa", "eof"),  # it need not know the length, and can send what it never wrote to its disk
            ("rdb-only", "1"),  # from 6.2 on: do not keep what changes meanwhile for us, which costs memory
            ("version", version),  # Valkey, from 9.0 on: a replica that does not say this gets an older format, or none
        ):
            with contextlib.suppress(Refusal):
                self.ask("REPLCONF", *words)
        self._send("SYNC")
        with self._troubles():
            head = self._line()
            while not head:  # a sign of life, while the server prepares the dump
                head = self._line()
        if head.startswith(b"-"):
            raise refusal(head[1:].decode("utf-8", "replace"), self.where, stage="dump")
        if head.startswith(b"$EOF:"):
            yield from self._until(head[5:])
        elif head.startswith(b"$"):
            yield from self._so_many(int(head[1:]))
        else:
            raise Unavailable(f"{self.where} does not speak as Redis does.", tool_output=repr(head[:80]), stage="dump")

    def _so_many(self, size: int) -> Iterator[bytes]:
        while size:
            piece = self._piece(min(size, CHUNK))
            size -= len(piece)
            yield piece

    def _until(self, mark: bytes) -> Iterator[bytes]:
        """All bytes before the mark: it is the last thing that the server sends."""
        if len(mark) != MARK:
            raise Unavailable(f"{self.where} announced a dump without saying how it ends.", stage="dump")
        held = b""
        while held != mark:
            piece = held + self._piece(CHUNK)
            piece, held = piece[:-MARK], piece[-MARK:]
            if piece:
                yield piece

    def _piece(self, limit: int) -> bytes:
        with self._troubles():
            piece = self._incoming.read1(limit)
        if not piece:
            raise Unavailable(
                f"{self.where} ended the connection in the middle of the dump.",
                stage="dump",
                hint="Look at its log: it may have stopped, run out of memory or disk, or dropped us as a slow replica "
                "(client-output-buffer-limit).",
            )
        return piece

    def abort(self) -> None:
        """End the connection under whoever reads from it. Never raises."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        for each in (self._incoming, self._socket):
            with contextlib.suppress(OSError):
                each.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_why: object) -> None:
        self.close()


def _encoded(words: Sequence[str | bytes]) -> bytes:
    plain = [word.encode() if isinstance(word, str) else word for word in words]
    return b"".join([b"*%d\r\n" % len(plain), *(b"$%d\r\n%s\r\n" % (len(word), word) for word in plain)])
