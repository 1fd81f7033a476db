# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role `agent` on this machine, below a directory of the test's own: the life of a host that looks after itself.

That the libraries come out of a wheelhouse is proved for the role `runtime`, and by Molecule on real hosts. Here the
environment has them already, so that no minute is spent on installing what is not looked at.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.tests.support.playbook import PlaybookRun, run_playbook

pytestmark = [pytest.mark.ansible, pytest.mark.xdist_group("agent")]

TOP = Path(__file__).resolve().parents[2]
SECRET = "hush-0123"


class Host:
    """A host that is a directory, and the controller that sets it up."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.root = directory / "host"
        self.data = directory / "data"
        self.data.mkdir()
        (self.data / "file").write_text("precious\n")
        self._make_environment(self.root / "opt/holdfast/venv")
        # Copies, so that no two runs of a test pack different things because somebody edits the checkout meanwhile.
        self.collections = {name: copy_collection(directory / name, name) for name in ("1", "99")}

    @staticmethod
    def _make_environment(venv: Path) -> None:
        subprocess.run([os.path.realpath(sys.executable), "-m", "venv", venv], check=True)
        site = next(venv.glob("lib/python*/site-packages"))
        (site / "tests.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
        program = venv / "bin/ansible-playbook"
        program.write_text(f"#!{venv}/bin/python\nfrom ansible.cli.playbook import main\nmain()\n")
        program.chmod(0o755)

    @property
    def variables(self) -> dict[str, Any]:
        """What is declared of it."""
        return {
            "holdfast_root": str(self.root),
            "holdfast_python": os.path.realpath(sys.executable),
            "holdfast_clients": False,
            "holdfast_repositories": {
                "shelf": {"type": "local", "path": str(self.directory / "repository")},
                "store": {"type": "s3", "bucket": "b", "access_key": "AK", "secret_key": SECRET},
            },
            "holdfast_components": [
                {
                    "name": "documents",
                    "engine": "files",
                    "path": str(self.data),
                    "repositories": ["shelf"],
                    "state_dir": str(self.root / "var/lib/holdfast"),
                }
            ],
        }

    def apply(self, *arguments: str, release: str = "1", **variables: Any) -> PlaybookRun:
        """Run the role from a controller that has one of the two releases."""
        play = {"hosts": "localhost", "gather_facts": False, "roles": ["holdfast.ops.agent"]}
        return run_playbook(
            [play],
            self.directory,
            *arguments,
            extra_vars={**self.variables, **variables},
            env={"ANSIBLE_COLLECTIONS_PATH": str(self.collections[release])},
        )

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the host's own command, as somebody who logs in there does."""
        return subprocess.run(
            [self.root / "usr/local/bin/holdfast", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd="/",
            check=False,
        )

    @property
    def release(self) -> Path:
        return Path(os.path.realpath(self.root / "opt/holdfast/current"))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def entries(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()} if directory.exists() else set()


def copy_collection(directory: Path, version: str) -> Path:
    """A release of the collection for the controller to run: the value of ANSIBLE_COLLECTIONS_PATH."""
    copy = directory / "ansible_collections/holdfast/ops"
    for name in ("meta", "playbooks", "plugins", "roles"):
        shutil.copytree(TOP / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    text = (TOP / "galaxy.yml").read_text()
    (copy / "galaxy.yml").write_text(text.replace("version: ", f"version: {version}.", 1))
    return directory


def test_the_life_of_a_host(host: Host) -> None:
    looked = host.apply("--check", "--diff", "-vvv").succeeded()
    assert looked.counts["changed"] > 0
    assert entries(host.root) == {"opt"} and entries(host.root / "opt/holdfast") == {"venv"}, "check mode wrote"

    done = host.apply("--diff", "-vvv").succeeded()
    for shown in (looked, done):
        assert "hush-0123" not in shown.output
    assert_private(host.root / "etc/holdfast")
    assert (host.root / "etc/holdfast/secrets/repository-store-secret_key").read_text() == f"{SECRET}\n"
    assert stat.S_IMODE((host.root / "var/lib/holdfast").stat().st_mode) == 0o711
    assert stat.S_IMODE((host.root / "var/log/holdfast").stat().st_mode) == 0o750

    assert host.apply().succeeded().counts["changed"] == 0

    bring_back_without_a_control_node(host)

    # An upgrade: beside, switched, the one before kept, and the command is the new one's.
    before = host.release
    host.apply(release="99").succeeded()
    assert host.release.name.startswith("99.")
    assert entries(host.root / "opt/holdfast/collections") == {before.name, host.release.name}
    assert "documents has 1 backup" in host.command("list").stdout

    remove(host)


def assert_private(directory: Path) -> None:
    for path in (directory, *directory.rglob("*")):
        wanted = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path


def bring_back_without_a_control_node(host: Host) -> None:
    """Everything of the controller is gone; the host has its inventory and the repository."""
    for name in ("inventory.json", "extra-vars.json", "ansible-home"):
        path = host.directory / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    made = host.command("backup")
    assert made.returncode == 0, made.stdout + made.stderr
    assert "documents: " in made.stdout and "is committed in shelf" in made.stdout
    assert "TASK" not in made.stdout, "a person reads this"
    listed = host.command("list", "documents")
    assert "documents has 1 backup" in listed.stdout

    (host.data / "file").write_text("spoilt\n")
    refused = host.command("restore", "documents")
    assert refused.returncode != 0
    assert "is live and would be replaced" in refused.stdout + refused.stderr
    assert (host.data / "file").read_text() == "spoilt\n"
    restored = host.command("restore", "documents", "--confirm", str(host.data))
    assert restored.returncode == 0, restored.stdout + restored.stderr
    assert (host.data / "file").read_text() == "precious\n"


def remove(host: Host) -> None:
    """`state: absent` takes everything but what could be missed."""
    unit = host.root / "etc/cron.d/holdfast"
    unit.parent.mkdir(parents=True)
    unit.write_text("# a job\n")
    refused = host.apply(agent_state="absent").failed()
    assert "holdfast would fail from now on" in refused.output
    assert host.command("--help").returncode == 0, "still there"
    unit.unlink()

    credentials = host.root / "etc/holdfast/credentials"
    credentials.write_text("the user's")
    (host.root / "var/log/holdfast/jobs.jsonl").write_text("{}\n")
    assert host.apply("--check", agent_state="absent").succeeded().counts["changed"] > 0
    assert host.command("--help").returncode == 0, "check mode removed"
    host.apply(agent_state="absent").succeeded()
    assert entries(host.root / "opt") == set()
    assert entries(host.root / "etc/holdfast") == {"credentials"}
    assert entries(host.root / "usr/local/bin") == set()
    assert (host.root / "var/log/holdfast/jobs.jsonl").exists()
    assert list((host.directory / "repository").rglob("manifests/*.json")), "backups stay"
    assert "ansible" not in entries(host.root / "var/lib/holdfast")
    again = host.apply(agent_state="absent", agent_remove_logs=True).succeeded()
    assert again.counts["changed"] == 1, "nothing but the logs was left to remove"
    assert not (host.root / "var/log/holdfast").exists()


def test_a_wrong_declaration_touches_nothing(host: Host) -> None:
    variables = {"holdfast_components": [{"name": "db", "engine": "postgre", "repositories": ["shelf"]}]}
    failed = host.apply(**variables).failed()
    assert "did you mean postgresql?" in failed.output
    assert entries(host.root) == {"opt"} and entries(host.root / "opt/holdfast") == {"venv"}


def test_the_clients_of_a_server_elsewhere_are_those_of_its_version(host: Host) -> None:
    """Looked at only: what would be installed. That packages can be is for Molecule to show."""
    far = {
        "name": "far",
        "engine": "postgresql",
        "database": "x",
        "login_host": "db.invalid",
        "repositories": ["shelf"],
    }
    wanted = {"holdfast_clients": True, "holdfast_postgresql_version": "99", "holdfast_components": [far]}
    looked = host.apply("--check", **wanted).succeeded()
    assert "The package postgresql-client-99 would be installed." in looked.output
    inside = {**wanted, "holdfast_components": [{**far, "login_host": None, "container": {"name": "db"}}]}
    assert "postgresql-client" not in host.apply("--check", **inside).succeeded().output


def test_an_interpreter_that_cannot_run_ansible_is_refused(host: Host, tmp_path: Path) -> None:
    old = tmp_path / "python3.9"
    old.write_text("#!/bin/sh\necho 3.9\n")
    old.chmod(0o755)
    failed = host.apply(holdfast_python=str(old)).failed()
    assert "is Python 3.9" in failed.output
    assert "needs 3.10 or newer" in " ".join(failed.output.split())
    assert entries(host.root / "opt/holdfast") == {"venv"}


def test_the_playbook_leaves_a_host_alone_that_has_nothing_to_do(tmp_path: Path) -> None:
    """Repositories and channels often stand for all hosts of an inventory."""
    variables = {"holdfast_repositories": {"shelf": {"type": "local", "path": "/mnt"}}, "holdfast_root": str(tmp_path)}
    before = entries(tmp_path)
    done = run_playbook("holdfast.ops.site", tmp_path, hosts={"bastion": variables}).succeeded()
    assert "changed=0" in done.output
    assert entries(tmp_path) - before <= {"ansible-home", "inventory.json", "extra-vars.json"}
    assert json.loads((tmp_path / "inventory.json").read_text())["all"]["hosts"].keys() == {"bastion"}
