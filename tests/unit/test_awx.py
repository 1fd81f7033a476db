# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sample project for AWX offers every playbook, and asks only for what playbooks read."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

TOP = Path(__file__).parents[2]
PROJECT = TOP / "docs" / "awx"
PLAYBOOKS = sorted((TOP / "playbooks").glob("*.yml"))
SURVEYS = sorted(PROJECT.glob("surveys/*.json"))


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda path: path.stem)
def test_a_playbook_has_its_line(playbook: Path) -> None:
    plays = yaml.safe_load((PROJECT / playbook.name).read_text(encoding="utf-8"))
    assert [play["ansible.builtin.import_playbook"] for play in plays] == [f"holdfast.ops.{playbook.stem}"]


def test_there_is_no_other_line() -> None:
    assert {path.stem for path in PROJECT.glob("*.yml")} == {path.stem for path in PLAYBOOKS} | {"runtime"}


def test_the_table_names_every_playbook_and_its_survey() -> None:
    rows = re.findall(r"^\|[^|]+\| `(\w+)\.yml` \| (\S+) \|", (PROJECT / "README.md").read_text("utf-8"), re.MULTILINE)
    assert {name for name, _survey in rows} == {path.stem for path in PLAYBOOKS}
    named = {survey.strip("`") for _name, survey in rows} - {"–"}
    assert named == {f"surveys/{path.name}" for path in SURVEYS}


@pytest.mark.parametrize("survey", SURVEYS, ids=lambda path: path.stem)
def test_a_survey_asks_for_what_its_playbooks_read(survey: Path) -> None:
    rows = re.findall(r"`(\w+)\.yml` \| `surveys/([^`]+)`", (PROJECT / "README.md").read_text("utf-8"))
    readers = [(TOP / "playbooks" / f"{name}.yml").read_text("utf-8") for name, its in rows if its == survey.name]
    assert readers
    asked: dict[str, Any] = json.loads(survey.read_text(encoding="utf-8"))
    for question in asked["spec"]:
        for text in readers:
            assert question["variable"] in text, question


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda path: path.stem)
def test_the_head_of_a_playbook_tells_how_to_call_it(playbook: Path) -> None:
    head = playbook.read_text(encoding="utf-8").split("\n- ", 1)[0]
    assert f"holdfast.ops.{playbook.stem}" in head
