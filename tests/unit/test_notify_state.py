# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is told of one problem on one channel, whatever comes: never twice without need, never too often, and in the end
what is true.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ansible_collections.holdfast.ops.plugins.module_utils._notify._model import RESOLVED, SEVERITIES, Event, Message
from ansible_collections.holdfast.ops.plugins.module_utils._notify._state import KEEP, RATE_WINDOW, Entry
from ansible_collections.holdfast.ops.tests.support.notify import NOON, event
from hypothesis import given, settings
from hypothesis import strategies as st

REPEAT = timedelta(hours=4)
RATE = 3


@dataclass
class Simulation:
    """An entry, a clock, and a channel that works or does not; as `_send` drives it."""

    now: datetime = NOON
    entry: Entry = field(default_factory=Entry)
    works: bool = True
    told: list[tuple[datetime, Message]] = field(default_factory=list)
    ignored: int = 0
    happened: list[Event] = field(default_factory=list)

    def happens(self, status: str, severity: str = "critical") -> None:
        told = event(status=status, severity=severity, at=self.now)
        self.happened.append(told)
        verdict = self.entry.judge(told, REPEAT, RATE, self.now)
        if verdict.tell:
            self._send(told)
        else:
            self.ignored += status == RESOLVED and not verdict.keep
            self.entry.skip(told, verdict, self.now)
        self._stored()

    def retry(self) -> None:
        pending = self.entry.pending
        if pending is not None and self.entry.due(self.now, reachable=False):
            verdict = self.entry.judge(pending, REPEAT, RATE, self.now)
            if verdict.tell:
                self._send(pending)
            elif not verdict.keep:
                self.entry.drop()
        self._stored()

    def _send(self, told: Event) -> None:
        message = self.entry.take(told, self.now)
        if self.works:
            self.told.append((self.now, message))
            self.entry.told(message, self.now)
        else:
            self.entry.failed(told, None, self.now)

    def _stored(self) -> None:
        """Every state survives being written and read."""
        read = Entry.from_json(self.entry.as_json())
        assert read == self.entry
        self.entry = read


steps = st.lists(
    st.tuples(
        st.sampled_from(["firing", "resolved", "retry", "down", "up"]),
        st.sampled_from(SEVERITIES),
        st.sampled_from([0, 1, 7, 61, 300]),
    ),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(steps)
def test_whatever_happens(history: list[tuple[str, str, int]]) -> None:
    it = Simulation()
    for what, severity, minutes in history:
        it.now += timedelta(minutes=minutes, milliseconds=1)  # two events of the same moment would be the same event
        if what in ("firing", "resolved"):
            it.happens(what, severity)
        elif what == "retry":
            it.retry()
        else:
            it.works = what == "up"
    it.works = True
    for _quarter_hour in range(4 * 8):
        it.now += timedelta(minutes=15)
        it.retry()
    firing = [moment for moment, message in it.told if message.event.firing]
    # Nothing is said to be over that was not told to be, and nothing twice.
    told = [message.event.status for _moment, message in it.told]
    assert all(before == "firing" for before, status in zip(["", *told], told) if status == "resolved")
    # Not too often: no hour has more beginnings than allowed.
    assert all(b - a >= RATE_WINDOW for a, b in zip(firing, firing[RATE:]))
    # A problem that is open is not repeated early, unless it got worse.
    for (before, first), (after, second) in zip(it.told, it.told[1:]):
        if first.event.firing and second.event.firing:
            worse = SEVERITIES.index(second.event.severity) < SEVERITIES.index(first.event.severity)
            assert worse or after - before >= REPEAT
    # In the end what was told is what is true.
    if it.happened:
        last = it.happened[-1]
        assert it.entry.pending is None
        assert it.entry.open == last.firing
        assert (not told and not last.firing) or told[-1] == last.status
    # Every event was told, is counted in a message, or is counted for the next one.
    counted = sum(message.unsent for _moment, message in it.told) + it.entry.unsent
    assert len(it.told) + counted + it.ignored == len(it.happened)


def test_a_problem_is_told_once_and_its_end_too() -> None:
    it = Simulation()
    it.happens("firing")
    it.now += timedelta(minutes=5)
    it.happens("firing")
    it.now += timedelta(minutes=5)
    it.happens("resolved")
    it.happens("resolved")
    (_channel, first), (_same, last) = it.told
    assert (first.again, last.again) == (False, True)
    assert (last.since, last.unsent, last.unsent_since) == (NOON, 1, NOON + timedelta(minutes=5))


def test_it_is_told_again_when_it_lasts_or_gets_worse() -> None:
    it = Simulation()
    it.happens("firing", "warning")
    it.now += timedelta(minutes=1)
    it.happens("firing", "critical")
    it.now += REPEAT
    it.happens("firing", "critical")
    assert [message.told_severity for _moment, message in it.told] == [None, "warning", "critical"]
    assert {message.since for _moment, message in it.told} == {NOON}


def test_what_comes_and_goes_all_the_time_is_told_later_as_it_is_then() -> None:
    it = Simulation()
    for _minute in range(10):
        it.happens("firing")
        it.now += timedelta(seconds=30)
        it.happens("resolved")
        it.now += timedelta(seconds=30)
    it.happens("firing")
    assert len(it.told) == 2 * RATE
    it.now = NOON + RATE_WINDOW
    it.retry()
    (moment, message) = it.told[-1]
    assert (moment, message.event.status, message.unsent) == (NOON + RATE_WINDOW, "firing", 7)


def test_a_clock_that_was_set_back_keeps_nothing_from_being_told() -> None:
    it = Simulation()
    it.happens("firing")
    it.now -= timedelta(days=300)
    it.happens("firing")
    assert len(it.told) == 2
    it.works = False
    it.happens("resolved")
    it.now -= timedelta(days=300)
    it.works = True
    it.retry()
    assert it.told[-1][1].event.status == "resolved"


def test_somebody_who_asks_to_wait_is_left_alone() -> None:
    entry = Entry()
    told = event()
    entry.take(told, NOON)
    entry.failed(told, 3600, NOON)
    assert not entry.due(NOON + timedelta(minutes=59), reachable=False)
    assert entry.due(NOON + timedelta(minutes=60), reachable=False)


def test_two_at_once_do_not_tell_the_same() -> None:
    entry = Entry()
    first = event()
    message = entry.take(first, NOON)
    at_once = NOON + timedelta(seconds=1)
    assert not entry.judge(event(at=at_once), REPEAT, RATE, at_once).tell
    assert not entry.due(at_once, reachable=True)
    over = event(status="resolved", at=at_once)
    verdict = entry.judge(over, REPEAT, RATE, at_once)
    assert (verdict.tell, verdict.keep) == (False, True)
    entry.skip(over, verdict, at_once)
    entry.told(message, at_once)  # the first has arrived; the end was kept, and follows
    assert entry.pending == over
    assert entry.judge(over, REPEAT, RATE, at_once).tell


def test_a_sender_that_was_killed_leaves_it_to_the_next() -> None:
    entry = Entry()
    entry.take(event(), NOON)
    assert entry.due(NOON + timedelta(minutes=3), reachable=False)


def test_only_what_is_over_for_long_is_forgotten() -> None:
    it = Simulation()
    it.happens("firing")
    assert not it.entry.over(NOON + 10 * KEEP)
    it.happens("resolved")
    assert not it.entry.over(NOON + KEEP)
    assert it.entry.over(NOON + KEEP + timedelta(seconds=1))
