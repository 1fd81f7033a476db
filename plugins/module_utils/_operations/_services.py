# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services around a restore: stopped before, started again whatever happens, and only those that were running.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from .._errors import HoldfastError, NotFound, ToolFailed
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
    running = [unit for unit in units if _is_active(systemctl, unit)]
    stopped: list[str] = []
    failure: list[BaseException] = []
    try:
        progress.stage("stop services")
        for unit in running:
            stopped.append(unit)
            run([systemctl, "stop", "--", unit], timeout=TIMEOUT, stage="stop services")
        yield
    except BaseException as error:
        failure.append(error)
        raise
    finally:
        _start(systemctl, stopped, failure)


def _start(systemctl: str, units: Sequence[str], failure: Sequence[BaseException]) -> None:
    dead = []
    for unit in reversed(units):
        try:
            run([systemctl, "start", "--", unit], timeout=TIMEOUT, stage="start services")
        except ToolFailed as error:
            dead.append(f"{unit} ({error})")
    if not dead:
        return
    sentence = f"These services did not start again: {', '.join(dead)}."
    if failure and isinstance(failure[0], HoldfastError):
        failure[0].left_behind = sentence  # the first error stands; this is what it leaves
    elif not failure:
        raise ToolFailed(sentence, stage="start services", hint="The restore itself succeeded; look at their logs.")


def _is_active(systemctl: str, unit: str) -> bool:
    _code, out, _err = run([systemctl, "show", "--property=LoadState,ActiveState", "--", unit], stage="preflight")
    state = dict(line.split("=", 1) for line in out.decode().splitlines() if "=" in line)
    if state.get("LoadState") in (None, "not-found", "bad-setting"):
        raise NotFound(f"There is no systemd unit {unit} on this host.", stage="preflight")
    return state.get("ActiveState") in ("active", "activating", "reloading")
