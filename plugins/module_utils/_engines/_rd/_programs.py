# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers and checkers of this host, and which of them can read a dump.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from ..._errors import Corrupted, MissingDependency, ToolFailed, VersionMismatch
from ..._process import Account, run
from ._rdb import Contents
from ._server import version_numbers

PRODUCTS = ("redis", "valkey")
DIRECTORIES = ("/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/opt/redis/bin", "/opt/valkey/bin")

_VERSION = re.compile(rb"server v=(\d+(?:\.\d+)+)")
_FOREIGN = range(12, 80)
"""RDB versions of Redis since its change of licence; Valkey counts from 80."""
_READERS = {
    "redis": {9: (5, 0), 10: (7, 0), 11: (7, 2), 12: (7, 4)},
    "valkey": {9: (7, 2), 10: (7, 2), 11: (7, 2), 80: (9, 0), 81: (9, 2)},
}
"""The first server that reads a version of the format."""


@dataclass(frozen=True)
class Program:
    """An installed server."""

    path: str
    product: str
    version: str


def can_read(product: str, version: str, rdb_version: int) -> bool | None:
    """Whether a server reads a version of the format; None when only trying shows."""
    known = _READERS[product]
    if product == "valkey" and rdb_version in _FOREIGN:
        return False
    if product == "redis" and rdb_version >= _FOREIGN.stop:
        return False
    needed = next((server for rdb, server in known.items() if rdb >= rdb_version), None)
    return None if needed is None else version_numbers(version) >= needed


def find_servers(bin_dir: str | None, run_as: Account | None) -> list[Program]:
    """Every Redis or Valkey server of this host that the user can run."""
    found = []
    seen = set()
    for product in PRODUCTS:
        for path in _paths(f"{product}-server", bin_dir):
            if os.path.realpath(path) in seen:
                continue
            seen.add(os.path.realpath(path))
            try:
                _code, out, _err = run([path, "--version"], run_as=run_as, timeout=30)
            except (ToolFailed, OSError):  # cannot be run by that user
                continue
            match = _VERSION.search(out)
            if match:
                # Debian's valkey has redis-server as another name.
                actual = "valkey" if out.lower().startswith(b"valkey") else "redis"
                found.append(Program(path, actual, match[1].decode()))
    return found


def choose_server(contents: Contents, bin_dir: str | None, run_as: Account | None) -> Program:
    """The server that reads the dump for certain, else one that may: of the same product, the oldest.

    Raises:
        MissingDependency: there is no server on this host.
        VersionMismatch: there is, and it cannot.
    """
    found = find_servers(bin_dir, run_as)
    if not found:
        raise MissingDependency(
            "No Redis or Valkey server is installed on this host, so there is nothing to start a scratch server with.",
            stage="preflight",
            hint=f"Install the package {contents.product}-server, or name its directory (bin_dir).",
        )
    able = []
    for program in found:
        readable = can_read(program.product, program.version, contents.version)
        if readable is not False:
            rank = (readable is None, program.product != contents.product, version_numbers(program.version))
            able.append((rank, program))
    if not able:
        names = ", ".join(f"{each.path} ({each.product} {each.version})" for each in found)
        raise VersionMismatch(
            f"No server of this host reads RDB version {contents.version}, which a {contents.product} server wrote: "
            f"{names}.",
            stage="preflight",
            hint=f"Install a {contents.product} server at least as new as the one that was backed up.",
        )
    return min(able, key=lambda pair: pair[0])[1]


def check_file(path: str, scratch: str, contents: Contents, bin_dir: str | None, run_as: Account | None) -> str:
    """Read an RDB to its end, its checksum included, by the checker that comes with the server; its name.

    Raises:
        Corrupted: it is damaged.
        MissingDependency, VersionMismatch: no checker is installed, or none that knows this version.
    """
    too_old: ToolFailed | None = None
    for program in _checkers(scratch, contents.product, bin_dir):
        code, out, said = run([program, path], run_as=run_as, check=False, stage="archive")
        words = out.decode("utf-8", "replace") + said
        if code == 0 and "RDB looks OK" in words:
            return os.path.basename(program)
        if re.search(r"Can't handle RDB format|[Uu]nknown (?:object )?type|Wrong signature", words):
            too_old = ToolFailed("too old", tool_output=words)
            continue
        raise Corrupted(f"{os.path.basename(program)} finds the dump damaged.", stage="archive", tool_output=words)
    if too_old is not None:
        raise VersionMismatch(
            f"The checkers of this host do not know RDB version {contents.version}, which a {contents.product} server "
            "wrote.",
            stage="archive",
            tool_output=too_old.tool_output,
            hint="Install one at least as new as the server that was backed up, or name its directory (bin_dir).",
        )
    raise MissingDependency(
        "Neither redis-check-rdb nor valkey-check-rdb was found on this host.",
        stage="preflight",
        hint="Install the package redis-tools or valkey-tools, or name the directory (bin_dir).",
    )


def _checkers(scratch: str, product: str, bin_dir: str | None) -> Iterator[str]:
    """Checkers, those of the product first. A checker is the server under another name, and not always installed."""
    for name in sorted(PRODUCTS, key=lambda each: each != product):
        found = list(_paths(f"{name}-check-rdb", bin_dir))
        yield from found[:1]
        servers = [] if found else list(_paths(f"{name}-server", bin_dir))
        if servers:
            link = os.path.join(scratch, f"{name}-check-rdb")
            os.symlink(servers[0], link)
            yield link


def _paths(name: str, bin_dir: str | None) -> Iterator[str]:
    path = os.environ.get("PATH", os.defpath).split(os.pathsep)
    for directory in [bin_dir] if bin_dir else [*path, *DIRECTORIES]:
        candidate = os.path.join(directory, name)
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            yield candidate
