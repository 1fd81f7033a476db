# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The S3 store against a real one: what it may do, and what is declared wrongly."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._errors import (
    AuthenticationFailed,
    HoldfastError,
    InvalidOption,
    NotFound,
    PermissionDenied,
    TlsFailed,
    Unavailable,
)
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._s3 import S3Repository
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._s3_probe import PROBE_KEY
from ansible_collections.holdfast.ops.tests.support.s3 import ALL, MIB, noise, opened, send, sha
from ansible_collections.holdfast.ops.tests.support.seaweed import SeaweedFS
from ansible_collections.holdfast.ops.tests.support.servers import free_ports
from botocore.exceptions import ClientError


@pytest.fixture
def repository(seaweed: SeaweedFS, bucket: str) -> Iterator[S3Repository]:
    one = opened(seaweed, bucket)
    yield one
    one.close()


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
