# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""holdfast.ops.host_exporters: checked on the controller, which brings its archives along. Documented in modules/."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from ansible_collections.holdfast.ops.plugins.module_utils._errors import HoldfastError, NotFound
from ansible_collections.holdfast.ops.plugins.module_utils._exporters._parse import parse_exporters
from ansible_collections.holdfast.ops.plugins.plugin_utils._action import HostAction, decrypted
from ansible_collections.holdfast.ops.plugins.plugin_utils._host import plain


class ActionModule(HostAction):
    """Checks the declaration, so that nothing of it reaches a host that cannot be right."""

    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        variables = task_vars or {}
        _checked, given = self.validate_argument_spec(
            {
                "state": {"type": "str", "choices": ["present", "absent", "planned"], "default": "present"},
                "exporters": {"type": "list", "elements": "dict", "default": []},
                "textfile_dir": {"type": "path", "default": ""},
                "mirror": {"type": "str", "default": ""},
            }
        )
        declared = plain(decrypted(given.pop("exporters")))
        # Without the exporters: their passwords would be in what is shown at a higher verbosity.
        result["invocation"] = {"module_args": dict(given)}
        try:
            parse_exporters(declared, textfile_dir=given["textfile_dir"] or "", mirror=given["mirror"])
            if given["state"] == "present" and not self._task.check_mode:
                declared = self._bring_archives(variables, given, declared)
        except HoldfastError as error:
            return {**result, "failed": True, "msg": str(error), **error.result()}
        return {**result, **self.run_quietly(variables, {**given, "declaration": json.dumps(declared)})}

    def _bring_archives(
        self, variables: Mapping[str, Any], given: Mapping[str, Any], declared: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """The declaration with archives of the controller's replaced by copies on the host, as far as it lacks them."""
        paths = {each["name"]: path for each in declared if (path := (each.get("archive") or {}).get("path"))}
        if not paths:
            return declared
        args = {**given, "state": "planned", "declaration": json.dumps(declared)}
        missing = self.run_quietly(variables, args).get("archives", [])
        copies = {name: self._copy(name, paths[name]) for name in missing if name in paths}
        return [
            {**each, "archive": {**each["archive"], "path": copies[each["name"]]}} if each["name"] in copies else each
            for each in declared
        ]

    def _copy(self, name: str, path: str) -> str:
        """Copy a file of the controller's into the task's own directory on the host, which Ansible removes."""
        local = self._loader.path_dwim(path)
        if not os.path.isfile(local):
            raise NotFound(f"exporter {name}: archive.path {path} is not on the controller.", stage="preflight")
        shell = self._connection._shell
        if shell.tmpdir is None:
            self._make_tmp_path()
        return str(self._transfer_file(local, shell.join_path(shell.tmpdir, f"{name}.archive")))
