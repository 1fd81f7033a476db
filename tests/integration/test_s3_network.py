# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The S3 store behind a network that fails, and answers that are lost."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._errors import (
    AlreadyExists,
    Interrupted,
    TimedOut,
    Unavailable,
)
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._interface import PartSum
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._s3 import S3Repository
from ansible_collections.holdfast.ops.tests.support.proxy import FaultyProxy
from ansible_collections.holdfast.ops.tests.support.s3 import ALL, MIB, noise, opened, send, sha
from ansible_collections.holdfast.ops.tests.support.seaweed import SeaweedFS
from ansible_collections.holdfast.ops.tests.support.servers import wait_until

# -- a network that fails ---------------------------------------------------------------------------------------------


@pytest.fixture
def proxy(seaweed: SeaweedFS) -> Iterator[FaultyProxy]:
    with FaultyProxy.before(seaweed.endpoint) as one:
        yield one


def through(proxy: FaultyProxy, seaweed: SeaweedFS, bucket: str, **more: Any) -> S3Repository:
    quick = {"connect_timeout": 1, "read_timeout": 1, "retries": 1}
    return opened(seaweed, bucket, **{"endpoint_url": proxy.endpoint, **quick, **more})


def cut_once(proxy: FaultyProxy, direction: str, after: int) -> threading.Thread:
    """Reset all connections when so many more bytes have passed."""
    goal = proxy.passed[direction] + after

    def work() -> None:
        wait_until(lambda: proxy.passed[direction] >= goal, "the bytes before the cut", interval=0.001)
        proxy.cut()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_a_store_that_answers_no_more_is_a_timeout_and_soon(
    seaweed: SeaweedFS, bucket: str, proxy: FaultyProxy
) -> None:
    repository = through(proxy, seaweed, bucket)
    repository.probe(ALL)
    proxy.faults.direction, proxy.faults.stall_after = "down", proxy.passed["down"]
    started = time.monotonic()
    with pytest.raises(TimedOut, match="read_timeout"):
        list(repository.list(""))
    assert time.monotonic() - started < 8
    repository.close()


def test_a_store_that_takes_no_more_bytes_is_a_timeout_and_soon(
    seaweed: SeaweedFS, bucket: str, proxy: FaultyProxy
) -> None:
    repository = through(proxy, seaweed, bucket, retries=0)
    upload = repository.begin("data/x")
    data = noise(16 * MIB)
    proxy.faults.stall_after = proxy.passed["up"] + 2 * MIB
    started = time.monotonic()
    with pytest.raises(TimedOut):
        upload.write_part(1, data, sha(data))
    assert time.monotonic() - started < 8
    proxy.faults.stall_after = None
    upload.abort()
    wait_until(lambda: seaweed.uploads(bucket) == [], "the upload to be gone")
    repository.close()


def test_a_signal_ends_a_request_that_hangs_and_is_not_retried(
    seaweed: SeaweedFS, bucket: str, proxy: FaultyProxy
) -> None:
    repository = through(proxy, seaweed, bucket, read_timeout=20, retries=3)
    proxy.faults.direction, proxy.faults.stall_after = "down", proxy.passed["down"]

    def interrupt(number: int, _frame: object) -> None:
        raise Interrupted(f"Stopped by {signal.Signals(number).name}.")

    before = signal.signal(signal.SIGUSR1, interrupt)
    started = time.monotonic()
    try:
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        with pytest.raises(Interrupted, match="SIGUSR1"):
            list(repository.list(""))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert time.monotonic() - started < 10
    repository.close()


def test_a_slow_line_is_no_timeout(seaweed: SeaweedFS, bucket: str, proxy: FaultyProxy) -> None:
    """connect_timeout bounds a hand-over of 256 KiB, not of a whole part."""
    repository = through(proxy, seaweed, bucket, retries=0, read_timeout=20)
    data = noise(8 * MIB)
    upload = repository.begin("data/x")
    proxy.faults.delay = 0.02
    started = time.monotonic()
    upload.write_part(1, data, sha(data))
    assert time.monotonic() - started > 1.5, "the line was not slow enough to show anything"
    proxy.faults.delay = 0.0
    upload.complete([PartSum(1, len(data), sha(data))])
    repository.close()


def test_a_cut_in_the_middle_of_a_part_is_tried_again(seaweed: SeaweedFS, bucket: str, proxy: FaultyProxy) -> None:
    repository = through(proxy, seaweed, bucket, read_timeout=10, connect_timeout=10, retries=3)
    upload = repository.begin("data/x")
    data = noise(16 * MIB)
    cut = cut_once(proxy, "up", 3 * MIB)
    upload.write_part(1, data, sha(data))
    cut.join()
    upload.complete([PartSum(1, len(data), sha(data))])
    assert seaweed.get(bucket, "team/web_db/data/x") == data
    assert proxy.passed["up"] > len(data) + 1 * MIB, "nothing was cut"
    repository.close()


def test_a_store_that_goes_away_is_unavailable(seaweed: SeaweedFS, bucket: str, proxy: FaultyProxy) -> None:
    repository = through(proxy, seaweed, bucket)
    upload = repository.begin("data/x")
    proxy.faults.refuse = True
    proxy.cut()
    with pytest.raises(Unavailable):
        upload.write_part(1, b"x", sha(b"x"))
    started = time.monotonic()
    upload.abort()  # cannot, and says nothing
    assert time.monotonic() - started < 10
    repository.close()


def test_a_read_that_breaks_off_is_asked_again(seaweed: SeaweedFS, bucket: str, proxy: FaultyProxy) -> None:
    repository = through(proxy, seaweed, bucket, retries=5, read_timeout=5)
    data = noise(8 * MIB)
    repository.put("data/x", data, sha(data))
    cut = cut_once(proxy, "down", 4 * MIB)
    assert repository.read("data/x") == data
    cut.join()
    assert proxy.passed["down"] > len(data) + 1 * MIB, "nothing was cut"
    repository.close()


class _Deaf:
    """Cuts the answer to the first request whose head holds a text, after the store has acted on it."""

    def __init__(self, repository: S3Repository, operation: str) -> None:
        self.lost = 0
        repository._client.meta.events.register_first(f"before-send.s3.{operation}", self._send)

    def _send(self, request: Any, **_more: Any) -> Any:
        if self.lost:
            return None
        self.lost += 1
        host, _slash, path = request.url.removeprefix("http://").partition("/")
        connection = HTTPConnection(host, timeout=10)
        headers = {name: _text(value) for name, value in request.headers.items() if name.lower() != "expect"}
        body = b"".join(iter(request.body.read, b"")) if hasattr(request.body, "read") else request.body
        connection.request(request.method, f"/{path}", body, headers)
        assert connection.getresponse().status == 200
        connection.close()
        from botocore.exceptions import ConnectionClosedError

        raise ConnectionClosedError(endpoint_url=request.url, error=ConnectionResetError(104, "reset by peer"))


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def test_a_put_whose_answer_was_lost_is_not_taken_for_anothers(seaweed: SeaweedFS, bucket: str) -> None:
    repository = opened(seaweed, bucket, retries=2)
    repository._facts()
    deaf = _Deaf(repository, "PutObject")
    repository.put("manifests/a.json", b"content", sha(b"content"))
    assert deaf.lost == 1
    assert seaweed.get(bucket, "team/web_db/manifests/a.json") == b"content"
    repository.close()


@pytest.mark.parametrize("who", ["admin", "writer"])
def test_a_put_that_is_called_again_after_its_answer_was_lost(seaweed: SeaweedFS, bucket: str, who: str) -> None:
    repository = opened(seaweed, bucket, getattr(seaweed, who), retries=0)
    repository._facts()
    _Deaf(repository, "PutObject")
    with pytest.raises(Unavailable):
        repository.put("manifests/a.json", b"content", sha(b"content"))
    repository.put("manifests/a.json", b"content", sha(b"content"))
    with pytest.raises(AlreadyExists):  # heard of now: from here on it is an object like any other
        repository.put("manifests/a.json", b"content", sha(b"content"))
    repository.close()


def test_another_object_at_the_key_is_not_taken_for_ours(seaweed: SeaweedFS, bucket: str) -> None:
    repository = opened(seaweed, bucket, retries=0)
    repository._facts()
    repository._unheard.add("manifests/a.json")
    seaweed.client().put_object(
        Bucket=bucket, Key="team/web_db/manifests/a.json", Body=b"others!", ChecksumAlgorithm="SHA256"
    )
    with pytest.raises(AlreadyExists):
        repository.put("manifests/a.json", b"content", sha(b"content"))
    repository.close()


@pytest.mark.parametrize("who", ["admin", "writer"])
def test_a_completion_whose_answer_was_lost(seaweed: SeaweedFS, bucket: str, who: str) -> None:
    repository = opened(seaweed, bucket, getattr(seaweed, who), retries=2)
    deaf = _Deaf(repository, "CompleteMultipartUpload")
    parts = [noise(5 * MIB), b"end"]
    send(repository, "data/x", parts)
    assert deaf.lost == 1
    assert seaweed.get(bucket, "team/web_db/data/x") == b"".join(parts)
    repository.close()


def test_a_lease_whose_answer_was_lost_is_still_ours(seaweed: SeaweedFS, bucket: str) -> None:
    repository = opened(seaweed, bucket, retries=2)
    repository._require_replacing()
    _Deaf(repository, "PutObject")
    token = repository.replace("lease", b"mine", None)
    assert repository.read_token("lease") == (b"mine", token)
    repository.close()
