# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""/etc/holdfast as the writer leaves it: private, exact, and with what is not ours untouched."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._errors import InvalidOption, Refused
from ansible_collections.holdfast.ops.plugins.module_utils._host._files import apply, plan

FILES = {"inventory.yml": "all: {}\n", "host.json": "{}\n", "secrets/a": "hush\n"}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "etc" / "holdfast"


def write(directory: Path, files: dict[str, str]) -> list[str]:
    """Bring the directory into the state, and say what was done."""
    changes = plan(str(directory), files)
    apply(str(directory), files, changes)
    return [str(change) for change in changes]


def contents(directory: Path) -> dict[str, str]:
    return {str(path.relative_to(directory)): path.read_text() for path in directory.rglob("*") if path.is_file()}


def test_files_are_written_once_and_privately(directory: Path) -> None:
    old = os.umask(0)
    try:
        assert write(directory, FILES) == [
            ".: made",
            "secrets: made",
            "inventory.yml: new",
            "host.json: new",
            "secrets/a: new",
        ]
    finally:
        os.umask(old)
    assert contents(directory) == FILES
    for path in (directory, directory / "secrets"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    for path in directory.rglob("*"):
        assert path.is_dir() or stat.S_IMODE(path.stat().st_mode) == 0o600
    assert write(directory, FILES) == []


def test_only_what_differs_is_written_and_what_nobody_names_goes(directory: Path) -> None:
    write(directory, FILES)
    kept = (directory / "inventory.yml").stat()
    assert write(directory, {**FILES, "host.json": "[]\n", "secrets/b": "b\n"}) == [
        "host.json: changed",
        "secrets/b: new",
    ]
    assert (directory / "inventory.yml").stat().st_ino == kept.st_ino
    assert write(directory, {"inventory.yml": FILES["inventory.yml"], "secrets/b": "b\n"}) == [
        "host.json: removed",
        "secrets/a: removed",
    ]
    assert contents(directory) == {"inventory.yml": FILES["inventory.yml"], "secrets/b": "b\n"}


def test_a_mode_that_somebody_widened_is_put_right(directory: Path) -> None:
    write(directory, FILES)
    directory.chmod(0o755)
    (directory / "secrets" / "a").chmod(0o644)
    assert write(directory, FILES) == [".: mode 0700", "secrets/a: mode 0600"]
    assert stat.S_IMODE((directory / "secrets" / "a").stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_a_file_that_somebody_reads_stays_whole_while_it_is_replaced(directory: Path) -> None:
    write(directory, FILES)
    with open(directory / "inventory.yml") as stream:
        write(directory, {**FILES, "inventory.yml": "all: {hosts: {}}\n"})
        assert stream.read() == FILES["inventory.yml"]


def test_planning_changes_nothing(directory: Path) -> None:
    plan(str(directory), FILES)
    assert not directory.parent.exists()


def test_what_is_not_ours_stays_and_what_a_killed_run_left_goes(directory: Path) -> None:
    write(directory, FILES)
    (directory / "credentials").write_text("the user's")
    (directory / "secrets" / "b.holdfast-new").write_text("half")
    (directory / "inventory.yml.holdfast-new").write_text("half")
    assert write(directory, FILES) == ["inventory.yml.holdfast-new: removed", "secrets/b.holdfast-new: removed"]
    assert contents(directory) == {**FILES, "credentials": "the user's"}
    assert sorted(write(directory, {})) == ["host.json: removed", "inventory.yml: removed", "secrets/a: removed"]
    assert contents(directory) == {"credentials": "the user's"}
    assert write(directory, {}) == []
    (directory / "credentials").unlink()
    write(directory, {})
    assert not directory.exists()


@pytest.mark.parametrize("path", ["../x", "x", "secrets/a/b", "secrets", "/etc/passwd"])
def test_a_path_elsewhere_is_refused(directory: Path, path: str) -> None:
    with pytest.raises(InvalidOption):
        plan(str(directory), {path: ""})


@pytest.mark.parametrize("name", ["inventory.yml", "secrets", "secrets/a"])
def test_a_link_in_the_way_is_refused_and_not_followed(directory: Path, tmp_path: Path, name: str) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (directory / "secrets").mkdir(parents=True)
    if name == "secrets":
        (directory / "secrets").rmdir()
    (directory / name).symlink_to(victim)
    with pytest.raises(Refused, match="is there and is no"):
        plan(str(directory), FILES)
    assert not list(victim.iterdir())
