# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commit protocol: a backup exists when its manifest does, everywhere whole, or it does not exist at all."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._engines._interface import Place
from ansible_collections.holdfast.ops.plugins.module_utils._errors import (
    Corrupted,
    DiskFull,
    HoldfastError,
    Interrupted,
    Locked,
    NotFound,
    PermissionDenied,
    Refused,
    ToolFailed,
    Unavailable,
)
from ansible_collections.holdfast.ops.plugins.module_utils._locks import host_lock
from ansible_collections.holdfast.ops.plugins.module_utils._manifest import Backup, Verification, parse_time, utc_now
from ansible_collections.holdfast.ops.plugins.module_utils._operations import _backup
from ansible_collections.holdfast.ops.plugins.module_utils._operations._backup import (
    BackupResult,
    BackupSettings,
    DegradedBackup,
    backup,
    scratch_directory,
    size_anomaly,
)
from ansible_collections.holdfast.ops.plugins.module_utils._operations._restore import (
    RestoreResult,
    RestoreSettings,
    restore,
)
from ansible_collections.holdfast.ops.plugins.module_utils._process import Account
from ansible_collections.holdfast.ops.plugins.module_utils._progress import Progress
from ansible_collections.holdfast.ops.tests.support.faulty import FaultyRepository, StreamsEngine, no_fault

DATA = os.urandom(300_000)


def chunks() -> Iterator[bytes]:
    for start in range(0, len(DATA), 50_000):
        yield DATA[start : start + 50_000]


class Bench:
    """One component, its repositories, and what really lies in them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.streams: dict[str, Any] = {"one.dump": chunks, "two.dump": lambda: iter([b"small"])}

    def engine(self, **options: Any) -> StreamsEngine:
        return StreamsEngine(
            {"streams": self.streams, **options}, Place("c", str(self.path / "state"), str(self.path / "scratch"))
        )

    def repository(self, name: str = "a", fault: Any = no_fault, **attributes: Any) -> FaultyRepository:
        return FaultyRepository(name, str(self.path / name), fault, **attributes)

    def backup(self, *stores: FaultyRepository, **settings: Any) -> BackupResult:
        return backup(
            self.engine(),
            stores or [self.repository()],
            BackupSettings("c", str(self.path / "state"), **settings),
            Progress(),
        )

    def restore(
        self, *stores: FaultyRepository, target: dict[str, bytes], live: Any = None, **settings: Any
    ) -> RestoreResult:
        return restore(
            self.engine(target=target, live=live),
            stores or [self.repository()],
            RestoreSettings("c", str(self.path / "state"), **settings),
            Progress(),
        )

    def files(self, name: str = "a") -> list[str]:
        top = self.path / name / "c"
        return sorted(str(p.relative_to(top)) for p in top.rglob("*") if p.is_file())

    def backups(self, name: str = "a") -> list[Backup]:
        """What exists, proved from the files themselves: every committed backup's objects are there, whole."""
        found = []
        for path in sorted((self.path / name / "c/manifests").glob("*.json")):
            one = Backup.from_json(path.read_bytes())
            for part in one.objects():
                raw = (self.path / name / "c" / part.key).read_bytes()
                assert len(raw) == part.size
                assert hashlib.sha256(raw).hexdigest() == part.sha256
            found.append(one)
        return found


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


KILL_SCRIPT = """
import os, signal, sys
from pathlib import Path
from ansible_collections.holdfast.ops.tests.unit.test_backup import Bench
bench = Bench(Path(sys.argv[1]))
seen = 0
def kill(method, key, nth):
    global seen
    seen += 1
    if seen == int(sys.argv[2]):
        os.kill(os.getpid(), getattr(signal, sys.argv[3]))
bench.backup(bench.repository(fault=kill))
print("finished", seen)
"""


def test_killed_at_any_call_it_leaves_a_whole_backup_or_none(bench: Bench) -> None:
    committed = 0
    for call in range(1, 40):
        done = subprocess.run(
            [sys.executable, "-c", KILL_SCRIPT, str(bench.path), str(call), "SIGKILL"],
            capture_output=True,
            text=True,
            check=False,
        )
        found = len(bench.backups())  # every manifest's objects are hashed here
        assert found in (committed, committed + 1)
        committed = found
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
    else:
        pytest.fail("the run never finished")
    assert call > 8  # it was killed at many different places
    assert committed == 1  # only the run that was not killed: the manifest is the very last thing written
    assert bench.backup().changed


def test_interrupted_it_undoes_what_it_stored(bench: Bench) -> None:
    def stop() -> Iterator[bytes]:
        yield DATA
        raise Interrupted("Stopped by SIGTERM.")

    bench.streams["three.dump"] = stop
    with pytest.raises(Interrupted):
        bench.backup()
    assert bench.files() == []


def test_interrupted_between_two_commits_it_keeps_the_one_that_exists(bench: Bench) -> None:
    def stop(method: str, key: str, nth: int) -> None:
        if method == "put" and key.startswith("manifests/"):
            raise Interrupted("Stopped by SIGTERM.")

    with pytest.raises(Interrupted) as caught:
        bench.backup(bench.repository("a"), bench.repository("b", stop))
    (kept,) = bench.backups("a")  # its objects are hashed there
    assert bench.backups("b") == []
    assert kept.id in caught.value.result()["left_behind"]


def test_a_manifest_whose_confirmation_is_lost_keeps_what_it_names(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = FaultyRepository.put

    def put(self: FaultyRepository, key: str, data: Any, sha256: bytes) -> None:
        real(self, key, data, sha256)
        if key.startswith("manifests/"):
            raise Unavailable("The connection broke before the answer came.")

    monkeypatch.setattr(FaultyRepository, "put", put)
    with pytest.raises(Unavailable) as caught:
        bench.backup()
    (kept,) = bench.backups()
    assert kept.id in caught.value.result()["left_behind"]


def test_a_manifest_that_is_refused_leaves_nothing(bench: Bench) -> None:
    def full(method: str, key: str, nth: int) -> None:
        if method == "put" and key.startswith("manifests/"):
            raise DiskFull("a is full")

    with pytest.raises(DiskFull):
        bench.backup(bench.repository("a", full))
    assert bench.files() == []


@pytest.mark.parametrize("at", ["running", "data", "SHA256SUMS"])
def test_a_signal_is_not_taken_for_the_failure_of_one_repository(bench: Bench, at: str) -> None:
    def stop(method: str, key: str, nth: int) -> None:
        if threading.current_thread() is threading.main_thread() and at in key:
            raise Interrupted("Stopped by SIGTERM.")

    with pytest.raises(Interrupted):
        bench.backup(bench.repository("a", stop), bench.repository("b"))
    assert bench.backups("a") == bench.backups("b") == []


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


class TestRestore:
    def test_the_latest_is_the_newest_of_all_repositories(self, bench: Bench) -> None:
        bench.backup(bench.repository("a"), bench.repository("b"))
        bench.streams["two.dump"] = lambda: iter([b"newer"])
        newer = bench.backup(bench.repository("b")).backup  # as after a degraded run
        assert newer is not None
        target: dict[str, bytes] = {}
        result = bench.restore(bench.repository("a"), bench.repository("b"), target=target)
        assert (result.backup.id, result.repository) == (newer.id, "b")
        assert target["two.dump.zst"] == b"newer"
        assert bench.restore(bench.repository("b"), bench.repository("a"), target=target).warnings == []

    def test_a_repository_that_is_passed_over_is_named(self, bench: Bench) -> None:
        bench.backup(bench.repository("b"))

        def down(method: str, key: str, nth: int) -> None:
            raise Unavailable("a does not answer.")

        result = bench.restore(bench.repository("a", down), bench.repository("b"), target={})
        assert result.repository == "b"
        assert any("a was passed over: a does not answer." in warning for warning in result.warnings)

    def test_a_signal_does_not_send_it_to_the_next_repository(self, bench: Bench) -> None:
        bench.backup(bench.repository("a"), bench.repository("b"))

        def stop(method: str, key: str, nth: int) -> None:
            raise Interrupted("Stopped by SIGINT.")

        target: dict[str, bytes] = {}
        with pytest.raises(Interrupted):
            bench.restore(bench.repository("a", stop), bench.repository("b"), target=target)
        assert target == {}

    def test_it_is_refused_without_naming_what_is_replaced(self, bench: Bench) -> None:
        bench.backup()
        target: dict[str, bytes] = {}
        for confirm in (None, "other"):
            with pytest.raises(Refused, match="'shop' is live"):
                bench.restore(target=target, live="shop", confirm=confirm)
        assert target == {}
        assert bench.restore(target=target, live="shop", confirm="shop").changed
        assert target

    def test_check_mode_restores_nothing(self, bench: Bench) -> None:
        bench.backup()
        target: dict[str, bytes] = {}
        assert bench.restore(target=target, live="shop", check=True).changed
        assert target == {}

    def test_by_id_latest_and_time(self, bench: Bench) -> None:
        ids = []
        for number in range(3):
            bench.streams["two.dump"] = lambda number=number: iter([b"%d" % number])
            result = bench.backup()
            assert result.backup is not None
            ids.append(result.backup.id)
        target: dict[str, bytes] = {}
        assert bench.restore(target=target).backup.id == ids[2]
        assert target["two.dump.zst"] == b"2"
        assert bench.restore(target=target, backup_id=ids[0]).backup.id == ids[0]
        assert target["two.dump.zst"] == b"0"
        moment = parse_time(bench.backups()[1].started_at)
        assert bench.restore(target=target, at=moment).backup.id == ids[1]
        with pytest.raises(NotFound, match="no committed backup"):
            bench.restore(target=target, at=moment - timedelta(days=1))
        with pytest.raises(NotFound, match="There is no backup 20000101"):
            bench.restore(target=target, backup_id="20000101T000000.000Z-000000000000")

    def test_the_next_repository_serves_when_the_first_cannot(self, bench: Bench) -> None:
        bench.backup(bench.repository("a"), bench.repository("b"))
        for path in (bench.path / "a/c/manifests").iterdir():
            path.unlink()
        target: dict[str, bytes] = {}
        assert bench.restore(bench.repository("a"), bench.repository("b"), target=target).repository == "b"
        assert target["one.dump.zst"] == DATA


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
