# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cron runs: a parent of the job that notifies when it fails, even when it was killed and could not say so.

PRIVATE to the collection; may change without notice. Under systemd `OnFailure=` does this.
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import signal
import sys
import time
from collections.abc import Sequence

from .._errors import HoldfastError, redact
from .._notify import _config, _send
from .._notify._jobs import JOB_KINDS
from .._notify._model import FIRING
from .._notify._unit import Ending
from . import _paths, _self
from ._children import GRACE, Ended, run_child

KEPT_LINES = 40
MARGIN = 60.0
"""Seconds that the job itself has on top of its own time limit and grace before it is stopped from here."""


def run(arguments: argparse.Namespace) -> int:
    """Run the job in a process of its own; its exit code."""
    if arguments.random_delay:
        time.sleep(random.uniform(0, arguments.random_delay))
    command = _self.command("job", arguments.job, arguments.subject)
    limit: float | None = None
    if arguments.timeout is not None:
        command.append(f"--timeout={round(arguments.timeout)}s")
        limit = arguments.timeout + GRACE + MARGIN
    last: collections.deque[str] = collections.deque(maxlen=KEPT_LINES)

    def on_output(line: str) -> None:
        last.append(line)
        try:
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
        except OSError:
            # Who reads our output has gone; the job must not fail for that.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    ended = run_child(command, os.environ, timeout=limit, on_output=on_output, grace=GRACE + MARGIN)
    if ended.code == 0 and not ended.killed and ended.asked is None:
        return 0
    _notify(arguments.job, arguments.subject, ended, last)
    return ended.code if ended.code > 0 else 128 - ended.code or 1


def _notify(job: str, subject: str, ended: Ended, last: Sequence[str]) -> None:
    """Say that a job failed. What keeps us from it is said on our own output, which cron's log gets."""
    host = _config.host_name(_paths.HOST)
    how = _ending(ended).words()
    said = redact("\n".join(last), _config.known_secrets(_paths.SECRETS))
    kind = JOB_KINDS[job]
    event = kind.event(
        subject,
        FIRING,
        f"failed: {how}",
        host,
        details=(
            f"The {kind.noun.format(subject)} on {host} failed: {how}.\n\n"
            + (f"Its last lines:\n{said}\n\n" if said.strip() else "It said nothing.\n\n")
            + f"What to do on that host:\n  tail -n 20 {_paths.JOBS_LOG}\n  holdfast status"
        ),
        labels={"unit": kind.unit(subject)},
    )
    try:
        deliveries = _send.deliver(event, _config.load(_paths.NOTIFY).channels, _paths.NOTIFY_STATE)
    except HoldfastError as error:
        sys.stderr.write(f"holdfast: nobody was told: {error}\n")
        return
    for delivery in deliveries:
        if delivery.failed:
            sys.stderr.write(f"holdfast: notification {delivery.channel}: {delivery.reason}\n")


def _ending(ended: Ended) -> Ending:
    """In systemd's words, so that the same sentence is told with timers and with cron."""
    if ended.timed_out:
        return Ending(result="timeout")
    if ended.code < 0:
        return Ending(result="signal", code="killed", status=signal.Signals(-ended.code).name[3:])
    return Ending(result="exit-code", code="exited", status=str(ended.code))
