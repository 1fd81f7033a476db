# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `holdfast_cleanups` may say: directories from which files go when they are old.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from .._declaration._elements import named_elements
from .._declaration._report import InvalidDeclaration
from .._declaration._spec import check
from .._durations import format_duration, parse_duration
from .._engines._tree._patterns import Patterns
from .._errors import InvalidOption
from .._spec import Spec

VARIABLE = "holdfast_cleanups"

CLEANUP = Spec(
    {
        "path": {"type": "path", "required": True},
        "older_than": {"type": "str", "required": True},
        "patterns": {"type": "list", "elements": "str", "default": ["*"]},
        "exclude": {"type": "list", "elements": "str", "default": []},
        "keep_at_least": {"type": "int", "default": 0},
        "recurse": {"type": "bool", "default": False},
        "remove_empty": {"type": "bool", "default": False},
    }
)
"""The options of the module `directory_cleanup`; an element of the list has a `name` too."""

_ELEMENT = Spec(
    {
        "name": {"type": "name", "required": True},
        **CLEANUP.options,
        "older_than": {"type": "positive_duration", "required": True},
    }
)

_SYSTEM = (
    *("/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/sbin", "/sys", "/usr"),
    *("/opt/holdfast", "/run/systemd", "/snap", "/var/lib/apt", "/var/lib/containerd", "/var/lib/docker"),
    *("/var/lib/dpkg", "/var/lib/holdfast", "/var/lib/mysql", "/var/lib/postgresql", "/var/lib/redis"),
    *("/var/lib/systemd", "/var/lib/valkey", "/var/spool/cron"),
)
"""Nothing in here is anybody's to clean by age."""

_SHARED = frozenset({"home", "media", "mnt", "opt", "run", "var"})
"""Top-level directories whose own directories (`/var/log`, `/home/ada`, `/opt/app`) belong to many or hold it all."""


@dataclass(frozen=True)
class Cleanup:
    """A directory, and which of its files go.

    Attributes:
        path: the directory; absolute, in its shortest form.
        older_than: since its last change of content a file must be older than this.
        patterns: which files; with the meaning that .gitignore gives them. `*` are all.
        exclude: what is left alone; a directory that is excluded is not entered.
        keep_at_least: how many of the files that match are kept however old they are, the newest.
        recurse: whether directories below are cleaned too.
        remove_empty: whether directories go that are empty afterwards and were older than `older_than` before.
    """

    name: str
    path: str
    older_than: timedelta
    patterns: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    keep_at_least: int = 0
    recurse: bool = False
    remove_empty: bool = False

    @classmethod
    def from_options(cls, name: str, given: Mapping[str, Any]) -> Cleanup:
        """A cleanup from the options of the module, defaults filled in.

        Raises:
            InvalidOption: one of them cannot be right; the message names it.
        """
        older_than = _named("older_than", lambda: parse_duration(given["older_than"]))
        if not older_than:
            raise InvalidOption("older_than must be longer than nothing.", stage="preflight")
        keep_at_least = given.get("keep_at_least") or 0
        if keep_at_least < 0:
            raise InvalidOption("keep_at_least must be 0 or more.", stage="preflight")
        recurse, remove_empty = bool(given.get("recurse")), bool(given.get("remove_empty"))
        if remove_empty and not recurse:
            raise InvalidOption("remove_empty needs recurse: only directories below the path go.", stage="preflight")
        return cls(
            name=name,
            path=_named("path", lambda: safe_path(given["path"])),
            older_than=older_than,
            patterns=_named("patterns", lambda: _patterns(given.get("patterns") or ("*",), files_only=True)),
            exclude=_named("exclude", lambda: _patterns(given.get("exclude") or ())),
            keep_at_least=keep_at_least,
            recurse=recurse,
            remove_empty=remove_empty,
        )

    def as_config(self) -> dict[str, Any]:
        """As JSON that `parse_cleanups` takes."""
        return {
            "name": self.name,
            "path": self.path,
            "older_than": format_duration(self.older_than),
            "patterns": list(self.patterns),
            "exclude": list(self.exclude),
            "keep_at_least": self.keep_at_least,
            "recurse": self.recurse,
            "remove_empty": self.remove_empty,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Cleanup:
        """What `as_config` gave; judged again, because a file lay between.

        Raises:
            InvalidDeclaration: somebody has changed it.
        """
        return parse_cleanups([config])[0]


def parse_cleanups(values: Any, *, precious: Sequence[str] = ()) -> tuple[Cleanup, ...]:
    """Check `holdfast_cleanups`.

    Args:
        values: the variable, templated; None when it is not declared.
        precious: absolute paths that no cleanup may reach, such as local repositories.

    Raises:
        InvalidDeclaration: with every problem, a line each; no value is repeated.
    """
    lines: list[str] = []
    parsed: list[Cleanup] = []
    for value, place in named_elements(values, VARIABLE, "cleanup", lines):
        before = place.count
        given = check(value, _ELEMENT, place)
        if place.count > before:
            continue
        try:
            cleanup = Cleanup.from_options(given["name"], given)
        except InvalidOption as error:
            place.add(error.message)
            continue
        if any(_reaches(cleanup, path) for path in precious):
            place.key("path").add("a repository with backups lies there")
        parsed.append(cleanup)
    if lines:
        raise InvalidDeclaration(lines)
    return tuple(parsed)


def _reaches(cleanup: Cleanup, precious: str) -> bool:
    """Whether a cleanup could remove something of a directory that it does not know."""
    mine, other = f"{cleanup.path}/", f"{os.path.normpath(precious)}/"
    return mine.startswith(other) or (cleanup.recurse and other.startswith(mine))


def safe_path(path: str) -> str:
    """A path in its shortest form, refused where cleaning by age could only be a mistake.

    Raises:
        InvalidOption: it is not absolute, goes upwards, or is a directory of the system or of many; the message fits
            after the name of a key.
    """
    if not path.startswith("/"):
        raise InvalidOption("must be an absolute path")
    if not path.isprintable() or any(character in path for character in '"\\'):
        raise InvalidOption("must have no quotes, backslashes or control characters in it")  # it stands in a unit
    if ".." in path.split("/"):
        raise InvalidOption("must not go upwards (..)")
    short = "/" + "/".join(part for part in path.split("/") if part not in ("", "."))
    if any(f"{short}/".startswith(f"{tree}/") for tree in _SYSTEM):
        raise InvalidOption("lies in a directory of the system, which is never cleaned by age")
    parts = short.strip("/").split("/")
    if len(parts) < (3 if parts[0] in _SHARED else 2) or any(tree.startswith(f"{short}/") for tree in _SYSTEM):
        raise InvalidOption("is a directory that belongs to many; name one below it")
    return short


def _patterns(lines: Sequence[str], *, files_only: bool = False) -> tuple[str, ...]:
    for number, line in enumerate(lines, 1):
        try:
            understood = bool(Patterns([line]))
        except InvalidOption:
            understood = False
        if not understood or (files_only and line.endswith("/")):
            raise InvalidOption(f"number {number} can never match a file; a bracket is open, or a slash stands last")
    return tuple(lines)


def _named(option: str, read: Any) -> Any:
    """Read an option; what is wrong with it is told with its name."""
    try:
        return read()
    except InvalidOption as error:
        raise InvalidOption(f"{option} {error.message}", stage="preflight", hint=error.hint) from None
