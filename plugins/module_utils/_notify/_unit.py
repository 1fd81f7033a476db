# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happened to a unit of systemd that failed, in words: the event that `OnFailure=` leads to.

PRIVATE to the collection; may change without notice.

systemd (251 and later) says in `MONITOR_*` of the environment how the unit ended; older ones are asked. The journal
adds the last lines of the very run that failed. Neither can keep the message from being sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Callable

from .._errors import HoldfastError, redact, shorten
from .._process import find_program, run
from ._jobs import job_of
from ._model import FIRING, Event

_UNIT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9:_.@\\-]{0,254}")
_INVOCATION = re.compile("[0-9a-f]{32}")

JOURNAL_LINES, JOURNAL_CHARACTERS = 40, 3000
_TOOL_TIMEOUT = 10.0
"""Seconds for journalctl and systemctl each: a journal on a dying disk must not keep the message back."""

# systemd.exec(5), "Process Exit Codes": what systemd itself failed at before the program ran.
_SETUP = {
    200: "its working directory is missing",
    203: "its program is missing or cannot be run",
    217: "its user does not exist",
    218: "it was not given the capabilities that it needs",
    226: "systemd could not make its view of the file system; is a directory missing?",
    238: "systemd could not make its state directory",
}


@dataclass(frozen=True)
class Ending:
    """How a unit ended, in systemd's words: SERVICE_RESULT, EXIT_CODE and EXIT_STATUS of systemd.exec(5)."""

    result: str = ""
    code: str = ""
    status: str = ""
    invocation: str = ""

    def words(self) -> str:
        """Half a sentence: `it was killed by SIGKILL`."""
        signal = f"SIG{self.status}" if self.status and not self.status.isdigit() else "a signal"
        if self.result == "oom-kill":
            return "it was killed because memory ran out (OOM)"
        if self.result == "timeout":
            return "it took longer than it may and was ended"
        if self.result == "watchdog":
            return "it gave no sign of life and was ended"
        if self.result == "core-dump" or self.code == "dumped":
            return f"it crashed with {signal}"
        if self.result == "signal" or self.code == "killed":
            return f"it was killed by {signal}"
        if self.result == "exit-code" or (self.code == "exited" and self.status not in ("", "0")):
            setup = _SETUP.get(int(self.status)) if self.status.isdigit() else None
            return f"{setup} (status {self.status})" if setup else f"it exited with status {self.status or 'unknown'}"
        if self.result == "start-limit-hit":
            return "it failed too often in a row, and systemd does not start it again by itself"
        if self.result == "resources":
            return "systemd could not start it"
        return f"systemd calls the result {self.result}" if self.result else "systemd does not say how"


def is_unit(name: str) -> bool:
    """Whether a text can be the name of a unit, and nothing that a program could take for an option."""
    return bool(_UNIT.fullmatch(name))


def event_of(unit: str, ending: Ending, lines: str, host: str) -> Event:
    """The event of a unit that failed. `lines`: the last ones of its journal, redacted."""
    job = job_of(unit)
    next_steps = [f"journalctl -u {unit} -n 200", "holdfast status"]
    if ending.status == "KILL" and ending.result != "oom-kill":
        # On hosts with cgroup v1 systemd cannot tell who it was.
        next_steps.append("journalctl -k --grep=oom -n 20     (was it killed because memory ran out?)")
    if job:
        kind, subject = job
        next_steps.append(f"{kind.by_hand.format(subject)}     (once the cause is gone)")
    parts = [f"{unit} on {host} failed: {ending.words()}."]
    parts.append(f"Its last lines:\n{lines}" if lines else "It left no lines in the journal.")
    parts.append("What to do on that host:\n" + "\n".join(f"  {step}" for step in next_steps))
    how, details, labels = f"failed: {ending.words()}", "\n\n".join(parts), {"unit": unit}
    if job:
        return kind.event(subject, FIRING, how, host, details=details, labels=labels)
    return Event(
        f"unit:{unit}", "warning", FIRING, f"unit {unit} {how}", details, host=host, source="other", labels=labels
    )


def ending_of(unit: str, environment: Mapping[str, str], warn: Callable[[str], None]) -> Ending:
    """How a unit ended, from the environment that `OnFailure=` gives us or, where that says nothing, from systemd."""
    # With several units failing at once, systemd may start us once for all of them, and then names none.
    if environment.get("MONITOR_UNIT") == unit and environment.get("MONITOR_SERVICE_RESULT"):
        return Ending(
            result=environment["MONITOR_SERVICE_RESULT"],
            code=environment.get("MONITOR_EXIT_CODE", ""),
            status=environment.get("MONITOR_EXIT_STATUS", ""),
            invocation=environment.get("MONITOR_INVOCATION_ID", ""),
        )
    wanted = ("Result", "ExecMainCode", "ExecMainStatus", "InvocationID")
    said = _ask("systemctl", ["show", f"--property={','.join(wanted)}", "--", unit], warn)
    return ending_from(dict(line.split("=", 1) for line in said.splitlines() if "=" in line))


def ending_from(found: Mapping[str, str]) -> Ending:
    """How a unit ended, from Result, ExecMainCode, ExecMainStatus and InvocationID of its properties."""
    status = found.get("ExecMainStatus", "")
    code = {"1": "exited", "2": "killed", "3": "dumped"}.get(found.get("ExecMainCode", ""), "")
    if code in ("killed", "dumped"):
        status = _signal_name(status)
    return Ending(found.get("Result", ""), code, status, found.get("InvocationID", ""))


def last_lines(
    unit: str, invocation: str, secrets: Iterable[str], warn: Callable[[str], None], timeout: float = _TOOL_TIMEOUT
) -> str:
    """The end of what a run of a unit said, without secrets and bounded; empty when the journal has nothing of it."""
    ours = ["--unit", unit]
    if _INVOCATION.fullmatch(invocation):
        # What the run said, and what systemd said of it.
        ours = [f"_SYSTEMD_INVOCATION_ID={invocation}", "+", f"INVOCATION_ID={invocation}"]
    told = ["--no-pager", "--quiet", "--output=cat", f"--lines={JOURNAL_LINES}", *ours]
    said = _ask("journalctl", told, warn, timeout)
    return shorten(redact(said.strip(), secrets), JOURNAL_CHARACTERS, JOURNAL_CHARACTERS // 4)


def _ask(program: str, arguments: list[str], warn: Callable[[str], None], timeout: float = _TOOL_TIMEOUT) -> str:
    try:
        _code, out, _said = run([find_program(program), *arguments], timeout=timeout)
    except (HoldfastError, OSError) as error:
        warn(f"{program} was of no help: {error}")
        return ""
    return out.decode("utf-8", "replace")


def _signal_name(number: str) -> str:
    import signal

    try:
        return signal.Signals(int(number)).name[3:]
    except ValueError:
        return number
