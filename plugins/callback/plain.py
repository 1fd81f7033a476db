# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The callback holdfast.ops.plain: what was done and what failed, and nothing else."""

from __future__ import annotations

DOCUMENTATION = r"""
name: plain
type: stdout
short_description: What holdfast's playbooks report, without Ansible's own words
version_added: 1.0.0
author:
  - holdfast.ops authors (@holdfast)
description:
  - Shows the lines of a playbook's report, differences where they are asked for, and the message of whatever failed.
  - It is what the command C(holdfast) on a host shows. With C(-v) it shows everything, by the default callback.
requirements:
  - Set it with C(ANSIBLE_STDOUT_CALLBACK=holdfast.ops.plain).
"""

from typing import Any

from ansible import constants
from ansible.plugins.callback import CallbackBase

_DEBUG = ("debug", "ansible.builtin.debug", "ansible.legacy.debug")


class CallbackModule(CallbackBase):
    """Keeps what fails in a loop until the report, which names each item that failed."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "holdfast.ops.plain"

    def __init__(self) -> None:
        super().__init__()
        self._untold: list[str] = []

    def v2_runner_on_ok(self, result: Any) -> None:
        self._handle_warnings(result._result)
        if result._task.action in _DEBUG and "msg" in result._result:
            self._report(result._result["msg"])

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._handle_warnings(result._result)
        if ignore_errors or (result._task.loop is not None and "results" in result._result):
            return  # the items of a loop were seen one by one
        self._failed(result._result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._failed(result._result)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        self._handle_warnings(result._result)

    def v2_runner_item_on_failed(self, result: Any) -> None:
        self._handle_warnings(result._result)
        self._untold.append(_said(result._result))

    def v2_on_file_diff(self, result: Any) -> None:
        results = result._result.get("results", [result._result])
        for one in results:
            if one.get("diff") and one.get("changed"):
                shown = self._get_diff(one["diff"])
                if shown:
                    self._display.display(shown)

    def v2_playbook_on_no_hosts_matched(self) -> None:
        self._display.display("No host matched: nothing was done.", color=constants.COLOR_ERROR)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        for message in self._untold:
            self._display.display(message, color=constants.COLOR_ERROR)

    def _report(self, message: Any) -> None:
        lines = message if isinstance(message, (list, tuple)) else [message]
        for line in lines:
            self._display.display(str(line))
        self._untold.clear()

    def _failed(self, returned: dict[str, Any]) -> None:
        self._display.display(_said(returned), color=constants.COLOR_ERROR)


def _said(returned: dict[str, Any]) -> str:
    if returned.get("_ansible_no_log"):
        return "A task failed; its result is hidden (no_log)."
    return str(returned.get("msg") or "A task failed and did not say why; -v shows more.").strip()
