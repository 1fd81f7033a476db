# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is text and what is a command in the sentences of sections: what stands between `backticks` is code.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_CODE = re.compile(r"`([^`]*[^`\s][^`]*)`")
_SENTENCE_ENDS = (".", "!", "?", "…")
_NO_MORE = re.compile(r"\s*[.!;]?\s*\Z")


class Piece(NamedTuple):
    """A part of a sentence.

    Attributes:
        command: it is code that stands on lines of its own, to be copied.
    """

    text: str
    code: bool = False
    command: bool = False


def pieces(text: str) -> list[Piece]:
    """The parts of a text in their order."""
    parts = _CODE.split(text)
    return [Piece(part, code=bool(number % 2)) for number, part in enumerate(parts) if part]


def advice_pieces(text: str) -> list[Piece]:
    """The same for advice, which is either sentences or, with neither backticks nor an end, a command.

    Of code in sentences a command is what has several lines, and what has several words and ends them: no full stop
    follows, as somebody would copy it.
    """
    if "`" not in text and not text.rstrip().endswith(_SENTENCE_ENDS):
        return [Piece(text.strip(), code=True, command=True)] if text.strip() else []
    parts = pieces(text)
    ends = [number for number, part in enumerate(parts) if part.code and len(part.text.split()) > 1][-1:]
    if ends and not _NO_MORE.match("".join(part.text for part in parts[ends[0] + 1 :])):
        ends = []
    commands = {number for number, part in enumerate(parts) if part.code and "\n" in part.text.strip()}
    kept = parts[: ends[0] + 1] if ends else parts
    return [part._replace(command=number in commands or number in ends) for number, part in enumerate(kept)]
