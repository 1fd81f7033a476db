# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup that is killed, interrupted or not confirmed leaves a whole one or none."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._errors import (
    DiskFull,
    Interrupted,
    Unavailable,
)
from ansible_collections.holdfast.ops.tests.support.bench import DATA, Bench
from ansible_collections.holdfast.ops.tests.support.faulty import FaultyRepository


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


KILL_SCRIPT = """
import os, signal, sys
from pathlib import Path
from ansible_collections.holdfast.ops.tests.support.bench import Bench
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
