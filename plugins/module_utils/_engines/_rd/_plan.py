# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The preflight of a restore: which server, whose files, what runs it, and whether the dump can be loaded there.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..._durations import format_size
from ..._errors import DiskFull, InvalidOption, PermissionDenied, Refused, Unavailable, Unsupported, VersionMismatch
from ..._manifest import Artefact
from .._interface import RestorePlan, RestoreRun
from ._files import DEFAULTS, PREVIOUS, SETTINGS, DataFiles, read_configuration
from ._programs import can_read, find_servers
from ._prove import Recorded
from ._server import Server, State, version_numbers
from ._service import Service, find_service
from ._verify import dump_of, used_memory

OPTIONS: Mapping[str, Any] = {
    "service": {"type": "str"},
    "config_file": {"type": "path"},
    "keep_previous": {"type": "bool", "default": True},
    "load_timeout": {"type": "int", "default": 1800},
}
"""Options of a restore only."""

ROOM = 1.05
"""Room asked for, as a multiple of the dump."""


@dataclass
class Target:
    """Where a restore goes.

    Attributes:
        state: what the server said; None when it does not run.
        product, version: of the server; those of the dump's server while it does not run and none is found.
        settings: as CONFIG GET or the configuration file tell them.
        files: its directory on this host.
    """

    state: State | None
    product: str
    version: str
    settings: Mapping[str, str]
    files: DataFiles
    service: Service

    @property
    def holds_data(self) -> bool:
        return self.state.total > 0 if self.state is not None else bool(self.files.present())


def find_target(server: Server, options: Mapping[str, Any], run: RestoreRun) -> Target:
    """Look at the target, running or not.

    Raises:
        HoldfastError: it is not one that can be restored into.
    """
    try:
        state = server.state()
    except Unavailable as error:
        if not options.get("config_file"):
            error.hint = "Start it; or, where it cannot start, name its configuration (config_file) and unit (service)."
            raise
        return _stopped_target(server, options, run)
    except Exception as error:
        if getattr(error, "code", "") != "not_found" or not options.get("config_file"):
            raise
        return _stopped_target(server, options, run)
    if state.role == "slave":
        raise Refused(
            f"The server at {server.where} is a replica: what is restored there is lost at its next synchronisation.",
            stage="preflight",
            hint="Restore into its primary.",
        )
    settings = {**DEFAULTS, **server.config(*SETTINGS)}
    path = _directory(server, state, settings["dir"])
    files = DataFiles(path, settings, state.numbers)
    pid = None if server.container else int(state.info.get("process_id", 0)) or None
    service = find_service(options.get("service"), server.container, pid)
    return Target(state, state.product, state.version, settings, files, service)


def _directory(server: Server, state: State, configured: str) -> str:
    """The server's directory on this host.

    Raises:
        Refused: the server runs elsewhere.
    """
    if server.container is not None:
        found = server.container.host_path(configured)
        if found is None or not os.path.isdir(found):
            raise Unsupported(
                f"{configured} of the {server.where} lies on no volume that this host can reach.",
                stage="preflight",
                hint="Keep the server's directory on a volume or a bind mount; restore on the host that runs it.",
            )
        return found
    pid = state.info.get("process_id", "")
    try:
        here = os.path.samefile(f"/proc/{pid}/cwd", configured)
    except PermissionError:
        raise PermissionDenied(
            f"The server at {server.where} runs as another user.", stage="preflight", hint="Run as root (become)."
        ) from None
    except OSError:
        here = False
    if not here:
        raise Refused(
            f"The server at {server.where} does not run on this host, or not with {configured} of this host.",
            stage="preflight",
            hint="Restore on the host that runs it; for a server in a container, name that (container).",
        )
    return configured


def _stopped_target(server: Server, options: Mapping[str, Any], run: RestoreRun) -> Target:
    settings = read_configuration(str(options["config_file"]))
    if not os.path.isdir(settings["dir"]):
        raise InvalidOption(
            f"config_file names no directory of this host (dir is {settings['dir']!r}).", stage="preflight"
        )
    service = find_service(options.get("service"), server.container, None)
    wrote = str(run.backup.source.get("product") or "redis")
    programs = sorted(find_servers(options.get("bin_dir"), None), key=lambda each: each.product != wrote)
    product, version = (
        (programs[0].product, programs[0].version)
        if programs
        else (wrote, str(run.backup.source.get("server_version") or "0"))
    )
    files = DataFiles(settings["dir"], settings, version_numbers(version))
    return Target(None, product, version, settings, files, service)


def make_plan(server: Server, target: Target, recorded: Recorded, run: RestoreRun, previous: bool) -> RestorePlan:
    """What would be done, from a look that changed nothing.

    Raises:
        HoldfastError: it could not succeed.
    """
    artefact = dump_of(run)
    warnings: list[str] = []
    _check_version(target, run, warnings)
    _check_databases(target, recorded)
    _check_memory(target, run, warnings)
    room = _check_directory(target, artefact)
    if target.files.journal() is not None:
        warnings.append("A killed restore has left things in the server's directory; they are put back first.")
    name = "Valkey" if target.product == "valkey" else "Redis"
    now = f"{target.state.total} keys" if target.state is not None else "not running"
    source = run.backup.source
    summary = [
        f"{name} {target.version} at {server.where}, run by {target.service.name}: {now}",
        f"dump of {source.get('product')} {source.get('server_version')}: {format_size(artefact.source_size)}",
        f"{target.service.name} is stopped and started",
    ]
    fate = f"moved to {os.path.join(target.files.path, PREVIOUS)}*" if previous else "removed once all is proved"
    summary += [
        f"{os.path.join(target.files.path, name)} ({format_size(size)}) is {fate}"
        for name, size in sorted(target.files.present().items())
    ]
    summary.append(f"append-only file: {'on, begun with the dump' if target.files.append_only else 'off'}")
    summary.append(room)
    live = server.where if target.holds_data else None
    return RestorePlan(tuple(summary), True, live, tuple(warnings))


def _check_version(target: Target, run: RestoreRun, warnings: list[str]) -> None:
    source = run.backup.source
    readable = can_read(target.product, target.version, int(source.get("rdb_version") or 0))
    if readable is False:
        raise VersionMismatch(
            f"{target.product} {target.version} cannot load the dump of {source.get('product')} "
            f"{source.get('server_version')} (RDB version {source.get('rdb_version')}).",
            stage="preflight",
            hint="Restore into a server at least as new, of the same product.",
        )
    if readable is None:
        warnings.append(f"Whether {target.product} {target.version} loads this dump is unproven; it is tried.")


def _check_databases(target: Target, recorded: Recorded) -> None:
    highest = max((int(number) for number in recorded.document.get("databases", {})), default=0)
    if highest >= int(target.settings["databases"]):
        raise Unsupported(
            f"The dump has keys in database {highest}; the server has {target.settings['databases']} databases.",
            stage="preflight",
            hint="Raise databases in its configuration, and restart it.",
        )


def _check_memory(target: Target, run: RestoreRun, warnings: list[str]) -> None:
    limit = int(target.settings["maxmemory"] if target.settings["maxmemory"].isdigit() else 0)
    if limit and used_memory(run) > limit:
        warnings.append(
            f"The data took {format_size(used_memory(run))} of memory and the server's maxmemory is "
            f"{format_size(limit)}: it may evict keys, and then the restore is not proved and undone."
        )


def _check_directory(target: Target, artefact: Artefact) -> str:
    path = target.files.path
    if not os.access(path, os.W_OK | os.X_OK):
        raise PermissionDenied(f"No permission for {path}.", stage="preflight", hint="Run as root (become).")
    if os.geteuid() != 0 and target.files.owner().uid != os.geteuid():
        raise PermissionDenied(
            f"The files in {path} belong to another user.", stage="preflight", hint="Run as root (become)."
        )
    free = shutil.disk_usage(path).free
    needed = int(artefact.source_size * ROOM)
    if free < needed:
        raise DiskFull(
            f"The dump needs {format_size(needed)} in {path}; {format_size(free)} are free.",
            stage="preflight",
            hint="Make room. What is replaced is kept until the restore is proved.",
        )
    return f"free space: {format_size(free)}, {format_size(needed)} are needed"
