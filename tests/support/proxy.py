# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A TCP proxy that misbehaves on request: slow, silent, cut off or not there."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

_CHUNK = 65536


@dataclass
class Faults:
    """What the proxy does to bytes. Change the attributes at any time; running connections follow.

    direction: which way is counted and hurt: "up" (client to server) or "down".
    delay: seconds before each chunk is passed on.
    stall_after: after so many bytes (all connections together) no more are passed, and nothing is closed.
    cut_after: after so many bytes every connection is reset.
    refuse: new connections are reset at once.
    """

    direction: Literal["up", "down"] = "up"
    delay: float = 0.0
    stall_after: int | None = None
    cut_after: int | None = None
    refuse: bool = False


class FaultyProxy:
    """`with FaultyProxy("127.0.0.1", 5432) as proxy: proxy.faults.stall_after = 1_000_000`.

    Attributes: port (where it listens on 127.0.0.1), faults, passed (bytes per direction), connections (accepted).
    """

    def __init__(self, host: str, port: int, faults: Faults | None = None) -> None:
        self.target = (host, port)
        self.faults = faults or Faults()
        self.passed = {"up": 0, "down": 0}
        self.connections = 0
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    @classmethod
    def before(cls, endpoint: str, faults: Faults | None = None) -> FaultyProxy:
        """A proxy before a URL such as http://127.0.0.1:8333."""
        parts = urlsplit(endpoint)
        assert parts.hostname and parts.port, endpoint
        return cls(parts.hostname, parts.port, faults)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> FaultyProxy:
        self._spawn(self._accept)
        return self

    def __exit__(self, *exception: object) -> None:
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive(), "a proxy thread does not end"

    def cut(self) -> None:
        """Reset every open connection now."""
        with self._lock:
            doomed, self._sockets = list(self._sockets), set()
        for one in doomed:
            _reset(one)

    def _spawn(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                client, _peer = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            if self.faults.refuse:
                _reset(client)
                continue
            try:
                server = socket.create_connection(self.target, timeout=10)
            except OSError:
                _reset(client)
                continue
            server.settimeout(None)
            with self._lock:  # whoever leaves cuts once, and this one may come too late to be cut
                leaving = self._closing.is_set()
                self._sockets |= set() if leaving else {client, server}
            if leaving:
                _reset(client)
                _reset(server)
                return
            self._spawn(self._pump, client, server, "up")
            self._spawn(self._pump, server, client, "down")

    def _pump(self, source: socket.socket, sink: socket.socket, direction: Literal["up", "down"]) -> None:
        try:
            while data := source.recv(_CHUNK):
                if self.faults.direction == direction and not self._suffer(direction, data, sink):
                    return
                with self._lock:  # counted first, so that whoever received it finds it counted
                    self.passed[direction] += len(data)
                sink.sendall(data)
            with self._lock:
                if sink in self._sockets:  # a cut connection must not end in an orderly way
                    sink.shutdown(socket.SHUT_WR)
        except OSError:
            # One side went away: so does the other, as it would without a proxy.
            _reset(source)
            _reset(sink)

    def _suffer(self, direction: str, data: bytes, sink: socket.socket) -> bool:
        """Apply the faults before `data` is passed on; False when the connection is gone."""
        if self.faults.delay:
            self._closing.wait(self.faults.delay)
        limit = self.faults.cut_after
        if limit is not None and self.passed[direction] + len(data) > limit:
            self.cut()
            return False
        while (limit := self.faults.stall_after) is not None and self.passed[direction] + len(data) > limit:
            if self._closing.wait(0.02) or sink.fileno() < 0:
                return False
        return True


def _reset(one: socket.socket) -> None:
    """Close with a TCP reset instead of an orderly end."""
    with contextlib.suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RD)  # wakes a thread that is reading from it
    one.close()
