# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Peak memory of the module's process, measured in a process of its own on streams longer than every buffer."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import pyrage
import pytest
from ansible_collections.holdfast.ops.tests.benchmarks.measure import Sample, verb
from ansible_collections.holdfast.ops.tests.support.seaweed import SeaweedFS

LIMIT = 200
"""MB that are promised at any size, level and number of repositories."""


def seaweed_repository(store: SeaweedFS, bucket: str) -> dict[str, Any]:
    return {
        "type": "s3",
        "endpoint_url": store.endpoint,
        "region": store.region,
        "bucket": bucket,
        "access_key": store.admin.access_key,
        "secret_key": store.admin.secret_key,
    }


@pytest.fixture
def measured(seaweed: SeaweedFS, buckets: Callable[[], str], tmp_path: Path) -> Callable[..., Sample]:
    """`measured("backup", size, level)`: one verb, encrypted, with two buckets and a directory."""
    identity = pyrage.x25519.Identity.generate()
    key = tmp_path / "identity"
    key.write_text(str(identity))
    key.chmod(0o600)
    stores: list[dict[str, Any]] = [
        {"name": "local", "type": "local", "path": str(tmp_path / "store")},
        *({**seaweed_repository(seaweed, buckets()), "name": name} for name in ("near", "far")),
    ]

    def run(kind: str, size: int, level: int = 1, noise: bool = False) -> Sample:
        return verb(
            {
                "verb": kind,
                "engine": "generated",
                "options": {"size": size, "noise": noise},
                "repositories": stores if kind == "backup" else stores[1:2],
                "state": str(tmp_path / kind),
                "level": level,
                "recipients": [str(identity.to_public())],
                "identity": str(key),
            }
        )

    return run


def test_a_long_stream_to_many_repositories_and_back(measured: Callable[..., Sample]) -> None:
    made = measured("backup", 600_000_000)
    assert made.facts["stored"] > 200_000_000, "too little to fill the buffers"
    assert made.peak <= LIMIT
    back = measured("restore", 600_000_000)
    assert back.facts["proof"] == ["digest", 1, 0]
    assert back.peak <= LIMIT


def test_the_highest_level(measured: Callable[..., Sample]) -> None:
    # Noise fills all tables and buffers soonest: this level compresses a megabyte or two a second.
    assert measured("backup", 40_000_000, level=19, noise=True).peak <= LIMIT
    assert measured("restore", 40_000_000, noise=True).peak <= LIMIT
