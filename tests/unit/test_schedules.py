# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Schedules: what each form means, written for systemd and for cron, and how long may lie between two runs."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime, timedelta

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._errors import InvalidOption
from ansible_collections.holdfast.ops.plugins.module_utils._schedules._intervals import longest_interval
from ansible_collections.holdfast.ops.plugins.module_utils._schedules._model import (
    DAYS,
    HOURS,
    MINUTES,
    MONTHS,
    WEEKDAYS,
    Pattern,
    Schedule,
)
from ansible_collections.holdfast.ops.plugins.module_utils._schedules._parse import parse_schedule
from ansible_collections.holdfast.ops.plugins.module_utils._schedules._write import crontab, on_calendar
from ansible_collections.holdfast.ops.plugins.module_utils._schedules._zones import check_zone
from ansible_collections.holdfast.ops.tests.support.clock import cron_fires, minutes
from hypothesis import example, given, settings
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "calendars", "cron"),
    [
        ("02:00", ["*-*-* 02:00:00 UTC"], ["0 2 * * *"]),
        ("2:05", ["*-*-* 02:05:00 UTC"], ["5 2 * * *"]),
        ("hourly", ["*-*-* *:00:00 UTC"], ["0 * * * *"]),
        ("daily", ["*-*-* 00:00:00 UTC"], ["0 0 * * *"]),
        ("weekly", ["Mon *-*-* 00:00:00 UTC"], ["0 0 * * 1"]),
        ("monthly", ["*-*-01 00:00:00 UTC"], ["0 0 1 * *"]),
        ("quarterly", ["*-01/3-01 00:00:00 UTC"], ["0 0 1 */3 *"]),
        ("yearly", ["*-01-01 00:00:00 UTC"], ["0 0 1 1 *"]),
        ("never", [], []),
        ("*/12h", ["*-*-* 00,12:00:00 UTC"], ["0 0,12 * * *"]),
        ("*/15m", ["*-*-* *:00/15:00 UTC"], ["*/15 * * * *"]),
        ("*/1h", ["*-*-* *:00:00 UTC"], ["0 * * * *"]),
        ("*/24h", ["*-*-* 00:00:00 UTC"], ["0 0 * * *"]),
        ("*/90m", ["*-*-* 00/3:00:00 UTC", "*-*-* 01/3:30:00 UTC"], ["0 */3 * * *", "30 1-23/3 * * *"]),
        ("*/2d", ["*-*-01/2 00:00:00 UTC"], ["0 0 */2 * *"]),
        ("Sun 03:30", ["Sun *-*-* 03:30:00 UTC"], ["30 3 * * 7"]),
        ("Mon..Fri,Sun", ["Mon..Fri,Sun *-*-* 00:00:00 UTC"], ["0 0 * * 1-5,7"]),
        ("*-*-01,15 05:00", ["*-*-01,15 05:00:00 UTC"], ["0 5 1,15 * *"]),
        ("*:0/10", ["*-*-* *:00/10:00 UTC"], ["*/10 * * * *"]),
        ("8..17:00", ["*-*-* 08..17:00:00 UTC"], ["0 8-17 * * *"]),
        ("03:30 Etc/UTC", ["*-*-* 03:30:00 Etc/UTC"], ["30 3 * * *"]),
        ("30 3 * * sun", ["Sun *-*-* 03:30:00 UTC"], ["30 3 * * 7"]),
        ("30 3 * * 0", ["Sun *-*-* 03:30:00 UTC"], ["30 3 * * 7"]),
        ("0 2 1,15 jan-mar *", ["*-01..03-01,15 02:00:00 UTC"], ["0 2 1,15 1-3 *"]),
        ("10-59/20 */6 * * *", ["*-*-* 00/6:10/20:00 UTC"], ["10-59/20 */6 * * *"]),
        # A day of the month or a day of the week.
        ("0 4 1,15 * 5", ["*-*-01,15 04:00:00 UTC", "Fri *-*-* 04:00:00 UTC"], ["0 4 1,15 * 5"]),
        ("0 4 1-31/2 * 1", ["*-*-01/2 04:00:00 UTC", "Mon *-*-* 04:00:00 UTC"], ["0 4 1-31/2 * 1"]),
        # Both, because one of the fields begins with an asterisk.
        ("0 4 */2 * 1", ["Mon *-*-01/2 04:00:00 UTC"], ["0 4 */2 * 1"]),
        ("0 4 1 * */2", ["Tue,Thu,Sat,Sun *-*-01 04:00:00 UTC"], ["0 4 1 * */2"]),
        ("Mon *-*-01..07 04:00", ["Mon *-*-01..07 04:00:00 UTC"], ["0 4 */31,2-7 * 1"]),
        ("Mon,Sun *-*-15 04:00", ["Mon,Sun *-*-15 04:00:00 UTC"], ["0 4 15 * */7,1"]),
        # Every day fits one of them.
        ("0 4 1 * 0-6", ["*-*-* 04:00:00 UTC"], ["0 4 * * *"]),
        # There is no 31 February; its Mondays there are.
        ("0 4 31 2 1", ["Mon *-02-* 04:00:00 UTC"], ["0 4 * 2 1"]),
    ],
)
def test_what_systemd_and_cron_are_told(text: str, calendars: list[str], cron: list[str]) -> None:
    schedule = parse_schedule(text)
    assert list(on_calendar(schedule, "UTC")) == calendars
    assert list(crontab(schedule, "UTC", "Etc/UTC")) == cron


def test_the_zone_of_the_schedule_itself_comes_first() -> None:
    assert on_calendar(parse_schedule("02:00"), "Europe/Berlin") == ("*-*-* 02:00:00 Europe/Berlin",)
    assert on_calendar(parse_schedule("02:00 Asia/Tokyo"), "Europe/Berlin") == ("*-*-* 02:00:00 Asia/Tokyo",)
    assert crontab(parse_schedule("02:00 Asia/Tokyo"), "UTC", "Asia/Tokyo") == ("0 2 * * *",)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("02:00:30", "names seconds"),
        ("*-*~01 02:00", "counts days from the end of the month"),
        ("Mon *-*-08..14 02:00", "a day of the month that is also a day of the week"),
        ("02:00 Europe/Berlin", "set holdfast_time_zone to UTC"),
    ],
)
def test_what_cron_cannot_say_is_refused(text: str, reason: str) -> None:
    schedule = parse_schedule(text)
    assert on_calendar(schedule, "UTC")
    with pytest.raises(InvalidOption, match=reason):
        crontab(schedule, "UTC", "UTC")


def test_cron_takes_no_other_clock_than_the_hosts() -> None:
    with pytest.raises(InvalidOption, match="set holdfast_time_zone to Europe/Berlin"):
        crontab(parse_schedule("02:00"), "UTC", "Europe/Berlin")
    assert crontab(parse_schedule("never"), "UTC", "Europe/Berlin") == ()


@pytest.mark.parametrize("name", ["UTC", "Etc/UTC", "Europe/Berlin", "America/Argentina/Ushuaia", "Etc/GMT+3"])
def test_zones(name: str) -> None:
    assert check_zone(name) == name


@pytest.mark.parametrize("name", ["", "Europe", "../etc/passwd", "Berlin/Europe", "UTC; rm", "Europe/Berlin/"])
def test_what_is_no_zone(name: str) -> None:
    with pytest.raises(InvalidOption):
        check_zone(name)


@pytest.mark.parametrize(
    ("text", "longest"),
    [
        ("*/15m", timedelta(minutes=15)),
        ("*/90m", timedelta(minutes=90)),
        ("0 8,20 * * *", timedelta(hours=12)),
        ("*-*-* 08,10,12:00", timedelta(hours=20)),
        ("*/2d", timedelta(days=2)),
        ("*/15d", timedelta(days=15)),
        ("0 2 * * 1-5", timedelta(days=3)),
        ("Mon 20:00", timedelta(days=7)),
        ("monthly", timedelta(days=31)),
        ("quarterly", timedelta(days=92)),
        ("*-*~01 02:00", timedelta(days=31)),
        ("yearly", timedelta(days=366)),
        ("*-02-29", timedelta(days=4 * 365 + 1)),
        ("*-*-31", timedelta(days=61)),
        ("0 4 1,15 * 5", timedelta(days=7)),
        ("never", None),
    ],
)
def test_the_longest_time_between_two_runs(text: str, longest: timedelta | None) -> None:
    assert longest_interval(text) == longest


# -- properties --------------------------------------------------------------------------------------------------------


def _item(low: int, high: int) -> st.SearchStrategy[str]:
    numbers = st.integers(low, high)
    spans = st.tuples(numbers, numbers).map(lambda pair: f"{min(pair)}-{max(pair)}")
    stepped = st.tuples(spans | st.just("*"), st.integers(1, high + 2)).map(lambda pair: f"{pair[0]}/{pair[1]}")
    return numbers.map(str) | spans | stepped


def _field(low: int, high: int) -> st.SearchStrategy[str]:
    return st.just("*") | st.lists(_item(low, high), min_size=1, max_size=3).map(",".join)


CRONS = st.tuples(_field(0, 59), _field(0, 23), _field(1, 31), _field(1, 12), _field(0, 7)).map(" ".join)
STARTS = st.integers(0, 3000).map(lambda days: datetime(2024, 1, 1) + timedelta(days=days))


def _parsed(expression: str) -> Schedule:
    """The schedule of an expression; no pattern where it names no date that there is."""
    try:
        return parse_schedule(expression)
    except InvalidOption as error:
        assert "there is no such date" in str(error), expression
        return Schedule()


@settings(max_examples=40, deadline=None)
@given(CRONS, STARTS)
@example("0 0 13 * 5", datetime(2026, 3, 1))
@example("0 0 */5 * 1,4", datetime(2026, 3, 1))
@example("0 0 1,9 * */3", datetime(2026, 3, 1))
@example("5 0 29 2 *", datetime(2028, 2, 28))
def test_a_cron_expression_means_what_cron_does(expression: str, start: datetime) -> None:
    schedule = _parsed(expression)
    fires = {moment for moment in minutes(start, 9) if cron_fires(expression, moment)}
    assert fires == {
        datetime(day.year, day.month, day.day) + timedelta(seconds=second)
        for day in (start + timedelta(days=number) for number in range(9))
        for second in schedule.times_on(day.date())
    }
    # Written for cron again it fires then, and never twice.
    again: Counter[datetime] = Counter()
    for line in crontab(schedule, "UTC", "UTC"):
        again.update(moment for moment in minutes(start, 9) if cron_fires(line, moment))
    assert again == Counter(fires)


def _values(valid: frozenset[int]) -> st.SearchStrategy[frozenset[int]]:
    return st.just(valid) | st.frozensets(st.sampled_from(sorted(valid)), min_size=1, max_size=12)


PATTERNS = st.builds(
    Pattern,
    months=_values(MONTHS),
    days=_values(DAYS),
    weekdays=_values(WEEKDAYS),
    hours=_values(HOURS),
    minutes=_values(MINUTES),
    seconds=_values(MINUTES),
    from_end=st.booleans(),
).map(lambda one: one if one.days != DAYS else Pattern(one.months, DAYS, one.weekdays, one.hours, one.minutes))


@given(PATTERNS.filter(lambda pattern: pattern.possible), st.sampled_from(["UTC", "Europe/Berlin", "Asia/Tokyo"]))
def test_a_calendar_reads_back_as_it_was_written(pattern: Pattern, zone: str) -> None:
    (line,) = on_calendar(Schedule((pattern,)), zone)
    assert parse_schedule(line) == Schedule((pattern,), zone)


@settings(max_examples=40, deadline=None)
@given(CRONS, STARTS)
def test_no_gap_is_longer_than_the_longest(expression: str, start: datetime) -> None:
    schedule = _parsed(expression)
    if schedule.never:
        return
    longest = longest_interval(expression)
    assert longest is not None
    day, runs = start.date(), list[datetime]()
    while len(runs) < 500 and day < date(2040, 1, 1):
        midnight = datetime(day.year, day.month, day.day)
        runs += [midnight + timedelta(seconds=second) for second in schedule.times_on(day)]
        day += timedelta(days=1)
    assert all(later - earlier <= longest for earlier, later in zip(runs, runs[1:]))


@given(st.text(max_size=30))
def test_whatever_is_written_is_read_or_refused_without_being_repeated(text: str) -> None:
    try:
        parse_schedule(text)
    except InvalidOption as error:
        assert len(text) < 8 or text not in str(error)
