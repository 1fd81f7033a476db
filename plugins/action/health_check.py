# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""holdfast.ops.health_check: checks are judged on the controller first. Documented in modules/."""

from __future__ import annotations

from typing import Any

from ansible_collections.holdfast.ops.plugins.module_utils._errors import HoldfastError
from ansible_collections.holdfast.ops.plugins.module_utils._health._module import ARGUMENTS
from ansible_collections.holdfast.ops.plugins.module_utils._health._parse import parse_checks
from ansible_collections.holdfast.ops.plugins.plugin_utils._action import HostAction


class ActionModule(HostAction):
    """Refuses checks that cannot be right before the host is contacted."""

    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        _checked, given = self.validate_argument_spec(ARGUMENTS)
        try:
            parse_checks(given["checks"])
        except HoldfastError as error:
            return {**result, "failed": True, "msg": str(error), **error.result()}
        return {**result, **self.run_quietly(task_vars or {}, dict(given))}
