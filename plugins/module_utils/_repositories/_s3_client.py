# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The S3 client: options in, a botocore client out that hashes nothing twice and copies nothing.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Mapping
from typing import Any

from .._errors import InvalidOption, MissingDependency
from ._interface import Buffer
from ._s3_errors import passed_through
from ._s3_options import readable

MINIMUM_BOTO3 = (1, 36)
"""The first with `when_required` checksums and conditional puts (January 2025)."""

SEND_CHUNK = 256 * 1024
"""Bytes handed to the socket at once. Its timeout holds for one hand-over, so a slow line needs small ones; each
costs a system call, so a fast line needs large ones."""

_SIGNER = "holdfast-s3v4"
_LOADER: list[Any] = []
"""What has read the description of the S3 API, shared by all clients of this process."""


class Body:
    """A buffer as the file that botocore wants: nothing is copied, and a retry can rewind it.

    Args:
        data: what is sent; must not change until the request is done.
        sha256: of `data`, known already; the request is signed with it.
    """

    def __init__(self, data: Buffer, sha256: bytes) -> None:
        self._view = memoryview(data)
        self._at = 0
        self.sha256 = sha256

    def __len__(self) -> int:
        return len(self._view)

    def read(self, size: int = -1) -> memoryview:
        """The next piece, of `SEND_CHUNK` bytes whatever was asked: the HTTP client asks for as little as 16 KiB."""
        piece = self._view[self._at : self._at + SEND_CHUNK]
        self._at += len(piece)
        return piece

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: len(self._view)}[whence]
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        return self._at


def connect(name: str, options: Mapping[str, Any], region: str | None, keys: Mapping[str, str | None]) -> Any:
    """A client for one repository; safe to use from many threads. Nothing is sent yet.

    Args:
        name: of the repository, for messages.
        options: those of `S3Repository.OPTIONS`, with their defaults.
        region: the region to sign for; None leaves it to the profile.
        keys: `access_key`, `secret_key`, `session_token`; all None leaves them to boto3's chain.

    Raises:
        MissingDependency: there is no boto3, or one that is too old.
        InvalidOption: an option cannot be right.
    """
    boto3 = _boto3()
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    _register_signer()
    verify: bool | str = options["verify_tls"]
    if verify and options["ca_file"]:
        verify = readable(name, "ca_file", options["ca_file"])
    config = Config(
        region_name=region,
        connect_timeout=options["connect_timeout"],
        read_timeout=options["read_timeout"],
        retries={"mode": "standard", "total_max_attempts": options["retries"] + 1},
        max_pool_connections=max(16, 2 * options["parallel"]),
        tcp_keepalive=True,
        s3={"addressing_style": options["addressing_style"]},
        # Every object carries a SHA-256 of ours; a CRC beside it would only cost time, and older stores refuse it.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        user_agent_extra="holdfast.ops",
    )
    try:
        session = boto3.session.Session(
            botocore_session=_core_session(), profile_name=None if keys["access_key"] else options["profile"]
        )
        client = session.client(
            "s3",
            endpoint_url=options["endpoint_url"],
            aws_access_key_id=keys["access_key"],
            aws_secret_access_key=keys["secret_key"],
            aws_session_token=keys["session_token"],
            verify=verify,
            config=config,
        )
    except (BotoCoreError, ValueError) as error:
        raise InvalidOption(f"The repository {name} (s3) cannot be right: {error}.", stage="preflight") from error
    # The two operations with large bodies are signed with the checksum that we know already.
    for operation in ("PutObject", "UploadPart"):
        client.meta.events.register(f"choose-signer.s3.{operation}", _choose_signer)
    client.meta.events.register("before-call.s3.DeleteObjects", _add_content_md5)
    client.meta.events.register_first("needs-retry.s3", _stop_when_interrupted)
    return client


def _core_session() -> Any:
    """A session of its own around the one description of the S3 API, which takes 13 MB a copy."""
    import botocore.session

    session = botocore.session.Session()
    if not _LOADER:
        _LOADER.append(session.get_component("data_loader"))
    session.register_component("data_loader", _LOADER[0])
    return session


def _boto3() -> Any:
    wanted = ".".join(map(str, MINIMUM_BOTO3))
    hint = "Install it for the Python that runs this module: the role holdfast.ops.runtime does."
    try:
        import boto3
    except ImportError as error:
        raise MissingDependency(f"S3 repositories need the Python library boto3 >= {wanted}.", hint=hint) from error
    found = tuple(int(number) for number in re.findall(r"\d+", boto3.__version__)[:2])
    if found < MINIMUM_BOTO3:
        raise MissingDependency(
            f"S3 repositories need the Python library boto3 >= {wanted}; this is {boto3.__version__}.", hint=hint
        )
    return boto3


def _register_signer() -> None:
    """Teach botocore a signer that takes a `Body`'s SHA-256 for granted; only clients that choose it by name use it."""
    from botocore.auth import AUTH_TYPE_MAPS, S3SigV4Auth

    class KnownSha256(S3SigV4Auth):
        def payload(self, request: Any) -> Any:
            if isinstance(request.body, Body):
                return request.body.sha256.hex()
            return super().payload(request)

    AUTH_TYPE_MAPS.setdefault(_SIGNER, KnownSha256)


def _choose_signer(signature_version: str, **_others: Any) -> str | None:
    """Ours instead of the ordinary one; multi-region access points and directory buckets keep theirs."""
    return _SIGNER if signature_version in ("v4", "s3v4") else None


def _stop_when_interrupted(caught_exception: BaseException | None, **_others: Any) -> None:
    """The library takes whatever is raised in a request, a signal's error too, for a failed connection to retry."""
    ours = passed_through(caught_exception)
    if ours is not None:
        raise ours


def _add_content_md5(params: Mapping[str, Any], **_others: Any) -> None:
    """Older stores want the MD5 of a list of deletions, where newer ones want any checksum."""
    digest = hashlib.md5(params["body"], usedforsecurity=False).digest()
    params["headers"]["Content-MD5"] = base64.b64encode(digest).decode()
