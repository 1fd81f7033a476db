# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check kind `inodes`: how many files file systems still take.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..._deadline import Deadline
from ..._declaration._report import Report
from ..._limits import examine_limits, limits
from ..._spec import Spec
from ..._system._filesystems import local_mounts, usage
from .._interface import PASS, Kind, Measurement
from .._thresholds import judged


class InodesCheck(Kind):
    """File systems that make inodes as they need them have no limit, and pass."""

    name = "inodes"
    component_type = "system"
    SPEC = Spec({"paths": {"type": "list", "elements": "path", "default": []}, **limits("", 80, 90)})

    @classmethod
    def examine(cls, options: Mapping[str, Any], report: Report) -> None:
        examine_limits(options, report, "", maximum=100)

    def run(self, deadline: Deadline) -> Iterator[Measurement]:
        for path in self.options["paths"] or local_mounts() or ["/"]:
            found = usage(path)
            used = found.f_files - found.f_ffree
            if not found.f_files:
                yield Measurement("used_percent", PASS, None, "%", "", path)
                continue
            percent = 100 * used / max(1, used + found.f_favail)
            warning, critical = self.options["warning"], self.options["critical"]
            what = f"Of the inodes of {path} are used:"
            yield judged("used_percent", percent, "%", warning, critical, what=what, target=path)
