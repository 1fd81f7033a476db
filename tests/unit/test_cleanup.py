# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cleaning directories by age: what goes, what stays, and that nothing outside can be reached."""

from __future__ import annotations

import os
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils import _beneath
from ansible_collections.holdfast.ops.plugins.module_utils._declaration._report import InvalidDeclaration
from ansible_collections.holdfast.ops.plugins.module_utils._errors import (
    HoldfastError,
    InvalidOption,
    NotFound,
    Refused,
)
from ansible_collections.holdfast.ops.plugins.module_utils._upkeep import _clean
from ansible_collections.holdfast.ops.plugins.module_utils._upkeep._clean import Cleaning, clean
from ansible_collections.holdfast.ops.plugins.module_utils._upkeep._cleanups import (
    Cleanup,
    parse_cleanups,
    safe_path,
)
from hypothesis import given
from hypothesis import strategies as st

NOW = 1_800_000_000.0
DAY = 86_400


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    directory = tmp_path / "documents"
    directory.mkdir()
    return directory


def make(directory: Path, name: str, days: float, content: str = "x") -> Path:
    """A file that was written this many days ago."""
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    os.utime(path, (NOW - days * DAY, NOW - days * DAY))
    return path


def age_directories(directory: Path, days: float) -> None:
    for path in (directory, *(each for each in directory.rglob("*") if each.is_dir())):
        os.utime(path, (NOW - days * DAY, NOW - days * DAY))


def cleaned(directory: Path, *, check: bool = False, **options: Any) -> Cleaning:
    cleanup = Cleanup("test", str(directory), timedelta(days=7), **options)
    return clean(cleanup, NOW, check=check)


def names(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_dir()}


def test_what_is_older_goes_and_the_plan_says_so_before(tree: Path) -> None:
    make(tree, "old", 7.01, "12345")
    make(tree, "young", 6.99)
    make(tree, "below/old", 30)

    planned = cleaned(tree, check=True)
    assert names(tree) == {"old", "young", "below/old"}, "check mode removed something"
    assert planned.lines(NOW) == [f"{tree}/old (5 B, 7d old)"]

    done = cleaned(tree)
    assert names(tree) == {"young", "below/old"}
    assert (done.removed, done.removed_bytes, done.kept, done.failures) == (1, 5, 1, [])
    assert cleaned(tree).removed == 0


def test_below_and_empty_directories_only_where_asked_for(tree: Path) -> None:
    make(tree, "2026/01/a", 30)
    make(tree, "2026/02/b", 30)
    make(tree, "2026/02/young", 1)
    (tree / "long-empty").mkdir()
    age_directories(tree, 20)
    (tree / "new-empty").mkdir()
    os.utime(tree / "new-empty", (NOW, NOW))

    assert cleaned(tree, recurse=True, check=True, remove_empty=True).directories == ["2026/01", "long-empty"]
    done = cleaned(tree, recurse=True, remove_empty=True)
    assert names(tree) == {"2026/02/young"}
    assert done.removed_directories == 2
    assert {path.name for path in tree.iterdir()} == {"2026", "new-empty"}


def test_a_directory_that_only_held_empty_ones_goes_and_the_one_that_is_cleaned_stays(tree: Path) -> None:
    make(tree, "a/b/c/file", 30)
    age_directories(tree, 20)
    cleaned(tree, recurse=True, remove_empty=True)
    assert tree.is_dir()
    assert list(tree.iterdir()) == []


def test_patterns_choose_and_exclude_spares(tree: Path) -> None:
    for name in ("a.pdf", "b.tmp", "keep/c.pdf", "below/d.pdf", "below/e.txt"):
        make(tree, name, 30)
    done = cleaned(tree, recurse=True, patterns=("*.pdf", "*.tmp", "!a.*"), exclude=("keep/",))
    assert names(tree) == {"a.pdf", "keep/c.pdf", "below/e.txt"}
    assert done.skipped == {"excluded": 1}


def test_the_newest_are_kept_however_old(tree: Path) -> None:
    for days in (10, 20, 30, 40):
        make(tree, f"dump-{days}", days)
    done = cleaned(tree, keep_at_least=2)
    assert names(tree) == {"dump-10", "dump-20"}
    assert done.kept == 2
    make(tree, "dump-new", 0)
    cleaned(tree, keep_at_least=2)
    assert names(tree) == {"dump-10", "dump-new"}


def test_links_and_other_things_are_neither_followed_nor_removed(tree: Path, tmp_path: Path) -> None:
    outside = make(tmp_path, "outside/precious", 100)
    (tree / "to-file").symlink_to(outside)
    (tree / "to-directory").symlink_to(outside.parent)
    os.utime(tree / "to-file", (NOW - 100 * DAY,) * 2, follow_symlinks=False)
    os.mkfifo(tree / "fifo")
    os.utime(tree / "fifo", (NOW - 100 * DAY,) * 2)
    done = cleaned(tree, recurse=True, remove_empty=True)
    assert outside.exists()
    assert {path.name for path in tree.iterdir()} == {"to-file", "to-directory", "fifo"}
    assert done.skipped == {"no regular file": 3}


def test_names_that_are_not_utf_8_go_too_and_are_printed(tree: Path) -> None:
    path = os.fsencode(tree) + b"/caf\xe9\n"
    with open(path, "w"):
        pass
    os.utime(path, (0, 0))
    (line,) = cleaned(tree, check=True).lines(NOW)
    assert line.isprintable()
    assert "udce9" in line
    assert cleaned(tree).removed == 1


def test_a_link_on_the_way_is_refused_and_named(tree: Path, tmp_path: Path) -> None:
    make(tree, "old", 30)
    link = tmp_path / "link"
    link.symlink_to(tree)
    for path in (link, link / "below"):
        with pytest.raises(Refused, match=r"link is no directory, or a symbolic link") as refused:
            cleaned(path)
        assert "readlink -f" in str(refused.value)
    with pytest.raises(Refused):
        cleaned(tree / "old")
    with pytest.raises(NotFound, match="does not exist"):
        cleaned(tree / "nowhere")
    assert names(tree) == {"old"}


def test_a_file_that_changed_after_the_plan_stays(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tree, "rewritten", 30)
    make(tree, "replaced", 30)
    make(tree, "gone", 30)
    remove = _clean._remove

    def meanwhile(*arguments: Any) -> None:
        (tree / "rewritten").write_text("new content")
        make(tree, "new", 30).rename(tree / "replaced")  # as old, but another file
        (tree / "gone").unlink()
        remove(*arguments)

    monkeypatch.setattr(_clean, "_remove", meanwhile)
    done = cleaned(tree)
    assert names(tree) == {"rewritten", "replaced"}
    assert done.skipped == {"changed meanwhile": 2, "gone meanwhile": 1}
    assert done.failures == []


def test_a_directory_that_becomes_a_link_after_the_plan_leads_nowhere(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a service does that somebody has taken over: its directory is swapped for a link to ours."""
    make(tree, "below/precious", 30)
    outside = make(tmp_path, "outside/precious", 30)
    remove = _clean._remove

    def meanwhile(done: Cleaning, beneath: _beneath.Beneath) -> None:
        beneath._forget()  # as if so many directories had been open that this one was closed
        (tree / "below").rename(tree / "aside")
        (tree / "below").symlink_to(outside.parent)
        remove(done, beneath)

    monkeypatch.setattr(_clean, "_remove", meanwhile)
    done = cleaned(tree, recurse=True)
    assert outside.exists()
    assert done.removed == 0
    assert [path for path, _reason in done.failures] == ["below/precious"]


def test_swapping_all_the_time_never_reaches_outside(tree: Path, tmp_path: Path) -> None:
    """Directory and link change places as fast as they can, while hundreds of runs clean."""
    outside = make(tmp_path, "outside/precious", 30)
    inside, aside, link = tree / "below", tmp_path / "aside", tmp_path / "link"
    make(tree, "below/young", 0)
    link.symlink_to(outside.parent)
    stop = threading.Event()
    swaps = 0

    def swap() -> None:
        nonlocal swaps
        while not stop.is_set():
            inside.rename(aside)
            link.rename(inside)
            inside.rename(link)
            aside.rename(inside)
            swaps += 1

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _round in range(300):
            cleaned(tree, recurse=True, remove_empty=True)
            assert outside.exists()
    finally:
        stop.set()
        thread.join()
    assert swaps > 10


def test_what_cannot_be_removed_is_told_and_the_rest_is_done(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tree, "a", 30)
    make(tree, "b", 30)
    unlink = os.unlink

    def refusing(name: str, **options: Any) -> None:
        if name == "a":
            raise PermissionError(1, "Operation not permitted")
        unlink(name, **options)

    monkeypatch.setattr(os, "unlink", refusing)
    done = cleaned(tree)
    assert done.failures == [("a", "Operation not permitted")]
    assert names(tree) == {"a"}


def test_a_trap_of_depth_ends(tree: Path) -> None:
    fd = os.open(tree, os.O_RDONLY)
    for _level in range(_clean.MAXIMUM_DEPTH + 50):
        os.mkdir("d", dir_fd=fd)
        deeper = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = deeper
    os.close(fd)
    done = cleaned(tree, recurse=True)
    assert done.skipped == {"too deep": 1}
    assert done.failures == []


@pytest.mark.parametrize("mounted", ["below", "with space"])
def test_what_is_mounted_below_is_not_entered(tree: Path, monkeypatch: pytest.MonkeyPatch, mounted: str) -> None:
    """A second mount of the same file system has the same device: only the table of mounts tells."""
    make(tree, f"{mounted}/old", 30)
    monkeypatch.setattr(_clean, "_mount_points", lambda: frozenset({f"{tree}/{mounted}"}))
    done = cleaned(tree, recurse=True)
    assert done.skipped == {"another file system": 1}
    assert names(tree) == {f"{mounted}/old"}


def test_the_table_of_mounts_is_read() -> None:
    assert {"/", "/proc"} <= _clean._mount_points()


def test_a_system_directory_under_another_name_is_refused(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tree, "old", 30)
    monkeypatch.setattr(_clean, "_NEVER", (str(tree),))
    with pytest.raises(Refused, match="under another name"):
        cleaned(tree)
    assert names(tree) == {"old"}


@pytest.mark.parametrize(
    "path",
    [
        *("/", "//", "/.", "/etc", "/etc/", "/etc/omnidoc", "/var", "/var/log", "/var/lib", "/var/lib/holdfast/state"),
        *("/home", "/home/ada", "/opt/app", "/opt/holdfast/venv/x", "/srv", "/tmp", "/usr/local/share/x", "/boot/x"),
        *("/var/lib/postgresql/15/main", "/proc/self/fd", "/./etc/x", "/root", "/lib", "/var/spool"),
    ],
)
def test_a_directory_of_the_system_or_of_many_is_refused(path: str) -> None:
    with pytest.raises(InvalidOption):
        safe_path(path)


@pytest.mark.parametrize("path", ["relative", "", "/srv/../etc", "/srv/app/..", "/srv/a\nb", '/srv/a"b'])
def test_a_path_that_leads_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(InvalidOption):
        safe_path(path)


@pytest.mark.parametrize(
    ("path", "short"),
    [
        ("/srv/omnidoc", "/srv/omnidoc"),
        ("//srv//omnidoc/./tmp/", "/srv/omnidoc/tmp"),
        ("/var/log/omnidoc", "/var/log/omnidoc"),
        ("/etcetera/x", "/etcetera/x"),
        ("/opt/omnidoc/backups", "/opt/omnidoc/backups"),
    ],
)
def test_an_own_directory_is_taken_in_its_shortest_form(path: str, short: str) -> None:
    assert safe_path(path) == short


@given(st.lists(st.sampled_from(["", ".", "etc", "srv", "var", "log", "x", "home"]), max_size=6))
def test_a_path_that_is_taken_never_reaches_a_system_directory(parts: list[str]) -> None:
    try:
        short = safe_path("/" + "/".join(parts))
    except InvalidOption:
        return
    assert os.path.normpath(short) == short
    assert not (short + "/").startswith("/etc/")
    assert not any(system.startswith(short + "/") or system == short for system in ("/var/log", "/home/x", "/etc"))


VALID = {"name": "documents", "path": "/srv/omnidoc/generated", "older_than": "7d"}


def test_a_declaration_is_read_and_read_back() -> None:
    (cleanup,) = parse_cleanups([{**VALID, "recurse": True, "exclude": ["*.keep"], "keep_at_least": 3}])
    assert cleanup.older_than == timedelta(days=7)
    assert cleanup.patterns == ("*",)
    assert Cleanup.from_config(cleanup.as_config()) == cleanup
    assert parse_cleanups(None) == ()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"older_then": "7d"}, "older_then: unknown key, did you mean older_than?"),
        ({"older_than": 7}, "older_than: is a number without a unit"),
        ({"older_than": "0d"}, "older_than: must be longer than nothing"),
        ({"path": "/etc"}, "path lies in a directory of the system"),
        ({"path": "/var/log"}, "path is a directory that belongs to many"),
        ({"patterns": ["[a"]}, "patterns number 1 can never match a file"),
        ({"patterns": ["*", "cache/"]}, "patterns number 2 can never match a file"),
        ({"keep_at_least": -1}, "keep_at_least must be 0 or more"),
        ({"remove_empty": True}, "remove_empty needs recurse"),
        ({"path": "/srv/backups/omnidoc"}, "path: a repository with backups lies there"),
        ({"path": "/srv/backups"}, "path: a repository with backups lies there"),
    ],
)
def test_a_wrong_declaration_is_refused_by_name_and_key(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidDeclaration) as refused:
        parse_cleanups([{**VALID, **change}], precious=["/srv/backups"])
    (line,) = refused.value.problems
    assert line.startswith("cleanup documents: ")
    assert problem in line


def test_a_repository_below_what_is_cleaned_is_only_in_danger_with_recurse() -> None:
    above = {**VALID, "path": "/srv/omnidoc"}
    assert parse_cleanups([above], precious=["/srv/omnidoc/backups"])
    with pytest.raises(InvalidDeclaration):
        parse_cleanups([{**above, "recurse": True}], precious=["/srv/omnidoc/backups"])


def test_names_are_declared_once_and_everything_is_told_together() -> None:
    with pytest.raises(InvalidDeclaration) as refused:
        parse_cleanups([VALID, VALID, "text", {"path": "/etc"}])
    text = "\n".join(refused.value.problems)
    assert "cleanup documents: name: declared twice, as holdfast_cleanups[0] and [1]" in text
    assert "holdfast_cleanups: [2]: must be a mapping, and is a string" in text
    assert "holdfast_cleanups: [3].name: is required" in text


def test_no_message_repeats_a_value() -> None:
    for change in ({"path": "s3cret"}, {"older_than": "s3cret"}, {"patterns": ["[s3cret"]}, {"recurse": "s3cret"}):
        with pytest.raises(HoldfastError) as refused:
            parse_cleanups([{**VALID, **change}])
        assert "s3cret" not in str(refused.value)
