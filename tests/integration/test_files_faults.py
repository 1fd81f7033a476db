# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Trees that do not hold still, stores that fail, processes that die: what is committed is whole, the rest is said."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._engines._tree import _backup, _read
from ansible_collections.holdfast.ops.plugins.module_utils._errors import DiskFull, HoldfastError
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._registry import open_repository
from ansible_collections.holdfast.ops.tests.support.proxy import Faults, FaultyProxy
from ansible_collections.holdfast.ops.tests.support.seaweed import SeaweedFS
from ansible_collections.holdfast.ops.tests.support.tree import NAME, TreeComponent, describe, disk, write

MIB = 1024 * 1024


@pytest.fixture
def component(tmp_path: Path) -> TreeComponent:
    """A tree with a small file and one of several parts."""
    component = TreeComponent(tmp_path)
    write(component.tree / "small", 5000)
    write(component.tree / "large", 40 * MIB)
    return component


def unfinished(component: TreeComponent) -> list[Path]:
    """Uploads that were neither completed nor aborted."""
    return list((component.path / "disk").rglob(".incomplete/*"))


Touch = Callable[[int], None]


@pytest.fixture
def while_reading(monkeypatch: pytest.MonkeyPatch) -> Callable[[Touch], None]:
    """Has something done each time that a file has been read half; it gets the number of that time, from 1."""

    def arrange(touch: Touch) -> None:
        real = _read._ranges
        times = [0]

        def ranges(fd: int, size: int) -> Iterator[bytes]:
            times[0] += 1
            done = 0
            for chunk in real(fd, size):
                before, done = done, done + len(chunk)
                yield chunk
                if before < size / 2 <= done:
                    touch(times[0])

        monkeypatch.setattr(_read, "_ranges", ranges)

    return arrange


def test_a_large_file_that_changes_after_it_was_hashed(
    component: TreeComponent, while_reading: Callable[[Touch], None]
) -> None:
    (component.tree / "small").unlink()

    def touch(number: int) -> None:
        if number == 2:  # the first time it is hashed, the second time it is sent
            write(component.tree / "large", 40 * MIB, age=100)

    while_reading(touch)
    result = component.backup()
    assert "changed" not in result.details, "it held still when it was read again"
    assert unfinished(component) == []
    assert len(component.keys("blobs/")) == 2, "the file and the index; nothing of the first content"
    component.restore(component.path / "restored")
    assert describe(component.path / "restored") == describe(component.tree)


@pytest.mark.parametrize("name", ["small", "large"])
def test_a_file_that_never_holds_still(
    component: TreeComponent, while_reading: Callable[[Touch], None], name: str
) -> None:
    with open(component.tree / name, "r+b") as stream:

        def touch(number: int) -> None:
            os.pwrite(stream.fileno(), os.urandom(1000), 100)

        while_reading(touch)
        result = component.backup()
    assert result.details["changed"] == [name]
    assert any("changed while they were read" in warning for warning in result.warnings)
    restored = component.restore(component.path / "restored")
    assert restored.proof is not None and restored.proof.proved, "what was stored is what the index says"
    assert (component.path / "restored" / name).stat().st_size == (component.tree / name).stat().st_size
    assert unfinished(component) == []


def test_a_log_that_grows(component: TreeComponent, while_reading: Callable[[Touch], None]) -> None:
    start = (component.tree / "large").read_bytes()
    with open(component.tree / "large", "ab", buffering=0) as stream:
        while_reading(lambda number: stream.write(b"one more line\n"))
        result = component.backup()
    assert result.details["changed"] == ["large"]
    component.restore(component.path / "restored")
    stored = (component.path / "restored" / "large").read_bytes()
    assert stored.startswith(start) and (component.tree / "large").read_bytes().startswith(stored)


@pytest.mark.parametrize("becomes", ["nothing", "link", "fifo", "directory"])
@pytest.mark.parametrize("name", ["small", "large"])
def test_a_file_that_vanishes_or_becomes_something_else(
    component: TreeComponent, monkeypatch: pytest.MonkeyPatch, name: str, becomes: str
) -> None:
    write(component.path / "secret", b"not ours")
    real = _read.opened

    @contextlib.contextmanager
    def opened(root: object, path: str, seen: os.stat_result) -> Iterator[object]:
        if path == name:
            victim = component.tree / name
            with contextlib.suppress(FileNotFoundError, IsADirectoryError):
                victim.unlink()
                if becomes == "link":
                    victim.symlink_to(component.path / "secret")
                elif becomes == "fifo":
                    os.mkfifo(victim)
                elif becomes == "directory":
                    victim.mkdir()
        with real(root, path, seen) as found:
            yield found

    monkeypatch.setattr(_read, "opened", opened)
    result = component.backup()
    assert result.details["vanished"] == [name]
    component.restore(component.path / "restored")
    assert sorted(os.listdir(component.path / "restored")) == sorted({"small", "large"} - {name})


def test_a_directory_that_vanishes(component: TreeComponent, monkeypatch: pytest.MonkeyPatch) -> None:
    write(component.tree / "gone" / "file", b"x")
    real = os.open

    def open_(path: object, *arguments: object, **options: object) -> int:
        if path == "gone":
            (component.tree / "gone" / "file").unlink(missing_ok=True)
            with contextlib.suppress(FileNotFoundError):
                (component.tree / "gone").rmdir()
        return real(path, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(_backup.os, "open", open_)
    component.backup()
    monkeypatch.undo()
    component.restore(component.path / "restored")
    assert sorted(os.listdir(component.path / "restored")) == ["large", "small"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    place = tmp_path / "small disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_repository(component: TreeComponent, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ansible_collections.holdfast.ops.plugins.module_utils._repositories import _local

    full = disk(small_disk)
    component.repositories = [full]
    with pytest.raises(DiskFull) as refused:
        component.backup()
    assert refused.value.stage == "preflight"
    monkeypatch.setattr(_local, "RESERVE", -(10**9))  # as if the room had been there and went meanwhile
    with pytest.raises(DiskFull, match="is full"):
        component.backup()
    assert component.keys() == set()
    assert not [path for path in small_disk.rglob("*") if path.is_file()]

    component.repositories = [full, disk(component.path / "disk", "other")]
    with pytest.raises(HoldfastError, match="full") as degraded:
        component.backup()
    assert degraded.value.code == "degraded"
    component.repositories = component.repositories[1:]
    component.restore(component.path / "restored")
    assert describe(component.path / "restored") == describe(component.tree)


def test_one_file_system(component: TreeComponent, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a file system needs root")
    inner = component.tree / "mounted"
    inner.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(inner)], capture_output=True, check=False).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        write(inner / "file", b"x")
        component.backup(one_file_system=True)
        component.restore(component.path / "restored")
        assert os.listdir(component.path / "restored" / "mounted") == []
        component.backup()
        component.restore(component.path / "both")
        assert os.listdir(component.path / "both" / "mounted") == ["file"]
    finally:
        subprocess.run(["umount", "-l", str(inner)], check=True)


def test_a_store_that_goes_away_and_comes_back(tmp_path: Path, seaweed: SeaweedFS, bucket: str) -> None:
    with FaultyProxy.before(seaweed.endpoint, Faults(cut_after=30 * MIB)) as proxy:

        def repository(endpoint: str) -> object:
            keys = {"access_key": seaweed.admin.access_key, "secret_key": seaweed.admin.secret_key}
            options = {"endpoint_url": endpoint, "bucket": bucket, "region": seaweed.region, "retries": 0}
            return open_repository({"name": "s3", "type": "s3", "read_timeout": 3, **options, **keys}, NAME)

        component = TreeComponent(tmp_path, [repository(proxy.endpoint)])
        write(component.tree / "large", 60 * MIB)
        with pytest.raises(HoldfastError):
            component.backup()
        component.repositories = [repository(seaweed.endpoint)]
        assert component.keys("manifests/") == set()
        component.backup()
        component.restore(tmp_path / "restored")
        assert describe(tmp_path / "restored") == describe(component.tree)


SCRIPT = """
import sys
from pathlib import Path
from ansible_collections.holdfast.ops.tests.support.tree import TreeComponent
print("ready", flush=True)
TreeComponent(Path(sys.argv[1])).backup()
print("done", flush=True)
"""


def test_killed_at_any_moment(tmp_path: Path) -> None:
    component = TreeComponent(tmp_path)
    for number in range(6):
        write(component.tree / f"large {number}", 20 * MIB)
        for small in range(100):
            write(component.tree / f"d{number}" / f"small {small}", 3000)
    killed = 0
    for delay in (0.05, 0.15, 0.3, 0.5):
        process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        time.sleep(delay)  # not to wait for something: the moment is what is tried
        process.send_signal(signal.SIGKILL)
        killed += process.stdout.read() == ""
        process.wait()
        process.stdout.close()
        if component.keys("manifests/"):
            break
        with pytest.raises(HoldfastError):
            component.restore(tmp_path / "phantom")
    assert killed, "every run was done before it was killed"
    component.backup()
    component.restore(tmp_path / "restored")
    assert describe(tmp_path / "restored") == describe(component.tree)
    assert component.verify_restore().proved


def test_a_term_leaves_nothing(tmp_path: Path) -> None:
    component = TreeComponent(tmp_path)
    write(component.tree / "large", 100 * MIB)
    script = SCRIPT.replace(
        "import sys\n", "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    deadline = time.monotonic() + 30
    while not unfinished(component) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.terminate()
    assert process.wait(30) == 7
    process.stdout.close()
    assert component.keys() == set() and unfinished(component) == []
