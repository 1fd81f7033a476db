# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Limits and flap control: pure functions, and what must hold of them whatever comes."""

from __future__ import annotations

import math

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._health._flaps import State
from ansible_collections.holdfast.ops.plugins.module_utils._health._interface import FAIL, PASS, STATUSES, WARN
from ansible_collections.holdfast.ops.plugins.module_utils._health._thresholds import judged
from ansible_collections.holdfast.ops.plugins.module_utils._limits import CRITICAL, reached
from hypothesis import given
from hypothesis import strategies as st

BAD = {status: number for number, status in enumerate(STATUSES)}
statuses = st.lists(st.sampled_from(STATUSES), max_size=40)
in_a_row = st.integers(1, 6)


def after(seen: list[str], failures: int, recoveries: int) -> list[State]:
    """The states after each run."""
    state, states = State(), []
    for number, status in enumerate(seen):
        state = state.seen(status, failures, recoveries, float(number))
        states.append(state)
    return states


def test_a_failure_is_believed_after_so_many_in_a_row_and_recovers_likewise() -> None:
    seen = [FAIL, FAIL, PASS, FAIL, FAIL, FAIL, PASS, FAIL, PASS, PASS]
    believed = [state.confirmed for state in after(seen, 3, 2)]
    assert believed == [PASS, PASS, PASS, PASS, PASS, FAIL, FAIL, FAIL, FAIL, PASS]


def test_until_then_it_is_a_warning() -> None:
    assert [state.effective for state in after([FAIL, PASS, FAIL, FAIL, PASS, PASS], 2, 2)] == [
        WARN,
        PASS,
        WARN,
        FAIL,
        FAIL,
        PASS,
    ]


def test_what_wavers_between_bad_and_worse_is_believed_to_be_bad() -> None:
    assert after([WARN, FAIL, WARN], 3, 2)[-1].confirmed == WARN
    assert after([FAIL, FAIL, FAIL, WARN, PASS], 3, 2)[-1].confirmed == WARN


def test_the_time_is_that_of_the_change() -> None:
    states = after([FAIL, FAIL, FAIL, FAIL], 2, 2)
    assert [state.since for state in states] == [None, 1.0, 1.0, 1.0]


@given(statuses)
def test_with_one_and_one_it_is_what_was_last_seen(seen: list[str]) -> None:
    assert [state.confirmed for state in after(seen, 1, 1)] == seen


@given(statuses, in_a_row, in_a_row)
def test_it_becomes_worse_only_after_enough_worse_runs(seen: list[str], failures: int, recoveries: int) -> None:
    before = PASS
    for number, state in enumerate(after(seen, failures, recoveries), 1):
        if BAD[state.confirmed] > BAD[before]:
            last = seen[max(0, number - failures) : number]
            assert len(last) == failures
            assert min(map(BAD.__getitem__, last)) == BAD[state.confirmed]
        elif BAD[state.confirmed] < BAD[before]:
            last = seen[max(0, number - recoveries) : number]
            assert len(last) == recoveries
            assert max(map(BAD.__getitem__, last)) == BAD[state.confirmed]
        before = state.confirmed


@given(statuses, st.sampled_from(STATUSES), in_a_row, in_a_row)
def test_what_stays_is_believed_in_the_end(seen: list[str], last: str, failures: int, recoveries: int) -> None:
    assert after([*seen, *[last] * max(failures, recoveries)], failures, recoveries)[-1].confirmed == last


@given(statuses, in_a_row, in_a_row)
def test_a_probe_is_never_told_pass_when_the_last_run_was_not(seen: list[str], failures: int, recoveries: int) -> None:
    for status, state in zip(seen, after(seen, failures, recoveries)):
        assert not (status != PASS and state.effective == PASS)
        assert BAD[state.effective] >= BAD[state.confirmed]


@given(statuses, in_a_row, in_a_row)
def test_a_state_that_was_kept_goes_on_as_if_it_had_not_been(seen: list[str], failures: int, recoveries: int) -> None:
    state = State()
    for number, (status, expected) in enumerate(zip(seen, after(seen, failures, recoveries))):
        state = State.from_json(state.as_json()).seen(status, failures, recoveries, float(number))
        assert state == expected


@pytest.mark.parametrize("damage", [{"confirmed": "good"}, {"recent": ["pass", "x"]}, {"since": "now"}, {"told": None}])
def test_damage_is_noticed(damage: dict) -> None:
    with pytest.raises(ValueError):
        State.from_json({**State().as_json(), **damage})


@given(st.floats(allow_nan=False), st.floats(0, 1e6), st.floats(0, 1e6))
def test_more_is_never_better(value: float, warning: float, critical: float) -> None:
    severities = [None, "warning", "critical"]
    more = reached(math.nextafter(value, math.inf) if hasattr(math, "nextafter") else value, warning, critical)
    assert severities.index(more) >= severities.index(reached(value, warning, critical))
    less = reached(value, warning, critical, falling=True)
    assert (less is None) == (value > max(warning, critical))


def test_a_limit_is_reached_when_the_value_equals_it_and_the_sentence_names_it() -> None:
    found = judged("used_percent", 90.0, "%", 80, 90, what="/ is full to", target="/")
    assert (found.status, found.output) == (FAIL, "/ is full to 90 % (critical: 90 %).")
    assert judged("used_percent", 89.99, "%", 80, 90, what="").status == WARN
    assert judged("days", 7, "d", 21, 7, what="", falling=True).status == FAIL
    assert judged("free", 5 << 30, "B", 10 << 30, None, what="Free:", falling=True).output == (
        "Free: 5 GiB (warning: 10 GiB)."
    )


def test_what_is_not_known_is_not_good() -> None:
    assert reached(math.nan, 1, 2) == CRITICAL
