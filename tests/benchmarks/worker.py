# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One verb in a process of its own: a task as JSON on stdin, wall clock, CPU and peak memory as JSON on stdout.

Interpreter start and imports are not timed (the rows "with Ansible" include them); opening the repositories, the
preflight, the probe and the commit are.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.ops.plugins.module_utils._engines._files import FilesEngine
from ansible_collections.holdfast.ops.plugins.module_utils._engines._interface import Engine, Place
from ansible_collections.holdfast.ops.plugins.module_utils._engines._postgresql import PostgresqlEngine
from ansible_collections.holdfast.ops.plugins.module_utils._operations._backup import BackupSettings, backup
from ansible_collections.holdfast.ops.plugins.module_utils._operations._restore import RestoreSettings, restore
from ansible_collections.holdfast.ops.plugins.module_utils._progress import Progress
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._registry import open_repository
from ansible_collections.holdfast.ops.plugins.module_utils._stream._codec import Compression, Encryption, Identity

from .generated import GeneratedEngine, NullRepository

COMPONENT = "bench"


ENGINES: Mapping[str, Any] = {"files": FilesEngine, "postgresql": PostgresqlEngine, "generated": GeneratedEngine}


def _engine(task: Mapping[str, Any], place: Place) -> Engine:
    engine = ENGINES[task["engine"]]
    specs = {**engine.OPTIONS, **engine.BACKUP_OPTIONS, **engine.RESTORE_OPTIONS}
    defaults = {name: spec["default"] for name, spec in specs.items() if "default" in spec}
    made: Engine = engine({**dict.fromkeys(specs), **defaults, **task["options"]}, place)
    return made


def _open(task: Mapping[str, Any]) -> Iterator[Any]:
    for spec in task["repositories"]:
        yield NullRepository(spec["name"]) if spec["type"] == "null" else open_repository(spec, COMPONENT)


def perform(task: Mapping[str, Any]) -> dict[str, Any]:
    """Do it; what is worth knowing of it."""
    state = Path(task["state"])
    engine = _engine(task, Place(COMPONENT, str(state / "state"), str(state / "scratch")))
    try:
        repositories = list(_open(task))
        if task["verb"] == "backup":
            done = backup(
                engine,
                repositories,
                BackupSettings(
                    COMPONENT,
                    str(state / "state"),
                    compression=Compression(level=task.get("level", 3)),
                    encryption=Encryption("age", tuple(task["recipients"])) if task.get("recipients") else Encryption(),
                ),
                Progress(),
            )
            stored = done.backup
            assert stored is not None
            return {
                "message": done.message,
                "seconds": done.seconds,
                "source": stored.source_size,
                "stored": stored.size,
                "sent": done.blob_bytes_sent,
                "warnings": done.warnings,
            }
        settings = RestoreSettings(
            COMPONENT, str(state / "state"), identity=Identity(task.get("identity")), confirm=task.get("confirm")
        )
        back = restore(engine, repositories, settings, Progress())
        proof = back.proof
        return {
            "message": back.message,
            "seconds": back.seconds,
            "proof": [proof.level, proof.checked, len(proof.differences)] if proof else None,
            "warnings": back.warnings,
        }
    finally:
        engine.close()


def _cpu() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def peak_memory() -> float:
    """MB of resident memory at most so far, of this process alone (VmHWM: ru_maxrss begins with the parent's)."""
    line = next(one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def main() -> None:
    task = json.load(sys.stdin)
    _warm(task)
    os.makedirs(task["state"], exist_ok=True)
    cpu, started = _cpu(), time.monotonic()
    facts = perform(task)
    wall = time.monotonic() - started
    print(json.dumps({"wall": wall, "cpu": _cpu() - cpu, "peak": peak_memory(), "facts": facts}))


def _warm(task: Mapping[str, Any]) -> None:
    """Import what the verb would import."""
    import psycopg
    import zstandard

    del psycopg, zstandard
    if any(spec["type"] == "s3" for spec in task["repositories"]):
        import boto3
        import botocore.client
        import botocore.httpsession

        del boto3, botocore


if __name__ == "__main__":
    main()
