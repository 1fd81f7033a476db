# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commit protocol: a backup exists when its manifest does, everywhere whole, or it does not exist at all."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._engines._interface import Place
from ansible_collections.holdfast.ops.plugins.module_utils._errors import (
    Corrupted,
    DiskFull,
    HoldfastError,
    Locked,
    PermissionDenied,
    ToolFailed,
)
from ansible_collections.holdfast.ops.plugins.module_utils._locks import host_lock
from ansible_collections.holdfast.ops.plugins.module_utils._manifest import Backup, Verification, utc_now
from ansible_collections.holdfast.ops.plugins.module_utils._operations import _backup
from ansible_collections.holdfast.ops.plugins.module_utils._operations._backup import (
    DegradedBackup,
    scratch_directory,
    size_anomaly,
)
from ansible_collections.holdfast.ops.plugins.module_utils._process import Account
from ansible_collections.holdfast.ops.tests.support.bench import DATA, Bench, chunks


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_backup_is_its_manifest_and_what_it_names(bench: Bench) -> None:
    result = bench.backup()
    (one,) = bench.backups()
    assert one == result.backup
    assert [a.name for a in one.artefacts] == ["one.dump.zst", "two.dump.zst", "fingerprint.json.zst"]
    sums = (bench.path / "a/c" / one.artefacts[0].objects[0].key).parent / "SHA256SUMS"
    subprocess.run(["sha256sum", "-c", "--quiet", "--strict", "SHA256SUMS"], cwd=sums.parent, check=True)
    target: dict[str, bytes] = {}
    assert bench.restore(target=target).proof.proved  # type: ignore[union-attr]
    assert target["one.dump.zst"] == DATA


def test_files_and_directories_are_private(bench: Bench) -> None:
    bench.backup()
    for path in (bench.path / "a").rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_the_manifest_is_written_last(bench: Bench) -> None:
    order: list[str] = []
    bench.backup(bench.repository(fault=lambda method, key, nth: order.append(f"{method} {key.split('/')[0]}")))
    writes = [step for step in order if step.split()[0] in ("put", "complete")]
    assert writes[0] == "put running"
    assert writes[-1] == "put manifests"
    assert writes.count("put manifests") == 1


def test_a_failing_source_commits_nothing_and_cleans_up(bench: Bench) -> None:
    def broken() -> Iterator[bytes]:
        yield DATA
        raise ToolFailed("pg_dump exited with status 1.")

    bench.streams["three.dump"] = broken
    with pytest.raises(ToolFailed) as caught:
        bench.backup()
    assert caught.value.stage == "dump"
    assert caught.value.result()["left_behind"] == "nothing"
    assert bench.files() == []


def test_one_repository_failing_is_degraded_and_names_the_missing_copy(bench: Bench) -> None:
    def full(method: str, key: str, nth: int) -> None:
        if method == "write_part":
            raise DiskFull("b is full")

    with pytest.raises(DegradedBackup, match="missing in b: b is full") as caught:
        bench.backup(bench.repository("a"), bench.repository("b", full))
    assert caught.value.result_of_run.committed == ["a"]
    assert len(bench.backups("a")) == 1
    assert bench.backups("b") == []


def test_a_repository_that_loses_an_object_is_not_believed(bench: Bench) -> None:
    """The store says that it has everything and lists less."""
    lost: list[str] = []

    def lose(method: str, key: str, nth: int) -> None:
        if method == "list" and key.startswith("data/"):
            victim = next((bench.path / "b/c" / key).glob("one.dump*"), None)
            if victim:
                lost.append(victim.name)
                victim.unlink()

    with pytest.raises(DegradedBackup, match=r"b lists no bytes of .*one\.dump") as caught:
        bench.backup(bench.repository("a"), bench.repository("b", lose))
    assert lost
    assert isinstance(caught.value.result_of_run.missing["b"], Corrupted)
    assert bench.backups("b") == []


def test_existing_objects_are_never_replaced(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    first = bench.backup().backup
    assert first is not None
    monkeypatch.setattr(_backup, "new_id", lambda moment, digest: first.id)
    before = {name: (bench.path / "a/c" / name).read_bytes() for name in bench.files()}
    with pytest.raises(HoldfastError):
        bench.backup()
    assert {name: (bench.path / "a/c" / name).read_bytes() for name in bench.files()} == before


def test_check_mode_writes_nothing(bench: Bench) -> None:
    result = bench.backup(check=True)
    assert result.changed
    assert list(bench.path.iterdir()) == []


def test_max_age_makes_it_idempotent_per_options_and_repository(bench: Bench) -> None:
    assert bench.backup(max_age=3600).changed
    assert not bench.backup(max_age=3600).changed
    assert len(bench.backups()) == 1
    assert bench.backup(bench.repository("a"), bench.repository("b"), max_age=3600).changed  # b has none yet
    bench.streams["more.dump"] = chunks
    assert bench.backup(max_age=3600).changed  # other options
    assert len(bench.backups()) == 3


def test_max_age_looks_at_committed_backups_only_and_needs_no_read(bench: Bench) -> None:
    def no_read(method: str, key: str, nth: int) -> None:
        if method == "read":
            raise PermissionDenied("no", right="read")

    (bench.path / "a/c/manifests").mkdir(parents=True)
    (bench.path / "a/c/manifests/foreign.json").write_text("{}")
    assert bench.backup(bench.repository(fault=no_read), max_age=3600).changed
    assert not bench.backup(bench.repository(fault=no_read), max_age=3600).changed


def test_a_young_backup_that_failed_its_verification_is_made_anew(bench: Bench) -> None:
    made = bench.backup().backup
    assert made is not None
    store = bench.repository()
    for moment, ok, changed in (("01", True, False), ("02", False, True)):
        result = Verification(made.id, "checksum", ok, f"2026-11-22T03:00:{moment}.000Z")
        store.put(result.key(), result.to_json(), hashlib.sha256(result.to_json()).digest())
        assert bench.backup(max_age=3600).changed is changed
    assert not bench.backup(max_age=3600).changed  # the new one is not known to be damaged


def test_a_backup_from_the_future_does_not_count_as_young(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_backup, "utc_now", lambda: utc_now() + timedelta(days=2))
    bench.backup()
    monkeypatch.undo()
    assert bench.backup(max_age=3600).changed


def test_two_runs_at_once_the_second_says_who_holds_it(bench: Bench) -> None:
    with host_lock(str(bench.path / "state"), "c", "backup"), pytest.raises(Locked) as caught:
        bench.backup()
    assert f"process {os.getpid()} (backup" in caught.value.message
    assert f"kill {os.getpid()}" in (caught.value.hint or "")
    assert bench.backup().changed


def test_a_lock_goes_with_its_holder(bench: Bench) -> None:
    code = (
        "import os, sys, time\n"
        "from ansible_collections.holdfast.ops.plugins.module_utils._locks import host_lock\n"
        "with host_lock(sys.argv[1], 'c', 'backup'):\n"
        "    print('held', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(bench.path / "state")], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Locked, match=f"process {holder.pid}"):
            bench.backup()
        holder.kill()
        holder.wait()
    assert bench.backup().changed


def test_a_backup_whose_size_cannot_be_noted_is_a_success_with_a_warning(bench: Bench) -> None:
    def disturb(method: str, key: str, nth: int) -> None:
        if method == "put" and key.startswith("manifests/"):
            (bench.path / "state/components/c/sizes.jsonl").mkdir(parents=True)

    result = bench.backup(bench.repository("a", disturb))
    assert len(bench.backups()) == 1
    assert any("could not be noted" in warning for warning in result.warnings)


def test_a_scratch_place_that_others_use_keeps_its_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o1777)
    me = Account("me", os.geteuid(), os.getegid(), "/")
    monkeypatch.setattr(_backup, "account", lambda name: me)
    with scratch_directory(Place("c", str(tmp_path), str(tmp_path)), "run", "me"):
        assert tmp_path.stat().st_mode & 0o7777 == 0o1777
    tmp_path.chmod(0o700)
    with scratch_directory(Place("c", str(tmp_path), str(tmp_path)), "run", "me"):
        assert tmp_path.stat().st_mode & 0o7777 == 0o711


@pytest.mark.parametrize(
    ("previous", "size", "said"),
    [
        ([], 10, None),
        ([100, 100], 1, None),  # two predecessors make no median worth the name
        ([100, 100, 100], 50, None),
        ([100, 100, 100], 49, "less than half"),
        ([100, 100, 100], 200, None),
        ([100, 100, 100], 201, "more than twice"),
        ([1, 1, 1] + [100] * 14, 99, None),  # only the last 14 count
    ],
)
def test_a_strange_size_is_a_warning(previous: list[int], size: int, said: str | None) -> None:
    sentence = size_anomaly(previous, size)
    assert (said is None) == (sentence is None)
    assert said is None or said in (sentence or "")


def test_the_anomaly_reaches_the_user_and_the_notes_survive_a_cut_line(bench: Bench) -> None:
    for _number in range(3):
        bench.backup()
    notes = bench.path / "state/components/c/sizes.jsonl"
    notes.write_text(notes.read_text() + '{"id": "cut')
    bench.streams = {"two.dump": lambda: iter([b"tiny"])}
    assert any("less than half the median" in warning for warning in bench.backup().warnings)


def test_a_path_that_is_not_utf8_survives_the_manifest(bench: Bench) -> None:
    made = bench.backup().backup
    assert made is not None
    odd = replace(made, options={"path": os.fsdecode(b"/srv/caf\xe9")}, warnings=("Umlaute: äöü",))
    assert Backup.from_json(odd.to_json()) == odd


def test_a_manifest_that_is_not_one_is_refused() -> None:
    with pytest.raises(Corrupted, match="is not a manifest"):
        Backup.from_json(b"{}")
    with pytest.raises(HoldfastError, match="has schema 99"):
        Backup.from_json(json.dumps({"schema": 99}).encode())


def test_the_version_that_manifests_name_is_the_collections(bench: Bench) -> None:
    import yaml

    galaxy = yaml.safe_load((Path(__file__).parents[2] / "galaxy.yml").read_text())
    result = bench.backup()
    assert result.backup is not None
    assert result.backup.writer == f"holdfast.ops {galaxy['version']}"
