# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The S3 store against real MinIO: the shipped policies, Object Lock, encryption in the store, TLS, a full disk.

What a thief of a host's credentials could do is tried with a client of the thief's own, not with ours.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._errors import (
    AlreadyExists,
    Corrupted,
    DiskFull,
    PermissionDenied,
    TlsFailed,
    Unavailable,
    Unsupported,
)
from ansible_collections.holdfast.ops.plugins.module_utils._manifest import Backup, manifest_key
from ansible_collections.holdfast.ops.plugins.module_utils._operations._prune import PruneSettings, prune
from ansible_collections.holdfast.ops.plugins.module_utils._progress import Progress
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._interface import Hold, PartSum
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._s3 import S3Repository
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._s3_probe import PROBE_KEY
from ansible_collections.holdfast.ops.plugins.module_utils._retention import Policy
from ansible_collections.holdfast.ops.tests.support.disks import NEEDS_ROOT, is_root, small_disk
from ansible_collections.holdfast.ops.tests.support.memory import commit_backup, note_verification
from ansible_collections.holdfast.ops.tests.support.minio import KMS_KEY, MinIO, certificate, shipped
from botocore.exceptions import ClientError

MIB = 1024 * 1024
ALL = ("write", "list", "read", "delete")
COMPONENT = "web1/db"
BACKUP = "20261122T120000.000Z-aaaaaabbbbbb"


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


@pytest.fixture(scope="module")
def minio() -> Iterator[MinIO]:
    with MinIO() as store:
        yield store


@pytest.fixture
def bucket(minio: MinIO) -> str:
    return minio.create_bucket()


@pytest.fixture
def locked(minio: MinIO) -> str:
    """A bucket with Object Lock, which brings versioning."""
    return minio.create_bucket(lock=True)


Open = Callable[..., S3Repository]


@pytest.fixture
def opened(minio: MinIO) -> Iterator[Open]:
    made: list[S3Repository] = []

    def make(bucket: str, keys: tuple[str, str] | None = None, **more: Any) -> S3Repository:
        access_key, secret_key = keys or (minio.access_key, minio.secret_key)
        options = {
            "endpoint_url": minio.endpoint,
            "bucket": bucket,
            "prefix": COMPONENT,
            "region": minio.region,
            "access_key": access_key,
            "secret_key": secret_key,
            "ca_file": str(minio.ca),
        }
        made.append(S3Repository("primary", {**options, **more}))
        return made[-1]

    yield make
    for one in made:
        one.close()


def back_up(repository: S3Repository) -> dict[str, bytes]:
    """All that a backup does to a repository, in its order; what it stored, by key."""
    repository.probe(("write", "list"))
    parts = [bytes([number]) * 5 * MIB for number in (1, 2)] + [b"end"]
    data = f"data/2026/11/22/{BACKUP}/dump"
    stored = {
        f"running/{BACKUP}": b"{}",
        data: b"".join(parts),
        f"blobs/ab/abcd.{BACKUP}": b"a large file",
        f"manifests/{BACKUP}.json": b'{"schema": 1}',
    }
    for key, content in stored.items():
        if key == data:
            upload = repository.begin(key)
            for number, part in enumerate(parts, 1):
                upload.write_part(number, part, sha(part))
            upload.complete([PartSum(number, len(part), sha(part)) for number, part in enumerate(parts, 1)])
        else:
            repository.put(key, content, sha(content))
        assert [one.size for one in repository.list(key)] == [len(content)]
    return stored


def refused(action: Callable[..., Any], **arguments: Any) -> None:
    with pytest.raises(ClientError) as caught:
        action(**arguments)
    assert caught.value.response["Error"]["Code"] == "AccessDenied", caught.value


# -- the store itself -------------------------------------------------------------------------------------------------


def test_it_is_probed_as_a_store_that_checks_and_never_replaces(minio: MinIO, bucket: str, opened: Open) -> None:
    repository = opened(bucket)
    for _twice in range(2):
        report = repository.probe(ALL)
        assert dict(report.rights) == dict.fromkeys(ALL, True)
        assert (report.checks_content, report.warnings) == ("sha256", ())
    assert "Uploads" not in minio.client().list_multipart_uploads(Bucket=bucket, Prefix=COMPONENT)


def test_wrong_bytes_are_refused(bucket: str, opened: Open) -> None:
    repository = opened(bucket)
    with pytest.raises(Corrupted):
        repository.put("data/x", b"these", sha(b"others"))
    upload = repository.begin("data/x")
    with pytest.raises(Corrupted):
        upload.write_part(1, b"these", sha(b"others"))
    upload.abort()
    assert list(repository.list("data/")) == []


def test_of_twelve_racers_one_wins(bucket: str, opened: Open) -> None:
    repository = opened(bucket)
    repository.probe(ALL)

    def race(number: int) -> bool:
        try:
            repository.put("lock", b"%d" % number, sha(b"%d" % number))
        except AlreadyExists:
            return False
        return True

    with ThreadPoolExecutor(12) as pool:
        assert sum(pool.map(race, range(12))) == 1


def test_the_lease(bucket: str, opened: Open) -> None:
    repository = opened(bucket)
    token = repository.replace("lease", b"mine", None)
    with pytest.raises(AlreadyExists):
        repository.replace("lease", b"yours", None)
    renewed = repository.replace("lease", b"mine again", token)
    with pytest.raises(AlreadyExists):
        repository.replace("lease", b"late", token)
    assert repository.read_token("lease") == (b"mine again", renewed)


def test_listing_is_in_the_order_of_the_keys(bucket: str, opened: Open) -> None:
    repository = opened(bucket)
    keys = ["a/b", "a b", "a-b", "a.b", "a0", "A", "é", "z"]
    for key in keys:
        repository.put(key, b"x", sha(b"x"))
    found = [one.key for one in repository.list("") if one.key != PROBE_KEY]
    assert found == sorted(keys, key=lambda key: key.encode())


def test_ranges_clock_and_sweep(bucket: str, opened: Open) -> None:
    repository = opened(bucket)
    repository.put("x", b"0123456789", sha(b"0123456789"))
    repository.put("empty", b"", sha(b""))
    assert (repository.read("x", 3, 4), repository.read("x", 8, 9), repository.read("x", 10, 1)) == (
        b"3456",
        b"89",
        b"",
    )
    assert repository.read("empty", 0, 5) == b""
    assert abs(repository.clock() - datetime.now(timezone.utc)) < timedelta(seconds=3)
    repository.begin("data/left").write_part(1, b"x", sha(b"x"))
    assert repository.sweep_uploads("data/", repository.clock() + timedelta(seconds=2)) == ["data/left"]


# -- the shipped policies ---------------------------------------------------------------------------------------------


def test_a_host_can_back_up_and_nothing_else(minio: MinIO, bucket: str, opened: Open) -> None:
    keys = minio.user("host.json", bucket, "web1")
    repository = opened(bucket, keys)
    stored = back_up(repository)
    for key in stored:
        with pytest.raises(PermissionDenied) as caught:
            repository.read(key)
        assert caught.value.right == "read"
        with pytest.raises(PermissionDenied) as caught:
            repository.delete([key])
        assert caught.value.right == "delete"
        with pytest.raises(AlreadyExists):
            repository.put(key, b"other", sha(b"other"))
    thief = minio.client(keys)
    for key in (f"verified/{BACKUP}/x-restore-ok.json", "prune/abcd", "lease", "other"):
        refused(thief.put_object, Bucket=bucket, Key=f"{COMPONENT}/{key}", Body=b"forged")
        refused(thief.create_multipart_upload, Bucket=bucket, Key=f"{COMPONENT}/{key}")
    refused(thief.put_object, Bucket=bucket, Key=f"{COMPONENT}/prune/data/x", Body=b"forged")
    refused(thief.put_object, Bucket=bucket, Key=f"web2/db/manifests/{BACKUP}.json", Body=b"forged")
    refused(thief.list_objects_v2, Bucket=bucket)
    refused(thief.list_objects_v2, Bucket=bucket, Prefix="web2/")
    refused(thief.copy_object, Bucket=bucket, Key=f"{COMPONENT}/data/c", CopySource=f"{bucket}/{COMPONENT}/data/x")
    client = minio.client()
    for key, content in stored.items():
        assert client.get_object(Bucket=bucket, Key=f"{COMPONENT}/{key}")["Body"].read() == content


def test_a_stolen_host_cannot_destroy_its_past_in_a_versioned_bucket(minio: MinIO, locked: str, opened: Open) -> None:
    client = minio.client()
    lock = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 7}}}
    client.put_object_lock_configuration(Bucket=locked, ObjectLockConfiguration=lock)
    keys = minio.user("host.json", locked, "web1")
    stored = back_up(opened(locked, keys))
    versions = {
        one["Key"]: one["VersionId"]
        for one in client.list_object_versions(Bucket=locked)["Versions"]
        if one["IsLatest"]
    }
    thief = minio.client(keys)
    for key, content in stored.items():
        place = {"Bucket": locked, "Key": f"{COMPONENT}/{key}"}
        version = {**place, "VersionId": versions[place["Key"]]}
        thief.put_object(**place, Body=b"destroyed")  # nothing stops this, so it must not matter
        refused(thief.delete_object, **place)
        refused(thief.delete_object, **version)
        refused(thief.delete_object, **version, BypassGovernanceRetention=True)
        soon = {"Mode": "GOVERNANCE", "RetainUntilDate": datetime.now(timezone.utc) + timedelta(seconds=30)}
        refused(thief.put_object_retention, **version, Retention=soon, BypassGovernanceRetention=True)
        assert client.get_object(**version)["Body"].read() == content
    refused(thief.put_bucket_versioning, Bucket=locked, VersioningConfiguration={"Status": "Suspended"})
    refused(
        thief.put_object_lock_configuration, Bucket=locked, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"}
    )
    rule = {"ID": "x", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}
    refused(thief.put_bucket_lifecycle_configuration, Bucket=locked, LifecycleConfiguration={"Rules": [rule]})
    refused(thief.put_bucket_policy, Bucket=locked, Policy=json.dumps({"Version": "2012-10-17", "Statement": []}))
    refused(thief.delete_bucket, Bucket=locked)


def test_the_trusted_place_verifies_prunes_and_sweeps(minio: MinIO, bucket: str, opened: Open) -> None:
    stored = back_up(opened(bucket, minio.user("host.json", bucket, "web1")))
    keys = minio.user("trusted.json", bucket, "web1")
    repository = opened(bucket, keys)
    assert dict(repository.probe(ALL).rights) == dict.fromkeys(ALL, True)
    for key, content in stored.items():
        assert repository.read(key) == content
    repository.put(f"verified/{BACKUP}/x-restore-ok.json", b"{}", sha(b"{}"))
    repository.put("prune/abcd", b"", sha(b""))
    token = repository.replace("lease", b"pruner", None)
    repository.replace("lease", b"pruner, still", token)
    repository.begin("data/left")
    assert repository.sweep_uploads("data/", repository.clock() + timedelta(seconds=2)) == ["data/left"]
    repository.delete([one.key for one in repository.list("")])
    assert list(repository.list("")) == []
    other = minio.client(keys)
    refused(other.put_object, Bucket=bucket, Key="web2/db/x", Body=b"x")
    refused(other.list_objects_v2, Bucket=bucket, Prefix="web2/")
    refused(other.put_bucket_policy, Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": []}))


def test_what_the_trusted_place_deletes_in_a_versioned_bucket_can_be_had_back(
    minio: MinIO, locked: str, opened: Open
) -> None:
    stored = back_up(opened(locked, minio.user("host.json", locked, "web1")))
    keys = minio.user("trusted.json", locked, "web1")
    repository = opened(locked, keys)
    repository.delete(list(stored))
    assert [one.key for one in repository.list("") if one.key in stored] == []
    other, client = minio.client(keys), minio.client()
    for one in client.list_object_versions(Bucket=locked)["Versions"]:
        version = {"Bucket": locked, "Key": one["Key"], "VersionId": one["VersionId"]}
        refused(other.delete_object, **version)
        key = one["Key"][len(COMPONENT) + 1 :]
        assert key == PROBE_KEY or client.get_object(**version)["Body"].read() == stored[key]


def test_a_restoring_host_reads_and_nothing_else(minio: MinIO, bucket: str, opened: Open) -> None:
    stored = back_up(opened(bucket, minio.user("host.json", bucket, "web1")))
    keys = minio.user("restore.json", bucket, "web1")
    repository = opened(bucket, keys)
    assert repository.probe(("list", "read")).rights["read"] is True
    for key, content in stored.items():
        assert repository.read(key) == content
    for right, wanted in (("write", ("write",)), ("delete", ("delete",))):
        with pytest.raises(PermissionDenied) as caught:
            opened(bucket, keys).probe(wanted)
        assert caught.value.right == right
    with pytest.raises(PermissionDenied):
        repository.put("data/new", b"x", sha(b"x"))
    refused(minio.client(keys).get_object, Bucket=bucket, Key="web2/db/x")


def test_the_lifecycle_rule_is_accepted(minio: MinIO, locked: str) -> None:
    rules = json.loads(shipped("lifecycle.json", locked, "web1"))
    client = minio.client()
    client.put_bucket_lifecycle_configuration(Bucket=locked, LifecycleConfiguration=rules)
    (kept,) = client.get_bucket_lifecycle_configuration(Bucket=locked)["Rules"]
    assert kept["NoncurrentVersionExpiration"] == rules["Rules"][0]["NoncurrentVersionExpiration"]


# -- Object Lock and encryption ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["GOVERNANCE", "COMPLIANCE"])
def test_every_object_is_kept_for_as_long_as_was_asked(minio: MinIO, locked: str, opened: Open, mode: str) -> None:
    keys = minio.user("host.json", locked, "web1", "s3:PutObjectRetention")
    back_up(opened(locked, keys, object_lock_days=3, object_lock_mode=mode))
    client = minio.client()
    versions = client.list_object_versions(Bucket=locked)["Versions"]
    assert len(versions) == 5
    for one in versions:
        version = {"Bucket": locked, "Key": one["Key"], "VersionId": one["VersionId"]}
        retention = client.get_object_retention(**version)["Retention"]
        left = retention["RetainUntilDate"] - datetime.now(timezone.utc)
        assert retention["Mode"] == mode
        assert timedelta(days=2, hours=23) < left <= timedelta(days=3)
        with pytest.raises(ClientError, match=r"AccessDenied|WORM"):  # not even the administrator
            client.delete_object(**version)
    thief = minio.client(keys)
    refused(thief.delete_object, **version, BypassGovernanceRetention=True)
    soon = {"Mode": mode, "RetainUntilDate": datetime.now(timezone.utc) + timedelta(seconds=30)}
    if mode == "COMPLIANCE":  # MinIO lets GOVERNANCE be shortened by whoever may set it: the page says so
        with pytest.raises(ClientError, match="WORM"):
            thief.put_object_retention(**version, Retention=soon, BypassGovernanceRetention=True)


def test_prune_leaves_what_is_locked_or_held_and_says_so(
    minio: MinIO, locked: str, opened: Open, tmp_path: Path
) -> None:
    client, repository = minio.client(), opened(locked, minio.user("trusted.json", locked, "web1"))
    day, now = timedelta(days=1), repository.clock()
    kept, kept_by_lock, kept_by_hold, free = (commit_backup(repository, now - age * day) for age in (1, 2, 3, 4))
    note_verification(repository, kept.id, now)
    until = (now + 3 * day).replace(microsecond=0)
    place = {"Bucket": locked, "Key": f"{COMPONENT}/{manifest_key(kept_by_lock.id)}"}
    client.put_object_retention(**place, Retention={"Mode": "COMPLIANCE", "RetainUntilDate": until})
    minio.mc("legalhold", "set", f"m/{locked}/{COMPONENT}/{manifest_key(kept_by_hold.id)}")
    for check in (True, False):
        settings = PruneSettings("db", str(tmp_path), Policy(last=1, minimum_verified=1), check=check)
        result = prune(repository, settings, Progress())
        assert result.deleted == [free.id]
        assert (result.skipped, result.warnings) == ({}, [])
        why = {each.id: each.reasons for each in result.plan.decisions}
        assert why[kept_by_lock.id] == (f"locked by the store until {until:%Y-%m-%dT%H:%M:%SZ}",)
        assert why[kept_by_hold.id] == ("held in the store (legal hold)",)
    left = [one.key for one in repository.list("manifests/")]
    assert left == sorted(manifest_key(each.id) for each in (kept, kept_by_lock, kept_by_hold))
    for backup in (kept_by_lock, kept_by_hold):
        assert all(sha(repository.read(part.key)).hex() == part.sha256 for part in backup.objects())


def test_without_the_right_to_see_locks_a_pruned_backup_is_hidden_and_can_be_had_back(
    minio: MinIO, locked: str, opened: Open
) -> None:
    keys = minio.user("trusted.json", locked, "web1", without="SeeWhatIsLocked")
    client = minio.client()
    now = opened(locked).clock()
    kept, gone = (commit_backup(opened(locked), now - timedelta(days=age)) for age in (1, 2))
    note_verification(opened(locked), kept.id, now)
    place = {"Bucket": locked, "Key": f"{COMPONENT}/{manifest_key(gone.id)}"}
    client.put_object_retention(**place, Retention={"Mode": "COMPLIANCE", "RetainUntilDate": now + timedelta(days=1)})
    repository = opened(locked, keys)
    assert repository.hold(manifest_key(gone.id)) == Hold()
    repository.delete([manifest_key(gone.id)])
    assert [one.key for one in repository.list("manifests/")] == [manifest_key(kept.id)]
    minio.mc("undo", f"m/{locked}/{place['Key']}", "--force")
    assert Backup.from_json(repository.read(manifest_key(gone.id))).id == gone.id


def test_object_lock_on_a_bucket_without_it_is_refused_at_once(bucket: str, opened: Open) -> None:
    with pytest.raises(Unsupported, match="Object Lock"):
        opened(bucket, object_lock_days=3).probe(ALL)
    assert list(opened(bucket).list("")) == []


@pytest.mark.parametrize(
    "options", [{"sse": "AES256"}, {"sse": "aws:kms"}, {"sse": "aws:kms", "sse_kms_key_id": KMS_KEY}]
)
def test_encryption_by_the_store(minio: MinIO, bucket: str, opened: Open, options: dict[str, str]) -> None:
    repository = opened(bucket, **options)
    assert repository.probe(ALL).checks_content == "sha256"
    client = minio.client()
    for key, content in back_up(repository).items():
        head = client.head_object(Bucket=bucket, Key=f"{COMPONENT}/{key}")
        assert head["ServerSideEncryption"] == options["sse"]
        assert repository.read(key) == content


def test_a_key_that_the_store_does_not_have(bucket: str, opened: Open) -> None:
    with pytest.raises(Unsupported, match="sse"):
        opened(bucket, sse="aws:kms", sse_kms_key_id="no-such-key").probe(ALL)


# -- TLS and region ---------------------------------------------------------------------------------------------------


def test_an_unknown_authority_is_refused(bucket: str, opened: Open, tmp_path: Path) -> None:
    for options in ({"ca_file": None}, {"ca_file": str(certificate(tmp_path / "other"))}):
        with pytest.raises(TlsFailed, match="TLS") as caught:
            opened(bucket, **options, retries=0).probe(ALL)
        assert "ca_file" in str(caught.value.hint)


def test_a_certificate_for_another_name_is_refused(minio: MinIO, bucket: str, opened: Open) -> None:
    with pytest.raises(TlsFailed):
        opened(bucket, endpoint_url=f"https://localhost:{minio.port}", retries=0).probe(ALL)


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_unverified_tls_is_what_was_asked_for(bucket: str, opened: Open) -> None:
    assert opened(bucket, ca_file=None, verify_tls=False).probe(ALL).rights["write"] is True


def test_plain_http_to_a_port_that_speaks_tls(minio: MinIO, bucket: str, opened: Open) -> None:
    # The server says so and resets the connection; whether its words arrive before the reset is luck.
    with pytest.raises((TlsFailed, Unavailable), match="https://"):
        opened(bucket, endpoint_url=f"http://127.0.0.1:{minio.port}", retries=0).probe(ALL)


def test_a_wrong_region_is_put_right(bucket: str, opened: Open) -> None:
    """The client asks the store for the bucket's region and goes on with that."""
    repository = opened(bucket, region="us-west-9")
    back_up(repository)
    assert repository.read(f"running/{BACKUP}") == b"{}"


# -- a full store -----------------------------------------------------------------------------------------------------


@pytest.mark.privileged
@pytest.mark.skipif(not is_root(), reason=NEEDS_ROOT)
def test_a_full_store_is_told_from_a_broken_one(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", megabytes=64) as disk, MinIO(data=disk / "data") as store:
        options = {
            "endpoint_url": store.endpoint,
            "bucket": store.create_bucket(),
            "region": store.region,
            "access_key": store.access_key,
            "secret_key": store.secret_key,
            "ca_file": str(store.ca),
        }
        repository = S3Repository("small", options)
        part = b"x" * 5 * MIB
        upload = repository.begin("data/x")
        with pytest.raises(DiskFull, match="full"):
            for number in range(1, 20):
                upload.write_part(number, part, sha(part))
        upload.abort()
        repository.close()
