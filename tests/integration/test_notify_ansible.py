# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Notifications through Ansible: the module, the playbook that tests channels, and the role below a directory."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._notify._parse import parse_notifications
from ansible_collections.holdfast.ops.tests.support.modules import run_module
from ansible_collections.holdfast.ops.tests.support.notify import HttpSink, Reply
from ansible_collections.holdfast.ops.tests.support.playbook import PlaybookRun, run_playbook

pytestmark = pytest.mark.ansible

SECRET = "s3cr3t-0123456789-path"


@pytest.fixture
def sink() -> Iterator[HttpSink]:
    with HttpSink() as server:
        yield server


@pytest.fixture
def root(tmp_path: Path, sink: HttpSink) -> Path:
    """A directory that stands for a host whose agent and channels are installed."""
    top = tmp_path / "host"
    config = top / "etc" / "holdfast"
    config.mkdir(parents=True)
    (config / "notify.json").write_text(json.dumps(parse_notifications(declared(sink)).as_config()))
    command = top / "usr" / "local" / "bin" / "holdfast"
    command.parent.mkdir(parents=True)
    package = "ansible_collections.holdfast.ops.plugins.module_utils._host"
    command.write_text(f'#!/bin/sh\nHOLDFAST_ROOT={top} exec {sys.executable} -m {package} "$@"\n')
    command.chmod(0o755)
    return top


def declared(sink: HttpSink) -> list[dict[str, Any]]:
    return [
        {"name": "hook", "type": "webhook", "url": sink.url(f"/{SECRET}"), "retries": 0},
        {"name": "urgent", "type": "webhook", "url": sink.url(f"/{SECRET}"), "retries": 0, "severities": ["critical"]},
    ]


def notify(root: Path, *, check: bool = False, **parameters: Any) -> dict[str, Any]:
    places = {"config": str(root / "etc/holdfast/notify.json"), "state_dir": str(root / "var/notify")}
    result = run_module("notify", {**places, **parameters}, check=check)
    assert SECRET not in str(result)
    return result


def test_the_module_tells_once_and_then_that_it_is_over(root: Path, sink: HttpSink) -> None:
    problem = {"key": "deploy:shop", "summary": "deployment failed", "severity": "warning", "labels": {"release": 3}}
    planned = notify(root, check=True, **problem)
    assert (planned["changed"], planned["channels"]) == (True, ["hook"])
    assert not sink.received and not (root / "var").exists()
    told = notify(root, **problem)
    assert (told["changed"], told["channels"]) == (True, ["hook"])
    assert [each.json()["labels"] for each in sink.received] == [{"release": "3"}]
    for again in (notify(root, **problem), notify(root, check=True, **problem)):
        assert (again["changed"], again["channels"]) == (False, [])
    assert notify(root, **problem, status="resolved")["changed"]
    assert not notify(root, **problem, status="resolved")["changed"]
    assert [each.json()["status"] for each in sink.received] == ["firing", "resolved"]


def test_the_module_fails_when_somebody_cannot_be_told(root: Path, sink: HttpSink) -> None:
    sink.replies = [Reply(404, f"nothing at {SECRET}"), Reply(404)]
    result = notify(root, key="k", summary="s", severity="critical")
    assert result["failed"] and result["error_code"] == "not_found"
    assert {each["outcome"] for each in result["deliveries"]} == {"failed"}
    one = notify(root, key="other", summary="s", severity="critical", channels=["urgent"])
    assert {each["channel"] for each in one["deliveries"]} == {"urgent"}


def test_the_module_refuses_what_is_not_there(root: Path) -> None:
    assert (
        "There is no channel hok; declared: hook, urgent" in notify(root, key="k", summary="s", channels=["hok"])["msg"]
    )
    assert "summary" in notify(root, key="k")["msg"]
    (root / "etc/holdfast/notify.json").unlink()
    assert "No channel is declared" in notify(root, key="k", summary="s")["msg"]


def play(verb: str, directory: Path, root: Path, *arguments: str) -> PlaybookRun:
    done = run_playbook(verb, directory, *arguments, extra_vars={"ansible_become": False, "holdfast_root": str(root)})
    assert SECRET not in done.output
    return done


def test_the_playbook_tests_every_channel(root: Path, sink: HttpSink, tmp_path: Path) -> None:
    checked = play("holdfast.ops.notify_test", tmp_path, root, "--check").succeeded()
    assert "hook (webhook): info firing test:info: would be sent" in checked.output
    assert not sink.received
    done = play("holdfast.ops.notify_test", tmp_path, root).succeeded()
    assert "urgent (webhook): critical firing test:critical: sent" in done.output
    assert sorted(each.json()["severity"] for each in sink.received) == ["critical", "critical", "info", "warning"]
    sink.replies = [Reply(500)]
    failed = play("holdfast.ops.notify_test", tmp_path, root).failed()
    assert "NOT sent" in failed.output and ": sent" in failed.output


def apply(directory: Path, root: Path, sink: HttpSink, *arguments: str, **variables: Any) -> PlaybookRun:
    """Run the role below the directory that stands for a host."""
    task = {"hosts": "localhost", "gather_facts": False, "roles": ["holdfast.ops.notify"]}
    given = {"holdfast_root": str(root), "holdfast_notifications": declared(sink), **variables}
    done = run_playbook([task], directory, *arguments, extra_vars=given)
    assert SECRET not in done.output
    return done


UNITS = {"holdfast-notify@.service", "holdfast-notify-retry.service", "holdfast-notify-retry.timer"}


def installed(root: Path) -> set[str]:
    return {path.name for place in ("etc/systemd/system", "etc/cron.d") for path in (root / place).glob("*")}


def test_the_role_installs_once_changes_to_cron_and_leaves_nothing(root: Path, sink: HttpSink, tmp_path: Path) -> None:
    apply(tmp_path, root, sink, "--check").succeeded()
    assert not installed(root) and not (root / "var").exists()
    assert apply(tmp_path, root, sink).succeeded().counts["changed"] > 0
    assert installed(root) == UNITS
    assert apply(tmp_path, root, sink).succeeded().counts["changed"] == 0
    apply(tmp_path, root, sink, holdfast_scheduler="cron").succeeded()
    assert installed(root) == {"holdfast-notify@.service", "holdfast-notify"}
    assert f"{root}/usr/local/bin/holdfast notify retry" in (root / "etc/cron.d/holdfast-notify").read_text()
    apply(tmp_path, root, sink, holdfast_state="absent").succeeded()
    assert not installed(root) and not (root / "var/lib/holdfast/notify").exists()
    assert not sink.received  # channels were reached, and told nothing


def test_the_role_refuses_a_channel_that_cannot_be_reached(root: Path, sink: HttpSink, tmp_path: Path) -> None:
    sink.__exit__()
    done = apply(tmp_path, root, sink).failed()
    assert "NOT reached: localhost" in done.output
    assert not installed(root)


def test_the_role_refuses_a_declaration_that_cannot_be_right(root: Path, sink: HttpSink, tmp_path: Path) -> None:
    wrong = [{"name": "hook", "type": "webhok", "url": sink.url(f"/{SECRET}")}]
    done = apply(tmp_path, root, sink, holdfast_notifications=wrong).failed()
    assert "did you mean webhook?" in done.output
    assert not installed(root)
