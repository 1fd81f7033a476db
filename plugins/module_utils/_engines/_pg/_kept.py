# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The databases that restores have replaced and kept: known again by their names and comments, and dropped when asked.

PRIVATE to the collection; may change without notice.

A name alone proves nothing: the comment says that a restore, and not a person, has put the database aside. One that
somebody has renamed since is that person's.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from ..._durations import format_size
from ..._manifest import parse_time, rfc3339
from ._catalog import databases
from ._properties import comment
from ._sql import Session, identifier

NAME_BYTES = 63
"""Bytes of a name that PostgreSQL keeps."""
_SUFFIX = re.compile(r"_before_\d{8}T\d{6}Z(_\d+)?\Z")
_MARK = re.compile(r"\n?holdfast: replaced at (?P<time>\S+), was (?P<was>.*)\Z", re.DOTALL)


@dataclass(frozen=True)
class Kept:
    """A replaced database: its name now, the one that it had, when it was replaced, and its bytes (None: unknown)."""

    name: str
    was: str
    replaced_at: datetime
    size: int | None

    def __str__(self) -> str:
        size = f", {format_size(self.size)}" if self.size is not None else ""
        return f"{self.name!r} (replaced at {rfc3339(self.replaced_at)}{size})"


def previous_name(name: str, stamp: str, taken: Collection[str]) -> str:
    """What a replaced database is called: its name, shortened where it must be, and when it was replaced.

    Args:
        stamp: `20261122T143700Z`.
        taken: names that exist.
    """
    number = 1
    while True:
        suffix = f"_before_{stamp}" + (f"_{number}" if number > 1 else "")
        room = NAME_BYTES - len(suffix)
        candidate = name.encode()[:room].decode("utf-8", "ignore") + suffix  # never half a character
        if candidate not in taken:
            return candidate
        number += 1


def marked(name: str, was: str, text: str | None, moment: datetime) -> str:
    """The statement that adds the mark to a replaced database's comment.

    Args:
        text: the comment that it has.
    """
    said = _MARK.sub("", text or "")
    mark = f"holdfast: replaced at {rfc3339(moment)}, was {was}"
    return comment(name, f"{said}\n{mark}" if said else mark)


def kept_databases(session: Session, names: Collection[str]) -> list[Kept]:
    """What restores of these databases have put aside, oldest first."""
    found = []
    for row in databases(session):
        mark = _MARK.search(row["comment"] or "")
        if mark is None or mark["was"] not in names or not _SUFFIX.search(row["name"]):
            continue
        try:
            moment = parse_time(mark["time"])
        except ValueError:
            continue  # somebody has written into it
        found.append(Kept(row["name"], mark["was"], moment, row["size"]))
    return sorted(found, key=lambda one: (one.replaced_at, one.name))


def expired(kept: Iterable[Kept], age: timedelta | None, now: datetime) -> list[Kept]:
    """Those that were replaced longer ago; none without an age."""
    return [one for one in kept if age is not None and now - one.replaced_at > age]


def how_to_drop(kept: Iterable[Kept]) -> str:
    """What an operator should know of those that stay."""
    named = list(kept)
    statements = "; ".join(f"DROP DATABASE {identifier(one.name)}" for one in named)
    return (
        f"Earlier restores have left {', '.join(map(str, named))}. When nobody misses anything: {statements}; or set "
        "keep_previous_for."
    )
