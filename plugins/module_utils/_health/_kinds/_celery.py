# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check kind `celery`: workers answer, and are not drowning in tasks.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ..._deadline import Deadline
from ..._declaration._report import Report
from ..._errors import ToolFailed, shorten
from ..._limits import examine_limits, limits
from ..._spec import Spec
from .. import _tool
from .._interface import FAIL, PASS, Kind, Measurement
from .._thresholds import judged

_NOBODY, _SILENCE = 69, "No nodes replied"
"""Exit code (EX_UNAVAILABLE) and words of `celery inspect` when no worker answered."""


class CeleryCheck(Kind):
    """Asks the workers through the broker, with the application's own celery and as its user."""

    name = "celery"
    SPEC = Spec(
        {
            "app": {"type": "str", "required": True},
            "command": {"type": "path", "default": "celery"},
            **_tool.OPTIONS,
            "workers": {"type": "int", "default": 1},
            "names": {"type": "list", "elements": "str", "default": []},
            "reply_timeout": {"type": "float", "default": 1.0},
            **limits("active"),
        }
    )

    @classmethod
    def examine(cls, options: Mapping[str, Any], report: Report) -> None:
        _tool.examine_tool(options, report)
        examine_limits(options, report, "active")
        if options["workers"] < 1:
            report.key("workers").add("must be at least 1")
        if options["reply_timeout"] <= 0:
            report.key("reply_timeout").add("must be longer than nothing")

    def run(self, deadline: Deadline) -> Iterator[Measurement]:
        answers = self._inspect("ping")
        well = sorted(node for node, answer in answers.items() if isinstance(answer, dict) and "ok" in answer)
        enough = len(well) >= self.options["workers"]
        output = "" if enough else f"{len(well)} of {self.options['workers']} workers of {self.options['app']} answer."
        yield Measurement("workers", PASS if enough else FAIL, len(well), "", output)
        for name in self.options["names"]:
            output = "" if name in well else f"The worker {name} does not answer."
            yield Measurement("worker", FAIL if output else PASS, name in well, "", output, name)
        if self.options.get("active_warning") is None and self.options.get("active_critical") is None:
            return
        tasks = sum(len(answer) for answer in self._inspect("active").values() if isinstance(answer, list))
        warning, critical = self.options.get("active_warning"), self.options.get("active_critical")
        yield judged("active", tasks, "", warning, critical, what="Tasks that are being worked on:")

    def _inspect(self, what: str) -> dict[str, Any]:
        """The answer of each worker, by its name."""
        argv = [self.options["command"], "--app", self.options["app"], "--quiet", "inspect", what, "--json"]
        argv += ["--timeout", f"{self.options['reply_timeout']:g}"]
        code, out, said = _tool.run_tool(argv, self.options)
        if code == _NOBODY and (_SILENCE in out + said or not (out + said).strip()):
            return {}
        if code:
            # The last line of a traceback is what it is about.
            raise ToolFailed(f"celery inspect {what} exited with status {code}.", tool_output=shorten(said)[-300:])
        try:
            # What the application prints when it is imported comes first.
            answers = json.loads(out[out.index("{") :])
        except ValueError:
            raise ToolFailed(f"celery inspect {what} gave no JSON.") from None
        return answers if isinstance(answers, dict) else {}
