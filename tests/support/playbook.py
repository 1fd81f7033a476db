# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a playbook with the real ansible-playbook, on this machine, and read what came of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_RECAP = re.compile(r"^(\S+)\s+: (ok=.*)$", re.MULTILINE)
_REPORT = re.compile(r"^TASK \[(?:Report|Catalogue)\].*?\"msg\": (\[.*?^ {4}\])", re.MULTILINE | re.DOTALL)


def report_of(output: str) -> list[str]:
    """The lines that our playbooks report at their end; empty when it did not come to that."""
    found = _REPORT.search(output)
    lines: list[str] = json.loads(found[1]) if found else []
    return lines


@dataclass(frozen=True)
class PlaybookRun:
    """The outcome of one run: exit code, everything it printed, and the recap's counts of localhost."""

    returncode: int
    output: str

    @property
    def counts(self) -> dict[str, int]:
        """ok, changed, unreachable, failed, skipped, rescued, ignored; empty when no play ran."""
        found = dict(_RECAP.findall(self.output))
        pairs = (pair.split("=") for pair in found.get("localhost", "").split())
        return {name: int(number) for name, number in pairs}

    @property
    def report(self) -> list[str]:
        """What one of our playbooks said at its end."""
        return report_of(self.output)

    def succeeded(self) -> PlaybookRun:
        assert self.returncode == 0, self.output
        return self

    def failed(self) -> PlaybookRun:
        assert self.returncode != 0, self.output
        return self


def run_playbook(
    playbook: list[dict[str, Any]] | str,
    directory: Path,
    *arguments: str,
    extra_vars: Mapping[str, Any] | None = None,
    env: Mapping[str, str] | None = None,
    hosts: Mapping[str, Mapping[str, Any]] | None = None,
) -> PlaybookRun:
    """Run plays (or a playbook by path or by its collection name) on localhost.

    directory: a scratch directory of the test's own; inventory, variables and Ansible's home go there.
    hosts: host variables by host, instead of localhost; each is this machine unless they say otherwise.
    arguments: more for the command line, such as `--check`.
    """
    home = directory / "ansible-home"
    home.mkdir(exist_ok=True)
    (home / "ansible.cfg").touch()  # an empty one: the developer's own must not count
    if isinstance(playbook, str):
        target = playbook
    else:
        path = directory / "playbook.json"
        path.write_text(json.dumps(playbook))
        target = str(path)
    inventory = directory / "inventory.json"
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    wanted = {name: {**local, **variables} for name, variables in (hosts or {"localhost": {}}).items()}
    inventory.write_text(json.dumps({"all": {"hosts": wanted}}))
    variables = directory / "extra-vars.json"
    variables.write_text(json.dumps(dict(extra_vars or {})))
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("ansible-playbook")),
            *("-i", str(inventory), "-e", f"@{variables}", *arguments, target),
        ],
        env={
            **os.environ,
            "ANSIBLE_HOME": str(home),
            "ANSIBLE_LOCAL_TEMP": str(home / "local"),
            "ANSIBLE_REMOTE_TEMP": str(home / "remote"),
            "ANSIBLE_CONFIG": str(home / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_RETRY_FILES_ENABLED": "0",
            "LC_ALL": "C.UTF-8",
            **(env or {}),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        encoding="utf-8",
        cwd=directory,
        check=False,
    )
    return PlaybookRun(done.returncode, done.stdout)
