# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Slack: an incoming webhook (https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks).

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

from typing import Any, ClassVar

from ..._spec import Spec
from .. import _text
from .._http_channel import HttpChannel
from .._interface import HTTP_OPTIONS, one_of
from .._model import Message

_SECTION, _FIELD, _FIELDS = 3000, 2000, 10
"""Characters that Slack takes in a section and a field, and how many fields a section has."""


class SlackChannel(HttpChannel):
    """Messages to the one conversation that the webhook was made for."""

    type: ClassVar[str] = "slack"
    SPEC: ClassVar[Spec] = Spec(HTTP_OPTIONS) + one_of("url")

    def send(self, message: Message, timeout: float) -> None:
        self.post(payload(message), timeout)


def payload(message: Message) -> dict[str, Any]:
    """The document of one message: the title as its text, the rest beside a line in the colour of its severity."""
    facts = _text.facts(message)[:_FIELDS]
    blocks: list[dict[str, Any]] = [
        {"type": "section", "fields": [_words(f"*{name}*\n{value}", _FIELD) for name, value in facts]}
    ]
    details = _text.details(message).replace("```", "'''")
    if details:
        # Escaping makes it longer; the fences and their line ends take eight characters.
        fenced = _text.clip_middle(_escaped(details), _SECTION - 8)
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": f"```\n{fenced}\n```"}})
    unsent = _text.unsent(message)
    if unsent:
        blocks.append({"type": "context", "elements": [_words(unsent, _FIELD)]})
    return {
        "text": f"*{_escaped(_text.title(message))}*",
        "attachments": [{"color": f"#{_text.colour(message):06x}", "blocks": blocks}],
    }


def _words(text: str, limit: int) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": _text.clip(_escaped(text), limit)}


def _escaped(text: str) -> str:
    """Without it, `<!channel>` in the words of a program would call everybody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
