# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the parameters of `host_upkeep` and `directory_cleanup` to what they do, and back.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from typing import Any

from .._durations import counted, format_size
from .._errors import HoldfastError, MissingDependency
from .._replace import replace_file
from .._run import Module, guarded
from .._spec import Spec
from ._clean import SHOWN, Cleaning, clean
from ._cleanups import CLEANUP, Cleanup
from ._config import CONFIG, dump, parse_upkeep
from ._logrotate import DIRECTORY, MAIN, Changes, Directory
from ._logs import LOG

HOST_UPKEEP = Spec(
    {
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "logs": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": LOG.options,
            "required_by": LOG.required_by,
        },
        "cleanups": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {"name": {"type": "str", "required": True}, **CLEANUP.options},
        },
        "config": {"type": "path", "default": CONFIG},
        "logrotate_directory": {"type": "path", "default": DIRECTORY},
        "logrotate_config": {"type": "path", "default": MAIN},
    }
)


class Incomplete(HoldfastError):
    """A cleaning that could not look at or remove everything; `details` is what the module returns of it."""

    code = "permission_denied"

    def __init__(self, message: str, details: Mapping[str, Any]) -> None:
        super().__init__(message, stage="clean", hint="Look at who owns these files, and whether they are immutable.")
        self._details = details

    def result(self) -> dict[str, Any]:
        return {**self._details, **super().result()}


# -- host_upkeep ------------------------------------------------------------------------------------------------------


def run_host_upkeep(module: Module) -> None:
    """The whole of `host_upkeep`."""

    def work() -> dict[str, Any]:
        params = module.params
        present = params["state"] == "present"
        upkeep = parse_upkeep(params["logs"] if present else None, params["cleanups"] if present else None)
        directory = Directory(params["logrotate_directory"], params["logrotate_config"])
        changes = directory.plan(upkeep.logs)
        warnings = []
        if changes.write or changes.bring_back:
            try:
                directory.try_out(changes)
            except MissingDependency:
                if not module.check_mode:
                    raise
                warnings.append("logrotate is not installed yet, so it could not judge the configuration.")
        config, content = params["config"], dump(upkeep) if present else None
        before = _content(config)
        diff = [*_diff(directory, changes), *_file_diff(config, before, content)]
        if not module.check_mode:
            directory.apply(changes)
            if content is None:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(config)
            elif content != before:
                replace_file(config, content, 0o600)
        return {
            "changed": bool(diff),
            "msg": f"{counted(len(upkeep.logs), 'log')} and {counted(len(upkeep.cleanups), 'cleanup')} declared.",
            "files": [each["after_header"] for each in diff],
            "diff": diff,
            "warnings": warnings,
        }

    guarded(module, work)


def _content(path: str) -> str | None:
    with contextlib.suppress(FileNotFoundError), open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()
    return None


def _file_diff(path: str, before: str | None, after: str | None) -> list[dict[str, str]]:
    if before == after:
        return []
    return [{"before_header": path, "after_header": path, "before": before or "", "after": after or ""}]


def _diff(directory: Directory, changes: Changes) -> list[dict[str, str]]:
    diff = []
    for name, content in changes.write.items():
        diff += _file_diff(os.path.join(directory.path, name), directory.read(name), content)
    for name in (*changes.remove, *changes.set_aside):
        diff += _file_diff(os.path.join(directory.path, name), directory.read(name) or "", None)
    for name in changes.bring_back:
        aside = directory.read(f"{name}.holdfast-replaced.disabled")
        diff += _file_diff(os.path.join(directory.path, name), None, aside or "")
    return diff


# -- directory_cleanup ------------------------------------------------------------------------------------------------


def run_directory_cleanup(module: Module) -> None:
    """The whole of `directory_cleanup`."""

    def work() -> dict[str, Any]:
        now = time.time()
        done = clean(Cleanup.from_options("cleanup", module.params), now, check=module.check_mode)
        result = cleaning_result(done, now, check=module.check_mode)
        if done.failures:
            raise Incomplete(failure_message(done), result)
        return result

    guarded(module, work)


def cleaning_result(done: Cleaning, now: float, *, check: bool) -> dict[str, Any]:
    """What `directory_cleanup` returns."""
    plan = done.lines(now)
    removed = len(done.files) if check else done.removed
    removed_bytes = done.planned_bytes if check else done.removed_bytes
    return {
        "changed": bool(removed or (done.directories if check else done.removed_directories)),
        "msg": cleaning_message(done, check=check),
        "removed": removed,
        "removed_bytes": removed_bytes,
        "removed_directories": len(done.directories) if check else done.removed_directories,
        "kept": done.kept,
        "skipped_entries": done.skipped,
        "files": [each.path for each in done.files[:SHOWN]],
        "failures": dict(done.failures[:SHOWN]),
        "diff": {
            "before_header": done.cleanup.path,
            "after_header": done.cleanup.path,
            "before": "".join(f"{line}\n" for line in plan),
            "after": "",
        },
    }


def cleaning_message(done: Cleaning, *, check: bool) -> str:
    """One sentence on what was removed, or would be."""
    count = len(done.files) if check else done.removed
    size = format_size(done.planned_bytes if check else done.removed_bytes)
    verb = "would be removed" if check else "removed"
    return f"{done.cleanup.path}: {counted(count, 'file')} ({size}) {verb}, {done.kept} kept."


def failure_message(done: Cleaning) -> str:
    """One sentence on what could not be done."""
    said = "; ".join(f"{path}: {reason}" for path, reason in done.failures[:5])
    return f"{done.cleanup.path}: {counted(len(done.failures), 'entry', 'entries')} could not be cleaned: {said}."
