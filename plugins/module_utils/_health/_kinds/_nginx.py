# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check kind `nginx`: it runs, its configuration would still load, and it has connections left.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..._deadline import Deadline
from ..._declaration._report import Report
from ..._errors import ToolFailed
from ..._limits import examine_limits, limits
from ..._process import find_program
from ..._spec import Spec
from .. import _tool
from .._interface import FAIL, PASS, Kind, Measurement
from .._thresholds import judged
from ._http import HttpCheck

_ACTIVE = re.compile(r"Active connections: (\d+)")


class NginxCheck(Kind):
    """A configuration that does not load is noticed here, and not by the next restart."""

    name = "nginx"
    SPEC = Spec(
        {
            "test_config": {"type": "bool", "default": True},
            "config": {"type": "path"},
            "command": {"type": "path", "default": "nginx"},
            "pid_file": {"type": "path", "default": "/run/nginx.pid"},
            "status_url": {"type": "str"},
            **limits("connections"),
        }
    )

    @classmethod
    def examine(cls, options: Mapping[str, Any], report: Report) -> None:
        examine_limits(options, report, "connections")
        if options.get("status_url"):
            HttpCheck.examine({**_http_options(options["status_url"])}, report)
        elif options.get("connections_warning") is not None or options.get("connections_critical") is not None:
            report.key("status_url").add("is required where connections are judged")

    def run(self, deadline: Deadline) -> Iterator[Measurement]:
        yield self._running()
        if self.options["test_config"]:
            program = find_program(self.options["command"], ["/usr/sbin", "/usr/local/sbin"], package="nginx")
            argv = [program, "-t", "-q", *(["-c", self.options["config"]] if self.options.get("config") else [])]
            code, _out, said = _tool.run_tool(argv, {})
            output = f"The configuration would not load: {said.strip()}" if code else ""
            yield Measurement("config", FAIL if code else PASS, not code, "", output)
        if self.options.get("status_url"):
            yield self._connections(deadline)

    def _running(self) -> Measurement:
        path = self.options["pid_file"]
        try:
            with open(path, encoding="ascii") as stream:
                pid = int(stream.read().strip() or 0)
            with open(f"/proc/{pid}/comm", encoding="utf-8") as stream:
                running = stream.read().strip() == "nginx"
        except (OSError, ValueError):
            running = False
        return Measurement("running", PASS if running else FAIL, running, "", "" if running else "nginx does not run.")

    def _connections(self, deadline: Deadline) -> Measurement:
        url = self.options["status_url"]
        body = HttpCheck(_http_options(url), "").fetch(deadline)
        match = _ACTIVE.search(body.decode("utf-8", "replace"))
        if match is None:
            raise ToolFailed(f"{url} is no page of stub_status.")
        warning, critical = self.options.get("connections_warning"), self.options.get("connections_critical")
        return judged("connections", int(match[1]), "", warning, critical, what="Connections to nginx:")


def _http_options(url: str) -> dict[str, Any]:
    defaults = {name: option["default"] for name, option in HttpCheck.SPEC.options.items() if "default" in option}
    return {**defaults, "url": url}
