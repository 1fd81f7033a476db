# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check kind `command`: a program says by its exit code how things are.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..._deadline import Deadline
from ..._declaration._report import Report
from ..._spec import Spec
from .. import _tool
from .._interface import FAIL, PASS, WARN, Kind, Measurement


class CommandCheck(Kind):
    """0 passes, `warning_codes` warn (1, as plugins of Nagios do), everything else has failed. No shell is between."""

    name = "command"
    SPEC = Spec(
        {
            "command": {"type": "list", "elements": "str", "required": True},
            **_tool.OPTIONS,
            "warning_codes": {"type": "list", "elements": "int", "default": [1]},
        }
    )

    @classmethod
    def examine(cls, options: Mapping[str, Any], report: Report) -> None:
        _tool.examine_tool(options, report)
        if not str(options["command"][0]).startswith("/"):
            report.key("command").index(0).add("must be the absolute path of a program")

    def run(self, deadline: Deadline) -> Iterator[Measurement]:
        code, out, said = _tool.run_tool(self.options["command"], self.options)
        status = PASS if code == 0 else WARN if code in self.options["warning_codes"] else FAIL
        words = next((line.strip() for text in (out, said) for line in text.splitlines() if line.strip()), "")
        how = f"exited with status {code}" if code >= 0 else f"was killed by signal {-code}"
        output = "" if status == PASS else f"{self.options['command'][0]} {how}{f': {words}' if words else '.'}"
        yield Measurement("exit_code", status, code, "", output)
