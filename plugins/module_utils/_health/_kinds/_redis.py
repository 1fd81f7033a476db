# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check kind `redis`: Redis or Valkey answers, has room, and is replicated and persisted as it should be.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ..._declaration._report import Report
from ..._errors import AuthenticationFailed, ToolFailed, Unavailable
from ..._secret_files import secret as read_secret
from ..._spec import Spec
from .._connect import (
    TLS_OPTIONS,
    certificate,
    examine_port,
    examine_tls,
    open_socket,
    receive,
    tls_context,
    wrap_tls,
)
from .._interface import FAIL, PASS, WARN, Deadline, Kind, Measurement
from .._options import secret
from .._thresholds import examine_limits, judged, limits

PRIMARY, REPLICA = "primary", "replica"


class RedisCheck(Kind):
    """PING and INFO, as a user that may do no more than that."""

    name = "redis"
    component_type = "datastore"
    SPEC = Spec(
        {
            "host": {"type": "str", "default": "127.0.0.1"},
            "port": {"type": "int", "default": 6379},
            "unix_socket": {"type": "path"},
            "username": {"type": "str"},
            **secret("password"),
            "tls": {"type": "bool", "default": False},
            **TLS_OPTIONS,
            **limits("latency"),
            **limits("memory", 80, 95),
            **limits("clients", 80, 95),
            "role": {"type": "str", "choices": [PRIMARY, REPLICA]},
            "replicas": {"type": "int", "default": 0},
            **limits("replication_lag", 30, 300),
        },
        mutually_exclusive=[["password", "password_file"]],
    )

    @classmethod
    def examine(cls, options: Mapping[str, Any], report: Report) -> None:
        examine_port(options, report)
        examine_tls(options, report)
        examine_limits(options, report, "latency", "replication_lag")
        examine_limits(options, report, "memory", "clients", maximum=100)
        if options["replicas"] < 0:
            report.key("replicas").add("is negative")

    @classmethod
    def preload(cls, options: Mapping[str, Any]) -> None:
        if options["tls"]:
            tls_context({"validate_certs": False})

    def run(self, deadline: Deadline) -> Iterator[Measurement]:
        began = time.monotonic()
        host, path = self.options["host"], self.options.get("unix_socket")
        with contextlib.ExitStack() as stack:
            raw, place = open_socket(host, self.options["port"], path, deadline)
            connection: socket.socket = stack.enter_context(raw)
            if self.options["tls"]:
                encrypted = stack.enter_context(wrap_tls(raw, host, place, self.options, deadline))
                yield from certificate(encrypted, place, self.options)
                connection = encrypted
            server = _Server(connection, place, deadline)
            self._log_in(server)
            if server.ask("PING") != "PONG":
                raise ToolFailed(f"{place} did not answer PING.")
            yield judged(
                "latency",
                time.monotonic() - began,
                "s",
                self.options.get("latency_warning"),
                self.options.get("latency_critical"),
                what=f"Redis ({place}) answered after",
            )
            yield from self._look(_parse_info(server.ask("INFO")))

    def _log_in(self, server: _Server) -> None:
        password = read_secret(self.options, "password")
        if password is None:
            return
        user = self.options.get("username")
        server.ask("AUTH", *([user] if user else []), password)

    def _look(self, info: Mapping[str, str]) -> Iterator[Measurement]:
        if info.get("loading", "0") != "0":
            yield Measurement("loading", WARN, True, "", "The server is still loading its data.")
        most = int(info.get("maxmemory", 0))
        if most:  # without a limit the host's own memory is the limit, and a check of its own
            yield self._percent("memory", int(info["used_memory"]), most, "Of maxmemory is used:")
        most = int(info.get("maxclients", 0))
        if most:
            yield self._percent("clients", int(info["connected_clients"]), most, "Of maxclients are connected:")
        yield from self._persistence(info)
        yield from self._replication(info)

    def _percent(self, name: str, part: int, whole: int, what: str) -> Measurement:
        warning, critical = self.options[f"{name}_warning"], self.options[f"{name}_critical"]
        return judged(name, 100 * part / whole, "%", warning, critical, what=what)

    def _persistence(self, info: Mapping[str, str]) -> Iterator[Measurement]:
        for field, what in (("rdb_last_bgsave_status", "snapshot"), ("aof_last_write_status", "write to the AOF")):
            if field in info:
                good = info[field] == "ok"
                output = "" if good else f"The last {what} failed."
                yield Measurement(field, PASS if good else FAIL, info[field], "", output)

    def _replication(self, info: Mapping[str, str]) -> Iterator[Measurement]:
        role = PRIMARY if info.get("role") == "master" else REPLICA
        wanted = self.options.get("role")
        output = f"The server is a {role} and should be a {wanted}." if wanted and role != wanted else ""
        yield Measurement("role", FAIL if output else PASS, role, "", output)
        if role == REPLICA:
            link = info.get("master_link_status", "unknown")
            output = "" if link == "up" else f"The link to the primary is {link}."
            yield Measurement("replication_link", PASS if link == "up" else FAIL, link, "", output)
            silent = float(info.get("master_last_io_seconds_ago", -1))
            if silent >= 0:
                yield judged(
                    "replication_lag",
                    silent,
                    "s",
                    self.options["replication_lag_warning"],
                    self.options["replication_lag_critical"],
                    what="The primary was last heard of before",
                )
        elif self.options["replicas"]:
            online = sum("state=online" in value for name, value in info.items() if name.startswith("slave"))
            enough = online >= self.options["replicas"]
            output = "" if enough else f"{online} of {self.options['replicas']} replicas are connected."
            yield Measurement("replicas", PASS if enough else FAIL, online, "", output)


class _Server:
    """The two kinds of answers (RESP) that are needed here: a line, and a counted text."""

    def __init__(self, connection: socket.socket, place: str, deadline: Deadline) -> None:
        self._connection, self._place, self._deadline = connection, place, deadline
        self._buffer = b""

    def ask(self, *words: str) -> str:
        encoded = [word.encode() for word in words]
        command = b"".join([b"*%d\r\n" % len(encoded), *(b"$%d\r\n%s\r\n" % (len(each), each) for each in encoded)])
        try:
            self._connection.sendall(command)
        except OSError as error:
            raise Unavailable(f"The connection to {self._place} was lost: {error.strerror or error}.") from None
        line = self._take(self._find(b"\r\n") + 2)[:-2]
        kind, text = line[:1], line[1:].decode("utf-8", "replace")
        if kind == b"+":
            return text
        if kind == b"$" and text.isdigit():
            return self._take(int(text) + 2)[:-2].decode("utf-8", "replace")
        if kind != b"-":
            raise ToolFailed(f"{self._place} is no Redis server.")
        if text.startswith(("NOAUTH", "WRONGPASS", "ERR AUTH", "ERR invalid password", "ERR Client sent AUTH")):
            raise AuthenticationFailed(f"{self._place} does not accept the login.", tool_output=text)
        raise ToolFailed(f"{self._place} refused {words[0]}.", tool_output=text)

    def _find(self, mark: bytes) -> int:
        while mark not in self._buffer:
            self._fill()
            if len(self._buffer) > 1 << 20:
                raise ToolFailed(f"{self._place} is no Redis server.")
        return self._buffer.index(mark)

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._fill()
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def _fill(self) -> None:
        data = receive(self._connection, 65_536, self._place, self._deadline)
        if not data:
            raise Unavailable(f"{self._place} ended the connection.")
        self._buffer += data


def _parse_info(text: str) -> dict[str, str]:
    pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line and not line.startswith("#"))
    return {line[0]: line[1] for line in pairs}
