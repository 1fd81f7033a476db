# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that is declared of a host: checked as a whole, and resolved into files that hold each secret once."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from ansible_collections.holdfast.ops.plugins.module_utils._declaration._report import InvalidDeclaration
from ansible_collections.holdfast.ops.plugins.module_utils._health import _parse as health
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._parse import parse_maintenance
from ansible_collections.holdfast.ops.plugins.module_utils._notify._parse import Notifications
from ansible_collections.holdfast.ops.plugins.plugin_utils._declared import read_declaration
from ansible_collections.holdfast.ops.plugins.plugin_utils._host import files_of, parts_of, read_host

SECRETS = {
    "key": "hush-key {{ 1 }}",
    "password": "hush-password\"'\\é",
    "history": "hush-history",
    "webhook": "https://hooks.slack.com/services/T0/B0/hush-webhook-0123456789",
    "check": "hush-check",
    "task": "hush-task {{ 2 }}",
}
DECLARED: dict[str, Any] = {
    "holdfast_repositories": {
        "primary": {"type": "s3", "bucket": "b", "access_key": "AK", "secret_key": SECRETS["key"]},
        "shelf": {"type": "local", "path": "/mnt/backups"},
    },
    "holdfast_components": [
        {
            "name": "db",
            "engine": "postgresql",
            "database": "a {{ b }}",
            "login_host": "db.example.com",
            "login_password": SECRETS["password"],
            "repositories": ["primary", "shelf"],
            "history": {"database": "h", "password": SECRETS["history"]},
            "tags": ["gold"],
            "set": "app",
        },
        {"name": "files", "engine": "files", "path": "/srv", "repositories": ["shelf"]},
    ],
    "holdfast_notifications": [
        {"name": "team", "type": "slack", "severities": ["critical"], "url": SECRETS["webhook"]}
    ],
    "holdfast_health_checks": [
        {"name": "web", "kind": "http", "url": "http://127.0.0.1:8080/health"},
        {
            "name": "store",
            "kind": "redis",
            "login_host": "127.0.0.1",
            "login_port": 6379,
            "login_password": SECRETS["check"],
        },
    ],
    "holdfast_health_listen": "127.0.0.1:9880",
    "holdfast_maintenance": [
        {"name": "sizes", "kind": "postgresql_report", "database": "a"},
        {
            "name": "purge",
            "kind": "postgresql_purge",
            "every": "weekly",
            "backup": ["db"],
            "database": "a",
            "login_host": "db.example.com",
            "login_password": SECRETS["task"],
            "table": "t",
            "column": "c",
            "older_than": "90d",
            "archive_directory": "/srv/archive/",
        },
    ],
    "holdfast_maintenance_tell": "warning",
    "holdfast_textfile_dir": "/var/lib/metrics",
    "holdfast_time_zone": "Europe/Berlin",
}


class Loader(yaml.SafeLoader):
    """Reads what Ansible's tag stands before as a string."""


Loader.add_constructor("!unsafe", lambda loader, node: loader.construct_scalar(node))


def written(declared: dict[str, Any] | None = None) -> dict[str, str]:
    return files_of(read_host(DECLARED if declared is None else declared), "app1", "/opt/holdfast/venv/bin/python")


def problems(**changes: Any) -> tuple[str, ...]:
    with pytest.raises(InvalidDeclaration) as caught:
        read_host({**DECLARED, **changes})
    return caught.value.problems


def test_each_secret_stands_in_one_file_alone() -> None:
    files = written()
    for secret in SECRETS.values():
        assert [name for name, text in files.items() if secret in text] == [
            name for name, text in files.items() if text == f"{secret}\n"
        ]
        holding = [name for name, text in files.items() if text == f"{secret}\n"]
        assert len(holding) == 1, secret
        assert holding[0].startswith("secrets/")
    everything_else = "".join(text for name, text in files.items() if not name.startswith("secrets/"))
    assert "hush" not in everything_else


def test_with_the_secrets_put_back_the_inventory_says_what_was_declared() -> None:
    files = written()
    inventory = yaml.load(files["inventory.yml"], Loader)
    variables = inventory["all"]["hosts"]["app1"]

    def put_back(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                (key[: -len("_file")] if str(item).startswith("/etc/holdfast/secrets/") else key): (
                    files[item[len("/etc/holdfast/") :]][:-1]
                    if str(item).startswith("/etc/holdfast/secrets/")
                    else put_back(item)
                )
                for key, item in value.items()
            }
        return [put_back(item) for item in value] if isinstance(value, list) else value

    for name in ("holdfast_repositories", "holdfast_components", "holdfast_maintenance"):
        assert put_back(variables[name]) == DECLARED[name]
    # And the host's own playbooks understand it.
    declaration = read_declaration(variables["holdfast_components"], variables["holdfast_repositories"])
    args = declaration.components[0].module_args("backup")
    assert args["login_password_file"] == "/etc/holdfast/secrets/component-db-login_password"
    assert "login_password" not in args
    _sizes, purge = parse_maintenance(variables["holdfast_maintenance"], components={"db", "files"}).tasks
    assert purge.options["login_password_file"] == "/etc/holdfast/secrets/maintenance-purge-login_password"
    assert variables["holdfast_textfile_dir"] == "/var/lib/metrics"


def test_nothing_of_how_the_controller_logs_in_goes_to_the_host() -> None:
    files = written({**DECLARED, "ansible_host": "10.0.0.1", "ansible_user": "ops", "ansible_become_password": "hush"})
    variables = yaml.load(files["inventory.yml"], Loader)["all"]["hosts"]["app1"]
    assert {name: value for name, value in variables.items() if name.startswith("ansible_")} == {
        "ansible_connection": "local",
        "ansible_python_interpreter": "/opt/holdfast/venv/bin/python",
    }


def test_channels_and_checks_are_what_their_commands_read() -> None:
    files = written()
    (channel,) = Notifications.from_config(json.loads(files["notify.json"]))
    assert channel.name == "team"
    web, store = health.from_config(json.loads(files["health.json"]))
    assert (web.name, web.options["url"]) == ("web", "http://127.0.0.1:8080/health")
    assert store.options["login_password_file"].startswith("/etc/holdfast/secrets/")


def test_the_command_learns_names_and_no_secret() -> None:
    host = json.loads(written()["host.json"])
    assert host["inventory_hostname"] == "app1"
    assert [(each["name"], each["set"], each["tags"]) for each in host["components"]] == [
        ("db", "app", ["gold"]),
        ("files", None, []),
    ]
    assert (host["scheduler"], host["time_zone"]) == ("timer", "Europe/Berlin")
    assert host["maintenance"] == {
        "tell": "warning",
        "parts": ["daily", "weekly"],
        "tasks": [
            {"name": "sizes", "kind": "postgresql_report", "every": "daily", "action": False},
            {"name": "purge", "kind": "postgresql_purge", "every": "weekly", "action": True},
        ],
    }


def test_a_part_writes_where_its_actions_and_their_backups_do() -> None:
    parts = parts_of(read_host(DECLARED))
    assert parts["daily"] == {
        "schedule": "06:30", "tasks": ["sizes"], "directories": ["/var/lib/metrics"], "shared_tmp": False,
    }  # fmt: skip
    assert parts["weekly"]["directories"] == ["/mnt/backups", "/srv/archive", "/var/lib/metrics"]


def test_a_task_may_only_back_up_what_is_declared() -> None:
    task = {**DECLARED["holdfast_maintenance"][1], "backup": ["dbb"]}
    (problem,) = problems(holdfast_maintenance=[task])
    assert problem == "maintenance task purge: backup[0]: no such component is declared, did you mean db?"
    # Where the components themselves cannot be read, nothing is said of what names them.
    assert not [line for line in problems(holdfast_maintenance=[task], holdfast_components="x") if "purge" in line]


def test_a_host_without_components_is_one_too() -> None:
    files = written({"holdfast_health_checks": DECLARED["holdfast_health_checks"]})
    assert "holdfast_components" not in files["inventory.yml"]
    assert read_host({}).work == ()
    # Repositories and channels often stand for all hosts; they give none something to do.
    nothing = {"holdfast_components": None, "holdfast_health_checks": None, "holdfast_maintenance": None}
    assert read_host({**DECLARED, **nothing}).work == ()
    assert read_host({"holdfast_maintenance": DECLARED["holdfast_maintenance"][:1]}).work == ("holdfast_maintenance",)


def test_the_problems_of_all_parts_come_at_once() -> None:
    found = problems(
        holdfast_components=[{"name": "db", "engine": "postgres", "repositories": ["primary"], "database": "x"}],
        holdfast_notifications=[{"name": "team", "type": "slak"}],
        holdfast_health_checks=[{"name": "web", "kind": "htp"}],
        holdfast_maintenance=[{"name": "sizes", "kind": "postgresql_reprt"}],
        holdfast_maintenance_schedules={"dialy": "02:00"},
        holdfast_scheduler="timr",
        holdfast_time_zone="Europe/Berln",
        holdfast_logs="no list",
        holdfast_cleanups="no list",
    )
    for wanted in (
        "component db: engine: there is no such engine, did you mean postgresql?",
        "notification channel team: type: there is no such type, did you mean slack?",
        "health check web: kind: there is no such kind, did you mean http?",
        "maintenance task sizes: kind: there is no such kind, did you mean postgresql_report?",
        "holdfast_maintenance_schedules: dialy: unknown key, did you mean daily?",
        "holdfast_scheduler: is none of its choices, did you mean timer?",
        "holdfast_time_zone: is a time zone that there is not, did you mean Europe/Berlin?",
    ):
        assert wanted in found
    assert any(line.startswith("holdfast_logs: ") for line in found)
    assert any(line.startswith("holdfast_cleanups: ") for line in found)


@pytest.mark.parametrize(
    ("listen", "checks", "problem"),
    [
        ("127.0.0.1:8080", None, "its port is that of health check web; two cannot listen on one port"),
        ("[::1]:6379", None, "its port is that of health check store; two cannot listen on one port"),
        ("9880", None, "is not an address and a port; write 127.0.0.1:9880"),
        ("127.0.0.1:99999", None, "is not an address and a port; write 127.0.0.1:9880"),
    ],
)
def test_an_endpoint_that_cannot_be_is_refused(listen: str, checks: Any, problem: str) -> None:
    assert problems(holdfast_health_listen=listen) == (f"holdfast_health_listen: {problem}",)


def test_the_port_of_a_server_elsewhere_is_free_here() -> None:
    checks = [{"name": "web", "kind": "http", "url": "http://app2:9880/health"}]
    assert read_host({**DECLARED, "holdfast_health_checks": checks}).settings.health_listen == "127.0.0.1:9880"


def test_a_channel_may_only_name_what_is_declared() -> None:
    channel = {**DECLARED["holdfast_notifications"][0], "components": ["dbb"]}
    (problem,) = problems(holdfast_notifications=[channel])
    assert problem.startswith("notification channel team: components")
    assert "did you mean db?" in problem


def test_a_cleanup_may_not_reach_a_repository() -> None:
    cleanup = {"name": "old", "path": "/mnt/backups/old", "older_than": "30d"}
    (problem,) = problems(holdfast_cleanups=[cleanup])
    assert "a repository with backups lies there" in problem


def test_what_cron_cannot_say_is_refused_before_the_host_is_touched() -> None:
    components = [{**DECLARED["holdfast_components"][1], "schedule": "*-*-* 02:00:30"}]
    changes = {"holdfast_components": components, "holdfast_maintenance": None}
    assert read_host({**DECLARED, **changes})
    (problem,) = problems(**changes, holdfast_scheduler="cron")
    assert problem.startswith("component files: schedule: ")
    (problem,) = problems(holdfast_maintenance_schedules={"weekly": "*-*~01"}, holdfast_scheduler="cron")
    assert problem.startswith("holdfast_maintenance_schedules: weekly: ")


@pytest.mark.parametrize(
    "name", ["holdfast_scheduler", "holdfast_time_zone", "holdfast_health_listen", "holdfast_textfile_dir"]
)
@pytest.mark.parametrize("value", [["hush"], {"hush": "hush"}, 42, "hush hush"])
def test_no_value_is_repeated(name: str, value: Any) -> None:
    assert "hush" not in "".join(problems(**{name: value}))
    assert "42" not in "".join(problems(**{name: value}))
