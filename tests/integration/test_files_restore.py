# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restoring into a place that is in use: guards, choices, links that lead elsewhere, and damage in the repository."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._engines._tree import _restore
from ansible_collections.holdfast.ops.plugins.module_utils._errors import (
    Corrupted,
    DiskFull,
    NotFound,
    NotProved,
    Refused,
)
from ansible_collections.holdfast.ops.tests.support.tree import TreeComponent, describe, write

MIB = 1024 * 1024


@pytest.fixture
def component(tmp_path: Path) -> TreeComponent:
    """A tree that is backed up."""
    component = TreeComponent(tmp_path)
    for name in ("a", "d/b", "d/e/c", "d/e/-f", "g/h"):
        write(component.tree / name, f"content of {name}".encode() * 50)
    write(component.tree / "g" / "large", 20 * MIB)
    os.symlink("a", component.tree / "link")
    component.backup()
    return component


def test_replacing_needs_a_word(component: TreeComponent) -> None:
    write(component.tree / "a", b"newer")
    before = describe(component.tree)
    with pytest.raises(Refused, match="confirm is not set"):
        component.restore()
    with pytest.raises(Refused, match="names something else"):
        component.restore(confirm=component.path)
    assert describe(component.tree) == before
    plan = component.restore(check=True)
    assert plan.changed and describe(component.tree) == before
    assert any("0 new, 1 replaced" in line for line in plan.plan.summary)
    component.restore(confirm=component.tree)
    assert (component.tree / "a").read_bytes() == b"content of a" * 50


def test_adding_needs_none(component: TreeComponent) -> None:
    before = describe(component.tree)
    (component.tree / "a").unlink()
    (component.tree / "link").unlink()
    component.restore()
    after = describe(component.tree)
    assert after == before


def test_nothing_to_do_changes_nothing(component: TreeComponent) -> None:
    assert component.restore().changed is False


@pytest.mark.parametrize(
    ("existing", "changed_file", "other_inode_kept"),
    [("keep", b"newer", True), ("replace", b"content of a" * 50, False), ("if_different", b"content of a" * 50, True)],
)
def test_what_becomes_of_existing_files(
    component: TreeComponent, existing: str, changed_file: bytes, other_inode_kept: bool
) -> None:
    tree = component.tree
    write(tree / "a", b"newer")
    write(tree / "not in the backup", b"stays")
    (tree / "d" / "b").unlink()
    inode = (tree / "g" / "h").stat().st_ino
    component.restore(confirm=tree, existing=existing)
    assert (tree / "a").read_bytes() == changed_file
    assert (tree / "d" / "b").exists()
    assert (tree / "not in the backup").read_bytes() == b"stays"
    assert ((tree / "g" / "h").stat().st_ino == inode) is other_inode_kept


def test_only_attributes_differ(component: TreeComponent) -> None:
    before = describe(component.tree)
    inode = (component.tree / "a").stat().st_ino
    (component.tree / "a").chmod(0o777)
    os.setxattr(component.tree / "a", "user.added", b"1")
    (component.tree / "d").chmod(0o700)
    component.restore(confirm=component.tree)
    assert describe(component.tree) == before
    assert (component.tree / "a").stat().st_ino == inode


@pytest.mark.parametrize(
    ("include", "expected"),
    [
        (["a"], {"a"}),
        (["d/e"], {"d", "d/e", "d/e/c", "d/e/-f"}),
        (["d/e/-f", "link"], {"d", "d/e", "d/e/-f", "link"}),
        (["./d//b"], {"d", "d/b"}),
        (["ROOT/g/h"], {"g", "g/h"}),
        (["."], {"a", "d", "d/b", "d/e", "d/e/c", "d/e/-f", "g", "g/h", "g/large", "link"}),
    ],
)
def test_some_paths(component: TreeComponent, include: list[str], expected: set[str]) -> None:
    target = component.path / "restored"
    include = [path.replace("ROOT", str(component.tree)) for path in include]
    component.restore(target, include=include)
    found = {str(path.relative_to(target)) for path in target.rglob("*")}
    assert found == expected
    for name in found:
        if (target / name).is_file():
            assert (target / name).read_bytes() == (component.tree / name).read_bytes()
    before, after = describe(component.tree), describe(target)
    assert all(after[path][:4] == before[path][:4] for path in after), "directories on the way are as they were, too"


@pytest.mark.parametrize("include", ["nothing", "d/e/x", "/etc/passwd", "../a", "d/be"])
def test_a_path_that_is_not_in_the_backup(component: TreeComponent, include: str) -> None:
    with pytest.raises(NotFound, match="holds nothing at"):
        component.restore(component.path / "restored", include=["a", include])
    assert not (component.path / "restored").exists()


def test_links_in_the_target_lead_nowhere(component: TreeComponent) -> None:
    outside = component.path / "outside"
    write(outside / "b", b"not to be touched")
    write(outside / "precious", b"neither")
    target = component.path / "restored"
    target.mkdir()
    os.symlink(outside, target / "d")
    os.symlink(outside / "precious", target / "a")
    before = describe(outside)
    component.restore(target, confirm=target)
    assert describe(outside) == before
    assert not (target / "d").is_symlink() and not (target / "a").is_symlink()
    assert describe(target) == describe(component.tree)


def test_a_directory_with_something_in_it_does_not_give_way(component: TreeComponent) -> None:
    target = component.path / "restored"
    write(target / "a" / "precious", b"x")
    (target / "link").mkdir()
    before = describe(target)
    with pytest.raises(Refused, match="stands where the backup has a file: a"):
        component.restore(target, confirm=target)
    assert describe(target) == before
    (target / "a" / "precious").unlink()
    component.restore(target, confirm=target)
    assert describe(target) == describe(component.tree)


def test_a_target_that_is_a_file(component: TreeComponent) -> None:
    target = write(component.path / "restored", b"x")
    with pytest.raises(Refused, match="not a directory"):
        component.restore(target, confirm=target)
    assert target.read_bytes() == b"x"


def test_no_room(component: TreeComponent, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(component.path)
    monkeypatch.setattr(_restore.shutil, "disk_usage", lambda path: usage._replace(free=5 * MIB))
    with pytest.raises(DiskFull, match="has 5 MiB free"):
        component.restore(component.path / "restored")
    assert not (component.path / "restored").exists()


def blobs(component: TreeComponent, above: int) -> list[Path]:
    """Files of the repository's blobs with more bytes than that."""
    top = component.path / "disk" / "docs" / "blobs"
    return [path for path in top.rglob("*") if path.is_file() and path.stat().st_size > above]


@pytest.mark.parametrize("damage", ["flip", "cut", "missing"])
@pytest.mark.parametrize("size", ["large", "pack"])
def test_damage_is_found_and_leaves_nothing(component: TreeComponent, damage: str, size: str) -> None:
    large = blobs(component, MIB)
    victims = large if size == "large" else [path for path in blobs(component, 0) if path not in large]
    for path in victims:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        if damage == "missing":
            path.unlink()
        else:
            path.write_bytes(bytes(content) if damage == "flip" else bytes(content[:-1]))
    with component.reading() as (engine, run), pytest.raises(Corrupted):
        engine.verify_archive(run)
    target = component.path / "restored"
    with pytest.raises(Corrupted):
        component.restore(target)
    assert not target.exists()
    target.mkdir(mode=0o751)
    with pytest.raises(Corrupted):
        component.restore(target)
    assert os.listdir(target) == []

    write(component.tree / "a", b"newer")
    (component.tree / "g" / "large").unlink()
    before = describe(component.tree)
    with pytest.raises(Corrupted):
        component.restore(confirm=component.tree)
    after = describe(component.tree)
    assert not [path for path in after if b".holdfast" in path], "nothing half-done is left"
    assert all(after[path][5] == before[path][5] or path in (b"a", b"g/large") for path in before)


def test_what_a_killed_restore_left_is_swept(component: TreeComponent) -> None:
    write(component.tree / "d" / ".holdfast-restore-0123456789abcdef", b"half a file")
    (component.tree / "d" / "b").unlink()
    component.restore()
    assert sorted(os.listdir(component.tree / "d")) == ["b", "e"]


def test_a_difference_after_the_restore_is_told(component: TreeComponent, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else writes into the target while it is restored."""
    real = _restore.synchronise

    def interfere(fd: int) -> None:
        real(fd)
        (component.path / "restored" / "a").write_bytes(b"by somebody else")

    monkeypatch.setattr(_restore, "synchronise", interfere)
    with pytest.raises(NotProved, match=r"a: .*content") as told:
        component.restore(component.path / "restored")
    assert told.value.stage == "proof"


def test_verification_reads_everything(component: TreeComponent) -> None:
    with component.reading() as (engine, run):
        checked = engine.verify_archive(run)
    assert checked == {"entries": 11, "files": 6, "blobs": 2, "bytes": checked["bytes"]}
    assert checked["bytes"] == sum(
        p.stat().st_size for p in component.tree.rglob("*") if p.is_file() and not p.is_symlink()
    )
    proof = component.verify_restore()
    assert proof.proved and proof.level == "digest" and proof.checked == 11


@pytest.mark.parametrize("there", [True, False], ids=["empty target", "new target"])
def test_what_others_wrote_meanwhile_is_not_undone(
    component: TreeComponent, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    inner = component.tree / "closed"
    write(inner / "file", b"x")
    inner.chmod(0o500)  # what is in it can only be removed when its mode is changed first
    component.backup()
    inner.chmod(0o700)
    target = component.path / "above" / "restored"
    if there:
        target.mkdir(parents=True)

    def prove(*_arguments: object) -> None:
        write(target / "theirs", b"theirs")
        write(target / "g" / "theirs", b"theirs")
        os.rename(write(target / "new", b"theirs"), target / "a")  # under a name that is in the backup
        raise Corrupted("The proof failed.")

    monkeypatch.setattr(_restore.TreeRestore, "_prove", prove)
    with pytest.raises(Corrupted) as caught:
        component.restore(target)
    left = {str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*") if path.is_file()}
    assert left == {"theirs": b"theirs", "g/theirs": b"theirs", "a": b"theirs"}
    assert sorted(os.listdir(target)) == ["a", "g", "theirs"]
    assert str(caught.value.left_behind).endswith("could not remove: a, g, theirs")


@pytest.mark.parametrize("beside", [True, False])
def test_the_directories_that_were_made_go_while_they_are_empty(
    component: TreeComponent, monkeypatch: pytest.MonkeyPatch, beside: bool
) -> None:
    target = component.path / "above" / "between" / "restored"

    def prove(*_arguments: object) -> None:
        if beside:
            write(component.path / "above" / "theirs", b"theirs")
        raise Corrupted("The proof failed.")

    monkeypatch.setattr(_restore.TreeRestore, "_prove", prove)
    with pytest.raises(Corrupted) as caught:
        component.restore(target)
    assert caught.value.result()["left_behind"] == "nothing"
    assert not target.parent.exists()
    assert (component.path / "above").exists() == beside
