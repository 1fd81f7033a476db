# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was told of which problem on which channel, and what is still to be told; on disk between the runs.

PRIVATE to the collection; may change without notice.

`Entry` is one problem (a key) on one channel, and its decisions are pure. The file is small, written whole and
atomically; several commands at once exclude each other for the moment of reading and writing, never while sending.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Callable

from .._errors import HoldfastError
from .._locks import host_lock, private_directory
from .._manifest import parse_time, rfc3339
from .._replace import replace_file
from ._model import RESOLVED, SEVERITIES, Event, Message

RATE_WINDOW = timedelta(hours=1)
KEEP = timedelta(days=7)
"""How long something undelivered is kept, and a problem that is over is remembered."""
LEASE = timedelta(minutes=3)
"""How long somebody who sends is left alone with it: longer than any sending takes."""
FIRST_BACKOFF, MAXIMUM_BACKOFF = timedelta(minutes=5), timedelta(hours=6)
MAXIMUM_WAIT = timedelta(days=1)
"""Retry-After is honoured up to this."""
MAXIMUM_PENDING = 500
"""Undelivered messages of one channel that are kept, the newest: more than a host has problems."""
_LOCK_WAIT = 5.0
_STATE, UNDELIVERED = "state.json", "undelivered"
_VERSION = 1


@dataclass(frozen=True)
class Verdict:
    """Why an event is not told now; no reason means that it is. `keep`: it waits unless something newer comes."""

    reason: str = ""
    keep: bool = False

    @property
    def tell(self) -> bool:
        return not self.reason


@dataclass
class Entry:
    """One problem on one channel. Every event of it is told, waits, or is counted as unsent.

    Attributes:
        open: a firing event was told and no resolved one since.
        severity: of the last event that was told.
        since: when the problem that is open, or was last, fired first.
        told_at: when something was told last.
        times: when firing events were told, within the last hour.
        unsent: events that were not told since the last message, and when the first of them happened.
        pending: the newest event that is still to be told.
        tries, retry_at: how often that failed, and not before when it is tried again.
        lease: until then somebody is sending.
    """

    open: bool = False
    severity: str = ""
    since: datetime | None = None
    told_at: datetime | None = None
    times: list[datetime] = field(default_factory=list)
    unsent: int = 0
    unsent_since: datetime | None = None
    pending: Event | None = None
    tries: int = 0
    retry_at: datetime | None = None
    lease: datetime | None = None

    def judge(self, event: Event, repeat: timedelta, rate_limit: int, now: datetime) -> Verdict:
        """Whether an event is told now. Changes nothing."""
        leased = self._leased(now)
        if event.status == RESOLVED:
            if leased:
                return Verdict("its beginning is just being told", keep=True)
            return Verdict() if self.open else Verdict("no firing event of this problem was told here")
        if leased and self.pending is not None and not _worse(event, self.pending.severity):
            return Verdict("it is just being told")
        told_at = self.told_at
        if self.open and told_at is not None and not _worse(event, self.severity) and _recent(told_at, repeat, now):
            return Verdict(f"it was told already; after {_minute(told_at + repeat)} it is told again")
        recent = [moment for moment in self.times if _recent(moment, RATE_WINDOW, now)]
        if len(recent) >= rate_limit:
            free = _minute(recent[0] + RATE_WINDOW)
            return Verdict(
                f"it was told {rate_limit} times within an hour; what then is, is told after {free}", keep=True
            )
        return Verdict()

    def skip(self, event: Event, verdict: Verdict, now: datetime) -> None:
        """Note an event that is not told now; it takes the place of one that waits."""
        leased = self._leased(now)
        replaced = None if leased else self.pending
        if verdict.keep:
            self.pending = event
        else:
            self.pending = self.pending if leased else None
            if event.firing:
                self._count(event)
        if replaced is not None:
            self._count(replaced)

    def drop(self) -> None:
        """Forget the event that waits: it is no longer of use."""
        self.pending, self.tries, self.retry_at = None, 0, None

    def take(self, event: Event, now: datetime) -> Message:
        """The message of an event that is to be told, which we now send; until that worked it is pending."""
        if self.pending is not None and self.pending != event:
            self._count(self.pending)
        since = self.since if self.open and self.since is not None else event.at
        message = Message(
            event,
            since,
            again=self.open,
            told_severity=self.severity if self.open else None,
            unsent=self.unsent,
            unsent_since=self.unsent_since,
        )
        self.pending, self.lease = event, now + LEASE
        return message

    def told(self, message: Message, now: datetime) -> None:
        """It worked."""
        event = message.event
        if self.pending == event:
            self.pending = None
        self.open = event.firing
        self.severity, self.since, self.told_at = event.severity, message.since, now
        if event.firing:
            self.times = [*(moment for moment in self.times if _recent(moment, RATE_WINDOW, now)), now]
        self.unsent = max(0, self.unsent - message.unsent)  # others may have been counted meanwhile
        self.unsent_since = self.unsent_since if self.unsent else None
        self.tries, self.retry_at, self.lease = 0, None, None

    def failed(self, event: Event, after: float | None, now: datetime) -> None:
        """It did not work; it stays pending unless something newer took its place."""
        self.lease = None
        self.tries += 1
        backoff = min(FIRST_BACKOFF * 2 ** min(self.tries - 1, 10), MAXIMUM_BACKOFF)
        self.retry_at = now + max(backoff, min(timedelta(seconds=after or 0.0), MAXIMUM_WAIT))
        if self.pending is None:
            self.pending = event

    def untried(self, event: Event) -> None:
        """There was no chance to send it; it waits as before."""
        self.lease = None
        if self.pending is None:
            self.pending = event

    def due(self, now: datetime, *, reachable: bool) -> bool:
        """Whether the pending event may be tried. `reachable`: the channel is used just now, so it need not wait."""
        if self.pending is None or self._leased(now):
            return False
        waits = self.retry_at is not None and _ahead(self.retry_at, MAXIMUM_WAIT, now)
        return reachable or not waits

    def expired(self, now: datetime) -> bool:
        """Whether the pending event is too old to be of use."""
        return self.pending is not None and now - self.pending.at > KEEP

    def over(self, now: datetime) -> bool:
        """Whether nothing of it needs to be remembered."""
        last = max((moment for moment in (self.told_at, self.since, self.unsent_since) if moment), default=None)
        return self.pending is None and not self.open and (last is None or now - last > KEEP)

    def _leased(self, now: datetime) -> bool:
        return self.lease is not None and _ahead(self.lease, LEASE, now)

    def _count(self, event: Event) -> None:
        self.unsent += 1
        self.unsent_since = self.unsent_since or event.at

    def as_json(self) -> dict[str, Any]:
        return {
            "open": self.open,
            "severity": self.severity,
            **{name: _written(getattr(self, name)) for name in _TIMES},
            "times": [rfc3339(moment) for moment in self.times],
            "unsent": self.unsent,
            "pending": None if self.pending is None else self.pending.as_json(),
            "tries": self.tries,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Entry:
        return cls(
            open=bool(values["open"]),
            severity=str(values["severity"]),
            **{name: _read(values[name]) for name in _TIMES},
            times=[parse_time(text) for text in values["times"]],
            unsent=int(values["unsent"]),
            pending=None if values["pending"] is None else Event.from_json(values["pending"]),
            tries=int(values["tries"]),
        )


_TIMES = ("since", "told_at", "unsent_since", "retry_at", "lease")


def _recent(moment: datetime, span: timedelta, now: datetime) -> bool:
    """Whether a moment lies less than `span` before `now`; not one after it: then the clock was set back, and nothing
    may wait until it is that late again."""
    return timedelta(0) <= now - moment < span


def _ahead(moment: datetime, span: timedelta, now: datetime) -> bool:
    """Whether a moment is still to come, and by no more than `span`."""
    return timedelta(0) < moment - now <= span


def _written(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)


def _read(text: str | None) -> datetime | None:
    return None if text is None else parse_time(text)


def _worse(event: Event, severity: str) -> bool:
    return severity in SEVERITIES and SEVERITIES.index(event.severity) < SEVERITIES.index(severity)


def _minute(moment: datetime) -> str:
    return rfc3339(moment)[:16].replace("T", " ") + " UTC"


Entries = dict[str, dict[str, Entry]]
"""Channel → key → entry."""


class State:
    """The file. When it cannot be used, messages are sent all the same: that is worth more than not repeating one."""

    def __init__(self, directory: str, warn: Callable[[str], None]) -> None:
        self._directory = directory
        self._warn = warn
        self._usable = True
        self._loaded = ""

    @contextlib.contextmanager
    def changing(self, now: datetime) -> Iterator[Entries]:
        """The entries, written back when the block ends, others kept out meanwhile."""
        entries: Entries = {}
        with contextlib.ExitStack() as held:
            try:
                private_directory(self._directory)
                held.enter_context(host_lock(self._directory, "notify", "notify", _LOCK_WAIT))
                entries = self._load()
            except (HoldfastError, OSError) as error:
                self._complain(error)
            yield entries
            if self._usable:
                try:
                    self._save(entries, now)
                except OSError as error:
                    self._complain(error)

    def read(self) -> Entries:
        """The entries, for somebody who only looks."""
        try:
            return self._load(repair=False)
        except (HoldfastError, OSError) as error:
            self._complain(error)
            return {}

    @property
    def usable(self) -> bool:
        """Whether what was to be remembered is."""
        return self._usable

    def _complain(self, error: Exception) -> None:
        if self._usable:
            why = error.strerror if isinstance(error, OSError) else str(error)
            self._warn(
                f"What was told cannot be remembered in {self._directory}: {why}. Messages may be repeated or lost."
            )
        self._usable = False

    def _load(self, *, repair: bool = True) -> Entries:
        path = os.path.join(self._directory, _STATE)
        try:
            with open(path, encoding="utf-8") as file:
                self._loaded = file.read()
            document = json.loads(self._loaded)
            if document["version"] != _VERSION:
                raise ValueError("another version")
            return {
                channel: {key: Entry.from_json(entry) for key, entry in keys.items()}
                for channel, keys in document["channels"].items()
            }
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError, AttributeError, HoldfastError):
            kept = f"{path}.damaged"
            if repair:
                os.replace(path, kept)
                self._loaded = ""
            self._warn(f"{path} was damaged and is kept as {kept}; what was told before is forgotten.")
            return {}

    def _save(self, entries: Entries, now: datetime) -> None:
        kept = {
            channel: {key: entry for key, entry in keys.items() if not entry.over(now)}
            for channel, keys in entries.items()
        }
        undelivered = sum(entry.pending is not None for keys in kept.values() for entry in keys.values())
        document = {
            "version": _VERSION,
            "channels": {
                channel: {key: entry.as_json() for key, entry in keys.items()} for channel, keys in kept.items() if keys
            },
        }
        text = json.dumps(document, indent=1, sort_keys=True) + "\n"
        if text == self._loaded:
            return  # as most often: nothing is told that has not been
        replace_file(os.path.join(self._directory, _STATE), text, 0o600)
        # The timer looks for this file, so that it starts nothing while there is nothing to do.
        if undelivered:
            replace_file(os.path.join(self._directory, UNDELIVERED), f"{undelivered}\n", 0o600)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self._directory, UNDELIVERED))
