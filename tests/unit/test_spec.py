# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Specs merge, and come out as `AnsibleModule` takes them."""

from __future__ import annotations

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._spec import Spec

CONSTRAINTS = ("mutually_exclusive", "required_together", "required_one_of", "required_if")


def full(name: str) -> Spec:
    option = {"type": "str"}
    relations = {constraint: [[f"{name}-{constraint}"]] for constraint in CONSTRAINTS}
    return Spec({name: option}, **relations, required_by={name: ["x"]})


def test_both_specs_are_in_their_sum() -> None:
    both = (full("a") + full("b")).module()
    assert both.pop("argument_spec") == {"a": {"type": "str"}, "b": {"type": "str"}}
    assert both.pop("required_by") == {"a": ["x"], "b": ["x"]}
    assert both.pop("supports_check_mode") is True
    assert both == {constraint: [[f"a-{constraint}"], [f"b-{constraint}"]] for constraint in CONSTRAINTS}


def test_an_option_is_declared_once() -> None:
    with pytest.raises(ValueError, match="option declared twice: a"):
        full("a") + full("a")


def test_suboptions_bring_their_constraints() -> None:
    option = {"type": "dict", "options": {"a": {}}, "required_if": [["a", 1, ["b"]]], "mutually_exclusive": None}
    assert Spec.below(option) == Spec({"a": {}}, required_if=[["a", 1, ["b"]]])
