# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Any program that takes JSON over HTTP. The document is public: docs/notifications.md.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
from collections.abc import Mapping
from typing import Any, ClassVar

from ..._declaration._report import Report
from ..._manifest import rfc3339
from ..._spec import Spec
from .. import _http, _text
from .._http_channel import HttpChannel
from .._interface import HTTP_OPTIONS, one_of, secret
from .._model import Message

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_OURS = frozenset({"content-type", "content-length", "host", "connection", "transfer-encoding", "authorization"})
VERSION = 1


class WebhookChannel(HttpChannel):
    """A document of our own; signed when there is a `secret`."""

    type: ClassVar[str] = "webhook"
    SPEC: ClassVar[Spec] = (
        Spec(HTTP_OPTIONS)
        + one_of("url")
        + Spec({**secret("token"), **secret("secret")})
        # No sibling that is a file: they are kept in notify.json, which only root reads.
        + Spec({"headers": {"type": "dict", "no_log": True}})
    )
    TLS_ONLY: ClassVar[bool] = False

    @classmethod
    def check(cls, options: Mapping[str, Any], report: Report) -> None:
        super().check(options, report)
        place = report.key("headers")
        for name, value in (options.get("headers") or {}).items():
            if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
                place.add("the name of a header is none")
            elif name.lower() in _OURS:
                place.key(name).add(
                    "is set by holdfast itself" + ("; use token" if name.lower() == "authorization" else "")
                )
            elif not isinstance(value, str) or not value.isascii() or not value.isprintable():
                place.key(name).add("must be a string of printable ASCII characters")

    def send(self, message: Message, timeout: float) -> None:
        body = json.dumps(payload(message), ensure_ascii=False, separators=(",", ":")).encode()
        headers = {"Content-Type": "application/json", **(self.options.get("headers") or {})}
        token, key = self.secret("token"), self.secret("secret")
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if key:
            headers.update(signature(key, body, int(time.time())))
        _http.request(
            "POST",
            self.url(),
            body,
            headers=headers,
            connector=self.connector(),
            timeout=timeout,
            redact=self.redact,
        )


def signature(key: str, body: bytes, now: int) -> dict[str, str]:
    """Headers that prove who sent a body, and when: HMAC-SHA256 of `<seconds>.<body>`."""
    stamp = str(now)
    digest = hmac.new(key.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {"X-Holdfast-Timestamp": stamp, "X-Holdfast-Signature": f"sha256={digest}"}


def payload(message: Message) -> dict[str, Any]:
    """The document of one message."""
    return {
        "version": VERSION,
        **message.event.as_json(),
        "details": _text.details(message),
        "title": _text.title(message),
        "since": rfc3339(message.since),
        "again": message.again,
        "unsent": message.unsent,
    }
