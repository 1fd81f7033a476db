# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs the server, so that a restore can stop and start it: a systemd unit or a container.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import contextlib
import re
from typing import Protocol

from ..._containers import Container
from ..._errors import InvalidOption, ToolFailed
from ..._operations._services import TIMEOUT, is_active, stop_unit
from ..._process import find_program, run

_UNIT = re.compile(r"/([^/]+\.service)(?:/[^/]*)*$", re.MULTILINE)


class Service(Protocol):
    """What runs the server."""

    name: str

    def is_running(self) -> bool:
        """Whether it runs, or is about to."""

    def stop(self, timeout: float) -> None:
        """End it as its owner would, so that the server can save; return when it has ended.

        Args:
            timeout: seconds that it gets.
        """

    def start(self) -> None:
        """Start it; the server loads its data meanwhile."""


class Unit:
    """A systemd unit."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._systemctl = find_program("systemctl", package="systemd")

    def is_running(self) -> bool:
        return is_active(self._systemctl, self.name)

    def stop(self, timeout: float) -> None:
        stop_unit(self._systemctl, self.name, timeout)

    def start(self) -> None:
        # A unit that crashed too often does not start before that is forgotten; for others this does nothing.
        run([self._systemctl, "reset-failed", "--", self.name], stage="start", check=False)
        # Without waiting: it counts as started when its data is loaded, and whether that is so the server says itself.
        run([self._systemctl, "start", "--no-block", "--", self.name], timeout=TIMEOUT, stage="start")

    def main_pid(self) -> int:
        """The process that systemd takes for the service; 0 when there is none."""
        _code, out, _said = run([self._systemctl, "show", "--property=MainPID", "--value", "--", self.name])
        return int(out.strip() or b"0")


class ContainerService:
    """A container."""

    def __init__(self, container: Container) -> None:
        self.name = f"container {container.name}"
        self._container = container

    def is_running(self) -> bool:
        return self._container.is_running()

    def stop(self, timeout: float) -> None:
        self._container.stop(int(timeout))

    def start(self) -> None:
        self._container.start()


def unit_of(pid: int) -> str | None:
    """The systemd unit that a process belongs to; None when it belongs to none."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cgroup", encoding="utf-8") as stream:
        found = _UNIT.search(stream.read())
        return found[1] if found else None
    return None


def find_service(name: str | None, container: Container | None, pid: int | None) -> Service:
    """What runs the server.

    Args:
        name: the unit that was named.
        pid: of the server on this host, where that is known.

    Raises:
        InvalidOption: nothing was named and nothing can be found out, or what was named runs another process.
    """
    if container is not None:
        return ContainerService(container)
    found = name or (unit_of(pid) if pid else None)
    if found is None:
        raise InvalidOption(
            "Nothing says which systemd unit runs the server, and a restore has to stop and start it.",
            stage="preflight",
            hint="Name it: service: redis-server.service",
        )
    unit = Unit(found)
    if pid and unit.is_running():
        try:
            main = unit.main_pid()
        except ToolFailed:
            main = 0
        if main not in (0, pid):
            raise InvalidOption(
                f"The unit {found} runs the process {main}; the server that answers is the process {pid}.",
                stage="preflight",
                hint="Name the unit of this server (service).",
            )
    return unit
