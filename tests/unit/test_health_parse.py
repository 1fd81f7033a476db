# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is declared of checks: defaults, every problem at once, and never a value."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._declaration._report import InvalidDeclaration
from ansible_collections.holdfast.ops.plugins.module_utils._health._parse import (
    as_config,
    from_config,
    in_profile,
    parse_checks,
    parse_timers,
    secrets_of,
    with_files,
)

WEB = {"name": "web", "kind": "http", "url": "https://app.example.com/health"}


def problems(*checks: Any) -> list[str]:
    with pytest.raises(InvalidDeclaration) as caught:
        parse_checks(list(checks))
    return list(caught.value.problems)


def test_defaults_are_filled_in() -> None:
    (check,) = parse_checks([WEB])
    assert (check.timeout, check.failures, check.recoveries, check.profiles) == (5.0, 3, 2, ())
    assert check.options["method"] == "GET"
    assert check.options["certificate_critical"] == 7
    assert "latency_warning" not in check.options


def test_every_problem_is_told_at_once_with_the_nearest_key() -> None:
    assert problems(
        {"name": "web", "kind": "http", "urll": "x"},
        {"name": "web", "kind": "memory", "warning": 95, "critical": 90},
        {"name": "db", "kind": "postgres"},
        {"name": "no/name", "kind": "swap"},
        {"name": "disk", "kind": "disk", "paths": ["/"], "url": "x", "timeout": 5},
        "text",
        {"name": "load", "kind": "load", "failures": 0, "profiles": ["livenes"]},
    ) == [
        "health check web: urll: unknown key, did you mean url?",
        "health check web: url: is required",
        "health check web: name: declared twice, as holdfast_health_checks[0] and [1]",
        "health check web: warning: is above critical, so it would never be seen",
        "health check db: kind: there is no such kind, did you mean postgresql?",
        "holdfast_health_checks: [3].name: is not a safe name; allowed is [A-Za-z0-9_][A-Za-z0-9._-]{0,62}",
        "health check disk: url: unknown key for kind disk; it belongs to http",
        "health check disk: timeout: is a number without a unit; write for example 24h or 30m",
        "holdfast_health_checks: [5]: must be a mapping, and is a string",
        "health check load: profiles[0]: is none of its choices, did you mean liveness?",
    ]


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"url": "ftp://x/"}, "url: must be a URL that begins with http:// or https:// and names a host"),
        ({"url": "https://u:hunter2@x/"}, "url: must hold no login; use username and password"),
        ({"matches": "("}, "matches: is no regular expression"),
        ({"status": [20]}, "status[0]: is no status of HTTP"),
        ({"json": {"a..b": 1}}, "json: a key is no path such as status or checks[0].state"),
        ({"password": "hunter2"}, "password: requires username"),
        ({"certificate_warning": 3}, "certificate_warning: is below certificate_critical, so it would never be seen"),
        ({"latency_critical": -1}, "latency_critical: is negative"),
    ],
)
def test_what_cannot_be_right_of_a_url(more: dict[str, Any], problem: str) -> None:
    assert problems({**WEB, **more}) == [f"health check web: {problem}"]
    assert "hunter2" not in problem


@pytest.mark.parametrize(
    ("check", "problem"),
    [
        ({"kind": "tcp"}, "one of port, unix_socket is required"),
        ({"kind": "tcp", "port": 70000}, "port: must lie between 1 and 65535"),
        ({"kind": "disk", "critical": 900}, "critical: must lie between 0 and 100"),
        ({"kind": "disk", "mounted": True}, "mounted: requires paths"),
        (
            {"kind": "dns", "record": "x", "server": "ns1"},
            "server: must be an address: a name would have to be resolved first",
        ),
        ({"kind": "systemd"}, "units or failed_units is required"),
        ({"kind": "process"}, "one of process, matches is required"),
        ({"kind": "command", "command": ["true"]}, "command[0]: must be the absolute path of a program"),
        (
            {"kind": "command", "command": ["/x"], "environment": {"A-B": 1}},
            "environment: a key is no name of an environment variable",
        ),
        ({"kind": "python", "interpreter": "/x", "modules": ["a b"]}, "modules[0]: is no name of a module"),
        (
            {"kind": "backup", "component": "x", "warning": "30h"},
            "warning: is not shorter than critical, so it would never be seen",
        ),
        ({"kind": "docker"}, "containers or project is required"),
        (
            {"kind": "docker", "project": "x", "docker_host": "ssh://x"},
            "docker_host: must be unix:///path or tcp://host:port",
        ),
        ({"kind": "nginx", "connections_warning": 5}, "status_url: is required where connections are judged"),
        (
            {"kind": "postgresql", "replicas": 1, "role": "replica"},
            "replicas: are those of a primary, and role says replica",
        ),
        (
            {"kind": "model_files", "files": [{"path": "/x", "sha256": "AB"}]},
            "files[0].sha256: must be 64 hexadecimal digits in lower case",
        ),
        ({"kind": "celery", "app": "x", "workers": 0}, "workers: must be at least 1"),
        ({"kind": "cpu", "sample": 0.01}, "sample: must lie between 0.1 and 60 seconds"),
        ({"kind": "swap", "failures": 0}, "failures: must lie between 1 and 100"),
    ],
)
def test_what_cannot_be_right_of_other_kinds(check: dict[str, Any], problem: str) -> None:
    assert problems({"name": "it", **check}) == [f"health check it: {problem}"]


def test_what_is_written_to_a_host_is_read_back_the_same() -> None:
    checks = parse_checks(
        [
            {**WEB, "profiles": ["liveness", "comprehensive"], "timeout": "1m30s", "json": {"a": None, "b": [1]}},
            {"name": "pg", "kind": "postgresql", "login_password": "pw", "container": {"name": "db"}},
            {"name": "files", "kind": "model_files", "files": [{"path": "/m", "size": "1GiB"}]},
        ]
    )
    assert from_config(as_config(checks)) == checks
    assert checks[0].profiles == ("liveness",)


def test_a_secret_goes_into_a_file_and_is_never_printed() -> None:
    (check,) = parse_checks([{"name": "r", "kind": "redis", "login_password": "hunter2"}])
    assert "hunter2" not in repr(check)
    assert secrets_of(check) == {"login_password": "hunter2"}
    moved = with_files(check, {"login_password": "/etc/holdfast/secrets/r"})
    assert secrets_of(moved) == {}
    assert moved.options["login_password_file"] == "/etc/holdfast/secrets/r"
    assert from_config(as_config([moved])) == (moved,)


def test_comprehensive_holds_every_check() -> None:
    checks = parse_checks([WEB, {"name": "memory", "kind": "memory", "profiles": ["readiness"]}])
    assert [check.name for check in in_profile(checks, "comprehensive")] == ["web", "memory"]
    assert [check.name for check in in_profile(checks, "readiness")] == ["memory"]
    assert in_profile(checks, "liveness") == ()


@pytest.mark.parametrize("config", [None, [], {}, {"version": 2, "checks": []}])
def test_another_configuration_is_refused(config: Any) -> None:
    with pytest.raises(InvalidDeclaration):
        from_config(config)


def test_timers() -> None:
    assert parse_timers({"liveness": "30s", "comprehensive": "1h"}) == {"liveness": "30s", "comprehensive": "1h"}
    with pytest.raises(InvalidDeclaration) as caught:
        parse_timers({"livenes": "1m", "readiness": 60, "comprehensive": "0s"})
    assert list(caught.value.problems) == [
        "holdfast_health_timers: livenes: unknown key, did you mean liveness?",
        "holdfast_health_timers: readiness: is a number without a unit; write for example 24h or 30m",
        "holdfast_health_timers: comprehensive: must be longer than nothing",
    ]
    with pytest.raises(InvalidDeclaration):
        parse_timers("1m")
