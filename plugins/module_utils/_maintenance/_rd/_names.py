# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The names of keys: how they are shown, which of them belong together, and which a pattern of Redis means. Pure.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import re

from ..._errors import InvalidOption

SHOWN = 100
"""Characters of a name that are shown."""
_SEGMENTS = 3
"""Of a name, how many parts between colons are told apart."""

_VARIABLE = re.compile(
    r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"  # a UUID
    r"|[^\s:@]+@[^\s:@]+"  # an address
    r"|(?=[A-Za-z]*[0-9])[0-9A-Za-z]{8,}"  # a hash, or another id
    r"|[0-9]+"
)
_TOKEN = re.compile(r"((?:[a-z]+[-_])*)((?=[A-Za-z_-]*[0-9])[0-9A-Za-z_-]{16,})")
"""Words, and what may be the whole secret of a session or of a link that was mailed to somebody."""
_STARS = re.compile(r"\*(?:[-._*]*\*)?")


def shown(name: bytes) -> str:
    """A name for people: what is not printable is escaped, what is long is cut."""
    text = "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii")
        for each in name.decode("utf-8", "backslashreplace")
    )
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def masked(name: bytes) -> str:
    """As `shown`, of what may be a secret only the beginning: a report leaves the host."""
    text = name.decode("utf-8", "backslashreplace")
    return shown(_TOKEN.sub(lambda found: f"{found[1]}{found[2][:6]}…", text).encode())


def pattern_of(name: bytes) -> str:
    """The names like this one: what varies (numbers, ids, addresses) is `*`, after three parts too.

    `user:17:profile` belongs to `user:*:profile`, `celery-task-meta-<uuid>` to `celery-task-meta-*`.
    """
    general = _STARS.sub("*", _VARIABLE.sub("*", name[:1000].decode("utf-8", "backslashreplace")))
    parts = general.split(":")
    if len(parts) > _SEGMENTS:
        parts = [*parts[:_SEGMENTS], "*"]
    return shown(":".join(parts).encode())


def glob(pattern: str) -> re.Pattern[bytes]:
    """A pattern of Redis (`*`, `?`, `[a-c]`, `[^a]`, `\\` before a character) as a regular expression for a whole name.

    Raises:
        InvalidOption: it is empty; the message fits after the name of an option.
    """
    if not pattern:
        raise InvalidOption("is empty")
    raw = pattern.encode("utf-8", "surrogateescape")
    parts, at = [], 0
    while at < len(raw):
        one = raw[at : at + 1]
        if one == b"*":
            parts.append(b".*")
        elif one == b"?":
            parts.append(b".")
        elif one == b"[":
            part, at = _class(raw, at + 1)
            parts.append(part)
        else:
            if one == b"\\" and at + 1 < len(raw):
                at += 1
                one = raw[at : at + 1]
            parts.append(re.escape(one))
        at += 1
    return re.compile(b"".join(parts) + rb"\Z", re.DOTALL)


def _class(raw: bytes, at: int) -> tuple[bytes, int]:
    """What stands in brackets, from behind the first: the expression, and where the last one is.

    As the server reads it: brackets that are never closed end with the pattern, `[]` is no character.
    """
    negative = raw[at : at + 1] == b"^"
    at += negative
    ranges: list[tuple[int, int]] = []
    while at < len(raw) and raw[at : at + 1] != b"]":
        if raw[at : at + 1] == b"\\" and at + 1 < len(raw):
            at += 1
            ranges.append((raw[at], raw[at]))
        elif raw[at + 1 : at + 2] == b"-" and at + 2 < len(raw):
            first, last = sorted((raw[at], raw[at + 2]))
            ranges.append((first, last))
            at += 2
        else:
            ranges.append((raw[at], raw[at]))
        at += 1
    if not ranges:
        return (b"." if negative else b"(?!)"), at
    inside = b"".join(b"\\x%02x-\\x%02x" % pair for pair in ranges)
    return b"[%s%s]" % (b"^" if negative else b"", inside), at


def means_everything(pattern: str) -> bool:
    """Whether a pattern names nothing: it has no character of its own beside wildcards."""
    return not re.sub(r"(?s)\\.|\[\^?(?:\\.|[^\]])*\]?|[*?]", lambda found: "x" if found[0][0] == "\\" else "", pattern)
