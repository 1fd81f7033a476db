# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the tasks of a host: looks side by side, acts one after the other.

PRIVATE to the collection; may change without notice.

A look that fails or is late is an error of that task alone. Looks are threads, for they share connections' libraries
and most of them wait; one that does not come back is left behind and ends with the process, as do the processes that
it started (they die with their thread).
"""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Callable

from .._deadline import Deadline
from .._errors import HoldfastError, InternalError, Interrupted, Refused, ToolFailed, redact
from .._manifest import utc_now
from .._progress import Progress
from ._interface import Action, Kind, Task
from ._parse import secrets_of
from ._registry import KINDS
from ._report._tidy import tidy
from ._run_model import Failure, Run, TaskResult
from ._section import Section
from ._select import Selection

LOOK_SECONDS = 7.0
"""How long all looks of a host may take together, so that its whole report takes less than ten on a busy host too."""
GRACE = 0.5
"""Seconds that a look gets beyond that to say itself what it was waiting for."""
_SECRET = 6
"""Characters that a secret has at least which is looked for in sections; a shorter one is part of many words."""


@dataclass(frozen=True)
class Plan:
    """What is to be run, and within which limits.

    Attributes:
        host: as the inventory calls it.
        part: empty for tasks that somebody named.
        failed_backups: component → why it could not be backed up; what wanted that, and all that comes after it, must
            not act.
        secrets: taken out of what tasks say, beside the tasks' own.
    """

    selection: Selection
    host: str
    part: str = ""
    check: bool = False
    failed_backups: Mapping[str, str] = field(default_factory=dict)
    look_seconds: float = LOOK_SECONDS
    secrets: Sequence[str] = ()


@dataclass(frozen=True)
class Ran:
    """What became of it; `stopped` is the signal that kept it from its end, if one did."""

    run: Run
    stopped: Interrupted | None = None


def run_plan(plan: Plan, progress_file: str | None = None) -> Ran:
    """Look at all tasks that do not act, then let those act that do. In check mode all are only looked at.

    Raises:
        Interrupted: while it only looked; nothing was changed.
    """
    started, began = utc_now(), time.monotonic()
    acting = [task for task in plan.selection.tasks if task.name in plan.selection.acting]
    looking = plan.selection.tasks if plan.check else [task for task in plan.selection.tasks if task not in acting]
    results = _looks(looking, plan)
    stopped: Interrupted | None = None
    if plan.check:
        for task in acting:
            results[task.name] = _as_planned(task, results[task.name], plan, acting)
    else:
        stopped = _acts(acting, plan, results, progress_file)
    done = tuple(results[task.name] for task in plan.selection.tasks)
    return Ran(Run(plan.host, plan.part, started, _since(began), done), stopped)


# -- looks -------------------------------------------------------------------------------------------------------------


class _Look(threading.Thread):
    """One task being looked at; `result` once it is known."""

    def __init__(self, task: Task, plan: Plan) -> None:
        super().__init__(name=f"look-{task.name}", daemon=True)
        self.task = task
        self.result: TaskResult | None = None
        self._plan = plan

    def run(self) -> None:
        deadline = Deadline(self._plan.look_seconds)
        self.result = _result(self.task, lambda kind: kind.look(deadline), self._plan.secrets)


def _looks(tasks: Sequence[Task], plan: Plan) -> dict[str, TaskResult]:
    looks = [_Look(task, plan) for task in tasks]
    deadline = Deadline(plan.look_seconds + GRACE)
    for look in looks:
        look.start()
    results = {}
    for look in looks:
        look.join(max(0.0, deadline.left()))
        # Read once: it may still come to its end while this is written down.
        results[look.task.name] = look.result or TaskResult(
            look.task.name, look.task.kind, plan.look_seconds, failure=Failure.of(_late(plan.look_seconds))
        )
    return results


def _late(seconds: float) -> HoldfastError:
    return Deadline(seconds).missed("it was left behind")


# -- acts --------------------------------------------------------------------------------------------------------------


def _acts(
    tasks: Sequence[Task], plan: Plan, results: dict[str, TaskResult], progress_file: str | None
) -> Interrupted | None:
    """Let tasks act in the order of their declaration; returns what stopped them."""
    stopped: Interrupted | None = None
    for task in tasks:
        refusal = _refusal(task, plan, tasks)
        if stopped is not None:
            refusal = Refused("It was not begun: the run was stopped before.", hint="Run it again.")
        if refusal is not None:
            results[task.name] = TaskResult(task.name, task.kind, 0.0, failure=Failure.of(refusal))
            continue
        began = time.monotonic()
        try:
            results[task.name] = _result(task, _act(task, progress_file), plan.secrets, acted=True)
        except Interrupted as error:
            stopped = error
            failure = _failure(error, [*plan.secrets, *secrets_of(task).values()])
            results[task.name] = TaskResult(task.name, task.kind, _since(began), failure=failure, acted=True)
    return stopped


def _act(task: Task, progress_file: str | None) -> Callable[[Kind], Section]:
    def act(kind: Kind) -> Section:
        if not isinstance(kind, Action):
            raise InternalError(f"{kind.name} is a report and was to act.")
        return kind.act(Progress(progress_file, task.name))

    return act


def _refusal(task: Task, plan: Plan, acting: Sequence[Task]) -> HoldfastError | None:
    """Why a task must not act: a backup that it wanted, or that an earlier one wanted, failed."""
    for each in acting:
        for component in each.backup:
            if component in plan.failed_backups:
                wanted = "" if each is task else f", which {each.name} before it wanted"
                return Refused(
                    f"It did not act: the backup of {component}{wanted} failed: {plan.failed_backups[component]}",
                    hint=f"Mend the backup of {component} first.",
                )
        if each is task:
            break
    return None


def _as_planned(task: Task, result: TaskResult, plan: Plan, acting: Sequence[Task]) -> TaskResult:
    """A plan, or why it could not be carried out."""
    refusal = _refusal(task, plan, acting)
    return result if refusal is None else replace(result, section=None, failure=Failure.of(refusal))


# -- one task ----------------------------------------------------------------------------------------------------------


def _result(task: Task, do: Callable[[Kind], Section], secrets: Sequence[str], *, acted: bool = False) -> TaskResult:
    """What a task tells, or why it does not, without secrets.

    Raises:
        Interrupted: somebody stops the run; only in the thread that signals come to.
    """
    began = time.monotonic()
    secrets = [*secrets, *secrets_of(task).values()]
    try:
        section = _hushed(do(KINDS[task.kind](task.options)), secrets)
        # Here, so that a value that no report can show is this task's defect alone.
        return _tidy(TaskResult(task.name, task.kind, _since(began), section=section, acted=acted))
    except Exception as error:
        if isinstance(error, Interrupted) and threading.current_thread() is threading.main_thread():
            raise
        failure = _failure(error, secrets)
        return _tidy(TaskResult(task.name, task.kind, _since(began), failure=failure, acted=acted))


def _hushed(section: Section, secrets: Iterable[str]) -> Section:
    """The same without secrets that lie on this host: programs whose last words it quotes may have told one."""
    known = sorted({each for each in secrets if len(each) >= _SECRET}, key=len, reverse=True)

    def hush(value: Any) -> Any:
        if isinstance(value, str):
            for each in known:
                value = value.replace(each, "********")
        return value

    if not known:
        return section
    return replace(
        section,
        title=hush(section.title),
        summary=hush(section.summary),
        findings=[
            replace(each, text=hush(each.text), subject=hush(each.subject), advice=hush(each.advice))
            for each in section.findings
        ],
        tables=[
            replace(
                each,
                note=hush(each.note),
                rows=[{key: hush(value) for key, value in row.items()} for row in each.rows],
            )
            for each in section.tables
        ],
    )


def _tidy(result: TaskResult) -> TaskResult:
    """The same of plain values, with texts that do nothing to a terminal.

    Raises:
        TypeError: it has a value that no report can show.
    """
    return tidy(Run("", "", utc_now(), 0.0, (result,))).tasks[0]


def _failure(error: Exception, secrets: Sequence[str]) -> Failure:
    failure = Failure.of(_typed(error))
    return Failure(failure.code, redact(failure.text, secrets), redact(failure.advice, secrets))


def _typed(error: Exception) -> HoldfastError:
    if isinstance(error, HoldfastError):
        return error
    if isinstance(error, OSError):
        place = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        return ToolFailed(f"{place}{error.strerror or error}.")
    last = traceback.extract_tb(error.__traceback__)[-1]
    return InternalError(
        f"A defect in holdfast.ops: {type(error).__name__}: {error} ({os.path.basename(last.filename)}:{last.lineno}).",
        hint="Please report it.",
    )


def _since(began: float) -> float:
    return round(time.monotonic() - began, 3)
