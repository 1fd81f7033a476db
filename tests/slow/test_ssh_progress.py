# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Progress over real SSH: an unprivileged login that becomes root by sudo, with and without pipelining.

The module that is watched moves only when the test has seen its last line, so nothing here depends on time.
Needs root, openssh-server and sudo: tests/slow/prepare installs them.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.tests.support.servers import Server, free_ports, short_directory

pytestmark = [
    pytest.mark.ansible,
    pytest.mark.privileged,
    pytest.mark.skipif(os.geteuid() != 0, reason="adds an account and starts sshd, so it must be root"),
]

ACTION = """
from ansible_collections.holdfast.ops.plugins.plugin_utils._action import HostAction

class ActionModule(HostAction):
    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        return {**result, **self.run_module(task_vars, dict(self._task.args), self._task.action)}
"""

# Writes progress and goes on when the test (which reads what ansible-playbook prints) has made the file `gate`.
MODULE = """#!/usr/bin/python
import os, time
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.ops.plugins.module_utils._progress import Progress

def main():
    module = AnsibleModule(argument_spec=dict(
        progress_file=dict(type='path'), gate=dict(type='path', required=True), wait_for=dict(type='path')))
    path = module.params['progress_file']
    progress = Progress(path, 'omnidoc_db')
    progress.stage('dump', 1000000)
    progress.add(250000)
    progress.stage('upload', 1000000)
    deadline = time.monotonic() + 60
    for awaited in (module.params['gate'], module.params['wait_for']):
        while path and awaited and not os.path.exists(awaited) and time.monotonic() < deadline:
            time.sleep(0.05)
    seen = bool(path) and os.path.exists(module.params['gate'])
    module.exit_json(changed=True, uid=os.geteuid(), path=path, seen=seen)

if __name__ == '__main__':
    main()
"""


@dataclass(frozen=True)
class Host:
    """An sshd of our own and a login that may only `sudo`."""

    port: int
    user: str
    home: Path
    key: Path

    def variables(self) -> dict[str, Any]:
        return {
            "ansible_host": "127.0.0.1",
            "ansible_port": self.port,
            "ansible_user": self.user,
            "ansible_ssh_private_key_file": str(self.key),
            "ansible_ssh_common_args": "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null",
            "ansible_python_interpreter": "/usr/bin/python3",  # ours may lie where the account cannot go
        }


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    for program in ("/usr/sbin/sshd", "/usr/bin/sudo", "/usr/sbin/useradd"):
        assert os.path.exists(program), f"{program} is missing; tests/slow/prepare installs it"
    directory = short_directory("hf-ssh-")
    directory.chmod(0o755)
    user = f"hf{secrets.token_hex(4)}"
    sudoers = Path(f"/etc/sudoers.d/{user}")
    subprocess.run(["useradd", "--create-home", "--shell", "/bin/sh", "--password", "*", user], check=True)
    try:
        for name in ("host", "login"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / name], check=True)
        authorized = Path(shutil.copy(directory / "login.pub", directory / "authorized"))
        authorized.chmod(0o644)
        sudoers.write_text(f"{user} ALL=(ALL) NOPASSWD: ALL\n")
        sudoers.chmod(0o440)
        (port,) = free_ports(1)
        configuration = directory / "sshd_config"
        configuration.write_text(
            f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {directory}/host\nAuthorizedKeysFile {authorized}\n"
            "StrictModes no\nUsePAM no\nPasswordAuthentication no\nPidFile none\n"
            "Subsystem sftp internal-sftp\n"
        )
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd demands it
        server = Server(["/usr/sbin/sshd", "-D", "-e", "-f", str(configuration)], log=directory / "log")
        try:
            server.wait_ready(lambda: "Server listening" in server.tail(), "sshd")
            yield Host(port, user, Path(pwd.getpwnam(user).pw_dir), directory / "login")
        finally:
            server.stop()
    finally:
        sudoers.unlink(missing_ok=True)
        subprocess.run(["userdel", "--remove", "--force", user], check=False, capture_output=True)
        shutil.rmtree(directory)


@dataclass(frozen=True)
class Watched:
    """A finished run: what was printed, and what the module returned."""

    returncode: int
    output: str
    result: dict[str, Any]
    lines: list[str]


def watch(host: Host, directory: Path, gate_open: bool = False, **settings: Any) -> Watched:
    """Run the watched module; the gate opens when a line of its second stage has been printed."""
    plugins = directory / "collections/ansible_collections/test/watched/plugins"
    for kind, text in (("action", ACTION), ("modules", MODULE)):
        (plugins / kind).mkdir(parents=True)
        (plugins / kind / "slow.py").write_text(text)
    gate = Path("/tmp") / f"hf-gate-{secrets.token_hex(6)}"
    if gate_open:
        gate.touch()
    play = {
        "hosts": "all",
        "gather_facts": False,
        "become": settings.pop("become", True),
        "tasks": [
            {
                "test.watched.slow": {"gate": str(gate), **settings.pop("options", {})},
                **settings.pop("task", {}),
                "register": "done",
            },
            {"ansible.builtin.debug": {"msg": "RESULT={{ done | to_json }}"}},
        ],
    }
    pipelining = settings.pop("pipelining", False)
    environment = settings.pop("environment", {})
    variables = {**host.variables(), "holdfast_progress_interval": 0.2, "ansible_pipelining": pipelining, **settings}
    (directory / "inventory.json").write_text(json.dumps({"all": {"hosts": {"remote": variables}}}))
    (directory / "play.json").write_text(json.dumps([play]))
    (directory / "ansible.cfg").touch()
    process = subprocess.Popen(
        [
            Path(sys.executable).with_name("ansible-playbook"),
            "-i",
            directory / "inventory.json",
            directory / "play.json",
        ],
        env={
            **{name: value for name, value in os.environ.items() if name != "CI"},
            "ANSIBLE_COLLECTIONS_PATH": str(directory / "collections"),
            "ANSIBLE_CONFIG": str(directory / "ansible.cfg"),
            "ANSIBLE_HOME": str(directory / "home"),
            "ANSIBLE_NOCOLOR": "1",
            "LC_ALL": "C.UTF-8",
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        encoding="utf-8",
    )
    output, shown = [], []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            output.append(line)
            if line.startswith("[remote] "):
                shown.append(line.strip())
                if ": upload" in line:
                    gate.touch()
        process.wait(60)
    finally:
        process.kill()
        process.wait()
        gate.unlink(missing_ok=True)
    text = "".join(output)
    found = re.search(r'"msg": "RESULT=(.*)"', text)
    result = json.loads(json.loads(f'"{found[1]}"')) if found else {}
    return Watched(process.returncode, text, result, shown)


def assert_nothing_left(host: Host, run: Watched) -> None:
    left = list(host.home.glob(".ansible/tmp/*"))
    assert left == [], run.output
    assert not run.result.get("path") or not os.path.exists(run.result["path"])


@pytest.mark.parametrize("pipelining", [False, True], ids=["plain", "pipelining"])
def test_progress_of_a_module_that_sudo_made_root(host: Host, tmp_path: Path, pipelining: bool) -> None:
    run = watch(host, tmp_path, pipelining=pipelining)
    assert run.returncode == 0, run.output
    assert run.result["uid"] == 0
    assert run.result["seen"], run.output
    assert re.match(r"\[remote\] omnidoc_db: upload, 0:0\d$", run.lines[0]), run.lines
    assert_nothing_left(host, run)


def test_progress_without_becoming_anybody(host: Host, tmp_path: Path) -> None:
    run = watch(host, tmp_path, become=False)
    assert run.result["uid"] == pwd.getpwnam(host.user).pw_uid, run.output
    assert run.result["seen"], run.output
    assert_nothing_left(host, run)


def test_async_passes_through_and_shows_nothing(host: Host, tmp_path: Path) -> None:
    run = watch(host, tmp_path, task={"async": 60, "poll": 1})
    assert run.returncode == 0, run.output
    assert run.result["uid"] == 0
    assert run.result["path"] is None
    assert run.lines == []


def test_check_mode_and_none_show_nothing(host: Host, tmp_path: Path) -> None:
    run = watch(host, tmp_path, holdfast_progress="none")
    assert run.returncode == 0, run.output
    assert run.result["path"] is None
    assert run.lines == []


def test_polls_that_are_refused_change_nothing(host: Host, tmp_path: Path) -> None:
    refused = tmp_path / "refused"
    wrapper = tmp_path / "ssh"
    wrapper.write_text(
        f'#!/bin/sh\ncase "$*" in *"cat "*progress.json*) echo x >> {refused}; exit 255;; esac\nexec ssh "$@"\n'
    )
    wrapper.chmod(0o755)
    run = watch(host, tmp_path, gate_open=True, options={"wait_for": str(refused)}, ansible_ssh_executable=str(wrapper))
    assert run.returncode == 0, run.output
    assert run.result["uid"] == 0
    assert run.lines == []
    assert refused.exists()
    assert_nothing_left(host, run)
