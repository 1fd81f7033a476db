# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs of an application: restarted in order, and judged by health checks.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Callable

from ..._errors import NotFound, NotProved
from ..._health._interface import FAIL, PASS, Check, Result
from ..._health._parse import parse_checks
from ..._health._runner import run_checks
from ..._operations._services import TIMEOUT, is_active
from ..._process import find_program, run
from ..._progress import Progress
from ..._system._pm2 import processes
from ._workplace import Step, Workplace

SERVICES_CHECK, PM2_CHECK = "restarted_services", "restarted_processes"
"""Checks that are made for what is restarted, beside the declared ones."""

_INTERVAL = 0.5


@dataclass(frozen=True)
class Service:
    """What is restarted, in this order.

    Attributes:
        units: of systemd.
        processes: of PM2.
        pm2_home: None for the one of the user that they run as.
        steps: the application's own commands, such as `docker compose up -d`.
        checks: what has to be well afterwards.
        wait: seconds for all of them to become well.
        stay: seconds for which they must stay so.
    """

    place: Workplace
    units: tuple[str, ...] = ()
    processes: tuple[str, ...] = ()
    pm2_home: str | None = None
    steps: tuple[Step, ...] = ()
    checks: tuple[Check, ...] = ()
    wait: float = 60.0
    stay: float = 0.0

    def missing(self) -> None:
        """Look whether all that is restarted is there.

        Raises:
            NotFound: systemd or PM2 does not know one of them.
            Unavailable: PM2 does not run.
        """
        for unit in self.units:
            is_active(find_program("systemctl", package="systemd"), unit)
        if not self.processes:
            return
        kept = {each.get("name") for each in processes(self.place.run_as, self.pm2_home, timeout=TIMEOUT)}
        gone = [name for name in self.processes if name not in kept]
        if gone:
            raise NotFound(f"PM2 keeps no process {', '.join(gone)}.", stage="preflight")

    def restart(self, progress: Progress, run_number: str, started: Callable[[int], None] | None = None) -> None:
        """Restart all of it; one that was stopped is started.

        Raises:
            ToolFailed: one could not be; those after it were left alone.
        """
        if self.units:
            systemctl = find_program("systemctl", package="systemd")
            if self._changed_on_disk(systemctl):
                run([systemctl, "daemon-reload"], timeout=TIMEOUT, stage="restart")
            for unit in self.units:
                progress.stage(f"restart {unit}")
                run([systemctl, "restart", "--", unit], timeout=TIMEOUT, stage="restart")
        for name in self.processes:
            progress.stage(f"restart {name}")
            env = {"PM2_HOME": self.pm2_home} if self.pm2_home else {}
            argv = [find_program("pm2", package="pm2 (npm)"), "restart", name]
            self.place.run(argv, timeout=TIMEOUT, stage="restart", cwd="/", env=env)
        for step in self.steps:
            progress.stage(f"restart: {step.shown}")
            self.place.perform(step, "restart", run_number, started)

    def _changed_on_disk(self, systemctl: str) -> bool:
        argv = [systemctl, "show", "--property=NeedDaemonReload", "--value", "--", *self.units]
        return b"yes" in run(argv, timeout=TIMEOUT, stage="restart")[1]

    def _pm2_options(self) -> dict[str, Any]:
        home = {"pm2_home": self.pm2_home} if self.pm2_home else {}
        return {"processes": list(self.processes), "run_as": self.place.run_as, **home}

    def all_checks(self) -> tuple[Check, ...]:
        """The declared checks, and those of what is restarted."""
        more: list[dict[str, Any]] = []
        if self.units:
            more.append({"name": SERVICES_CHECK, "kind": "systemd", "units": list(self.units)})
        if self.processes:
            more.append({"name": PM2_CHECK, "kind": "pm2", "timeout": "30s", **self._pm2_options()})
        return (*parse_checks(more), *self.checks)

    def look(self) -> Health:
        """Run all checks once."""
        checks = self.all_checks()
        return Health(run_checks(checks, "") if checks else ())

    def await_health(self, progress: Progress, least: float = 0.0) -> Health:
        """Wait until all is well, and has been for a while.

        Args:
            least: seconds that it gets, also where `wait` is shorter.

        Raises:
            NotProved: it was not within the time; what was found last.
        """
        progress.stage("health")
        wait = max(self.wait, least)
        end = time.monotonic() + wait
        well_since = None
        while True:
            began = time.monotonic()
            found = self.look()
            if found.well:
                well_since = began if well_since is None else well_since
                if time.monotonic() - well_since >= self.stay:
                    return found
            else:
                well_since = None
                if time.monotonic() > end:
                    raise NotProved(
                        f"It was not well within {wait:g} s. {found.said}",
                        stage="health",
                        hint="Look at the logs of what was restarted.",
                    )
            time.sleep(_INTERVAL)


@dataclass(frozen=True)
class Health:
    """What the checks found."""

    results: Sequence[Result] = field(default=())

    @property
    def well(self) -> bool:
        """Whether none has failed; a warning is no failure."""
        return all(each.status != FAIL for each in self.results)

    @property
    def said(self) -> str:
        """What is not well, in the checks' words."""
        return " ".join(f"{each.name}: {each.output}" for each in self.results if each.status != PASS)
