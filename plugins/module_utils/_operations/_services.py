# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services around a restore: stopped before, started again whatever happens, and only those that were running.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from .._errors import HoldfastError, Interrupted, NotFound, ToolFailed
from .._process import find_program, run
from .._progress import Progress

TIMEOUT = 180.0
"""Seconds that systemd gets to stop or start one unit."""


@contextlib.contextmanager
def stopped_services(units: Sequence[str], progress: Progress) -> Iterator[None]:
    """Stop systemd units and start again those that had been running, in reverse order.

    Raises:
        NotFound: there is no such unit; nothing was stopped.
        ToolFailed: one could not be stopped (those stopped are started again), or not started again.
    """
    if not units:
        yield
        return
    systemctl = find_program("systemctl", package="systemd")
    running = [unit for unit in units if is_active(systemctl, unit)]
    stopped: list[str] = []
    failure: list[BaseException] = []
    try:
        progress.stage("stop services")
        for unit in running:
            stopped.append(unit)
            stop_unit(systemctl, unit)
        yield
    except BaseException as error:
        failure.append(error)
        raise
    finally:
        _start(systemctl, stopped, failure)


def _start(systemctl: str, units: Sequence[str], failure: Sequence[BaseException]) -> None:
    dead = []
    interrupted: Interrupted | None = None
    for unit in reversed(units):
        try:
            interrupted = _start_one(systemctl, unit) or interrupted
        except ToolFailed as error:
            dead.append(f"{unit} ({error})")
    sentence = f"These services did not start again: {', '.join(dead)}." if dead else None
    first = failure[0] if failure else interrupted
    if sentence and isinstance(first, HoldfastError):  # the first error stands; this is what it leaves as well
        first.left_behind = f"{first.left_behind}; {sentence}" if first.left_behind else sentence
    if failure:
        return
    if interrupted is not None:
        raise interrupted
    if sentence:
        raise ToolFailed(sentence, stage="start services", hint="The restore itself succeeded; look at their logs.")


def _start_one(systemctl: str, unit: str) -> Interrupted | None:
    """Start a unit, a signal or not: what was stopped is started again."""
    argv = [systemctl, "start", "--", unit]
    try:
        run(argv, timeout=TIMEOUT, stage="start services")
    except Interrupted as error:  # only the first signal of a run does this
        run(argv, timeout=TIMEOUT, stage="start services")
        return error
    return None


def stop_unit(systemctl: str, unit: str, timeout: float = TIMEOUT) -> None:
    """Stop a unit and wait until it has stopped, so many seconds at most."""
    run([systemctl, "stop", "--", unit], timeout=timeout, stage="stop services")


def is_active(systemctl: str, unit: str) -> bool:
    """Whether a unit runs, or is about to.

    Raises:
        NotFound: there is no such unit.
    """
    _code, out, _err = run([systemctl, "show", "--property=LoadState,ActiveState", "--", unit], stage="preflight")
    state = dict(line.split("=", 1) for line in out.decode().splitlines() if "=" in line)
    if state.get("LoadState") in (None, "not-found", "bad-setting"):
        raise NotFound(f"There is no systemd unit {unit} on this host.", stage="preflight")
    return state.get("ActiveState") in ("active", "activating", "reloading")
