# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verification: the dump read to its end by the server's own checker, and loaded into a scratch server.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from ..._errors import Corrupted
from ..._manifest import Artefact, parse_time, utc_now
from ..._process import hand_over
from .._interface import Proof, RestoreRun
from .._scratch_directories import mark, sweep_directories
from ._programs import check_file, choose_server
from ._prove import Recorded, fetch, prove
from ._scratch import DUMP, check_room, scratch_server, unprivileged

OPTIONS: Mapping[str, Any] = {
    "run_as": {"type": "str"},
    "load_timeout": {"type": "int", "default": 1800},
}
"""Options of a verification only."""

SILENCE = 600.0
"""Seconds that a scratch server may be silent while it gives out what it has loaded."""


def dump_of(run: RestoreRun) -> Artefact:
    """The dump of a backup.

    Raises:
        Corrupted: there is none.
    """
    artefact = run.backup.artefact("dump")
    if artefact is None:
        raise Corrupted(f"The manifest of {run.backup.id} names no dump.", stage="preflight")
    return artefact


def used_memory(run: RestoreRun) -> int:
    """Bytes that the data took when it was dumped."""
    return int(run.backup.source.get("used_memory") or 0)


def verify_archive(options: Mapping[str, Any], run: RestoreRun) -> Mapping[str, Any]:
    """Compare the dump with the fingerprint, and let the server's checker read it to its end."""
    artefact = dump_of(run)
    owner = unprivileged(options.get("run_as"))
    sweep_directories(run.place.scratch_dir)
    check_room(run.place.scratch_dir, artefact.source_size, 0)
    run.progress.stage("archive", artefact.size)
    with run.scratch(owner.name if owner else None) as directory:
        mark(directory, owner)
        path = os.path.join(directory, DUMP)
        contents = fetch(run, artefact, path, Recorded.of(run))
        if owner is not None:
            hand_over(path, owner)
        checker = check_file(path, directory, contents, options.get("bin_dir"), owner)
    return {"bytes": contents.size, "rdb_version": contents.version, "checked_by": checker}


def verify_restore(options: Mapping[str, Any], run: RestoreRun) -> Proof:
    """Load the dump into a scratch server, and compare what that gives out.

    Returns: the proof; its details hold `rto_seconds`, `rpo_seconds` and where it was made.
    """
    artefact = dump_of(run)
    recorded = Recorded.of(run)
    owner = unprivileged(options.get("run_as"))
    sweep_directories(run.place.scratch_dir)
    check_room(run.place.scratch_dir, artefact.source_size, used_memory(run))
    timeout = float(options.get("load_timeout") or 1800)
    age = (utc_now() - parse_time(run.backup.snapshot_at)).total_seconds()
    begun = time.monotonic()
    with run.scratch(owner.name if owner else None) as directory:
        mark(directory, owner)
        run.progress.stage("fetch", artefact.size)
        path = os.path.join(directory, DUMP)
        contents = fetch(run, artefact, path, recorded)
        program = choose_server(contents, options.get("bin_dir"), owner)
        if owner is not None:
            hand_over(path, owner)
        run.progress.stage("scratch server")
        databases = int(run.backup.source.get("databases") or 16)
        with scratch_server(program, directory, owner, databases, timeout) as server:
            loaded = time.monotonic() - begun
            run.progress.stage("prove")
            proof = prove(server, path, contents, recorded, SILENCE)
    details = {
        **proof.details,
        "where": f"a scratch server: {program.product} {program.version}",
        "rto_seconds": round(loaded, 3),
        "rpo_seconds": round(age, 3),
    }
    return Proof(proof.level, proof.checked, proof.differences, details)
