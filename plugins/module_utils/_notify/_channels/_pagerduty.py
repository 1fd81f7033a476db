# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PagerDuty: Events API v2 (https://developer.pagerduty.com/docs/send-alert-event).

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, ClassVar

from ..._manifest import rfc3339
from ..._spec import Spec
from .. import _text
from .._http_channel import HttpChannel
from .._interface import HTTP_OPTIONS, one_of
from .._model import Message

_SUMMARY, _DEDUP_KEY, _DETAILS = 1024, 255, 20_000
"""Characters that PagerDuty takes of a summary and a key; of details it takes 512 KiB, which nobody reads."""


class PagerDutyChannel(HttpChannel):
    """Incidents of the service that the integration key belongs to: triggered, and resolved by the same key."""

    type: ClassVar[str] = "pagerduty"
    SPEC: ClassVar[Spec] = (
        Spec(HTTP_OPTIONS)
        + one_of("routing_key")
        + Spec({"url": {"type": "str", "default": "https://events.pagerduty.com/v2/enqueue"}})
    )
    SEVERITIES: ClassVar[Sequence[str]] = ("critical",)
    """Only what must wake somebody, unless told otherwise."""
    WAKES: ClassVar[bool] = True

    def send(self, message: Message, timeout: float) -> None:
        self.post(payload(message, self.needed("routing_key")), timeout)


def dedup_key(message: Message) -> str:
    """The same for all messages of a problem of a host; hashed when it would be too long."""
    key = f"holdfast/{message.event.host}/{message.event.key}"
    return key if len(key) <= _DEDUP_KEY else f"holdfast/{hashlib.sha256(key.encode()).hexdigest()}"


def payload(message: Message, routing_key: str) -> dict[str, Any]:
    """The document of one message."""
    event = message.event
    document: dict[str, Any] = {
        "routing_key": routing_key,
        "event_action": "trigger" if event.firing else "resolve",
        "dedup_key": dedup_key(message),
    }
    if not event.firing:
        return document
    more = {"details": _text.details(message, _DETAILS), "not_sent": _text.unsent(message), **event.labels}
    document["payload"] = {
        "summary": _text.clip(" ".join(f"{event.host}: {event.summary}".split()), _SUMMARY),
        "source": event.host,
        "severity": event.severity,
        "timestamp": rfc3339(event.at),
        "class": event.source,
        **({"component": event.component} if event.component else {}),
        "custom_details": {name: value for name, value in more.items() if value},
    }
    document["client"] = "holdfast.ops"
    return document
