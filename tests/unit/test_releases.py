# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection on a host: packed the same each time, proved when unpacked, switched in one step, the last kept."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from pathlib import Path

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._errors import Corrupted, InvalidOption, NotFound, Refused
from ansible_collections.holdfast.ops.plugins.module_utils._host._releases import COLLECTION, Release, delete, present
from ansible_collections.holdfast.ops.plugins.plugin_utils._pack import Packed, collection_directory, pack


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A small collection, with what a checkout has beside it."""
    directory = tmp_path / "source"
    for path, text in {
        "galaxy.yml": "version: 1.2.3\n",
        "meta/runtime.yml": "{}\n",
        "plugins/modules/one.py": "one = 1\n",
        "plugins/modules/__pycache__/one.cpython-311.pyc": "cache",
        "plugins/modules/.one.py.swp": "editor",
        "roles/agent/tasks/main.yml": "[]\n",
        "playbooks/site.yml": "[]\n",
        "tests/test_one.py": "no",
        "docs/one.md": "no",
    }.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(text)
    return directory


class Host:
    """A host's /opt/holdfast, and releases of packed collections on it."""

    def __init__(self, root: Path) -> None:
        self.collections, self.current = root / "collections", root / "current"
        self.root = root

    def release(self, packed: Packed) -> Release:
        return Release(str(self.collections), str(self.current), packed.version, packed.digest)

    def install(self, packed: Packed) -> list[str]:
        """As the module does it; what there was to do."""
        release = self.release(packed)
        steps = release.plan()
        archive = self.root / "archive"
        archive.write_bytes(packed.data)
        if not release.is_complete:
            release.unpack(str(archive))
        if release.in_use != release.path:
            release.switch()
        archive.unlink()
        return steps

    @property
    def names(self) -> list[str]:
        return sorted(path.name for path in self.collections.iterdir())

    def file(self, path: str) -> Path:
        return self.current / COLLECTION / path


@pytest.fixture
def host(tmp_path: Path) -> Host:
    root = tmp_path / "opt"
    root.mkdir()
    return Host(root)


def changed(source: Path, text: str) -> Packed:
    (source / "plugins/modules/one.py").write_text(text)
    return pack(source)


def test_the_same_content_gives_the_same_bytes_whoever_packs_it_and_when(source: Path, tmp_path: Path) -> None:
    first = pack(source)
    copy = shutil.copytree(source, tmp_path / "elsewhere")
    for path in copy.rglob("*"):
        os.utime(path, (1, 1))
        path.chmod(0o700)
    assert pack(copy) == first
    assert first.version == "1.2.3"
    other = changed(source, "one = 2\n")
    assert other.digest != first.digest


def test_only_what_a_host_needs_is_packed(source: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(pack(source).data)) as archive:
        assert archive.getnames() == [
            "galaxy.yml",
            "meta/runtime.yml",
            "playbooks/site.yml",
            "plugins/modules/one.py",
            "roles/agent/tasks/main.yml",
        ]


def test_an_installed_collection_says_its_version_too(source: Path) -> None:
    (source / "galaxy.yml").unlink()
    with pytest.raises(NotFound):
        pack(source)
    (source / "MANIFEST.json").write_text('{"collection_info": {"version": "2.0.0"}}')
    assert pack(source).version == "2.0.0"


def test_this_very_collection_holds_what_a_host_runs() -> None:
    with tarfile.open(fileobj=io.BytesIO(pack(collection_directory()).data)) as archive:
        names = set(archive.getnames())
    assert {
        "playbooks/restore.yml",
        "plugins/module_utils/_host/_main.py",
        "plugins/action/component.py",
        "plugins/callback/plain.py",
        "meta/runtime.yml",
    } <= names
    assert not [name for name in names if name.startswith(("tests/", "docs/", ".")) or "__pycache__" in name]


def test_a_release_is_unpacked_once_and_in_use(host: Host, source: Path) -> None:
    packed = pack(source)
    assert len(host.install(packed)) == 2
    assert host.file("plugins/modules/one.py").read_text() == "one = 1\n"
    assert os.readlink(host.current) == f"collections/1.2.3-{packed.digest[:16]}"
    assert host.release(packed).plan() == []
    # What an interpreter leaves there is no change.
    (host.file("plugins/modules/__pycache__") / "more.pyc").write_text("cache")
    assert host.release(packed).plan() == []


def test_the_release_before_stays_and_older_ones_go(host: Host, source: Path) -> None:
    first, second, third = (changed(source, f"one = {number}\n") for number in (1, 2, 3))
    host.install(first)
    host.install(second)
    assert host.names == sorted(host.release(each).name for each in (first, second))
    steps = host.install(third)
    assert f"remove {host.release(first).path}" in steps
    assert host.names == sorted(host.release(each).name for each in (second, third))
    assert host.file("plugins/modules/one.py").read_text() == "one = 3\n"
    # Back again: it is still there, so there is only a link to set.
    assert host.install(second) == [f"switch {host.current} to it"]
    assert host.names == sorted(host.release(each).name for each in (second, third))


def test_a_run_that_began_before_the_switch_keeps_its_release(host: Host, source: Path) -> None:
    host.install(pack(source))
    begun = Path(os.path.realpath(host.current)) / COLLECTION
    host.install(changed(source, "one = 2\n"))
    assert (begun / "plugins/modules/one.py").read_text() == "one = 1\n"


@pytest.mark.parametrize("damage", ["change", "remove", "add", "link"])
def test_a_release_that_was_changed_on_the_host_is_put_right(host: Host, source: Path, damage: str) -> None:
    packed = pack(source)
    host.install(packed)
    file = host.file("plugins/modules/one.py")
    if damage == "add":
        file.with_name("two.py").write_text("two = 2\n")
    else:
        file.unlink()
        if damage == "change":
            file.write_text("one = 'mine'\n")
        if damage == "link":
            file.symlink_to("/etc/passwd")
    assert host.install(packed) == [f"unpack {host.release(packed).path}"]
    assert host.file("plugins/modules/one.py").read_text() == "one = 1\n"
    assert host.release(packed).plan() == []


def test_an_archive_that_is_not_what_was_packed_is_refused(host: Host, source: Path, tmp_path: Path) -> None:
    packed = pack(source)
    host.install(packed)
    other = changed(source, "one = 2\n")
    archive = tmp_path / "archive"
    archive.write_bytes(packed.data)
    with pytest.raises(Corrupted, match="is not what the controller packed"):
        host.release(other).unpack(str(archive))
    assert host.names == [host.release(packed).name]
    assert host.release(packed).plan() == []


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside-of-holdfast", "plugins/../../../../../outside"])
def test_an_archive_writes_nowhere_else(host: Host, tmp_path: Path, name: str) -> None:
    archive = tmp_path / "archive"
    with tarfile.open(archive, "w:gz") as stream:
        member = tarfile.TarInfo(name)
        member.size = 1
        stream.addfile(member, io.BytesIO(b"x"))
    with pytest.raises(Corrupted):
        host.release(Packed("1.2.3", "0" * 64, b"")).unpack(str(archive))
    assert host.names == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "opt"]
    assert not Path("/tmp/outside-of-holdfast").exists()


def test_what_a_killed_run_left_is_no_release(host: Host, source: Path) -> None:
    packed = pack(source)
    release = host.release(packed)
    half = Path(f"{release.path}.new") / COLLECTION
    half.mkdir(parents=True)
    (half / "galaxy.yml").write_text("half")
    Path(f"{host.current}.new").symlink_to("nowhere")
    host.install(packed)
    assert host.names == [release.name]
    assert sorted(path.name for path in host.root.iterdir()) == ["collections", "current"]


def test_a_directory_where_the_link_belongs_is_refused(host: Host, source: Path) -> None:
    host.current.mkdir()
    (host.current / "precious").write_text("kept")
    with pytest.raises(Refused, match="is no link"):
        host.release(pack(source)).plan()
    with pytest.raises(Refused, match="is no link"):
        present(str(host.collections), str(host.current))
    assert (host.current / "precious").read_text() == "kept"


def test_a_name_that_could_lead_elsewhere_is_none(host: Host) -> None:
    with pytest.raises(InvalidOption):
        host.release(Packed("../../1.0.0", "0" * 64, b""))


def test_everything_can_be_removed(host: Host, source: Path) -> None:
    host.install(pack(source))
    found = present(str(host.collections), str(host.current))
    assert found == [str(host.current), str(host.collections)]
    delete(found)
    assert not list(host.root.iterdir())
    assert present(str(host.collections), str(host.current)) == []
