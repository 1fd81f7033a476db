# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check kind `gpu`: NVIDIA's cards are there, and neither full nor hot.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

from ..._deadline import Deadline
from ..._declaration._report import Report
from ..._errors import ToolFailed
from ..._limits import examine_limits, limits
from ..._spec import Spec
from .. import _tool
from .._interface import FAIL, PASS, Kind, Measurement
from .._thresholds import judged

_FIELDS = ("index", "memory.used", "memory.total", "utilization.gpu", "temperature.gpu")


class GpuCheck(Kind):
    """Asks nvidia-smi. A host without cards passes, unless `required`."""

    name = "gpu"
    component_type = "system"
    SPEC = Spec(
        {
            "required": {"type": "bool", "default": False},
            "minimum": {"type": "int", "default": 1},
            "command": {"type": "path", "default": "nvidia-smi"},
            **limits("memory", 90, 98),
            **limits("temperature", 85, 95),
            **limits("utilization"),
        }
    )

    @classmethod
    def examine(cls, options: Mapping[str, Any], report: Report) -> None:
        examine_limits(options, report, "memory", "utilization", maximum=100)
        examine_limits(options, report, "temperature")
        if options["minimum"] < 1:
            report.key("minimum").add("must be at least 1")

    def run(self, deadline: Deadline) -> Iterator[Measurement]:
        required = self.options["required"]
        if shutil.which(self.options["command"]) is None:
            output = f"{self.options['command']} was not found on this host." if required else ""
            yield Measurement("count", FAIL if required else PASS, 0, "", output)
            return
        query = [self.options["command"], f"--query-gpu={','.join(_FIELDS)}", "--format=csv,noheader,nounits"]
        code, out, said = _tool.run_tool(query, {})
        if code and required:
            raise ToolFailed("nvidia-smi failed.", tool_output=f"{out} {said}")
        cards = (
            [dict(zip(_FIELDS, row)) for row in csv.reader(out.splitlines(), skipinitialspace=True)] if not code else []
        )
        few = required and len(cards) < self.options["minimum"]
        output = f"{len(cards)} of {self.options['minimum']} GPUs are there." if few else ""
        yield Measurement("count", FAIL if few else PASS, len(cards), "", output)
        for card in cards:
            yield from self._card(card)

    def _card(self, card: Mapping[str, str]) -> Iterator[Measurement]:
        number = card["index"]
        used, whole = _number(card["memory.used"]), _number(card["memory.total"])
        percent = 100 * used / whole if used is not None and whole else None
        for name, value, unit, what in (
            ("memory", percent, "%", f"Of the memory of GPU {number} is used:"),
            ("temperature", _number(card["temperature.gpu"]), "°C", f"GPU {number} has"),
            ("utilization", _number(card["utilization.gpu"]), "%", f"GPU {number} is busy to"),
        ):
            if value is not None:  # some cards do not tell everything
                warning, critical = self.options.get(f"{name}_warning"), self.options.get(f"{name}_critical")
                yield judged(name, value, unit, warning, critical, what=what, target=number)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
