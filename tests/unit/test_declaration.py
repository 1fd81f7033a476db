# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The declaration: what it resolves to, what the modules are told of it, and how components are selected."""

from __future__ import annotations

from datetime import timedelta

import pytest
import yaml
from ansible_collections.holdfast.ops.plugins.module_utils._declaration._model import Component
from ansible_collections.holdfast.ops.plugins.module_utils._declaration._parse import parse
from ansible_collections.holdfast.ops.plugins.module_utils._declaration._report import InvalidDeclaration
from ansible_collections.holdfast.ops.plugins.module_utils._errors import InvalidOption
from ansible_collections.holdfast.ops.plugins.module_utils._spec import Spec
from ansible_collections.holdfast.ops.tests.support.declaration import (
    ENGINES,
    STORES,
    example,
    parsed,
    read,
    with_keys,
)


def test_the_example_is_resolved() -> None:
    database, files = parsed().components
    assert isinstance(database, Component)
    assert [repository.name for repository in database.repositories] == ["primary", "offsite"]
    assert (database.rpo, database.rto) == (timedelta(hours=24), timedelta(minutes=30))
    assert (database.schedule, database.drill) == ("02:00", "weekly")
    assert database.options == {"database": "omnidoc", "services": ["omnidoc-backend", "omnidoc-celery"]}
    assert database.retention == {"daily": 30, "monthly": 12, "minimum_verified": 3, "verified_level": "checksum"}
    assert files.options == {"paths": ["/srv/documents"]}


def test_what_was_left_out_has_careful_defaults() -> None:
    files = parsed().components[1]
    assert files.schedule == "02:00"
    assert files.retention == {
        "daily": 7,
        "weekly": 4,
        "monthly": 12,
        "minimum_verified": 3,
        "verified_level": "checksum",
    }
    assert (files.rpo, files.rto) == (timedelta(hours=26), timedelta(hours=1))
    assert (files.verification_level, files.verification_schedule) == ("checksum", "weekly")
    assert (files.drill, files.upkeep, files.set, files.tags) == ("never", "host", None, ())


@pytest.mark.parametrize(
    ("schedule", "rpo"),
    [
        ("hourly", timedelta(hours=3)),
        ("weekly", timedelta(days=7, hours=2)),
        ("*/12h", timedelta(hours=14)),
        ("Sun 03:30", timedelta(days=7, hours=2)),
        ("0 2 * * 1-5", timedelta(days=3, hours=2)),
        ("never", None),
    ],
)
def test_the_rpo_follows_the_schedule(schedule: str, rpo: timedelta | None) -> None:
    assert with_keys(f"schedule: '{schedule}'", 1).components[1].rpo == rpo


def test_retention_without_a_keep_rule_keeps_the_default_ones() -> None:
    retention = with_keys("retention: {minimum_verified: 5, verified_level: stat}", 1).components[1].retention
    assert retention == {"daily": 7, "weekly": 4, "monthly": 12, "minimum_verified": 5, "verified_level": "stat"}


def test_keys_without_a_value_count_as_left_out() -> None:
    assert with_keys("{rto: , set: , exclude: }", 1).components[1] == parsed().components[1]


@pytest.mark.parametrize(
    "schedule",
    [
        "02:00", "2:00", "23:59", "02:00:30", "hourly", "daily", "weekly", "monthly", "quarterly", "yearly", "never",
        "*/12h", "*/5m", "*/2d", "0 2 * * *", "*/15 * * * *", "30 3 * * sun", "0 2 1,15 jan-mar 1-5", "Sun 03:30",
        "Sun", "Mon..Fri 02:00", "Mon,Thu *-*-* 04:00:00", "*-*-01 05:00", "*-*~03 05:00",
        "*-*-* *:00/15:00", "03:30 Europe/Berlin", "Sat *-*-1..7 18:00:00 UTC", "*:0/10",
    ],
)  # fmt: skip
def test_schedules(schedule: str) -> None:
    assert with_keys(f"schedule: ' {schedule} '\nrpo: 400d").components[0].schedule == schedule


def test_options_come_in_their_types_under_their_own_names() -> None:
    text = "{port: '5433', compress: 'yes', factor: 2, jobs: 4, host: db, login_password: x, tls: {mode: require}}"
    component = parsed(
        lambda document: document["components"][0].update(
            {**yaml.safe_load(text), "db": document["components"][0].pop("database")}
        )
    ).components[0]
    assert component.options == {
        "port": 5433,
        "compress": True,
        "factor": 2.0,
        "jobs": 4,
        "host": "db",
        "login_password": "x",
        "tls": {"mode": "require"},
        "database": "omnidoc",
        "services": ["omnidoc-backend", "omnidoc-celery"],
    }


def test_what_the_host_may_supply_is_not_demanded_here() -> None:
    fallback = {"type": "str", "required": True, "fallback": (print, ["BUCKET"])}
    stores = {**STORES, "s3": Spec({**STORES["s3"].options, "bucket": fallback})}
    document = example()
    del document["repositories"]["primary"]["bucket"]
    declaration = parse(
        document["components"],
        document["repositories"],
        engine_specs=ENGINES,
        repository_specs=stores,
    )
    assert "bucket" not in declaration.repositories["primary"].module_args()


def test_a_string_serves_as_a_list_as_it_does_in_ansible() -> None:
    component = with_keys("repositories: primary, offsite").components[0]
    assert [repository.name for repository in component.repositories] == ["primary", "offsite"]


def test_what_the_modules_are_called_with() -> None:
    component = with_keys(
        "{format: directory, jobs: 2, owner: app, max_age: 1d12h, set: nightly, run_as: postgres, "
        "encryption: {recipients: [age1x]}}"
    ).components[0]
    repositories = [
        {
            "name": "primary",
            "type": "s3",
            "endpoint_url": "https://s3.example.com",
            "bucket": "backups",
            "prefix": "omnidoc",
        },
        {"name": "offsite", "type": "local", "path": "/mnt/backups"},
    ]
    common = {"component": "omnidoc_db", "repositories": repositories}
    objectives = {"rpo": "1d", "rto": "30m"}
    assert component.module_args("backup") == {
        **common,
        **objectives,
        "encryption": {"recipients": ["age1x"]},
        "run_as": "postgres",
        "database": "omnidoc",
        "format": "directory",
        "jobs": 2,
        "max_age": "1d12h",
        "set": "nightly",
    }
    assert component.module_args("restore") == {
        **common,
        **objectives,
        "run_as": "postgres",
        "database": "omnidoc",
        "owner": "app",
        "services": ["omnidoc-backend", "omnidoc-celery"],
    }
    assert component.module_args("verify") == {**common, **objectives, "engine": "postgresql", "level": "checksum"}
    assert component.module_args("prune") == {
        **common,
        **objectives,
        "retention": {"daily": 30, "monthly": 12, "minimum_verified": 3, "verified_level": "checksum"},
    }
    assert component.module_args("info") == common
    with pytest.raises(ValueError, match="no module for copy"):
        component.module_args("copy")
    assert [component.module(verb) for verb in ("backup", "restore", "verify", "prune", "info")] == [
        "postgresql_backup",
        "postgresql_restore",
        "backup_verify",
        "backup_prune",
        "backup_info",
    ]


def test_without_an_rpo_the_modules_are_told_none() -> None:
    assert "rpo" not in with_keys("schedule: never", 1).components[1].module_args("backup")


def test_module_args_are_the_callers_own() -> None:
    component = parsed().components[0]
    component.module_args("backup")["repositories"][0]["bucket"] = "changed"
    component.module_args("prune")["retention"].clear()
    assert component.module_args("backup")["repositories"][0]["bucket"] == "backups"
    assert component.module_args("prune")["retention"]


class Tagged(str):
    """Stands for the string types that Ansible marks untrusted values with."""


def test_marked_strings_pass_and_stay_marked() -> None:
    document = example()
    document["components"][0] = {
        Tagged(key): Tagged(value) if isinstance(value, str) else value
        for key, value in document["components"][0].items()
    }
    component = read(document["components"], document["repositories"]).components[0]
    assert component.module_args("backup")["database"].__class__ is Tagged


def test_a_declaration_is_shown_without_secrets() -> None:
    declaration = parsed(lambda document: document["repositories"]["primary"].update(secret_key="hunter2!"))
    assert declaration.repositories["primary"].module_args()["secret_key"] == "hunter2!"
    assert "hunter2!" not in repr(declaration)


# Selection.


def selected(**wanted: str) -> list[str]:
    document = example()
    document["components"][0].update(set="nightly", tags=["gold", "eu"])
    document["components"][1].update(set="weekly", tags=["eu"])
    declaration = read(document["components"], document["repositories"])
    return [component.name for component in declaration.select(**wanted)]


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ({}, ["omnidoc_db", "omnidoc_files"]),
        ({"component": "omnidoc_files"}, ["omnidoc_files"]),
        ({"component": "omnidoc_files, omnidoc_db"}, ["omnidoc_db", "omnidoc_files"]),
        ({"set_name": "nightly"}, ["omnidoc_db"]),
        ({"tag": "eu"}, ["omnidoc_db", "omnidoc_files"]),
        ({"tag": "eu", "set_name": "weekly"}, ["omnidoc_files"]),
    ],
)
def test_selection(wanted: dict[str, str], names: list[str]) -> None:
    assert selected(**wanted) == names


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"component": "omnidoc-db"}, "No such component is declared, did you mean omnidoc_db?"),
        ({"component": "x"}, "No such component is declared; declared: omnidoc_db, omnidoc_files"),
        ({"component": "omnidoc_db,x"}, "No such component is declared; declared: omnidoc_db, omnidoc_files"),
        ({"set_name": "nightli"}, "No such set is declared, did you mean nightly?"),
        ({"tag": "golt"}, "No such tag is declared, did you mean gold?"),
        ({"component": "omnidoc_db", "set_name": "weekly"}, "No component fits everything that was asked for."),
    ],
)
def test_a_selection_that_fits_nothing_is_refused(wanted: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidOption) as refused:
        selected(**wanted)
    assert refused.value.message == message


def test_an_option_spelled_like_a_key_of_every_component_is_a_defect_of_its_engine() -> None:
    with pytest.raises(ValueError, match="options of engine odd"):
        parse([], {}, engine_specs={"odd": {"restore": Spec({"tags": {}})}}, repository_specs={})


def test_every_engine_and_store_of_the_collection_can_be_declared() -> None:
    """No option of theirs is spelled like a key of the declaration or is of a kind that cannot be checked here."""
    from ansible_collections.holdfast.ops.plugins.module_utils import _arguments as arguments
    from ansible_collections.holdfast.ops.plugins.module_utils._declaration import _spec as checker
    from ansible_collections.holdfast.ops.plugins.module_utils._engines._registry import ENGINES
    from ansible_collections.holdfast.ops.plugins.module_utils._repositories._registry import REPOSITORIES

    engine_specs = {
        name: {"backup": arguments.backup_spec(engine), "restore": arguments.restore_spec(engine)}
        for name, engine in ENGINES.items()
    }
    repository_specs = {kind: Spec(store.OPTIONS) for kind, store in REPOSITORIES.items()}
    assert engine_specs
    assert repository_specs
    with pytest.raises(InvalidDeclaration, match="declare at least one component"):
        parse([], {}, engine_specs=engine_specs, repository_specs=repository_specs)
    specs = [*repository_specs.values(), *(spec for verbs in engine_specs.values() for spec in verbs.values())]
    while specs:
        for option in specs.pop().options.values():
            kind = option.get("type", "str")
            assert (option.get("elements", "raw") if kind == "list" else kind) in checker.KINDS
            if option.get("options"):
                specs.append(Spec.below(option))
