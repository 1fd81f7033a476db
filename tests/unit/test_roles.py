# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every role has in common: specification and defaults say the same, and nothing is left undescribed or unused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.holdfast.ops.plugins.module_utils._upkeep._cleanups import CLEANUP
from jinja2 import StrictUndefined
from jinja2.nativetypes import NativeEnvironment

TOP = Path(__file__).parents[2]
ROLES = sorted(path.parent.parent for path in TOP.glob("roles/*/meta/argument_specs.yml"))


def load(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def load_list(path: Path) -> list[dict[str, Any]]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def rendered(value: Any) -> Any:
    """A default as it is when the user has set no `holdfast_` variable."""
    if isinstance(value, str) and "{{" in value:
        return NativeEnvironment(undefined=StrictUndefined).from_string(value).render()
    return value


def test_every_role_has_a_specification() -> None:
    assert ROLES
    assert {role.name for role in ROLES} == {path.name for path in (TOP / "roles").iterdir() if path.is_dir()}


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_defaults_are_those_of_the_specification(role: Path) -> None:
    options = load(role / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"]
    specified = {name: option["default"] for name, option in options.items() if "default" in option}
    defaults = {name: rendered(value) for name, value in load(role / "defaults" / "main.yml").items()}
    assert defaults == specified


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_an_option_is_required_or_has_a_default_and_carries_the_roles_name(role: Path) -> None:
    options = load(role / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"]
    for name, option in options.items():
        assert name.startswith(f"{role.name}_"), name
        assert option.get("required", False) != ("default" in option), name
        assert option["description"], name


def options_of(role: Path) -> dict[str, dict[str, Any]]:
    return load(role / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"]


def code_of(role: Path) -> str:
    """Everything that a role does with its variables; tags are called after roles too and are no variables."""
    files = [path for name in ("tasks", "templates", "vars", "handlers") for path in (role / name).rglob("*.*")]
    return re.sub(
        r"^.*tags: .*$", "", "\n".join(path.read_text(encoding="utf-8") for path in files), flags=re.MULTILINE
    )


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_variable_that_a_role_uses_is_described_and_the_other_way_round(role: Path) -> None:
    used = set(re.findall(rf"(?<![\w.-]){role.name}_\w+(?!\w*[:.])", code_of(role)))
    assert used == set(options_of(role))


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_a_description_names_the_variable_of_the_inventory_that_is_read(role: Path) -> None:
    for name, default in load(role / "defaults" / "main.yml").items():
        reads = re.findall(r"\bholdfast_\w+", str(default))
        description = options_of(role)[name]["description"]
        text = " ".join([description] if isinstance(description, str) else description)
        said = re.findall(r"\bReads C\((holdfast_\w+)\)", text)
        assert said == reads[:1], name


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_a_role_can_be_taken_away_again(role: Path) -> None:
    assert options_of(role)[f"{role.name}_state"]["choices"] == ["present", "absent"]
    tasks = "".join(path.read_text(encoding="utf-8") for path in (role / "tasks").glob("*.yml"))
    assert "state: absent" in tasks
    assert f"{role.name}_state" in tasks


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_a_role_says_what_it_is(role: Path) -> None:
    readme = (role / "README.md").read_text(encoding="utf-8")
    assert readme.startswith(f"# holdfast.ops.{role.name}\n")
    assert "meta/argument_specs.yml" in readme
    galaxy = load(role / "meta" / "main.yml")["galaxy_info"]
    first = load(ROLES[0] / "meta" / "main.yml")["galaxy_info"]
    for key in ("author", "license", "min_ansible_version", "platforms"):
        assert galaxy[key] == first[key], key
    assert len(galaxy["description"]) > 20


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_each_phase_can_be_run_by_its_tag(role: Path) -> None:
    for task in load_list(role / "tasks" / "main.yml"):
        assert task["tags"], task["name"]
        assert all(tag.startswith(f"{role.name}_") for tag in task["tags"]), task["name"]


def test_the_playbook_site_has_every_role() -> None:
    site = (TOP / "playbooks" / "site.yml").read_text(encoding="utf-8")
    # The role agent brings runtime with it.
    assert set(re.findall(r"name: holdfast\.ops\.(\w+)$", site, re.MULTILINE)) == {
        role.name for role in ROLES if role.name != "runtime"
    }
    removed = re.findall(r"loop: \[(.+)\]$", site, re.MULTILINE)[0].split(", ")
    assert sorted(removed) == sorted(role.name for role in ROLES if role.name != "runtime")


def test_the_runtime_role_installs_what_requirements_txt_names() -> None:
    lines = (TOP / "requirements.txt").read_text(encoding="utf-8").splitlines()
    wanted = {line.split("#")[0].strip() for line in lines} - {""}
    libraries = load(TOP / "roles" / "runtime" / "vars" / "main.yml")["_runtime_libraries"]
    assert {library["requirement"] for library in libraries} == wanted
    specification = load(TOP / "roles" / "runtime" / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"]
    features = {library["feature"] for library in libraries} - {"always"}
    assert set(specification["runtime_features"]["choices"]) == features


def test_the_role_logrotate_passes_on_every_option_of_a_cleanup() -> None:
    tasks = load_list(TOP / "roles" / "logrotate" / "tasks" / "configure.yml")
    (shown,) = [task["holdfast.ops.directory_cleanup"] for task in tasks if "holdfast.ops.directory_cleanup" in task]
    assert set(shown) == set(CLEANUP.options)
