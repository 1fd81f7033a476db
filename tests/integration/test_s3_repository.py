# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The S3 store against real stores: SeaweedFS, which checks what it is told, and rclone's, which checks less."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._errors import (
    AlreadyExists,
    AuthenticationFailed,
    Corrupted,
    HoldfastError,
    Interrupted,
    InvalidOption,
    NotFound,
    PermissionDenied,
    TimedOut,
    TlsFailed,
    Unavailable,
    Unsupported,
)
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._interface import PartSum
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._local import LocalRepository
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._s3 import S3Repository
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._s3_probe import PROBE_KEY
from ansible_collections.holdfast.ops.plugins.module_utils._stream._fanout import FanOut, ObjectWriter
from ansible_collections.holdfast.ops.tests.support.proxy import FaultyProxy
from ansible_collections.holdfast.ops.tests.support.seaweed import Credentials, SeaweedFS
from ansible_collections.holdfast.ops.tests.support.servers import Server, free_ports, wait_until
from botocore.exceptions import ClientError

MIB = 1024 * 1024
ALL = ("write", "list", "read", "delete")


def sha(data: Any) -> bytes:
    return hashlib.sha256(data).digest()


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def opened(store: SeaweedFS, bucket: str, who: Credentials | None = None, **more: Any) -> S3Repository:
    who = who or store.admin
    options = {"endpoint_url": store.endpoint, "bucket": bucket, "prefix": "team/web_db", "access_key": who.access_key}
    return S3Repository("primary", {**options, "secret_key": who.secret_key, **more})


def send(repository: S3Repository, key: str, parts: list[bytes]) -> None:
    """One object in parts, the last first."""
    upload = repository.begin(key)
    for number, part in reversed(list(enumerate(parts, 1))):
        upload.write_part(number, part, sha(part))
    upload.complete([PartSum(number, len(part), sha(part)) for number, part in enumerate(parts, 1)])


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


# -- rights -----------------------------------------------------------------------------------------------------------


def test_probe_of_a_store_that_checks(seaweed: SeaweedFS, bucket: str, repository: S3Repository) -> None:
    for _twice in range(2):
        report = repository.probe(ALL)
        assert dict(report.rights) == dict.fromkeys(ALL, True)
        assert (report.checks_content, report.warnings) == ("sha256", ())
    assert seaweed.keys(bucket) == [f"team/web_db/{PROBE_KEY}"]
    assert seaweed.uploads(bucket) == []


def test_probe_that_may_not_write_writes_nothing(seaweed: SeaweedFS, bucket: str, repository: S3Repository) -> None:
    report = repository.probe(ALL, write=False)
    assert dict(report.rights) == {"write": None, "list": True, "read": True, "delete": None}
    assert seaweed.keys(bucket) == []


@pytest.mark.parametrize(
    ("who", "wanted", "right"),
    [
        ("stranger", ("list",), "list"),
        ("lister", ("read",), "read"),
        ("lister", ("write",), "write"),
        ("reader", ("write", "list"), "write"),
        ("reader", ("delete",), "delete"),
        ("writer", ("write", "read"), "read"),
    ],
)
def test_a_missing_right_is_named_before_anything_is_done(
    seaweed: SeaweedFS, bucket: str, who: str, wanted: tuple[str, ...], right: str
) -> None:
    repository = opened(seaweed, bucket, getattr(seaweed, who))
    with pytest.raises(PermissionDenied) as caught:
        repository.probe(wanted)
    assert caught.value.right == right
    repository.close()


def test_put_and_list_are_enough_to_back_up(seaweed: SeaweedFS, bucket: str) -> None:
    repository = opened(seaweed, bucket, seaweed.writer)
    report = repository.probe(("write", "list"))
    assert report.rights["write"] and report.rights["list"]
    assert report.rights["read"] is None
    send(repository, "data/dump", [noise(5 * MIB), b"end"])
    repository.put("manifests/a.json", b"{}", sha(b"{}"))
    assert [(one.key, one.size) for one in repository.list("data/")] == [("data/dump", 5 * MIB + 3)]
    with pytest.raises(PermissionDenied):
        repository.read("data/dump")
    repository.close()


POLICIES = Path(__file__).parents[2] / "docs" / "policies"


def test_the_policy_for_seaweedfs_lets_a_host_back_up_and_keeps_its_past_from_a_thief(
    seaweed: SeaweedFS, bucket: str
) -> None:
    client, thief = seaweed.client(), seaweed.client(seaweed.writer)
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    text = (POLICIES / "bucket-host-seaweedfs.json").read_text(encoding="utf-8")
    policy = text.replace("USER", seaweed.writer.name).replace("BUCKET", bucket).replace("PREFIX", "team")
    client.put_bucket_policy(Bucket=bucket, Policy=policy)
    repository = opened(seaweed, bucket, seaweed.writer)
    repository.probe(("write", "list"))
    stored = {"data/x": noise(5 * MIB) + b"end", "blobs/ab/b": b"blob", "running/r": b"{}", "manifests/m": b"{}"}
    send(repository, "data/x", [noise(5 * MIB), b"end"])
    for key in ("blobs/ab/b", "running/r", "manifests/m"):
        repository.put(key, stored[key], sha(stored[key]))
    repository.close()
    versions = {one["Key"]: one["VersionId"] for one in client.list_object_versions(Bucket=bucket)["Versions"]}

    def refused(action: Callable[..., Any], **arguments: Any) -> None:
        with pytest.raises(ClientError) as caught:
            action(Bucket=bucket, **arguments)
        assert caught.value.response["Error"]["Code"] == "AccessDenied", caught.value

    for key, content in stored.items():
        full = f"team/web_db/{key}"
        thief.put_object(Bucket=bucket, Key=full, Body=b"destroyed")  # nothing stops this, so it must not matter
        refused(thief.get_object, Key=full)
        refused(thief.delete_object, Key=full)
        refused(thief.delete_object, Key=full, VersionId=versions[full])
        found = client.get_object(Bucket=bucket, Key=full, VersionId=versions[full])["Body"].read()
        assert found == content
    deleted = thief.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "team/web_db/manifests/m"}]})
    assert deleted["Errors"][0]["Code"] == "AccessDenied"
    for key in ("verified/x", "verified/data/x", "prune/b", "prune/blobs/b", "lease"):
        refused(thief.put_object, Key=f"team/web_db/{key}", Body=b"forged")
        refused(thief.create_multipart_upload, Key=f"team/web_db/{key}")
    refused(thief.put_object, Key="other/web_db/manifests/m", Body=b"forged")
    refused(thief.put_bucket_versioning, VersioningConfiguration={"Status": "Suspended"})
    rule = {"ID": "x", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}
    refused(thief.put_bucket_lifecycle_configuration, LifecycleConfiguration={"Rules": [rule]})
    refused(thief.delete_bucket_policy)
    client.delete_bucket_policy(Bucket=bucket)
    found = client.list_object_versions(Bucket=bucket)
    for one in [*found["Versions"], *found.get("DeleteMarkers", [])]:  # or the bucket cannot be dropped
        client.delete_object(Bucket=bucket, Key=one["Key"], VersionId=one["VersionId"])


def test_each_method_names_the_right_that_it_lacks(seaweed: SeaweedFS, bucket: str, repository: S3Repository) -> None:
    repository.put("x", b"x", sha(b"x"))
    stranger = opened(seaweed, bucket, seaweed.stranger)
    attempts: list[tuple[str, Callable[[], Any]]] = [
        ("write", lambda: stranger.put("y", b"y", sha(b"y"))),
        ("write", lambda: stranger.begin("y")),
        ("list", lambda: list(stranger.list(""))),
        ("list", stranger.clock),
        ("list", lambda: stranger.sweep_uploads("", datetime.now(timezone.utc))),
        ("read", lambda: stranger.read("x")),
        ("read", lambda: stranger.read_token("x")),
        ("delete", lambda: stranger.delete(["x"])),
    ]
    for right, attempt in attempts:
        with pytest.raises(PermissionDenied) as caught:
            attempt()
        assert caught.value.right == right
    assert repository.read("x") == b"x"
    stranger.close()


# -- what is declared wrongly -----------------------------------------------------------------------------------------


def failure(seaweed: SeaweedFS, bucket: str, **options: Any) -> HoldfastError:
    repository = opened(seaweed, bucket, **{"retries": 0, "connect_timeout": 2, "read_timeout": 2, **options})
    with pytest.raises(HoldfastError) as caught:
        repository.probe(ALL)
    repository.close()
    assert seaweed.admin.secret_key not in str(caught.value)
    return caught.value


def test_a_wrong_bucket_is_not_made(seaweed: SeaweedFS, bucket: str) -> None:
    error = failure(seaweed, f"{bucket}-absent")
    assert isinstance(error, NotFound)
    assert "bucket" in error.message
    assert not seaweed.has_bucket(f"{bucket}-absent")


def test_a_wrong_access_key_and_a_wrong_secret_are_told_apart(seaweed: SeaweedFS, bucket: str) -> None:
    key, secret = failure(seaweed, bucket, access_key="AKNOBODY"), failure(seaweed, bucket, secret_key="wrong-secret")
    assert isinstance(key, AuthenticationFailed)
    assert "access key" in key.message
    assert isinstance(secret, AuthenticationFailed)
    assert "secret key" in secret.message
    assert "wrong-secret" not in str(secret.result())


def test_no_credentials_at_all(seaweed: SeaweedFS, bucket: str) -> None:
    error = failure(seaweed, bucket, access_key=None, secret_key=None)
    assert isinstance(error, AuthenticationFailed)
    assert "credentials_file" in str(error.hint)


def test_nobody_listens_at_the_endpoint(seaweed: SeaweedFS, bucket: str) -> None:
    error = failure(seaweed, bucket, endpoint_url=f"http://127.0.0.1:{free_ports(1)[0]}")
    assert error.__class__ is Unavailable


def test_a_host_name_that_does_not_exist(seaweed: SeaweedFS, bucket: str) -> None:
    error = failure(seaweed, bucket, endpoint_url="http://no-such-host.invalid:9000")
    assert error.__class__ is Unavailable


def test_tls_to_a_port_that_speaks_none(seaweed: SeaweedFS, bucket: str) -> None:
    error = failure(seaweed, bucket, endpoint_url=seaweed.endpoint.replace("http:", "https:"))
    assert isinstance(error, TlsFailed)


class _Website(BaseHTTPRequestHandler):
    """Something that speaks HTTP and is no S3 store."""

    status = 200

    def do_GET(self) -> None:
        page = b"<!DOCTYPE html><html><body>Welcome<br></body></html>"
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_arguments: Any) -> None:
        """Quiet."""


@pytest.mark.parametrize("status", [200, 404])
def test_a_website_at_the_endpoint(seaweed: SeaweedFS, bucket: str, status: int) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Site", (_Website,), {"status": status}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        error = failure(seaweed, bucket, endpoint_url=f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()
    assert error.__class__ is Unavailable
    assert "endpoint_url" in str(error.hint)


def test_a_storage_class_that_the_store_does_not_know(seaweed: SeaweedFS, bucket: str) -> None:
    repository = opened(seaweed, bucket, storage_class="NONSENSE")
    with pytest.raises(InvalidOption, match="storage_class"):
        repository.put("x", b"x", sha(b"x"))
    repository.close()


def test_credentials_from_a_file(seaweed: SeaweedFS, bucket: str, tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.touch(0o600)
    path.write_text(
        f"[default]\naws_access_key_id={seaweed.admin.access_key}\naws_secret_access_key={seaweed.admin.secret_key}\n"
    )
    repository = opened(seaweed, bucket, access_key=None, secret_key=None, credentials_file=str(path))
    assert repository.probe(ALL).rights["write"]
    repository.close()


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
