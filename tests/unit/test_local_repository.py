# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The local repository against the real file system: private, durable, exclusive, and honest about its limits."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._errors import (
    AlreadyExists,
    Corrupted,
    DiskFull,
    InvalidOption,
    NotFound,
    PermissionDenied,
)
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._interface import PartSum
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._local import INCOMPLETE, LocalRepository
from ansible_collections.holdfast.ops.tests.support.disks import NEEDS_ROOT, is_root, small_disk
from hypothesis import given, settings
from hypothesis import strategies as st


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def put(store: LocalRepository, key: str, data: bytes) -> None:
    store.put(key, data, sha(data))


@pytest.fixture
def store(tmp_path: Path) -> LocalRepository:
    return LocalRepository("disk", {"path": str(tmp_path / "repo"), "prefix": "shop"})


def test_an_object_is_a_file_of_its_name(store: LocalRepository, tmp_path: Path) -> None:
    put(store, "data/a/x", b"hello")
    path = tmp_path / "repo/shop/data/a/x"
    assert path.read_bytes() == b"hello"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert store.read("data/a/x") == b"hello"
    assert store.read("data/a/x", 1, 3) == b"ell"
    assert store.read("data/a/x", 3, 100) == b"lo"
    assert store.read("data/a/x", 100, 1) == b""


def test_nothing_is_ever_replaced(store: LocalRepository) -> None:
    put(store, "x", b"first")
    with pytest.raises(AlreadyExists):
        put(store, "x", b"second")
    assert store.read("x") == b"first"


def test_of_many_racers_one_wins(store: LocalRepository) -> None:
    start, results = threading.Barrier(12), []

    def race(number: int) -> None:
        start.wait()
        try:
            put(store, "x", b"%02d" % number)
            results.append(number)
        except AlreadyExists:
            pass

    threads = [threading.Thread(target=race, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 1
    assert store.read("x") == b"%02d" % results[0]


def test_parts_may_come_in_any_order_and_nothing_shows_before_the_end(store: LocalRepository) -> None:
    store.part_size = 4
    upload = store.begin("x")
    upload.write_part(3, b"z", sha(b"z"))
    upload.write_part(1, b"aaaa", sha(b"aaaa"))
    assert list(store.list("")) == []
    with pytest.raises(NotFound):
        store.read("x")
    upload.write_part(2, bytearray(b"bbbb"), sha(b"bbbb"))
    upload.complete([PartSum(1, 4, b""), PartSum(2, 4, b""), PartSum(3, 1, b"")])
    assert store.read("x") == b"aaaabbbbz"


def test_an_upload_that_is_short_or_given_up_leaves_nothing(store: LocalRepository, tmp_path: Path) -> None:
    store.part_size = 4
    upload = store.begin("x")
    upload.write_part(1, b"aaaa", sha(b"aaaa"))
    with pytest.raises(Corrupted, match="4 bytes were written of 8"):
        upload.complete([PartSum(1, 4, b""), PartSum(2, 4, b"")])
    upload.abort()
    upload.abort()
    assert [path for path in (tmp_path / "repo").rglob("*") if path.is_file()] == []


def test_a_signal_right_after_the_file_was_made_leaves_nothing(
    store: LocalRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def interrupted(path: str, flags: int, *more: int, **how: int) -> int:
        descriptor = real(path, flags, *more, **how)
        if flags & os.O_EXCL:
            os.close(descriptor)
            raise KeyboardInterrupt
        return descriptor

    monkeypatch.setattr(os, "open", interrupted)
    with pytest.raises(KeyboardInterrupt):
        put(store, "x", b"1")
    monkeypatch.undo()
    assert [path for path in (tmp_path / "repo").rglob("*") if path.is_file()] == []


def test_what_a_killed_process_left_is_swept_by_age(store: LocalRepository, tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "from ansible_collections.holdfast.ops.plugins.module_utils._repositories._local import LocalRepository\n"
        "upload = LocalRepository('disk', {'path': sys.argv[1], 'prefix': 'shop'}).begin('data/x')\n"
        "upload.write_part(1, b'half', b'')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "repo")], check=False)
    (left,) = (tmp_path / "repo/shop" / INCOMPLETE).iterdir()
    assert list(store.list("")) == []
    now = datetime.now(timezone.utc)
    assert list(store.sweep_uploads("", now - timedelta(hours=1))) == []
    assert left.exists()
    assert len(store.sweep_uploads("", now + timedelta(seconds=1))) == 1
    assert not left.exists()


@settings(max_examples=30, deadline=None)
@given(st.sets(st.from_regex(r"[ab.-]{1,3}(/[ab.-]{1,3}){0,2}", fullmatch=True), max_size=8), st.data())
def test_a_listing_has_every_key_once_in_key_order(
    tmp_path_factory: pytest.TempPathFactory, keys: set[str], data: st.DataObject
) -> None:
    store = LocalRepository("disk", {"path": str(tmp_path_factory.mktemp("list"))})
    made = []
    for key in sorted(keys):
        parts = key.split("/")
        if {"..", "."} & set(parts) or any(
            other.startswith(key + "/") or key.startswith(other + "/") for other in made
        ):
            continue
        put(store, key, b"1")
        made.append(key)
    prefix = data.draw(st.sampled_from(["", "a", "b/", *[key[: len(key) // 2] for key in made]]))
    assert [item.key for item in store.list(prefix)] == sorted(key for key in made if key.startswith(prefix))


def test_deleting_takes_empty_directories_along_and_forgives_what_is_gone(
    store: LocalRepository, tmp_path: Path
) -> None:
    put(store, "data/1/x", b"1")
    put(store, "data/2/x", b"2")
    store.delete(["data/1/x", "data/1/never-was"])
    assert not (tmp_path / "repo/shop/data/1").exists()
    assert store.read("data/2/x") == b"2"


def test_a_key_cannot_leave_the_repository(store: LocalRepository) -> None:
    for key in ("../x", "/etc/x", "a/../../x"):
        with pytest.raises(InvalidOption):
            put(store, key, b"1")
        with pytest.raises(InvalidOption):
            store.read(key)


def test_the_lease_changes_hands_only_as_expected(store: LocalRepository) -> None:
    assert store.read_token("lease") is None
    token = store.replace("lease", b"one", None)
    for stale in (None, "wrong"):
        with pytest.raises(AlreadyExists):
            store.replace("lease", b"two", stale)
    assert store.read_token("lease") == (b"one", token)
    second = store.replace("lease", b"two", token)
    assert store.read_token("lease") == (b"two", second)


class TestProbe:
    def test_it_creates_nothing_in_check_mode(self, store: LocalRepository, tmp_path: Path) -> None:
        report = store.probe(("write", "list"), write=False)
        assert report.rights == {"write": True, "list": True}
        assert not (tmp_path / "repo").exists()

    def test_too_little_room_is_told_before_anything_is_written(self, store: LocalRepository, tmp_path: Path) -> None:
        with pytest.raises(DiskFull, match="this needs about"):
            store.probe(("write",), expected_bytes=1 << 60)
        assert not (tmp_path / "repo").exists()

    def test_a_file_in_the_way(self, tmp_path: Path) -> None:
        (tmp_path / "repo").write_text("")
        with pytest.raises(NotFound, match="is not a directory"):
            LocalRepository("disk", {"path": str(tmp_path / "repo")}).probe(("write",))

    def test_a_relative_path_is_refused(self) -> None:
        with pytest.raises(InvalidOption, match="absolute path"):
            LocalRepository("disk", {"path": "here"})


def as_nobody(action: Callable[[], object]) -> str:
    """What an action says in a child that has no rights of root's: `allowed`, or the right that it lacks."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # the child never returns: whatever happens, it tells and ends
        said = "allowed"
        try:
            if is_root():
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            action()
        except PermissionDenied as error:
            said = f"{error.right}: {error}"
        except BaseException as error:
            said = repr(error)
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    with open(reader, encoding="utf-8") as stream:
        said = stream.read()
    os.waitpid(child, 0)
    return said


@pytest.mark.parametrize("action", ["write", "probe", "delete", "list", "read"])
def test_each_missing_right_is_told_apart(action: str) -> None:
    with tempfile.TemporaryDirectory() as top:
        Path(top).chmod(0o755)
        repository = Path(top, "repo")
        (repository / "data").mkdir(parents=True)
        (repository / "data/x").write_text("1")
        (repository / "data/x").chmod(0o000 if action == "read" else 0o644)
        mode = 0o311 if action == "list" else 0o555
        for path in (repository / "data", repository):
            path.chmod(mode)
        store = LocalRepository("disk", {"path": str(repository)})
        said = as_nobody(
            {
                "write": lambda: put(store, "new/x", b"1"),
                "probe": lambda: store.probe(("write", "list")),
                "read": lambda: store.read("data/x"),
                "list": lambda: list(store.list("data/")),
                "delete": lambda: store.delete(["data/x"]),
            }[action]
        )
        for path in (repository, repository / "data"):
            path.chmod(0o755)
    right = "write" if action == "probe" else action
    assert said.startswith(f"{right}: The repository disk: no permission to {right}")


@pytest.mark.privileged
@pytest.mark.skipif(not is_root(), reason=NEEDS_ROOT)
class TestFullDisk:
    def test_it_is_told_as_such_and_nothing_half_written_stays(self, tmp_path: Path) -> None:
        with small_disk(tmp_path / "disk") as disk:
            store = LocalRepository("disk", {"path": str(disk)})
            put(store, "kept", b"k" * 1000)
            upload = store.begin("big")
            block = os.urandom(1 << 20)
            with pytest.raises(DiskFull, match="The repository disk is full"):
                for number in range(20):
                    upload.write_part(number + 1, block, sha(block))
            upload.abort()
            files = [path.name for path in disk.rglob("*") if path.is_file()]
            assert files == ["kept"]
            put(store, "after", b"there is room again")
