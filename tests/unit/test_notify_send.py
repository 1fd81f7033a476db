# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Routing and delivery with channels that do as the test says: no network, real files of state."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._errors import Degraded, ToolFailed, Unavailable
from ansible_collections.holdfast.ops.plugins.module_utils._notify import _send
from ansible_collections.holdfast.ops.plugins.module_utils._notify._interface import Channel, RetryLater
from ansible_collections.holdfast.ops.plugins.module_utils._notify._model import Event, Message
from ansible_collections.holdfast.ops.plugins.module_utils._spec import Spec
from ansible_collections.holdfast.ops.tests.support.notify import NOON, event, outcomes


class Scripted(Channel):
    """Raises what it was told to, one error a try, then takes everything."""

    type: ClassVar[str] = "scripted"
    SPEC: ClassVar[Spec] = Spec({"url": {"type": "str", "no_log": True}})

    def __init__(self, name: str, *errors: Exception, **options: Any) -> None:
        super().__init__({"name": name, "type": "scripted", **options})
        self.errors = list(errors)
        self.tries = 0
        self.messages: list[Message] = []

    def send(self, message: Message, timeout: float) -> None:
        self.tries += 1
        if self.errors:
            raise self.errors.pop(0)
        self.messages.append(message)

    def probe(self, timeout: float) -> str:
        return "here:1"

    @property
    def told(self) -> list[str]:
        return [f"{message.event.status} {message.event.key}" for message in self.messages]


class Clock:
    """The time that delivery believes it is."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    moment = Clock()
    monkeypatch.setattr(_send, "utc_now", moment)
    monkeypatch.setattr(_send.time, "sleep", lambda _seconds: None)
    return moment


def deliver(told: Event, state: Path, *channels: Channel) -> list[tuple[str, str]]:
    return outcomes(_send.deliver(told, channels, str(state)))


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(
    ("options", "changes", "wanted"),
    [
        ({}, {}, True),
        ({"severities": ["critical"]}, {"severity": "warning"}, False),
        ({"severities": ["critical"]}, {"severity": "critical"}, True),
        ({"components": ["shop_db"]}, {}, True),
        ({"components": ["other"]}, {}, False),
        ({"components": ["shop_db"]}, {"component": ""}, False),
        ({"sources": ["health"]}, {}, False),
        ({"sources": ["health", "job"]}, {}, True),
    ],
)
def test_routing(tmp_path: Path, options: Mapping[str, Any], changes: Mapping[str, Any], wanted: bool) -> None:
    channel = Scripted("one", **options)
    assert deliver(event(**changes), tmp_path, channel) == ([("one", "sent")] if wanted else [])
    assert len(channel.messages) == wanted


@pytest.mark.usefixtures("clock")
def test_a_failing_channel_stops_no_other_and_is_told_when_it_works(tmp_path: Path) -> None:
    good, bad = Scripted("good"), Scripted("bad", *[Unavailable("down")] * 3)
    assert deliver(event(), tmp_path, good, bad) == [("bad", "failed"), ("good", "sent")]
    assert (tmp_path / "undelivered").exists()
    # With the next event, whatever it is about.
    other = event(key="backup:other", at=NOON + timedelta(minutes=1))
    assert deliver(other, tmp_path, good, bad) == [("bad", "sent"), ("bad", "sent"), ("good", "sent")]
    assert bad.told == ["firing backup:other", "firing backup:shop_db"]
    assert good.told == ["firing backup:shop_db", "firing backup:other"]
    assert not (tmp_path / "undelivered").exists()


def test_what_is_undelivered_is_tried_again_by_the_timer_less_and_less_often(tmp_path: Path, clock: Clock) -> None:
    channel = Scripted("one", *[ToolFailed("no")] * 3)
    deliver(event(), tmp_path, channel)
    for minutes, tried in ((4, 1), (5, 2), (14, 2), (15, 3), (34, 3), (35, 4)):
        clock.now = NOON + timedelta(minutes=minutes)
        _send.flush([channel], str(tmp_path))
        assert channel.tries == tried, minutes
    assert channel.told == ["firing backup:shop_db"]


@pytest.mark.usefixtures("clock")
def test_a_resolved_event_goes_only_where_it_had_fired(tmp_path: Path) -> None:
    everything, urgent = Scripted("everything"), Scripted("urgent", severities=["critical"])
    deliver(event(severity="warning"), tmp_path, everything, urgent)
    over = event(severity="critical", status="resolved", at=NOON + timedelta(hours=1))
    assert deliver(over, tmp_path, everything, urgent) == [("everything", "sent")]
    assert everything.messages[1].since == NOON
    assert deliver(over, tmp_path, everything, urgent) == [("everything", "suppressed")]


@pytest.mark.usefixtures("clock")
def test_it_is_over_also_where_the_channel_no_longer_takes_that_severity(tmp_path: Path) -> None:
    deliver(event(), tmp_path, Scripted("one"))
    narrowed = Scripted("one", severities=["info"])
    assert deliver(event(status="resolved"), tmp_path, narrowed) == [("one", "sent")]


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(
    ("error", "tries"),
    [
        (Unavailable("down"), 3),
        (RetryLater("busy", after=2), 3),
        (RetryLater("busy", after=3600), 1),
        (ToolFailed("no such thing"), 1),
        (ValueError("a defect"), 1),
    ],
)
def test_only_what_can_help_is_tried_again(tmp_path: Path, error: Exception, tries: int) -> None:
    channel = Scripted("one", *[error] * 10, retries=2)
    (delivery,) = _send.deliver(event(), [channel], str(tmp_path))
    assert (delivery.outcome, delivery.attempts, channel.tries) == ("failed", tries, tries)


@pytest.mark.usefixtures("clock")
def test_a_defect_of_a_channel_shows_nothing_of_what_it_was_given(tmp_path: Path) -> None:
    channel = Scripted("one", ValueError("https://hooks.example.com/s3cr3t"))
    (delivery,) = _send.deliver(event(), [channel], str(tmp_path))
    assert delivery.error_code == "internal_error"
    assert "s3cr3t" not in delivery.reason + str(delivery.as_json())


@pytest.mark.usefixtures("clock")
def test_what_some_recipients_have_is_not_sent_to_them_again(tmp_path: Path) -> None:
    channel = Scripted("one", Degraded("not for c@example.com"))
    (delivery,) = _send.deliver(event(), [channel], str(tmp_path))
    assert (delivery.outcome, delivery.error_code) == ("failed", "degraded")
    assert _send.flush([channel], str(tmp_path)) == ()


@pytest.mark.parametrize(
    "damage", ["{", "[]", '{"version": 1, "channels": {"one": {"k": {}}}}', '{"version": 99}', "\0"]
)
@pytest.mark.usefixtures("clock")
def test_damaged_memory_is_put_aside_and_told(tmp_path: Path, damage: str) -> None:
    (tmp_path / "state.json").write_text(damage)
    channel, warnings = Scripted("one"), list[str]()
    (delivery,) = _send.deliver(event(), [channel], str(tmp_path), warnings.append)
    assert delivery.outcome == "sent"
    assert len(warnings) == 1 and "damaged" in warnings[0]
    assert (tmp_path / "state.json.damaged").read_text() == damage
    assert json.loads((tmp_path / "state.json").read_text())["channels"]["one"]


@pytest.mark.usefixtures("clock")
def test_without_memory_it_is_told_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    good, bad, warnings = Scripted("good"), Scripted("bad", *[ToolFailed("no.")] * 2), list[str]()
    state = str(tmp_path / "file" / "below")
    deliveries = _send.deliver(event(), [good, bad], state, warnings.append)
    assert outcomes(deliveries) == [("bad", "failed"), ("good", "sent")]
    assert "could not be kept" in next(each.reason for each in deliveries if each.failed)
    assert len(warnings) == 1 and "remembered" in warnings[0]


@pytest.mark.usefixtures("clock")
def test_a_full_disk_does_not_keep_it_from_being_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    channel, warnings = Scripted("one"), list[str]()
    (delivery,) = _send.deliver(event(), [channel], str(tmp_path), warnings.append)
    assert delivery.outcome == "sent"
    assert len(warnings) == 1 and "No space left on device" in warnings[0]
    assert [path.name for path in tmp_path.iterdir()] == ["locks"]  # nothing half-written


@pytest.mark.usefixtures("clock")
def test_what_is_kept_is_private(tmp_path: Path) -> None:
    deliver(event(), tmp_path / "notify", Scripted("one", ToolFailed("no")))
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in [tmp_path / "notify", *tmp_path.glob("notify/*")]}
    assert modes == {"notify": "0o700", "locks": "0o700", "state.json": "0o600", "undelivered": "0o600"}


@pytest.mark.usefixtures("clock")
def test_what_waits_for_a_channel_that_is_gone_is_given_up_and_said(tmp_path: Path) -> None:
    deliver(event(), tmp_path, Scripted("gone", ToolFailed("no")))
    warnings: list[str] = []
    # Somebody who tells some channels only knows nothing of the others.
    _send.deliver(event(), [Scripted("other")], str(tmp_path), warnings.append)
    assert not warnings
    assert _send.flush([Scripted("other")], str(tmp_path), warnings.append) == ()
    assert len(warnings) == 1 and "1 message could not be delivered" in warnings[0]
    assert not (tmp_path / "undelivered").exists()


def test_what_is_too_old_is_given_up_and_said(tmp_path: Path, clock: Clock) -> None:
    channel, warnings = Scripted("one", ToolFailed("no")), list[str]()
    deliver(event(), tmp_path, channel)
    clock.now += timedelta(days=8)
    assert _send.flush([channel], str(tmp_path), warnings.append) == ()
    assert len(warnings) == 1 and not channel.messages


@pytest.mark.usefixtures("clock")
def test_one_outage_costs_one_try_and_not_one_for_each_message(tmp_path: Path) -> None:
    channel = Scripted("one", *[ToolFailed("no")] * 5)
    for number in range(4):
        deliver(event(key=f"k{number}"), tmp_path, channel)
    assert channel.tries == 4
    deliver(event(key="last"), tmp_path, channel)
    assert channel.tries == 5
    assert len(_send.deliver(event(key="works"), [channel], str(tmp_path))) == 6
    assert channel.told[0] == "firing works" and len(channel.told) == 6


@pytest.mark.usefixtures("clock")
def test_a_preview_tells_nothing_and_writes_nothing(tmp_path: Path) -> None:
    told, fresh = Scripted("told"), Scripted("fresh")
    deliver(event(), tmp_path, told)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert outcomes(_send.preview(event(), [told, fresh], str(tmp_path))) == [
        ("fresh", "would_send"),
        ("told", "suppressed"),
    ]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert not fresh.messages
    assert _send.preview(event(), [fresh], str(tmp_path / "missing"))[0].outcome == "would_send"
    assert not (tmp_path / "missing").exists()


def test_channels_are_told_at_once_and_one_that_hangs_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_send, "CHANNEL_BUDGET", 0.3)
    monkeypatch.setattr(_send, "_GRACE", 0.2)
    release = threading.Event()

    class Hanging(Scripted):
        def send(self, message: Message, timeout: float) -> None:
            release.wait(30)

    class Slow(Scripted):
        def send(self, message: Message, timeout: float) -> None:
            barrier.wait(10)  # passes only when both are in here
            super().send(message, timeout)

    barrier = threading.Barrier(2)
    started = time.monotonic()
    deliveries = _send.deliver(event(), [Slow("a"), Hanging("b"), Slow("c")], str(tmp_path))
    assert time.monotonic() - started < 10
    assert outcomes(deliveries) == [("a", "sent"), ("b", "failed"), ("c", "sent")]
    assert next(each for each in deliveries if each.failed).error_code == "timeout"
    release.set()
