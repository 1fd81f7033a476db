# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The declaration: every message, the resolved result, and that no value ever shows in a message."""

from __future__ import annotations

import copy
import datetime
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import yaml
from ansible_collections.holdfast.ops.plugins.module_utils._declaration import (
    Component,
    Declaration,
    InvalidDeclaration,
    parse,
)
from ansible_collections.holdfast.ops.plugins.module_utils._errors import InvalidOption
from ansible_collections.holdfast.ops.plugins.module_utils._spec import Spec
from hypothesis import given
from hypothesis import strategies as st

COMMON: dict[str, Any] = {
    "component": {"type": "str", "required": True},
    "repositories": {"type": "list", "elements": "dict", "required": True},
    "rpo": {"type": "str"},
    "rto": {"type": "str"},
    "lock_wait": {"type": "str", "default": "0s"},
}
BACKUP: dict[str, Any] = {
    "max_age": {"type": "str"},
    "set": {"type": "str"},
    "encryption": {
        "type": "dict",
        "options": {
            "method": {"type": "str", "choices": ["age", "gpg", "none"], "default": "age"},
            "recipients": {"type": "list", "elements": "str"},
            "passphrase_file": {"type": "path"},
        },
        "required_if": [["method", "age", ["recipients"]], ["method", "gpg", ["recipients", "passphrase_file"], True]],
    },
}
RESTORE: dict[str, Any] = {
    "backup_id": {"type": "str", "default": "latest"},
    "confirm": {"type": "str"},
    "services": {"type": "list", "elements": "str", "default": []},
}
OTHERS = {
    "verify": Spec({**COMMON, "engine": {"type": "str", "required": True}, "level": {"type": "str"}}),
    "prune": Spec({**COMMON, "retention": {"type": "dict", "required": True}}),
    "info": Spec({"component": {"type": "str"}, "repositories": {"type": "list", "elements": "dict"}}),
}
POSTGRESQL: dict[str, Any] = {
    "database": {"type": "str", "aliases": ["db"]},
    "databases": {"type": "list", "elements": "str"},
    "host": {"type": "str"},
    "port": {"type": "int", "default": 5432},
    "login_password": {"type": "str", "no_log": True},
    "password_file": {"type": "path"},
    "run_as": {"type": "str"},
    "tls": {"type": "dict", "options": {"mode": {"type": "str", "choices": ["require", "disable"]}}},
}
FILES: dict[str, Any] = {"paths": {"type": "list", "elements": "path", "required": True}}
ENGINES = {
    "postgresql": {
        "backup": Spec(
            {
                **COMMON,
                **BACKUP,
                **POSTGRESQL,
                "format": {"type": "str", "choices": ["custom", "directory"], "default": "custom"},
                "jobs": {"type": "int"},
                "compress": {"type": "bool"},
                "factor": {"type": "float"},
            },
            mutually_exclusive=[["database", "databases"]],
            required_one_of=[["database", "databases"]],
            required_together=[["host", "login_password"]],
            required_by={"password_file": ["host"]},
            required_if=[["format", "directory", ["jobs"]]],
        ),
        "restore": Spec({**COMMON, **RESTORE, **POSTGRESQL, "owner": {"type": "str", "required": True}}),
        **OTHERS,
    },
    "files": {
        "backup": Spec(
            {
                **COMMON,
                **BACKUP,
                **FILES,
                "exclude": {"type": "list", "elements": "str", "default": []},
                "rehash": {"type": "bool"},
            }
        ),
        "restore": Spec({**COMMON, **RESTORE, **FILES}),
        **OTHERS,
    },
}
STORES = {
    "s3": Spec(
        {
            "name": {"type": "str", "required": True},
            "type": {"type": "str"},
            "bucket": {"type": "str", "required": True},
            "prefix": {"type": "str"},
            "endpoint_url": {"type": "str"},
            "secret_key": {"type": "str", "no_log": True},
            "part_size": {"type": "bytes"},
        }
    ),
    "local": Spec({"path": {"type": "path", "required": True}, "prefix": {"type": "str"}}),
}
EXAMPLE = """
repositories:
  primary: {type: s3, endpoint_url: "https://s3.example.com", bucket: backups, prefix: omnidoc}
  offsite: {type: local, path: /mnt/backups}
components:
  - name: omnidoc_db
    engine: postgresql
    database: omnidoc
    repositories: [primary, offsite]
    schedule: "02:00"
    retention: {daily: 30, monthly: 12}
    rpo: 24h
    rto: 30m
    services: [omnidoc-backend, omnidoc-celery]
    drill: weekly
  - name: omnidoc_files
    engine: files
    paths: [/srv/documents]
    repositories: [primary]
"""


def read(components: Any, repositories: Any) -> Declaration:
    return parse(components, repositories, engine_specs=ENGINES, repository_specs=STORES)


def example() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(EXAMPLE)
    return document


def parsed(change: Callable[[dict[str, Any]], object] = lambda document: None) -> Declaration:
    document = example()
    change(document)
    return read(document["components"], document["repositories"])


def with_keys(text: str, component: int = 0) -> Declaration:
    """The example with further keys, written as YAML, in one component."""
    return parsed(lambda document: document["components"][component].update(yaml.safe_load(text)))


def problems(refused: pytest.ExceptionInfo[InvalidDeclaration]) -> list[str]:
    return list(refused.value.problems)


# What is right.


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
    assert (files.drill, files.set, files.tags) == ("never", None, ())


@pytest.mark.parametrize(
    ("schedule", "rpo"),
    [
        ("hourly", timedelta(hours=3)),
        ("weekly", timedelta(days=7, hours=2)),
        ("*/12h", timedelta(hours=14)),
        ("Sun 03:30", timedelta(hours=26)),
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
        "Sun", "Mon..Fri 02:00", "Mon,Thu *-*-* 04:00:00", "*-*-01 05:00", "*-*~03 05:00", "2026-12-24 18:00",
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
    assert type(component.module_args("backup")["database"]) is Tagged


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


# What is wrong, message by message. A component's keys first.

DB, PATTERN = "component omnidoc_db: ", "[A-Za-z0-9_][A-Za-z0-9._-]{0,62}"
NO_SCHEDULE = (
    'is not a schedule; write a time of day such as "02:00", one of hourly, daily, weekly, monthly, quarterly, yearly '
    "or never, an interval such as */12h, a systemd calendar such as Sun 03:30, or five cron fields"
)
NO_DURATION = "must be whole numbers with a unit of s, m, h, d or w, such as 30m, 24h, 7d or 1d12h"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # unknown keys
        ("retension: {daily: 3}", ["retension: unknown key, did you mean retention?"]),
        ("retention: {dialy: 3}", ["retention.dialy: unknown key, did you mean daily?"]),
        ("verification: {lvl: stat}", ["verification.lvl: unknown key, did you mean level?"]),
        ("encryption: {recipient: x}", [
            "encryption.recipient: unknown key, did you mean recipients?",
            "encryption: recipients is required when method is age",
        ]),
        ("tls: {zzz: x}", ["tls.zzz: unknown key; valid keys: mode"]),
        ("paths: [/srv]", ["paths: unknown key for engine postgresql; it belongs to files"]),
        ("{'login_password:hunter2': }", ["login_password: a blank is missing after the colon"]),
        ("{'what is this': 1}", ["a key is not a plain word; is a blank missing after its colon, or a quote?"]),
        ("on: 1", ["a key is not a plain word; is a blank missing after its colon, or a quote?"]),
        # required keys and values
        ("engine: ", ["engine: is required"]),
        ("engine: ''", ["engine: there is no such engine; there are: files, postgresql", "engine: must not be empty"]),
        ("engine: postgres", ["engine: there is no such engine, did you mean postgresql?"]),
        ("engine: 5", ["engine: must be a string, and is a number; YAML may have changed it: quote it"]),
        ("repositories: ", ["repositories: is required"]),
        ("repositories: []", ["repositories: is an empty list; leave the key out or name at least one"]),
        ("repositories: [primray]", ["repositories[0]: no such repository is declared, did you mean primary?"]),
        ("repositories: [primary, zzz]", [
            "repositories[1]: no such repository is declared; declared: offsite, primary"]),
        ("repositories: [primary, primary]", ["repositories[1]: names a repository that stands before it already"]),
        ("repositories: {primary: }", ["repositories: must be a list, and is a mapping"]),
        ("repositories: [{}, zzz]", [
            "repositories[0]: must be a string, and is a mapping",
            "repositories[1]: no such repository is declared; declared: offsite, primary"]),
        ("repositories: [../x]", [f"repositories[0]: is not a safe name; allowed is {PATTERN}"]),
        # types
        ("database: [a]", ["database: must be a string, and is a list"]),
        ("database: 0123", ["database: must be a string, and is a number; YAML may have changed it: quote it"]),
        ("database: no", ["database: must be a string, and is a boolean; YAML may have changed it: quote it"]),
        ("database: 2026-01-01", ["database: must be a string, and is a date; YAML may have changed it: quote it"]),
        ("port: many", ["port: must be a whole number, and is a string"]),
        ("port: true", ["port: must be a whole number, and is a boolean"]),
        ("port: 1.5", ["port: must be a whole number, and is a number"]),
        ("compress: perhaps", ["compress: must be true or false, and is a string"]),
        ("compress: 2", ["compress: must be true or false, and is a number"]),
        ("factor: big", ["factor: must be a number, and is a string"]),
        ("password_file: ''\nhost: h\nlogin_password: p", ["password_file: must be a path"]),
        ("tls: require", ["tls: must be a mapping, and is a string"]),
        ("tls: {mode: requier}", ["tls.mode: is none of its choices, did you mean require?"]),
        ("format: zip", ["format: is none of its choices; choices: custom, directory"]),
        ("tags: []", ["tags: is an empty list; leave the key out or name at least one"]),
        ("services: []", []),
        ("services: [ok, '-x']", ["services[1]: is not the name of a service"]),
        ("services: [ok, ]", []),
        ("services: [ok, ~]", ["services[1]: must be a string, and is empty"]),
        ("set: a b", [f"set: is not a safe name; allowed is {PATTERN}"]),
        ("tags: [eu, ü]", [f"tags[1]: is not a safe name; allowed is {PATTERN}"]),
        # constraints between options
        ("databases: [a]", ["database and databases exclude each other"]),
        ("database: ", ["one of database, databases is required"]),
        ("host: db", ["host, login_password go together; missing: login_password"]),
        ("password_file: /x", ["password_file: requires host"]),
        ("format: directory", ["jobs is required when format is directory"]),
        ("db: x", ["db: given twice, once under another name"]),
        ("encryption: {method: gpg}", [
            "encryption: recipients or passphrase_file is required when method is gpg"]),
        ("encryption: {method: gpg, passphrase_file: /x}", []),
        ("encryption: {}", ["encryption: recipients is required when method is age"]),
        # times
        ("schedule: 12:30", [
            "schedule: is an integer; YAML reads an unquoted 12:30 as the number 750: quote it"]),
        ("schedule: 750", ["schedule: is an integer; YAML reads an unquoted 12:30 as the number 750: quote it"]),
        ("schedule: 12.30", ["schedule: must be a string, and is a number; YAML may have changed it: quote it"]),
        ("schedule: no", ["schedule: is a boolean; write never"]),
        ("schedule: {daily: 3}", ["schedule: must be a string, and is a mapping"]),
        *((f"schedule: '{wrong}'", [f"schedule: {NO_SCHEDULE}"]) for wrong in (
            "", " ", "sometimes", "25:00", "12:60", "*/0h", "*/12", "*/12w", "60 2 * * *", "0 24 * * *",
            "0 2 * 13 *", "0 2 * foo *", "* * * *", "Fun", "Fun 02:00", "*-13-01 02:00", "*-*-32 02:00", "02:00; rm",
            "@daily",
        )),
        ("rpo: 24", ["rpo: is a number without a unit; write for example 24h or 30m"]),
        ("rpo: soon", [f"rpo: {NO_DURATION}"]),
        ("rto: 0m", ["rto: must be longer than nothing"]),
        ("rto: true", ["rto: must be a string, and is a boolean; YAML may have changed it: quote it"]),
        ("max_age: 1y", [f"max_age: {NO_DURATION}"]),
        ("drill: sometimes", [f"drill: {NO_SCHEDULE}"]),
        ("rpo: 23h", ["rpo: is shorter than the 1d between two backups of its schedule, so it cannot be met"]),
        ("{schedule: weekly, rpo: 6d}", [
            "rpo: is shorter than the 7d between two backups of its schedule, so it cannot be met"]),
        # policy
        ("retention: 30", ["retention: must be a mapping, and is a number"]),
        ("retention: {daily: x}", ["retention.daily: must be a whole number, and is a string"]),
        ("retention: {within: 7}", [
            "retention.within: is a number without a unit; write for example 7d or 6m (months)"]),
        ("retention: {within: 30s}", [
            ("retention.within: must be whole numbers with a unit of h, d, w, m (months) or y, "
            "such as 12h, 7d, 6m or 1y6m")]),
        ("retention: {daily: 0}", [
            ("The retention policy keeps nothing, which would delete every backup. "
            "Give at least one of last, hourly, daily, weekly, monthly, yearly or within.")]),
        ("retention: {daily: -7}", ["retention.daily must be a number of backups, or -1 for all."]),
        ("retention: {minimum_verified: 0}", ["retention.minimum_verified must be at least 1."]),
        ("retention: {verified_level: deep}", [
            "retention.verified_level: is none of its choices; choices: archive, checksum, restore, stat"]),
        ("verification: {level: stat}", [
            ("verification.level: is below retention.verified_level: no backup would ever count as verified, "
            "and none be pruned")]),
        ("verification: {schedule: 750}", [
            "verification.schedule: is an integer; YAML reads an unquoted 12:30 as the number 750: quote it"]),
        ("confirm: omnidoc", ["confirm: unknown key; it is said for one run and not declared"]),
        ("lock_wait: 5", ["lock_wait: is a number without a unit; write for example 24h or 30m"]),
        ("lock_wait: 0s", []),
    ],
)  # fmt: skip
def test_problems_of_a_component(text: str, expected: list[str]) -> None:
    if not expected:
        assert with_keys(text)
        return
    with pytest.raises(InvalidDeclaration) as refused:
        with_keys(text)
    assert [line[len(DB) :] for line in problems(refused)] == expected
    assert all(line.startswith(DB) for line in problems(refused))


def change_names(*names: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        for component, name in zip(document["components"], names):
            component["name"] = name

    return change


def replaced(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document.__setitem__(key, value)


def in_primary(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["repositories"]["primary"].update(values)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (replaced("components", None), ["holdfast_components: must be a list of components, and is empty"]),
        (replaced("components", {}), ["holdfast_components: must be a list of components, and is a mapping"]),
        (replaced("components", []), ["holdfast_components: is an empty list; declare at least one component"]),
        (replaced("components", ["x"]), ["holdfast_components: [0]: must be a mapping, and is a string"]),
        (change_names("a", None), ["holdfast_components: [1].name: is required"]),
        (change_names("a", 7), [
            "holdfast_components: [1].name: must be a string, and is a number; YAML may have changed it: quote it"]),
        *((change_names("a", name), [f"holdfast_components: [1].name: is not a safe name; allowed is {PATTERN}"])
          for name in ("a b", "a/b", "..", "-a", ".a", "ä", "a" * 64, "a\n", "{{ a }}")),
        (change_names("a", ""), [f"holdfast_components: [1].name: is not a safe name; allowed is {PATTERN}"]),
        (change_names("same", "same"), [
            "component same: name: declared twice, as holdfast_components[0] and [1]"]),
        (lambda document: document["components"][0].update(engine="redis", databse="x", format="y"), [
            "component omnidoc_db: engine: there is no such engine; there are: files, postgresql",
            "component omnidoc_db: databse: unknown key, did you mean database?"]),
        (in_primary(type=None), ["repository primary: type: is required"]),
        (in_primary(type="S3 "), ["repository primary: type: there is no such type, did you mean s3?"]),
        (in_primary(type="ftp"), ["repository primary: type: there is no such type; there are: local, s3"]),
        (in_primary(bukket="x"), ["repository primary: bukket: unknown key, did you mean bucket?"]),
        (in_primary(path="/x"), ["repository primary: path: unknown key for type s3; it belongs to local"]),
        (in_primary(name="x"), [("repository primary: name: unknown key; valid keys: "
                                "bucket, endpoint_url, part_size, prefix, secret_key, type")]),
        (in_primary(bucket=""), ["repository primary: bucket: must not be empty"]),
        (in_primary(bucket=None), ["repository primary: bucket: is required"]),
        (in_primary(secret_key=123), [
            "repository primary: secret_key: must be a string, and is a number; YAML may have changed it: quote it"]),
        (in_primary(part_size="big"), [
            ("repository primary: part_size: must be a whole number of bytes or one with a unit, "
            "such as 64KiB, 16MiB or 2GB")]),
        (in_primary(part_size=[]), ["repository primary: part_size: must be a size, and is a list"]),
        (in_primary(endpoint_url=datetime.date(2026, 1, 1)), [
            "repository primary: endpoint_url: must be a string, and is a date; YAML may have changed it: quote it"]),
        (lambda document: document["repositories"].update(spare="x"), [
            "repository spare: must be a mapping with a type, and is a string"]),
        (lambda document: document["repositories"].update({"a b": {"type": "local", "path": "/x"}}), [
            f"holdfast_repositories: the name of repository number 3 is not safe; allowed is {PATTERN}"]),
        (replaced("repositories", []), [
            "holdfast_repositories: must be a mapping of names to repositories, and is a list",
            "component omnidoc_db: repositories[0]: no such repository is declared; declared: none",
            "component omnidoc_db: repositories[1]: no such repository is declared; declared: none",
            "component omnidoc_files: repositories[0]: no such repository is declared; declared: none"]),
    ],
)  # fmt: skip
def test_problems_elsewhere(change: Callable[[dict[str, Any]], None], expected: list[str]) -> None:
    with pytest.raises(InvalidDeclaration) as refused:
        parsed(change)
    assert problems(refused) == expected


def test_an_empty_set_of_repositories_is_refused() -> None:
    with pytest.raises(InvalidDeclaration) as refused:
        parsed(replaced("repositories", {}))
    assert problems(refused)[0] == "holdfast_repositories: is empty; declare at least one repository"


def test_all_problems_come_at_once_a_line_each() -> None:
    def change(document: dict[str, Any]) -> None:
        document["repositories"]["primary"]["bukket"] = 1
        document["components"][0]["schedule"] = 750
        document["components"][1]["rto"] = "soon"

    with pytest.raises(InvalidDeclaration) as refused:
        parsed(change)
    assert refused.value.message == "\n".join(
        [
            "The declaration has 3 problems; nothing was touched.",
            "- repository primary: bukket: unknown key, did you mean bucket?",
            "- component omnidoc_db: schedule: is an integer; YAML reads an unquoted 12:30 as the number 750: quote it",
            f"- component omnidoc_files: rto: {NO_DURATION}",
        ]
    )
    assert refused.value.result()["error_code"] == "invalid_declaration"
    assert refused.value.result()["problems"] == problems(refused)


def test_an_option_spelled_like_a_key_of_every_component_is_a_defect_of_its_engine() -> None:
    with pytest.raises(ValueError, match="options of engine odd"):
        parse([], {}, engine_specs={"odd": {"restore": Spec({"tags": {}})}}, repository_specs={})


def test_every_engine_and_store_of_the_collection_can_be_declared() -> None:
    """No option of theirs is spelled like a key of the declaration or is of a kind that cannot be checked here."""
    from ansible_collections.holdfast.ops.plugins.module_utils import _arguments as arguments
    from ansible_collections.holdfast.ops.plugins.module_utils import _engines, _repositories
    from ansible_collections.holdfast.ops.plugins.module_utils._declaration import _spec as checker

    engine_specs = {
        name: {"backup": arguments.backup_spec(engine), "restore": arguments.restore_spec(engine)}
        for name, engine in _engines.ENGINES.items()
    }
    repository_specs = {kind: Spec(store.OPTIONS) for kind, store in _repositories.REPOSITORIES.items()}
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


# No value is ever repeated.

FULL = """
repositories:
  primary: {type: s3, endpoint_url: u, bucket: b, prefix: p, secret_key: k, part_size: 16MiB}
  offsite: {type: local, path: /mnt/backups}
components:
  - name: omnidoc_db
    engine: postgresql
    database: omnidoc
    host: db
    port: 5432
    login_password: p
    tls: {mode: require}
    format: directory
    jobs: 2
    compress: true
    repositories: [primary, offsite]
    schedule: "02:00"
    retention: {last: 1, daily: 30, within: 7d, minimum_verified: 3, verified_level: checksum}
    verification: {level: archive, schedule: weekly}
    rpo: 24h
    rto: 30m
    services: [a, b]
    set: nightly
    tags: [gold]
    max_age: 1h
    run_as: postgres
    lock_wait: 5m
    encryption: {method: gpg, recipients: [r], passphrase_file: /p}
    drill: weekly
  - {name: omnidoc_files, engine: files, paths: [/srv], exclude: [x], rehash: no, repositories: [primary]}
"""
Path = tuple[Any, ...]


def paths(value: Any, here: Path = ()) -> list[Path]:
    """Every place of a document, containers included."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, item in items for place in ((*here, key), *paths(item, (*here, key)))]


PLACES = paths(yaml.safe_load(FULL))

_word = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=8, max_size=20)
# A name is repeated once it is known to be one, so what stands where a name belongs has a character that none has.
secrets = st.builds("{}{}{}".format, _word, st.sampled_from("!$%&/()=?+*#' :,;@{}\n\\\""), _word)


def plant(document: Any, place: Path, value: Any) -> None:
    for key in place[:-1]:
        document = document[key]
    document[place[-1]] = value


@given(st.sampled_from(PLACES), secrets, st.sampled_from(["plain", "list", "mapping", "key", "glued", "broken"]))
def test_a_secret_anywhere_shows_in_no_message(place: Path, secret: str, how: str) -> None:
    document = yaml.safe_load(FULL)
    values: dict[str, Any] = {
        "plain": secret,
        "list": [secret, {"x": secret}],
        "mapping": {"login_password": secret, "x": [secret]},
        "key": {secret: None},
        "glued": {f"secret_key:{secret}": None},
        "broken": secret,
    }
    if how == "broken":
        # One more problem, so that a secret in a right place is among those that could show.
        document["components"][0]["zzz"] = document["repositories"]["primary"]["zzz"] = secret
    plant(document, place, values[how])
    assert_hidden(document, secret)


@given(st.sampled_from([place for place in PLACES if place[-1] != "name"]), _word)
def test_a_secret_that_looks_like_a_name_shows_in_no_message_either(place: Path, secret: str) -> None:
    document = yaml.safe_load(FULL)
    document["components"][0]["zzz"] = 1
    plant(document, place, secret)
    assert_hidden(document, secret)


@given(st.lists(st.sampled_from(PLACES), min_size=2, max_size=8), secrets)
def test_secrets_in_many_places_show_in_no_message(places: list[Path], secret: str) -> None:
    document = yaml.safe_load(FULL)
    for place in sorted(places, key=len, reverse=True):
        plant(document, place, secret)
    assert_hidden(document, secret)


def assert_hidden(document: dict[str, Any], secret: str) -> None:
    before = copy.deepcopy(document)
    try:
        declaration = read(document["components"], document["repositories"])
    except InvalidDeclaration as error:
        assert error.problems
        assert secret not in str(error)
        assert secret not in repr(error.result())
        assert all("\n" not in line for line in error.problems)
    else:
        assert declaration.components
        assert secret not in repr(declaration.repositories)
    assert document == before, "the user's own document was changed"


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(PLACES), json_like)
def test_whatever_stands_anywhere_gives_a_result_or_problems(place: Path, value: Any) -> None:
    document = yaml.safe_load(FULL)
    plant(document, place, value)
    try:
        declaration = read(document["components"], document["repositories"])
    except InvalidDeclaration as error:
        assert error.problems
    else:
        for component in declaration.components:
            for verb in ("backup", "restore", "verify", "prune", "info"):
                assert component.module_args(verb)["component"] == component.name


@given(json_like, json_like)
def test_two_variables_of_any_kind_give_problems(components: Any, repositories: Any) -> None:
    with pytest.raises(InvalidDeclaration):
        read(components, repositories)


def test_the_document_of_the_secrets_is_right_by_itself() -> None:
    document = yaml.safe_load(FULL)
    assert len(read(document["components"], document["repositories"]).components) == 2
