# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flap control: what is believed of a check, after what was seen of it. Pure.

PRIVATE to the collection; may change without notice.

What is believed (`confirmed`) becomes worse when `failures` runs in a row were all worse than it, and better when
`recoveries` runs in a row were all better. With 1 and 1 it is what was last seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ._interface import PASS, STATUSES, WARN, worst

_BAD = {status: number for number, status in enumerate(STATUSES)}
_MOST_REMEMBERED = 100


@dataclass(frozen=True)
class State:
    """What is known of a check.

    Attributes:
        confirmed: what is believed; `pass` until the first bad runs, so that a service which is just starting
            alarms nobody.
        recent: what was seen, the oldest first.
        since: when `confirmed` became what it is, epoch seconds; None before the first change.
        told: what people were last told.
    """

    confirmed: str = PASS
    recent: tuple[str, ...] = ()
    since: float | None = None
    told: str = PASS

    @property
    def effective(self) -> str:
        """What a probe is answered: what is believed; and what is worse but not yet believed is a warning."""
        if not self.recent:
            return self.confirmed
        seen = self.recent[-1]
        return worst((self.confirmed, WARN if seen != PASS else PASS))

    def seen(self, status: str, failures: int, recoveries: int, now: float) -> State:
        """The state after another run."""
        recent = (*self.recent, status)[-min(max(failures, recoveries), _MOST_REMEMBERED) :]
        worse, better = recent[-failures:], recent[-recoveries:]
        confirmed = self.confirmed
        if len(worse) == failures and all(_BAD[each] > _BAD[self.confirmed] for each in worse):
            confirmed = min(worse, key=_BAD.__getitem__)  # what all of them were at least
        elif len(better) == recoveries and all(_BAD[each] < _BAD[self.confirmed] for each in better):
            confirmed = max(better, key=_BAD.__getitem__)  # what all of them were at most
        since = now if confirmed != self.confirmed else self.since
        return replace(self, confirmed=confirmed, recent=recent, since=since)

    def as_json(self) -> dict[str, Any]:
        """Plain values that `from_json` reads back."""
        return {"confirmed": self.confirmed, "recent": list(self.recent), "since": self.since, "told": self.told}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> State:
        """Read what `as_json` wrote.

        Raises:
            KeyError, TypeError, ValueError: that is no state.
        """
        confirmed, told = str(values["confirmed"]), str(values["told"])
        recent = tuple(str(each) for each in values["recent"])
        if not {confirmed, told, *recent} <= _BAD.keys():
            raise ValueError("no status")
        since = values["since"]
        return cls(confirmed, recent, None if since is None else float(since), told)
