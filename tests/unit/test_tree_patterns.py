# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Exclude patterns: what the manual of gitignore says, and what git itself does with patterns nobody thought of."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._engines._tree._patterns import Patterns
from ansible_collections.holdfast.ops.plugins.module_utils._errors import InvalidOption
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FILES = ("a", "b.tmp", "ab", "a b", "[x]", "d/a", "d/b.tmp", "d/e/a", "d/e/ab", "d/e/f/a", "e/a", "e/d/a", "B", "d-a/a")


def left_out(patterns: list[str], paths: tuple[str, ...] = FILES) -> set[str]:
    """The files that a walk with these patterns does not reach."""
    chosen = Patterns(patterns)

    def excluded(path: str) -> bool:
        parts = path.split("/")
        above = ("/".join(parts[:depth]) for depth in range(1, len(parts)))
        return any(chosen.excluded(parent, True) for parent in above) or chosen.excluded(path, False)

    return {path for path in paths if excluded(path)}


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ([], set()),
        (["", "# a", "   "], set()),
        (["a"], {"a", "d/a", "d/e/a", "d/e/f/a", "e/a", "e/d/a", "d-a/a"}),
        (["/a"], {"a"}),
        (["*.tmp"], {"b.tmp", "d/b.tmp"}),
        (["*.tmp", "!d/b.tmp"], {"b.tmp"}),
        (["!d/b.tmp", "*.tmp"], {"b.tmp", "d/b.tmp"}),
        (["e/"], {"d/e/a", "d/e/ab", "d/e/f/a", "e/a", "e/d/a"}),
        (["/e/"], {"e/a", "e/d/a"}),
        (["a/"], set()),  # there is no directory of that name
        (["d/a"], {"d/a"}),  # a slash in the middle anchors
        (["**/d/a"], {"d/a", "e/d/a"}),
        (["d/**/a"], {"d/a", "d/e/a", "d/e/f/a"}),
        (["d/**"], {"d/a", "d/b.tmp", "d/e/a", "d/e/ab", "d/e/f/a"}),
        (["d/*"], {"d/a", "d/b.tmp", "d/e/a", "d/e/ab", "d/e/f/a"}),
        (["d/*", "!d/e/"], {"d/a", "d/b.tmp"}),
        (["/d/", "!d/e/a"], {"d/a", "d/b.tmp", "d/e/a", "d/e/ab", "d/e/f/a"}),  # nothing below d is looked at
        (["?b"], {"ab", "d/e/ab"}),
        (["[ab]"], {"a", "d/a", "d/e/a", "d/e/f/a", "e/a", "e/d/a", "d-a/a"}),
        (["/[!a]"], {"d/a", "d/b.tmp", "d/e/a", "d/e/ab", "d/e/f/a", "e/a", "e/d/a", "B"}),
        (["/[[:upper:]]"], {"B"}),
        (["\\[x]"], {"[x]"}),
        (["a\\ b"], {"a b"}),
        (["a b   "], {"a b"}),
        (["/d-a"], {"d-a/a"}),
    ],
)
def test_the_manual(patterns: list[str], expected: set[str]) -> None:
    assert left_out(patterns) == expected


@pytest.mark.parametrize("pattern", ["[a", "a\\", "[[:vowel:]]", "[a\\"])
def test_a_pattern_that_can_never_match_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidOption, match="can never match"):
        Patterns([pattern])


def test_names_that_are_not_utf8_and_have_newlines() -> None:
    name = os.fsdecode(b"caf\xe9\n.tmp")
    assert Patterns(["*.tmp"]).excluded(name, False)
    assert Patterns(["caf?\n.tmp"]).excluded(name, False)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty git repository with the files in it."""
    if shutil.which("git") is None:
        pytest.skip("git, which is compared with, is not installed here")
    top = tmp_path_factory.mktemp("git")
    subprocess.run(["git", "init", "-q", str(top)], check=True)
    for path in FILES:
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_text(path)
    return top


PIECES = st.sampled_from(
    ["a", "b", "d", "e", "*", "**", "/", "?", "[ab]", "[!a]", "[a-d]", ".tmp", "\\a", "!", " ", "-"]
)
# `d**/a`: the manual says that asterisks which touch something else are regular ones, and git, which compares the
# literal beginning apart, takes these for the special kind. We keep to the manual.
TOUCHING = re.compile(r"[^/]\*\*|\*\*[^/]|\*\*\*")
LINES = st.lists(PIECES, min_size=1, max_size=6).map("".join).filter(lambda line: not TOUCHING.search(line))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(LINES, min_size=1, max_size=4))
def test_git_decides_the_same(repository: Path, lines: list[str]) -> None:
    (repository / ".git" / "info" / "exclude").write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = ["git", "-C", str(repository), "-c", "core.excludesFile=/dev/null", "check-ignore", "-z", "--stdin"]
    answer = subprocess.run(
        [*command, "--no-index"], input="\0".join(FILES).encode() + b"\0", capture_output=True, check=False
    )
    assert answer.returncode in (0, 1), answer.stderr
    ignored = {path for path in answer.stdout.decode().split("\0") if path}
    assert left_out(lines) == ignored
