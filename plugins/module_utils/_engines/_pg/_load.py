# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An archive into an empty database, by pg_restore.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import os
import re
import subprocess

from ..._errors import HoldfastError, ToolFailed
from ..._manifest import Artefact
from .._interface import RestoreRun
from ._leftovers import mark
from ._plan import Wanted
from ._server import Server, Tool

_ABOUT_ARCHIVE = re.compile(
    r"input file|end of file|archive|archiver|uncompress|could not read|corrupt|out of range|block type|data block",
    re.IGNORECASE,
)
"""What pg_restore says when the fault is in what it reads, not in what the server makes of it."""


def load(server: Server, run: RestoreRun, dump: Artefact, database: str, tool: Tool, wanted: Wanted) -> None:
    """Restore an archive: streamed, or by several jobs from a scratch file.

    Raises:
        Corrupted: the stored bytes are not those that were written.
        HoldfastError: pg_restore failed, in its own words.
    """
    arguments = ["--exit-on-error"]
    if not wanted.tablespaces:
        arguments.append("--no-tablespaces")
    jobs = wanted.jobs
    if jobs > 1 and server.container:
        run.warn("jobs: a restore into a container is streamed by one job.")
        jobs = 1
    try:
        if jobs > 1:
            _from_file(server, run, dump, database, tool, [*arguments, f"--jobs={jobs}"])
        else:
            process = server.start(tool.path, *arguments, database=database, stdin=True, stdout=subprocess.DEVNULL)
            run.reader.to_process(dump, process)
    except ToolFailed as error:
        if _ABOUT_ARCHIVE.search(error.tool_output or ""):
            run.reader.decode(dump, lambda data: None)  # says which object is damaged, if one is
        raise _explained(server, error) from None


def _explained(server: Server, error: HoldfastError) -> HoldfastError:
    return server.describe(error.at("restore"))


def _from_file(
    server: Server, run: RestoreRun, dump: Artefact, database: str, tool: Tool, arguments: list[str]
) -> None:
    owner = server.run_as
    with run.scratch(owner.name if owner else None) as directory:
        mark(directory)
        path = os.path.join(directory, "archive")
        run.reader.to_file(dump, path)
        if owner is not None:
            os.chown(path, owner.uid, owner.gid)
        process = server.start(tool.path, *arguments, path, database=database, stdout=subprocess.DEVNULL)
        try:
            process.check(stage="restore")
        finally:
            process.terminate()
