# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`holdfast job`: what timers and cron run. A component is backed up, verified and pruned, or verified, or rehearsed;
or a part of maintenance is done.

PRIVATE to the collection; may change without notice.

A job runs the same playbooks as an operator, one after the other, and believes what the modules returned, not that a
playbook ended well: what no task spoke of was not done. The exit code is the truth, the journal gets
what the playbooks print, `jobs.jsonl` a line for the beginning, for each result and for the end.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import secrets
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Callable

from .._declaration._elements import is_name
from .._durations import format_duration, parse_duration
from .._errors import (
    HoldfastError,
    InternalError,
    Interrupted,
    InvalidOption,
    Locked,
    NotProved,
    OutOfTime,
    ToolFailed,
)
from .._locks import private_directory
from .._maintenance._interface import PARTS
from .._manifest import rfc3339, utc_now
from .._notify import _config
from .._notify._jobs import JOB_KINDS, PART, JobKind
from .._notify._model import RESOLVED, Event
from . import _ansible, _findings, _paths
from ._children import Ended, run_child
from ._job_log import JobLog

_PLAYBOOKS: Mapping[str, tuple[Sequence[str], Mapping[str, Any]]] = {
    "backup": (("backup", "verify", "prune"), {"holdfast_upkeep": "host"}),
    # Every backup, byte by byte: what was read as an archive or restored once stays so while its bytes do.
    "verify": (("verify",), {"holdfast_backup_id": "all", "holdfast_level": "checksum"}),
    "drill": (("drill",), {}),
    # It is what lets the actions of a part act.
    "maintenance": (("maintenance",), {"holdfast_scheduled": True}),
}
"""The playbooks of each job, and what they are told beside what it is about."""

LOCKED, TIMED_OUT = 75, 124
"""Exit codes: EX_TEMPFAIL of sysexits.h, and that of timeout(1). A signal gives 128 and its number, as in a shell."""

LOG_VARIABLE = "HOLDFAST_JOB_LOG"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `holdfast job`."""
    parser.add_argument("job", choices=list(JOB_KINDS), help="what to do")
    parser.add_argument(
        "subject",
        metavar="NAME",
        help=f"a component that is declared on this host; for maintenance a part: {', '.join(PARTS)}",
    )
    parser.add_argument("--timeout", type=_seconds, metavar="DURATION", help="stop it when it takes longer, such as 6h")
    parser.add_argument(
        "--supervised",
        action="store_true",
        help="watch it from a process of its own, and notify when it fails or is killed (for cron)",
    )
    parser.add_argument(
        "--random-delay", type=_seconds, default=0.0, metavar="DURATION", help="wait a random time up to this first"
    )


def _seconds(text: str) -> float:
    try:
        return parse_duration(text).total_seconds()
    except HoldfastError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run(arguments: argparse.Namespace) -> int:
    """Run one job and return its exit code."""
    if arguments.supervised:
        from . import _supervisor

        return _supervisor.run(arguments)
    return Job(arguments.job, arguments.subject, arguments.timeout).run()


@dataclass
class Job:
    """One run of one job.

    Args:
        name: one of JOB_KINDS.
        subject: the component or the part that it is about.
        timeout: seconds after which it is stopped; None when somebody else (systemd) sees to that.
    """

    name: str
    subject: str
    timeout: float | None = None

    def __post_init__(self) -> None:
        self.kind = JOB_KINDS[self.name]
        self._lines: list[dict[str, Any]] = []
        self._begun = time.monotonic()
        self._log = JobLog(
            _paths.JOBS_LOG,
            {
                "run": f"{utc_now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}",
                "job": self.name,
                self.kind.about: self.subject,
                "host": _config.host_name(_paths.HOST),
            },
        )

    def run(self) -> int:
        """Do it and tell of it; the exit code."""
        self._log.write("start", pid=os.getpid())
        error: HoldfastError | None = None
        try:
            if not (self.subject in PARTS if self.kind.about == PART else is_name(self.subject)):
                raise InvalidOption(f"That is not the name of a {self.kind.about}.", stage="preflight")
            with _alone(self.kind, self.subject):
                self._tell_heartbeat("start")
                self._work()
        except HoldfastError as failure:
            error = failure
        except Exception as failure:  # whatever it is, it must be told, and the exit code must say so
            error = InternalError(f"{type(failure).__name__}: {failure}")
        return self._end(error)

    # -- playbooks --------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        """Run the playbooks, and prove from what their modules returned that they did what they were run for.

        Raises:
            HoldfastError: they did not.
        """
        verbs, more = _PLAYBOOKS[self.name]
        lines = self._lines

        def on_line(text: str) -> None:
            with contextlib.suppress(ValueError):  # a line of a process that was killed while it wrote
                lines.append(json.loads(text))
                if lines[-1].get("verb") != "select":
                    self._log.write("result", **lines[-1])

        ended = run_child(
            _ansible.playbook(verbs, {f"holdfast_{self.kind.about}": self.subject, **more}),
            _ansible.environment({"ANSIBLE_CALLBACKS_ENABLED": "holdfast.ops.job_log"}),
            timeout=self.timeout,
            on_line=on_line,
            line_variable=LOG_VARIABLE,
        )
        self._judge(verbs, ended, lines)

    def _judge(self, verbs: Sequence[str], ended: Ended, lines: list[dict[str, Any]]) -> None:
        """Raise why the playbooks did not do what they were run for."""
        if ended.asked is not None:
            raise _Stopped(ended.asked)
        if ended.timed_out:
            limit = format_duration(timedelta(seconds=self.timeout or 0))
            raise OutOfTime(f"The job was stopped: it took longer than {limit}.")
        for line in lines:
            if not line.get("ok"):
                error = HoldfastError(str(line.get("msg") or "A task failed and did not say why."))
                error.code = str(line.get("error_code") or "task_failed")
                raise error.at(str(line.get("verb") or line.get("task")))
        if ended.code != 0 or ended.killed:
            how = f"was killed by signal {-ended.code}" if ended.code < 0 else f"exited with status {ended.code}"
            raise ToolFailed(f"ansible-playbook {how}; why stands above.")
        policies: dict[str, Any] = next((line["policies"] for line in lines if line.get("policies")), {})
        if policies.get(self.subject, {}).get("upkeep") == "elsewhere":
            self._say("is verified and pruned elsewhere (upkeep)")
            verbs = verbs[:1]
        for verb in verbs:
            if not any(line.get("verb") == verb and line.get(self.kind.about) == self.subject for line in lines):
                raise NotProved(
                    f"The playbook {verb} ended well, but no task of it spoke of {self.subject}: nothing was done.",
                    stage=verb,
                    hint="Does this host's inventory declare it?",
                )

    # -- telling ----------------------------------------------------------------------------------------------------

    def _end(self, error: HoldfastError | None) -> int:
        seconds = round(time.monotonic() - self._begun, 3)
        self._tell_findings()
        if error is None:
            self._log.write("end", ok=True, seconds=seconds)
            self._say(f"succeeded in {format_duration(timedelta(seconds=seconds))}")
            self._tell_heartbeat("success")
            self._tell_resolved()
            return 0
        self._log.write("end", ok=False, seconds=seconds, error_code=error.code, stage=error.stage, msg=str(error))
        self._say(f"FAILED [{error.code}]: {error}")
        if isinstance(error, _Stopped):
            return 128 + error.signal
        if isinstance(error, OutOfTime):
            return TIMED_OUT
        return LOCKED if isinstance(error, Locked) else 1

    def _say(self, text: str) -> None:
        say(f"{self.kind.noun.format(self.subject)} {text}")

    def _tell_heartbeat(self, signal: str) -> None:
        """A sign of life for whoever waits for one. Only backups give one: they are what must not stay away.

        That a job failed is told by whoever watches it (`OnFailure=`, the supervisor), to heartbeat channels too.
        """
        if self.name != "backup":
            return
        from .._notify import _send

        with _telling():
            for delivery in _send.heartbeat(self.subject, signal, _config.load(_paths.NOTIFY).channels):
                if delivery.failed:
                    say(f"heartbeat {delivery.channel}: {delivery.reason}")

    def _tell_resolved(self) -> None:
        """That it works again, where it was told that it did not; nothing anywhere else."""
        self._tell(lambda host: self.kind.event(self.subject, RESOLVED, "works again", host))

    def _tell_findings(self) -> None:
        """What maintenance found, from the declared severity on; or that it is gone, where it was told."""
        line = next((line for line in self._lines if line.get("verb") == "maintenance" and "findings" in line), None)
        if line is not None:
            found = line
            self._tell(lambda host: _findings.event_of(found, self.subject, host, _findings.declared_tell()))

    def _tell(self, event_of: Callable[[str], Event | None]) -> None:
        """Tell an event of this host, if there is one."""
        from .._notify import _send

        with _telling():
            event = event_of(_config.host_name(_paths.HOST))
            if event is None:
                return
            for delivery in _send.deliver(event, _config.load(_paths.NOTIFY).channels, _paths.NOTIFY_STATE):
                if delivery.failed:
                    say(f"notification {delivery.channel}: {delivery.reason}")


class _Stopped(Interrupted):
    """A signal asked the job to stop, and it did."""

    def __init__(self, number: int) -> None:
        super().__init__(f"Stopped by signal {number}; what was begun was undone.", hint="Run it again.")
        self.signal = number


def say(text: str) -> None:
    """A line for the journal, or for whoever reads cron's output."""
    with contextlib.suppress(OSError):
        sys.stdout.write(f"holdfast: {text}\n")
        sys.stdout.flush()


@contextlib.contextmanager
def _telling() -> Iterator[None]:
    """Telling never changes what became of the job; what keeps us from it is said."""
    try:
        yield
    except HoldfastError as error:
        say(f"nobody was told: {error}")


@contextlib.contextmanager
def _alone(kind: JobKind, subject: str) -> Iterator[None]:
    """Keep the same job of the same subject from running twice. The kernel forgets this when we die.

    Raises:
        Locked: it is running.
    """
    directory = private_directory(os.path.join(_paths.STATE, "locks"))
    path = os.path.join(directory, f"job-{kind.verb}-{subject}.lock")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 4096, 0).decode("utf-8", "replace").strip()
            raise Locked(
                f"The {kind.noun.format(subject)} is running already ({holder or 'it has just begun'}).",
                hint="It is left alone, and this run did nothing.",
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"pid {os.getpid()} since {rfc3339(utc_now())}".encode(), 0)
        yield
    finally:
        os.close(descriptor)
