# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A private cluster to restore into: an unprivileged user, a socket that nobody else reaches, no TCP.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Callable

from ..._errors import DiskFull, HoldfastError, InvalidOption, MissingDependency, TimedOut, ToolFailed, Unavailable
from ..._process import Account, Process, account, hand_over, open_owned, run
from .._scratch_directories import mark
from ._sql import Session

SUPERUSER = "postgres"
START_TIMEOUT = 60.0
"""Seconds that the server gets to take connections."""
SOCKET_PATH = 107 - len("/.s.PGSQL.5432")
"""Bytes that the kernel allows for the directory of a socket."""
INSTALLATIONS = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql*/bin", "/opt/postgresql*/bin")
NO_SPACE = re.compile(r"No space left on device|Check free disk space")

_CONFIGURATION: Mapping[str, str] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    # Nothing here outlives the verification.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "archive_mode": "off",
    "autovacuum": "off",
    "max_wal_size": "512MB",
    "shared_buffers": "128MB",
    "maintenance_work_mem": "128MB",
    "max_connections": "30",
    "max_locks_per_transaction": "256",
    "log_min_messages": "error",
    "log_min_error_statement": "panic",
    "log_destination": "stderr",
    "logging_collector": "off",
    "timezone": "UTC",
}


@dataclass(frozen=True)
class Programs:
    """A PostgreSQL installation with a server in it; major versions of the server and of its pg_restore."""

    bin_dir: str
    major: int
    tools: int

    def path(self, name: str) -> str:
        return os.path.join(self.bin_dir, name)


def find_programs(major: int, dumped_by: int, bin_dir: str | None, run_as: Account | None) -> Programs:
    """The installation that can take a dump: the one that was named, of the same version, or the next newer.

    Args:
        major: of the server that was dumped.
        dumped_by: of pg_dump, whose archives an older pg_restore cannot read.

    Raises:
        MissingDependency: there is none on this host.
    """
    found = [
        programs
        for path in _installations(bin_dir)
        if (programs := _look_at(path, run_as)) and programs.major >= major and programs.tools >= dumped_by
    ]
    major = max(major, dumped_by)
    named = [programs for programs in found if programs.bin_dir == bin_dir]
    if not found:
        raise MissingDependency(
            f"No PostgreSQL server of version {major} or newer is installed on this host, so there is nothing to "
            "start a scratch cluster with.",
            stage="preflight",
            hint=f"Install the package postgresql-{major}, name its directory (bin_dir), or let a server that you name "
            "hold a scratch database (scratch_database: true).",
        )
    return named[0] if named else min(found, key=lambda programs: programs.major)


def _installations(bin_dir: str | None) -> list[str]:
    paths = [bin_dir] if bin_dir else []
    for pattern in INSTALLATIONS:
        paths += sorted(glob.glob(pattern))
    on_path = shutil.which("postgres")
    if on_path:
        paths.append(os.path.dirname(os.path.realpath(on_path)))
    return paths


def _look_at(path: str, run_as: Account | None) -> Programs | None:
    if not all(os.access(os.path.join(path, name), os.X_OK) for name in ("initdb", "postgres", "pg_restore")):
        return None
    versions = []
    for name in ("postgres", "pg_restore"):
        try:
            _code, out, _err = run([os.path.join(path, name), "--version"], run_as=run_as, timeout=30)
        except (ToolFailed, OSError):  # cannot be run by that user
            return None
        match = re.search(rb"\(PostgreSQL\) (\d+)", out)
        if match is None:
            return None
        versions.append(int(match[1]))
    return Programs(path, *versions)


def unprivileged(run_as: str | None) -> Account | None:
    """Whom the scratch cluster runs as; None when that is ourselves.

    Raises:
        InvalidOption: we are root and there is no user to become (PostgreSQL refuses to run as root).
    """
    if os.geteuid() != 0:
        return account(run_as)
    try:
        user = account(run_as or SUPERUSER)
    except InvalidOption as error:
        raise InvalidOption(
            f"A scratch cluster cannot run as root. {error.message}",
            stage="preflight",
            hint="Name an unprivileged user (run_as).",
        ) from None
    if user is None:
        raise InvalidOption(
            "A scratch cluster cannot run as root.", stage="preflight", hint="Name an unprivileged user (run_as)."
        )
    return user


class Cluster:
    """A running scratch cluster.

    Attributes:
        sockets: the directory of its socket.
    """

    def __init__(self, programs: Programs, directory: str, run_as: Account | None, preload: Collection[str]) -> None:
        self.programs = programs
        self.data = os.path.join(directory, "data")
        self.sockets = _socket_directory(directory, run_as)
        self._run_as = run_as
        self._preload = sorted(preload)
        self._process: Process | None = None
        mark(directory, run_as, sockets=self.sockets)

    def options(self) -> dict[str, Any]:
        """How the engine connects to it."""
        return {
            "login_unix_socket": self.sockets,
            "login_port": 5432,
            "login_user": SUPERUSER,
            "bin_dir": self.programs.bin_dir,
        }

    def start(self, connect: Callable[[], Session]) -> None:
        """initdb, start, and wait until it takes connections.

        Raises:
            DiskFull: there is no room for it.
            MissingDependency: a library that must be preloaded is not installed.
            ToolFailed: it did not start, in its own words.
        """
        arguments = ["-D", self.data, "-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        try:
            run([self.programs.path("initdb"), *arguments], run_as=self._run_as, stage="scratch cluster")
        except ToolFailed as error:
            raise self.explain(error) from None
        settings = {
            **_CONFIGURATION,
            "unix_socket_directories": self.sockets,
            "shared_preload_libraries": ",".join(self._preload),
        }
        self._write("pg_hba.conf", "local all all trust\n", os.O_WRONLY)
        lines = "".join(f"{name} = '{_quoted(value)}'\n" for name, value in settings.items())
        self._write("postgresql.conf", lines, os.O_WRONLY | os.O_APPEND)
        self._process = Process(
            [self.programs.path("postgres"), "-D", self.data],
            run_as=self._run_as,
            stdout=subprocess.DEVNULL,
            dies_with_us=True,
        )
        self._await(connect)

    def _write(self, name: str, text: str, flags: int) -> None:
        """Write what initdb has made; in a directory of the server's user, so through no link that it could put there.

        Args:
            flags: of `os.open`; without O_APPEND, the text replaces what is in it.
        """
        uid = self._run_as.uid if self._run_as else None
        directory = open_owned(self.data, uid, os.O_RDONLY | os.O_DIRECTORY)
        try:
            descriptor = open_owned(name, uid, flags, dir_fd=directory)
        finally:
            os.close(directory)
        with open(descriptor, "wb") as stream:
            if not flags & os.O_APPEND:
                stream.truncate(0)
            stream.write(text.encode("utf-8"))

    def _await(self, connect: Callable[[], Session]) -> None:
        if self._process is None:
            raise AssertionError("self._process is None")
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            code = self._process.popen.poll()
            if code is not None:
                self._process.wait()
                raise self.explain(self._process.failure(code, "scratch cluster"))
            try:
                connect().close()
                return
            except Unavailable as error:
                if time.monotonic() > deadline:
                    raise TimedOut(
                        f"The scratch cluster took no connections within {START_TIMEOUT:.0f} s.",
                        stage="scratch cluster",
                        tool_output=error.tool_output,
                    ) from None
            time.sleep(0.05)

    def explain(self, error: HoldfastError) -> HoldfastError:
        """What a failure means when the cluster's own words are read beside it."""
        words = "\n".join(text for text in (error.tool_output, self._process.stderr if self._process else "") if text)
        if NO_SPACE.search(words):
            return DiskFull(
                "There is not enough room for the scratch cluster.",
                stage="scratch cluster",
                tool_output=words,
                hint="Name a directory with more room (scratch_dir).",
            )
        library = re.search(r'could not access file "([^"]+)"', words)
        if library:
            return MissingDependency(
                f"The library {library[1]}, which the database's server preloads, is not installed for "
                f"{self.programs.bin_dir}.",
                stage="preflight",
                tool_output=words,
            )
        return error

    def stop(self) -> None:
        """End it at once. Never raises; safe to call twice."""
        if self._process is not None:
            with contextlib.suppress(OSError):
                self._process.popen.send_signal(signal.SIGQUIT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.popen.wait(10)
            self._process.terminate()
        shutil.rmtree(self.sockets, ignore_errors=True)


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "''")


def _socket_directory(directory: str, run_as: Account | None) -> str:
    """A 0700 directory of the user that runs the server, with a path short enough for a socket."""
    path = os.path.join(directory, "s")
    if len(os.fsencode(path)) <= SOCKET_PATH:
        os.mkdir(path, 0o700)
    else:
        path = tempfile.mkdtemp(prefix="holdfast-", dir="/tmp")
    if run_as is not None:
        hand_over(path, run_as)
    return path


@contextlib.contextmanager
def cluster(
    programs: Programs,
    directory: str,
    run_as: Account | None,
    preload: Collection[str],
    connect: Callable[[Cluster], Session],
) -> Iterator[Cluster]:
    """A scratch cluster in a scratch directory, ended and removed whatever happens.

    Args:
        directory: 0700, of `run_as`.
        preload: libraries that the restored extensions need.
        connect: opens a session in it.
    """
    one = Cluster(programs, directory, run_as, preload)
    try:
        one.start(lambda: connect(one))
        yield one
    finally:
        one.stop()
