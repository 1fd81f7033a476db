# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""holdfast.ops.host_collection: packs this collection, and sends it where it is not yet. Documented in modules/."""

from __future__ import annotations

import os
import tempfile
from typing import Any

from ansible_collections.holdfast.ops.plugins.plugin_utils._action import HostAction
from ansible_collections.holdfast.ops.plugins.plugin_utils._pack import Packed, collection_directory, pack


class ActionModule(HostAction):
    """Asks the host what it has, and sends the archive only when it is wanted."""

    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        variables = task_vars or {}
        _checked, given = self.validate_argument_spec(
            {
                "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
                "root": {"type": "path", "default": ""},
            }
        )
        if given["state"] == "absent":
            return {**result, **self.run_quietly(variables, dict(given))}
        packed = pack(collection_directory())
        args = {**given, "version": packed.version, "digest": packed.digest}
        answer = self.run_quietly(variables, args)
        if answer.get("wanted"):
            answer = self.run_quietly(variables, {**args, "archive": self._send(packed)})
        return {**result, **answer}

    def _send(self, packed: Packed) -> str:
        """Bring the archive into the task's temporary directory on the host, which Ansible removes."""
        shell = self._connection._shell
        if shell.tmpdir is None:
            self._make_tmp_path()
        path = str(shell.join_path(shell.tmpdir, "collection.tar.gz"))
        descriptor, local = tempfile.mkstemp(prefix="holdfast-collection-")
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(packed.data)
            self._transfer_file(local, path)
        finally:
            os.unlink(local)
        self._fixup_perms2((shell.tmpdir, path))
        return path
