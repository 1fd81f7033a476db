# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the fragment `repository` documents is what the specs take, option by option."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml
from ansible_collections.holdfast.ops.plugins.doc_fragments.repository import ModuleDocFragment
from ansible_collections.holdfast.ops.plugins.module_utils._arguments import REPOSITORY
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._registry import REPOSITORIES

COMPARED = ("type", "elements", "required", "choices", "default")


def documented() -> dict[str, Any]:
    options: dict[str, Any] = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]
    return options


def assert_equal(documentation: Mapping[str, Any], spec: Mapping[str, Any], where: str) -> None:
    assert set(documentation) == set(spec), where
    for name, option in spec.items():
        said, place = documentation[name], f"{where}.{name}"
        assert {key: said.get(key) for key in COMPARED} == {key: option.get(key) for key in COMPARED}, place
        if "options" in option:
            assert_equal(said["suboptions"], option["options"], place)


def test_fragment_and_specs_agree() -> None:
    assert_equal(documented(), REPOSITORY.options, "repository")


def test_every_option_of_a_store_says_which_type_it_belongs_to() -> None:
    suboptions = documented()["repositories"]["suboptions"]
    for kind, store in REPOSITORIES.items():
        for name in store.OPTIONS:
            text = suboptions[name]["description"]
            first = text if isinstance(text, str) else text[0]
            # `sse_kms_key_id` belongs to an option that belongs to a type.
            assert f"O(repositories[].type={kind})" in first or first.startswith("O(repositories[]."), name
