# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lengths of time and sizes as users write them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._durations import (
    Period,
    counted,
    format_duration,
    format_size,
    parse_duration,
    parse_period,
    parse_size,
)
from ansible_collections.holdfast.ops.plugins.module_utils._errors import InvalidOption
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0s", timedelta()),
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        ("24h", timedelta(hours=24)),
        (" 7d ", timedelta(days=7)),
        ("2w", timedelta(weeks=2)),
        ("1d12h", timedelta(days=1, hours=12)),
        ("1w1d1h1m1s", timedelta(weeks=1, days=1, hours=1, minutes=1, seconds=1)),
        ("604800s", timedelta(days=7)),
        ("365000d", timedelta(days=365_000)),
    ],
)
def test_durations(text: str, expected: timedelta) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "24",
        "h",
        "-1h",
        "1.5h",
        "1y",
        "6mo",
        "24 h",
        "12h1d",
        "1h1h",
        "24H",
        "1h\n1m",
        "٣h",
        "1" * 13 + "s",
        "1h,",
    ],
)
def test_what_is_no_duration_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(InvalidOption) as refused:
        parse_duration(text)
    assert refused.value.message == (
        "must be whole numbers with a unit of s, m, h, d or w, such as 30m, 24h, 7d or 1d12h"
    )


@pytest.mark.parametrize("text", ["365001d", "999999999999w"])
def test_a_duration_beyond_the_calendar_is_refused(text: str) -> None:
    with pytest.raises(InvalidOption, match="at most 1000 years"):
        parse_duration(text)


@given(st.integers(0, 10**9))
def test_a_written_duration_is_read_back(seconds: int) -> None:
    duration = timedelta(seconds=seconds)
    assert parse_duration(format_duration(duration)) == duration


def test_a_negative_duration_is_not_written() -> None:
    with pytest.raises(ValueError, match="not negative"):
        format_duration(timedelta(seconds=-1))


@pytest.mark.parametrize(
    ("text", "before"),
    [
        ("12h", "2026-03-30T18:30:00+00:00"),
        ("7d", "2026-03-24T06:30:00+00:00"),
        ("2w", "2026-03-17T06:30:00+00:00"),
        ("1m", "2026-02-28T06:30:00+00:00"),
        ("25m", "2024-02-29T06:30:00+00:00"),
        ("1y", "2025-03-31T06:30:00+00:00"),
        ("1y6m", "2024-09-30T06:30:00+00:00"),
        ("2026y", "0001-01-01T00:00:00+00:00"),
        ("2025y99d", "0001-01-01T00:00:00+00:00"),
        ("999999999w", "0001-01-01T00:00:00+00:00"),
    ],
)
def test_periods_count_on_the_calendar(text: str, before: str) -> None:
    moment = datetime(2026, 3, 31, 6, 30, tzinfo=timezone.utc)
    assert parse_period(text).before(moment) == datetime.fromisoformat(before)


@pytest.mark.parametrize("text", ["", "7", "30s", "1m1y", "d", "-7d", "1 y"])
def test_what_is_no_period_is_refused(text: str) -> None:
    with pytest.raises(InvalidOption, match="must be whole numbers with a unit of h, d, w, m "):
        parse_period(text)


@given(st.builds(Period, *[st.integers(0, 999)] * 5))
def test_a_written_period_is_read_back(period: Period) -> None:
    assert parse_period(str(period)) == period
    assert bool(period) is (str(period) != "0h")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("4096", 4096),
        ("17B", 17),
        ("64KiB", 64 * 1024),
        ("16MiB", 16 * 1024**2),
        ("16 MiB", 16 * 1024**2),
        ("16M", 16 * 1024**2),
        ("16mib", 16 * 1024**2),
        ("2GB", 2 * 1000**3),
        ("2gb", 2 * 1000**3),
        ("3TiB", 3 * 1024**4),
        ("1P", 1024**5),
    ],
)
def test_sizes(text: str, expected: int) -> None:
    assert parse_size(text) == expected


@pytest.mark.parametrize("text", ["", "MiB", "-1", "1.5GiB", "16MB/s", "16MiBs", "16  MiB", "1i", "1e3", "9" * 19])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(InvalidOption, match="must be a whole number of bytes or one with a unit, such as"):
        parse_size(text)


@pytest.mark.parametrize(
    ("size", "expected"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (16 * 1024**2, "16 MiB"), (3 * 512 * 1024**2, "1.5 GiB")],
)
def test_sizes_are_written_for_people(size: int, expected: str) -> None:
    assert format_size(size) == expected


@pytest.mark.parametrize(
    ("number", "words", "expected"),
    [
        (0, ["backup"], "0 backups"),
        (1, ["backup"], "1 backup"),
        (2, ["backup"], "2 backups"),
        (1, ["entry", "entries"], "1 entry"),
        (2, ["entry", "entries"], "2 entries"),
    ],
)
def test_numbers_are_written_for_people(number: int, words: list[str], expected: str) -> None:
    assert counted(number, *words) == expected
