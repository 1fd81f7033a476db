# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""File trees, again and again: only what is new is sent, every backup is whole, nothing that is gone is relied on."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyrage
import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._engines._tree import _backup
from ansible_collections.holdfast.ops.plugins.module_utils._errors import Unavailable
from ansible_collections.holdfast.ops.plugins.module_utils._manifest import PRUNE_MARKS, mark_key, utc_now
from ansible_collections.holdfast.ops.plugins.module_utils._operations._backup import DegradedBackup
from ansible_collections.holdfast.ops.plugins.module_utils._operations._restore import RestoreSettings, restore
from ansible_collections.holdfast.ops.plugins.module_utils._progress import Progress
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._interface import StoredObject
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._local import LocalRepository
from ansible_collections.holdfast.ops.plugins.module_utils._stream._codec import Encryption, Identity
from ansible_collections.holdfast.ops.tests.support.tree import NAME, TreeComponent, describe, disk, write

KIB = 1024
MIB = 1024 * KIB


@pytest.fixture
def component(tmp_path: Path) -> TreeComponent:
    """A tree of small and large files, not backed up yet."""
    component = TreeComponent(tmp_path)
    for number in range(40):
        write(component.tree / f"d{number % 4}" / f"small {number}", 10 * KIB + number)
    write(component.tree / "large", 3 * MIB)
    return component


@pytest.fixture(autouse=True)
def _times_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    """All files of a test are young, and ctime cannot be set. Where that matters, a test sets this back."""
    monkeypatch.setattr(_backup, "YOUNG", 0)


def restored(component: TreeComponent) -> dict[bytes, tuple[object, ...]]:
    """What the newest backup brings back."""
    target = component.path / "restored"
    shutil.rmtree(target, ignore_errors=True)
    component.restore(target)
    return describe(target)


def test_an_unchanged_tree_sends_no_content(component: TreeComponent) -> None:
    component.backup()
    before = component.keys()
    result = component.backup()
    assert result.blob_bytes_sent == 0 and result.details["read_bytes"] == 0
    added = component.keys() - before
    assert {key.split("/")[0] for key in added} == {"manifests", "data", "running"}
    assert restored(component) == describe(component.tree)


def test_unchanged_files_are_not_even_read(component: TreeComponent, monkeypatch: pytest.MonkeyPatch) -> None:
    component.backup()
    write(component.tree / "d1" / "new", b"new")

    def unexpected(root: object, path: str, *arguments: object) -> None:
        raise AssertionError(f"{path} is read")

    monkeypatch.setattr(_backup, "digest_large", unexpected)
    real = _backup.read_small
    seen = []
    monkeypatch.setattr(_backup, "read_small", lambda root, path, *a: (seen.append(path), real(root, path, *a))[1])
    component.backup()
    assert seen == ["d1/new"]


def test_young_files_are_read_again(component: TreeComponent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_backup, "YOUNG", 2 * 10**9)
    component.backup()
    result = component.backup()
    assert result.details["read_bytes"] > 3 * MIB, "they were written less than 2 s before they were read"
    assert result.blob_bytes_sent == 0


def test_rehash_reads_everything_and_sends_nothing(component: TreeComponent) -> None:
    component.backup()
    blobs = component.keys("blobs/")
    result = component.backup(rehash=True)
    assert result.details["read_bytes"] == sum(p.stat().st_size for p in component.tree.rglob("*") if p.is_file())
    assert component.keys("blobs/") == blobs


def test_changes_are_found_and_only_they_are_sent(component: TreeComponent) -> None:
    component.backup()
    tree = component.tree
    write(tree / "d0" / "small 0", 5 * KIB)  # another content
    same_size = tree / "d1" / "small 1"
    status = same_size.stat()
    same_size.write_bytes(os.urandom(status.st_size))
    os.utime(same_size, ns=(status.st_atime_ns, status.st_mtime_ns))  # only ctime tells
    (tree / "d2" / "small 2").unlink()
    (tree / "d3" / "small 3").rename(tree / "d0" / "moved")
    (tree / "d3" / "small 7").chmod(0o600)
    os.setxattr(tree / "d3" / "small 11", "user.x", b"1")
    shutil.rmtree(tree / "d2")
    write(tree / "new directory" / "new", b"n" * 100)
    result = component.backup()
    assert restored(component) == describe(tree)
    assert result.blob_bytes_sent < 60 * KIB


def test_one_content_is_stored_once(component: TreeComponent) -> None:
    shutil.copyfile(component.tree / "large", component.tree / "d0" / "the same")
    component.backup()
    large = [item for item in component.repositories[0].list("blobs/") if item.size > MIB]
    assert len(large) == 1
    (component.tree / "large").rename(component.tree / "d3" / "moved")
    assert component.backup().blob_bytes_sent < 20 * KIB  # the index
    assert restored(component) == describe(component.tree)


def test_a_hard_link_that_is_added(component: TreeComponent) -> None:
    component.backup()
    os.link(component.tree / "d0" / "small 0", component.tree / "d3" / "another name")
    os.link(component.tree / "large", component.tree / "d3" / "another large name")
    assert component.backup().blob_bytes_sent < 20 * KIB
    assert restored(component) == describe(component.tree)


def test_a_pack_that_is_mostly_dead_is_given_up(component: TreeComponent) -> None:
    component.backup()
    first = component.keys("blobs/")
    for number in range(30):
        (component.tree / f"d{number % 4}" / f"small {number}").unlink()
    component.backup()
    document = references(component)
    old_packs = {key for key in first if key in document} - {key for key in first if "large" in key}
    sizes = {item.key: item.size for item in component.repositories[0].list("blobs/")}
    assert [sizes[key] > MIB for key in old_packs] == [True], "of the first backup only the large file is in use"
    assert restored(component) == describe(component.tree)
    assert component.backup().blob_bytes_sent == 0


def references(component: TreeComponent, repository: int = 0) -> str:
    """The list of references of the newest backup, as text."""
    with component.reading(repository) as (_engine, run):
        artefact = run.backup.artefact("references")
        assert artefact is not None
        return run.reader.read_bytes(artefact).decode()


def test_every_backup_stays_whole(component: TreeComponent) -> None:
    states = {}
    for number in range(4):
        for name in range(number, 40, 3):
            write(component.tree / f"d{name % 4}" / f"small {name}", 12 * KIB)
        result = component.backup()
        assert result.backup is not None
        states[result.backup.id] = describe(component.tree)
    for backup_id, state in states.items():
        target = component.path / backup_id
        with component.engine(target=str(target)) as engine:
            settings = RestoreSettings(NAME, str(component.state), backup_id=backup_id)
            restore(engine, component.repositories, settings, Progress())
        assert describe(target) == state


def test_what_this_host_remembers_may_be_lost(component: TreeComponent) -> None:
    component.backup()
    shutil.rmtree(component.state)
    result = component.backup()
    assert result.blob_bytes_sent > 3 * MIB
    assert restored(component) == describe(component.tree)


def test_a_repository_that_is_added_gets_what_it_lacks(component: TreeComponent) -> None:
    component.backup()
    component.repositories.append(disk(component.path / "second", "second"))
    large = {item.key for item in component.repositories[0].list("blobs/") if item.size > MIB}
    component.backup()
    sizes = {item.key: item.size for item in component.repositories[0].list("blobs/")}
    assert {key for key, size in sizes.items() if size > MIB} == large, "the first one had the large file already"
    assert references(component, 0) != references(component, 1)

    shutil.rmtree(component.path / "disk")
    component.repositories = component.repositories[1:]
    assert restored(component) == describe(component.tree)


def test_a_blob_that_is_gone_is_stored_again(component: TreeComponent) -> None:
    component.backup()
    component.repositories[0].delete(component.keys("blobs/"))
    assert component.backup().blob_bytes_sent > 3 * MIB
    assert restored(component) == describe(component.tree)


def test_a_blob_that_is_marked_is_not_relied_on(component: TreeComponent) -> None:
    component.backup()
    repository = component.repositories[0]
    marked = component.keys("blobs/")
    for key in marked:
        repository.put(
            mark_key(key), b"{}", bytes.fromhex("44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a")
        )
    component.backup()
    assert not {key for key in marked if key in references(component)}
    repository.delete(marked)
    assert restored(component) == describe(component.tree)


class _MarkedMeanwhile(LocalRepository):
    """A prune marks every blob after this run has looked."""

    looks = 0

    def list(self, prefix: str) -> Iterator[StoredObject]:
        if prefix == PRUNE_MARKS:
            self.looks += 1
            if self.looks > 1:
                for item in super().list("blobs/"):
                    yield StoredObject(mark_key(item.key), 2, utc_now())
        yield from super().list(prefix)


def test_a_mark_that_comes_meanwhile_keeps_the_backup_from_being_committed(component: TreeComponent) -> None:
    component.backup()
    before = component.keys()
    marking = _MarkedMeanwhile("disk", {"path": str(component.path / "disk"), "prefix": NAME})
    component.repositories = [marking]
    with pytest.raises(Unavailable, match="marked for deletion"):
        component.backup()
    assert component.keys() - component.keys(PRUNE_MARKS) == before


def test_a_repository_that_is_dropped_is_said_and_the_other_is_whole(component: TreeComponent) -> None:
    marking = _MarkedMeanwhile("second", {"path": str(component.path / "second"), "prefix": NAME})
    marking.looks = 1  # where nothing is known to be, the only look is the one before the commit
    component.repositories.append(marking)
    with pytest.raises(DegradedBackup, match="second"):
        component.backup()
    assert component.keys("manifests/", 1) == set()
    assert restored(component) == describe(component.tree)


def test_excluded_files(component: TreeComponent) -> None:
    write(component.tree / "cache" / "x", b"x")
    write(component.tree / "d0" / "a.tmp", b"x")
    write(component.tree / "d0" / "keep.tmp", b"x")
    component.backup(exclude=["*.tmp", "!keep.tmp", "/cache/", "small 1*"])
    names = {os.path.basename(path) for path in restored(component)}
    assert b"keep.tmp" in names and b"a.tmp" not in names and b"cache" not in names
    assert b"small 2" in names and b"small 1" not in names and b"small 10" not in names
    component.backup()
    assert restored(component) == describe(component.tree)


def test_nothing_of_an_encrypted_tree_can_be_read_in_the_repository(tmp_path: Path) -> None:
    identity = pyrage.x25519.Identity.generate()
    secret = tmp_path / "identity"
    secret.touch(mode=0o600)
    secret.write_text(str(identity))
    encryption = Encryption("age", (str(identity.to_public()),))
    component = TreeComponent(tmp_path, encryption=encryption, identity=Identity(str(secret)))
    component.tree = tmp_path / "unmistakable-root"
    content = b"unmistakable-content " * 60_000
    large = write(component.tree / "unmistakable-name", content)
    write(component.tree / "unmistakable-small", b"unmistakable-content")
    os.mknod(component.tree / "unmistakable-socket", 0o140600)
    component.backup()
    told = [b"unmistakable", hashlib.sha256(content).hexdigest().encode()]
    for path in (tmp_path / "disk").rglob("*"):
        text = str(path).encode() + (path.read_bytes() if path.is_file() else b"")
        assert not [word for word in told if word in text], path
    manifest = json.loads(next((tmp_path / "disk").rglob("manifests/*.json")).read_bytes())
    assert manifest["references"]["count"] == 3 and manifest["fingerprint"] == "digest"

    # Other recipients must be able to read all of it: nothing that only the old ones can read is reused.
    other = pyrage.x25519.Identity.generate()
    secret.write_text(str(other))
    component.encryption = Encryption("age", (str(other.to_public()),))
    component.backup()
    component.restore(tmp_path / "restored")
    assert (tmp_path / "restored" / "unmistakable-name").read_bytes() == large.read_bytes()
