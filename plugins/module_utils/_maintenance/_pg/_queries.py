# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Query texts of other people, as a report may show them.

PRIVATE to the collection; may change without notice.

A report leaves the host, and a literal may be somebody's name or password. What cannot be told for certain to be no
literal is not shown.
"""

from __future__ import annotations

import re

SHOWN = 200
"""Characters of a query that are shown."""

_READ = 20_000
"""Characters of a query that are read at all."""

_WORD = r"[A-Za-z_\u0080-\U0010ffff][A-Za-z0-9_$\u0080-\U0010ffff]*"
_TOKENS = re.compile(
    rf"""
    (?P<blank>\s+|--[^\n\r]*)
  | (?P<comment>/\*)
  | (?P<escaped>[eE]')
  | (?P<string>(?:[bBnNxX]|[uU]&)?')
  | (?P<dollar>\$(?:[A-Za-z_\u0080-\U0010ffff][A-Za-z0-9_\u0080-\U0010ffff]*)?\$)
  | (?P<parameter>\$\d+)
  | (?P<quoted>(?:[uU]&)?"(?:[^"]|"")*")
  | (?P<open>")
  | (?P<word>{_WORD})
  | (?P<number>\.?\d(?:[\w.$]|(?<=[eE])[+-](?=\d))*)
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_PLAIN_END = re.compile(r"(?:[^']|'')*?'(?!')", re.DOTALL)
_ESCAPED_END = re.compile(r"(?:[^'\\]|\\.|'')*?'(?!')", re.DOTALL)
_COMMENT = re.compile(r"/\*|\*/")


def shown(query: str | None, limit: int = SHOWN) -> str:
    """A query on one line, without its literals and comments, cut to `limit` characters.

    Strings and numbers become `?`; names, keywords and parameters (`$1`) stay. A text that ends within a literal or a
    quoted name (the server cuts long ones off) ends there. So it does where a backslash stands before a quote: whether
    that ends the string depends on settings of the session.
    """
    text = (query or "").encode("utf-8", "replace").decode("utf-8")[:_READ]
    parts: list[str] = []
    position = 0
    while position < len(text):
        match = _TOKENS.match(text, position)
        if match is None:  # cannot be: `other` takes anything
            raise AssertionError("a character is no token")
        position = match.end()
        kind = match.lastgroup
        if kind in ("blank", "comment"):
            parts.append(" ")
            position = _after_comment(text, position) if kind == "comment" else position
        elif kind in ("escaped", "string", "dollar"):
            parts.append("?")
            end = _after_literal(text, match)
            if end is None:
                parts.append(" …")
                break
            position = end
        elif kind == "open":
            parts.append("…")
            break
        else:
            parts.append("?" if kind == "number" else match.group())
    folded = "".join(each if each.isprintable() else " " for each in "".join(parts))
    folded = " ".join(folded.split())
    return folded if len(folded) <= limit else f"{folded[: limit - 1]}…"


def _after_comment(text: str, position: int) -> int:
    """Where a comment that has begun ends; comments nest."""
    depth = 1
    while depth:
        mark = _COMMENT.search(text, position)
        if mark is None:
            return len(text)
        depth += 1 if mark.group() == "/*" else -1
        position = mark.end()
    return position


def _after_literal(text: str, begin: re.Match[str]) -> int | None:
    """Where a literal that has begun ends; None when that is not certain."""
    if begin.lastgroup == "dollar":
        end = text.find(begin.group(), begin.end())
        return None if end < 0 else end + len(begin.group())
    match = (_ESCAPED_END if begin.lastgroup == "escaped" else _PLAIN_END).match(text, begin.end())
    if match is None:
        return None
    return None if begin.lastgroup == "string" and "\\'" in match.group() else match.end()
