# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A private server to load a dump into: an unprivileged user, a socket that nobody else reaches, no TCP.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator

from ..._durations import format_size
from ..._errors import DiskFull, HoldfastError, InvalidOption, MissingDependency, ToolFailed, Unavailable, Unsupported
from ..._process import Account, Process, account, hand_over
from .._scratch_directories import mark
from ._client import Address
from ._programs import Program
from ._server import DirectServer, wait_until_loaded

USERS = ("redis", "valkey", "nobody")
"""Whom a scratch server runs as when we are root and nobody was named: the first that exists."""
SOCKET = "s"
SOCKET_PATH = 107
"""Bytes that the kernel allows for the path of a socket."""
MEMORY_MARGIN = 1.2
DISK_MARGIN = 1.05
LOG_TAIL = 4000
DUMP = "dump.rdb"


def unprivileged(run_as: str | None) -> Account | None:
    """Whom the scratch server runs as; None when that is ourselves.

    Raises:
        InvalidOption: we are root and there is no user to become.
    """
    if run_as or os.geteuid() != 0:
        return _not_root(account(run_as))
    for name in USERS:
        with contextlib.suppress(InvalidOption):
            return _not_root(account(name))
    raise InvalidOption(
        f"A scratch server does not run as root, and none of the users {', '.join(USERS)} exists.",
        stage="preflight",
        hint="Name an unprivileged user (run_as).",
    )


def _not_root(user: Account | None) -> Account | None:
    if os.geteuid() == 0 and user is None:
        raise InvalidOption(
            "A scratch server does not run as root.", stage="preflight", hint="Name an unprivileged user (run_as)."
        )
    return user


def check_room(directory: str, dump_size: int, memory: int) -> None:
    """The file goes to the scratch place, its data into memory.

    Raises:
        DiskFull: there is no room for the file.
        Unavailable: there is no memory for the data.
    """
    while not os.path.isdir(directory):
        directory = os.path.dirname(directory) or "/"
    free = shutil.disk_usage(directory).free
    if free < dump_size * DISK_MARGIN:
        raise DiskFull(
            f"The dump needs {format_size(dump_size)} in the scratch place; {directory} has {format_size(free)}.",
            stage="preflight",
            hint="Name a directory with more room (scratch_dir).",
        )
    available = available_memory()
    if available is not None and available < memory * MEMORY_MARGIN:
        raise Unavailable(
            f"The data took {format_size(memory)} of memory when it was dumped; {format_size(available)} are left.",
            stage="preflight",
            hint="Verify this level on a host with more memory.",
        )


def available_memory() -> int | None:
    """Bytes that may still be used without swapping, within this control group; None where nobody says."""
    limits = []
    with contextlib.suppress(OSError, ValueError), open("/proc/meminfo", encoding="ascii") as stream:
        limits += [int(line.split()[1]) * 1024 for line in stream if line.startswith("MemAvailable:")]
    for limit, usage in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        with contextlib.suppress(OSError, ValueError):
            limits.append(max(0, _number(limit) - _number(usage)))
    return min(limits, default=None)


def _number(path: str) -> int:
    with open(path, encoding="ascii") as stream:
        return int(stream.read())


@contextlib.contextmanager
def scratch_server(
    program: Program, directory: str, owner: Account | None, databases: int, timeout: float
) -> Iterator[DirectServer]:
    """A server that has loaded `dump.rdb` of a scratch directory; ended whatever happens.

    Args:
        directory: 0700, of `owner`.
        databases: how many it has.
        timeout: seconds that it gets to load.

    Raises:
        ToolFailed: it did not start or could not load the dump, in its own words.
    """
    sockets = _socket_directory(directory, owner)
    if sockets != directory:
        mark(directory, owner, sockets=sockets)
    path = os.path.join(sockets, SOCKET)
    log = os.path.join(directory, "server.log")
    process = Process(
        [program.path, *_arguments(directory, path, log, databases)],
        run_as=owner,
        stdout=subprocess.DEVNULL,
        cwd=directory,
        dies_with_us=True,
    )
    server = DirectServer(Address(unix_socket=path))

    def alive() -> None:
        code = process.popen.poll()
        if code is not None:
            process.wait()
            raise _explain(process.failure(code, "scratch server"), _tail(log), program)

    try:
        wait_until_loaded(server, timeout, alive, lambda: time.sleep(0.05))
        yield server
    finally:
        server.close()
        process.terminate()
        if sockets != directory:
            shutil.rmtree(sockets, ignore_errors=True)


def _arguments(directory: str, socket_path: str, log: str, databases: int) -> list[str]:
    settings = {
        "port": "0",
        "unixsocket": socket_path,
        "unixsocketperm": "700",
        "dir": directory,
        "dbfilename": DUMP,
        "logfile": log,
        "databases": str(databases),
        "daemonize": "no",
        # Nothing here outlives the verification.
        "save": "",
        "appendonly": "no",
        # Its own dump comes at once, and over the socket.
        "repl-diskless-sync": "yes",
        "repl-diskless-sync-delay": "0",
        "maxmemory": "0",
    }
    return [word for name, value in settings.items() for word in (f"--{name}", value)]


def _socket_directory(directory: str, owner: Account | None) -> str:
    if len(os.fsencode(os.path.join(directory, SOCKET))) <= SOCKET_PATH:
        return directory
    path = tempfile.mkdtemp(prefix="holdfast-", dir="/tmp")
    if owner is not None:
        hand_over(path, owner)
    return path


def _tail(path: str) -> str:
    with contextlib.suppress(OSError), open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - LOG_TAIL))
        return stream.read().decode("utf-8", "replace")
    return ""


def _explain(error: ToolFailed, log: str, program: Program) -> HoldfastError:
    """Why it ended, from its log."""
    words = "\n".join(text for text in (log, error.tool_output or "") if text)
    if "no matching module" in words.lower() or "module data I can't load" in words:
        return MissingDependency(
            f"The dump holds values of a module that {program.path} does not have.",
            stage="scratch server",
            tool_output=words,
        )
    if "Can't handle RDB format version" in words:
        return Unsupported(
            f"{program.path} ({program.version}) does not know the format of the dump.",
            stage="scratch server",
            tool_output=words,
            hint="Install a server at least as new as the one that was backed up.",
        )
    if "Out Of Memory" in words or "Cannot allocate memory" in words:
        return Unavailable(
            "There is not enough memory for the scratch server.", stage="scratch server", tool_output=words
        )
    return ToolFailed(
        f"The scratch server ({program.path}) did not load the dump.", stage="scratch server", tool_output=words
    )
