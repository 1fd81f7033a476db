# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The worked example in inventories/omnidoc is right, as ansible-core and our own parsers read it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.plugin_utils._host import Declared, read_host
from ansible_collections.holdfast.ops.tests.support.playbook import run_playbook

pytestmark = [pytest.mark.ansible, pytest.mark.xdist_group("omnidoc")]

CHECKOUT = Path(__file__).parents[2]
INVENTORY = CHECKOUT / "inventories" / "omnidoc"
HOSTS = ("db1", "app1")


@pytest.fixture(scope="module")
def passphrase(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The passphrase of the example, as its README tells it."""
    told = re.search(r"its passphrase: `([^`]+)`", (INVENTORY / "README.md").read_text(encoding="utf-8"))
    assert told
    path = tmp_path_factory.mktemp("vault") / "passphrase"
    path.write_text(f"{told[1]}\n")
    return path


@pytest.fixture(scope="module")
def variables(passphrase: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The variables of each host, templated, as a play of ansible-core has them."""
    directory = tmp_path_factory.mktemp("omnidoc")
    names = ["components", "repositories", "notifications", "health_checks", "health_timers", "health_listen"]
    names += ["logs", "cleanups", "scheduler", "time_zone", "maintenance", "maintenance_schedules", "maintenance_tell"]
    names += ["exporters"]
    values = ", ".join(f"'holdfast_{name}': holdfast_{name} | default(none)" for name in names)
    play = {
        "hosts": "all",
        "gather_facts": False,
        "tasks": [
            {
                "ansible.builtin.copy": {
                    "content": "{{ {" + values + "} | to_json }}",
                    "dest": f"{directory}/{{{{ inventory_hostname }}}}.json",
                    "mode": "0600",
                },
                "delegate_to": "localhost",
            }
        ],
    }
    vault = ("--vault-password-file", str(passphrase))
    run_playbook([play], directory, "-i", str(INVENTORY), *vault, "--limit", ",".join(HOSTS)).succeeded()
    return {host: json.loads((directory / f"{host}.json").read_text()) for host in HOSTS}


@pytest.fixture(scope="module")
def declared(variables: dict[str, dict[str, Any]]) -> dict[str, Declared]:
    return {host: read_host(values) for host, values in variables.items()}


def test_the_secrets_are_encrypted_and_the_passphrase_opens_them(passphrase: Path, tmp_path: Path) -> None:
    vault = INVENTORY / "group_vars" / "all" / "vault"
    assert vault.read_text().startswith("$ANSIBLE_VAULT;1.1;AES256\n")
    command = [Path(sys.executable).with_name("ansible-vault"), "view", "--vault-password-file", passphrase, vault]
    environment = {**os.environ, "ANSIBLE_HOME": str(tmp_path)}
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    defined = set(re.findall(r"^(vault_\w+):", shown, re.MULTILINE))
    texts = "".join(path.read_text() for path in INVENTORY.rglob("*.yml"))
    assert defined == set(re.findall(r"\b(vault_\w+)", texts))
    for value in re.findall(r"^vault_\w+: (.+)$", shown, re.MULTILINE):
        assert value not in texts


def test_the_passphrase_is_needed(tmp_path: Path) -> None:
    play = {"hosts": "all", "gather_facts": False, "tasks": [{"holdfast.ops.host_config": {"state": "checked"}}]}
    assert "vault secrets" in run_playbook([play], tmp_path, "-i", str(INVENTORY)).failed().output


def test_every_host_is_accepted_before_any_is_contacted(passphrase: Path, tmp_path: Path) -> None:
    play = {"hosts": "all", "gather_facts": False, "tasks": [{"holdfast.ops.host_config": {"state": "checked"}}]}
    vault = ("--vault-password-file", str(passphrase))
    # db1.example.com and app1.example.com do not exist: whoever contacted them would fail.
    run_playbook([play], tmp_path, "-i", str(INVENTORY), *vault, "--limit", ",".join(HOSTS)).succeeded()


def test_what_omnidoc_asks_for_is_declared(declared: dict[str, Declared]) -> None:
    components = {
        one.name: one for each in declared.values() if each.declaration for one in each.declaration.components
    }
    assert components["omnidoc_db"].retention["daily"] == 30
    assert components["omnidoc_documents"].retention["daily"] == 7
    assert {one.engine for one in components.values()} == {"postgresql", "redis", "files"}
    assert all(len(one.repositories) == 2 for one in components.values() if one.set == "omnidoc")
    assert components["omnidoc_db"].drill != "never"

    kinds = {check.kind for each in declared.values() for check in each.checks}
    assert kinds >= {"http", "celery", "pm2", "nginx", "postgresql", "redis", "systemd", "disk", "backup"}
    assert {channel.type for channel in declared["app1"].notifications} == {"email", "slack", "heartbeat"}


def test_each_check_of_the_age_of_backups_names_a_component_of_its_host(declared: dict[str, Declared]) -> None:
    for each in declared.values():
        assert each.declaration
        names = {one.name for one in each.declaration.components}
        assert {check.options["component"] for check in each.checks if check.kind == "backup"} <= names


def test_logs_are_kept_as_omnidoc_wants(variables: dict[str, dict[str, Any]]) -> None:
    logs = {log["name"]: log for log in variables["app1"]["holdfast_logs"]}
    assert (logs["omnidoc"]["keep"], logs["omnidoc"]["compress_after"]) == ("30d", "7d")
    assert logs["nginx"]["replaces"] == ["nginx"]


def test_maintenance_does_what_the_guide_asked_of_people(declared: dict[str, Declared]) -> None:
    tasks = {host: {task.name: task for task in each.maintenance.tasks} for host, each in declared.items()}
    every = {name: task.every for each in tasks.values() for name, task in each.items()}
    assert every.items() >= {"database": "daily", "redis": "daily", "analyze": "weekly", "packages": "monthly"}.items()
    old = tasks["db1"]["old_projects"]
    assert (old.every, old.backup, old.options["older_than"]) == ("monthly", ("omnidoc_db",), "90d")
    # What ends sessions, empties caches or installs something is never done by a clock.
    assert {every[name] for name in ("stuck", "cache", "update")} == {"never"}
    assert tasks["app1"]["cache"].options["patterns"] == ["cache:*"]
    assert all(set(each.maintenance.due) == {"daily", "weekly", "monthly"} for each in declared.values())


def test_what_the_readme_says_of_the_guide_is_declared(declared: dict[str, Declared]) -> None:
    told = (INVENTORY / "README.md").read_text(encoding="utf-8").split("## From the guide to here")[1]
    rows = told.split("\n\n")[2]
    tasks = {task.name: task.kind for each in declared.values() for task in each.maintenance.tasks}
    named = dict(re.findall(r"`(\w+)`\*? \(`(\w+)`\)", rows))
    assert named.items() <= tasks.items()
    assert set(tasks) - set(named) <= {"logs_of_the_week"}


def test_exporters_that_others_reach_are_protected(variables: dict[str, dict[str, Any]]) -> None:
    for values in variables.values():
        assert values["holdfast_exporters"]
        for exporter in values["holdfast_exporters"]:
            if exporter["listen"].startswith("127.0.0.1:"):
                continue
            assert exporter["tls"] != "none"
            assert exporter["basic_auth"]
