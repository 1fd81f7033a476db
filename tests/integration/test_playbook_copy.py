# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook copy: backups reach a second repository after the fact, and restore from there."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.tests.support.playbook import PlaybookRun, run_playbook

pytestmark = [pytest.mark.ansible, pytest.mark.xdist_group("playbook_copy")]


class Site:
    """A tree, the repository that it is backed up to, and one that is declared beside it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.tree = directory / "documents"
        self.tree.mkdir()
        self.primary, self.offsite = directory / "primary", directory / "offsite"
        self.variables: dict[str, Any] = {
            "ansible_become": False,
            "holdfast_interpreter": sys.executable,
            "holdfast_repositories": {
                "primary": {"type": "local", "path": str(self.primary)},
                "offsite": {"type": "local", "path": str(self.offsite)},
            },
            "holdfast_components": [
                {
                    "name": "documents",
                    "engine": "files",
                    "path": str(self.tree),
                    "state_dir": str(directory / "state"),
                    "repositories": ["primary"],
                }
            ],
        }

    def run(self, verb: str, *arguments: str, **extra_vars: Any) -> PlaybookRun:
        hosts = {"localhost": self.variables}
        return run_playbook(f"holdfast.ops.{verb}", self.directory, *arguments, extra_vars=extra_vars, hosts=hosts)

    def back_up(self, content: str) -> str:
        (self.tree / "file").write_text(content)
        before = set(ids(self.primary))
        self.run("backup").succeeded()
        (new,) = set(ids(self.primary)) - before
        return new


def ids(repository: Path) -> list[str]:
    """The backups that have a manifest, read from the disk."""
    return sorted(json.loads(path.read_text())["id"] for path in repository.glob("documents/manifests/*.json"))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_what_is_missing_is_copied_once_and_restores_when_the_first_place_is_gone(site: Site) -> None:
    backups = [site.back_up("one"), site.back_up("two")]

    checked = site.run("copy", "--check", "--diff", holdfast_destination="offsite").succeeded()
    assert "2 backups would be copied from primary to offsite" in checked.output
    assert not site.offsite.exists()

    done = site.run("copy", holdfast_destination="offsite").succeeded()
    assert done.report == ["documents: 2 backups copied from primary to offsite, 0 already there."]
    assert ids(site.offsite) == sorted(backups)
    assert site.run("copy", holdfast_destination="offsite").succeeded().counts["changed"] == 0

    shutil.rmtree(site.primary)
    shutil.rmtree(site.tree)
    site.variables["holdfast_components"][0]["repositories"] = ["offsite"]
    site.run("restore", holdfast_component="documents", holdfast_backup_id=backups[0]).succeeded()
    assert (site.tree / "file").read_text() == "one"


def test_one_backup_can_be_named_and_the_way_back_is_the_same(site: Site) -> None:
    backups = [site.back_up("one"), site.back_up("two")]
    site.run("copy", holdfast_destination="offsite", holdfast_backup_id=backups[1]).succeeded()
    assert ids(site.offsite) == [backups[1]]

    shutil.rmtree(site.primary)
    back = {"holdfast_source": "offsite", "holdfast_destination": "primary"}
    site.run("copy", **back, holdfast_newer_than="1h").succeeded()
    assert ids(site.primary) == [backups[1]]


def test_a_destination_that_is_not_declared_is_refused_and_one_is_demanded(site: Site) -> None:
    failed = site.run("copy", holdfast_destination="ofsite").failed()
    assert "destination: no such repository is declared, did you mean offsite?" in failed.output
    assert "Say where to copy to" in site.run("copy").failed().output
    assert not site.primary.exists(), "something was contacted"
