# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proxy does to a connection what it is told, and nothing else."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from typing import Callable

import pytest
from ansible_collections.holdfast.ops.tests.support.proxy import FaultyProxy
from ansible_collections.holdfast.ops.tests.support.servers import wait_until

PAYLOAD = bytes(range(256)) * 8192  # 2 MiB


@pytest.fixture
def digester() -> Iterator[int]:
    """A server that answers each connection with the SHA-256 of all it was sent; yields its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(connection: socket.socket) -> None:
        with connection:
            digest = hashlib.sha256()
            try:
                while data := connection.recv(65536):
                    digest.update(data)
                connection.sendall(digest.digest())
            except ConnectionError:
                return

    def serve() -> None:
        while True:
            try:
                connection, _peer = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def exchange(port: int, timeout: float = 10.0) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        connection.sendall(PAYLOAD)
        try:
            connection.shutdown(socket.SHUT_WR)
        except OSError as error:  # "not connected": reset between the two calls
            raise ConnectionResetError(*error.args) from error
        return connection.recv(64)


def in_background(work: Callable[[], object]) -> list[BaseException]:
    """Run work in a thread; the list gets the error that ended it."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except OSError as error:
            errors.append(error)

    threading.Thread(target=run, daemon=True).start()
    return errors


def test_without_faults_every_byte_arrives_both_ways(digester: int) -> None:
    with FaultyProxy("127.0.0.1", digester) as proxy:
        assert exchange(proxy.port) == hashlib.sha256(PAYLOAD).digest()
        assert proxy.passed == {"up": len(PAYLOAD), "down": 32}
        assert proxy.connections == 1


def test_cut_after_resets_in_mid_stream(digester: int) -> None:
    with FaultyProxy("127.0.0.1", digester) as proxy:
        proxy.faults.cut_after = 500_000
        with pytest.raises(ConnectionError):
            assert exchange(proxy.port) == b"an answer", "an orderly end is no cut"
        assert proxy.passed["up"] <= 500_000


def test_stall_passes_no_more_but_keeps_the_connection(digester: int) -> None:
    with FaultyProxy("127.0.0.1", digester) as proxy:
        proxy.faults.stall_after = 500_000
        with pytest.raises(socket.timeout):
            exchange(proxy.port, timeout=0.3)
        assert 0 < proxy.passed["up"] <= 500_000


def test_a_stall_can_be_lifted(digester: int) -> None:
    with FaultyProxy("127.0.0.1", digester) as proxy:
        proxy.faults.stall_after = 0
        answers: list[bytes] = []
        worker = threading.Thread(target=lambda: answers.append(exchange(proxy.port)))
        worker.start()
        wait_until(lambda: proxy.connections == 1, "the proxy accepts")
        proxy.faults.stall_after = None
        worker.join(10)
        assert answers == [hashlib.sha256(PAYLOAD).digest()]


def test_refuse_resets_at_once(digester: int) -> None:
    with FaultyProxy("127.0.0.1", digester) as proxy:
        proxy.faults.refuse = True
        with pytest.raises(ConnectionError):
            assert exchange(proxy.port) == b"an answer", "an orderly end is no refusal"
        assert proxy.passed == {"up": 0, "down": 0}


def test_a_dead_target_resets_the_client() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with FaultyProxy("127.0.0.1", port) as proxy, pytest.raises(ConnectionError):
        assert exchange(proxy.port) == b"an answer"


def test_leaving_ends_what_hangs(digester: int) -> None:
    with FaultyProxy("127.0.0.1", digester) as proxy:
        proxy.faults.stall_after = 0
        errors = in_background(lambda: exchange(proxy.port, timeout=60))
        wait_until(lambda: proxy.connections == 1, "the proxy accepts")
    wait_until(lambda: bool(errors), "the client is released")
    assert isinstance(errors[0], ConnectionError)
