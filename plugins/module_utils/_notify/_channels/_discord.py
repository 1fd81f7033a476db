# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Discord: a webhook (https://discord.com/developers/docs/resources/webhook#execute-webhook).

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

from typing import Any, ClassVar

from ..._manifest import rfc3339
from ..._spec import Spec
from .. import _text
from .._http_channel import HttpChannel
from .._interface import HTTP_OPTIONS, one_of
from .._model import Message

_TITLE, _DESCRIPTION, _FIELD_NAME, _FIELD_VALUE, _FIELDS = 256, 4096, 256, 1024, 25
_ALL, _FACTS = 6000, 1500
"""Characters of all texts of a message together, and how many of them the fields may take."""


class DiscordChannel(HttpChannel):
    """Messages to the one channel that the webhook was made for."""

    type: ClassVar[str] = "discord"
    SPEC: ClassVar[Spec] = Spec(HTTP_OPTIONS) + one_of("url")

    def send(self, message: Message, timeout: float) -> None:
        self.post(payload(message), timeout)


def payload(message: Message) -> dict[str, Any]:
    """The document of one message: an embed that mentions nobody, whatever stands in it."""
    title = _text.title(message, _TITLE)
    fields: list[dict[str, Any]] = []
    room = _FACTS
    for name, value in _text.facts(message)[:_FIELDS]:
        label, text = _text.clip(name, _FIELD_NAME), _text.clip(value, _FIELD_VALUE)
        room -= len(label) + len(text)
        if room < 0:
            break
        fields.append({"name": label, "value": text, "inline": True})
    unsent = _text.unsent(message)
    used = len(title) + _FACTS + len(unsent) + 16
    details = _text.details(message, min(_DESCRIPTION, _ALL - used) - len(unsent) - 16).replace("```", "'''")
    embed: dict[str, Any] = {
        "title": title,
        "color": _text.colour(message),
        "timestamp": rfc3339(message.event.at),
        "fields": fields,
    }
    description = "\n".join(text for text in (f"```\n{details}\n```" if details else "", unsent) if text)
    if description:
        embed["description"] = description
    return {"embeds": [embed], "allowed_mentions": {"parse": []}}
