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


class Piece(NamedTuple):
    """A part of a sentence."""

    text: str
    code: bool = False

    @property
    def command(self) -> bool:
        """Whether it is a command to copy, rather than a name."""
        return self.code and bool(re.search(r"\s", self.text.strip()))


def pieces(text: str) -> list[Piece]:
    """The parts of a text in their order."""
    parts = _CODE.split(text)
    return [Piece(part, code=bool(number % 2)) for number, part in enumerate(parts) if part]


def advice_pieces(text: str) -> list[Piece]:
    """The same for advice, which is either a sentence or, with neither backticks nor an end, a command."""
    if "`" in text or text.rstrip().endswith(_SENTENCE_ENDS):
        return pieces(text)
    return [Piece(text.strip(), code=True)] if text.strip() else []
