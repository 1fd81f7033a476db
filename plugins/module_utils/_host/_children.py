# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A child process with all that it starts: watched, ended together, and never left behind.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from .._process import descendants

GRACE = 240.0
"""Seconds that processes have for undoing what they began, before they are killed. Below the units' TimeoutStopSec."""
LINGER = 10.0
"""Seconds that what a child leaves running may go on after it."""

_PR_SET_CHILD_SUBREAPER = 36
_ASKED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass
class Ended:
    """How a child ended.

    Attributes:
        code: its exit code; negative for the signal that killed it.
        asked: the signal that we were asked to stop by, if any.
        timed_out: it was stopped because it had taken too long.
        killed: processes that did not stop when they were told to, and were killed.
    """

    code: int = 0
    asked: int | None = None
    timed_out: bool = False
    killed: list[int] = field(default_factory=list)


def run_child(
    argv: Sequence[str],
    env: Mapping[str, str],
    *,
    timeout: float | None = None,
    on_line: Callable[[str], None] | None = None,
    line_variable: str = "",
    on_output: Callable[[str], None] | None = None,
    grace: float = GRACE,
) -> Ended:
    """Run a program to its end, and everything that it started with it.

    TERM, INT and HUP are passed on to all of them. What has not ended `grace` seconds later is killed.

    Args:
        timeout: seconds until it is stopped as by TERM.
        on_line: is given each line that it writes to the file named by the environment variable `line_variable`.
        on_output: is given each line of its output and of its errors, which else go where ours go.
    """
    with contextlib.ExitStack() as stack:
        wake = stack.enter_context(_signals())
        lines = stack.enter_context(contextlib.closing(_Lines(on_line))) if on_line is not None else None
        output = stack.enter_context(contextlib.closing(_Lines(on_output))) if on_output is not None else None
        child = subprocess.Popen(  # pylint: disable=ansible-bad-function
            list(argv),
            env={**env, **({line_variable: f"/dev/fd/{lines.writer}"} if lines is not None else {})},
            stdin=subprocess.DEVNULL,
            stdout=output.writer if output is not None else None,
            stderr=output.writer if output is not None else None,
            pass_fds=[lines.writer] if lines is not None else [],
        )
        pipes = [pipe for pipe in (lines, output) if pipe is not None]
        for pipe in pipes:
            pipe.only_read()
        return _Watch(child, wake, pipes, timeout, grace).run()


class _Lines:
    """A pipe that a child writes lines to.

    Attributes:
        ended: nobody has it open any more.
    """

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        self.ended = False
        self._on_line = on_line
        self._rest = b""

    def only_read(self) -> None:
        os.close(self.writer)
        self.writer = -1

    def read(self) -> None:
        """Take what is there."""
        with contextlib.suppress(BlockingIOError):
            while True:
                chunk = os.read(self.reader, 65536)
                if not chunk:
                    self.ended = True
                    chunk = b"\n" if self._rest else b""
                    if not chunk:
                        return
                *whole, self._rest = (self._rest + chunk).split(b"\n")
                for line in whole:
                    self._on_line(line.decode("utf-8", "replace"))

    def close(self) -> None:
        for descriptor in (self.reader, self.writer):
            if descriptor >= 0:
                os.close(descriptor)


class _Watch:
    """Waits for a child and for what it leaves to us."""

    def __init__(
        self,
        child: subprocess.Popen[bytes],
        wake: _Wake,
        pipes: Sequence[_Lines],
        timeout: float | None,
        grace: float,
    ) -> None:
        self._child = child
        self._wake = wake
        self._pipes = pipes
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._grace = grace
        self._kill_at: float | None = None
        self._ended = Ended()
        self._gone = False

    def run(self) -> Ended:
        while True:
            self._reap()
            left = descendants(os.getpid())
            for pipe in self._pipes:
                pipe.read()
            if self._gone and not left:
                return self._ended
            self._act(left)
            self._wait()

    def _reap(self) -> None:
        """Take notice of whatever ended: orphans of the child are ours."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self._child.pid:
                    self._gone = True
                    self._ended.code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
                    self._child.returncode = self._ended.code
                    if self._kill_at is None:
                        self._deadline = time.monotonic() + LINGER

    def _act(self, left: Sequence[int]) -> None:
        now = time.monotonic()
        asked = self._wake.asked
        late = self._deadline is not None and now >= self._deadline
        if self._kill_at is None and (asked is not None or late):
            self._ended.asked = asked
            self._ended.timed_out = asked is None and not self._gone
            self._kill_at = now + self._grace
            _signal(left, signal.SIGTERM)
        elif self._kill_at is not None and now >= self._kill_at:
            self._ended.killed += [pid for pid in left if pid not in self._ended.killed]
            _signal(left, signal.SIGKILL)

    def _wait(self) -> None:
        """Sleep until a signal (a child's end among them), a line, or the time to do something."""
        limit = self._deadline if self._kill_at is None else self._kill_at
        timeout = None if limit is None else max(0.05, limit - time.monotonic())
        reading = [self._wake.reader, *(pipe.reader for pipe in self._pipes if not pipe.ended)]
        select.select(reading, [], [], timeout)
        self._wake.drain()


class _Wake:
    """What signals tell us: something to wait for, and whether we were asked to stop."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        self.asked: int | None = None
        for descriptor in (self.reader, self.writer):
            os.set_blocking(descriptor, False)

    def stop(self, number: int, _frame: object) -> None:
        self.asked = self.asked or number

    def drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self.reader, 4096):
                pass


@contextlib.contextmanager
def _signals() -> Iterator[_Wake]:
    """Every signal wakes us; what our children leave behind becomes our child, not that of process 1."""
    _be_subreaper(True)
    wake = _Wake()
    before = {number: signal.signal(number, wake.stop) for number in _ASKED}
    before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    old = signal.set_wakeup_fd(wake.writer, warn_on_full_buffer=False)
    try:
        yield wake
    finally:
        signal.set_wakeup_fd(old)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(wake.reader)
        os.close(wake.writer)
        _be_subreaper(False)


def _be_subreaper(wanted: bool) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def _signal(pids: Sequence[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
