# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue: told by repositories alone, whatever lies in them."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._errors import NotFound, Unavailable
from ansible_collections.holdfast.ops.plugins.module_utils._manifest import Verification, manifest_key, rfc3339
from ansible_collections.holdfast.ops.plugins.module_utils._operations._catalogue import (
    Catalogue,
    VerificationState,
    catalogue,
    describe_entry,
    read_holdings,
    select_backup,
)
from ansible_collections.holdfast.ops.plugins.module_utils._operations._manifest_cache import ManifestCache
from ansible_collections.holdfast.ops.tests.support.memory import (
    NOON,
    MemoryRepository,
    commit_backup,
    note_verification,
    put,
)

HOUR = timedelta(hours=1)


class CountingRepository(MemoryRepository):
    """Counts what is read."""

    reads = 0

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        self.reads += 1
        return super().read(key, offset, length)


def look(*repositories: MemoryRepository, **how: Any) -> Catalogue:
    return catalogue(repositories, lambda repository: None, **how)


def cache(tmp_path: Path, name: str = "memory", writable: bool = True) -> ManifestCache:
    return ManifestCache(str(tmp_path), "shop", name, writable=writable)


def test_an_empty_repository_is_an_empty_catalogue() -> None:
    found = look(MemoryRepository())
    assert (found.entries, found.warnings) == ([], [])


def test_backups_are_merged_and_missing_copies_named() -> None:
    primary, offsite = MemoryRepository("primary"), MemoryRepository("offsite")
    old = commit_backup(primary, NOON - 3 * HOUR)
    put(offsite, manifest_key(old.id), old.to_json())
    new = commit_backup(primary, NOON - HOUR, set="nightly@20261122T110000Z")
    found = look(primary, offsite)
    assert [(each.id, [c.repository for c in each.copies], each.missing) for each in found.entries] == [
        (new.id, ["primary"], ("offsite",)),
        (old.id, ["primary", "offsite"], ()),
    ]
    assert [each.id for each in look(primary, stamp="nightly").entries] == [new.id]
    told = describe_entry(found.entries[0], "shop", NOON)
    assert told["age_seconds"] == 3599  # of the data, which is of a second later than the id
    assert told["stored_bytes"] == new.size and told["bytes"] == new.source_size
    assert (
        told["set"] == "nightly@20261122T110000Z" and told["by_hand"] == ["cat shop.dump"] and new.id in told["restore"]
    )


def test_filters() -> None:
    repository = MemoryRepository()
    ids = [commit_backup(repository, NOON - n * HOUR, set="a" if n % 2 else "b").id for n in range(1, 7)]
    assert [each.id for each in look(repository, stamp="a").entries] == ids[0::2]
    assert [each.id for each in look(repository, stamp="c").entries] == []
    assert [each.id for each in look(repository, at=NOON - 3.5 * HOUR).entries] == ids[3:]
    assert [each.id for each in look(repository, limit=2).entries] == ids[:2]
    assert look(repository, limit=2).total == 6


def test_what_cannot_be_read_is_reported_and_the_rest_is_told() -> None:
    repository = MemoryRepository()
    good = commit_backup(repository, NOON - HOUR)
    torn = commit_backup(repository, NOON - 2 * HOUR)
    repository.objects[manifest_key(torn.id)] = torn.to_json()[:100]
    swapped = commit_backup(repository, NOON - 3 * HOUR)
    repository.objects[manifest_key(swapped.id)] = good.to_json()
    newer = commit_backup(repository, NOON - 4 * HOUR)
    document = {**json.loads(newer.to_json()), "schema": 99}
    repository.objects[manifest_key(newer.id)] = json.dumps(document).encode()
    senseless = commit_backup(repository, NOON - 5 * HOUR)
    document = {**json.loads(senseless.to_json()), "snapshot_at": "yesterday"}
    repository.objects[manifest_key(senseless.id)] = json.dumps(document).encode()
    for stranger in ("manifests/notes.txt", "manifests/2026.json", f"manifests/sub/{good.id}.json", "hello"):
        put(repository, stranger, b"?")
    found = look(repository)
    assert [each.id for each in found.entries] == [good.id, torn.id, swapped.id, newer.id, senseless.id]
    assert [each.summary is not None for each in found.entries] == [True, False, False, False, False]
    assert describe_entry(found.entries[1], "shop", NOON)["readable"] is False
    text = "\n".join(found.warnings)
    assert "not a manifest" in text and "another backup" in text and "schema 99" in text and "notes.txt" in text


def test_a_readable_copy_elsewhere_stands_in() -> None:
    broken, whole = MemoryRepository("broken"), MemoryRepository("whole")
    backup = commit_backup(whole, NOON - HOUR)
    put(broken, manifest_key(backup.id), b"{")
    (entry,) = look(broken, whole).entries
    assert entry.summary is not None and [copy.readable for copy in entry.copies] == [False, True]


def test_a_clock_that_goes_wrong_is_reported() -> None:
    repository = MemoryRepository()
    late = commit_backup(repository, NOON + HOUR)
    found = look(repository)
    assert [each.future for each in found.entries] == [True]
    assert any(late.id in line and "later than the store's clock" in line for line in found.warnings)


class DeadRepository(MemoryRepository):
    """Cannot be reached."""

    def list(self, prefix: str) -> Any:
        raise Unavailable("no route to host")


def test_a_repository_that_is_down_makes_no_copy_missing() -> None:
    alive = MemoryRepository("alive")
    commit_backup(alive, NOON - HOUR)
    found = look(DeadRepository("dead"), alive)
    assert found.entries[0].missing == ()
    assert any("dead" in line and "no route to host" in line for line in found.warnings)
    with pytest.raises(Unavailable):
        look(DeadRepository("dead"))


def test_a_warm_cache_reads_nothing_and_tells_the_same(tmp_path: Path) -> None:
    repository = CountingRepository()
    for number in range(5):
        commit_backup(repository, NOON - number * HOUR, set="ü" if number else None)
    cold = read_holdings(repository, cache(tmp_path))
    reads = repository.reads
    warm = read_holdings(repository, cache(tmp_path))
    assert (reads, repository.reads) == (5, 5)
    assert warm == cold


def test_the_cache_follows_the_repository(tmp_path: Path) -> None:
    repository = CountingRepository()
    first = commit_backup(repository, NOON - HOUR)
    read_holdings(repository, cache(tmp_path))
    second = commit_backup(repository, NOON)
    repository.delete([manifest_key(first.id)])
    assert list(read_holdings(repository, cache(tmp_path)).backups) == [second.id]
    assert repository.reads == 2
    assert first.id not in Path(cache(tmp_path).path).read_text()
    # A manifest that was replaced is read again, although manifests never are.
    repository.now += HOUR
    repository.objects[manifest_key(second.id)] = b"{"
    repository.times[manifest_key(second.id)] = repository.now
    assert list(read_holdings(repository, cache(tmp_path)).unreadable) == [second.id]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: data.replace(b'"sample"', b'"simple"'),
        lambda data: data[:-3] + bytes([data[-3] ^ 1]) + data[-2:],
        lambda data: b"\x00" * len(data),
    ],
)
def test_a_damaged_cache_is_made_anew(tmp_path: Path, damage: Any) -> None:
    repository = CountingRepository()
    commit_backup(repository, NOON - HOUR)
    cold = read_holdings(repository, cache(tmp_path))
    path = Path(cache(tmp_path).path)
    good = path.read_bytes()
    path.write_bytes(damage(good))
    assert read_holdings(repository, cache(tmp_path)) == cold
    assert path.read_bytes() == good
    assert path.stat().st_mode & 0o777 == 0o600


def test_check_mode_leaves_the_cache_alone(tmp_path: Path) -> None:
    repository = MemoryRepository()
    commit_backup(repository, NOON - HOUR)
    read_holdings(repository, cache(tmp_path, writable=False))
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "components").write_text("a file, where a directory must be")
    repository = MemoryRepository()
    commit_backup(repository, NOON - HOUR)
    assert len(read_holdings(repository, cache(tmp_path)).backups) == 1


def verification(level: str, ok: bool, minute: int) -> Verification:
    return Verification("id", level, ok, rfc3339(NOON + timedelta(minutes=minute)))


@pytest.mark.parametrize(
    ("results", "level", "failed"),
    [
        ([], None, False),
        ([("stat", True, 1)], "stat", False),
        ([("restore", True, 1), ("stat", True, 2)], "restore", False),
        ([("restore", True, 1), ("stat", False, 2)], "restore", True),
        ([("stat", False, 1), ("checksum", True, 2)], "checksum", False),
        ([("stat", False, 1)], None, True),
        ([("checksum", True, 1), ("checksum", False, 1)], "checksum", True),
    ],
)
def test_what_verifications_say_together(results: Any, level: str | None, failed: bool) -> None:
    state = VerificationState.of([verification(*each) for each in results])
    assert (state.level, state.failed) == (level, failed)


def test_verifications_are_told_by_their_keys() -> None:
    repository = CountingRepository()
    backup = commit_backup(repository, NOON - HOUR)
    note_verification(repository, backup.id, NOON - timedelta(minutes=30), "restore")
    note_verification(repository, backup.id, NOON - timedelta(minutes=10), "checksum", ok=False)
    put(repository, f"verified/{backup.id}/notes.txt", b"?")
    told = describe_entry(look(repository).entries[0], "shop", NOON)
    assert repository.reads == 1  # the manifest
    assert (told["verified"], told["last_failure"]["level"]) == (None, "checksum")
    assert told["copies"][0]["verified"]["level"] == "restore"


def test_at_selects_by_the_moment_of_the_data() -> None:
    repository = MemoryRepository()
    old, new = commit_backup(repository, NOON - HOUR), commit_backup(repository, NOON)
    # The run began at noon, its data is of a second later.
    assert select_backup(repository, at=NOON + timedelta(milliseconds=500)).id == old.id
    assert select_backup(repository, at=NOON + timedelta(seconds=1)).id == new.id
    with pytest.raises(NotFound, match="at or before"):
        select_backup(repository, at=NOON - 2 * HOUR)
