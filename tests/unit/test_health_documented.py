# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind of health check is registered, follows the rules of the house, and stands in docs/health.md as it is."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._declaration._spec import KINDS as TYPES
from ansible_collections.holdfast.ops.plugins.module_utils._health._parse import COMMON
from ansible_collections.holdfast.ops.plugins.module_utils._health._registry import KINDS

TOP = Path(__file__).parents[2]
PAGE = (TOP / "docs" / "health.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(\w+)` \| ([^|]*?) ?\| (.+) \|$", re.MULTILINE)


def spelled(option: dict[str, Any]) -> str:
    """A default as the page writes it."""
    if option.get("required"):
        return "required"
    value = option.get("default")
    if value is None or value in ([], {}):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def table(text: str) -> dict[str, str]:
    return {name: default for name, default, _meaning in ROW.findall(text)}


def test_every_file_of_a_kind_is_registered() -> None:
    files = {path.stem.lstrip("_") for path in (TOP / "plugins/module_utils/_health/_kinds").glob("_*.py")}
    assert files - {"init__"} == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_documented_with_its_options_and_defaults(kind: str) -> None:
    section = PAGE.split(f"\n### {kind}\n")[1].split("\n### ")[0]
    assert table(section) == {name: spelled(dict(option)) for name, option in KINDS[kind].SPEC.options.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_in_the_list_of_kinds_and_in_the_modules_documentation(kind: str) -> None:
    assert f"| [`{kind}`](#{kind}) |" in PAGE
    module = (TOP / "plugins/modules/health_check.py").read_text(encoding="utf-8")
    assert f"C({kind})" in module


def test_the_keys_of_every_check_are_documented() -> None:
    section = PAGE.split("\n## Every check\n")[1].split("\n## ")[0]
    assert table(section) == {name: spelled(dict(option)) for name, option in COMMON.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_secret_can_stand_in_a_file_and_no_option_is_a_key_of_every_check(kind: str) -> None:
    options = KINDS[kind].SPEC.options
    assert not options.keys() & COMMON.keys()
    for name, option in options.items():
        assert option["type"] in {*TYPES, "list"}
        if option.get("no_log"):
            assert option["type"] == "str", name
            assert options[f"{name}_file"]["type"] == "path", name
        if "password" in name or "token" in name or "secret" in name:
            assert "no_log" in option, name


def test_no_kind_imports_a_library_when_it_is_registered() -> None:
    """`holdfast health` of a liveness probe must not pay for TLS or drivers that it does not use."""
    heavy = {"ssl", "http.client", "http", "urllib.request", "psycopg", "docker", "asyncio", "email"}
    for path in (TOP / "plugins/module_utils/_health").rglob("_*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not heavy & set(names), path
