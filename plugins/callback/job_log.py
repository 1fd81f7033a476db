# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The callback holdfast.ops.job_log: a line of JSON for every result of this collection's modules."""

from __future__ import annotations

DOCUMENTATION = r"""
name: job_log
type: notification
short_description: A line of JSON for every result of holdfast's modules
version_added: 1.0.0
author:
  - holdfast.ops authors (@holdfast)
description:
  - Appends a line of JSON to a file for every component that a playbook backed up, verified, pruned or rehearsed, and
    for every other task that failed. C(holdfast job) reads these lines to tell whether what was asked for was really
    done, and writes them to C(/var/log/holdfast/jobs.jsonl).
  - Only known fields are written, none of which can hold a secret, and nothing of a task with C(no_log).
  - It does nothing unless O(path) is set.
requirements:
  - Enable it with C(ANSIBLE_CALLBACKS_ENABLED=holdfast.ops.job_log).
options:
  path:
    description: The file that lines are appended to. It is made readable by its owner only.
    type: path
    env:
      - name: HOLDFAST_JOB_LOG
    ini:
      - section: callback_holdfast_job_log
        key: path
"""

import json
import os
from typing import Any

from ansible.plugins.callback import CallbackBase
from ansible_collections.holdfast.ops.plugins.plugin_utils._job_lines import failure_line, result_line


class CallbackModule(CallbackBase):
    """Writes as results come, so that what was done is known even if the run ends badly."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "holdfast.ops.job_log"
    CALLBACK_NEEDS_ENABLED = True

    def v2_runner_on_ok(self, result: Any) -> None:
        self._result_of(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._result_of(result, failed=not ignore_errors)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._result_of(result, failed=True)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        self._result_of(result)

    def v2_runner_item_on_failed(self, result: Any) -> None:
        self._result_of(result, failed=True)

    def _result_of(self, result: Any, failed: bool = False) -> None:
        task, returned = result._task, result._result
        if task.loop is not None and "results" in returned and "item" not in returned:
            return  # the sum of items that were told one by one
        if task.no_log or returned.get("_ansible_no_log"):
            returned = {"failed": failed, "msg": "The result is hidden (no_log)."}
        host = str(result._host.get_name())
        line = result_line(task.action, task.args, returned, host, failed=failed)
        if line is None and failed:
            line = failure_line(task.get_name(), returned, host)
        if line is not None:
            self._append(line)

    def _append(self, line: dict[str, Any]) -> None:
        path = self.get_option("path")
        if not path:
            return
        try:
            with open(path, "a", encoding="utf-8", opener=_private) as stream:
                stream.write(json.dumps(line, sort_keys=True) + "\n")
        except OSError as error:
            self._display.warning(f"The results of this run cannot be written to {path}: {error.strerror}.")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
