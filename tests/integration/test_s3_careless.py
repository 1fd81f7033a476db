# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stores that check less of what they are told: rclone's, and one that checks nothing."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._errors import (
    Corrupted,
    Unsupported,
)
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._s3 import S3Repository
from ansible_collections.holdfast.ops.tests.support.s3 import ALL, MIB, noise, send, sha
from ansible_collections.holdfast.ops.tests.support.servers import Server, free_ports

# -- stores that check less -------------------------------------------------------------------------------------------


class RcloneStore:
    """`rclone serve s3` over a directory: checks Content-MD5, neither SHA-256 nor conditions nor who asks."""

    def __init__(self, home: Path) -> None:
        (home / "b").mkdir()
        self.port = free_ports(1)[0]
        rclone = Path(sys.executable).with_name("rclone")
        self._server = Server(
            [str(rclone), "serve", "s3", "--config=/dev/null", f"--addr=127.0.0.1:{self.port}", str(home)],
            log=home.parent / "rclone.log",
        )
        self._server.wait_ready(self._answers, "rclone serve s3")

    def _answers(self) -> bool:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def options(self, port: int | None = None) -> dict[str, Any]:
        endpoint = f"http://127.0.0.1:{port or self.port}"
        return {"endpoint_url": endpoint, "bucket": "b", "prefix": "p", "access_key": "any", "secret_key": "anything"}

    def stop(self) -> None:
        self._server.stop()


@pytest.fixture
def rclone(tmp_path: Path) -> Iterator[RcloneStore]:
    home = tmp_path / "served"
    home.mkdir()
    store = RcloneStore(home)
    yield store
    store.stop()


def test_where_sha256_is_not_checked_content_md5_serves(rclone: RcloneStore) -> None:
    repository = S3Repository("second", rclone.options())
    report = repository.probe(ALL)
    assert report.checks_content == "md5"
    assert any("SHA-256" in one for one in report.warnings)
    assert any("If-None-Match" in one for one in report.warnings)
    parts = [noise(5 * MIB), b"end"]
    send(repository, "data/x", parts)
    repository.put("manifests/x", b"{}", sha(b"{}"))
    assert repository.read("data/x") == b"".join(parts)
    assert {(one.key, one.size) for one in repository.list("")} >= {("data/x", 5 * MIB + 3), ("manifests/x", 2)}
    with pytest.raises(Unsupported, match="single_pruner"):
        repository.replace("lease", b"mine", None)
    repository.delete(["data/x", "manifests/x", "none"])
    repository.close()


class _Careless(BaseHTTPRequestHandler):
    """Passes requests on to a store without their checksums, and damages what it is told to."""

    protocol_version = "HTTP/1.1"
    target: int
    damage: bytes | None = None
    deny_get = False

    def _pass(self) -> None:
        if self.command == "GET" and self.deny_get and "list-type" not in self.path:
            self._answer(403, {}, b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>")
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.damage and self.damage in body:
            body = body.replace(self.damage, self.damage[::-1])
        dropped = ("content-md5", "expect", "host", "x-amz-checksum-sha256", "x-amz-content-sha256")
        headers = {name: value for name, value in self.headers.items() if name.lower() not in dropped}
        connection = HTTPConnection("127.0.0.1", self.target, timeout=20)
        connection.request(self.command, self.path, body, headers)
        response = connection.getresponse()
        self._answer(response.status, dict(response.getheaders()), response.read())
        connection.close()

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "date", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_DELETE = _pass  # noqa: N815 - the names that http.server looks for

    def log_message(self, *_arguments: Any) -> None:
        """Quiet."""


@pytest.fixture
def careless(rclone: RcloneStore) -> Iterator[Callable[..., S3Repository]]:
    servers = []

    def make(**behaviour: Any) -> S3Repository:
        handler = type("Careless", (_Careless,), {"target": rclone.port, **behaviour})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return S3Repository("third", rclone.options(server.server_port))

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


def test_where_nothing_is_checked_everything_is_read_back(careless: Callable[..., S3Repository]) -> None:
    repository = careless()
    report = repository.probe(("write", "list"))
    assert (report.checks_content, report.rights["read"]) == ("read-back", True)
    send(repository, "data/x", [noise(5 * MIB), b"end"])
    repository.put("data/y", b"whole", sha(b"whole"))
    assert repository.read("data/y") == b"whole"
    repository.close()


def test_reading_back_finds_damage(careless: Callable[..., S3Repository]) -> None:
    repository = careless(damage=b"fragile")
    with pytest.raises(Corrupted, match="data/y"):
        repository.put("data/y", b"very fragile bytes", sha(b"very fragile bytes"))
    with pytest.raises(Corrupted, match="data/x"):
        send(repository, "data/x", [noise(5 * MIB), b"fragile end"])
    repository.close()


def test_where_nothing_is_checked_and_nothing_can_be_read_a_backup_is_refused(
    careless: Callable[..., S3Repository],
) -> None:
    repository = careless(deny_get=True)
    with pytest.raises(Unsupported, match="read back"):
        repository.probe(("write", "list"))
    repository.close()
