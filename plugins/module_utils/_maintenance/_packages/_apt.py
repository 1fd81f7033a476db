# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What apt would upgrade, from the package lists that the host has; they are never refreshed, and nothing is locked.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..._process import find_program, run

LISTS = "/var/lib/apt/lists"
_SUCCESS = "/var/lib/apt/periodic/update-success-stamp"
"""Touched by a hook of Ubuntu's and others' after every refresh that succeeded; Debian itself has no such thing."""

# Inst <name> [<installed>] (<available> <label>:<version>/<suite>, … [<architecture>]) [<what it breaks meanwhile>]
_INST = re.compile(r"Inst (?P<name>\S+) \[(?P<old>[^\]]+)\] \((?P<new>\S+)(?: (?P<from>[^()]*?))?(?: \[[^\]]*\])?\)")
# A simulation needs no lock; without the caches none is written; a pin on a held package is ignored to see it as well.
_SIMULATE = (
    "--simulate",
    "--quiet",
    "--ignore-hold",
    *("--option=Debug::NoLocking=true", "--option=Dir::Cache::pkgcache=", "--option=Dir::Cache::srcpkgcache="),
    "dist-upgrade",
)


@dataclass(frozen=True)
class Upgrade:
    """A package that could be upgraded.

    Attributes:
        origins: where the new version comes from: `Debian-Security:12/stable-security`.
        held: the administrator said that it must stay as it is (apt-mark hold).
    """

    name: str
    installed: str
    available: str
    origins: tuple[str, ...]
    held: bool = False

    @property
    def security(self) -> bool:
        """Whether the new version is a security update: it comes from such an archive."""
        return any(_is_security(origin) for origin in self.origins)

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "name": self.name,
            "installed": self.installed,
            "available": self.available,
            "security": self.security,
            "held": self.held,
            "origins": list(self.origins),
        }


@dataclass(frozen=True)
class Apt:
    """What apt knows.

    Attributes:
        versions: of what is installed, by name.
        refreshed: seconds since the lists last changed; None when there are none.
        asked: seconds since somebody last tried to refresh them, whether anything new came or not.
    """

    upgrades: Sequence[Upgrade]
    held: frozenset[str]
    versions: dict[str, str]
    refreshed: float | None
    asked: float | None


def installed() -> bool:
    """Whether this host has apt."""
    return shutil.which("apt-get") is not None


def look(timeout: float) -> Apt:
    """Ask apt and dpkg.

    Raises:
        ToolFailed: one of them could not say, or not in time.
    """
    packages = _dpkg(timeout)
    held = frozenset(name for name, (want, _version) in packages.items() if want == "hold")
    _code, out, _said = run([find_program("apt-get"), *_SIMULATE], timeout=timeout)
    found = parse_simulation(out.decode("utf-8", "replace").splitlines(), held)
    versions = {name: version for name, (_want, version) in packages.items()}
    return Apt(found, held, versions, *lists_age())


def parse_simulation(lines: Iterable[str], held: Iterable[str] = ()) -> list[Upgrade]:
    """The upgrades of `apt-get --simulate`; those for security come first. What is new and no upgrade is left out."""
    keep, found = frozenset(held), []
    for line in lines:
        match = _INST.match(line)
        if match:
            origins = tuple(filter(None, (match["from"] or "").split(", ")))
            name = match["name"]
            found.append(Upgrade(name, match["old"], match["new"], origins, name.partition(":")[0] in keep))
    return sorted(found, key=lambda upgrade: (not upgrade.security, upgrade.name))


def lists_age(lists: str = LISTS, success: str = _SUCCESS) -> tuple[float | None, float | None]:
    """Seconds since the lists last changed, and since somebody asked for new ones.

    The files' own times are the server's. apt renames what came into the directory, and downloads beside.
    """
    try:
        if not any(name.endswith(("_InRelease", "_Release", "_Packages")) for name in os.listdir(lists)):
            return None, None
    except OSError:
        return None, None
    changed = max(_changed(success), _changed(lists))
    asked = max(changed, _changed(os.path.join(lists, "partial")))
    now = time.time()
    return max(0.0, now - changed), max(0.0, now - asked)


def _changed(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def _dpkg(timeout: float) -> dict[str, tuple[str, str]]:
    """Of every installed package what is wanted (`install`, `hold`) and its version."""
    form = "--showformat=${db:Status-Want} ${db:Status-Status} ${Package} ${Version}\\n"
    _code, out, _said = run([find_program("dpkg-query"), "--show", form], timeout=timeout)
    rows = (line.split(" ") for line in out.decode("utf-8", "replace").splitlines())
    return {row[2]: (row[0], row[3]) for row in rows if len(row) == 4 and row[1] == "installed"}


def _is_security(origin: str) -> bool:
    """Debian's label says so, Ubuntu's suite; Ubuntu's extended maintenance has both names, `jammy-infra-security`."""
    label, _colon, suite = origin.partition(":")
    return "security" in label.lower() or suite.endswith("-security")


def newer_kernel(versions: dict[str, str], release: str, build: str) -> str:
    """Why the running kernel is not the one that would start; empty when it is, or nobody can tell.

    Args:
        versions: of the installed packages.
        release, build: of the running kernel, as uname has them: `6.1.0-28-amd64`, `… Debian 6.1.119-1 (2024-11-22)`.
    """
    running = versions.get(f"linux-image-{release}", versions.get(f"linux-image-unsigned-{release}"))
    if running is None:  # its package is gone, or it is none of the distribution's (a container)
        return ""
    built = re.search(r"Debian (\S+) \(", build)
    if built and built[1] != running:
        return f"{release} was upgraded from {built[1]} to {running}"
    images = (name[len("linux-image-") :] for name in versions if name.startswith("linux-image-"))
    others = [name for name in images if _flavour(name) and _flavour(name) == _flavour(release)]
    newest = max(others, key=_natural, default=release)
    return f"{newest} is installed" if _natural(newest) > _natural(release) else ""


def _flavour(release: str) -> str:
    """`amd64` of `6.1.0-28-amd64` and `6.12.48+deb13-amd64`; empty for what is no release of a kernel."""
    match = re.fullmatch(r"\d[\w.+~]*-(?:\d+-)?(?P<flavour>.+)", release)
    return match["flavour"] if match else ""


def _natural(text: str) -> list[tuple[int, str]]:
    return [(int(number), rest) for number, rest in re.findall(r"(\d+)(\D*)", text)]
