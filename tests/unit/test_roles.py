# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every role's argument specification says the same as its defaults, keys and values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import StrictUndefined
from jinja2.nativetypes import NativeEnvironment

TOP = Path(__file__).parents[2]
ROLES = sorted(path.parent.parent for path in TOP.glob("roles/*/meta/argument_specs.yml"))


def load(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


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


def test_the_runtime_role_installs_what_requirements_txt_names() -> None:
    lines = (TOP / "requirements.txt").read_text(encoding="utf-8").splitlines()
    wanted = {line.split("#")[0].strip() for line in lines} - {""}
    libraries = load(TOP / "roles" / "runtime" / "vars" / "main.yml")["_runtime_libraries"]
    assert {library["requirement"] for library in libraries} == wanted
    specification = load(TOP / "roles" / "runtime" / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"]
    features = {library["feature"] for library in libraries} - {"always"}
    assert set(specification["runtime_features"]["choices"]) == features
