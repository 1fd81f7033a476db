# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a declaration, message by message."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._declaration._report import InvalidDeclaration
from ansible_collections.holdfast.ops.tests.support.declaration import parsed, with_keys


def problems(refused: pytest.ExceptionInfo[InvalidDeclaration]) -> list[str]:
    return list(refused.value.problems)


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
            "@daily", "*-*-*/2", "Sun..Mon", "0 0 * * fri-sun",
        )),
        ("schedule: '0 0 31 2 *'", ["schedule: never comes: there is no such date"]),
        ("schedule: '2026-12-24 18:00'", [
            "schedule: names a year, and a schedule goes on from year to year; leave it out, or write *"]),
        ("schedule: '*/7h'", [
            ("schedule: is no even part of a day, so the time between two runs would differ; "
             "write one that divides 24h, such as */4h, */12h or */30m")]),
        ("schedule: '02:00 Europe/Belrin'", [
            "schedule: is a time zone that there is not, did you mean Europe/Berlin?"]),
        ("{schedule: '0 2 * * 1-5', rpo: 2d}", [
            "rpo: is shorter than the 3d between two backups of its schedule, so it cannot be met"]),
        ("upkeep: elswhere", ["upkeep: is none of its choices, did you mean elsewhere?"]),
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
