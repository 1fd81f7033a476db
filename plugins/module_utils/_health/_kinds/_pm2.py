# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check kind `pm2`: what PM2 keeps is online.

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
from ..._system._pm2 import processes
from .._interface import FAIL, PASS, Kind, Measurement
from .._thresholds import judged


class Pm2Check(Kind):
    """Asks PM2 as the user it belongs to. One that does not run is not started by being asked."""

    name = "pm2"
    SPEC = Spec(
        {
            "processes": {"type": "list", "elements": "str", "default": []},
            "run_as": {"type": "str"},
            "command": {"type": "path", "default": "pm2"},
            "pm2_home": {"type": "path"},
            **limits("restarts"),
            "memory_warning": {"type": "bytes"},
            "memory_critical": {"type": "bytes"},
        }
    )

    @classmethod
    def examine(cls, options: Mapping[str, Any], report: Report) -> None:
        examine_limits(options, report, "restarts")
        examine_limits(_sizes(options), report, "memory")

    def run(self, deadline: Deadline) -> Iterator[Measurement]:
        listed = processes(self.options.get("run_as"), self.options.get("pm2_home"), self.options["command"])
        found: dict[str, list[dict[str, Any]]] = {}
        for each in listed:
            found.setdefault(str(each.get("name", "")), []).append(each)
        if not self.options["processes"] and not found:
            yield Measurement("processes", FAIL, 0, "", "PM2 keeps no process.")
        for name in self.options["processes"] or sorted(found):
            yield from self._process(name, found.get(name, []))

    def _process(self, name: str, instances: list[dict[str, Any]]) -> Iterator[Measurement]:
        states = [str(each.get("pm2_env", {}).get("status", "unknown")) for each in instances] or ["missing"]
        bad = [state for state in states if state != "online"]
        output = f"{len(bad)} of {len(states)} of {name} {'is' if len(bad) == 1 else 'are'} {bad[0]}." if bad else ""
        yield Measurement("state", FAIL if bad else PASS, bad[0] if bad else "online", "", output, name)
        if not instances:
            return
        restarts = sum(int(each.get("pm2_env", {}).get("restart_time", 0)) for each in instances)
        warning, critical = self.options.get("restarts_warning"), self.options.get("restarts_critical")
        what = f"Times that PM2 has restarted {name}:"
        yield judged("restarts", restarts, "", warning, critical, what=what, target=name)
        memory = sum(int((each.get("monit") or {}).get("memory", 0)) for each in instances)
        sizes = _sizes(self.options)
        warning, critical = sizes["memory_warning"], sizes["memory_critical"]
        yield judged("memory", memory, "B", warning, critical, what=f"{name} uses", target=name)


def _sizes(options: Mapping[str, Any]) -> dict[str, int | None]:
    return {
        name: parse_size(str(options[name])) if options.get(name) is not None else None
        for name in ("memory_warning", "memory_critical")
    }
