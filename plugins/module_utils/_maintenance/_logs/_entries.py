# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which lines of a log are errors, which lines belong together, and what an entry says. Pure.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ._moments import Moments

CRITICAL, ERROR, WARNING, LOWER = "critical", "error", "warning", "lower"
LEVELS = (LOWER, WARNING, ERROR, CRITICAL)

_WORDS: dict[str, str] = {
    **dict.fromkeys(("emerg", "emergency", "alert", "panic", "fatal", "crit", "critical"), CRITICAL),
    **dict.fromkeys(("error", "err", "severe", "failure"), ERROR),
    **dict.fromkeys(("warn", "warning"), WARNING),
}
"""Levels by the words for them; every other word is a lower one."""

_LEVEL = re.compile(
    rb"\b(EMERG(?:ENCY)?|ALERT|PANIC|FATAL|CRIT(?:ICAL)?|SEVERE|ERR(?:OR)?|WARN(?:ING)?"
    rb"|NOTICE|INFO|LOG|DEBUG\d?|TRACE|DETAIL|HINT|STATEMENT|CONTEXT|QUERY|LOCATION)(?=[\]:/|>)\s,-])"
    rb"|[\[<](emerg|alert|panic|fatal|crit|critical|error|err|warn|warning|notice|info|debug|trace)[\]>:]"
    rb"|\b(?:level|lvl|severity|loglevel)=\"?(\w+)"
    rb"|(?:^|[\]:] )(fatal|error|panic|warning)(?: \w+)?: "
)
"""The first of them in the front of a line is its level; the DETAIL and STATEMENT of PostgreSQL are low."""
_FRONT = 300

_MARKS = re.compile(
    rb"Traceback \(most recent call last\)|Exception in thread|[Uu]nhandled (?:exception|rejection|promise)"
    rb"|[Uu]ncaught |segfault at|Out of memory: Kill"
)
"""What is an error in a line without a level."""
_TRACE = re.compile(rb"Traceback \(most recent call last\)|^\s+at \S+\(|Exception in thread", re.MULTILINE)
_ACCESS = re.compile(rb'"(?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS|CONNECT)? ?[^"]*" [1-5]\d\d (?:\d+|-)')
"""A line of an access log: what it holds was chosen by visitors."""

LITERALS = (
    *(b"error", b"err]", b"=err", b" err ", b"fatal", b"crit", b"panic", b"alert", b"emerg", b"severe"),
    *(b"traceback", b"exception", b"uncaught", b"unhandled", b"segfault", b"out of memory"),
)
"""A line that holds none of these, in small letters, is no error: they are found much faster than patterns."""
WARNING_LITERALS = (b"warn",)
NUMBERED = b'evel":'
NUMBERED_LITERALS = (b'evel":4', b'evel":5', b'evel":6', b'evel": 4', b'evel": 5', b'evel": 6')
"""Likewise for levels that are numbers, where there are any."""

_CONTINUED = re.compile(
    rb"\s|Traceback \(most|Caused by: |During handling of|The above exception|Suppressed: |\.\.\. \d+ more|\Z"
)
_EXCEPTION = re.compile(rb"[A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit|Warning|Timeout|Failure)?(?:: |\Z)")
"""The last line of a trace of Python."""

_DEEPEST = 8
"""Mappings within mappings of a line of JSON in which its message is looked for."""

_LEVEL_KEYS = ("level", "severity", "levelname", "log.level", "lvl", "loglevel", "@l")
_MESSAGE_KEYS = ("message", "msg", "event", "log", "error", "err", "exception", "@m")
_TIME_KEYS = ("timestamp", "@timestamp", "time", "ts", "asctime", "@t", "datetime")


@dataclass(frozen=True)
class Entry:
    """An error.

    Attributes:
        level: `critical`, `error` or `warning`.
        message: what it says; may hold secrets.
        when: seconds since 1970; None when it does not say.
    """

    level: str
    message: str
    when: float | None


def continues(previous: bytes, line: bytes, stamped: bool) -> bool:
    """Whether a line goes on with the entry of the one before.

    Args:
        stamped: lines of this log begin with a moment, and this one does not.
    """
    if _CONTINUED.match(line):
        return True
    if stamped:
        return True
    return previous[:1] in (b" ", b"\t") and bool(_EXCEPTION.match(line))


def level_of(line: bytes) -> tuple[str | None, int]:
    """The level that a line gives itself, and where that word ends; None when it gives none."""
    found = _LEVEL.search(line, 0, _FRONT)
    if not found:
        return None, 0
    word = (found[1] or found[2] or found[3] or found[4]).decode().lower()
    return _WORDS.get(word, LOWER), found.end()


def entry(lines: Sequence[bytes], moments: Moments, least: str, priority: int | None = None) -> Entry | None:
    """What the lines of an entry say together; None when that is no error.

    Args:
        least: the lowest level that counts, `warning` or `error`.
        priority: of syslog, for lines that do not say their level.
    """
    head = lines[0]
    if head[:1] == b"{":
        found = _of_json(head, moments, least)
        if found is not None:
            return found if LEVELS.index(found.level) >= LEVELS.index(least) else None
    level, end = level_of(head)
    stamp = moments.read(head)
    trace = next((number for number, line in enumerate(lines) if _TRACE.search(line)), None)
    if _ACCESS.search(head):
        level = LOWER
    elif level is None and (_MARKS.search(head) or trace is not None):
        level = ERROR
    elif level is None and priority is not None:
        level = CRITICAL if priority <= 2 else ERROR if priority == 3 else WARNING if priority == 4 else LOWER
    elif trace is not None and level in (LOWER, WARNING):
        level = ERROR
    if level is None or LEVELS.index(level) < LEVELS.index(least):
        return None
    text = head[max(end, stamp[1] if stamp else 0) :].decode("utf-8", "replace").strip(" \t:-]|/>,)")
    if trace is not None:
        raised = _raised(lines[trace:])
        text = raised if not text or trace == 0 else f"{text} | {raised}"
    return Entry(level, text, stamp[0] if stamp else None)


def _raised(trace: Sequence[bytes]) -> str:
    """What a trace of Python ends with, or one of Java begins with."""
    last = b""
    for line in trace[1:]:
        if line[:1] not in (b" ", b"\t", b"") and not _CONTINUED.match(line):
            last = line
    return (last or trace[0]).decode("utf-8", "replace").strip()


def _of_json(line: bytes, moments: Moments, least: str) -> Entry | None:
    """A line of JSON; what it does not hold is looked for in the text, as in any other line."""
    try:
        values = json.loads(line[:65536])
    except (ValueError, RecursionError):  # the latter of brackets within brackets, which anybody may have sent
        return None
    if not isinstance(values, dict):
        return None
    flat = {str(key).lower(): value for key, value in values.items()}
    stamp = moments.read(line)
    when = stamp[0] if stamp else None
    for key in _TIME_KEYS:
        read = moments.read(flat[key].encode("utf-8", "replace")) if isinstance(flat.get(key), str) else None
        if read:
            when = read[0]
            break
    text = next((_text(flat[key]) for key in _MESSAGE_KEYS if flat.get(key)), "")
    level = next((_json_level(flat[key]) for key in _LEVEL_KEYS if flat.get(key) is not None), None)
    if level is None:  # Docker wraps what a program wrote
        written = text.encode("utf-8", "replace")  # JSON can say halves of characters, which no text holds
        inner = entry(written.split(b"\n"), moments, least) if written and written[:1] != b"{" else None
        return Entry(inner.level, inner.message, when) if inner else Entry(LOWER, "", when)
    return Entry(level, text, when)


def _text(value: Any) -> str:
    for _level in range(_DEEPEST):
        if not isinstance(value, dict):
            break
        value = next((value[key] for key in (*_MESSAGE_KEYS, "type", "name") if value.get(key)), "")
    return value if isinstance(value, str) else ""


def _json_level(value: Any) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):  # pino and bunyan
        return CRITICAL if value >= 60 else ERROR if value >= 50 else WARNING if value >= 40 else LOWER
    return _WORDS.get(value.lower(), LOWER) if isinstance(value, str) else LOWER
