# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""application_update over real SSH, with a key that only root may read while git runs as somebody else.

Needs root and openssh-server: tests/slow/prepare installs it.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.tests.support.application import Application
from ansible_collections.holdfast.ops.tests.support.modules import run_module
from ansible_collections.holdfast.ops.tests.support.procwatch import ProcessWatch
from ansible_collections.holdfast.ops.tests.support.servers import Server, free_ports, short_directory

pytestmark = [
    pytest.mark.ansible,
    pytest.mark.privileged,
    pytest.mark.skipif(os.geteuid() != 0, reason="adds an account and starts sshd, so it must be root"),
]


class Ssh:
    """An sshd of our own, and the key of an account there."""

    def __init__(self, directory: Path, user: str) -> None:
        (port,) = free_ports(1)
        for name in ("host", "login"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / name], check=True)
        self.key, self.known_hosts = directory / "login", directory / "known_hosts"
        shutil.copy(directory / "login.pub", directory / "authorized")
        server_key = (directory / "host.pub").read_text()
        self.known_hosts.write_text(f"[127.0.0.1]:{port} {server_key}")
        configuration = directory / "sshd_config"
        configuration.write_text(
            f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {directory}/host\n"
            f"AuthorizedKeysFile {directory}/authorized\n"
            "StrictModes no\nUsePAM no\nPasswordAuthentication no\nPidFile none\n"
        )
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd demands it
        self.server = Server(["/usr/sbin/sshd", "-D", "-e", "-f", str(configuration)], log=directory / "log")
        self.server.wait_ready(lambda: "Server listening" in self.server.tail(), "sshd")
        self.url = f"ssh://{user}@127.0.0.1:{port}"


@pytest.fixture
def ssh() -> Iterator[Ssh]:
    for program in ("/usr/sbin/sshd", "/usr/sbin/useradd"):
        assert os.path.exists(program), f"{program} is missing; tests/slow/prepare installs it"
    user = f"hf{secrets.token_hex(4)}"
    directory = short_directory("hf-ssh-")
    directory.chmod(0o755)
    subprocess.run(["useradd", "--no-create-home", "--shell", "/bin/sh", "--password", "*", user], check=True)
    running = None
    try:
        running = Ssh(directory, user)
        yield running
    finally:
        if running is not None:
            running.server.stop()
        subprocess.run(["userdel", "--force", user], check=False, capture_output=True)
        shutil.rmtree(directory)


@pytest.fixture
def app() -> Iterator[Application]:
    application = Application()
    try:
        application.release("1")
        application.deploy()
        yield application
    finally:
        application.remove()


def test_a_key_of_roots_opens_the_remote_for_a_git_that_is_not_roots(ssh: Ssh, app: Application) -> None:
    assert app.user, "as root the application belongs to an account without rights"
    assert ssh.key.stat().st_mode & 0o777 == 0o600
    second = app.release("2")
    # The account at the other side reads a repository that belongs to somebody else there.
    (app.root / "gitconfig").write_text("[safe]\n\tdirectory = *\n")
    ssh_environment = f"GIT_CONFIG_GLOBAL={app.root}/gitconfig"
    app.git("config", "remote.origin.uploadpack", f"{ssh_environment} git-upload-pack", at=app.checkout)
    app.git("remote", "set-url", "origin", f"{ssh.url}{app.remote}", at=app.checkout)

    def update(**more: Any) -> dict[str, Any]:
        return run_module("application_update", app.parameters(**more))

    known: dict[str, Any] = {"ssh_known_hosts_file": str(ssh.known_hosts)}
    assert update(**known)["error_code"] == "unavailable", "it has no key"
    key = {"ssh_key_file": str(ssh.key)}
    stranger = update(**key)
    assert stranger["error_code"] == "unavailable", "nobody knows that server"
    assert "Host key verification failed" in stranger["msg"]
    with ProcessWatch() as seen:
        done = update(**key, **known)
    assert done["changed"], done
    assert (app.head(), app.answer()["version"]) == (second, "2")
    assert "ssh" in seen.programs()
    body = ssh.key.read_text().splitlines()[1]
    assert not seen.holding(body)
    assert body not in json.dumps(done)
    everywhere = [path for path in (*app.checkout.rglob("*"), *app.state_dir.rglob("*")) if path.is_file()]
    assert not [path for path in everywhere if body.encode() in path.read_bytes()]
