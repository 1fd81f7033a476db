# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs checks side by side, each in a process of its own that is killed when its time is over.

PRIVATE to the collection; may change without notice.

A thread could not be ended: one that waits for a resolver, or for a file system whose server has gone, would hold up
all others and the end of the run. A process can, with all that it started. They are forked from this small one, after
what they need was imported once, so that twelve of them share nearly all memory.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import select
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from .._deadline import Deadline
from .._errors import HoldfastError, redact
from .._process import PR_SET_PDEATHSIG, descendants
from ._interface import FAIL, OUTCOME, Check, Measurement, Result
from ._parse import secrets_of
from ._registry import KINDS

GRACE = 0.1
"""Seconds that a check gets beyond its timeout to say itself what it was waiting for."""

_MOST_OUTPUT = 500
_MOST_FINDINGS = 1 << 20
"""Bytes that a check may tell; one that tells more is broken."""


@dataclass
class _Running:
    check: Check
    pid: int
    pipe: int
    started: float
    """Epoch seconds."""
    began: float
    """On the monotonic clock."""
    text: bytearray = field(default_factory=bytearray)

    @property
    def end(self) -> float:
        return self.began + self.check.timeout + GRACE


def run_checks(checks: Sequence[Check], state_dir: str) -> tuple[Result, ...]:
    """Run all of them at once. It takes as long as the slowest, and never longer than the longest timeout.

    Args:
        state_dir: where kinds keep what must outlive a run.
    """
    for check in checks:
        KINDS[check.kind].preload(check.options)
    gc.freeze()  # else each child's first collection would copy every page it looks at
    running: dict[int, _Running] = {}
    results: dict[str, Result] = {}
    try:
        poll = select.poll()
        for check in checks:
            each = _start(check, state_dir)
            running[each.pipe] = each
            poll.register(each.pipe, select.POLLIN)
        while running:
            until = min(each.end for each in running.values())
            for pipe, _event in poll.poll(max(0.0, until - time.monotonic()) * 1000 + 1):
                each = running[pipe]
                data = os.read(pipe, 1 << 16)
                each.text += data
                if not data or len(each.text) > _MOST_FINDINGS:
                    poll.unregister(pipe)
                    del running[pipe]
                    results[each.check.name] = _ended(each, late=False)
            now = time.monotonic()
            for each in [each for each in running.values() if each.end <= now]:
                poll.unregister(each.pipe)
                del running[each.pipe]
                results[each.check.name] = _ended(each, late=True)
    finally:
        for each in running.values():  # an interruption: nothing of ours stays behind
            _end(each.pid)
            os.close(each.pipe)
        gc.unfreeze()
    return tuple(results[check.name] for check in checks)


def _start(check: Check, state_dir: str) -> _Running:
    sys.stdout.flush()
    sys.stderr.flush()
    reader, writer = os.pipe()
    started, began = time.time(), time.monotonic()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _child(check, state_dir, writer, parent)
    os.close(writer)
    return _Running(check, pid, reader, started, began)


def _child(check: Check, state_dir: str, writer: int, parent: int) -> NoReturn:
    """The whole life of a check's process: nothing of the parent's may happen in it a second time."""
    code = 1
    try:
        os.setsid()  # a group of its own: what it starts can be ended with it
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # it was killed in between
            os._exit(1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM):
            signal.signal(number, signal.SIG_DFL)
        _measure(check, state_dir, writer)
        code = 0
    finally:
        os._exit(code)


def _measure(check: Check, state_dir: str, writer: int) -> None:
    deadline = Deadline(check.timeout)
    secrets = list(secrets_of(check).values())

    def tell(found: Measurement) -> None:
        plain = {**found.as_json(), "output": redact(" ".join(found.output.split()), secrets)[:_MOST_OUTPUT]}
        os.write(writer, json.dumps(plain).encode() + b"\n")

    try:
        for measurement in KINDS[check.kind](check.options, state_dir).run(deadline):
            tell(measurement)
    except HoldfastError as error:
        tell(Measurement(OUTCOME, FAIL, output=str(error)))
    except OSError as error:
        place = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        tell(Measurement(OUTCOME, FAIL, output=f"{place}{error.strerror or error}."))
    except Exception as error:
        tell(Measurement(OUTCOME, FAIL, output=f"A defect in holdfast.ops: {type(error).__name__}: {error}."))


def _ended(each: _Running, *, late: bool) -> Result:
    """What a check found; one that died or came too late has failed, whatever it found before."""
    os.close(each.pipe)
    seconds = time.monotonic() - each.began
    died = "" if late else _reap(each.pid)
    if late:
        _end(each.pid)
        died = f"It did not end within {each.check.timeout:g} s and was stopped."
    found: list[Measurement] = []
    for line in bytes(each.text).split(b"\n")[:-1]:
        try:
            found.append(Measurement.from_json(json.loads(line)))
        except (TypeError, ValueError):
            died = died or "It told something that is no measurement."
    # One that has just said itself what it waited for need not be told that it was late.
    if died and not (late and any(each.name == OUTCOME for each in found)):
        found.append(Measurement(OUTCOME, FAIL, output=died))
    return Result(each.check.name, each.check.kind, each.started, seconds, tuple(found))


def _reap(pid: int) -> str:
    """Wait for a check that has closed its pipe; how it died, or nothing when it ended as it should."""
    for _attempt in range(20):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
            return "" if code == 0 else f"Its process ended with status {code}."
        time.sleep(0.005)
    _end(pid)
    return "Its process did not end."


def _end(pid: int) -> None:
    """Kill a check and everything that it has started."""
    known = [pid]
    new = known
    while new:  # stopped first: what runs could start more while we look
        for each in new:
            _signal(each, signal.SIGSTOP)
        new = [each for each in descendants(pid) if each not in known]
        known += new
    for each in known:
        _signal(each, signal.SIGKILL)
    for _attempt in range(10):  # one that hangs in the kernel dies when that lets go of it; nobody waits for it
        if os.waitpid(pid, os.WNOHANG)[0]:
            return
        time.sleep(0.005)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
