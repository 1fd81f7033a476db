# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's own inventory, with the ansible-core of this environment; tests/slow has the oldest and the newest."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from ansible_collections.holdfast.ops.tests.support.playbook import run_playbook
from ansible_collections.holdfast.ops.tests.support.resolved import prove

pytestmark = pytest.mark.ansible


def test_what_the_controller_resolves_the_host_reads_as_it_was(tmp_path: Path) -> None:
    prove(tmp_path, Path(sys.executable).parent)


def test_a_declaration_that_cannot_be_right_contacts_no_host(tmp_path: Path) -> None:
    """The host cannot even be reached, and every problem is told all the same."""
    variables = {
        "ansible_connection": "ssh",
        "ansible_host": "host.invalid",
        "holdfast_repositories": {"shelf": {"type": "local", "path": "/mnt", "secret_key": "hush"}},
        "holdfast_components": [{"name": "db", "engine": "postgre", "repositories": ["shelf"]}],
        "holdfast_scheduler": "chron",
        "holdfast_notifications": [{"name": "team", "type": "slack", "url": "hush"}],
    }
    play = [{"hosts": "all", "gather_facts": False, "tasks": [{"holdfast.ops.host_config": {"state": "present"}}]}]
    failed = run_playbook(play, tmp_path, "-vvv", "--diff", hosts={"app1": variables}).failed()
    assert "there is no such engine, did you mean postgresql?" in failed.output
    assert "holdfast_scheduler: is none of its choices" in failed.output
    assert "secret_key: unknown key for type local; it belongs to s3" in failed.output
    assert "notification channel team: url" in failed.output
    assert "hush" not in failed.output
    assert "UNREACHABLE" not in failed.output
    assert "SSH" not in failed.output, "nobody was called"
