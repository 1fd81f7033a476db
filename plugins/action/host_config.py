# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""holdfast.ops.host_config: what is declared is checked and resolved on the controller. Documented in modules/."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.holdfast.ops.plugins.module_utils._errors import HoldfastError
from ansible_collections.holdfast.ops.plugins.plugin_utils._action import DEFAULT_VENV, HostAction
from ansible_collections.holdfast.ops.plugins.plugin_utils._host import (
    VARIABLES,
    Declared,
    files_of,
    parts_of,
    read_host,
)


class ActionModule(HostAction):
    """Checks everything that is declared; only then is the host contacted, if at all."""

    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        variables = task_vars or {}
        _checked, given = self.validate_argument_spec(
            {
                "state": {"type": "str", "choices": ["present", "absent", "checked"], "default": "present"},
                "interpreter": {"type": "path", "default": f"{DEFAULT_VENV}/bin/python"},
                "root": {"type": "path", "default": ""},
            }
        )
        result["invocation"] = {"module_args": dict(given)}
        if given["state"] == "absent":
            return {**result, **self.run_quietly(variables, dict(given))}
        try:
            declared = read_host({name: self.variable(variables, name) for name in VARIABLES})
        except HoldfastError as error:
            return {**result, "failed": True, "msg": str(error), **error.result()}
        result["components"] = _components(declared)
        result["work"] = list(declared.work)
        result["maintenance"] = parts_of(declared)
        if given["state"] == "checked":
            return {**result, "changed": False, "msg": "Everything that is declared can be right."}
        files = files_of(declared, str(variables["inventory_hostname"]), given["interpreter"], given["root"])
        return {**result, **self.run_quietly(variables, {**given, "files": json.dumps(files)})}


def _components(declared: Declared) -> list[str]:
    return [component.name for component in declared.declaration.components] if declared.declaration else []
