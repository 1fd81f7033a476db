# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host of its own below a directory: /etc/holdfast and all the rest, and the command `holdfast` that works there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

COMMAND = "ansible_collections.holdfast.ops.plugins.module_utils._host"


class Host:
    """A host that looks after itself; needs no root.

    Attributes:
        components, repositories, maintenance: what it declares; `write` them after a change.
        textfile_dir: where it writes metrics of maintenance, if anywhere.
        tell: from which severity on findings of maintenance are told.
    """

    name = "here"

    def __init__(self, directory: Path) -> None:
        self.root = directory / "root"
        self.repository = directory / "repository"
        self.repositories: dict[str, Any] = {"primary": {"type": "local", "path": str(self.repository)}}
        self.components: list[dict[str, Any]] = []
        self.maintenance: list[dict[str, Any]] = []
        self.textfile_dir: Path | None = None
        self.tell = "critical"
        self.notifications: dict[str, Any] = {"channels": []}
        for path in ("etc/holdfast", "opt/holdfast", "var/lib/holdfast/ansible/tmp", "var/log/holdfast"):
            (self.root / path).mkdir(parents=True)
        (self.root / "opt/holdfast/venv").symlink_to(sys.prefix)

    def declare(self, name: str, engine: str = "files", **more: Any) -> dict[str, Any]:
        """A component in the repository `primary`."""
        component = {
            "name": name,
            "engine": engine,
            "repositories": ["primary"],
            "state_dir": str(self.root / "var/lib/holdfast"),
            **more,
        }
        self.components.append(component)
        return component

    def write(self) -> None:
        """Write down what is declared, as the role agent does."""
        variables = {
            "ansible_connection": "local",
            "ansible_become": False,
            "ansible_python_interpreter": sys.executable,
            "holdfast_interpreter": sys.executable,
            "holdfast_repositories": self.repositories,
            **({"holdfast_components": self.components} if self.components else {}),
            **({"holdfast_maintenance": self.maintenance} if self.maintenance else {}),
            **({"holdfast_textfile_dir": str(self.textfile_dir)} if self.textfile_dir else {}),
        }
        etc = self.root / "etc/holdfast"
        (etc / "inventory.yml").write_text(json.dumps({"all": {"hosts": {self.name: variables}}}))
        (etc / "ansible.cfg").write_text("[defaults]\n")
        names = [{"name": each["name"]} for each in self.components]
        looked_after = {"tell": self.tell, "parts": ["daily"] if self.maintenance else [], "tasks": []}
        host = {"inventory_hostname": self.name, "components": names, "maintenance": looked_after}
        (etc / "host.json").write_text(json.dumps(host))
        (etc / "notify.json").write_text(json.dumps(self.notifications))

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "HOLDFAST_ROOT": str(self.root), "LC_ALL": "C.UTF-8"}

    def argv(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", COMMAND, *arguments]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Begin `holdfast …`."""
        return subprocess.Popen(
            self.argv(*arguments),
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run `holdfast …`; its exit code and all that it said."""
        process = self.start(*arguments)
        out, _none = process.communicate()
        return process.returncode, out

    def log(self) -> list[dict[str, Any]]:
        """The lines of jobs.jsonl."""
        path = self.root / "var/log/holdfast/jobs.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def manifests(self, component: str) -> list[Mapping[str, Any]]:
        """The backups that are really there."""
        return [json.loads(path.read_text()) for path in sorted((self.repository / component).glob("manifests/*.json"))]

    def remove(self) -> None:
        shutil.rmtree(self.root.parent, ignore_errors=True)
