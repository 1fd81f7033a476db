# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counting before a purge: the rows that would go, and those that refer to them.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..._durations import counted, roughly
from ..._engines._pg._sql import Session
from ..._errors import Refused, TimedOut
from .._section import CRITICAL, INFO, WARNING, Finding
from ._login import limit
from ._purge_target import CASCADE, CHANGING, Reference, Target

COUNT_SECONDS = 4.0
"""How long an exact count may take: it is a transaction like others."""

CLOCK_SECONDS = 300.0
"""How far apart the clocks of the server and of this host may be."""

MANY_ROWS = 10_000
"""From so many deleted rows on, the table wants VACUUM."""


@dataclass(frozen=True)
class Referring:
    """Rows that are meant and that rows of another table refer to, which are not purged themselves.

    Attributes:
        rows: how many rows are meant that something refers to; None when counting them took too long.
    """

    reference: Reference
    rows: int | None

    @property
    def any(self) -> bool:
        return self.rows is None or self.rows > 0


@dataclass(frozen=True)
class Count:
    """What a purge of one table would find.

    Attributes:
        rows: that would be deleted.
        exact: whether they were counted; otherwise the planner's estimate.
        oldest: RFC 3339, None when there are none or nobody counted.
    """

    target: Target
    rows: int
    exact: bool
    oldest: str | None
    referring: Sequence[Referring]

    def as_dict(self) -> dict[str, Any]:
        return {
            "table": self.target.title,
            "column": self.target.declared.column,
            "cutoff": self.target.cutoff,
            "rows": self.rows,
            "exact": self.exact,
            "oldest": self.oldest,
            "referring": [
                {
                    "table": each.reference.title,
                    "constraint": each.reference.name,
                    "effect": CHANGING.get(each.reference.action, "kept"),
                    "rows": each.rows,
                }
                for each in self.referring
            ],
        }


def count(session: Session, target: Target, purged: Mapping[int, str], seconds: float) -> Count:
    """Count in transactions that only read.

    Args:
        purged: what of other tables goes too, from `purged_before`.
        seconds: how long all of it may take.

    Raises:
        PermissionDenied: our role may not read it, or row security would hide rows.
    """
    column = f't."{target.declared.column.replace(chr(34), chr(34) * 2)}"'
    query = (
        f'SELECT count(*) AS n, to_char(min({column})::timestamp, \'YYYY-MM-DD"T"HH24:MI:SS"Z"\') AS oldest'
        f" FROM {target.sql} t WHERE {target.deletable(purged)}"
    )
    share = min(COUNT_SECONDS, seconds / (1 + len(target.references)))
    row = _within(session, query, share)
    exact = row is not None
    if row is None:
        row = {"n": _estimate(session, target, share), "oldest": None}
    referring = []
    for each in target.references:
        refers = each.exists(purged.get(each.child, ""))
        query = f"SELECT count(*) AS n FROM {target.sql} t WHERE {target.meant()} AND {refers}"
        found = _within(session, query, share)
        referring.append(Referring(each, None if found is None else int(found["n"])))
    return Count(target, int(row["n"]), exact, row["oldest"], tuple(referring))


def _within(session: Session, query: str, seconds: float) -> dict[str, Any] | None:
    """The row of a query; None when it takes too long."""
    try:
        with session.transaction("READ ONLY"):
            limit(session, seconds, local=True)
            return session.row(query, seconds + 5)
    except TimedOut:
        return None


def _estimate(session: Session, target: Target, seconds: float) -> int:
    with session.transaction("READ ONLY"):
        limit(session, max(1.0, seconds), local=True)
        plan = session.document(
            f"EXPLAIN (FORMAT JSON) SELECT FROM {target.sql} t WHERE {target.deletable()}", seconds + 5
        )
    return int(plan[0]["Plan"]["Plan Rows"])


def clocks_apart(session: Session, timeout: float) -> list[str]:
    """Why the server's clock, by which rows are old, cannot be believed; nothing when it can."""
    before = time.time()
    server = float(session.value("SELECT extract(epoch FROM clock_timestamp())::float8 AS now", timeout))
    apart = max(before - server, server - time.time())
    if apart <= CLOCK_SECONDS:
        return []
    return [f"the clocks of the server and of this host are {roughly(apart)} apart: nobody knows how old a row is."]


def check(counts: Sequence[Count], most: int, cascade: bool, archived: Mapping[str, bool]) -> list[str]:
    """Why this may not be done, a sentence each; nothing when it may.

    Args:
        archived: whether the rows of a table are archived, by its title.
    """
    found = []
    rows = sum(each.rows for each in counts)
    if rows > most:
        exact = "" if all(each.exact for each in counts) else "about "
        found.append(
            f"{exact}{counted_rows(rows)} would be deleted, more than most ({most:,}) allows. If so many are meant to"
            " go, raise most; otherwise look at older_than, column and where."
        )
    for each in counts:
        for referring in each.referring:
            reference = referring.reference
            effect = CHANGING.get(reference.action)
            if effect is None or not referring.any:
                continue
            many = "an unknown number of rows" if referring.rows is None else counted_rows(referring.rows)
            what = f"{many} of {each.target.title} would take with them rows of {reference.title} ({effect} by the"
            what += f" foreign key {reference.name})"
            if not cascade:
                found.append(
                    f"{what}. Purge {reference.title} first, in tables; or set cascade: true if those may go too."
                )
            elif reference.action == CASCADE and archived[each.target.title]:
                found.append(f"{what}, and those would be in no archive. Purge {reference.title} first, in tables.")
    return found


def refuse(reasons: Sequence[str]) -> None:
    """Raises Refused when there are reasons to."""
    if reasons:
        raise Refused(" ".join(f"{each[0].upper()}{each[1:]}" for each in reasons), stage="preflight")


def notes(count_: Count) -> list[Finding]:
    """What a person should know of one table before."""
    target = count_.target
    found = []
    if not count_.exact:
        found.append(
            Finding(
                "estimated",
                INFO,
                f"Counting the old rows of {target.title} took too long: {count_.rows:,} is the planner's estimate.",
                subject=target.title,
                advice=f"An index on {target.declared.column} makes counting and purging fast.",
            )
        )
    kept = [each for each in count_.referring if each.reference.action not in CHANGING and each.any]
    found += [
        Finding(
            "still_referred",
            WARNING,
            f"{'Some' if each.rows is None else counted_rows(each.rows)} of {target.title} that are old stay, because"
            f" {each.reference.title} refers to them ({each.reference.name}).",
            subject=target.title,
            advice=f"Purge {each.reference.title} first, in tables.",
        )
        for each in kept
    ]
    found += [
        Finding(
            "reference_without_index",
            WARNING,
            f"{each.title} refers to {target.title} ({each.name}) without an index: for each deleted row all of it is"
            " read.",
            subject=each.title,
            advice=f"`CREATE INDEX CONCURRENTLY ON {each.schema}.{each.table} ({', '.join(each.columns)})`",
        )
        for each in target.references
        if not each.indexed
    ]
    if target.triggers:
        found.append(
            Finding(
                "triggers",
                INFO,
                f"Triggers run when rows of {target.title} are deleted: {', '.join(target.triggers)}.",
                subject=target.title,
                advice="What they do belongs to each batch, and makes it slower; batches become smaller by themselves.",
            )
        )
    return found


def refused_findings(reasons: Sequence[str]) -> list[Finding]:
    """That it would be refused, in a plan."""
    return [Finding("would_be_refused", CRITICAL, f"This would be refused: {each}") for each in reasons]


def counted_rows(number: int) -> str:
    """`1 row`, `1,234 rows`."""
    return counted(number, "row") if number == 1 else f"{number:,} rows"
