# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kind `host_report`: file systems, directories, memory, load, disks, network and processes of a host.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ..._deadline import Deadline
from ..._declaration._report import Report
from ..._durations import counted, format_size, roughly
from ..._limits import examine_limits, limits
from ..._spec import Spec
from .._host._findings import findings
from .._host._looked import Looked, look
from .._host._tables import data, measures, tables
from .._interface import Kind
from .._section import Section


class HostReport(Kind):
    """Reads the kernel's own files; only about the clock another program may be asked (see `_kernel.clock`)."""

    name = "host_report"
    title = "File systems, memory, load, disks, network and processes"
    SPEC = Spec(
        {
            "directories": {"type": "list", "elements": "path", "default": []},
            "walk_seconds": {"type": "float", "default": 3.0},
            "sample": {"type": "float", "default": 1.0},
            "limit": {"type": "int", "default": 20},
            **limits("space", 80, 90),
            **limits("inodes", 80, 90),
            **limits("memory", 85, 95),
            **limits("swap", 50, 80),
            **limits("load", 2, 4),
            **limits("pressure", 20, 50),
        }
    )

    @classmethod
    def examine(cls, options: Mapping[str, Any], report: Report) -> None:
        examine_limits(options, report, "space", "inodes", "memory", "swap", "pressure", maximum=100)
        examine_limits(options, report, "load")
        for name, most in (("sample", 5), ("walk_seconds", 3600)):
            if not 0.1 <= options[name] <= most:
                report.key(name).add(f"must lie between 0.1 and {most} seconds")
        if options["limit"] < 1:
            report.key("limit").add("must be at least 1")
        for number, path in enumerate(options["directories"]):
            if not os.path.isabs(path):
                report.key("directories").index(number).add("must begin with /")

    def look(self, deadline: Deadline) -> Section:
        options = self.options
        looked = look(options["directories"], options["walk_seconds"], options["sample"], deadline)
        return Section(
            title="Host",
            summary=_summary(looked),
            findings=list(findings(looked, options)),
            tables=list(tables(looked, options["limit"])),
            measures=list(measures(looked)),
            data=data(looked),
        )


def _summary(looked: Looked) -> str:
    fullest = next((found for found in looked.filesystems if not found.mount.read_only), None)
    disk = f", {fullest.mount.point} full to {fullest.used_percent:.0f} %" if fullest else ""
    return (
        f"Up {roughly(looked.uptime)}, load {looked.load[1]:.2f} on {counted(round(looked.processors), 'processor')}, "
        f"{looked.memory.used_percent:.0f} % of {format_size(looked.memory.total)} memory in use{disk}."
    )
