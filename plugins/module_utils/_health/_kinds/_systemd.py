# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check kind `systemd`: units are active.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..._deadline import Deadline
from ..._declaration._report import Report
from ..._limits import examine_limits, limits
from ..._spec import Spec
from ..._system._systemd import STARTS_AT_BOOT, failed_units, show
from .._interface import FAIL, PASS, WARN, Kind, Measurement
from .._thresholds import judged

_PROPERTIES = ("Id", "LoadState", "ActiveState", "SubState", "Result", "NRestarts", "UnitFileState")
_ON_ITS_WAY = frozenset({"activating", "reloading", "deactivating"})


class SystemdCheck(Kind):
    """Reads properties only; nothing is started."""

    name = "systemd"
    component_type = "system"
    SPEC = Spec(
        {
            "units": {"type": "list", "elements": "unit", "default": []},
            "enabled": {"type": "bool", "default": False},
            "failed_units": {"type": "bool", "default": False},
            **limits("restarts"),
        }
    )

    @classmethod
    def examine(cls, options: Mapping[str, Any], report: Report) -> None:
        examine_limits(options, report, "restarts")
        if not options["units"] and not options["failed_units"]:
            report.add("units or failed_units is required")

    def run(self, deadline: Deadline) -> Iterator[Measurement]:
        for unit, found in zip(self.options["units"], show(self.options["units"], _PROPERTIES)):
            yield from self._unit(unit, found)
        if self.options["failed_units"]:
            failed = failed_units()
            output = f"Failed units: {', '.join(failed[:10])}." if failed else ""
            yield Measurement("failed_units", WARN if failed else PASS, len(failed), "", output)

    def _unit(self, unit: str, found: Mapping[str, str]) -> Iterator[Measurement]:
        state, load = found.get("ActiveState", "unknown"), found.get("LoadState", "unknown")
        if load != "loaded":
            yield Measurement("state", FAIL, load, "", f"{unit} is {load.replace('-', ' ')}.", unit)
            return
        # A service that does its work and ends, as those of timers, is well when its last run was.
        status = PASS if state == "active" else WARN if state in _ON_ITS_WAY else FAIL
        result = found.get("Result", "")
        reason = f", last result: {result}" if result not in ("", "success") else ""
        output = "" if status == PASS else f"{unit} is {state} ({found.get('SubState', '')}{reason})."
        yield Measurement("state", status, state, "", output, unit)
        restarts = found.get("NRestarts", "")
        if restarts.isdigit():
            warning, critical = self.options.get("restarts_warning"), self.options.get("restarts_critical")
            what = f"Times that systemd has restarted {unit}:"
            yield judged("restarts", int(restarts), "", warning, critical, what=what, target=unit)
        if self.options["enabled"]:
            enabled = found.get("UnitFileState", "")
            good = enabled in STARTS_AT_BOOT
            output = "" if good else f"{unit} is {enabled or 'not enabled'} and will not start at boot."
            yield Measurement("enabled", PASS if good else WARN, enabled, "", output, unit)
