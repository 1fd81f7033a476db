# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copy: the same bytes elsewhere, proved, whole or not at all, and again without effect."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._engines._interface import Place
from ansible_collections.holdfast.ops.plugins.module_utils._errors import InvalidOption, NotFound, Unavailable
from ansible_collections.holdfast.ops.plugins.module_utils._manifest import (
    VERIFIED,
    Backup,
    blob_key,
    data_prefix,
    manifest_key,
    mark_key,
)
from ansible_collections.holdfast.ops.plugins.module_utils._operations._catalogue import load_backup
from ansible_collections.holdfast.ops.plugins.module_utils._operations._copy import CopyResult, CopySettings, copy
from ansible_collections.holdfast.ops.plugins.module_utils._operations._prune import PruneSettings, prune
from ansible_collections.holdfast.ops.plugins.module_utils._operations._verify import VerifySettings, verify
from ansible_collections.holdfast.ops.plugins.module_utils._progress import Progress
from ansible_collections.holdfast.ops.plugins.module_utils._retention import Policy
from ansible_collections.holdfast.ops.tests.support.memory import (
    NOON,
    Killed,
    MemoryRepository,
    commit_backup,
    note_verification,
    put,
    sha,
)

HOUR = timedelta(hours=1)
BLOB = b"a large file" * 100


def go(source: MemoryRepository, destination: MemoryRepository, state: Path, **how: Any) -> CopyResult:
    return copy(source, destination, CopySettings("shop", str(state), **how), Progress())


def stocked(count: int = 3) -> tuple[MemoryRepository, list[Backup]]:
    """Backups that share a blob; newest first."""
    repository = MemoryRepository("source")
    backups: list[Backup] = []
    for age in range(count, 0, -1):
        own = f"own {age}".encode() * 300
        backup = commit_backup(
            repository,
            NOON - age * HOUR,
            content=own[:700],
            blobs=[(BLOB, backups[-1].id if backups else ""), (own, "")],
        )
        backups.insert(0, backup)
        note_verification(repository, backup.id, NOON)
    return repository, backups


def sound(repository: MemoryRepository, state: Path) -> int:
    """How many backups there are; all of them pass `checksum`."""
    repository.delete([key for key in repository.objects if key.startswith(VERIFIED)])  # look at all of them
    settings = VerifySettings("shop", Place("shop", str(state), str(state)), which="unverified")
    if not any(repository.list("manifests/")):
        return 0
    result = verify([repository], settings, lambda name: pytest.fail("no engine is needed"), Progress())
    assert not result.errors and all(each.ok for each in result.findings), [each.problems for each in result.findings]
    return len(result.findings)


def test_all_that_is_missing_is_copied_byte_for_byte(tmp_path: Path) -> None:
    source, backups = stocked()
    destination = MemoryRepository("destination")
    result = go(source, destination, tmp_path)
    assert result.copied == [each.id for each in reversed(backups)]
    expected = {key: data for key, data in source.objects.items() if not key.startswith(VERIFIED)}
    assert destination.objects == expected
    assert result.sent_bytes == sum(len(data) for key, data in expected.items() if not key.endswith(("SUMS", "json")))
    assert sound(destination, tmp_path) == 3


def test_what_is_there_is_not_copied_again(tmp_path: Path) -> None:
    source, backups = stocked()
    destination = MemoryRepository("destination")
    assert go(source, destination, tmp_path, which="latest").copied == [backups[0].id]
    assert go(source, destination, tmp_path).copied == [each.id for each in reversed(backups[1:])]
    before = dict(destination.objects)
    result = go(source, destination, tmp_path)
    assert (result.copied, len(result.present), result.sent_bytes) == ([], 3, 0)
    assert destination.objects == before


def test_check_mode_tells_and_writes_nothing(tmp_path: Path) -> None:
    source, backups = stocked()
    destination = MemoryRepository("destination")
    result = go(source, destination, tmp_path, check=True)
    assert result.copied == [each.id for each in reversed(backups)] and len(result.plan) == 3
    assert f"{backups[0].size + backups[0].references['size']} bytes" in result.plan[-1]
    assert destination.objects == {} and list(tmp_path.iterdir()) == []


def test_since(tmp_path: Path) -> None:
    source, backups = stocked()
    result = go(source, MemoryRepository("destination"), tmp_path, since=NOON - 2.5 * HOUR)
    assert result.copied == [backups[1].id, backups[0].id]


def test_objects_are_cut_anew_for_a_store_of_small_ones(tmp_path: Path) -> None:
    source, backups = stocked()
    destination = MemoryRepository("destination")
    destination.part_size, destination.max_parts = 100, 2
    go(source, destination, tmp_path)
    assert sound(destination, tmp_path) == 3
    copied = load_backup(destination, backups[0].id)
    assert [part.size for part in copied.artefacts[0].objects] == [200, 200, 200, 100]
    assert copied.artefacts[0].sha256 == backups[0].artefacts[0].sha256
    joined = b"".join(destination.objects[part.key] for part in copied.artefacts[0].objects)
    assert sha(joined) == backups[0].artefacts[0].sha256
    # And back again, where one object is enough.
    back = MemoryRepository("back")
    go(destination, back, tmp_path)
    assert sound(back, tmp_path) == 3


def test_a_damaged_backup_is_not_copied_and_the_others_are(tmp_path: Path) -> None:
    source, backups = stocked()
    key = data_prefix(backups[1].id) + "shop.dump"
    source.objects[key] = source.objects[key][:-1] + b"?"
    destination = MemoryRepository("destination")
    result = go(source, destination, tmp_path)
    assert list(result.failed) == [backups[1].id] and key in str(result.failed[backups[1].id])
    assert result.copied == [backups[2].id, backups[0].id]
    assert manifest_key(backups[1].id) not in destination.objects
    assert sound(destination, tmp_path) == 2


@pytest.mark.parametrize("parts", [None, 2])
def test_killed_at_any_write_there_is_no_half_backup_and_the_next_copy_finishes(
    tmp_path: Path, parts: int | None
) -> None:
    source, _backups = stocked(2)
    for death in range(1000):
        destination = MemoryRepository("destination")
        if parts:
            destination.part_size, destination.max_parts = 200, parts
        destination.writes_left = death
        try:
            go(source, destination, tmp_path)
        except BaseException as error:
            assert isinstance(error, Killed) or "Killed" in str(error)
        else:
            assert death > 10
            return
        destination.writes_left = None
        sound(destination, tmp_path)
        destination.now += HOUR
        go(source, destination, tmp_path)
        assert sound(destination, tmp_path) == 2, f"killed at write {death}"
        prune(destination, PruneSettings("shop", str(tmp_path), Policy(last=-1)), Progress())
        assert not [key for key in destination.objects if key.startswith("running/")]
    raise AssertionError("a copy without an end")


def test_a_blob_that_is_about_to_go_is_not_relied_on(tmp_path: Path) -> None:
    source, backups = stocked(1)
    destination = MemoryRepository("destination")
    key = blob_key(sha(BLOB), backups[0].id)
    put(destination, key, BLOB)
    put(destination, mark_key(key), b"{}")
    go(source, destination, tmp_path)
    destination.delete([key, mark_key(key)])  # what the prune does next
    assert sound(destination, tmp_path) == 1
    assert sum(data == BLOB for data in destination.objects.values()) == 1


def test_a_blob_that_is_incomplete_there_is_sent_under_another_key(tmp_path: Path) -> None:
    source, backups = stocked(1)
    destination = MemoryRepository("destination")
    put(destination, blob_key(sha(BLOB), backups[0].id), BLOB[:10])
    go(source, destination, tmp_path)
    assert sound(destination, tmp_path) == 1


def test_a_blob_marked_while_it_is_copied_is_noticed(tmp_path: Path) -> None:
    source, backups = stocked(1)
    destination = MemoryRepository("destination")
    blob = blob_key(sha(BLOB), backups[0].id)
    put(destination, blob, BLOB)

    class Marking(MemoryRepository):
        def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
            if key.endswith("shop.dump") and mark_key(blob) not in destination.objects:
                put(destination, mark_key(blob), b"{}")
            return super().read(key, offset, length)

    marking = Marking("source")
    marking.objects, marking.times = source.objects, source.times
    assert go(marking, destination, tmp_path).copied == [backups[0].id]
    destination.delete([blob, mark_key(blob)])
    assert sound(destination, tmp_path) == 1


def test_two_copies_at_once_make_one_backup(tmp_path: Path) -> None:
    for number in range(5):
        source, backups = stocked()
        destination = MemoryRepository("destination")
        results: list[Any] = []

        def work(name: str, source: Any = source, destination: Any = destination, note: Any = results.append) -> None:
            try:
                note(go(source, destination, tmp_path / name))
            except Unavailable as error:
                note(error)

        threads = [threading.Thread(target=work, args=(f"{number}-{host}",)) for host in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        go(source, destination, tmp_path)
        assert sound(destination, tmp_path) == len(backups)


def test_a_prune_does_not_take_a_running_copy_for_an_orphan(tmp_path: Path) -> None:
    source, backups = stocked(1)
    destination = MemoryRepository("destination")
    other = commit_backup(destination, NOON - HOUR)
    # What a copy has left that was killed long ago: the next one takes it up, and is no orphan while it runs.
    destination.now = NOON - timedelta(days=30)
    put(destination, data_prefix(backups[0].id) + "shop.dump", source.objects[data_prefix(backups[0].id) + "shop.dump"])
    destination.now = NOON

    class Pruning(MemoryRepository):
        def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
            if key.startswith("blobs/"):
                prune(destination, PruneSettings("shop", str(tmp_path), Policy(last=1)), Progress())
            return super().read(key, offset, length)

    pruning = Pruning("source")
    pruning.objects, pruning.times = source.objects, source.times
    go(pruning, destination, tmp_path)
    assert sound(destination, tmp_path) == 2 and manifest_key(other.id) in destination.objects


def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    source, backups = stocked(1)
    with pytest.raises(InvalidOption):
        go(source, MemoryRepository("destination"), tmp_path, which="everything")
    with pytest.raises(NotFound):
        go(MemoryRepository("empty"), MemoryRepository("destination"), tmp_path, which=backups[0].id)
    assert go(MemoryRepository("empty"), MemoryRepository("destination"), tmp_path, which="latest").copied == []
