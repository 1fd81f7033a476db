# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the action plugin calls a module with: always what that module takes."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._arguments import (
    backup_spec,
    copy_spec,
    info_spec,
    prune_spec,
    restore_spec,
    verify_spec,
)
from ansible_collections.holdfast.ops.plugins.module_utils._declaration._model import Component
from ansible_collections.holdfast.ops.plugins.module_utils._engines._registry import ENGINES
from ansible_collections.holdfast.ops.plugins.module_utils._errors import InvalidOption
from ansible_collections.holdfast.ops.plugins.plugin_utils._declared import (
    arguments,
    read_declaration,
    with_named_repositories,
)

COMMON: dict[str, Any] = {
    "repositories": ["primary"],
    "set": "app",
    "retention": {"daily": 7},
    "services": ["app"],
    "max_age": "1h",
    "encryption": {"method": "age", "recipients": ["age1x"]},
    "identity": {"age_file": "/root/identity"},
    "state_dir": "/var/lib/holdfast",
    "textfile_dir": "/var/lib/metrics",
    "verification": {"level": "restore"},
}
COMPONENTS = [
    {"name": "db", "engine": "postgresql", "database": "app", "login_password": "hunter2!", **COMMON},
    {"name": "documents", "engine": "files", "path": "/srv/app", **COMMON},
]
REPOSITORIES = {"primary": {"type": "s3", "bucket": "backups", "prefix": "app", "secret_key": "hunter3!"}}


def components() -> tuple[Component, ...]:
    return read_declaration(COMPONENTS, REPOSITORIES).components


@pytest.mark.parametrize("component", components(), ids=lambda component: component.name)
@pytest.mark.parametrize("verb", ["backup", "restore", "verify", "prune", "copy", "info"])
def test_every_module_takes_what_it_is_called_with(component: Component, verb: str) -> None:
    engine = ENGINES[component.engine]
    own = {
        "backup": backup_spec(engine),
        "restore": restore_spec(engine),
        "verify": verify_spec(),
        "prune": prune_spec(),
        "copy": copy_spec(),
        "info": info_spec(),
    }[verb]
    args = arguments(component, verb, {"destination": "elsewhere"} if verb == "copy" else {})
    assert args.keys() <= own.options.keys()
    assert {name for name, option in own.options.items() if option.get("required")} <= args.keys()
    assert args["repositories"] == [{"name": "primary", **REPOSITORIES["primary"]}]


def test_what_a_run_says_stands_above_what_was_declared() -> None:
    database, _documents = components()
    assert arguments(database, "verify", {})["level"] == "restore"
    assert arguments(database, "verify", {"level": "stat"})["level"] == "stat"
    assert arguments(database, "verify", {})["postgresql"]["database"] == "app"
    assert "database" not in arguments(database, "verify", {})
    assert "set" not in arguments(database, "info", {})  # there it would hide the backups of no set
    assert arguments(database, "info", {"set": "app@20261122T020000Z"})["set"] == "app@20261122T020000Z"
    assert arguments(database, "backup", {"set": "app@20261122T020000Z"})["set"] == "app@20261122T020000Z"


@pytest.mark.parametrize("name", ["component", "repositories", "progress_file"])
def test_a_run_cannot_say_what_follows_from_the_component(name: str) -> None:
    with pytest.raises(InvalidOption):
        arguments(components()[0], "backup", {name: "x"})


def test_an_unknown_option_is_refused_and_only_repeated_when_it_is_nearly_one() -> None:
    with pytest.raises(InvalidOption, match="postgresql_restore has no option conferm, did you mean confirm"):
        arguments(components()[0], "restore", {"conferm": "app"})
    with pytest.raises(InvalidOption) as refused:
        arguments(components()[0], "restore", {"correct horse battery": "app"})
    assert "horse" not in str(refused.value)
    assert "target_database" in str(refused.value)


@pytest.mark.parametrize(("kind", "missing"), [("local", "path"), ("s3", "bucket")])
def test_what_a_store_cannot_do_without_is_asked_for_before_anything_is_contacted(kind: str, missing: str) -> None:
    with pytest.raises(InvalidOption) as refused:
        read_declaration(COMPONENTS, {"primary": {"type": kind}})
    assert f"repository primary: {missing}: is required" in str(refused.value)


def test_a_copy_can_name_any_declared_repository() -> None:
    elsewhere = {"type": "local", "path": "/srv/backups"}
    declaration = read_declaration(COMPONENTS, {**REPOSITORIES, "elsewhere": elsewhere})
    (database, _documents) = declaration.components
    args = with_named_repositories(arguments(database, "copy", {"destination": "elsewhere"}), declaration)
    assert [each["name"] for each in args["repositories"]] == ["primary", "elsewhere"]
    assert args["repositories"][1] == {"name": "elsewhere", **elsewhere}
    args = with_named_repositories(arguments(database, "copy", {"destination": "primary"}), declaration)
    assert [each["name"] for each in args["repositories"]] == ["primary"]
    with pytest.raises(InvalidOption, match="destination: no such repository is declared, did you mean elsewhere"):
        with_named_repositories(arguments(database, "copy", {"destination": "elsewere"}), declaration)


def test_a_destination_is_for_one_run_to_say() -> None:
    with pytest.raises(InvalidOption, match="destination: unknown key; it is said for one run and not declared"):
        read_declaration([{**COMPONENTS[0], "destination": "primary"}], REPOSITORIES)
