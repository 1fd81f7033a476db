# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bucket as a repository: AWS, MinIO, SeaweedFS, Ceph, Google Cloud Storage's S3 endpoint and the rest.

PRIVATE to the collection; may change without notice.

Stores that speak S3 differ in what they check. So a small probe finds out, once a run, whether this one refuses
bytes that are not what their SHA-256 says, and whether it refuses to replace an object; what follows from that is
in `_s3_probe.Facts`. An ETag serves only as the token of a state, never as a checksum.
"""

from __future__ import annotations

import builtins
import contextlib
import hashlib
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from itertools import islice
from typing import Any, ClassVar

from .._errors import (
    AlreadyExists,
    Corrupted,
    HoldfastError,
    NotFound,
    PermissionDenied,
    Unavailable,
    Unsupported,
)
from ._interface import RIGHTS, Buffer, Hold, PartSum, ProbeReport, Repository, StoredObject, Upload
from ._s3_client import Body, connect
from ._s3_errors import Place, code_of, library_errors, status_of, translate, was_retried
from ._s3_options import OPTIONS, check, credentials, is_aws, part_size, with_defaults
from ._s3_probe import NO_KEY, PROBE, PROBE_KEY, Facts, b64, find_facts, honours_if_match

_TAKEN = ("PreconditionFailed", "ConditionalRequestConflict")
_CONFLICT_WAITS = (0.2, 0.5, 1.0, 2.0)
"""Seconds before each further try of a put that met another one of the same key still going on."""

_DELETE_BATCH = 1000


class S3Repository(Repository):
    """Objects in a bucket under a prefix."""

    type = "s3"
    OPTIONS: ClassVar[Mapping[str, Any]] = OPTIONS

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        options = self._options = with_defaults(options)
        check(name, options)
        self.name = name
        self.part_size = part_size(name, options["part_size"])
        self.max_parts = options["max_parts"]
        self.parallel = options["parallel"]
        self.stall_timeout = float(options["stall_timeout"])
        self.single_pruner = bool(options["single_pruner"])
        self.bucket: str = options["bucket"]
        prefix = (options.get("prefix") or "").strip("/")
        self._prefix = f"{prefix}/" if prefix else ""
        endpoint, aws = options["endpoint_url"], is_aws(options["endpoint_url"])
        region = options["region"] or (None if aws else "us-east-1")
        keys = credentials(name, options)
        self._client = connect(name, options, region, keys)
        self._place = Place(
            name,
            endpoint or "AWS",
            self.bucket,
            self._client.meta.region_name or "",
            options["connect_timeout"],
            options["read_timeout"],
            (keys["secret_key"], keys["session_token"]),
        )
        self._errors = library_errors()
        self._lock = threading.Lock()
        self._known: Facts | None = None
        self._replaceable: bool | None = None
        self._unheard: set[str] = set()
        """Keys whose last put may have succeeded without our hearing of it."""

    # -- requests ---------------------------------------------------------------------------------------------

    def _call(self, right: str, operation: str, what: str = "it", **arguments: Any) -> Any:
        """One request to the bucket; the library's errors become ours."""
        try:
            return getattr(self._client, operation)(Bucket=self.bucket, **arguments)
        except self._errors as error:
            raise translate(error, self._place, right, what) from error

    def _key(self, key: str) -> str:
        return self._prefix + key

    def _creation(self) -> dict[str, Any]:
        """What every new object gets: class, encryption, retention."""
        options = self._options
        arguments: dict[str, Any] = {}
        if options["storage_class"]:
            arguments["StorageClass"] = options["storage_class"]
        if options["sse"] != "none":
            arguments["ServerSideEncryption"] = options["sse"]
        if options["sse_kms_key_id"]:
            arguments["SSEKMSKeyId"] = options["sse_kms_key_id"]
        if options["object_lock_days"]:
            arguments["ObjectLockMode"] = options["object_lock_mode"]
            arguments["ObjectLockRetainUntilDate"] = datetime.now(timezone.utc) + timedelta(
                days=options["object_lock_days"]
            )
        return arguments

    def _content(self, data: Buffer, sha256: bytes) -> dict[str, Any]:
        """A body and the checksum by which the store shall check it."""
        checks = self._facts().checks
        arguments: dict[str, Any] = {"Body": Body(data, sha256) if len(data) else b""}
        if checks == "md5":
            arguments["ContentMD5"] = b64(hashlib.md5(data, usedforsecurity=False).digest())
        else:
            arguments["ChecksumSHA256"] = b64(sha256)
        return arguments

    def _new_only(self) -> dict[str, Any]:
        return {"IfNoneMatch": "*"} if self._facts().conditional else {}

    # -- probing ----------------------------------------------------------------------------------------------

    def probe(self, rights: Sequence[str], expected_bytes: int = 0, *, write: bool = True) -> ProbeReport:
        proved: dict[str, bool | None] = dict.fromkeys(RIGHTS)
        # First, because some stores make a missing bucket on the first put.
        try:
            self._call("list", "list_objects_v2", "the bucket", Prefix=self._prefix, MaxKeys=1)
            proved["list"] = True
        except PermissionDenied:
            if "list" in rights:
                raise
            proved["list"] = False
        checks, warnings = "unproven", []
        if write and "write" in rights:
            facts = self._facts()
            proved["write"] = True
            checks, warnings = facts.checks, list(facts.warnings)
        if "read" in rights or checks == "read-back":
            self._prove_read(checks)
            proved["read"] = True
        if write and "delete" in rights:
            self.delete([NO_KEY])
            proved["delete"] = True
        return ProbeReport(proved, checks, None, tuple(warnings))

    def _prove_read(self, checks: str) -> None:
        try:
            self.read(PROBE_KEY, 0, 1)
        except NotFound as error:
            if code_of(error.__cause__ or error) == "NoSuchBucket":
                raise
        except PermissionDenied as error:
            if checks != "read-back":
                raise
            raise Unsupported(
                f"{self._place} checks no checksum, and these credentials may not read back what was written.",
                hint="Give them the right to read, or use a store that checks SHA-256 or Content-MD5.",
            ) from error

    def _facts(self) -> Facts:
        """What the store checks; found out on first need, by whoever needs it first."""
        known = self._known
        if known is None:
            with self._lock:
                if self._known is None:
                    self._known = find_facts(self._call, self._key(PROBE_KEY), self._creation(), self._place)
                known = self._known
        return known

    # -- objects ----------------------------------------------------------------------------------------------

    def put(self, key: str, data: Buffer, sha256: bytes) -> None:
        for wait in (*_CONFLICT_WAITS, None):
            try:
                response = self._client.put_object(
                    Bucket=self.bucket,
                    Key=self._key(key),
                    **self._content(data, sha256),
                    **self._new_only(),
                    **self._creation(),
                )
                break
            except self._errors as error:
                if code_of(error) == "ConditionalRequestConflict" and wait is not None:
                    time.sleep(wait)  # another put of this key is going on, perhaps a try of our own that timed out
                    continue
                if self._was_ours(error, key, len(data), b64(sha256)):
                    return
                raise self._put_failed(error, key) from error
        self._unheard.discard(key)
        _compare(response, b64(sha256), key, self._place)
        if self._facts().checks == "read-back":
            self._read_back(key, [PartSum(1, len(data), sha256)])

    def _put_failed(self, error: BaseException, key: str) -> HoldfastError:
        failure = translate(error, self._place, "write", key)
        if isinstance(failure, Unavailable):
            self._unheard.add(key)
        return failure

    def _was_ours(self, error: BaseException, key: str, size: int, checksum: str) -> bool:
        """True when a refusal ("exists already", "no such upload") only means that our own earlier try had succeeded.

        Keys are unique to a run, so an object of this size that appeared between two tries of ours is ours. Where
        we may read, its checksum says so as well.
        """
        if code_of(error) not in (*_TAKEN, "NoSuchUpload") or not (was_retried(error) or key in self._unheard):
            return False
        try:
            head = self._call("read", "head_object", key, Key=self._key(key), ChecksumMode="ENABLED")
            found = (head["ContentLength"], head.get("ChecksumSHA256", checksum))
        except NotFound:
            return False
        except (PermissionDenied, Unsupported):
            sizes = [one.size for one in self.list(key) if one.key == key]
            found = (sizes[0] if sizes else -1, checksum)
        self._unheard.discard(key)
        return found == (size, checksum)

    def _read_back(self, key: str, parts: Sequence[PartSum]) -> None:
        """Prove an object in a store that checks nothing.

        Raises:
            Corrupted: it holds other bytes than were sent.
        """
        offset = 0
        for part in parts:
            data = self.read(key, offset, part.size)
            if hashlib.sha256(data).digest() != part.sha256:
                raise Corrupted(f"{self._place} stored other bytes of {key} than were sent.", left_behind=key)
            offset += part.size

    def begin(self, key: str) -> Upload:
        return _S3Upload(self, key)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """In the store's order: AWS's and MinIO's is that of the keys' bytes; SeaweedFS sorts each directory."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self._key(prefix))
        try:
            for page in pages:
                for found in page.get("Contents", ()):
                    if not found["Key"].endswith("/"):  # a browser's "folder"
                        modified = found["LastModified"].astimezone(timezone.utc)
                        yield StoredObject(found["Key"][len(self._prefix) :], found["Size"], modified)
        except self._errors as error:
            raise translate(error, self._place, "list", prefix or "the bucket") from error

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        if length == 0:
            return b""
        ranged = offset > 0 or length is not None
        end = "" if length is None else offset + length - 1
        arguments = {"Range": f"bytes={offset}-{end}"} if ranged else {}
        tries_left = self._options["retries"]
        while True:
            try:
                response = self._client.get_object(Bucket=self.bucket, Key=self._key(key), **arguments)
            except self._errors as error:
                if status_of(error) == 416:  # begins at the object's end or beyond
                    return b""
                raise translate(error, self._place, "read", key) from error
            with contextlib.closing(response["Body"]) as body:
                if ranged and "ContentRange" not in response:
                    raise Unsupported(f"{self._place} answers a range of {key} with all of it.")
                try:
                    data: bytes = body.read()
                    return data
                except self._errors as error:
                    # The client itself asks again until the answer begins; what breaks off later is ours to repeat.
                    if not tries_left:
                        raise translate(error, self._place, "read", key) from error
            tries_left -= 1

    def delete(self, keys: Iterable[str]) -> None:
        waiting = iter(keys)
        while batch := list(islice(waiting, _DELETE_BATCH)):
            self._delete(batch)

    def _delete(self, keys: Sequence[str]) -> None:
        objects = [{"Key": self._key(key)} for key in keys]
        try:
            response = self._call(
                "delete", "delete_objects", f"{keys[0]} …", Delete={"Objects": objects, "Quiet": True}
            )
        except Unsupported:  # no deletion of many at once
            for one in objects:
                self._call("delete", "delete_object", one["Key"], **one)
            return
        failed = [one for one in response.get("Errors", ()) if one.get("Code") != "NoSuchKey"]
        if failed:
            from botocore.exceptions import ClientError

            first, count = failed[0], len(failed)
            what = first.get("Key", "")[len(self._prefix) :] + (f" and {count - 1} more" if count > 1 else "")
            error = ClientError({"Error": first}, "DeleteObjects")
            raise translate(error, self._place, "delete", what)

    def hold(self, key: str) -> Hold:
        # In a versioned bucket a deletion hides even what is locked, and says nothing.
        try:
            head = self._call("read", "head_object", key, Key=self._key(key))
        except NotFound:
            return Hold()
        until = head.get("ObjectLockRetainUntilDate")
        return Hold(until and until.astimezone(timezone.utc), head.get("ObjectLockLegalHoldStatus") == "ON")

    # -- the lease --------------------------------------------------------------------------------------------

    def replace(self, key: str, data: bytes, expected: str | None) -> str | None:
        self._require_replacing()
        condition = {"IfNoneMatch": "*"} if expected is None else {"IfMatch": expected}
        digest = hashlib.sha256(data).digest()
        try:
            response = self._client.put_object(
                Bucket=self.bucket, Key=self._key(key), **self._content(data, digest), **condition
            )
        except self._errors as error:
            taken = code_of(error) in (*_TAKEN, "NoSuchKey")
            if taken and was_retried(error):
                state = self.read_token(key)
                if state is not None and state[0] == data:  # our own try before had succeeded unheard
                    return state[1]
            if taken:
                raise AlreadyExists(f"{self._place}: {key} was changed by somebody else.") from error
            raise translate(error, self._place, "write", key) from error
        return str(response["ETag"])

    def _require_replacing(self) -> None:
        """Make sure that the store honours both conditions; a lease on one that ignores them excludes nobody."""
        if self._replaceable is None:
            self._replaceable = self._facts().conditional and honours_if_match(
                self._call, self._key(PROBE_KEY), self._content(PROBE, hashlib.sha256(PROBE).digest())
            )
        if not self._replaceable:
            raise Unsupported(
                f"{self._place} has no conditional put, so two prunes at once cannot be kept apart there.",
                hint="Set single_pruner: true when you make sure that only one place prunes.",
            )

    def read_token(self, key: str) -> tuple[bytes, str] | None:
        try:
            response = self._call("read", "get_object", key, Key=self._key(key))
            with contextlib.closing(response["Body"]) as body:
                return body.read(), str(response["ETag"])
        except NotFound as error:
            if code_of(error.__cause__ or error) == "NoSuchBucket":
                raise
            return None
        except self._errors as error:
            raise translate(error, self._place, "read", key) from error

    # -- the rest ---------------------------------------------------------------------------------------------

    def clock(self) -> datetime:
        response = self._call("list", "list_objects_v2", "the bucket", Prefix=self._prefix, MaxKeys=1)
        date = response["ResponseMetadata"]["HTTPHeaders"].get("date")
        if not date:
            raise Unsupported(f"{self._place} does not tell the time (no Date header).")
        return parsedate_to_datetime(date).astimezone(timezone.utc)

    def sweep_uploads(
        self, prefix: str, before: datetime
    ) -> builtins.list[str]:  # the method of that name hides the type
        swept, wanted = [], self._key(prefix)
        # All of the bucket: as a prefix, MinIO takes only a whole key here.
        pages = self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket)
        try:
            uploads = [one for page in pages for one in page.get("Uploads", ()) if one["Key"].startswith(wanted)]
        except self._errors as error:
            raise translate(error, self._place, "list", "incomplete uploads") from error
        for one in uploads:
            if one["Initiated"] >= before:
                continue
            key = one["Key"][len(self._prefix) :]
            with contextlib.suppress(NotFound):  # completed or aborted meanwhile
                self._call("delete", "abort_multipart_upload", key, Key=one["Key"], UploadId=one["UploadId"])
                swept.append(key)
        return swept

    def close(self) -> None:
        self._client.close()


class _S3Upload(Upload):
    """A multipart upload. Each part is checked by the store against its SHA-256, the whole by their composite."""

    def __init__(self, repository: S3Repository, key: str) -> None:
        self._repository = repository
        self._key = key
        self._etags: dict[int, str] = {}
        arguments = repository._creation()
        if repository._facts().checks != "md5":
            arguments["ChecksumAlgorithm"] = "SHA256"
        created = repository._call("write", "create_multipart_upload", key, Key=repository._key(key), **arguments)
        self._target: dict[str, Any] | None = {"Key": repository._key(key), "UploadId": created["UploadId"]}

    def write_part(self, number: int, data: Buffer, sha256: bytes) -> None:
        content = self._repository._content(data, sha256)
        target = self._open()
        response = self._repository._call("write", "upload_part", self._key, PartNumber=number, **content, **target)
        _compare(response, b64(sha256), f"part {number} of {self._key}", self._repository._place)
        self._etags[number] = response["ETag"]

    def complete(self, parts: Sequence[PartSum]) -> None:
        repository = self._repository
        checksums = repository._facts().checks != "md5"
        listed = [
            {
                "PartNumber": part.number,
                "ETag": self._etags[part.number],
                **({"ChecksumSHA256": b64(part.sha256)} if checksums else {}),
            }
            for part in parts
        ]
        composite = f"{b64(hashlib.sha256(b''.join(part.sha256 for part in parts)).digest())}-{len(parts)}"
        try:
            response = repository._client.complete_multipart_upload(
                Bucket=repository.bucket, MultipartUpload={"Parts": listed}, **self._open(), **repository._new_only()
            )
            _compare(response, composite, self._key, repository._place)
        except repository._errors as error:
            size = sum(part.size for part in parts)
            if not repository._was_ours(error, self._key, size, composite):
                raise repository._put_failed(error, self._key) from error
        self._target = None
        if repository._facts().checks == "read-back":
            repository._read_back(self._key, parts)

    def abort(self) -> None:
        target, self._target = self._target, None
        if target is not None:
            with contextlib.suppress(HoldfastError):
                self._repository._call("delete", "abort_multipart_upload", self._key, **target)

    def _open(self) -> dict[str, Any]:
        if self._target is None:
            raise NotFound(f"The upload of {self._key} to {self._repository.name} was given up.")
        return self._target


def _compare(response: Mapping[str, Any], expected: str, what: str, place: Place) -> None:
    """Compare the checksum that a store returns with ours. One that returns none has still refused wrong ones."""
    found = response.get("ChecksumSHA256")
    if found is not None and found not in (expected, expected.partition("-")[0]):
        raise Corrupted(f"{place} has stored other bytes of {what} than were sent.", left_behind=what)
