# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Telling: who wants an event, what was told already, and sending it to all of them at once.

PRIVATE to the collection; may change without notice.

`deliver` is what jobs, health checks and playbooks call. A channel that fails stops no other and raises nothing; what
could not be delivered is kept, and tried again with the next event and by `flush`, which a timer runs.

A message may arrive twice when its sender is killed between sending and writing that down; none is lost that way.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Callable

from .._durations import counted
from .._errors import Degraded, HoldfastError, InternalError, InvalidOption, TimedOut, Unavailable
from .._host._paths import NOTIFY_STATE
from .._manifest import utc_now
from ._channels._heartbeat import FAIL, SIGNALS, HeartbeatChannel
from ._interface import Channel
from ._model import FAILED, FIRING, RESOLVED, SENT, SEVERITIES, SUPPRESSED, WOULD_SEND, Delivery, Event, Message
from ._state import MAXIMUM_PENDING, Entries, Entry, State

STATE_DIR = NOTIFY_STATE
CHANNEL_BUDGET = 60.0
"""Seconds that one channel may take for all of its messages, retries and waits included."""
_GRACE = 5.0
"""Seconds on top until a channel that hangs is left behind."""
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 15.0
"""Seconds between tries; the pause doubles. Somebody who wants a longer one is tried again later."""

Warn = Callable[[str], None]


def to_stderr(text: str) -> None:
    """Where nobody else listens: the journal."""
    sys.stderr.write(f"holdfast notify: {text}\n")


def deliver(
    event: Event, channels: Iterable[Channel], state_dir: str = STATE_DIR, warn: Warn = to_stderr
) -> tuple[Delivery, ...]:
    """Tell an event to every channel that wants it, and what is still undelivered with it.

    A resolved event goes where a firing one of its key was told, and nowhere else.

    Args:
        channels: of `_config.load()`.
        state_dir: where it is kept what was told; made when missing, private.
        warn: is given a sentence for what concerns no single channel, such as a full disk.

    Returns:
        One delivery for each channel concerned, and one for each earlier message that was tried again. Never raises for
        what a channel or the disk does.
    """
    return _Run(list(channels), State(state_dir, warn), warn).deliver(event)


def flush(channels: Iterable[Channel], state_dir: str = STATE_DIR, warn: Warn = to_stderr) -> tuple[Delivery, ...]:
    """Try again what is undelivered and due. `channels` are all of this host: what waits for others is given up."""
    return _Run(list(channels), State(state_dir, warn), warn).deliver(None, all_known=True)


def preview(event: Event, channels: Iterable[Channel], state_dir: str = STATE_DIR) -> tuple[Delivery, ...]:
    """What `deliver` would do with an event: nothing is sent, and nothing written."""
    return _Run(list(channels), State(state_dir, to_stderr), to_stderr).preview(event)


def sample_events(host: str, severities: Sequence[str] = SEVERITIES) -> tuple[Event, ...]:
    """A test of each severity."""
    return tuple(
        Event(
            key=f"test:{severity}",
            severity=severity,
            status=FIRING,
            summary=f"this is a test of {severity} notifications",
            details="Nothing is wrong: somebody tests whether notifications arrive (holdfast notify test).",
            host=host,
            source="test",
        )
        for severity in severities
    )


def send_tests(channels: Iterable[Channel], host: str, severities: Sequence[str] = SEVERITIES) -> tuple[Delivery, ...]:
    """Send a test of each severity to every channel that takes it, whatever was told before; nothing is remembered.

    A heartbeat channel is only reached: any ping would be a statement about a job.
    """
    works = [_tests_of(channel, host, severities) for channel in channels]
    _run_all(works)
    return tuple(job.delivery() for work in works for job in work.jobs)


def preview_tests(
    channels: Iterable[Channel], host: str, severities: Sequence[str] = SEVERITIES
) -> tuple[Delivery, ...]:
    """What `send_tests` would send."""
    jobs = [job for channel in channels for job in _tests_of(channel, host, severities).jobs]
    return tuple(_delivery(job.channel, job.message.event, WOULD_SEND, "") for job in jobs)


def _tests_of(channel: Channel, host: str, severities: Sequence[str]) -> _Work:
    work = _Work(channel)
    for event in sample_events(host, [each for each in severities if each in channel.severities]):
        if isinstance(channel, HeartbeatChannel):
            work.jobs.append(_Job(channel, Message(event, event.at), probes=True))
            break
        work.jobs.append(_Job(channel, Message(event, event.at)))
        if channel.WAKES:
            over = replace(event, status=RESOLVED)
            work.jobs.append(_Job(channel, Message(over, event.at, again=True, told_severity=event.severity)))
    return work


def probe(channels: Iterable[Channel]) -> tuple[Delivery, ...]:
    """Reach every channel (TCP and TLS) without telling it anything; one delivery each, its reason where that was."""
    works = []
    for channel in channels:
        event = Event("probe", "info", FIRING, "probe", source="test")
        works.append(_Work(channel, [_Job(channel, Message(event, event.at), probes=True)]))
    _run_all(works)
    return tuple(job.delivery() for work in works for job in work.jobs)


def heartbeat(component: str, signal: str, channels: Iterable[Channel]) -> tuple[Delivery, ...]:
    """Give a component's signal `success`, `start` or `fail` to the heartbeat channels that have an address for it.

    Never raises for what a channel does. Nothing is kept for later: a ping that comes late would be a lie.
    """
    if signal not in SIGNALS:
        raise InvalidOption(f"There is no such signal; there are: {', '.join(SIGNALS)}.")
    status = FIRING if signal == FAIL else RESOLVED
    event = Event(f"heartbeat:{component}", "info", status, f"heartbeat: {signal}", component=component)
    serving = [each for each in channels if isinstance(each, HeartbeatChannel) and each.serves(component)]
    works = [_Work(channel, [_Job(channel, Message(event, event.at), signal=signal)]) for channel in serving]
    _run_all(works)
    return tuple(job.delivery() for work in works for job in work.jobs)


@dataclass
class _Job:
    """One message for one channel, and what became of it.

    With a `signal` it is a heartbeat; with `probes` the channel is only reached, and `place` says where.
    """

    channel: Channel
    message: Message
    retried: bool = False
    signal: str | None = None
    probes: bool = False
    place: str = ""
    error: HoldfastError | None = None
    tried: int = 0
    seconds: float = 0.0
    done: bool = False

    def delivery(self) -> Delivery:
        error = self.error
        if error is None and not self.done:
            error = TimedOut(f"channel {self.channel.name} did not come to an end in time.")
        return _delivery(
            self.channel,
            self.message.event,
            SENT if error is None else FAILED,
            self.place if error is None else self.channel.redact(str(error)),
            error_code=None if error is None else error.code,
            attempts=self.tried,
            seconds=self.seconds,
            retried=self.retried,
        )


@dataclass
class _Work:
    """What one channel has to send, in this order."""

    channel: Channel
    jobs: list[_Job] = field(default_factory=list)

    def run(self) -> None:
        end = time.monotonic() + CHANNEL_BUDGET
        error: HoldfastError | None = None
        for job in self.jobs:
            if error is None and time.monotonic() < end:
                _attempt(job, end)
                error = job.error
            else:
                # The others would fail the same way, and each would take its time.
                job.error = error or TimedOut(f"channel {self.channel.name} had no time left for it.")


def _attempt(job: _Job, end: float) -> None:
    """Send one message, again when that can help and there is time."""
    started, pause = time.monotonic(), _FIRST_PAUSE
    channel = job.channel
    while True:
        job.tried += 1
        job.error = _send_once(job, min(channel.timeout, max(1.0, end - time.monotonic())))
        wait = max(pause, getattr(job.error, "after", None) or 0.0)
        again = isinstance(job.error, Unavailable) and job.tried <= channel.retries
        if not again or wait > _LONGEST_PAUSE or time.monotonic() + wait >= end:
            break
        time.sleep(wait)
        pause *= 2
    job.seconds, job.done = time.monotonic() - started, True


def _send_once(job: _Job, timeout: float) -> HoldfastError | None:
    channel = job.channel
    try:
        if job.probes:
            job.place = channel.probe(timeout)
        elif job.signal is not None and isinstance(channel, HeartbeatChannel):
            channel.ping(job.message.event.component, job.signal, timeout)
        else:
            channel.send(job.message, timeout)
    except HoldfastError as error:
        return error
    except Exception as error:
        # A defect of one channel must not keep the others from being told. Its text may quote what was sent.
        return InternalError(f"{type(error).__name__} in channel {channel.name} ({channel.type}).")
    return None


def _run_all(works: Sequence[_Work]) -> None:
    """All channels at once. Threads that are left behind do not keep the process alive."""
    threads = [threading.Thread(target=work.run, name=f"notify-{work.channel.name}", daemon=True) for work in works]
    for thread in threads:
        thread.start()
    end = time.monotonic() + CHANNEL_BUDGET + _GRACE
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))


class _Run:
    """One `deliver` or `flush`."""

    def __init__(self, channels: Sequence[Channel], state: State, warn: Warn) -> None:
        self._channels = channels
        self._state = state
        self._warn = warn

    def preview(self, event: Event) -> tuple[Delivery, ...]:
        now = utc_now()
        told: list[Delivery] = []
        entries = self._state.read()
        works = [self._plan(channel, event, entries, now, told) for channel in self._channels]
        jobs = [job for work in works for job in work.jobs if not job.retried]
        wanted = (_delivery(job.channel, job.message.event, WOULD_SEND, "") for job in jobs)
        return (*told, *wanted)

    def deliver(self, event: Event | None, *, all_known: bool = False) -> tuple[Delivery, ...]:
        now = utc_now()
        told: list[Delivery] = []
        with self._state.changing(now) as entries:
            _forget(entries, self._channels if all_known else None, now, self._warn)
            planned = [self._plan(channel, event, entries, now, told) for channel in self._channels]
        works = [work for work in planned if work.jobs]
        _run_all(works)
        jobs = [job for work in works for job in work.jobs]
        finished = utc_now()
        if any(job.channel.REMEMBERS for job in jobs):
            with self._state.changing(finished) as entries:
                for job in jobs:
                    if job.channel.REMEMBERS:
                        _record(entries, job, finished)
        return (*told, *(self._kept(job.delivery(), job.channel) for job in jobs))

    def _plan(
        self, channel: Channel, event: Event | None, entries: Entries, now: datetime, told: list[Delivery]
    ) -> _Work:
        """What a channel is to send now; what it is not is added to `told`."""
        work = _Work(channel)
        if not channel.REMEMBERS:
            if event is not None and channel.wants(event):
                work.jobs.append(_Job(channel, Message(event, event.at)))
            return work
        own = entries.setdefault(channel.name, {})
        if event is not None and (event.key in own if event.status == RESOLVED else channel.wants(event)):
            entry = own.setdefault(event.key, Entry())
            verdict = entry.judge(event, channel.repeat, channel.rate_limit, now)
            if verdict.tell:
                work.jobs.append(_Job(channel, entry.take(event, now)))
            else:
                entry.skip(event, verdict, now)
                told.append(_delivery(channel, event, SUPPRESSED, verdict.reason))
        talking = bool(work.jobs)
        waiting = [entry for key, entry in own.items() if event is None or key != event.key]
        for entry in sorted(waiting, key=lambda each: each.pending.at if each.pending else now):
            if entry.due(now, reachable=talking):
                self._retry(channel, entry, now, work)
        return work

    def _retry(self, channel: Channel, entry: Entry, now: datetime, work: _Work) -> None:
        pending = entry.pending
        if pending is None:
            return
        verdict = entry.judge(pending, channel.repeat, channel.rate_limit, now)
        if verdict.tell:
            work.jobs.append(_Job(channel, entry.take(pending, now), retried=True))
        elif not verdict.keep:
            entry.drop()

    def _kept(self, delivery: Delivery, channel: Channel) -> Delivery:
        if delivery.failed and channel.REMEMBERS and not self._state.usable:
            return replace(delivery, reason=f"{delivery.reason} It could not be kept for later.")
        return delivery


def _record(entries: Entries, job: _Job, now: datetime) -> None:
    event = job.message.event
    entry = entries.setdefault(job.channel.name, {}).setdefault(event.key, Entry())
    if job.tried == 0:
        entry.untried(event)
    elif job.done and (job.error is None or isinstance(job.error, Degraded)):
        # Degraded: some have it. Sending it again would bother them and help nobody.
        entry.told(job.message, now)
    else:
        entry.failed(event, getattr(job.error, "after", None), now)


def _forget(entries: Entries, channels: Sequence[Channel] | None, now: datetime, warn: Warn) -> None:
    """Give up what is too old, too much, or for channels that are no longer declared (None: not all are known)."""
    lost = 0
    for name in list(entries):
        if channels is not None and name not in {channel.name for channel in channels}:
            lost += sum(entry.pending is not None for entry in entries.pop(name).values())
            continue
        waiting = sorted(
            (entry for entry in entries[name].values() if entry.pending is not None),
            key=lambda entry: entry.pending.at if entry.pending else now,
            reverse=True,
        )
        for number, entry in enumerate(waiting):
            if number >= MAXIMUM_PENDING or entry.expired(now):
                entry.drop()
                lost += 1
    if lost:
        warn(f"{counted(lost, 'message')} could not be delivered for too long, or had no channel any more: given up.")


def _delivery(channel: Channel, event: Event, outcome: str, reason: str, **more: Any) -> Delivery:
    return Delivery(channel.name, channel.type, event.key, event.severity, event.status, outcome, reason, **more)
