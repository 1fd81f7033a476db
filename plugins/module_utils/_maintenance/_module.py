# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the parameters of the module of one kind of maintenance to what it looks at or does, and back.

PRIVATE to the collection; may change without notice. `module` is an AnsibleModule or anything that looks like one.
"""

from __future__ import annotations

from typing import Any

from .._deadline import Deadline
from .._declaration._report import InvalidDeclaration, Report
from .._progress import Progress
from .._run import Module, guarded
from .._spec import Spec
from ._interface import Action, Kind
from ._section import Section

LOOK_SECONDS = 60.0
"""How long a module of its own may look; in a report of a whole host all tasks share less."""

PROGRESS = Spec({"progress_file": {"type": "path"}})


def module_spec(kind: type[Kind]) -> Spec:
    """The options of the module of a kind."""
    return kind.SPEC + PROGRESS if kind.action else kind.SPEC


def run_kind(module: Module, kind: type[Kind]) -> None:
    """The whole of such a module: a report looks; an action acts, and in check mode says what it would do."""
    # An action that knows max_runtime comes to a good end by it, with what it has done.
    guarded(module, lambda: _run(module, kind), limited=False)


def _run(module: Module, kind: type[Kind]) -> dict[str, Any]:
    options = {name: module.params.get(name) for name in kind.SPEC.options}
    lines: list[str] = []
    kind.examine(options, Report(lines, kind.name))
    if lines:
        raise InvalidDeclaration(lines)
    task = kind(options)
    if isinstance(task, Action) and not module.check_mode:
        return result_of(task.act(Progress(module.params.get("progress_file"), kind.name)))
    return result_of(task.look(Deadline(LOOK_SECONDS)), reports=not kind.action)


def result_of(section: Section, *, reports: bool = False) -> dict[str, Any]:
    """What the module returns: the kind's own values, and the section that reports are made of."""
    return {
        **section.data,
        "changed": section.changed and not reports,
        "msg": section.summary,
        "findings": [dict(vars(each)) for each in section.findings],
        "section": section.as_dict(),
    }
