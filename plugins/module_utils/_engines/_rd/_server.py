# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a Redis or Valkey server is, who we are there, and what it can be asked.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import abc
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable

from ..._containers import OPTIONS as CONTAINER_OPTIONS
from ..._containers import Container
from ..._errors import HoldfastError, InvalidOption, PermissionDenied, Unavailable, Unsupported, VersionMismatch
from ._client import Address, Client, Refusal
from ._faults import refusal

OPTIONS: Mapping[str, Any] = {
    "login_host": {"type": "str"},
    "login_port": {"type": "int"},
    "login_unix_socket": {"type": "path"},
    "login_user": {"type": "str"},
    "login_password": {"type": "str", "no_log": True},
    "login_password_file": {"type": "path", "no_log": False},
    "tls": {"type": "bool", "default": False},
    "validate_certs": {"type": "bool", "default": True},
    "ca_cert": {"type": "path"},
    "client_cert": {"type": "path"},
    "client_key": {"type": "path", "no_log": False},
    "bin_dir": {"type": "path"},
    "connect_timeout": {"type": "int", "default": 10},
    **CONTAINER_OPTIONS,
}
"""Where the server is and how to log in: shared by backup, restore and verify."""

OLDEST = (6, 0)
"""The oldest Redis that is supported."""


@dataclass(frozen=True)
class State:
    """What a server says of itself.

    Attributes:
        product: `redis` or `valkey`.
        role: `master` or `slave`, by the protocol's own words.
        keys, expiring: by number of the database.
        used_memory: bytes that the data takes there, about.
    """

    product: str
    version: str
    role: str
    keys: Mapping[int, int]
    expiring: Mapping[int, int]
    used_memory: int
    info: Mapping[str, str]

    @classmethod
    def parse(cls, text: str) -> State:
        info = dict(line.split(":", 1) for line in text.splitlines() if ":" in line and not line.startswith("#"))
        spaces: dict[int, dict[str, str]] = {}
        for name, value in info.items():
            if name[:2] == "db" and name[2:].isdigit():
                spaces[int(name[2:])] = dict(part.split("=", 1) for part in value.split(",") if "=" in part)
        valkey = info.get("server_name") == "valkey" or "valkey_version" in info
        return cls(
            product="valkey" if valkey else "redis",
            version=info.get("valkey_version") or info.get("redis_version", "0"),
            role=info.get("role", ""),
            keys={number: int(one.get("keys", 0)) for number, one in spaces.items()},
            expiring={number: int(one.get("expires", 0)) for number, one in spaces.items()},
            used_memory=int(info.get("used_memory", 0)),
            info=info,
        )

    @property
    def total(self) -> int:
        return sum(self.keys.values())

    @property
    def in_cluster(self) -> bool:
        """Whether it is a node of a cluster, and holds only a part of the keys."""
        return "cluster" in (self.info.get("redis_mode"), self.info.get("server_mode"))  # Valkey calls it so from 9 on

    @property
    def name(self) -> str:
        return "Valkey" if self.product == "valkey" else "Redis"

    @property
    def numbers(self) -> tuple[int, ...]:
        return version_numbers(self.version)


def version_numbers(text: str) -> tuple[int, ...]:
    """`7.2.4` as (7, 2, 4)."""
    return tuple(int(part) for part in text.split(".") if part.isdigit())


class Server(abc.ABC):
    """A server as the options describe it. Nothing is contacted before it is asked.

    Attributes:
        where: the place in a person's words.
        container: that it runs in, or None.
    """

    where: str
    container: Container | None = None

    @abc.abstractmethod
    def ask(self, *words: str) -> Any:
        """The reply to a command: text, a number, None or a list of these.

        Raises:
            Refusal: the server answers with an error.
            HoldfastError: it does not answer.
        """

    @abc.abstractmethod
    def ask_many(self, database: int, commands: Sequence[Sequence[str | bytes]]) -> list[Any]:
        """The replies to several commands, asked at once in one of the databases.

        Each is bytes, a number, None, or a list of these in which further lists are laid flat; or a `Refusal`, which
        ends nothing. Text in several lines (`INFO`, `CLIENT LIST`) is for `ask`.

        Raises:
            HoldfastError: the server does not answer.
        """

    @abc.abstractmethod
    def dump(self, silence: float | None) -> Iterator[bytes]:
        """The RDB of this moment; complete when the iterator ends.

        Args:
            silence: seconds without a byte after which it is given up; None waits for ever.
        """

    @abc.abstractmethod
    def abort(self) -> None:
        """End a dump under whoever reads it. Never raises."""

    @abc.abstractmethod
    def close(self) -> None:
        """Give connections back; asking again opens new ones."""

    def command(self, *words: str, stage: str | None = None) -> Any:
        """As `ask`, with an error as what it means."""
        try:
            return self.ask(*words)
        except Refusal as error:
            raise refusal(str(error), self.where, stage=stage) from None

    def state(self) -> State:
        """Ask for INFO.

        Raises:
            VersionMismatch: the server is older than what is supported.
            Unavailable: it is still loading.
        """
        found = State.parse(str(self.command("INFO", stage="preflight")))
        if found.info.get("loading") == "1":
            raise refusal("LOADING", self.where, stage="preflight")
        if found.numbers < OLDEST:
            raise VersionMismatch(
                f"The server at {self.where} is version {found.version}; Redis 6.0 is the oldest that is supported.",
                stage="preflight",
            )
        if found.in_cluster:
            raise Unsupported(
                f"The server at {self.where} is a node of a cluster.",
                stage="preflight",
                hint="Only standalone servers and replicas are supported: a node holds only a part of the data.",
            )
        return found

    def config(self, *names: str) -> dict[str, str]:
        """Settings of the server by name; those that it does not have are missing.

        Raises:
            PermissionDenied: the user may not read them.
        """
        found: dict[str, str] = {}
        for name in names:
            row = self.command("CONFIG", "GET", name, stage="preflight") or []
            found.update(zip(row[::2], row[1::2]))
        return found

    def known_config(self, *names: str) -> dict[str, str]:
        """As `config`, for what one can do without."""
        try:
            return self.config(*names)
        except (PermissionDenied, Unsupported):
            return {}


class DirectServer(Server):
    """A server that we connect to ourselves."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.where = address.where
        self._commands: Client | None = None
        self._dumping: Client | None = None

    def ask(self, *words: str) -> Any:
        if self._commands is None:
            self._commands = Client(self.address)
        try:
            return _text(self._commands.ask(*words))
        except HoldfastError:
            self._commands.close()  # what comes next would be the answer to this
            self._commands = None
            raise

    def ask_many(self, database: int, commands: Sequence[Sequence[str | bytes]]) -> list[Any]:
        if self._commands is None:
            self._commands = Client(self.address)
        try:
            selected, *replies = self._commands.ask_many([("SELECT", str(database)), *commands])
        except HoldfastError:
            self._commands.close()
            self._commands = None
            raise
        if isinstance(selected, Refusal):  # then the others were answered by another database
            return [selected] * len(commands)
        return [flat(each) if isinstance(each, list) else each for each in replies]

    def dump(self, silence: float | None) -> Iterator[bytes]:
        version = self.state().version
        with Client(self.address) as client:
            self._dumping = client
            try:
                yield from client.dump(silence, version)
            finally:
                self._dumping = None

    def abort(self) -> None:
        if self._dumping is not None:
            self._dumping.abort()

    def close(self) -> None:
        if self._commands is not None:
            self._commands.close()
            self._commands = None


def flat(reply: Sequence[Any]) -> list[Any]:
    """A list with the elements of the lists in it in their places."""
    found: list[Any] = []
    for each in reply:
        found.extend(flat(each) if isinstance(each, list) else [each])
    return found


def _text(reply: Any) -> Any:
    if isinstance(reply, bytes):
        return reply.decode("utf-8", "surrogateescape")
    return [_text(each) for each in reply] if isinstance(reply, list) else reply


def password_of(options: Mapping[str, Any]) -> str | None:
    """The password, from whichever option brings it.

    Raises:
        InvalidOption: there are two, or the file cannot be read.
    """
    given, path = options.get("login_password"), options.get("login_password_file")
    if given and path:
        raise InvalidOption("login_password and login_password_file exclude each other.", stage="preflight")
    if not path:
        return str(given) if given else None
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read().rstrip("\r\n")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InvalidOption(f"login_password_file ({path}) cannot be read: {reason}.", stage="preflight") from None


def address_of(options: Mapping[str, Any]) -> Address:
    """Where the options say that the server is.

    Raises:
        InvalidOption: they contradict each other.
    """
    given = {name for name, value in options.items() if value}
    if {"login_host", "login_unix_socket"} <= given:
        raise InvalidOption("login_host and login_unix_socket exclude each other.", stage="preflight")
    if ("client_cert" in given) != ("client_key" in given):
        raise InvalidOption("client_cert and client_key belong together; one is missing.", stage="preflight")
    if "tls" not in given and given & {"ca_cert", "client_cert"}:
        raise InvalidOption("ca_cert and client_cert need tls: true.", stage="preflight")
    if {"tls", "login_unix_socket"} <= given:
        raise InvalidOption("A Unix socket has no TLS.", stage="preflight")
    timeout = 10 if options.get("connect_timeout") is None else int(options["connect_timeout"])
    if timeout < 1:
        raise InvalidOption("connect_timeout must be at least 1.", stage="preflight")
    return Address(
        host=options.get("login_host") or "127.0.0.1",
        port=int(options.get("login_port") or 6379),
        unix_socket=options.get("login_unix_socket"),
        user=options.get("login_user"),
        password=password_of(options),
        tls=bool(options.get("tls")),
        verify=options.get("validate_certs") is not False,
        ca_cert=options.get("ca_cert"),
        client_cert=options.get("client_cert"),
        client_key=options.get("client_key"),
        timeout=float(timeout),
    )


def open_server(options: Mapping[str, Any]) -> Server:
    """The server that the options name."""
    from ._container import ContainerServer

    address = address_of(options)
    if options.get("container"):
        return ContainerServer(Container(options["container"]), address)
    return DirectServer(address)


def place_key(options: Mapping[str, Any]) -> dict[str, Any]:
    """The place by the options that name it: equal for the same server."""
    names = ("login_host", "login_port", "login_unix_socket")
    container = {name: value for name, value in (options.get("container") or {}).items() if value}
    return {
        **{name: options[name] for name in names if options.get(name) is not None},
        **({"container": container} if container else {}),
    }


def wait_until_loaded(server: Server, seconds: float, alive: Callable[[], None], pause: Callable[[], None]) -> State:
    """Wait until a server that has just been started has loaded its data.

    Args:
        alive: raises when the server has died meanwhile.
        pause: waits a moment; may also do something while the server loads.

    Raises:
        Unavailable: it has not within so many seconds.
    """
    deadline = time.monotonic() + seconds
    while True:
        alive()
        try:
            return server.state()
        except Unavailable as error:
            last = error
        except HoldfastError as error:
            if error.code != "not_found":  # its socket comes later
                raise
            last = Unavailable(error.message)
        if time.monotonic() > deadline:
            raise Unavailable(
                f"The server at {server.where} has not loaded its data within {seconds:g} s.",
                stage="start",
                tool_output=str(last),
            )
        server.close()
        pause()
