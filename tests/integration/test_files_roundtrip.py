# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""File trees there and back: whatever a file system can hold comes back as it was, told by the file system itself."""

from __future__ import annotations

import os
import shutil
import stat
import struct
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._errors import (
    InvalidOption,
    NotFound,
    PermissionDenied,
)
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._registry import open_repository
from ansible_collections.holdfast.ops.plugins.module_utils._stream._codec import Encryption, Identity
from ansible_collections.holdfast.ops.tests.support.seaweed import Credentials, SeaweedFS
from ansible_collections.holdfast.ops.tests.support.tree import NAME, TreeComponent, allocated, describe, write

MIB = 1024 * 1024
# user::rw-, user:12345:rw-, group::r--, mask::rw-, other::---
ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", *entry)
    for entry in ((1, 6, 2**32 - 1), (2, 6, 12345), (4, 4, 2**32 - 1), (16, 6, 2**32 - 1), (32, 0, 2**32 - 1))
)


def make_tree(top: Path) -> None:
    """One of everything."""
    top.mkdir()
    for name in ("plain", "with space", "-rf", "new\nline", "quo'te\"s", "ünïcode", "*", "back\\slash", "x" * 255):
        write(top / "names" / name, f"content of {name}".encode())
    write(top / "names" / os.fsdecode(b"not utf-8 \xff\xfe"), b"bytes")
    write(top / "deep" / "/".join(["d" * 60] * 8) / "file", b"deep")
    write(top / "empty", b"")
    (top / "empty directory").mkdir()
    write(top / "large" / "incompressible", 3 * MIB)
    write(top / "large" / "compressible", b"the same again and again " * 100_000)
    write(top / "just below", MIB - 1)
    write(top / "just large", MIB)
    write(top / "old", b"from before 1970", age=70 * 365 * 86400)
    os.symlink("names/plain", top / "link")
    os.symlink("/nonexistent/\xff".encode("latin-1"), os.fsencode(top / "dangling"))
    os.symlink("..", top / "up")
    for number in (1, 2):
        os.link(top / "names" / "plain", top / f"hard link {number}")
        os.link(top / "large" / "incompressible", top / "large" / f"hard link {number}")
    os.mkfifo(top / "fifo", 0o640)
    with open(top / "sparse", "wb") as stream:
        stream.seek(20 * MIB)
        stream.write(b"in the middle")
        stream.truncate(50 * MIB)
    os.truncate(write(top / "only a hole", b""), 10 * MIB)
    os.setxattr(write(top / "attributes", b"a"), "user.comment", b"\0binary\xff")
    os.setxattr(top / "empty directory", "user.on a directory", b"yes")
    modes = {"setuid": 0o4755, "setgid": 0o2755, "nothing": 0o400, "all": 0o777}
    for name, mode in modes.items():
        write(top / "modes" / name, name.encode()).chmod(mode)
    (top / "sticky").mkdir()
    (top / "sticky").chmod(0o1777)
    if os.geteuid() == 0:
        os.chown(write(top / "owned", b"by somebody"), 12345, 54321)
        os.chown(top / "link", 12345, 54321, follow_symlinks=False)
    for path in (top / "modes", top / "names", top):
        os.utime(path, ns=(10**18 + 123456789, 10**18 + 123456789))


@pytest.fixture(params=["none", "age", "gpg"])
def protection(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Encryption, Identity]:
    """Unencrypted, for a recipient, and symmetric."""
    if request.param == "age":
        import pyrage

        identity = pyrage.x25519.Identity.generate()
        secret = tmp_path / "identity"
        secret.touch(mode=0o600)
        secret.write_text(str(identity))
        return Encryption("age", (str(identity.to_public()),)), Identity(str(secret))
    if request.param == "gpg":
        if shutil.which("gpg") is None:
            pytest.skip("gpg is not installed here")
        secret = tmp_path / "passphrase"
        secret.touch(mode=0o600)
        secret.write_text("a passphrase\n")
        return Encryption("gpg", passphrase_file=str(secret)), Identity(passphrase_file=str(secret))
    return Encryption(), Identity()


def test_everything_comes_back(tmp_path: Path, protection: tuple[Encryption, Identity]) -> None:
    component = TreeComponent(tmp_path, encryption=protection[0], identity=protection[1])
    make_tree(component.tree)
    before = describe(component.tree)
    result = component.backup()
    assert result.warnings == []
    assert describe(component.tree) == before, "a backup must not change what it reads"

    restored = component.restore(tmp_path / "restored")
    assert describe(tmp_path / "restored") == before
    assert restored.proof is not None and restored.proof.proved
    assert restored.proof.checked == len(before)
    for name in ("sparse", "only a hole"):
        assert allocated(tmp_path / "restored" / name) <= allocated(component.tree / name) + 64 * 1024

    shutil.rmtree(component.tree)
    component.restore()
    assert describe(component.tree) == before
    assert component.verify_restore().proved
    assert os.listdir(component.place.scratch_dir) == []


def test_acls(tmp_path: Path) -> None:
    component = TreeComponent(tmp_path)
    path = write(component.tree / "file", b"shared")
    try:
        os.setxattr(path, "system.posix_acl_access", ACL)
        os.setxattr(component.tree, "system.posix_acl_default", ACL)
    except OSError as error:
        pytest.skip(f"no POSIX ACLs on the file system of {tmp_path}: {error.strerror}")
    write(component.tree / "inherits", b"an ACL from its directory")
    before = describe(component.tree)
    component.backup()
    component.restore(tmp_path / "restored")
    assert describe(tmp_path / "restored") == before
    assert os.getxattr(tmp_path / "restored" / "file", "system.posix_acl_access") == ACL


def test_a_device(tmp_path: Path) -> None:
    component = TreeComponent(tmp_path)
    component.tree.mkdir()
    try:
        os.mknod(component.tree / "null", stat.S_IFCHR | 0o620, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("making devices needs root")
    component.backup()
    component.restore(tmp_path / "restored")
    assert describe(tmp_path / "restored") == describe(component.tree)
    assert os.lstat(tmp_path / "restored" / "null").st_rdev == os.makedev(1, 3)


def test_sockets_are_left_out_and_said(tmp_path: Path) -> None:
    component = TreeComponent(tmp_path)
    write(component.tree / "file", b"x")
    os.mknod(component.tree / "socket", stat.S_IFSOCK | 0o600)
    result = component.backup()
    assert result.details["sockets"] == ["socket"]
    assert any("sockets" in warning for warning in result.warnings)
    component.restore(tmp_path / "restored")
    assert os.listdir(tmp_path / "restored") == ["file"]


def test_an_empty_tree(tmp_path: Path) -> None:
    component = TreeComponent(tmp_path)
    component.tree.mkdir(mode=0o750)
    component.backup()
    component.restore(tmp_path / "restored")
    assert describe(tmp_path / "restored") == describe(component.tree)


@pytest.mark.parametrize("size", [0, 100, 2 * MIB])
def test_a_single_file(tmp_path: Path, size: int) -> None:
    component = TreeComponent(tmp_path)
    write(component.tree, size).chmod(0o604)
    write(tmp_path / "a neighbour", b"is no part of it")
    result = component.backup()
    assert result.details["entries"] == 1
    component.restore(tmp_path / "copy")
    assert describe(tmp_path / "copy") == describe(component.tree)
    (tmp_path / "directory").mkdir()
    component.restore(tmp_path / "directory")  # into a directory, under its own name
    assert os.listdir(tmp_path / "directory") == ["tree"]
    assert component.backup().blob_bytes_sent == 0
    content = component.tree.read_bytes()
    component.tree.unlink()
    component.restore()
    assert component.tree.read_bytes() == content


def test_a_link_as_the_root_is_followed_and_none_below_it(tmp_path: Path) -> None:
    component = TreeComponent(tmp_path)
    write(tmp_path / "real" / "file", b"x")
    write(tmp_path / "elsewhere" / "secret", b"not ours")
    os.symlink("real", component.tree)
    os.symlink(tmp_path / "elsewhere", tmp_path / "real" / "link")
    component.backup()
    component.restore(tmp_path / "restored")
    assert describe(tmp_path / "restored") == describe(tmp_path / "real")
    assert (tmp_path / "restored" / "link").is_symlink()


def test_what_is_no_tree(tmp_path: Path) -> None:
    component = TreeComponent(tmp_path)
    with pytest.raises(NotFound, match="There is no"):
        component.backup()
    with pytest.raises(InvalidOption, match="absolute"):
        component.backup(path="tree")
    assert not component.state.exists()
    assert component.keys() == set()


def test_check_mode_tells_sizes_and_writes_nothing(tmp_path: Path) -> None:
    component = TreeComponent(tmp_path)
    write(component.tree / "file", 1000)
    result = component.backup(check=True)
    assert result.changed and result.plan.expected_bytes == result.plan.unsent_bytes == 1000
    assert not component.state.exists()
    assert not (tmp_path / "disk").exists()


def test_in_a_bucket_with_the_rights_to_put_and_list_only(tmp_path: Path, seaweed: SeaweedFS, bucket: str) -> None:
    def repository(who: Credentials) -> object:
        options = {"endpoint_url": seaweed.endpoint, "bucket": bucket, "region": seaweed.region}
        keys = {"access_key": who.access_key, "secret_key": who.secret_key}
        return open_repository({"name": "s3", "type": "s3", **options, **keys}, NAME)

    writer = TreeComponent(tmp_path, [repository(seaweed.writer)])
    make_tree(writer.tree)
    write(writer.tree / "several parts", 40 * MIB)
    before = describe(writer.tree)
    writer.backup()
    sent = writer.keys("blobs/")
    assert writer.backup().blob_bytes_sent == 0, "what is there must be known without reading it"
    assert writer.keys("blobs/") == sent
    assert seaweed.uploads(bucket) == []

    reader = TreeComponent(tmp_path, [repository(seaweed.reader)])
    reader.restore(tmp_path / "restored")
    assert describe(tmp_path / "restored") == before


def as_nobody(action: Callable[[], None]) -> None:
    """Do something in a child process without rights; it finds its modules loaded, as it may not read them."""
    import zstandard  # noqa: F401 - loaded for the child

    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            action()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


_TOP = (Path("/"), Path(tempfile.gettempdir()))


def open_to_all(path: Path) -> None:
    """Let everybody walk and read."""
    ours = [each for each in path.parents if each.stat().st_uid == os.geteuid() and each not in _TOP]
    for each in (path, *ours, *path.rglob("*")):
        if not each.is_symlink():
            each.chmod(each.stat().st_mode | (0o055 if each.is_dir() else 0o044))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_without_root_owners_are_not_restored_and_that_is_said(tmp_path: Path) -> None:
    component = TreeComponent(tmp_path)
    write(component.tree / "file", b"of root").chmod(0o644)
    component.backup()
    open_to_all(tmp_path)
    (tmp_path / "theirs").mkdir()
    for path in (tmp_path / "theirs", component.state, *component.state.rglob("*")):
        os.chown(path, 65534, 65534)

    def theirs() -> None:
        result = TreeComponent(tmp_path).restore(tmp_path / "theirs" / "restored")
        assert result.proof is not None and result.proof.proved
        assert "not restored" in result.proof.details["owners"]

    as_nobody(theirs)
    restored = tmp_path / "theirs" / "restored" / "file"
    assert restored.read_bytes() == b"of root" and restored.stat().st_uid == 65534
    assert stat.S_IMODE(restored.stat().st_mode) == 0o644


@pytest.mark.skipif(os.geteuid() != 0, reason="root can read everything: it takes somebody else to be refused")
def test_what_cannot_be_read_fails_unless_it_may_be_left_out(tmp_path: Path) -> None:
    component = TreeComponent(tmp_path)
    write(component.tree / "readable", b"x")
    secret = write(component.tree / "secret", b"y")
    write(component.tree / "closed" / "inside", b"z")
    (tmp_path / "theirs").mkdir()
    open_to_all(tmp_path)
    os.chown(tmp_path / "theirs", 65534, 65534)
    secret.chmod(0o600)
    (component.tree / "closed").chmod(0o700)

    def theirs() -> None:
        other = TreeComponent(tmp_path / "theirs")
        other.tree = component.tree
        with pytest.raises(PermissionDenied, match="2 entries of the tree cannot be read") as refused:
            other.backup()
        assert refused.value.stage == "preflight" and "'secret'" in str(refused.value)
        assert other.keys() == set()
        result = other.backup(ignore_unreadable=True)
        assert sorted(result.details["unreadable"]) == ["closed", "secret"]
        assert any("ignore_unreadable" in warning for warning in result.warnings)
        other.restore(tmp_path / "theirs" / "restored")
        assert os.listdir(tmp_path / "theirs" / "restored") == ["readable"]

    as_nobody(theirs)
