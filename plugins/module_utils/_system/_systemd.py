# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd says of its units. Nothing is started by being asked.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Sequence

from .._errors import Unavailable
from .._process import find_program, run

STARTS_AT_BOOT = frozenset(("enabled", "enabled-runtime", "static", "generated", "indirect", "alias"))
"""States of a unit file that somebody need not do anything about; what is static is started by others."""

_SUFFIXES = frozenset(
    ("service", "socket", "timer", "target", "path", "mount", "automount", "swap", "slice", "scope", "device")
)


def show(units: Sequence[str], properties: Sequence[str], timeout: float | None = None) -> list[dict[str, str]]:
    """Properties of units, in the order in which they were asked for; times are in UTC.

    Raises:
        MissingDependency: there is no systemd.
        Unavailable: it does not answer, or one of them cannot be the name of a unit.
    """
    if not units:
        return []
    # One block for each unit, also for one that there is not.
    names = map(with_suffix, units)
    said = _ask("show", f"--property={','.join(properties)}", "--", *names, timeout=timeout)
    blocks = said.strip("\n").split("\n\n")
    return [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in blocks]


def failed_units(timeout: float | None = None) -> list[str]:
    """The names of all units that have failed.

    Raises:
        MissingDependency, Unavailable: as `show`.
    """
    said = _ask("list-units", "--all", "--state=failed", "--plain", "--no-legend", "--no-pager", timeout=timeout)
    return [line.split()[0] for line in said.splitlines() if line.strip()]


def with_suffix(unit: str) -> str:
    """The full name of a unit: a service, where nothing else is said."""
    return unit if unit.rpartition(".")[2] in _SUFFIXES else f"{unit}.service"


def _ask(*arguments: str, timeout: float | None) -> str:
    code, out, said = run([find_program("systemctl", package="systemd"), *arguments], check=False, timeout=timeout)
    if code:
        raise Unavailable("systemd did not answer.", tool_output=said)
    return out.decode("utf-8", "replace")
