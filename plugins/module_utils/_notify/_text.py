# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An event in words, for channels that people read.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

from .._durations import counted, format_duration
from .._errors import shorten
from .._manifest import rfc3339
from ._model import Message

DETAILS_LIMIT = 6000
"""Characters of details that any message carries; vendors' own limits are lower."""
_COLOURS = {"critical": 0xD7263D, "warning": 0xF4A300, "info": 0x2F80ED}
_GREEN = 0x2E9E5B


def state(message: Message) -> str:
    """One word in capitals: CRITICAL, WARNING, INFO or RESOLVED."""
    return message.event.severity.upper() if message.event.firing else "RESOLVED"


def title(message: Message, limit: int = 200) -> str:
    """`CRITICAL db1: backup of shop_db failed`, on one line."""
    event = message.event
    line = " ".join(f"{state(message)} {event.host}: {event.summary}".split())
    return clip(line, limit)


def facts(message: Message) -> list[tuple[str, str]]:
    """Names and values that are worth a line of their own."""
    event = message.event
    found = [(name, value) for name, value in (("Host", event.host), ("Component", event.component)) if value]
    found.append(("When", _time(message)))
    if message.again:
        lasted = format_duration(max(event.at - message.since, event.at - event.at))
        found.append(("Lasted" if not event.firing else "For", lasted))
    found += [(name.replace("_", " ").capitalize(), value) for name, value in sorted(event.labels.items()) if value]
    return found


def unsent(message: Message) -> str:
    """What was kept back since the last message, as a sentence; empty when nothing was."""
    if not message.unsent:
        return ""
    since = f" since {rfc3339(message.unsent_since)[:19]}Z" if message.unsent_since else ""
    were = "event of this problem was" if message.unsent == 1 else "events of this problem were"
    return f"{counted(message.unsent, 'further ' + were, 'further ' + were)} not sent one by one{since}."


def plain(message: Message) -> str:
    """All of it as plain text, with a line for each fact."""
    lines = [f"{name}: {value}" for name, value in facts(message)]
    blocks = [title(message, 1000), "\n".join(lines)]
    blocks += [text for text in (details(message), unsent(message)) if text]
    return "\n\n".join(blocks) + "\n"


def details(message: Message, limit: int = DETAILS_LIMIT) -> str:
    """The details, cut in the middle when they are long."""
    return clip_middle(message.event.details.strip(), limit)


def colour(message: Message) -> int:
    """Red, amber or blue by severity, green when it is over."""
    return _COLOURS[message.event.severity] if message.event.firing else _GREEN


def clip(text: str, limit: int) -> str:
    """At most `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def clip_middle(text: str, limit: int) -> str:
    """At most `limit` characters: mostly the end, where programs say why they stopped."""
    return shorten(text, limit - len(" [...] "), limit // 4) if len(text) > limit else text


def _time(message: Message) -> str:
    return rfc3339(message.event.at)[:19].replace("T", " ") + " UTC"
