# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is told: an event of this host, and what became of telling it.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .._durations import counted
from .._errors import InvalidOption
from .._manifest import parse_time, rfc3339, utc_now

SEVERITIES = ("critical", "warning", "info")
"""The most urgent first."""
FIRING, RESOLVED = "firing", "resolved"
STATUSES = (FIRING, RESOLVED)
SOURCES = ("job", "health", "drill", "maintenance", "test", "other")
"""What tells: a scheduled job, a health check, a drill, what maintenance found, `holdfast notify test`, or a playbook
or a person."""

SENT, SUPPRESSED, FAILED, WOULD_SEND = "sent", "suppressed", "failed", "would_send"


@dataclass(frozen=True)
class Event:
    """Something that people are to know of.

    Attributes:
        key: names the problem on this host, such as `backup:shop_db`. The event that resolves it has the same key, and
            one that fires again within `repeat` is not told again.
        severity: one of SEVERITIES; for a resolved event the one that had fired.
        status: `firing` or `resolved`. A resolved event is told only where a firing one of the key was.
        summary: one line without the host's name: what happened.
        details: lines of text: the error, what to do next. Redact before.
        component: the component it is about, if any; channels can be declared for some components only.
        host: as the inventory calls it (`_config.host_name`).
        at: when it happened; aware.
        labels: further words, such as `unit` or `check`. Alertmanager groups and routes by them: no values that change
            from one event of a key to the next (they would be another alert).

    Raises:
        InvalidOption: a severity, status or source that there is not, an empty key or summary, a time without zone.
    """

    key: str
    severity: str
    status: str
    summary: str
    details: str = ""
    component: str = ""
    host: str = field(default_factory=socket.gethostname)
    at: datetime = field(default_factory=utc_now)
    source: str = "job"
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value, valid in (
            ("severity", self.severity, SEVERITIES),
            ("status", self.status, STATUSES),
            ("source", self.source, SOURCES),
        ):
            if value not in valid:
                raise InvalidOption(f"The {name} of an event must be one of {', '.join(valid)}.")
        if not self.key.strip() or not self.summary.strip():
            raise InvalidOption("An event needs a key and a summary.")
        if self.at.tzinfo is None:
            raise InvalidOption("The time of an event needs a time zone.")
        # As it is written, so that an event equals the one that is read back.
        object.__setattr__(self, "at", parse_time(rfc3339(self.at)))

    @property
    def firing(self) -> bool:
        return self.status == FIRING

    def as_json(self) -> dict[str, Any]:
        """Plain values that `from_json` reads back."""
        return {
            "key": self.key,
            "severity": self.severity,
            "status": self.status,
            "summary": self.summary,
            "details": self.details,
            "component": self.component,
            "host": self.host,
            "at": rfc3339(self.at),
            "source": self.source,
            "labels": dict(self.labels),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Event:
        """Raises KeyError, TypeError, ValueError or InvalidOption when that is no event."""
        return cls(
            **{name: str(values[name]) for name in ("key", "severity", "status", "summary", "details", "component")},
            host=str(values["host"]),
            at=parse_time(str(values["at"])),
            source=str(values["source"]),
            labels={str(name): str(value) for name, value in dict(values["labels"]).items()},
        )


@dataclass(frozen=True)
class Message:
    """An event as a channel is given it.

    Attributes:
        since: when the problem fired first; its own time for one that was not open.
        again: it was told before and still fires, or is resolved now.
        told_severity: the severity that it was told with before; None when it was not open.
        unsent: how many events of the key were not told since the last message.
        unsent_since: when the first of those happened.
    """

    event: Event
    since: datetime
    again: bool = False
    told_severity: str | None = None
    unsent: int = 0
    unsent_since: datetime | None = None


@dataclass(frozen=True)
class Delivery:
    """What became of one message on one channel.

    Attributes:
        outcome: `sent`, `suppressed` (already told, told too often, or nothing to resolve), `failed` (kept, and tried
            again with the next event and by the timer, unless it was a test) or, in check mode, `would_send`.
        reason: why not, a sentence without secrets; empty when sent. Of a probe that worked: host and port.
        error_code: of the taxonomy in `_errors`, when failed.
        retried: it is an earlier message that could not be delivered at once.
    """

    channel: str
    type: str
    key: str
    severity: str
    status: str
    outcome: str
    reason: str = ""
    error_code: str | None = None
    attempts: int = 0
    seconds: float = 0.0
    retried: bool = False

    @property
    def failed(self) -> bool:
        return self.outcome == FAILED

    def line(self) -> str:
        """All of it for people, on one line."""
        words = {SENT: "sent", FAILED: "NOT sent", WOULD_SEND: "would be sent"}.get(self.outcome, "not sent")
        line = f"{self.channel} ({self.type}): {self.severity} {self.status} {self.key}: {words}"
        if self.attempts > 1:
            line += f" after {counted(self.attempts, 'try', 'tries')}"
        return f"{line}: {self.reason}" if self.reason else line

    def as_json(self) -> dict[str, Any]:
        return {
            "channel": self.channel,
            "type": self.type,
            "key": self.key,
            "severity": self.severity,
            "status": self.status,
            "outcome": self.outcome,
            "reason": self.reason,
            "error_code": self.error_code,
            "attempts": self.attempts,
            "seconds": round(self.seconds, 3),
            "retried": self.retried,
        }
