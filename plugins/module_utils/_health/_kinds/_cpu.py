# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check kind `cpu`: how busy the processors are.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ..._deadline import Deadline
from ..._declaration._report import Report
from ..._limits import examine_limits, limits
from ..._spec import Spec
from ..._system import _cgroups
from .._interface import Kind, Measurement
from .._thresholds import judged


class CpuCheck(Kind):
    """Measured over a moment (`sample` seconds), by which the run becomes longer."""

    name = "cpu"
    component_type = "system"
    SPEC = Spec({"sample": {"type": "float", "default": 1.0}, **limits("", 70, 90)})

    @classmethod
    def examine(cls, options: Mapping[str, Any], report: Report) -> None:
        examine_limits(options, report, "", maximum=100)
        if not 0.1 <= options["sample"] <= 60:
            report.key("sample").add("must lie between 0.1 and 60 seconds")

    def run(self, deadline: Deadline) -> Iterator[Measurement]:
        limit = _cgroups.processors()
        before, began = self._used(limit), time.monotonic()
        time.sleep(min(self.options["sample"], deadline.remaining() / 2))
        seconds = time.monotonic() - began
        busy = (self._used(limit) - before) / seconds / (limit or len(os.sched_getaffinity(0)))
        warning, critical = self.options["warning"], self.options["critical"]
        what = "The processors are busy to"
        yield judged("busy_percent", min(100.0, 100 * busy), "%", warning, critical, what=what)

    @staticmethod
    def _used(limit: float | None) -> float:
        """Seconds of processor time that were used up to now, by the container or the host."""
        inside = _cgroups.processor_seconds() if limit else None
        if inside is not None:
            return inside
        with open("/proc/stat", encoding="ascii") as stream:
            user, nice, system, _idle, _waiting, interrupts, soft, *stolen = map(int, stream.readline().split()[1:9])
        return (user + nice + system + interrupts + soft + sum(stolen)) / os.sysconf("SC_CLK_TCK")
