# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The moment until which something has to be known.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import time

from ._errors import TimedOut


class Deadline:
    """The moment at which a look must have ended."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def remaining(self, doing: str = "") -> float:
        """Seconds that are left, more than 0.

        Args:
            doing: what the time was wanted for: "connecting to 127.0.0.1:6379".

        Raises:
            TimedOut: none are.
        """
        left = self.left()
        if left <= 0:
            raise self.missed(doing)
        return left

    def left(self) -> float:
        """Seconds that are left, also when none are."""
        return self._end - time.monotonic()

    def missed(self, doing: str = "") -> TimedOut:
        """The error that says so."""
        return TimedOut(f"No answer within {self.seconds:g} s{f' ({doing})' if doing else ''}.")
