# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A catalogue of 10,000 backups: cold (every manifest is read) and warm (none is)."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any, Callable

from ansible_collections.holdfast.ops.plugins.module_utils._manifest import Verification, manifest_key, rfc3339, utc_now
from ansible_collections.holdfast.ops.plugins.module_utils._operations._catalogue import catalogue, describe_entry
from ansible_collections.holdfast.ops.plugins.module_utils._operations._manifest_cache import ManifestCache
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._interface import Repository
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._registry import open_repository
from ansible_collections.holdfast.ops.tests.support.memory import MemoryRepository, commit_backup
from ansible_collections.holdfast.ops.tests.support.seaweed import SeaweedFS

from .measure import Aim, Contest, Contestant, Sample, cpu_of
from .stand import Stand

BACKUPS = 10_000


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


class _Bench:
    """One repository full of manifests, and the cache that a run leaves for the next."""

    def __init__(self, stand: Stand, spec: dict[str, Any], count: int) -> None:
        self._stand = stand
        self._spec = spec
        self._count = count
        self._state = stand.new_directory("cache")

    def forget(self) -> None:
        shutil.rmtree(self._state, ignore_errors=True)

    def remember(self) -> None:
        self.run()

    def run(self) -> Sample:
        with contextlib.closing(open_repository(self._spec, "shop")) as repository:
            before = cpu_of(self._stand.servers)
            wall, cpu = look(repository, str(self._state), self._count)
            return Sample(wall, cpu, cpu_of(self._stand.servers) - before)


def _contest(stand: Stand) -> Contest:
    count = max(100, round(BACKUPS * stand.scale))
    directory = stand.new_directory("catalogue")
    fill_local(directory, count)
    bucket = stand.seaweed.create_bucket("catalogue")
    fill_s3(stand.seaweed, bucket, count)
    local = _Bench(stand, {"name": "local", "type": "local", "path": str(directory)}, count)
    s3 = _Bench(stand, stand.s3(bucket), count)
    contestants = []
    for kind, bench in (("local", local), ("SeaweedFS", s3)):
        contestants.append(Contestant(f"{kind}, cold", bench.run, bench.forget))
        contestants.append(Contestant(f"{kind}, warm", bench.run, bench.remember))
    return Contest(
        "catalogue",
        f"Catalogue of {count:,} backups",
        contestants,
        [Aim("≤ 2 s from a local repository", "local, warm", 2.0), Aim("≤ 5 s from S3", "SeaweedFS, warm", 5.0)],
        notes=["Cold reads every manifest; warm knows them from the run before and only lists."],
    )


def contests(stand: Stand) -> dict[str, Callable[[], Contest]]:
    """The groups by name."""
    return {"catalogue": lambda: _contest(stand)}
