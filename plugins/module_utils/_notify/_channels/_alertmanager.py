# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Alertmanager: its API v2 (api/v2/openapi.yaml of prometheus/alertmanager), with no Prometheus in between.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import SplitResult

from ..._declaration._report import Report
from ..._durations import parse_duration
from ..._manifest import rfc3339
from ..._spec import Spec
from .. import _text
from .._http_channel import HttpChannel
from .._interface import HTTP_OPTIONS, one_of, secret
from .._model import Event, Message

_ALERTS = "/api/v2/alerts"
_TEST = timedelta(minutes=5)
_RESERVED = frozenset({"alertname", "severity", "host", "component", "source", "key"})


class AlertmanagerChannel(HttpChannel):
    """Alerts that Alertmanager groups, silences and routes with all the others.

    It calls an alert resolved when its end has passed, so a firing one is given an end far away (`expires`).
    """

    type: ClassVar[str] = "alertmanager"
    SPEC: ClassVar[Spec] = (
        Spec(HTTP_OPTIONS)
        + one_of("url")
        + Spec(secret("token"), mutually_exclusive=[("token", "user"), ("token_file", "user")])
        + Spec(
            {
                "user": {"type": "str"},
                **secret("password"),
                "expires": {"type": "positive_duration", "default": "7d"},
                "labels": {"type": "dict"},
            },
            required_by={"password": ("user",), "password_file": ("user",)},
        )
    )
    TLS_ONLY: ClassVar[bool] = False

    @classmethod
    def check(cls, options: Mapping[str, Any], report: Report) -> None:
        super().check(options, report)
        for name, value in (options.get("labels") or {}).items():
            if not isinstance(name, str) or not re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", name):
                report.key("labels").add("the name of a label is none")
            elif name in _RESERVED:
                report.key("labels").key(name).add("is set by holdfast itself")
            elif not isinstance(value, str) or not value:
                report.key("labels").key(name).add("must be a string; quote it")

    def url(self) -> SplitResult:
        base = super().url()
        path = base.path.rstrip("/")
        return base if path.endswith(_ALERTS) else base._replace(path=path + _ALERTS)

    def send(self, message: Message, timeout: float) -> None:
        headers = {}
        token, password = self.secret("token"), self.secret("password")
        if token:
            headers["Authorization"] = f"Bearer {token}"
        elif self.options.get("user"):
            headers["Authorization"] = basic(str(self.options["user"]), password or "")
        event = message.event
        # A test is over by itself, late enough for Alertmanager to have passed it on (group_wait).
        end = event.at + (_TEST if event.source == "test" else parse_duration(self.options["expires"]))
        self.post(payload(message, self.options.get("labels") or {}, end), timeout, headers)


def basic(user: str, password: str) -> str:
    """The value of an Authorization header."""
    import base64

    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def payload(message: Message, labels: Mapping[str, str], expires: datetime) -> list[dict[str, Any]]:
    """The alerts of one message: one, and when its severity changed the end of the former, because labels make an alert
    what it is.
    """
    event = message.event
    told = message.told_severity or event.severity
    severity = event.severity if event.firing else told
    alert: dict[str, Any] = {
        "labels": _labels(event, severity, labels),
        "annotations": {
            name: value
            for name, value in (
                ("summary", _text.clip(event.summary, 1000)),
                ("description", _text.details(message)),
                ("not_sent", _text.unsent(message)),
            )
            if value
        },
        "startsAt": rfc3339(message.since),
        # Not before it began: a clock that was set back meanwhile must not have the whole message refused.
        "endsAt": rfc3339(max(expires if event.firing else event.at, message.since)),
    }
    if not event.firing or told == severity:
        return [alert]
    former = {
        "labels": _labels(event, told, labels),
        "startsAt": alert["startsAt"],
        "endsAt": rfc3339(max(event.at, message.since)),
    }
    return [former, alert]


def _labels(event: Event, severity: str, more: Mapping[str, str]) -> dict[str, str]:
    own = {re.sub("[^a-zA-Z0-9_]", "_", name): value for name, value in event.labels.items()}
    labels = {
        **{name: value for name, value in own.items() if name and not name[0].isdigit()},
        **more,
        "alertname": "Holdfast" + event.source.capitalize(),
        "severity": severity,
        "host": event.host,
        "component": event.component,
        "source": event.source,
        "key": event.key,
    }
    return {name: value for name, value in labels.items() if value}
