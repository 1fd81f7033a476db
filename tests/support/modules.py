# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a module as Ansible does on a host: a process of its own, parameters in, JSON out; to be killed at will.

On an interpreter that no ansible-core runs on, ANSIBLE_AS_SENT names a directory with what Ansible sends to a host that
has it: the package `ansible` with nothing but `module_utils`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# The parameters come by stdin and never stand in argv: the secrets' test looks there.
_START = """
import importlib, json, sys
from ansible.module_utils import basic
basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": json.load(sys.stdin)}).encode()
basic._ANSIBLE_PROFILE = "legacy"
importlib.import_module("ansible_collections.holdfast.ops.plugins.modules." + sys.argv[1]).main()
"""


class RunningModule:
    """A module at work."""

    def __init__(self, name: str, parameters: Mapping[str, Any], *, check: bool = False, diff: bool = False) -> None:
        self.name = name
        sent = os.environ.get("ANSIBLE_AS_SENT")
        internal = {"_ansible_check_mode": check, "_ansible_diff": diff, "_ansible_remote_tmp": "/tmp"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", _START, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **({"PYTHONPATH": sent} if sent else {})},
        )
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({**parameters, **internal}))
        self.process.stdin.close()
        self.process.stdin = None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the module's process alone, as a dying controller or an operator would."""
        self.process.send_signal(number)

    def result(self, timeout: float = 120) -> dict[str, Any]:
        """What it returned; `rc` is its exit status, negative when it was killed (then there is nothing else)."""
        out, err = self.process.communicate(timeout=timeout)
        code = self.process.returncode
        if code < 0:
            return {"rc": code}
        try:
            return {**json.loads(out), "rc": code, "stderr": err}
        except ValueError:
            raise AssertionError(f"{self.name} exited with {code} and said:\n{out}\n{err}") from None


def run_module(name: str, parameters: Mapping[str, Any], **how: Any) -> dict[str, Any]:
    """Run to the end; the result says `failed` or not."""
    return RunningModule(name, parameters, **how).result()


def wait_for_stage(progress_file: Path, stage: str, running: RunningModule, done: int = 0) -> None:
    """Wait until the module's own progress says that it is in a stage (and has passed `done` bytes in it)."""
    while running.process.poll() is None:
        try:
            state = json.loads(progress_file.read_text())
        except (FileNotFoundError, ValueError):
            continue
        if state["stage"] == stage and state["done"] >= done:
            return
    raise AssertionError(f"{running.name} ended before it came to the stage {stage}: {running.result()}")
