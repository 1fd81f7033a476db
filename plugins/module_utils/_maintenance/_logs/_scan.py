# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding the errors in a piece of a log, quickly where there are none. Pure.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence

from ._counts import Counts
from ._entries import (
    ERROR,
    LITERALS,
    NUMBERED,
    NUMBERED_LITERALS,
    WARNING,
    WARNING_LITERALS,
    Entry,
    continues,
    entry,
)
from ._moments import Moments

_MOST_LINES = 200
"""Lines of one entry that are looked at."""
_BEFORE = 100
"""Lines that are gone back for the beginning of an entry."""
_LONGEST = 16 * 1024
"""Bytes of a line that are looked at."""
_OFTEN = 64
"""After so many lines the time is looked at."""
_ALIGN = 64 * 1024
"""Bytes at either end of a piece in which the beginning of an entry is looked for."""
_FIRST = 50
"""Lines at the beginning of a piece in which a moment is looked for."""
_NEAR = 20
"""Lines that are gone back for the moment of an entry that has none of its own."""


class Scanner:
    """Counts what it finds.

    Args:
        least: the lowest level that counts.
        patterns: what counts as an error beside what says of itself that it is one.
        ignore: lines that never count.
    """

    def __init__(
        self,
        counts: Counts,
        moments: Moments,
        *,
        least: str = ERROR,
        patterns: Sequence[re.Pattern[bytes]] = (),
        ignore: Sequence[re.Pattern[bytes]] = (),
    ) -> None:
        self.until = math.inf
        """By `time.monotonic`, when the rest of a piece is given up."""
        self.cut = False
        """Whether that was so."""
        self._counts = counts
        self._moments = moments
        self._least = least
        self._patterns = patterns
        self._ignore = ignore
        self._literals = (*LITERALS, *WARNING_LITERALS) if least == WARNING else LITERALS

    def piece(self, source: str, data: bytes) -> float | None:
        """Count what a piece of whole lines holds; its first moment, or None where it has none in its front."""
        first, stamped = self._front(data)
        done = 0
        for number, start in enumerate(self._candidates(data)):
            if number % _OFTEN == 0 and time.monotonic() > self.until:
                self.cut = True  # entries that somebody made to cost much
                break
            if start >= done:
                lines, done = self._lines(data, start, done, stamped)
                self._judge(source, lines, data, start)
        return first

    def entry(self, source: str, lines: Sequence[bytes], when: float, priority: int | None) -> None:
        """Count an entry of which more is known than it says itself."""
        if not any(pattern.search(lines[0]) for pattern in self._ignore):
            found = entry(lines, self._moments, self._least, priority) or self._forced(lines)
            if found:
                self._counts.add(source, Entry(found.level, found.message, when))

    def beginning(self, data: bytes) -> int:
        """Where the first entry begins that is not cut, or the first line; the length of `data` when there is none."""
        first = data.find(b"\n") + 1
        if not first or first >= len(data):
            return len(data)
        fallback, previous, at = 0, data[:0], first
        while at < min(len(data), first + _ALIGN):
            line, after = _line(data, at)
            if self._stamped(line):
                return at
            if not fallback and not continues(previous, line, False):
                fallback = at
            previous, at = line, after
        return fallback or first

    def ending(self, data: bytes) -> int:
        """Where the last entry begins, which may be cut; the length of `data` when there is but one."""
        last = start = data.rfind(b"\n", 0, len(data) - 1) + 1
        fallback = 0
        while start > max(0, len(data) - _ALIGN):
            before = data.rfind(b"\n", 0, start - 1) + 1
            line = _line(data, start)[0]
            if self._stamped(line):
                return start
            if not fallback and not continues(_line(data, before)[0], line, False):
                fallback = start
            start = before
        return fallback or last or len(data)

    def _stamped(self, line: bytes) -> bool:
        return line[:1] not in (b" ", b"\t") and self._moments.read(line) is not None

    def _front(self, data: bytes) -> tuple[float | None, bool]:
        """The first moment, and whether lines usually begin with one."""
        first, at, stamped, lines = None, 0, 0, 0
        while at < len(data) and lines < _FIRST:
            end = data.find(b"\n", at)
            end = len(data) if end < 0 else end
            found = self._moments.read(data[at : min(end, at + _LONGEST)])
            if found:
                stamped += 1
                first = found[0] if first is None else first
            lines, at = lines + 1, end + 1
        return first, stamped >= 2 or stamped == lines == 1

    def _candidates(self, data: bytes) -> list[int]:
        """Where lines begin that could be errors."""
        found: set[int] = set()
        small = data.lower()
        for literal in (*self._literals, *(NUMBERED_LITERALS if NUMBERED in small else ())):
            at = small.find(literal)
            while at >= 0:
                found.add(small.rfind(b"\n", 0, at) + 1)
                end = small.find(b"\n", at)
                at = small.find(literal, end) if end >= 0 else -1
        for pattern in self._patterns:
            for match in pattern.finditer(data):
                found.add(data.rfind(b"\n", 0, match.start()) + 1)
        return sorted(found)

    def _goes_on(self, previous: bytes, line: bytes, stamped: bool) -> bool:
        return continues(previous, line, stamped and self._moments.read(line) is None)

    def _lines(self, data: bytes, start: int, floor: int, stamped: bool) -> tuple[list[bytes], int]:
        """The lines of the entry that a line belongs to, and where the next entry begins."""
        line, end = _line(data, start)
        lines = [line]
        for _number in range(_BEFORE):
            if start <= floor:
                break
            before = data.rfind(b"\n", 0, start - 1) + 1
            previous = _line(data, before)[0]
            if before < floor or not self._goes_on(previous, line, stamped):
                break
            lines.insert(0, previous)
            start, line = before, previous
        while end < len(data):
            line, after = _line(data, end)
            if not self._goes_on(lines[-1], line, stamped):
                break
            if len(lines) < _MOST_LINES:
                lines.append(line)
            end = after
        return lines, end

    def _judge(self, source: str, lines: Sequence[bytes], data: bytes, start: int) -> None:
        if any(pattern.search(lines[0]) for pattern in self._ignore):
            return
        found = entry(lines, self._moments, self._least) or self._forced(lines)
        if found is None:
            return
        if found.when is None:
            found = Entry(found.level, found.message, self._near(data, start))
        self._counts.add(source, found)

    def _forced(self, lines: Sequence[bytes]) -> Entry | None:
        """An entry that only the user calls an error."""
        if not any(pattern.search(line) for pattern in self._patterns for line in lines):
            return None
        stamp = self._moments.read(lines[0])
        text = lines[0][stamp[1] if stamp else 0 :].decode("utf-8", "replace").strip(" \t:-]|")
        return Entry(ERROR, text, stamp[0] if stamp else None)

    def _near(self, data: bytes, start: int) -> float | None:
        """The moment of the nearest line before that has one."""
        for _number in range(_NEAR):
            if start <= 0:
                return None
            start = data.rfind(b"\n", 0, start - 1) + 1
            found = self._moments.read(_line(data, start)[0])
            if found:
                return found[0]
        return None


def _line(data: bytes, start: int) -> tuple[bytes, int]:
    """The line that begins there, cut when it is very long, and where the next one begins."""
    end = data.find(b"\n", start)
    end = len(data) if end < 0 else end
    return data[start : min(end, start + _LONGEST)].rstrip(b"\r"), end + 1
