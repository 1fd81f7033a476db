# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Exclude patterns with the meaning that .gitignore gives them.

PRIVATE to the collection; may change without notice.

Paths are relative to the tree, with `/` between components and no leading one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ..._errors import InvalidOption

_CLASSES = {
    "alnum": "A-Za-z0-9",
    "alpha": "A-Za-z",
    "blank": r" \t",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": r"\x21-\x7e",
    "lower": "a-z",
    "print": r"\x20-\x7e",
    "punct": r"!-/:-@\[-`{-~",
    "space": r" \t\n\r\f\v",
    "upper": "A-Z",
    "xdigit": "A-Fa-f0-9",
}


@dataclass(frozen=True)
class _Rule:
    regex: re.Pattern[str]
    negated: bool
    directories_only: bool


class Patterns:
    """A list of patterns; the last one that matches decides.

    A directory that is excluded is not entered, so nothing below it can be included again, as with git.

    Raises:
        InvalidOption: a pattern can never match (an unclosed bracket, a backslash at the end): surely a slip.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = tuple(lines)
        parsed = [_parse(line) for line in self.lines]
        self._rules = [rule for rule in reversed(parsed) if rule is not None]

    def __bool__(self) -> bool:
        return bool(self._rules)

    def excluded(self, path: str, is_directory: bool) -> bool:
        """Whether a path is left out, its parents being in."""
        for rule in self._rules:
            if (is_directory or not rule.directories_only) and rule.regex.match(path):
                return not rule.negated
        return False


def _parse(line: str) -> _Rule | None:
    text = line.rstrip("\n")
    while text.endswith(" ") and not text.endswith("\\ "):
        text = text[:-1]
    if not text or text.startswith("#"):
        return None
    negated = text.startswith("!")
    if negated:
        text = text[1:]
    directories_only = text.endswith("/")
    if directories_only:
        text = text[:-1]
    anchored = "/" in text
    text = text[1:] if text.startswith("/") else text
    if not text:
        return None
    body = _translate(text)
    if body is None:
        raise InvalidOption(
            f"exclude: the pattern {line!r} can never match.",
            stage="preflight",
            hint="Close the bracket, or write a literal [ or \\ with a backslash before it.",
        )
    return _Rule(re.compile(("" if anchored else r"(?:.*/)?") + body + r"\Z", re.DOTALL), negated, directories_only)


def _translate(pattern: str) -> str | None:
    """A regular expression for a pattern; None when it can match nothing."""
    out = []
    position = 0
    while position < len(pattern):
        character = pattern[position]
        if character == "*":
            position, piece = _asterisks(pattern, position)
            out.append(piece)
        elif character == "?":
            out.append("[^/]")
            position += 1
        elif character == "[":
            bracket = _bracket(pattern, position)
            if bracket is None:
                return None
            position, piece = bracket
            out.append(piece)
        else:
            if character == "\\":
                position += 1
                if position == len(pattern):
                    return None
            out.append(re.escape(pattern[position]))
            position += 1
    return "".join(out)


def _asterisks(pattern: str, start: int) -> tuple[int, str]:
    """`*`, or `**` when it stands alone between slashes: then it spans directories."""
    end = start
    while end < len(pattern) and pattern[end] == "*":
        end += 1
    alone = (start == 0 or pattern[start - 1] == "/") and (end == len(pattern) or pattern[end] == "/")
    if end - start < 2 or not alone:
        return end, "[^/]*"
    if end == len(pattern):
        return end, ".*"
    return end + 1, "(?:.*/)?"


def _bracket(pattern: str, start: int) -> tuple[int, str] | None:
    """`[a-z]`, `[!…]`, `[[:alpha:]]`: never a slash."""
    position = start + 1
    negated = position < len(pattern) and pattern[position] in "!^"
    if negated:
        position += 1
    out: list[str] = []
    first = True
    while True:
        if position >= len(pattern):
            return None
        if pattern[position] == "]" and not first:
            break
        first = False
        if pattern.startswith("[:", position):
            end = pattern.find(":]", position + 2)
            if end < 0:
                return None
            name = pattern[position + 2 : end]
            if name not in _CLASSES:
                return None
            out.append(_CLASSES[name])
            position = end + 2
            continue
        item = _range(pattern, position)
        if item is None:
            return None
        position, piece = item
        out.append(piece)
    body = "".join(out)
    if negated:
        return position + 1, f"[^/{body}]"
    return position + 1, f"(?!/)[{body}]" if body else "(?!)"


def _range(pattern: str, position: int) -> tuple[int, str] | None:
    """A character or a range within a bracket; an empty one (`z-a`) gives nothing."""
    low = _literal(pattern, position)
    if low is None:
        return None
    position, first = low
    if pattern[position : position + 1] == "-" and pattern[position + 1 : position + 2] not in ("", "]"):
        high = _literal(pattern, position + 1)
        if high is None:
            return None
        position, last = high
        return position, f"{re.escape(first)}-{re.escape(last)}" if first <= last else ""
    return position, re.escape(first)


def _literal(pattern: str, position: int) -> tuple[int, str] | None:
    if pattern[position] == "\\":
        position += 1
        if position == len(pattern):
            return None
    return position + 1, pattern[position]
