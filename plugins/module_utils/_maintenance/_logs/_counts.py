# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counting errors in bounded memory, however many there are and however they differ. Pure.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ._entries import LEVELS, Entry
from ._normalise import normalised

HOUR, DAY = 3600, 86400
MESSAGES = 5000
"""Different messages that are told apart; beyond, the rarest are only counted."""
_KNOWN = 100_000
"""Different messages of the time before that are remembered, by a number each."""
_CACHED = 20_000
"""Messages whose normal form is remembered."""
_ZEROS = str.maketrans("123456789", "000000000")


@dataclass
class Message:
    """Entries that say the same.

    Attributes:
        level: the worst of them.
        first, last: seconds since 1970 within the window; None when none of them says when.
        sources: the logs that hold them.
    """

    text: str
    level: str
    count: int = 0
    first: float | None = None
    last: float | None = None
    sources: dict[str, int] = field(default_factory=dict)


class Counts:
    """What was found.

    Args:
        window: seconds since 1970 from which on, and until which, entries count.
        before: entries from here until the window tell what is not new.
    """

    def __init__(self, window: tuple[float, float], before: float) -> None:
        self.window = window
        self.before = before
        self.messages: dict[str, Message] = {}
        self.hours: dict[int, int] = {}
        """Entries by the hour's first second, of the time before too: what is usual is seen there."""
        self.total = 0
        self.undated = 0
        """Entries that do not say when; they are counted beside `total`."""
        self.levels: dict[str, int] = {}
        self.forgotten = 0
        """Entries of messages that are no longer told apart."""
        self._known: set[int] = set()
        self._cache: dict[str, str] = {}

    def add(self, source: str, entry: Entry) -> None:
        """Count an entry."""
        when = entry.when
        if when is not None and not self.before <= when < self.window[1]:
            return
        text = self._normal(entry.message)
        if when is not None:
            hour = int(when // HOUR) * HOUR
            self.hours[hour] = self.hours.get(hour, 0) + 1
            if when < self.window[0]:
                if len(self._known) < _KNOWN:
                    self._known.add(hash(text))
                return
            self.total += 1
        else:
            self.undated += 1
        self.levels[entry.level] = self.levels.get(entry.level, 0) + 1
        self._count(text, entry.level, source, when)

    def _count(self, text: str, level: str, source: str, when: float | None) -> None:
        message = self.messages.get(text)
        if message is None:
            if len(self.messages) >= MESSAGES:
                self._forget()
            message = self.messages[text] = Message(text, level)
        message.count += 1
        message.level = max(message.level, level, key=LEVELS.index)
        message.sources[source] = message.sources.get(source, 0) + 1
        if when is not None:
            message.first = when if message.first is None else min(message.first, when)
            message.last = when if message.last is None else max(message.last, when)

    def _normal(self, text: str) -> str:
        shape = text.translate(_ZEROS)  # no rule asks which digit it is: in a storm of errors most are known by this
        found = self._cache.get(shape)
        if found is None:
            if len(self._cache) >= _CACHED:
                self._cache.clear()
            found = self._cache[shape] = normalised(shape)
        return found

    def _forget(self) -> None:
        """The rarest half."""
        ordered = sorted(self.messages.values(), key=lambda message: -message.count)
        self.forgotten += sum(message.count for message in ordered[MESSAGES // 2 :])
        self.messages = {message.text: message for message in ordered[: MESSAGES // 2]}

    def common(self) -> list[Message]:
        """The most common first."""
        return sorted(
            self.messages.values(), key=lambda message: (-message.count, -LEVELS.index(message.level), message.text)
        )

    def is_new(self, message: Message) -> bool:
        """Whether the time before has none of it."""
        return hash(message.text) not in self._known and len(self._known) < _KNOWN

    def by_hour(self, start: float | None = None) -> Iterator[tuple[int, int]]:
        """The hours of the window (or from another moment on) with their entries, also those without any."""
        begin = int((self.window[0] if start is None else start) // HOUR) * HOUR
        for hour in range(begin, int(self.window[1]), HOUR):
            yield hour, self.hours.get(hour, 0)


@dataclass(frozen=True)
class Burst:
    """Hours in a row with far more entries than usual."""

    start: int
    hours: int
    count: int
    usual: float


def bursts(
    hours: Mapping[int, int], known_since: float, window: tuple[float, float], least: int, factor: float
) -> list[Burst]:
    """The bursts of the window.

    An hour belongs to one when it has at least `least` entries, and more than `factor` times the median of all full
    hours that are known, those without any among them.
    """
    begin = int(max(known_since, 0) // HOUR) * HOUR
    known = [hours.get(hour, 0) for hour in range(begin, int(window[1]), HOUR)]
    usual = float(statistics.median(known)) if known else 0.0
    found: list[Burst] = []
    for hour in range(int(window[0] // HOUR) * HOUR, int(window[1]), HOUR):
        count = hours.get(hour, 0)
        if count < least or count <= factor * usual:
            continue
        last = found[-1] if found else None
        if last and last.start + last.hours * HOUR == hour:
            found[-1] = Burst(last.start, last.hours + 1, last.count + count, usual)
        else:
            found.append(Burst(hour, 1, count, usual))
    return found
