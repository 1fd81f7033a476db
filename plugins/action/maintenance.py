# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""holdfast.ops.maintenance: what is declared is checked, and backed up first, from here. Documented in modules/."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from typing import Any

from ansible_collections.holdfast.ops.plugins.module_utils._declaration._model import Declaration
from ansible_collections.holdfast.ops.plugins.module_utils._errors import HoldfastError, InvalidOption
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._maintain import ASKED
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._parse import (
    SCHEDULES,
    VARIABLE,
    Maintenance,
    parse_maintenance,
)
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._prune._wanted import protecting
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._select import Selection, Wanted, select
from ansible_collections.holdfast.ops.plugins.module_utils._schedules._intervals import longest_interval
from ansible_collections.holdfast.ops.plugins.plugin_utils._action import HostAction
from ansible_collections.holdfast.ops.plugins.plugin_utils._declared import arguments, read_declaration
from ansible_collections.holdfast.ops.plugins.plugin_utils._host import plain

COMPONENTS, REPOSITORIES = "holdfast_components", "holdfast_repositories"


class ActionModule(HostAction):
    """Checks the declaration and the guard on the controller; only then is the host contacted, if at all."""

    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        variables = task_vars or {}
        _checked, given = self.validate_argument_spec(ASKED)
        result["invocation"] = {"module_args": dict(given)}
        wanted = Wanted(given["part"] or "", given["names"], given["apply"], given["scheduled"])
        try:
            declaration = self._declaration(variables)
            lived_in = [each.options.get("container") for each in declaration.components] if declaration else []
            tasks = protecting(plain(self.variable(variables, VARIABLE)), lived_in)
            declared = self._maintenance(variables, tasks, declaration)
            selection = self._select(variables, declared, wanted, is_declared=tasks is not None)
        except HoldfastError as error:
            return {**result, "failed": True, "msg": str(error), **error.result()}
        if not selection.tasks:
            nothing = f"No task of this host is {f'for the part {wanted.part}' if wanted.part else 'meant'}."
            return {**result, "changed": False, "msg": nothing, "lines": [nothing], "files": {}, "part": wanted.part}
        backups = self._back_up(variables, declaration, selection)
        interval = longest_interval(declared.schedules[wanted.part]) if wanted.part else None
        args = {
            **given,
            # Exactly what was chosen here: the host knows nothing of the tasks of others.
            "names": [task.name for task in selection.tasks],
            "apply": [task.name for task in selection.tasks if task.name in selection.acting],
            "declared": json.dumps(tasks, default=_as_text),
            "host": str(variables.get("inventory_hostname", "")),
            "failed_backups": {each["component"]: each["msg"] for each in backups if not each["ok"]},
            "interval": None if interval is None else interval.total_seconds(),
        }
        run = self.run_module if selection.acting else self.run_quietly  # a look takes no time
        # An option that was left out is not the same to Ansible as one that is null.
        done = run(variables, {name: value for name, value in args.items() if value is not None})
        changed = bool(done.get("changed")) or any(each["changed"] for each in backups)
        return {**result, **done, "changed": changed, "backups": backups}

    # -- what is declared ---------------------------------------------------------------------------------------

    def _declaration(self, variables: Mapping[str, Any]) -> Declaration | None:
        components = self.variable(variables, COMPONENTS)
        return None if components is None else read_declaration(components, self.variable(variables, REPOSITORIES))

    def _maintenance(self, variables: Mapping[str, Any], tasks: Any, declaration: Declaration | None) -> Maintenance:
        components = [each.name for each in declaration.components] if declaration else []
        return parse_maintenance(tasks, plain(self.variable(variables, SCHEDULES)), None, components)

    def _select(
        self, variables: Mapping[str, Any], declared: Maintenance, wanted: Wanted, *, is_declared: bool
    ) -> Selection:
        others = [str(each.get("name")) for each in self.declared_elsewhere(variables, VARIABLE)]
        if not is_declared and not others:
            raise InvalidOption(
                f"None of the hosts of this play declares {VARIABLE}.",
                stage="declaration",
                hint="Is this the right inventory, and holdfast_hosts the right pattern?",
            )
        selection = select(declared.tasks, wanted, others)
        if wanted.scheduled and not selection.tasks:
            raise InvalidOption(
                f"No task is declared for the part {wanted.part}; nothing was done.", stage="declaration"
            )
        return selection

    # -- backups ------------------------------------------------------------------------------------------------

    def _back_up(
        self, variables: Mapping[str, Any], declaration: Declaration | None, selection: Selection
    ) -> list[dict[str, Any]]:
        """Back up, once each, what the acting tasks want backed up; in check mode that is only looked at."""
        wanted = [name for task in selection.tasks if task.name in selection.acting for name in task.backup]
        backups = []
        # Each is the name of a component: others were refused.
        for component in declaration.select(",".join(dict.fromkeys(wanted))) if declaration and wanted else ():
            module = f"holdfast.ops.{component.module('backup')}"
            args = arguments(component, "backup", {})
            args.pop("max_age", None)  # what came since the last backup would be deleted and be in none
            done = self.run_module(variables, args, module, label=component.name)
            backups.append(
                {
                    "component": component.name,
                    "ok": not done.get("failed"),
                    "changed": bool(done.get("changed")),
                    "msg": str(done.get("msg") or "it did not say why."),
                    "backup_id": done.get("backup_id"),
                    "error_code": done.get("error_code"),
                }
            )
        return backups


def _as_text(value: Any) -> str:
    """Dates, which YAML makes of some texts, as Ansible gives them to modules."""
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"a declaration holds no {type(value).__name__}")
