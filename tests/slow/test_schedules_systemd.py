# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is written for systemd comes when systemd itself says it does, through the nights when clocks are changed."""

from __future__ import annotations

import random
from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._schedules._parse import parse_schedule
from ansible_collections.holdfast.ops.plugins.module_utils._schedules._write import on_calendar
from ansible_collections.holdfast.ops.tests.support.clock import cron_fires, systemd_next

COUNT = 12


def ours(text: str, zone: str, base: datetime) -> list[datetime]:
    """The next moments by our reading, as naive times in UTC; none for a time that a clock leaps over."""
    schedule = parse_schedule(text)
    clock = ZoneInfo(schedule.zone or zone)
    day, found = base.date() - timedelta(days=2), set[datetime]()
    while len(found) < 3 * COUNT and day < date(2099, 1, 1):
        for second in schedule.times_on(day):
            local = datetime(day.year, day.month, day.day) + timedelta(seconds=second)
            utc = local.replace(tzinfo=clock).astimezone(timezone.utc)
            if utc.astimezone(clock).replace(tzinfo=None) == local and utc.replace(tzinfo=None) > base:
                found.add(utc.replace(tzinfo=None))
        day += timedelta(days=1)
    return sorted(found)[:COUNT]


def systemds(text: str, zone: str, base: datetime) -> list[datetime]:
    """The next moments of all lines together, as a timer takes them."""
    lines = on_calendar(parse_schedule(text), zone)
    return sorted({moment for line in lines for moment in systemd_next(line, base, COUNT)})[:COUNT]


@pytest.mark.parametrize(
    "text",
    [
        "02:00", "hourly", "daily", "weekly", "monthly", "quarterly", "yearly", "*/12h", "*/15m", "*/90m", "*/2d",
        "Sun 03:30", "Mon..Fri 02:00", "Mon,Thu *-*-* 04:00:05", "*-*-01 05:00", "*-*~03 05:00", "*-*~07/2 05:00",
        "Mon *-*-1..7 18:00", "Sun *-*~07/1 18:00", "*-02-29", "*:0/10", "1/5,7:00..20/7", "03:30 Asia/Kathmandu",
        "0 4 1,15 * 5", "0 4 */2 * 1", "*/20 8-17 * * mon-fri", "0 0 29 2 0",
    ],
)  # fmt: skip
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_systemd_agrees(text: str, zone: str) -> None:
    # In the hour that comes twice systemd goes by the first, in one that does not come it leaves the run out; the
    # days of the change themselves are looked at below.
    base = datetime(2026, 11, 22, 17, 0)
    assert systemds(text, zone, base) == ours(text, zone, base)


@pytest.mark.parametrize(
    "base", [datetime(2026, 3, 27, 12, 0), datetime(2026, 10, 23, 12, 0)], ids=["spring", "autumn"]
)
@pytest.mark.parametrize("text", ["01:30", "04:00", "*/12h", "Sun 05:00", "0 1,4 * * *"])
def test_systemd_agrees_when_clocks_are_changed(text: str, base: datetime) -> None:
    assert systemds(text, "Europe/Berlin", base) == ours(text, "Europe/Berlin", base)


def test_a_time_that_the_clock_leaps_over_is_left_out_by_systemd() -> None:
    """Which is why docs/schedules.md advises against the hour after 02:00 in zones with daylight saving."""
    runs = systemd_next("*-*-* 02:30:00 Europe/Berlin", datetime(2026, 3, 27, 12, 0), 2)
    assert runs == [datetime(2026, 3, 28, 1, 30), datetime(2026, 3, 30, 0, 30)]


def test_systemd_agrees_with_cron() -> None:
    """Expressions by chance, always the same ones."""
    chance = random.Random(20261122)

    def field(low: int, high: int) -> str:
        first, last = sorted((chance.randint(low, high), chance.randint(low, high)))
        step = chance.randint(2, 9)
        return chance.choice(["*", "*", f"*/{step}", str(first), f"{first}-{last}", f"{first}-{last}/{step},{first}"])

    base = datetime(2026, 11, 22, 17, 0)
    for _number in range(40):
        expression = " ".join(field(*limits) for limits in ((0, 59), (0, 23), (1, 28), (1, 12), (0, 7)))
        told = systemds(expression, "UTC", base)
        assert told
        assert all(cron_fires(expression, moment) for moment in told), expression
        between = (base + timedelta(minutes=number) for number in range(1, 20 * 24 * 60))
        expected = [moment for moment in between if cron_fires(expression, moment) and moment <= told[-1]]
        assert told[: len(expected)] == expected, expression
