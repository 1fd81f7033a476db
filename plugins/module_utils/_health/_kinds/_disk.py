# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check kind `disk`: how full file systems are.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..._deadline import Deadline
from ..._declaration._report import Report
from ..._durations import parse_size
from ..._limits import examine_limits, limits
from ..._spec import Spec
from ..._system._filesystems import is_mounted, local_mounts, usage
from .._interface import FAIL, PASS, Kind, Measurement
from .._thresholds import judged


class DiskCheck(Kind):
    """In percent of what can be used by others than root, as df counts."""

    name = "disk"
    component_type = "system"
    SPEC = Spec(
        {
            "paths": {"type": "list", "elements": "path", "default": []},
            "mounted": {"type": "bool", "default": False},
            **limits("", 80, 90),
            "free_warning": {"type": "bytes"},
            "free_critical": {"type": "bytes"},
        }
    )

    @classmethod
    def examine(cls, options: Mapping[str, Any], report: Report) -> None:
        examine_limits(options, report, "", maximum=100)
        examine_limits(_sizes(options), report, "free", falling=True)
        if options["mounted"] and not options["paths"]:
            report.key("mounted").add("requires paths")

    def run(self, deadline: Deadline) -> Iterator[Measurement]:
        free = _sizes(self.options)
        for path in self.options["paths"] or local_mounts() or ["/"]:
            if self.options["mounted"] and not is_mounted(path):
                yield Measurement("mounted", FAIL, False, "", f"Nothing is mounted at {path}.", path)
                continue
            found = usage(path)
            used = found.f_blocks - found.f_bfree
            ours = used + found.f_bavail
            warning, critical = self.options["warning"], self.options["critical"]
            if ours:
                what = f"{path} is full to"
                yield judged("used_percent", 100 * used / ours, "%", warning, critical, what=what, target=path)
            available = found.f_bavail * found.f_frsize
            yield judged(
                "free",
                available,
                "B",
                free["free_warning"],
                free["free_critical"],
                what=f"{path} has room for only",
                target=path,
                falling=True,
            )
            if found.f_flag & _READ_ONLY and self.options["paths"]:
                yield Measurement("writable", FAIL, False, "", f"{path} is read-only.", path)
            elif self.options["paths"]:
                yield Measurement("writable", PASS, True, "", "", path)


_READ_ONLY = 1
"""ST_RDONLY: a file system that met an error is often turned read-only by the kernel."""


def _sizes(options: Mapping[str, Any]) -> dict[str, int | None]:
    return {
        name: parse_size(str(options[name])) if options.get(name) is not None else None
        for name in ("free_warning", "free_critical")
    }
