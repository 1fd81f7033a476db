# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check kind `docker`: containers run, are healthy, and have memory left.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from ..._deadline import Deadline
from ..._declaration._report import Report
from ..._errors import InvalidOption, NotFound
from ..._limits import examine_limits, limits
from ..._spec import Spec
from ..._system._docker_api import Docker, address
from .._docker_stats import usage
from .._interface import FAIL, PASS, WARN, Kind, Measurement
from .._thresholds import judged

_HEALTH = {"healthy": PASS, "starting": WARN, "unhealthy": FAIL}


class DockerCheck(Kind):
    """Containers by name, or all of a Compose project."""

    name = "docker"
    SPEC = Spec(
        {
            "containers": {"type": "list", "elements": "str", "default": []},
            "project": {"type": "str"},
            "docker_host": {"type": "str"},
            **limits("restarts"),
            **limits("memory", 85, 95),
        }
    )

    @classmethod
    def examine(cls, options: Mapping[str, Any], report: Report) -> None:
        examine_limits(options, report, "restarts")
        examine_limits(options, report, "memory", maximum=100)
        if not options["containers"] and not options.get("project"):
            report.add("containers or project is required")
        if options.get("docker_host"):
            try:
                address(options["docker_host"])
            except InvalidOption:
                report.key("docker_host").add("must be unix:///path or tcp://host:port")

    @classmethod
    def preload(cls, options: Mapping[str, Any]) -> None:
        import http.client  # noqa: F401

    def run(self, deadline: Deadline) -> Iterator[Measurement]:
        docker = Docker(self.options.get("docker_host"), deadline)
        names = list(self.options["containers"])
        if self.options.get("project"):
            wanted = json.dumps({"label": [f"com.docker.compose.project={self.options['project']}"]})
            listed = docker.get("/containers/json", {"all": "true", "filters": wanted})
            if not listed:
                raise NotFound(f"The Compose project {self.options['project']} has no containers.")
            names += sorted(each["Names"][0].lstrip("/") for each in listed)
        for name in names:
            try:
                yield from self._container(docker, name)
            except NotFound:
                yield Measurement("state", FAIL, "missing", "", f"There is no container {name}.", name)

    def _container(self, docker: Docker, name: str) -> Iterator[Measurement]:
        path = f"/containers/{quote(name, safe='')}"
        found = docker.get(f"{path}/json")
        state = found["State"]
        status = str(state["Status"])
        output = ""
        if status != "running":
            killed = ", killed for lack of memory" if state.get("OOMKilled") else ""
            output = f"The container {name} is {status} (exit code {state.get('ExitCode')}{killed})."
        yield Measurement("state", FAIL if output else PASS, status, "", output, name)
        restarts = int(found.get("RestartCount", 0))
        warning, critical = self.options.get("restarts_warning"), self.options.get("restarts_critical")
        what = f"Times that Docker has restarted {name}:"
        yield judged("restarts", restarts, "", warning, critical, what=what, target=name)
        if status != "running":
            return
        health = (state.get("Health") or {}).get("Status", "none")
        if health in _HEALTH:
            output = "" if health == "healthy" else f"The container {name} is {health}."
            yield Measurement("health", _HEALTH[health], health, "", output, name)
        sample = next(docker.stream(f"{path}/stats", {"stream": "true"}), None)
        used = usage({}, sample or {})
        if not used.known:
            yield Measurement("memory", PASS, None, "%", f"Docker does not know what {name} uses.", name)
            return
        warning, critical = self.options["memory_warning"], self.options["memory_critical"]
        what = f"Of the memory of {name} is used:"
        yield judged("memory", used.memory_percent, "%", warning, critical, what=what, target=name)
