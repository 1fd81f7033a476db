# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module `maintenance`: from its parameters to a run, and what it writes and returns.

PRIVATE to the collection; may change without notice. `module` is an AnsibleModule or anything that looks like one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from .._durations import counted
from .._errors import HoldfastError, Interrupted, MissingDependency
from .._host import _paths
from .._locks import private_directory, state_directory
from .._notify._config import known_secrets
from .._run import Module, guarded
from . import _textfile
from ._interface import NEVER, PARTS
from ._lines import lines_of
from ._parse import parse_maintenance, secrets_of
from ._report._units import verdict
from ._report._write import FORMATS, HTML, require, sweep, write_reports
from ._run import Plan, Ran, run_plan
from ._run_model import Run, TaskResult
from ._section import CRITICAL, SEVERITIES, WARNING
from ._select import Wanted, select

ASKED: dict[str, Any] = {
    "part": {"type": "str", "choices": list(PARTS)},
    "names": {"type": "list", "elements": "str", "default": []},
    "apply": {"type": "list", "elements": "str", "default": []},
    "scheduled": {"type": "bool", "default": False},
    "fail_on": {"type": "str", "choices": [NEVER, WARNING, CRITICAL], "default": NEVER},
    "formats": {"type": "list", "elements": "str", "choices": list(FORMATS)},
    "reports_dir": {"type": "path", "default": f"{_paths.REPORTS}/maintenance"},
    "keep_days": {"type": "int", "default": 400},
    "textfile_dir": {"type": "path"},
}
"""What a task of a playbook says."""

ARGUMENTS: dict[str, Any] = {
    **ASKED,
    # One string, because Ansible hides every value of a mapping that is no_log, and `daily` is no secret.
    "declared": {"type": "str", "no_log": True},
    "host": {"type": "str"},
    "failed_backups": {"type": "dict", "default": {}},
    "interval": {"type": "float"},
    "progress_file": {"type": "path"},
}
"""With what the action plugin says beside."""


class Unwell(HoldfastError):
    """Tasks failed, or found what `fail_on` says is a failure."""

    code = "task_failed"

    def __init__(self, message: str, found: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.found = found

    def result(self) -> dict[str, Any]:
        return {**super().result(), **self.found}


class FindingsFound(Unwell):
    """Everything could be looked at, and is not well."""

    code = "findings"


class Stopped(Unwell):
    """A signal ended the run."""

    code = Interrupted.code


def run_maintenance(module: Module) -> None:
    """Look, act, write down, and end the module."""
    guarded(module, lambda: _run(module))


def _run(module: Any) -> dict[str, Any]:
    params = module.params
    tasks = parse_maintenance(json.loads(params["declared"] or "[]")).tasks
    secrets = [secret for task in tasks for secret in secrets_of(task).values()]
    module.no_log_values.update(secrets)
    wanted = Wanted(params["part"] or "", params["names"], params["apply"], params["scheduled"])
    selection = select(tasks, wanted)
    formats, warnings = _formats(params["formats"])
    if not module.check_mode:
        _make_directory(params["reports_dir"])
    plan = Plan(
        selection,
        params["host"] or "",
        wanted.part,
        module.check_mode,
        params["failed_backups"],
        secrets=[*secrets, *known_secrets(_paths.SECRETS)],
    )
    ran = run_plan(plan, params["progress_file"])
    about = _textfile.About(tasks, wanted.scheduled, params["interval"])
    files: dict[str, str] = {}
    if not module.check_mode:
        files = write_reports(ran.run, params["reports_dir"], formats)
        sweep(params["reports_dir"], timedelta(days=params["keep_days"]))
        warnings += _write_metrics(params["textfile_dir"], ran.run, about)
    found = {**_found(ran.run, selection.acting, files), "warnings": warnings}
    _judge(ran, params["fail_on"], found)
    return found


def _formats(wanted: list[str] | None) -> tuple[list[str], list[str]]:
    """The formats to write, and sentences to warn with: what nobody asked for by name is no reason to look at nothing.

    Raises:
        MissingDependency: one that was asked for cannot be written here.
    """
    if wanted is not None:
        require(wanted)
        return wanted, []
    formats, warnings = [], []
    for each in FORMATS:
        try:
            require([each])
            formats.append(each)
        except MissingDependency as error:
            warnings.append(f"No report was written as {each}: {error}")
    return formats, warnings


def _make_directory(path: str) -> None:
    """Before anything is done: what a run found and cannot be written down would be lost."""
    if os.path.dirname(path) == _paths.REPORTS:
        state_directory(_paths.STATE)
        private_directory(_paths.REPORTS)
    os.makedirs(path, mode=0o750, exist_ok=True)


def _write_metrics(directory: str | None, run: Run, about: _textfile.About) -> list[str]:
    """Sentences to warn with: metrics that cannot be written change nothing of what was found."""
    if not directory:
        return []
    try:
        _textfile.write(directory, run, about)
    except OSError as error:
        return [f"The metrics could not be written to {directory}: {error.strerror}."]
    return []


def _found(run: Run, acting: frozenset[str], files: Mapping[str, str]) -> dict[str, Any]:
    """What the module returns of a run."""
    return {
        "changed": any(each.section is not None and each.section.changed for each in run.tasks if each.name in acting),
        "msg": f"{verdict(run)}.",
        "severity": run.severity,
        "findings": [{"task": task.name, **vars(finding)} for task, finding in run.findings],
        "tasks": [each.as_dict() for each in run.tasks],
        "acted": [each.name for each in run.tasks if each.acted],
        "seconds": run.seconds,
        "files": dict(files),
        "lines": lines_of(run, files.get(HTML) or next(iter(files.values()), "")),
        "part": run.part,
    }


def _judge(ran: Ran, fail_on: str, found: Mapping[str, Any]) -> None:
    """Raise when the run counts as failed."""
    run = ran.run
    if ran.stopped is not None:
        raise Stopped(str(ran.stopped), found)
    if run.failed:
        said = " ".join(_said(each) for each in run.failed)
        raise Unwell(f"{counted(len(run.failed), 'task')} of {len(run.tasks)} failed. {said}", found)
    bad = [] if fail_on == NEVER else SEVERITIES[SEVERITIES.index(fail_on) :]
    worst = [f"{task.name}: {finding.text}" for task, finding in run.findings if finding.severity in bad]
    if worst:
        raise FindingsFound(f"{counted(len(worst), 'finding')} of severity {fail_on} or worse. {worst[0]}", found)


def _said(result: TaskResult) -> str:
    return f"{result.name}: {result.failure.text}" if result.failure else ""
