# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A live line in a terminal, lines elsewhere, the same result either way. SSH: tests/slow/test_ssh_progress.py.

The watched module goes on when the test has seen its progress, so nothing here depends on time.
"""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.ansible

ACTION = """
from ansible_collections.holdfast.ops.plugins.plugin_utils._action import HostAction

class ActionModule(HostAction):
    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        return {**result, **self.run_module(task_vars, dict(self._task.args), self._task.action)}
"""

MODULE = """#!/usr/bin/python
import os, time
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.ops.plugins.module_utils._progress import Progress

def main():
    module = AnsibleModule(argument_spec=dict(progress_file=dict(type='path'), gate=dict(type='path')))
    progress = Progress(module.params['progress_file'], 'omnidoc_db')
    progress.stage('dump', 1000000)
    deadline = time.monotonic() + 60
    while not os.path.exists(module.params['gate']) and time.monotonic() < deadline:
        progress.add(1)
        time.sleep(0.05)
    module.exit_json(changed=True, seen=os.path.exists(module.params['gate']))

if __name__ == '__main__':
    main()
"""

CONNECTION = """
DOCUMENTATION = '''
name: odd
short_description: nobody knows it
description: It runs commands as local does.
author: a test
'''
from ansible.plugins.connection.local import Connection as Local

class Connection(Local):
    transport = 'test.watched.odd'
"""

LIVE = "\r\x1b[K[localhost] omnidoc_db: dump "
LINE = "[localhost] omnidoc_db: dump "


def watch(directory: Path, wanted: str, terminal: bool, connection: str = "local", **environment: str) -> str:
    """Run the watched module until `wanted` is printed; everything that was printed."""
    plugins = directory / "collections/ansible_collections/test/watched/plugins"
    for path, text in (
        ("action/slow.py", ACTION),
        ("modules/slow.py", MODULE),
        ("connection/odd.py", CONNECTION),
    ):
        (plugins / path).parent.mkdir(parents=True)
        (plugins / path).write_text(text)
    gate = directory / "gate"
    local = {
        "ansible_connection": connection,
        "ansible_python_interpreter": sys.executable,
        "holdfast_progress_interval": 0.2,
    }
    play = {"hosts": "all", "gather_facts": False, "tasks": [{"test.watched.slow": {"gate": str(gate)}}]}
    (directory / "inventory.json").write_text(json.dumps({"all": {"hosts": {"localhost": local}}}))
    (directory / "play.json").write_text(json.dumps([play]))
    (directory / "ansible.cfg").touch()
    ours, theirs = pty.openpty() if terminal else os.pipe()
    people = {name: value for name, value in os.environ.items() if name not in ("CI", "JENKINS_URL", "TF_BUILD")}
    process = subprocess.Popen(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", "inventory.json", "play.json"],
        cwd=directory,
        env={
            **people,
            "TERM": "xterm",
            "ANSIBLE_COLLECTIONS_PATH": str(directory / "collections"),
            "ANSIBLE_CONFIG": str(directory / "ansible.cfg"),
            "ANSIBLE_HOME": str(directory / "home"),
            "ANSIBLE_REMOTE_TEMP": str(directory / "home" / "remote"),
            "ANSIBLE_NOCOLOR": "1",
            **environment,
        },
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    output = b""
    deadline = time.monotonic() + 120
    try:
        while time.monotonic() < deadline:
            if not select.select([ours], [], [], 1)[0]:
                continue
            try:
                data = os.read(ours, 65536)
            except OSError:  # how a terminal says that its last user is gone
                break
            if not data:
                break
            output += data
            if wanted.encode() in output:
                gate.touch()
        process.wait(30)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    text = output.decode()
    assert process.returncode == 0, text
    assert gate.exists(), text
    assert list((directory / "home" / "remote").glob("*")) == [], "the progress file was left behind"
    return text.replace("\r\n", "\n")


def test_a_terminal_sees_one_line_that_goes_away(tmp_path: Path) -> None:
    text = watch(tmp_path, LIVE, terminal=True)
    assert "\r\x1b[Kchanged: [localhost]" in text  # the line was cleared before Ansible went on
    assert LINE not in text.replace(LIVE, "")


@pytest.mark.parametrize("recorder", ["CI", "AWX_ISOLATED_DATA_DIR"])
def test_a_terminal_that_nobody_sits_at_gets_lines(tmp_path: Path, recorder: str) -> None:
    text = watch(tmp_path, LINE, terminal=True, **{recorder: "1"})
    assert f"\n{LINE}" in text
    assert "\x1b[K" not in text


def test_a_pipe_gets_lines(tmp_path: Path) -> None:
    text = watch(tmp_path, LINE, terminal=False)
    assert f"\n{LINE}" in f"\n{text}"
    assert "\x1b[K" not in text


def test_an_unknown_connection_means_no_progress_and_no_failure(tmp_path: Path) -> None:
    text = watch(tmp_path, "TASK [test.watched.slow]", terminal=False, connection="test.watched.odd")
    assert "changed: [localhost]" in text
    assert "omnidoc_db" not in text
