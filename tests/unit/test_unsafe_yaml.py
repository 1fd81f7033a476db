# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is written as YAML is read back as it was, with every string tagged as one that Ansible must not template."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible_collections.holdfast.ops.plugins.module_utils._unsafe_yaml import Plain, dump
from hypothesis import given, settings
from hypothesis import strategies as st


class Tagged(str):
    """A string that carried the tag."""

    __slots__ = ()


class Loader(yaml.SafeLoader):
    """A parser that knows the tag."""


Loader.add_constructor("!unsafe", lambda loader, node: Tagged(loader.construct_scalar(node)))

# A YAML document cannot hold half of a surrogate pair; no string that came out of YAML or JSON has one.
text = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=20,
)


def strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [each for item in items for each in strings(item)]


@settings(deadline=None)  # the first call may wait for a busy machine
@given(values, st.sampled_from([2, None]))
def test_it_is_read_back_as_it_was_and_every_string_is_tagged(value: Any, indent: int | None) -> None:
    written = dump(value, indent)
    read = yaml.load(written, Loader)
    assert read == value
    assert all(isinstance(each, Tagged) for each in strings(read))
    assert written.isascii()
    assert indent is not None or "\n" not in written


def test_only_a_plain_string_has_no_tag() -> None:
    assert dump({"a": Plain("local"), "b": "{{ c }}"}, None) == '{"a": "local", "b": !unsafe "{{ c }}"}'
    assert dump({"a": [], "b": {}, "c": [1, None]}) == '{\n  "a": [],\n  "b": {},\n  "c": [\n    1,\n    null\n  ]\n}'


@pytest.mark.parametrize("value", [{1: "a"}, {"a": object()}, b"bytes"])
def test_what_yaml_would_write_in_a_form_of_its_own_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="cannot be written as YAML"):
        dump(value)
