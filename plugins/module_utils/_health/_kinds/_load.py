# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check kind `load`: how many processes want to run, for each processor.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from ..._deadline import Deadline
from ..._declaration._report import Report
from ..._limits import examine_limits, limits
from ..._spec import Spec
from ..._system import _cgroups
from .._interface import Kind, Measurement
from .._thresholds import judged

MINUTES = (1, 5, 15)


class LoadCheck(Kind):
    """The load average, divided by the number of processors: 1 is as much as they can do."""

    name = "load"
    component_type = "system"
    SPEC = Spec({"minutes": {"type": "int", "choices": list(MINUTES), "default": 5}, **limits("", 2, 4)})

    @classmethod
    def examine(cls, options: Mapping[str, Any], report: Report) -> None:
        examine_limits(options, report, "")

    def run(self, deadline: Deadline) -> Iterator[Measurement]:
        load = os.getloadavg()[MINUTES.index(self.options["minutes"])]
        processors = _cgroups.processors() or len(os.sched_getaffinity(0))
        warning, critical = self.options["warning"], self.options["critical"]
        what = f"The load of {self.options['minutes']} min for each processor is"
        yield judged("per_processor", load / processors, "", warning, critical, what=what)
