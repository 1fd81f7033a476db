# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prune: what goes, in which order, and what is never lost however it ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._errors import Locked, PermissionDenied, Unsupported
from ansible_collections.holdfast.ops.plugins.module_utils._manifest import (
    LEASE,
    Backup,
    blob_key,
    data_prefix,
    manifest_key,
    mark_key,
)
from ansible_collections.holdfast.ops.plugins.module_utils._operations import _lease
from ansible_collections.holdfast.ops.plugins.module_utils._operations._lease import Lease, leased
from ansible_collections.holdfast.ops.plugins.module_utils._operations._prune import (
    PruneResult,
    PruneSettings,
    plan_lines,
    prune,
)
from ansible_collections.holdfast.ops.plugins.module_utils._progress import Progress
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._interface import Hold
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

DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _always_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_lease, "LOOK", 0.0)


@pytest.fixture
def state(tmp_path: Path) -> str:
    return str(tmp_path)


def go(repository: MemoryRepository, state: str, *, check: bool = False, last: int = 3, **more: Any) -> PruneResult:
    settings = PruneSettings("shop", state, Policy(last=last), check=check, **more)
    return prune(repository, settings, Progress())


def stocked(days: int = 8, verified: bool = True, name: str = "memory") -> tuple[MemoryRepository, list[Backup]]:
    """A repository with a backup a day, each a dump and a blob of its own beside one that all share; newest first."""
    repository = MemoryRepository(name)
    backups: list[Backup] = []
    owner = ""
    for age in range(days, 0, -1):
        repository.now = NOON - age * DAY
        backup = commit_backup(
            repository, repository.now, blobs=[(b"shared" * 50, owner), (f"own {age}".encode() * 50, "")]
        )
        owner = owner or backup.id
        if verified:
            note_verification(repository, backup.id, repository.now + timedelta(hours=1))
        backups.insert(0, backup)
    repository.now = NOON
    return repository, backups


def whole(repository: MemoryRepository, backup: Backup) -> bool:
    """Every object that the manifest and its references name is there, byte for byte."""
    objects = {part.key: part.sha256 for part in backup.objects()}
    listed = backup.artefact("references")
    if listed is not None:
        from ansible_collections.holdfast.ops.plugins.module_utils._operations._blobs import Reference

        for line in repository.objects.get(listed.objects[0].key, b"").splitlines():
            objects.update((part.key, part.sha256) for part in Reference.from_line(line).objects)
    return all(sha(repository.objects.get(key, b"")) == digest for key, digest in objects.items())


def manifests(repository: MemoryRepository) -> set[str]:
    return {key[len("manifests/") : -len(".json")] for key in repository.objects if key.startswith("manifests/")}


def test_what_retention_does_not_keep_goes_with_all_its_objects(state: str) -> None:
    repository, backups = stocked()
    result = go(repository, state)
    kept, gone = backups[:3], backups[3:]
    assert manifests(repository) == {each.id for each in kept}
    assert result.deleted == [each.id for each in reversed(gone)]
    assert all(whole(repository, each) for each in kept)
    assert not [
        key
        for each in gone
        for key in repository.objects
        if each.id in key and not key.startswith(("blobs/", "prune/"))
    ]
    sums = sum(len(f"{each.sha256}  {each.name}\n") for backup in gone for each in backup.artefacts)
    assert result.freed_bytes == sum(each.size for each in gone) + sums
    assert (result.left, result.verified) == (3, 3)


def test_a_second_prune_has_nothing_to_do(state: str) -> None:
    repository, _backups = stocked()
    assert go(repository, state).changed
    before = {key: value for key, value in repository.objects.items() if key != LEASE}
    assert not go(repository, state).changed
    assert {key: value for key, value in repository.objects.items() if key != LEASE} == before


def test_check_mode_tells_all_and_touches_nothing(state: str) -> None:
    repository, backups = stocked()
    before = dict(repository.objects)
    planned = go(repository, state, check=True)
    assert repository.objects == before
    assert not Path(state, "components").exists()
    lines_before, lines_after = plan_lines(planned)
    assert sum("delete:" in line for line in lines_before) == 5
    assert all(any(each.id in line for line in lines_after) for each in backups[:3])
    assert not any(each.id in line for each in backups[3:] for line in lines_after)
    done = go(repository, state)
    assert (planned.deleted, planned.blobs, planned.left) == (done.deleted, done.blobs, done.left)


def test_blobs_go_in_two_steps(state: str) -> None:
    repository, backups = stocked()
    first = go(repository, state)
    orphaned = {blob_key(sha(f"own {age}".encode() * 50), backups[age - 1].id) for age in range(4, 9)}
    # The youngest of them is four days old and could still be a running backup's.
    due = {key for key in orphaned if NOON - repository.times[key] >= timedelta(days=6)}
    assert set(first.blobs.mark) == due and due < orphaned
    assert orphaned <= repository.objects.keys()
    repository.now += 8 * DAY
    second = go(repository, state)
    assert set(second.blobs.delete) == due
    assert not due & repository.objects.keys() and not {mark_key(key) for key in due} & repository.objects.keys()
    assert all(whole(repository, each) for each in backups[:3])
    repository.now += 8 * DAY
    go(repository, state)
    assert not orphaned & repository.objects.keys()
    assert all(whole(repository, each) for each in backups[:3])


def test_a_marked_blob_that_is_used_again_stays(state: str) -> None:
    repository, backups = stocked()
    go(repository, state)
    key = blob_key(sha(b"own 8" * 50), backups[7].id)
    assert mark_key(key) in repository.objects
    again = commit_backup(repository, repository.now, blobs=[(b"own 8" * 50, backups[7].id)])
    repository.now += 8 * DAY
    result = go(repository, state)
    assert key in result.blobs.unmark and key in repository.objects and mark_key(key) not in repository.objects
    assert whole(repository, again)


def test_an_unreadable_manifest_stops_every_deletion_of_blobs(state: str) -> None:
    repository, backups = stocked()
    go(repository, state)
    repository.now += 8 * DAY
    repository.objects[manifest_key(backups[1].id)] = b"{"
    blobs = {key for key in repository.objects if key.startswith("blobs/")}
    result = go(repository, state)
    assert {key for key in repository.objects if key.startswith("blobs/")} == blobs
    assert any("No blob is deleted" in line for line in result.warnings)
    assert backups[1].id in manifests(repository) and repository.objects[backups[1].objects()[0].key]


def test_a_lost_list_of_references_stops_every_deletion_of_blobs(state: str) -> None:
    repository, backups = stocked()
    go(repository, state)
    repository.now += 8 * DAY
    listed = backups[0].artefact("references")
    assert listed is not None
    repository.delete([listed.objects[0].key])
    blobs = {key for key in repository.objects if key.startswith("blobs/")}
    assert any("No blob is deleted" in line for line in go(repository, state).warnings)
    assert {key for key in repository.objects if key.startswith("blobs/")} == blobs


def test_without_verified_backups_nothing_goes(state: str) -> None:
    repository, backups = stocked(verified=False)
    result = go(repository, state)
    assert manifests(repository) == {each.id for each in backups}
    assert any("minimum_verified" in line for line in result.warnings)


def test_the_level_that_counts_is_the_policys(state: str) -> None:
    repository, backups = stocked()
    assert go(repository, state, verified_level="restore").deleted == []
    for each in backups[:4]:
        note_verification(repository, each.id, NOON, "restore")
    assert go(repository, state, verified_level="restore").left == 3


def test_a_backup_later_than_the_clock_is_neither_counted_nor_deleted(state: str) -> None:
    repository, backups = stocked()
    late = commit_backup(repository, NOON + 40 * DAY)
    note_verification(repository, late.id, NOON)
    result = go(repository, state)
    assert manifests(repository) == {late.id, *(each.id for each in backups[:3])}
    assert any(late.id in line for line in result.warnings)


def test_orphans_go_when_nobody_can_be_writing_them(state: str) -> None:
    repository, _backups = stocked()
    repository.now = NOON - 7 * DAY
    dead = commit_backup(repository, repository.now, commit=False)
    note_verification(repository, dead.id, repository.now)
    repository.now = NOON - DAY
    alive = commit_backup(repository, repository.now, commit=False)
    repository.now = NOON
    result = go(repository, state)
    assert result.orphans == [dead.id]
    assert not [key for key in repository.objects if dead.id in key]
    assert len([key for key in repository.objects if alive.id in key]) == 3


def test_an_orphan_that_somebody_copies_anew_stays(state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    repository, _backups = stocked()
    repository.now = NOON - 7 * DAY
    dead = commit_backup(repository, repository.now, commit=False)
    repository.now = NOON
    list_all = MemoryRepository.list

    def announce_late(self: MemoryRepository, prefix: str) -> Iterator[Any]:
        if prefix == f"running/{dead.id}":  # between the survey and the sweep
            self.times[prefix] = self.now
        return list_all(self, prefix)

    monkeypatch.setattr(MemoryRepository, "list", announce_late)
    assert go(repository, state).orphans == []
    assert data_prefix(dead.id) + "shop.dump" in repository.objects


def test_data_without_any_manifest_is_not_swept(state: str) -> None:
    repository, backups = stocked()
    repository.delete([manifest_key(each.id) for each in backups])
    repository.now += 30 * DAY
    before = {key for key in repository.objects if key != LEASE}
    result = go(repository, state)
    assert {key for key in repository.objects if key != LEASE} == before
    assert any("not a single manifest" in line for line in result.warnings)


def test_strangers_files_stay(state: str) -> None:
    repository, _backups = stocked()
    repository.now = NOON - 60 * DAY
    strangers = ["data/readme.txt", "data/2026/11/22/notes/x", "manifests/a.txt", "running/me", "verified/x/y", "hello"]
    for key in strangers:
        put(repository, key, b"mine")
    repository.now = NOON
    go(repository, state)
    assert all(repository.objects[key] == b"mine" for key in strangers)


def with_everything_to_do(state: str, second_run: bool) -> tuple[MemoryRepository, list[Backup]]:
    """A repository in which a prune deletes backups, sweeps an orphan, and marks or (second run) deletes blobs."""
    repository, backups = stocked(days=8)
    for each in backups[3:6]:  # fewer steps to die at
        repository.delete([key for key in repository.objects if each.id in key])
    repository.now = NOON - 7 * DAY
    commit_backup(repository, repository.now, commit=False)
    repository.now = NOON
    if second_run:
        go(repository, state)
        repository.now += 8 * DAY
        commit_backup(repository, NOON - 7 * DAY, commit=False)
        for key in list(repository.times):
            repository.times[key] = min(repository.times[key], NOON)
    return repository, [each for each in backups if each.id in manifests(repository)]


@pytest.mark.parametrize("second_run", [False, True])
def test_killed_at_any_write_nothing_kept_is_lost_and_the_next_prune_finishes(state: str, second_run: bool) -> None:
    for death in range(1000):
        repository, backups = with_everything_to_do(state, second_run)
        repository.writes_left = death
        try:
            go(repository, state)
        except Killed:
            pass
        else:
            assert death > 8
            return
        repository.writes_left = None
        present = [each for each in backups if each.id in manifests(repository)]
        assert [each.id for each in present[:3]] == [each.id for each in backups[:3]]
        assert all(whole(repository, each) for each in present), f"killed at write {death}"
        for _run in range(2):  # the dead pruner's lease is over, what it has orphaned is old, marks are due
            repository.now += 10 * DAY
            go(repository, state)
        assert manifests(repository) == {each.id for each in backups[:3]}
        assert all(whole(repository, each) for each in backups[:3])
        left = {key for key in repository.objects if not any(each.id in key for each in backups[:3])} - {LEASE}
        assert all(key.startswith("blobs/") for key in left) and len(left) == 1, f"killed at write {death}"
    raise AssertionError("a prune without an end")


def test_two_pruners_exclude_each_other(state: str) -> None:
    repository, _backups = stocked()
    with leased(repository), pytest.raises(Locked, match="is being pruned by process"):
        go(repository, state)
    assert go(repository, state).changed


def test_of_two_that_want_the_lease_at_once_one_gets_it() -> None:
    for _round in range(20):
        repository = MemoryRepository()
        outcomes: list[str] = []
        barrier = threading.Barrier(4)

        def take(
            repository: MemoryRepository = repository, barrier: Any = barrier, note: Any = outcomes.append
        ) -> None:
            barrier.wait()
            try:
                Lease(repository).take()
                note("held")
            except Locked:
                note("locked")

        threads = [threading.Thread(target=take) for _thread in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == ["held", "locked", "locked", "locked"]


def test_a_stale_lease_is_taken_over_and_its_holder_stops() -> None:
    repository = MemoryRepository()
    slow = Lease(repository)
    slow.take()
    repository.now += timedelta(minutes=59)
    with pytest.raises(Locked):
        Lease(repository).take()
    repository.now += timedelta(minutes=2)
    quick = Lease(repository)
    quick.take()
    with pytest.raises(Locked, match="too slow"):
        slow.keep()
    slow.give_back()
    with pytest.raises(Locked):
        Lease(repository).take()
    quick.give_back()
    Lease(repository).take()


def test_a_lease_is_renewed_while_it_is_used() -> None:
    repository = MemoryRepository()
    lease = Lease(repository)
    lease.take()
    for _minute in range(180):
        repository.now += timedelta(minutes=1)
        lease.keep()
    with pytest.raises(Locked):
        Lease(repository).take()


@pytest.mark.parametrize("rubbish", [b"", b"{", b"[]", b'{"until": 7}', b'{"until": "2999-01-01T00:00:00Z"}'])
def test_a_lease_that_makes_no_sense_holds_nobody_up(rubbish: bytes) -> None:
    repository = MemoryRepository()
    repository.objects[LEASE], repository.times[LEASE] = rubbish, NOON
    Lease(repository).take()
    with pytest.raises(Locked):
        Lease(repository).take()  # now somebody does


class PlainRepository(MemoryRepository):
    """Without conditional put."""

    def replace(self, key: str, data: bytes, expected: str | None) -> str | None:
        raise Unsupported("no conditional put")


def test_without_conditional_put_the_user_must_vouch(state: str) -> None:
    repository = PlainRepository()
    with pytest.raises(Unsupported):
        go(repository, state)
    repository.single_pruner = True
    go(repository, state)


def test_what_the_store_keeps_is_planned_to_stay_and_not_tried(state: str) -> None:
    repository, backups = stocked()
    locked, held, free = backups[4], backups[5], backups[6]
    repository.holds = {
        manifest_key(locked.id): Hold(until=NOON + DAY),
        manifest_key(held.id): Hold(legal=True),
        manifest_key(free.id): Hold(until=NOON),
    }
    for check in (True, False):
        result = go(repository, state, check=check)
        assert result.deleted == [backups[7].id, free.id, backups[3].id]
        assert not result.skipped and not result.warnings
        why = {each.id: "; ".join(each.reasons) for each in result.plan.decisions}
        assert "locked by the store until 2026-11-23T12:00:00Z" in why[locked.id]
        assert "held in the store (legal hold)" in why[held.id]
    assert manifests(repository) == {each.id for each in (*backups[:3], locked, held)}
    assert all(whole(repository, each) for each in (locked, held))
    repository.now += 2 * DAY
    repository.holds = {manifest_key(locked.id): Hold(until=NOON + DAY)}
    assert go(repository, state).deleted == [held.id, locked.id]


class LockingRepository(MemoryRepository):
    """Refuses to delete some objects, as Object Lock does."""

    locked: tuple[str, ...] = ()

    def delete(self, keys: Any) -> None:
        keys = list(keys)
        if any(word in key for key in keys for word in self.locked):
            raise PermissionDenied("locked until 2027", right="delete")
        super().delete(keys)


def test_a_locked_backup_stays_whole_and_is_reported(state: str) -> None:
    plain, backups = stocked()
    repository = LockingRepository()
    repository.objects, repository.times = plain.objects, plain.times
    repository.locked = (backups[5].id,)
    result = go(repository, state)
    assert list(result.skipped) == [backups[5].id]
    assert whole(repository, backups[5]) and backups[5].id in manifests(repository)
    assert manifests(repository) == {each.id for each in (*backups[:3], backups[5])}
    assert any("locked until 2027" in line for line in result.warnings)
    assert result.left == 4
