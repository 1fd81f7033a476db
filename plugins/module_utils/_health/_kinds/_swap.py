# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check kind `swap`: how much of the swap space is in use.

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
from .._interface import PASS, Kind, Measurement
from .._thresholds import judged


class SwapCheck(Kind):
    """Of the host, or of the container that this runs in. Where there is none, none is used."""

    name = "swap"
    component_type = "system"
    SPEC = Spec(limits("", 50, 80))

    @classmethod
    def examine(cls, options: Mapping[str, Any], report: Report) -> None:
        examine_limits(options, report, "", maximum=100)

    def run(self, deadline: Deadline) -> Iterator[Measurement]:
        inside = _cgroups.swap()
        if inside is not None:
            used, whole = inside.used, inside.limit
        else:
            told = _cgroups.fields("/proc/meminfo")
            used, whole = told["SwapTotal"] - told["SwapFree"], told["SwapTotal"]
        if not whole:
            yield Measurement("used_percent", PASS, 0, "%")
            return
        warning, critical = self.options["warning"], self.options["critical"]
        yield judged("used_percent", 100 * used / whole, "%", warning, critical, what="Of the swap space is used:")
