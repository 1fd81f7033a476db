# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a catalogue of 10,000 backups takes: cold (every manifest is read) and warm (none is).

    python tests/benchmarks/catalogue.py [local|s3] [--backups N] [--runs N]

Promised with a warm cache: 2 s from a local repository, 5 s from S3. CPU seconds stand beside wall seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.ops.plugins.module_utils._manifest import Verification, manifest_key, rfc3339, utc_now
from ansible_collections.holdfast.ops.plugins.module_utils._operations._catalogue import catalogue, describe_entry
from ansible_collections.holdfast.ops.plugins.module_utils._operations._manifest_cache import ManifestCache
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._interface import Repository
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._registry import open_repository
from ansible_collections.holdfast.ops.tests.support.memory import MemoryRepository, commit_backup
from ansible_collections.holdfast.ops.tests.support.seaweed import SeaweedFS


def documents(count: int) -> Iterator[tuple[str, bytes]]:
    """Manifests and verifications of `count` hourly backups, as they lie in a repository."""
    now = utc_now()
    aside = MemoryRepository("aside", now)
    for number in range(count):
        moment = now - timedelta(hours=number + 1)
        backup = commit_backup(aside, moment, source={"server_version": "17.2", "host": "db1"}, fingerprint="counts")
        aside.objects.clear()
        aside.times.clear()
        verification = Verification(backup.id, "checksum", True, rfc3339(moment + timedelta(minutes=10)), 1.5)
        yield manifest_key(backup.id), backup.to_json()
        yield verification.key(), verification.to_json()


def fill_local(top: Path, count: int) -> None:
    """Written past the repository: its fsyncs are not what is measured here."""
    for key, data in documents(count):
        path = top / "shop" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def fill_s3(store: SeaweedFS, bucket: str, count: int) -> None:
    client = store.client()

    def put(document: tuple[str, bytes]) -> None:
        client.put_object(Bucket=bucket, Key=f"shop/{document[0]}", Body=document[1])

    with ThreadPoolExecutor(8) as pool:
        for _done in pool.map(put, documents(count)):
            pass


def look(repository: Repository, state: str, count: int) -> tuple[float, float]:
    """Wall and CPU seconds of one catalogue, all the way to what the module returns."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = catalogue([repository], lambda each: ManifestCache(state, "shop", each.name))
    told = [describe_entry(entry, "shop", utc_now()) for entry in found.entries]
    seconds = time.perf_counter() - wall, time.process_time() - cpu
    if len(told) != count or any(each["verified"] is None for each in told):
        raise AssertionError(f"{len(told)} backups instead of {count}, or not all verified")
    return seconds


def measure(kind: str, spec: dict[str, Any], count: int, runs: int) -> dict[str, Any]:
    cold, warm = [], []
    for _run in range(runs):
        with tempfile.TemporaryDirectory() as state, contextlib.closing(open_repository(spec, "shop")) as repository:
            cold.append(look(repository, state, count))
            warm.append(look(repository, state, count))
    return {
        "store": kind,
        "backups": count,
        "runs": runs,
        "cold_wall_s": round(statistics.median(each[0] for each in cold), 3),
        "cold_cpu_s": round(statistics.median(each[1] for each in cold), 3),
        "warm_wall_s": round(statistics.median(each[0] for each in warm), 3),
        "warm_cpu_s": round(statistics.median(each[1] for each in warm), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stores", nargs="*", default=["local", "s3"], choices=["local", "s3"])
    parser.add_argument("--backups", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    if "local" in given.stores:
        with tempfile.TemporaryDirectory() as top:
            fill_local(Path(top), given.backups)
            spec = {"name": "local", "type": "local", "path": top}
            print(json.dumps(measure("local", spec, given.backups, given.runs)))
    if "s3" in given.stores:
        os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
        with SeaweedFS() as store:
            bucket = store.create_bucket()
            fill_s3(store, bucket, given.backups)
            keys = {"access_key": store.admin.access_key, "secret_key": store.admin.secret_key}
            spec = {"name": "s3", "type": "s3", "endpoint_url": store.endpoint, "bucket": bucket, **keys}
            print(json.dumps(measure("s3", spec, given.backups, given.runs)))


if __name__ == "__main__":
    main()
