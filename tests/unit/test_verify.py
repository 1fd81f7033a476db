# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verify: every kind of damage is found by the level that can find it, named, and recorded; nothing else is."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._engines._interface import (
    BackupPlan,
    BackupRun,
    Engine,
    Place,
    Proof,
    RestorePlan,
    RestoreRun,
)
from ansible_collections.holdfast.ops.plugins.module_utils._errors import (
    Corrupted,
    InvalidOption,
    NotFound,
    PermissionDenied,
    Unavailable,
)
from ansible_collections.holdfast.ops.plugins.module_utils._manifest import (
    LEVELS,
    VERIFIED,
    Backup,
    StoredPart,
    Verification,
    blob_key,
    data_prefix,
    manifest_key,
)
from ansible_collections.holdfast.ops.plugins.module_utils._operations._checksum import check_objects
from ansible_collections.holdfast.ops.plugins.module_utils._operations._verify import (
    VerifyResult,
    VerifySettings,
    verify,
)
from ansible_collections.holdfast.ops.plugins.module_utils._progress import Progress
from ansible_collections.holdfast.ops.tests.support.memory import (
    NOON,
    MemoryRepository,
    commit_backup,
    note_verification,
    sha,
)

HOUR = timedelta(hours=1)
BLOB = b"a large file" * 100


class SampleEngine(Engine):
    """Reads the one artefact; `proof` is what its restore finds."""

    name = "sample"
    OPTIONS: Mapping[str, Any] = {}
    proof = Proof("counts", 3)
    closed = 0

    def plan_backup(self) -> BackupPlan:
        raise NotImplementedError

    def backup(self, run: BackupRun) -> None:
        raise NotImplementedError

    def plan_restore(self, run: RestoreRun) -> RestorePlan:
        raise NotImplementedError

    def restore(self, run: RestoreRun) -> Proof:
        raise NotImplementedError

    def verify_archive(self, run: RestoreRun) -> Mapping[str, Any]:
        data = run.reader.read_bytes(run.backup.artefacts[0])
        if not data.startswith(b"a dump"):
            raise Corrupted("shop.dump is no dump")
        return {"entries": len(data)}

    def verify_restore(self, run: RestoreRun) -> Proof:
        return self.proof

    def close(self) -> None:
        type(self).closed += 1


class CountingRepository(MemoryRepository):
    """Remembers which keys were read."""

    def __init__(self, name: str = "memory") -> None:
        super().__init__(name)
        self.read_keys: list[str] = []

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        self.read_keys.append(key)
        return super().read(key, offset, length)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place("shop", str(tmp_path / "state"), str(tmp_path / "scratch"))


def go(
    place: Place, *repositories: MemoryRepository, engine: type[SampleEngine] = SampleEngine, **how: Any
) -> VerifyResult:
    settings = VerifySettings("shop", place, **how)
    return verify(repositories, settings, lambda name: engine({}, place), Progress())


def recorded(repository: MemoryRepository) -> list[tuple[str, bool]]:
    keys = [Verification.from_key(key) for key in repository.objects if key.startswith(VERIFIED)]
    return [(each.level, each.ok) for each in keys if each is not None]


def stocked(repository: MemoryRepository | None = None, **fields: Any) -> tuple[MemoryRepository, Backup]:
    repository = repository or MemoryRepository()
    return repository, commit_backup(repository, NOON - HOUR, blobs=[(BLOB, "")], **fields)


@pytest.mark.parametrize("level", LEVELS)
def test_a_sound_backup_passes_every_level_and_that_is_recorded(place: Place, level: str) -> None:
    repository, backup = stocked()
    closed = SampleEngine.closed
    (finding,) = go(place, repository, level=level).findings
    assert (finding.ok, finding.level, finding.problems, finding.recorded) == (True, level, [], True)
    assert recorded(repository) == [(level, True)]
    (key,) = [key for key in repository.objects if key.startswith(VERIFIED)]
    assert json.loads(repository.objects[key])["backup_id"] == backup.id
    if level == "restore":
        assert finding.proof is not None and finding.restore_seconds is not None and finding.data_age_seconds
    assert SampleEngine.closed - closed == LEVELS.index(level) - 1 if level in LEVELS[2:] else True


def test_stat_reads_no_content(place: Place) -> None:
    repository, backup = stocked(CountingRepository())
    assert isinstance(repository, CountingRepository)
    go(place, repository, level="stat")
    references = backup.artefact("references")
    assert references is not None
    assert set(repository.read_keys) == {manifest_key(backup.id), references.objects[0].key}


def dump_key(backup: Backup) -> str:
    return data_prefix(backup.id) + "shop.dump"


def its_blob(backup: Backup) -> str:
    return blob_key(sha(BLOB), backup.id)


@pytest.mark.parametrize("key_of", [dump_key, its_blob])
@pytest.mark.parametrize(
    ("damage", "level", "said"),
    [
        (lambda data: None, "stat", "missing"),
        (lambda data: data[:-1], "stat", "bytes instead of"),
        (lambda data: data + b"x", "stat", "bytes instead of"),
        (lambda data: b"", "stat", "bytes instead of"),
        (lambda data: data[:20] + bytes([data[20] ^ 1]) + data[21:], "checksum", "damaged"),
    ],
)
def test_damage_is_found_named_and_recorded(place: Place, key_of: Any, damage: Any, level: str, said: str) -> None:
    repository, backup = stocked()
    key = key_of(backup)
    data = damage(repository.objects[key])
    if data is None:
        repository.delete([key])
    else:
        repository.objects[key] = data
    (finding,) = go(place, repository, level="restore").findings
    assert (finding.ok, finding.level, len(finding.problems)) == (False, level, 1)
    assert key in finding.problems[0] and said in finding.problems[0]
    assert recorded(repository) == [(level, False)]
    if level == "checksum":
        assert go(place, repository, level="stat").findings[0].ok, "stat cannot see that"


def test_an_unreadable_manifest_is_a_failure(place: Place) -> None:
    repository, backup = stocked()
    repository.objects[manifest_key(backup.id)] = b'{"schema": 1}'
    (finding,) = go(place, repository).findings
    assert not finding.ok and "manifest" in finding.problems[0]
    assert recorded(repository) == [("stat", False)]


def test_damage_under_a_right_checksum_is_found_by_the_tool(place: Place) -> None:
    repository = MemoryRepository()
    commit_backup(repository, NOON - HOUR, content=b"dumped by a broken tool")
    assert go(place, repository, level="checksum").findings[0].ok
    (finding,) = go(place, repository, level="archive").findings
    assert (finding.ok, finding.level) == (False, "archive") and "no dump" in finding.problems[0]


def test_a_restore_that_differs_fails(place: Place) -> None:
    class Differing(SampleEngine):
        proof = Proof("counts", 3, ("table t: 5 rows instead of 6",))

    repository, _backup = stocked()
    (finding,) = go(place, repository, level="restore", engine=Differing).findings
    assert (finding.ok, finding.level) == (False, "restore") and "5 rows instead of 6" in finding.problems[0]
    assert recorded(repository) == [("restore", False)]


def test_a_restore_that_cannot_be_proved_is_no_pass_and_no_damage(place: Place) -> None:
    class Blind(SampleEngine):
        proof = Proof("none")

    repository, _backup = stocked()
    result = go(place, repository, level="restore", engine=Blind)
    assert [each.level for each in result.short] == ["archive"] and not result.failed
    assert recorded(repository) == [("archive", True)]


class SilentRepository(MemoryRepository):
    """Goes away in the middle of reading."""

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        if key.startswith("data/"):
            raise Unavailable("gone")
        return super().read(key, offset, length)


def test_what_keeps_us_from_looking_is_no_finding_and_stops_no_other_repository(place: Place) -> None:
    silent, _backup = stocked(SilentRepository("silent"))
    fine, _backup = stocked(MemoryRepository("fine"))
    result = go(place, silent, fine)
    assert list(result.errors) == ["silent"]
    assert [(each.repository, each.ok) for each in result.findings] == [("fine", True)]
    assert recorded(silent) == []


def test_without_an_identity_what_is_encrypted_is_not_passed(place: Place) -> None:
    repository, _backup = stocked(encryption={"method": "age"})
    assert go(place, repository, level="checksum").findings[0].ok
    result = go(place, repository, level="archive")
    assert result.errors["memory"].code == "no_identity" and not result.findings
    assert recorded(repository) == [("checksum", True)]


class ReadOnlyRepository(MemoryRepository):
    """May be read; `sealed` once it is stocked."""

    sealed = False

    def put(self, key: str, data: Any, sha256: bytes) -> None:
        if self.sealed:
            raise PermissionDenied("no permission to write", right="write")
        super().put(key, data, sha256)


def test_without_the_right_to_record_the_result_still_counts(place: Place) -> None:
    repository, _backup = stocked(ReadOnlyRepository())
    assert isinstance(repository, ReadOnlyRepository)
    repository.sealed = True
    result = go(place, repository)
    assert result.findings[0].ok and not result.findings[0].recorded
    assert any("no permission to write" in line for line in result.warnings)


def test_a_backup_that_is_pruned_meanwhile_is_skipped(place: Place) -> None:
    class Pruned(CountingRepository):
        def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
            if key.endswith("shop.dump"):
                self.delete([item.key for item in super().list("") if item.key.startswith(("data/", "manifests/"))])
            return super().read(key, offset, length)

    repository, backup = stocked(Pruned())
    result = go(place, repository)
    assert result.skipped == [f"memory: {backup.id}"] and not result.findings and not result.errors
    assert recorded(repository) == []


def test_which_backups(place: Place) -> None:
    repository = MemoryRepository()
    old, middle, new = (commit_backup(repository, NOON - age * HOUR) for age in (3, 2, 1))
    note_verification(repository, old.id, NOON - timedelta(minutes=30), "restore")
    note_verification(repository, new.id, NOON - timedelta(minutes=30), "stat")

    def chosen(which: str) -> list[str]:
        return [each.backup_id for each in go(place, repository, which=which, check=True).findings]

    assert chosen("latest") == [new.id]
    assert chosen("all") == [new.id, middle.id, old.id]
    assert chosen("unverified") == [new.id, middle.id]
    assert chosen(middle.id) == [middle.id]
    note_verification(repository, old.id, NOON - timedelta(minutes=20), "stat", ok=False)
    assert chosen("unverified") == [new.id, middle.id, old.id]


def test_looking_at_nothing_is_no_success_and_a_missing_copy_is_a_failure(place: Place) -> None:
    full, backup = stocked(MemoryRepository("full"))
    empty = MemoryRepository("empty")
    with pytest.raises(NotFound, match="No repository holds"):
        go(place, empty, which=backup.id)
    with pytest.raises(InvalidOption):
        go(place, full, which="lastest")
    for which in ("latest", "all", "unverified"):
        with pytest.raises(NotFound, match="any backup"):
            go(place, empty, which=which)
    assert all(each.ok for each in go(place, full, which="all").findings)
    nothing = go(place, empty, full, which="unverified")
    assert (nothing.findings, nothing.warnings) == ([], ["empty holds no backup of this component."])
    assert any("empty holds no backup" in line for line in go(place, empty, full).warnings)
    findings = go(place, full, empty, which=backup.id).findings
    assert [(each.repository, each.ok) for each in findings] == [("full", True), ("empty", False)]
    assert recorded(empty) == []


def test_check_mode_writes_nothing(place: Place) -> None:
    repository, _backup = stocked()
    before = dict(repository.objects)
    (finding,) = go(place, repository, level="restore", check=True).findings
    assert finding.stored_bytes > len(BLOB) and finding.level is None
    assert repository.objects == before and not Path(place.scratch_dir).exists()


def test_blobs_that_backups_share_are_read_once(place: Place) -> None:
    repository = CountingRepository()
    first = commit_backup(repository, NOON - 2 * HOUR, blobs=[(BLOB, "")])
    commit_backup(repository, NOON - HOUR, blobs=[(BLOB, first.id)])
    assert all(each.ok for each in go(place, repository, which="all").findings)
    assert repository.read_keys.count(its_blob(first)) == 1


def test_two_results_in_one_second_of_the_store_are_both_recorded(place: Place) -> None:
    repository, _backup = stocked()
    go(place, repository)
    timer = threading.Timer(0.1, lambda: setattr(repository, "now", NOON + timedelta(seconds=1)))
    timer.start()
    go(place, repository)
    timer.join()
    assert recorded(repository) == [("checksum", True)] * 2


class EndlessRepository(MemoryRepository):
    """Large objects of zeros, made when they are read; counts the bytes that are out at the same time."""

    def __init__(self) -> None:
        super().__init__()
        self.out = self.most = 0

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        assert length is not None
        with self.lock:
            self.out += length
            self.most = max(self.most, self.out)
        data = bytes(length)
        with self.lock:
            self.out -= length
        return data


def test_checksums_are_proved_in_bounded_memory() -> None:
    size = 300 * 2**20
    digest = hashlib.sha256()
    for _megabyte in range(300):
        digest.update(bytes(2**20))
    small = sha(bytes(2**20))
    parts = [StoredPart("large", size, digest.hexdigest())]
    parts += [StoredPart(f"small {number}", 2**20, small) for number in range(50)]
    repository = EndlessRepository()
    counted: list[int] = []
    assert check_objects(repository, parts, counted.append) == []
    assert sum(counted) == size + 50 * 2**20
    assert repository.most <= 64 * 2**20
    (problem,) = check_objects(repository, [StoredPart("large", size, small)])
    assert "large" in problem and "damaged" in problem
