# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starting, awaiting and ending the servers that tests run against."""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Callable

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


def free_ports(count: int) -> list[int]:
    """Distinct TCP ports of 127.0.0.1 that nobody listens on right now (all held open until all are known)."""
    held = [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _number in range(count)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()


def wait_until(ready: Callable[[], bool], what: str, timeout: float = 30.0, interval: float = 0.02) -> None:
    """Poll until ready() is true; TimeoutError naming what was waited for otherwise."""
    deadline = time.monotonic() + timeout
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout:g} s")
        time.sleep(interval)


def unprivileged_user() -> str | None:
    """The account that servers run as when the tests run as root; None where we are unprivileged already."""
    if os.geteuid() != 0:
        return None
    return pwd.getpwnam("nobody").pw_name


def dropped_to(user: str | None) -> dict[str, Any]:
    """subprocess arguments that run a child as `user`; none for None."""
    return {} if user is None else {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}


def short_directory(prefix: str, owner: str | None = None) -> Path:
    """A fresh directory with a path short enough for a Unix socket inside it (the kernel allows 107 bytes)."""
    wanted = os.environ.get("TEST_SERVERS_DIRECTORY", "/tmp")
    base = wanted if os.access(wanted, os.W_OK | os.X_OK) else tempfile.gettempdir()
    path = Path(tempfile.mkdtemp(prefix=prefix, dir=base))
    if len(os.fsencode(path)) > 70:
        raise OSError(f"{path} is too long to hold a Unix socket; set TMPDIR to something shorter")
    if owner is not None:
        shutil.chown(path, owner, pwd.getpwnam(owner).pw_gid)
    return path


class Server:
    """One child process with a log file, which ends with its parent whatever becomes of the parent."""

    def __init__(
        self,
        argv: Sequence[str],
        log: Path,
        user: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        orphan_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        self.argv, self.log = list(argv), log
        self._stream: IO[bytes] = log.open("ab")
        self.process = subprocess.Popen(
            self.argv,
            stdin=subprocess.DEVNULL,
            stdout=self._stream,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=None if env is None else dict(env),
            start_new_session=True,
            preexec_fn=lambda: _LIBC.prctl(_PR_SET_PDEATHSIG, int(orphan_signal)),
            **dropped_to(user),
        )

    def wait_ready(self, ready: Callable[[], bool], what: str, timeout: float = 60.0) -> None:
        """Poll ready(); when the process ends first or time is up, fail with the tail of its log."""

        def probe() -> bool:
            if self.process.poll() is not None:
                raise RuntimeError(f"{what} ended with {self.process.returncode}:\n{self.tail()}")
            return ready()

        try:
            wait_until(probe, what, timeout)
        except TimeoutError as late:
            self.stop(signal.SIGKILL)
            raise TimeoutError(f"{late}\n{self.tail()}") from late

    def tail(self, size: int = 4000) -> str:
        return self.log.read_text(errors="replace")[-size:]

    def stop(self, how: signal.Signals = signal.SIGTERM, timeout: float = 20.0) -> None:
        """End it, harder when it does not listen. Safe to call twice."""
        if self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._stream.close()
