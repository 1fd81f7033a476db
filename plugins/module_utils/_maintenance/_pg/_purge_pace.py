# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much at a time: batches that last about a second, whatever a row costs.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

TRANSACTION_SECONDS = 5.0
"""No transaction may last longer: whoever waits for a row waits so long at most, and so do VACUUM and replicas."""

STATEMENT_SECONDS = 3.0
"""All statements of a transaction together; the rest is for the commit, and for the disk of an archive."""

COMMIT_SECONDS = 0.5
"""Of that, what a commit may need."""

WANTED_SECONDS = 1.0
"""How long a transaction should last."""

_GROWTH, _SHRINKAGE, _AFTER_TIMEOUT = 2.0, 0.25, 8


class Pace:
    """A size that adapts to how long the last piece of work took.

    Args:
        size: to begin with.
        most: never larger than this.
    """

    def __init__(self, size: int, most: int) -> None:
        self.most = max(1, most)
        self.size = min(max(1, size), self.most)

    def took(self, seconds: float) -> None:
        """Work of the present size took so long: the next one shall take what is wanted."""
        factor = WANTED_SECONDS / seconds if seconds > 0 else _GROWTH
        self._set(self.size * min(_GROWTH, max(_SHRINKAGE, factor)))

    def timed_out(self) -> bool:
        """Work of the present size took too long and was undone. Returns whether there is a smaller one."""
        if self.size == 1:
            return False
        self._set(self.size / _AFTER_TIMEOUT)
        return True

    def _set(self, size: float) -> None:
        self.size = min(max(1, int(size)), self.most)
