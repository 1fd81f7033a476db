# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report on PostgreSQL: what is documented is what is taken and told, and what cannot be right is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.holdfast.ops.plugins.doc_fragments import container, postgresql_login
from ansible_collections.holdfast.ops.plugins.module_utils._declaration._report import Report
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._kinds._postgresql_report import (
    PostgresqlReport,
)
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._pg import _report_sql as sql
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._pg._report_sql import Query

TOP = Path(__file__).parents[2]
ROOM = TOP / "plugins/module_utils/_maintenance/_pg"
SPEC = PostgresqlReport.SPEC.options
COMPARED = ("type", "elements", "required", "choices", "default")


def options(text: str) -> dict[str, Any]:
    return dict(yaml.safe_load(text)["options"])


def module_options() -> dict[str, Any]:
    source = (TOP / "plugins/modules/postgresql_report_info.py").read_text(encoding="utf-8")
    return options(source.split('DOCUMENTATION = r"""')[1].split('"""')[0])


def test_what_is_documented_is_what_is_taken() -> None:
    fragments = [each.ModuleDocFragment.DOCUMENTATION for each in (postgresql_login, container)]
    said = {**{name: option for text in fragments for name, option in options(text).items()}, **module_options()}
    assert set(said) == set(SPEC)
    for name, option in SPEC.items():
        compared = {key: said[name].get(key) for key in COMPARED}
        assert compared == {key: option.get(key) for key in COMPARED}, name


def test_every_code_of_a_finding_is_documented() -> None:
    page = (TOP / "docs/maintenance/postgresql_report.md").read_text(encoding="utf-8")
    told = set()
    for path in [*ROOM.glob("_report_*.py"), ROOM / "_look.py", ROOM.parent / "_kinds/_postgresql_report.py"]:
        told |= set(re.findall(r'(?:\.finding|_tell)\(\s*"(\w+)"', path.read_text(encoding="utf-8")))
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", page.split("## What is found")[1], re.MULTILINE)
    documented = {code for row in rows for code in re.findall(r"`(\w+)`", row)}
    assert len(told) > 20
    assert told == documented


def test_defaults_on_the_page_are_those_of_the_options() -> None:
    page = (TOP / "docs/maintenance/postgresql_report.md").read_text(encoding="utf-8")
    said = dict(re.findall(r"`(\w+)` \(([^) ]+)(?: %)?\)", page))
    assert said
    for name, value in said.items():
        assert str(SPEC[name]["default"]) == value, name


def problems(**given: Any) -> list[str]:
    lines: list[str] = []
    defaults = {name: option.get("default") for name, option in SPEC.items()}
    PostgresqlReport.examine({**defaults, **given}, Report(lines, "task"))
    return lines


@pytest.mark.parametrize(
    "given",
    [
        {"blocked_age": "10"},
        {"slot_size": "1 gigantic"},
        {"dead_rows_percent": 101},
        {"dead_rows": -1},
        {"statement_timeout": -1},
        {"limit": 0},
        {"databases": []},
        {"connections_warning": 96.0},
        {"login_port": 70000},
    ],
    ids=lambda given: next(iter(given)),
)
def test_what_cannot_be_right_is_refused_naming_the_key(given: dict[str, Any]) -> None:
    (line,) = problems(**given)
    assert line.startswith(f"task: {next(iter(given))}: ")


def test_what_is_right_is_not_refused() -> None:
    assert problems() == []
    assert problems(databases=["all"], blocked_age="0s", connections_warning=None) == []


def test_queries_name_the_schema_of_every_relation_and_have_a_time() -> None:
    """Temporary relations come before those of pg_catalog."""
    queries = {name: each for name, each in vars(sql).items() if isinstance(each, Query)}
    assert len(queries) > 15
    for name, query in queries.items():
        assert 0 < query.seconds < 5, name
        assert not re.findall(r"\b(?:FROM|JOIN)\s+pg_(?!catalog\.)\w+\b(?!\()", query.sql), name
