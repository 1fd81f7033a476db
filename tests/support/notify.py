# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests of notifications share: events, channels, and servers that play the vendors."""

from __future__ import annotations

import functools
import http.server
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import jsonschema
from ansible_collections.holdfast.ops.plugins.module_utils._notify._interface import Channel
from ansible_collections.holdfast.ops.plugins.module_utils._notify._model import Event
from ansible_collections.holdfast.ops.plugins.module_utils._notify._parse import parse_notifications

SCHEMAS = Path(__file__).with_name("schemas")
NOON = datetime(2026, 11, 22, 12, 0, tzinfo=timezone.utc)


def event(**changes: Any) -> Event:
    """A failed backup, unless something else is said."""
    values: dict[str, Any] = {
        "key": "backup:shop_db",
        "severity": "critical",
        "status": "firing",
        "summary": "backup of shop_db failed: it was killed by SIGKILL",
        "details": "holdfast-backup-shop_db.service on db1 failed.\n\nIts last lines:\nno space left on device",
        "component": "shop_db",
        "host": "db1",
        "at": NOON,
        "labels": {"unit": "holdfast-backup-shop_db.service"},
    }
    return Event(**{**values, **changes})


def channels(*declared: Mapping[str, Any]) -> list[Channel]:
    """Channels as they are declared; a name is made up."""
    named = [{"name": f"{each['type']}{number}", **each} for number, each in enumerate(declared)]
    return list(parse_notifications(named))


def schema(name: str) -> dict[str, Any]:
    """A vendor's contract."""
    document: dict[str, Any] = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
    return document


@functools.cache
def contract(name: str) -> jsonschema.protocols.Validator:
    """What checks a document against a vendor's contract."""
    return jsonschema.Draft202012Validator(schema(name))


@dataclass(frozen=True)
class Received:
    """A request that came in."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Reply:
    """How the sink answers one request."""

    status: int = 200
    body: str = "ok"
    headers: Mapping[str, str] = field(default_factory=dict)
    hang_up: bool = False
    delay: float = 0.0


class HttpSink:
    """An HTTP or HTTPS server on localhost that keeps what it is sent and answers as told, then with 200.

    Args:
        certificate: (file with chain and key); without, it speaks plain HTTP.
    """

    def __init__(self, certificate: str | None = None) -> None:
        self.received: list[Received] = []
        self.replies: list[Reply] = []
        sink = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                names = {name.lower(): value for name, value in self.headers.items()}
                sink.received.append(Received(self.command, self.path, names, body, time.monotonic()))
                reply = sink.replies.pop(0) if sink.replies else Reply()
                sink._stopping.wait(reply.delay)
                if reply.hang_up:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                text = reply.body.encode()
                self.send_response(reply.status)
                for name, value in {"Content-Length": str(len(text)), **reply.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = answer  # noqa: N815 - the names that http.server calls

            def log_message(self, *_words: Any) -> None:
                pass

        self._stopping = threading.Event()
        self._server = _QuietServer(("127.0.0.1", 0), Handler)
        self._scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
            self._scheme = "https"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def url(self, path: str = "/", host: str = "localhost") -> str:
        return f"{self._scheme}://{host}:{self.port}{path}"

    def __enter__(self) -> HttpSink:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class _QuietServer(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that refuses our certificate hangs up; that is what some tests are about."""


@dataclass(frozen=True)
class Authority:
    """An authority of the tests' own. `pem` is its certificate; `issue` makes one for a name."""

    pem: Path
    issue: Callable[[str], str]


def authority(directory: Path) -> Authority:
    """Make an authority with its files in a directory."""
    import trustme

    made = trustme.CA()
    pem = directory / "ca.pem"
    made.cert_pem.write_to_path(str(pem))

    def issue(name: str) -> str:
        path = directory / f"{name}.pem"
        made.issue_cert(name).private_key_and_cert_chain_pem.write_to_path(str(path))
        return str(path)

    return Authority(pem, issue)


def outcomes(deliveries: Sequence[Any]) -> list[tuple[str, str]]:
    """(channel, outcome) of each delivery, sorted."""
    return sorted((each.channel, each.outcome) for each in deliveries)
