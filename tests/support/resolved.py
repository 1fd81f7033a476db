# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's own inventory, written by one ansible-core and read back by the same one, with secrets of every origin."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

VAULTED = "hush-vaulted {{ lookup('pipe', 'touch TRAP') }} \\ \" ' é"
FROM_ENVIRONMENT = "hush-environment {{ 6 * 7 }} {% raw %}"
ENCRYPTED_BY_HAND = "hush-marked {# no comment #} {{ undefined_name }}"
LITERAL_NAME = "documents {{ 1 }}"
"""A directory that is called like this."""

_INVENTORY = """
all:
  vars:
    ansible_user: hush-user
    ansible_password: hush-login
    ansible_become_password: hush-become
    database: omnidoc
  hosts:
    app1:
      ansible_host: 10.255.255.1
      ansible_connection: local
      ansible_python_interpreter: {python}
      vaulted: !vault |
{vaulted}
      holdfast_repositories:
        shelf: {{type: local, path: {directory}/repository}}
        store: {{type: s3, bucket: b, access_key: AK, secret_key: "{{{{ vaulted }}}}"}}
      holdfast_components:
        - name: db
          engine: postgresql
          database: "{{{{ database }}}}"
          login_host: db.example.com
          login_password: "{{{{ lookup('env', 'HUSH') }}}}"
          repositories: [store]
          history: {{database: history, password: !unsafe "{marked}"}}
        - name: documents
          engine: files
          path: !unsafe "{directory}/{literal}"
          repositories: [shelf]
          state_dir: {directory}/state
"""


class Resolved:
    """One ansible-core, a controller's inventory for it, and the host below a directory of the test's own.

    programs: the directory with ansible-playbook and ansible-vault.
    """

    def __init__(self, directory: Path, programs: Path) -> None:
        self.directory = directory
        self.programs = programs
        self.etc = directory / "host" / "etc" / "holdfast"
        collections = directory / "collections" / "ansible_collections" / "holdfast"
        collections.mkdir(parents=True)
        (collections / "ops").symlink_to(Path(__file__).resolve().parents[2])
        (directory / "vault-password").write_text("a password\n")
        (directory / LITERAL_NAME).mkdir()
        (directory / LITERAL_NAME / "file").write_text("content\n")
        vault = ["--vault-password-file", str(directory / "vault-password")]
        vaulted = self.run("ansible-vault", "encrypt_string", *vault, "--stdin-name", "x", stdin=VAULTED).stdout
        lines = vaulted.partition("\n")[2].splitlines()
        (directory / "inventory.yml").write_text(
            _INVENTORY.format(
                python=sys.executable,
                directory=directory,
                vaulted="\n".join(f"        {line.strip()}" for line in lines if line.strip()),
                marked=ENCRYPTED_BY_HAND,
                literal=LITERAL_NAME,
            )
        )

    def run(
        self, program: str, *arguments: str, stdin: str = "", env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run one of Ansible's programs with nothing of the developer's own settings."""
        (self.directory / "ansible.cfg").touch()
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        settings = {
            "ANSIBLE_HOME": str(self.directory / "home"),
            "ANSIBLE_CONFIG": str(self.directory / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(self.directory / "collections"),
            "ANSIBLE_NOCOLOR": "1",
            "LC_ALL": "C.UTF-8",
        }
        return subprocess.run(
            [str(self.programs / program), *arguments],
            input=stdin,
            env={**kept, **settings, **(env or {})},
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
        )

    def play(self, tasks: list[dict[str, Any]], *arguments: str, **how: Any) -> str:
        """Run tasks for all hosts; everything that was shown."""
        playbook = self.directory / "playbook.json"
        playbook.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
        done = self.run("ansible-playbook", *arguments, str(playbook), **how)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def write(self, *arguments: str) -> str:
        """Write the host's files as the role does; everything that was shown."""
        options = {"root": str(self.directory / "host"), "interpreter": sys.executable}
        return self.play(
            [{"holdfast.ops.host_config": options, "register": "done"}, {"debug": {"var": "done"}}],
            *("-i", str(self.directory / "inventory.yml"), "-vvv", "--diff", *arguments),
            *("--vault-password-file", str(self.directory / "vault-password")),
            env={"HUSH": FROM_ENVIRONMENT},
        )

    def on_the_host(self, tasks: list[dict[str, Any]]) -> str:
        """Run tasks with what was written alone; the vault, the environment and the controller's inventory are gone."""
        (self.directory / "vault-password").unlink(missing_ok=True)
        (self.directory / "inventory.yml").unlink(missing_ok=True)
        settings = {"ANSIBLE_CONFIG": str(self.etc / "ansible.cfg")}
        return self.play(tasks, "-i", str(self.etc / "inventory.yml"), env=settings)


def prove(directory: Path, programs: Path) -> None:
    """The whole of it, for one ansible-core."""
    host = Resolved(directory, programs)
    secrets = {
        "repository-store-secret_key": VAULTED,
        "component-db-login_password": FROM_ENVIRONMENT,
        "component-db-history-password": ENCRYPTED_BY_HAND,
    }

    looked = host.write("--check")
    assert not host.etc.parent.exists(), "check mode wrote"
    said = host.write()
    again = host.write()
    assert "changed=1 " in looked and "changed=1 " in said and "changed=0 " in again
    for shown in (looked, said, again):
        assert "hush" not in shown
    assert "inventory.yml: new" in said, "the diff names the files"
    assert not (directory / "TRAP").exists(), "a secret was templated"

    written = {path.name: path.read_text() for path in (host.etc / "secrets").iterdir()}
    assert written == {name: f"{secret}\n" for name, secret in secrets.items()}
    assert "hush" not in (host.etc / "inventory.yml").read_text()

    host.on_the_host(
        [
            {
                "copy": {
                    "content": "{{ {'components': holdfast_components, 'repositories': holdfast_repositories,"
                    " 'secret': lookup('file', holdfast_repositories.store.secret_key_file)} | to_json }}",
                    "dest": str(directory / "read.json"),
                    "mode": "0600",
                }
            }
        ]
    )
    read = json.loads((directory / "read.json").read_text())
    assert read["components"][0]["database"] == "omnidoc", "templated once, by the controller"
    assert read["components"][1]["path"] == f"{directory}/{LITERAL_NAME}", "and never again"
    assert read["repositories"]["shelf"]["path"] == f"{directory}/repository"
    assert read["secret"] == VAULTED

    backup = {"verb": "backup", "component": "documents"}
    host.on_the_host([{"holdfast.ops.component": backup}])
    # Had the name been templated, there would be no such directory to back up.
    assert len(list((directory / "repository").rglob("manifests/*.json"))) == 1
