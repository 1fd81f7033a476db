# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check kind `memory`: how much of the memory is in use.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..._deadline import Deadline
from ..._declaration._report import Report
from ..._limits import examine_limits, limits
from ..._spec import Spec
from ..._system import _cgroups
from .._interface import Kind, Measurement
from .._thresholds import judged


class MemoryCheck(Kind):
    """Of the host, or of the container that this runs in; what the kernel can take back at once is not used."""

    name = "memory"
    component_type = "system"
    SPEC = Spec(limits("", 85, 95))

    @classmethod
    def examine(cls, options: Mapping[str, Any], report: Report) -> None:
        examine_limits(options, report, "", maximum=100)

    def run(self, deadline: Deadline) -> Iterator[Measurement]:
        inside = _cgroups.memory()
        if inside is not None:
            used, whole = inside.used, inside.limit
        else:
            told = _cgroups.fields("/proc/meminfo")  # in kB
            whole = told["MemTotal"] * 1024
            used = whole - told["MemAvailable"] * 1024
        warning, critical = self.options["warning"], self.options["critical"]
        yield judged("used_percent", 100 * used / whole, "%", warning, critical, what="Of the memory is used:")
        yield judged("used", used, "B", None, None, what="")
