# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The geometry of plots, apart from how they are drawn: bars in tables, and lines over time.

PRIVATE to the collection; may change without notice.

Lengths are in units of a drawing WIDTH × HEIGHT wide and high, which the page scales.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from .._section import BYTES, COUNT, PERCENT
from ._units import day, shown

WIDTH, HEIGHT = 320, 128
LEFT, RIGHT, TOP, BOTTOM = 58, 8, 8, 20
"""Room around the plotted area: values to its left, times below."""

POINTS = 60
"""Points of a line, and rows of the table that tells the same. More are thinned out; the last one always stays."""

_NICE = (1.0, 2.0, 2.5, 5.0, 10.0)
_SMALLEST, _LARGEST = 1e-12, 1e300
"""A smaller difference is none that anybody could see; with a larger value, sums would no longer be numbers."""


class Point(NamedTuple):
    """A value and where it lies."""

    at: datetime
    value: float
    x: float
    y: float


class Tick(NamedTuple):
    """A labelled place on an axis."""

    position: float
    label: str


@dataclass(frozen=True)
class Line:
    """A line over time, with what its axes say."""

    points: Sequence[Point]
    values: Sequence[Tick]
    times: Sequence[Tick]

    @property
    def path(self) -> str:
        """The line, as `d` of a path."""
        return "M" + "L".join(f"{point.x:.1f} {point.y:.1f}" for point in self.points)

    @property
    def area(self) -> str:
        """What lies below the line."""
        floor = HEIGHT - BOTTOM
        return f"{self.path}L{self.points[-1].x:.1f} {floor:.1f}L{self.points[0].x:.1f} {floor:.1f}Z"


def bars(values: Sequence[float | None], unit: str) -> list[float | None]:
    """How long the bar of each value is, from 0 to 100; None where there is no value.

    Percentages are of the whole; other values are compared with the largest.
    """
    largest = max((abs(value) for value in values if value is not None), default=0.0)
    if unit == PERCENT:
        largest = max(largest, 100.0)
    return [None if value is None else 100.0 * (abs(value) / largest) if largest else 0.0 for value in values]


def line(way: Sequence[tuple[datetime, float]], unit: str) -> Line | None:
    """The way of a figure, times ascending; None for fewer than two moments, which make no line."""
    chosen = thinned(way)
    begin, span = chosen[0][0] if chosen else None, _span(chosen)
    if begin is None or not span:
        return None
    ticks = nice_ticks([value for _at, value in chosen], unit)
    low, high = ticks[0], ticks[-1]

    def x(at: datetime) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * ((at - begin).total_seconds() / span)

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low)

    return Line(
        points=[Point(at, value, x(at), y(value)) for at, value in chosen],
        values=[Tick(y(tick), _label(tick, unit)) for tick in ticks],
        times=[Tick(x(at), label) for at, label in zip((begin, chosen[-1][0]), _dates(begin, chosen[-1][0]))],
    )


def thinned(way: Sequence[tuple[datetime, float]]) -> list[tuple[datetime, float]]:
    """At most POINTS values: of each stretch of time the last one, and the very first."""
    if len(way) <= POINTS:
        return list(way)
    begin, span = way[0][0], _span(way) or 1.0
    last = {min(int((at - begin).total_seconds() / span * (POINTS - 1)), POINTS - 2): (at, value) for at, value in way}
    return [way[0], *last.values()] if way[0] not in last.values() else list(last.values())


def nice_ticks(values: Sequence[float], unit: str) -> list[float]:
    """Round values, evenly apart and at least two, between and around which all the given ones lie."""
    low, high = (min(max(each, -_LARGEST), _LARGEST) for each in (min(values), max(values)))
    if high - low <= max(1e-9 * max(abs(low), abs(high)), _SMALLEST):  # a flat line runs through the middle
        room = abs(low) / 10 if abs(low) > _SMALLEST * 1000 else 1.0
        low, high = (max(low - room, 0.0) if low >= 0 else low - room), high + room
    step = _step((high - low) / 3, unit)
    if unit == BYTES or (unit == COUNT and all(value == int(value) for value in values)):
        step = max(step, 1.0)
    return [number * step for number in range(math.floor(low / step), math.ceil(high / step) + 1)]


def _step(about: float, unit: str) -> float:
    """A round number near to `about`, and not below it; for bytes a power of two."""
    if unit == BYTES:
        return float(2.0 ** math.ceil(math.log2(about)))
    power = 10.0 ** math.floor(math.log10(about))
    return next((nice * power for nice in _NICE if nice * power >= about), 10.0 * power)


def _label(value: float, unit: str) -> str:
    """What stands at an axis, where there is little room."""
    if unit == COUNT:
        for power, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
            if abs(value) >= 10 * power or (abs(value) >= power and power > 1e3):
                return f"{value / power:.3g} {letter}"
    return shown(value, unit)


def _span(way: Sequence[tuple[datetime, float]]) -> float:
    return (way[-1][0] - way[0][0]).total_seconds() if way else 0.0


def _dates(begin: datetime, end: datetime) -> tuple[str, str]:
    """The two ends of a time axis, as short as they can be told apart."""
    if begin.date() == end.date():
        return f"{begin:%H:%M}", f"{end:%H:%M}"
    year = begin.year != end.year
    return day(begin, year=year), day(end, year=year)
