# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The log of jobs: a JSON object a line, each written at once.

PRIVATE to the collection; may change without notice. The fields are public: docs/schedules.md.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from .._manifest import rfc3339, utc_now


class JobLog:
    """Appends lines to a file, which is opened for each: it may be rotated meanwhile.

    Args:
        common: what stands in every line.
    """

    def __init__(self, path: str, common: Mapping[str, Any]) -> None:
        self._path = path
        self._common = dict(common)

    def write(self, event: str, **more: Any) -> None:
        """Append a line. That the log cannot be written is said, and changes nothing else."""
        line = {"time": rfc3339(utc_now()), "event": event, **more, **self._common}
        try:
            os.makedirs(os.path.dirname(self._path), mode=0o750, exist_ok=True)
            descriptor = os.open(
                self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640
            )
            try:
                # One write: lines of jobs that run at the same time do not mix.
                os.write(descriptor, (json.dumps(line, sort_keys=True) + "\n").encode("utf-8"))
            finally:
                os.close(descriptor)
        except OSError as error:
            sys.stderr.write(f"holdfast: {self._path} cannot be written: {error.strerror}\n")
