# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests of the S3 store share: bytes, checksums, and a repository of one component."""

from __future__ import annotations

import hashlib
import random
from typing import Any

from ansible_collections.holdfast.ops.plugins.module_utils._repositories._interface import PartSum
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._s3 import S3Repository
from ansible_collections.holdfast.ops.tests.support.seaweed import Credentials, SeaweedFS

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
