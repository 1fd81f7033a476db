# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests of health checks share: running declared ones, and servers that answer as they are told."""

from __future__ import annotations

import contextlib
import http.server
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

from ansible_collections.holdfast.ops.plugins.module_utils._health._interface import Measurement, Result
from ansible_collections.holdfast.ops.plugins.module_utils._health._parse import parse_checks
from ansible_collections.holdfast.ops.plugins.module_utils._health._runner import run_checks


def look(*, state_dir: str | Path = "", **check: Any) -> Result:
    """Run one check, as `holdfast health` does."""
    (result,) = run_checks(parse_checks([{"name": "it", **check}]), str(state_dir))
    return result


def measured(result: Result, name: str, target: str = "") -> Measurement:
    """The one measurement of that name."""
    found = [each for each in result.measurements if (each.name, each.target) == (name, target)]
    assert len(found) == 1, result
    return found[0]


class Answers(http.server.BaseHTTPRequestHandler):
    """Pages by path; what was asked is kept in the server's `asked`."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.asked.append((self.path, dict(self.headers)))  # type: ignore[attr-defined]
        path = self.path.partition("?")[0]
        if path == "/slow":
            time.sleep(0.3)
        if path.startswith("/to/"):
            self._answer(302, "", {"Location": path[3:]})
        elif path == "/elsewhere":
            self._answer(302, "", {"Location": self.server.other})  # type: ignore[attr-defined]
        elif path == "/broken":
            self._answer(500, "no")
        else:
            self._answer(200, '{"status": "ok", "checks": [{"up": true}], "version": 3}')

    def _answer(self, status: int, body: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_words: Any) -> None:
        """Nothing: it would only disturb."""


@contextlib.contextmanager
def web_server(context: ssl.SSLContext | None = None) -> Iterator[Any]:
    """A server of `Answers`: `.port`, `.asked`."""
    server: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.daemon_threads = True
    server.asked, server.other, server.port = [], "", server.server_address[1]
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def tcp_server(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """Calls `answer` with each connection, in a thread; the port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                connection, _address = listener.accept()
            except OSError:
                return
            threading.Thread(target=_quietly, args=(answer, connection), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _quietly(answer: Callable[[socket.socket], None], connection: socket.socket) -> None:
    with contextlib.suppress(OSError), connection:
        answer(connection)
