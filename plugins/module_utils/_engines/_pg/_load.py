# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An archive into an empty database, by pg_restore.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import re
import subprocess

from ..._errors import ToolFailed, Unsupported
from ._plan import Wanted
from ._server import Server, Tool
from ._stored import Stored

_ABOUT_ARCHIVE = re.compile(
    r"input file|end of file|archive|archiver|uncompress|could not read|corrupt|out of range|block type|data block",
    re.IGNORECASE,
)
"""What pg_restore says when the fault is in what it reads, not in what the server makes of it."""


def load(server: Server, stored: Stored, source: str, database: str, tool: Tool, wanted: Wanted) -> None:
    """Restore the archive of the database `source`: streamed, or by several jobs from scratch files.

    Raises:
        Corrupted: the stored bytes are not those that were written.
        HoldfastError: pg_restore failed, in its own words.
    """
    run, parts = stored.run, stored.dumps(source)
    arguments = ["--exit-on-error"]
    if not wanted.tablespaces:
        arguments.append("--no-tablespaces")
    streamed = parts[0].kind == "dump" and (wanted.jobs == 1 or server.container is not None)
    try:
        if not streamed:
            _from_files(server, stored, source, database, tool, [*arguments, f"--jobs={wanted.jobs}"])
            return
        if wanted.jobs > 1:
            run.warn("jobs: a restore into a container is streamed by one job.")
        process = server.start(tool.path, *arguments, database=database, stdin=True, stdout=subprocess.DEVNULL)
        run.reader.to_process(parts[0], process)
    except ToolFailed as error:
        if _ABOUT_ARCHIVE.search(error.tool_output or ""):
            for part in parts:
                run.reader.decode(part, lambda data: None)  # says which object is damaged, if one is
        raise server.describe(error.at("restore")) from None


def _from_files(server: Server, stored: Stored, source: str, database: str, tool: Tool, arguments: list[str]) -> None:
    if server.container:
        raise Unsupported(
            "A dump in directory format cannot be restored into a container, which sees no files of this host.",
            stage="restore",
            hint="Connect to the container's published port (login_host).",
        )
    with stored.unpacked(source, server.run_as) as path:
        process = server.start(tool.path, *arguments, path, database=database, stdout=subprocess.DEVNULL)
        try:
            process.check(stage="restore")
        finally:
            process.terminate()
