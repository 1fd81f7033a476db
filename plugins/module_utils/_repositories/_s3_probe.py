# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an S3 store checks and honours, found out by trying with the right to write alone.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Callable

from .._errors import AlreadyExists, Corrupted, HoldfastError, NotFound, Unsupported
from ._s3_client import Body
from ._s3_errors import Place, status_of

PROBE_KEY = ".holdfast-probe"
"""The one object that probing may leave: eight bytes, written once and used again."""

NO_KEY = f"{PROBE_KEY}-none"
"""A key that is never there: deleting it shows the right to delete, and cannot disturb another run's probe."""

PROBE = b"holdfast"
_OTHER = b"other bytes"
_NO_ETAG = '"00000000000000000000000000000000"'

Call = Callable[..., Any]
"""`S3Repository._call`: right, operation, object for messages, arguments."""


@dataclass(frozen=True)
class Facts:
    """What the probe found out about a store.

    checks: how it proves what it received: `sha256` (it refuses a wrong one), `md5` (likewise), or `read-back`.
    conditional: it refuses to replace an object when told so (If-None-Match).
    """

    checks: str
    conditional: bool
    warnings: tuple[str, ...]


def find_facts(call: Call, key: str, creation: Mapping[str, Any], place: Place) -> Facts:
    """Begin an upload under the probe's key, offer parts with wrong checksums, give it up; then try a condition.

    An upload, because that is how most bytes go and because, unlike a put, it meets no object in its way. It is
    begun with everything that new objects get, so a storage class, key or retention that the store refuses shows here.

    Args:
        key: the probe's key in the bucket.
        creation: arguments that every new object gets.

    Raises:
        HoldfastError: the store cannot be written to.
    """
    warnings = []
    created = call("write", "create_multipart_upload", PROBE_KEY, Key=key, ChecksumAlgorithm="SHA256", **creation)
    upload = {"Key": key, "UploadId": created["UploadId"]}
    try:
        checks = _what_is_checked(call, upload)
    finally:
        try:
            call("delete", "abort_multipart_upload", PROBE_KEY, **upload)
        except HoldfastError as error:
            warnings.append(f"{place}: the upload of {PROBE_KEY} could not be aborted ({error.code}); prune sweeps it.")
    conditional = _is_conditional(call, key, checks, creation)
    if checks != "sha256":
        instead = "Content-MD5 serves" if checks == "md5" else "everything is read back"
        warnings.append(f"{place} does not check SHA-256; {instead} instead.")
    if not conditional:
        warnings.append(f"{place} does not honour If-None-Match: nothing there keeps an object from being replaced.")
    return Facts(checks, conditional, tuple(warnings))


def honours_if_match(call: Call, key: str, content: Mapping[str, Any]) -> bool:
    """Whether a put on condition of a state that the probe's object is not in is refused."""
    try:
        call("write", "put_object", PROBE_KEY, Key=key, IfMatch=_NO_ETAG, **content)
    except (AlreadyExists, NotFound):
        return True
    except Unsupported:
        return False
    return False


def b64(digest: bytes) -> str:
    return base64.b64encode(digest).decode("ascii")


def _what_is_checked(call: Call, upload: Mapping[str, Any]) -> str:
    right, wrong = hashlib.sha256(PROBE).digest(), hashlib.sha256(_OTHER).digest()
    if _refuses(call, upload, Body(PROBE, wrong), ChecksumSHA256=b64(wrong)):
        _offer(call, upload, Body(PROBE, right), ChecksumSHA256=b64(right))  # or it refuses whatever has a checksum
        return "sha256"
    wrong_md5 = hashlib.md5(_OTHER, usedforsecurity=False).digest()
    return "md5" if _refuses(call, upload, Body(PROBE, right), ContentMD5=b64(wrong_md5)) else "read-back"


def _offer(call: Call, upload: Mapping[str, Any], body: Body, **checksum: str) -> None:
    call("write", "upload_part", PROBE_KEY, PartNumber=1, Body=body, **upload, **checksum)


def _refuses(call: Call, upload: Mapping[str, Any], body: Body, **checksum: str) -> bool:
    try:
        _offer(call, upload, body, **checksum)
    except HoldfastError as error:
        if isinstance(error, Corrupted) or status_of(error.__cause__ or error) == 400:
            return True
        raise
    return False


def _is_conditional(call: Call, key: str, checks: str, creation: Mapping[str, Any]) -> bool:
    digest = hashlib.sha256(PROBE).digest()
    if checks == "md5":
        checksum = {"ContentMD5": b64(hashlib.md5(PROBE, usedforsecurity=False).digest())}
    else:
        checksum = {"ChecksumSHA256": b64(digest)}
    for _first_then_again in range(2):
        try:
            body = Body(PROBE, digest)
            call("write", "put_object", PROBE_KEY, Key=key, Body=body, IfNoneMatch="*", **checksum, **creation)
        except AlreadyExists:
            return True
        except Unsupported:
            return False
    return False
