# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What many messages have in common: everything that varies from one to the next becomes a placeholder. Pure.

PRIVATE to the collection; may change without notice.

What is left is shown in reports, which leave the host: no number, no quoted value, no address and no secret survives.
"""

from __future__ import annotations

import re

from ..._errors import redact

LENGTH = 240
"""Characters of a message that are kept."""
_READ = 600
"""Characters of a message that are looked at: the time for hostile ones grows by the square."""
_PASSES = 20

_RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), placeholder)
    for pattern, placeholder in (
        (r"\bbearer\s+[^\s,;'\"<]+", "<secret>"),
        (r"\b(?:set-)?cookie: .*", "<secret>"),
        (r"\beyj[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?", "<secret>"),  # a JWT
        (r"-----begin [^-]*-----.*", "<secret>"),
        (r"\b(?:gh[a-z]|glpat|xox[a-z]|sk|pk|rk|akia|asia)[-_][\w-]{8,}", "<secret>"),
        (r"\b[a-z][a-z0-9+.-]*://[^\s'\"<>]+", "<url>"),
        (r"\b\d{4}[-/]\d\d[-/]\d\d[t ]\d\d:\d\d(?::\d\d)?(?:[.,]\d+)?(?:z\b|[+-]\d\d:?\d\d)?", "<time>"),
        (r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", "<uuid>"),
        (r"[^\s@<>'\"=:,;()]+@[^\s@<>'\"=:,;()]+", "<address>"),
        (r"'[^'\n]*'|\"[^\"\n]*\"|`[^`\n]*`|\u201c[^\u201d\n]*\u201d", "<string>"),
        (r"(?<!\w)['\"`][^'\"`\n]{60,}\Z", "<string>"),  # whose end is beyond what is looked at
        (r"(?<![\w<])(?:~|\.{1,2})?(?:/[^\s/:;,()'\"<>]+)+/?", "<path>"),
        (r"\b(?=[\w+/=-]*\d)(?=[\w+/=-]*[a-z])[\w+/=-]{20,}", "<token>"),
        (r"\b0x[0-9a-f]+\b|\b(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{6,}\b", "<hex>"),
        (r"\b\d+(?:\.\d+)+\b|\d+", "<n>"),
        (r"(?:<n>[.,:x%-]?)+<n>", "<n>"),
        (r"[\x00-\x1f\x7f-\x9f\s]+", " "),
    )
)


def normalised(message: str) -> str:
    """A message with placeholders; the same again for what it gives.

    Secrets are taken out first, as far as they can be recognised.
    """
    text = message[:_READ]
    for _pass in range(_PASSES):
        before = text
        text = _once(text)
        if text == before:
            break
    return text


def _once(text: str) -> str:
    text = redact(text)
    for pattern, placeholder in _RULES:
        text = pattern.sub(placeholder, text)
    text = "".join(each if each.isprintable() else "?" for each in text).strip()
    return text if len(text) <= LENGTH else f"{text[: LENGTH - 1].rstrip()}…"
