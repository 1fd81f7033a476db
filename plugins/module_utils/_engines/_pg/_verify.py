# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verification: every archive read to its end, and a restore into a scratch place that is removed again.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping
from typing import Any

from ..._durations import counted
from ..._errors import Corrupted, DiskFull, HoldfastError, Interrupted, NotFound, ToolFailed, VersionMismatch
from ..._manifest import parse_time, utc_now
from ..._process import Account, hand_over, open_owned
from .._interface import Proof, RestoreRun
from .._scratch_directories import sweep_directories
from . import _toc
from ._leftovers import sweep_databases
from ._plan import Wanted, make_plan
from ._preflight import MARGIN, needed_libraries
from ._restore import Restoring
from ._scratch import Cluster, Programs, cluster, find_programs, unprivileged
from ._server import Server
from ._stored import Stored, feed

OPTIONS: Mapping[str, Any] = {"scratch_database": {"type": "bool", "default": False}}
"""Options of a verification only."""

_PHASES = ("roles", "create", "restore", "analyze")
"""Stages that an emergency would take, too: their sum is the measured recovery time."""


def verify_archive(server: Server, run: RestoreRun) -> Mapping[str, Any]:
    """Read everything to its end with what would restore it.

    Raises:
        Corrupted: something cannot be read.
    """
    stored = Stored(run)
    found: dict[str, Any] = {"databases": {}}
    tool = server.tool("pg_restore", stored.dumped_by or int(stored.details["server"]["version_num"]) // 10000)
    for described in stored.details["databases"]:
        name = str(described["name"])
        parts = stored.dumps(name)
        run.progress.stage("archive", sum(part.size for part in parts))
        if parts[0].kind == "dump":
            entries = _read_custom(server, stored, tool.path, name)
        else:
            entries = _read_directory(server, stored, tool.path, name)
        found["databases"][name] = {"entries": entries, "bytes": sum(part.source_size for part in parts)}
    if stored.globals is not None:
        found["roles"], found["tablespaces"] = len(stored.globals.roles), len(stored.globals.tablespaces)
    run.fingerprint()
    return found


def _read_custom(server: Server, stored: Stored, program: str, name: str) -> int:
    """pg_restore turns the whole archive into a script for nobody; the entries of its contents."""
    (dump,) = stored.dumps(name)
    process = server.start(program, "--file=/dev/null", stdin=True, stdout=subprocess.DEVNULL)
    try:
        feed(stored.run, dump, process)
        process.check(stage="archive")
        return len(stored.contents(server, program, name).entries)
    except ToolFailed as error:
        raise _unreadable(error, dump.name) from None
    finally:
        process.terminate()


def _read_directory(server: Server, stored: Stored, program: str, name: str) -> int:
    """Every file of the directory is whole, and every table of its contents has one."""
    owner = server.run_as
    with stored.run.scratch(owner.name if owner else None) as scratch:
        members: set[str] = set()
        directory = open_owned(scratch, owner.uid if owner else None, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for part in stored.dumps(name):
                members.update(stored.unpack(part, directory, keep=("toc.dat",)))
        finally:
            os.close(directory)
        if owner is not None and "toc.dat" in members:
            hand_over(os.path.join(scratch, "toc.dat"), owner)
        try:
            _code, out, _said = server.run([program, "--list", "--verbose", scratch], stage="archive")
        except ToolFailed as error:
            raise _unreadable(error, f"the directory of {name!r}") from None
    contents = _toc.parse(out.decode("utf-8", "surrogateescape"))
    lost = [e.rest for e in contents.entries if e.kind == "TABLE DATA" and f"{e.id}.dat" not in members]
    if lost:
        raise Corrupted(
            f"The directory of {name!r} lacks the rows of {counted(len(lost), 'table')}: {', '.join(lost[:3])}."
        )
    return len(contents.entries)


def _unreadable(error: HoldfastError, what: str) -> HoldfastError:
    words = error.tool_output or ""
    if "unsupported version" in words:
        return VersionMismatch(
            f"pg_restore is older than {what}.",
            stage="archive",
            tool_output=words,
            hint="Install a newer one, or set bin_dir.",
        )
    return Corrupted(f"pg_restore cannot read {what}.", stage="archive", tool_output=words)


def verify_restore(options: Mapping[str, Any], component: str, run: RestoreRun, *, jobs: int = 1) -> Proof:
    """Restore into a private cluster, or into a scratch database of the server that the options name.

    Returns: the proof; its details hold `rto_seconds`, `rpo_seconds` and where it was made.
    """
    wanted = Wanted(jobs=jobs, tablespaces=False, any_locale=True, scratch=True)
    stored = Stored(run)
    sweep_directories(run.place.scratch_dir)
    if options.get("scratch_database"):
        server = Server(options, component)
        try:
            return _rehearse(server, run, stored, wanted, f"a scratch database at {server.where}")
        finally:
            server.close()
    major = int(stored.details["server"]["version_num"]) // 10000
    owner = unprivileged(options.get("run_as"))
    programs = find_programs(major, stored.dumped_by, options.get("bin_dir"), owner)
    _check_room(run, stored)
    with run.scratch(owner.name if owner else None) as directory:
        return _in_cluster(programs, directory, owner, component, run, stored, wanted)


def _in_cluster(
    programs: Programs,
    directory: str,
    owner: Account | None,
    component: str,
    run: RestoreRun,
    stored: Stored,
    wanted: Wanted,
) -> Proof:
    run.progress.stage("scratch cluster")
    described = stored.details["databases"]
    preload = {library for one in described for library in needed_libraries(one, stored.details)}

    def at(one: Cluster) -> Server:
        return Server({**one.options(), "run_as": owner.name if owner else None}, component)

    with cluster(programs, directory, owner, preload, lambda one: at(one).connect("postgres")) as one:
        server = at(one)
        try:
            return _rehearse(server, run, stored, wanted, f"a scratch cluster of PostgreSQL {programs.major}")
        except NotFound as error:
            if "extensions" in error.message:
                error.hint = f"Install their packages for {programs.bin_dir}."
            raise
        except Interrupted:
            raise  # whatever the cluster said meanwhile, that is not why
        except HoldfastError as error:
            raise one.explain(error) from None
        finally:
            server.close()


def _rehearse(server: Server, run: RestoreRun, stored: Stored, wanted: Wanted, where: str) -> Proof:
    age = (utc_now() - parse_time(run.backup.snapshot_at)).total_seconds()
    plan = make_plan(server, stored, wanted)
    for warning in plan.warnings:
        run.warn(warning)
    run.progress.stage("restore")
    before, begun = dict(run.progress.seconds), time.monotonic()
    with server.connect(plan.maintenance) as keeper:
        for sentence in sweep_databases(server, keeper):
            run.warn(sentence)
        proof = Restoring(server, run, stored, plan, wanted, keeper).rehearse()
    run.progress.stage("verified")
    spent = {name: value - before.get(name, 0.0) for name, value in run.progress.seconds.items()}
    details = {
        **proof.details,
        "where": where,
        "rto_seconds": round(sum(spent.get(phase, 0.0) for phase in _PHASES), 3),
        "rpo_seconds": round(age, 3),
        "seconds": round(time.monotonic() - begun, 3),
        "seconds_by_stage": {name: round(value, 3) for name, value in spent.items() if value > 0},
    }
    return Proof(proof.level, proof.checked, proof.differences, details)


def _check_room(run: RestoreRun, stored: Stored) -> None:
    """The scratch place must hold the largest database: they are restored one after the other.

    Raises:
        DiskFull: it cannot.
    """
    needed = int(max((one["size"] or 0 for one in stored.details["databases"]), default=0) * MARGIN)
    directory = run.place.scratch_dir
    status = os.statvfs(directory if os.path.isdir(directory) else tempfile.gettempdir())
    free = status.f_bavail * status.f_frsize
    if free < needed:
        raise DiskFull(
            f"The scratch cluster needs about {needed} bytes; {directory} has {free} free.",
            stage="preflight",
            hint="Name a directory with more room (scratch_dir).",
        )
