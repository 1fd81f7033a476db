# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The S3 store against a real one: objects, the lease, the clock, the sweep."""

from __future__ import annotations

import sys
import threading
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._errors import (
    AlreadyExists,
    Corrupted,
    HoldfastError,
    NotFound,
)
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._interface import PartSum
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._local import LocalRepository
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._s3 import S3Repository
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._s3_probe import PROBE_KEY
from ansible_collections.holdfast.ops.plugins.module_utils._stream._fanout import FanOut, ObjectWriter
from ansible_collections.holdfast.ops.tests.support.s3 import ALL, MIB, noise, opened, send, sha
from ansible_collections.holdfast.ops.tests.support.seaweed import SeaweedFS


@pytest.fixture
def repository(seaweed: SeaweedFS, bucket: str) -> Iterator[S3Repository]:
    one = opened(seaweed, bucket)
    yield one
    one.close()


# -- objects ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [bytes, bytearray, lambda data: memoryview(bytearray(data))])
def test_put_stores_the_bytes_under_the_prefix(
    seaweed: SeaweedFS, bucket: str, repository: S3Repository, kind: Callable[[bytes], Any]
) -> None:
    data = noise(300_000)
    repository.put("data/a file.zst", kind(data), sha(data))
    assert seaweed.get(bucket, "team/web_db/data/a file.zst") == data


def test_an_empty_object(repository: S3Repository) -> None:
    repository.put("empty", b"", sha(b""))
    assert [one.size for one in repository.list("empty")] == [0]
    assert repository.read("empty") == repository.read("empty", 0, 10) == b""


def test_put_never_replaces(repository: S3Repository) -> None:
    repository.put("manifests/a.json", b"first", sha(b"first"))
    with pytest.raises(AlreadyExists, match=r"manifests/a\.json"):
        repository.put("manifests/a.json", b"second", sha(b"second"))
    assert repository.read("manifests/a.json") == b"first"


def test_of_twelve_racers_one_wins(repository: S3Repository) -> None:
    repository.probe(ALL)
    for attempt in range(2):
        key, start = f"lock-{attempt}", threading.Barrier(12)

        def race(number: int, key: str = key, start: threading.Barrier = start) -> bool:
            mine = f"racer {number}".encode()
            start.wait()
            try:
                repository.put(key, mine, sha(mine))
            except AlreadyExists:
                return False
            return True

        with ThreadPoolExecutor(12) as pool:
            won = list(pool.map(race, range(12)))
        assert won.count(True) == 1
        assert repository.read(key) == f"racer {won.index(True)}".encode()


def test_a_multipart_object_is_whole_whatever_the_order_of_its_parts(
    seaweed: SeaweedFS, bucket: str, repository: S3Repository
) -> None:
    parts = [noise(5 * MIB, 1), noise(5 * MIB, 2), noise(1234, 3)]
    send(repository, "data/dump", parts)
    assert seaweed.get(bucket, "team/web_db/data/dump") == b"".join(parts)
    assert seaweed.uploads(bucket) == []


def test_a_multipart_object_never_replaces(seaweed: SeaweedFS, bucket: str, repository: S3Repository) -> None:
    repository.put("data/dump", b"first", sha(b"first"))
    upload = repository.begin("data/dump")
    upload.write_part(1, b"second", sha(b"second"))
    with pytest.raises(AlreadyExists):
        upload.complete([PartSum(1, 6, sha(b"second"))])
    upload.abort()
    assert repository.read("data/dump") == b"first"
    assert seaweed.uploads(bucket) == []


def test_several_objects_from_several_threads_over_one_client(
    seaweed: SeaweedFS, bucket: str, repository: S3Repository
) -> None:
    contents = {f"data/{number}": [noise(5 * MIB, number), noise(1000 + number, number)] for number in range(8)}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda item: send(repository, *item), contents.items()))
    for key, parts in contents.items():
        assert seaweed.get(bucket, f"team/web_db/{key}") == b"".join(parts)


def test_other_bytes_than_the_checksum_says_are_refused(
    seaweed: SeaweedFS, bucket: str, repository: S3Repository
) -> None:
    with pytest.raises(Corrupted):
        repository.put("data/bad", b"these bytes", sha(b"other bytes"))
    upload = repository.begin("data/bad")
    with pytest.raises(Corrupted):
        upload.write_part(1, b"these bytes", sha(b"other bytes"))
    upload.abort()
    assert seaweed.keys(bucket, "team/web_db/data") == []


def test_a_part_that_is_missing_at_the_end_fails_the_object(
    seaweed: SeaweedFS, bucket: str, repository: S3Repository
) -> None:
    upload = repository.begin("data/x")
    upload.write_part(1, noise(5 * MIB), sha(noise(5 * MIB)))
    upload.write_part(2, b"end", sha(b"end"))
    with pytest.raises(HoldfastError):  # what we believe to have sent is not what we sent
        upload.complete([PartSum(1, 5 * MIB, sha(noise(5 * MIB))), PartSum(2, 3, sha(b"END"))])
    upload.abort()
    assert seaweed.uploads(bucket) == []


@pytest.mark.parametrize("operation", ["PutObject", "UploadPart", "CompleteMultipartUpload"])
def test_a_store_that_says_that_it_holds_other_bytes_is_believed(repository: S3Repository, operation: str) -> None:
    repository._facts()

    def lie(parsed: dict[str, Any], **_more: Any) -> None:
        assert parsed["ChecksumSHA256"], "the store returned no checksum to begin with"
        parsed["ChecksumSHA256"] = parsed["ChecksumSHA256"].swapcase()

    repository._client.meta.events.register(f"after-call.s3.{operation}", lie)
    with pytest.raises(Corrupted, match="data/x"):
        if operation == "PutObject":
            repository.put("data/x", b"content", sha(b"content"))
        else:
            send(repository, "data/x", [noise(5 * MIB), b"end"])


def test_abort_leaves_nothing_and_ends_the_upload(seaweed: SeaweedFS, bucket: str, repository: S3Repository) -> None:
    upload = repository.begin("data/x")
    upload.write_part(1, b"abc", sha(b"abc"))
    assert seaweed.uploads(bucket) == ["team/web_db/data/x"]
    upload.abort()
    upload.abort()
    assert seaweed.uploads(bucket) == []
    with pytest.raises(NotFound):
        upload.write_part(2, b"abc", sha(b"abc"))


def test_list_shows_sizes_and_the_stores_time_in_utc(repository: S3Repository) -> None:
    before = datetime.now(timezone.utc) - timedelta(seconds=2)
    for number in (2, 0, 1):
        repository.put(f"manifests/{number}.json", b"x" * number, sha(b"x" * number))
    repository.put("data/0", b"x", sha(b"x"))
    send(repository, "manifests/3.json", [b"xyz"])
    repository.begin("manifests/incomplete").write_part(1, b"abc", sha(b"abc"))
    found = list(repository.list("manifests/"))
    assert [(one.key, one.size) for one in found] == [(f"manifests/{number}.json", number) for number in range(4)]
    assert all(before <= one.modified <= datetime.now(timezone.utc) + timedelta(seconds=2) for one in found)
    assert {one.modified.tzinfo for one in found} == {timezone.utc}
    assert [one.key for one in repository.list("manifests/2")] == ["manifests/2.json"]
    assert list(repository.list("nothing/")) == []


def test_list_goes_on_beyond_a_page(seaweed: SeaweedFS, bucket: str, repository: S3Repository) -> None:
    client = seaweed.client()
    wanted = [f"manifests/{number:05d}" for number in range(1050)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: client.put_object(Bucket=bucket, Key=f"team/web_db/{key}", Body=b"x"), wanted))
    assert [one.key for one in repository.list("manifests/")] == wanted
    repository.delete(wanted)  # more than one batch
    assert list(repository.list("manifests/")) == []


@pytest.mark.parametrize(
    "name", ["with space", "ünïcödé", "-dash", "a+b", "q?x=1&y=2", "50%", "quote's\"", "#hash", "日本"]
)
def test_keys_of_any_spelling(repository: S3Repository, name: str) -> None:
    data = name.encode()
    repository.put(f"data/{name}", data, sha(data))
    send(repository, f"more/{name}", [data])
    assert [one.key for one in repository.list("") if one.key != PROBE_KEY] == [f"data/{name}", f"more/{name}"]
    assert repository.read(f"data/{name}") == repository.read(f"more/{name}") == data
    repository.delete([f"data/{name}", f"more/{name}"])
    assert [one.key for one in repository.list("") if one.key != PROBE_KEY] == []


def test_another_components_keys_are_out_of_sight(seaweed: SeaweedFS, bucket: str, repository: S3Repository) -> None:
    other = opened(seaweed, bucket, prefix="team/web_db2")
    other.put("manifests/x", b"x", sha(b"x"))
    assert list(repository.list("manifests/")) == []
    other.close()


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [
        (0, None, slice(None)),
        (0, 10, slice(0, 10)),
        (90_000, 20_000, slice(90_000, None)),
        (99_999, 1, slice(99_999, None)),
        (100_000, 5, slice(0, 0)),
        (10**9, None, slice(0, 0)),
        (7, None, slice(7, None)),
        (5, 0, slice(0, 0)),
    ],
)
def test_ranges(repository: S3Repository, offset: int, length: int | None, expected: slice) -> None:
    data = noise(100_000)
    repository.put("data/x", data, sha(data))
    assert repository.read("data/x", offset, length) == data[expected]


def test_what_is_not_there(repository: S3Repository) -> None:
    with pytest.raises(NotFound, match="data/none"):
        repository.read("data/none")
    assert repository.read_token("data/none") is None
    repository.delete(["data/none", "nor/this"])


# -- the lease, the clock, the sweep ----------------------------------------------------------------------------------


def test_replace_compares_and_swaps(repository: S3Repository) -> None:
    first = repository.replace("lease", b"mine", None)
    assert repository.read_token("lease") == (b"mine", first)
    with pytest.raises(AlreadyExists):
        repository.replace("lease", b"yours", None)
    second = repository.replace("lease", b"renewed", first)
    with pytest.raises(AlreadyExists):
        repository.replace("lease", b"late", first)
    assert repository.read_token("lease") == (b"renewed", second)
    repository.delete(["lease"])
    with pytest.raises(AlreadyExists):
        repository.replace("lease", b"gone", second)


def test_of_eight_takers_of_a_stale_lease_one_wins(repository: S3Repository) -> None:
    token = repository.replace("lease", b"stale", None)

    def take(number: int) -> bool:
        try:
            repository.replace("lease", f"taker {number}".encode(), token)
        except AlreadyExists:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(take, range(8)))
    assert won.count(True) == 1
    state = repository.read_token("lease")
    assert state is not None
    assert state[0] == f"taker {won.index(True)}".encode()


def test_clock_is_the_stores(repository: S3Repository) -> None:
    assert abs(repository.clock() - datetime.now(timezone.utc)) < timedelta(seconds=3)
    assert repository.clock().tzinfo == timezone.utc


def test_sweep_aborts_what_began_before(seaweed: SeaweedFS, bucket: str, repository: S3Repository) -> None:
    for key in ("data/old", "other/old"):
        repository.begin(key).write_part(1, b"x", sha(b"x"))
    neighbour = opened(seaweed, bucket, prefix="team/web_db2")
    neighbour.begin("data/old")
    neighbour.close()
    now = repository.clock()
    assert repository.sweep_uploads("data/", now - timedelta(hours=1)) == []
    assert repository.sweep_uploads("data/", now + timedelta(seconds=2)) == ["data/old"]
    assert seaweed.uploads(bucket) == ["team/web_db/other/old", "team/web_db2/data/old"]


# -- beside other repositories ---------------------------------------------------------------------------------------


def test_repositories_with_parts_of_different_sizes_get_the_same_bytes(
    seaweed: SeaweedFS, bucket: str, repository: S3Repository, tmp_path: Path
) -> None:
    small = opened(seaweed, bucket, part_size="5MiB", prefix="small")
    local = LocalRepository("local", {"path": str(tmp_path)})
    fanout = FanOut([repository, local, small])
    writer = ObjectWriter(fanout, "data/x")
    data = noise(18 * MIB)
    writer.write(data)
    writer.close()
    fanout.drain()
    fanout.close(abort=False)
    assert [leg.failure for leg in fanout.legs] == [None, None, None]
    for one in (repository, local, small):
        assert one.read("data/x") == data
    small.close()


# -- memory -----------------------------------------------------------------------------------------------------------


def test_parts_are_sent_without_a_copy_and_ranges_read_with_one(repository: S3Repository) -> None:
    part = bytearray(noise(16 * MIB))
    digest = sha(part)
    repository._facts()
    upload = repository.begin("data/x")
    tracemalloc.start()
    try:
        peaks = []
        for number in range(1, 5):
            tracemalloc.reset_peak()
            upload.write_part(number, memoryview(part), digest)
            peaks.append(tracemalloc.get_traced_memory()[1])
        upload.complete([PartSum(number, len(part), digest) for number in range(1, 5)])
        assert max(peaks) < 1 * MIB
        tracemalloc.reset_peak()
        assert len(repository.read("data/x", 8 * MIB, 16 * MIB)) == 16 * MIB
        copies = 1 if sys.version_info >= (3, 10) else 2  # before, http.client joined pieces
        assert tracemalloc.get_traced_memory()[1] < (16 * copies + 2) * MIB
    finally:
        tracemalloc.stop()
