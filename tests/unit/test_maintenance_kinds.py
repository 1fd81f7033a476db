# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every kind of maintenance has in common: it is registered, documented, and its options can be declared."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._declaration._spec import KINDS as TYPES
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._interface import NEVER, PARTS, Action, Kind
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._module import module_spec
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._parse import COMMON
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._registry import KINDS

TOP = Path(__file__).parents[2]
EACH = pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)


def module_of(kind: type[Kind]) -> Path:
    return TOP / "plugins" / "modules" / f"{kind.name}{'' if kind.action else '_info'}.py"


def test_every_file_of_a_kind_is_registered() -> None:
    directory = TOP / "plugins" / "module_utils" / "_maintenance" / "_kinds"
    files = {path.stem for path in directory.glob("_*.py") if path.name != "__init__.py"}
    assert files == {kind.__module__.rpartition(".")[2] for kind in KINDS.values()}
    assert files == {f"_{name}" for name in KINDS}


@EACH
def test_a_kind_has_a_module_of_its_own_and_a_page(kind: type[Kind]) -> None:
    path = module_of(kind)
    assert path.is_file()
    assert kind.__name__ in path.read_text(encoding="utf-8")
    assert f"(maintenance/{kind.name}.md)" in (TOP / "docs" / "maintenance.md").read_text(encoding="utf-8")
    assert (TOP / "docs" / "maintenance" / f"{kind.name}.md").is_file()


@EACH
def test_a_report_runs_daily_and_an_action_never_by_itself(kind: type[Kind]) -> None:
    assert kind.action == issubclass(kind, Action)
    assert kind.every in (PARTS if not kind.action else (NEVER,))


@EACH
def test_its_options_can_be_declared_and_given_to_a_module(kind: type[Kind]) -> None:
    assert not set(kind.SPEC.options) & set(COMMON)
    assert module_spec(kind).module()["supports_check_mode"]
    for name, option in options_below(kind.SPEC.options):
        # What both Ansible and the declaration know.
        assert option.get("type", "str") in {*TYPES, "list"} - {"name", "unit", "duration", "positive_duration"}, name


@EACH
def test_a_secret_can_stand_in_a_file(kind: type[Kind]) -> None:
    for name, option in kind.SPEC.options.items():
        if option.get("no_log") is True:
            assert f"{name}_file" in kind.SPEC.options, name


def options_below(options: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, option in options.items():
        yield name, option
        yield from options_below(option.get("options") or {})


@EACH
def test_it_changes_nothing_of_its_process(kind: type[Kind]) -> None:
    """Kinds are looked at side by side, as threads: what one changes of the process, all have."""
    path = TOP / "plugins" / "module_utils" / "_maintenance" / "_kinds" / f"{kind.__module__.rpartition('.')[2]}.py"
    text = path.read_text(encoding="utf-8")
    called = {ast.unparse(node.func) for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)}
    assert not called & {"os.chdir", "os.umask", "os.putenv", "os.fork", "signal.signal", "signal.alarm"}
    assert not re.search(r"os\.environ\[.*\] = |os\.environ\.(update|setdefault|pop)", text)
