# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No value of a declaration ever shows in a message, and whatever a user writes gives a result or problems."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml
from ansible_collections.holdfast.ops.plugins.module_utils._declaration._report import InvalidDeclaration
from ansible_collections.holdfast.ops.tests.support.declaration import FULL, read
from hypothesis import given
from hypothesis import strategies as st

Path = tuple[Any, ...]


def paths(value: Any, here: Path = ()) -> list[Path]:
    """Every place of a document, containers included."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, item in items for place in ((*here, key), *paths(item, (*here, key)))]


PLACES = paths(yaml.safe_load(FULL))

_word = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=8, max_size=20)
# A name is repeated once it is known to be one, so what stands where a name belongs has a character that none has.
secrets = st.builds("{}{}{}".format, _word, st.sampled_from("!$%&/()=?+*#' :,;@{}\n\\\""), _word)


def plant(document: Any, place: Path, value: Any) -> None:
    for key in place[:-1]:
        document = document[key]
    document[place[-1]] = value


@given(st.sampled_from(PLACES), secrets, st.sampled_from(["plain", "list", "mapping", "key", "glued", "broken"]))
def test_a_secret_anywhere_shows_in_no_message(place: Path, secret: str, how: str) -> None:
    document = yaml.safe_load(FULL)
    values: dict[str, Any] = {
        "plain": secret,
        "list": [secret, {"x": secret}],
        "mapping": {"login_password": secret, "x": [secret]},
        "key": {secret: None},
        "glued": {f"secret_key:{secret}": None},
        "broken": secret,
    }
    if how == "broken":
        # One more problem, so that a secret in a right place is among those that could show.
        document["components"][0]["zzz"] = document["repositories"]["primary"]["zzz"] = secret
    plant(document, place, values[how])
    assert_hidden(document, secret)


@given(st.sampled_from([place for place in PLACES if place[-1] != "name"]), _word)
def test_a_secret_that_looks_like_a_name_shows_in_no_message_either(place: Path, secret: str) -> None:
    document = yaml.safe_load(FULL)
    document["components"][0]["zzz"] = 1
    plant(document, place, secret)
    assert_hidden(document, secret)


@given(st.lists(st.sampled_from(PLACES), min_size=2, max_size=8), secrets)
def test_secrets_in_many_places_show_in_no_message(places: list[Path], secret: str) -> None:
    document = yaml.safe_load(FULL)
    for place in sorted(places, key=len, reverse=True):
        plant(document, place, secret)
    assert_hidden(document, secret)


def assert_hidden(document: dict[str, Any], secret: str) -> None:
    before = copy.deepcopy(document)
    try:
        declaration = read(document["components"], document["repositories"])
    except InvalidDeclaration as error:
        assert error.problems
        assert secret not in str(error)
        assert secret not in repr(error.result())
        assert all("\n" not in line for line in error.problems)
    else:
        assert declaration.components
        assert secret not in repr(declaration.repositories)
    assert document == before, "the user's own document was changed"


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(PLACES), json_like)
def test_whatever_stands_anywhere_gives_a_result_or_problems(place: Path, value: Any) -> None:
    document = yaml.safe_load(FULL)
    plant(document, place, value)
    try:
        declaration = read(document["components"], document["repositories"])
    except InvalidDeclaration as error:
        assert error.problems
    else:
        for component in declaration.components:
            for verb in ("backup", "restore", "verify", "prune", "info"):
                assert component.module_args(verb)["component"] == component.name


@given(json_like, json_like)
def test_two_variables_of_any_kind_give_problems(components: Any, repositories: Any) -> None:
    with pytest.raises(InvalidDeclaration):
        read(components, repositories)


def test_the_document_of_the_secrets_is_right_by_itself() -> None:
    document = yaml.safe_load(FULL)
    assert len(read(document["components"], document["repositories"]).components) == 2
