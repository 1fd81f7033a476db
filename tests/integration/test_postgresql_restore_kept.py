# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The databases that restores have replaced: kept, told of, and dropped when it was asked for, and no others."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._engines._pg import _restore
from ansible_collections.holdfast.ops.plugins.module_utils._errors import InvalidOption
from ansible_collections.holdfast.ops.plugins.module_utils._manifest import utc_now
from ansible_collections.holdfast.ops.tests.support.component import Component
from ansible_collections.holdfast.ops.tests.support.postgres import EmbeddedPostgres

COMMENT = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"


@pytest.fixture
def component(tmp_path: Path) -> Iterator[Component]:
    with contextlib.closing(Component(tmp_path)) as one:
        yield one


@pytest.fixture
def stored(pg18: EmbeddedPostgres, database: Any, component: Component) -> str:
    """A database with a comment, and a backup of it."""
    name: str = database(pg18)
    pg18.psql(
        f"CREATE TABLE t AS SELECT generate_series(1, 9) AS id; COMMENT ON DATABASE {name} IS 'two\nlines'", db=name
    )
    component.backup(pg18, name)
    return name


def replaced(
    pg18: EmbeddedPostgres, component: Component, name: str, monkeypatch: pytest.MonkeyPatch, days: int = 0
) -> str:
    """Restore, so many days ago; what the replaced database is called."""
    with monkeypatch.context() as patch:
        patch.setattr(_restore, "utc_now", lambda: utc_now() - timedelta(days=days))
        result = component.restore(pg18, confirm=name)
    assert result.proof is not None
    kept: str = result.proof.details["previous"][name]
    return kept


def beside(server: EmbeddedPostgres, name: str) -> set[str]:
    return {other for other in server.databases() if other.startswith(name)} - {name}


def test_its_comment_says_what_it_is(
    pg18: EmbeddedPostgres, component: Component, stored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = replaced(pg18, component, stored, monkeypatch, days=3)
    day = f"{utc_now() - timedelta(days=3):%Y-%m-%dT}"
    comment = pg18.value(COMMENT, parameters=[kept])
    assert comment.startswith(f"two\nlines\nholdfast: replaced at {day}")
    assert comment.endswith(f", was {stored}")
    assert pg18.value(COMMENT, parameters=[stored]) == "two\nlines"


def test_the_next_restore_tells_how_to_drop_it(
    pg18: EmbeddedPostgres, component: Component, stored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = replaced(pg18, component, stored, monkeypatch)
    result = component.restore(pg18, confirm=stored, check=True)
    (told,) = (warning for warning in result.warnings if kept in warning)
    assert f'DROP DATABASE "{kept}"' in told
    pg18.psql(f'DROP DATABASE "{kept}"')
    assert not any("Earlier restores" in w for w in component.restore(pg18, confirm=stored, check=True).warnings)


def test_those_that_are_old_enough_go_once_the_restore_is_done(
    pg18: EmbeddedPostgres, component: Component, stored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, young = (replaced(pg18, component, stored, monkeypatch, days=days) for days in (15, 3))
    assert beside(pg18, stored) == {old, young}
    planned = component.restore(pg18, confirm=stored, check=True, keep_previous_for="14d")
    assert any(line.startswith(f"drop database '{old}'") for line in planned.plan.summary)
    assert beside(pg18, stored) == {old, young}
    result = component.restore(pg18, confirm=stored, keep_previous_for="14d")
    assert result.proof is not None
    assert result.proof.details["dropped"] == [old]
    assert beside(pg18, stored) == {young, result.proof.details["previous"][stored]}
    assert any(young in warning for warning in result.warnings)


def test_a_restore_that_fails_drops_none(
    pg18: EmbeddedPostgres, component: Component, stored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = replaced(pg18, component, stored, monkeypatch, days=15)
    monkeypatch.setattr(
        _restore, "swap", lambda *_arguments: (each for each in ()).throw(InvalidOption("no swap today."))
    )
    with pytest.raises(InvalidOption, match="no swap today"):
        component.restore(pg18, confirm=stored, keep_previous_for="14d")
    assert beside(pg18, stored) == {old}


def test_what_people_have_made_or_renamed_is_theirs(
    pg18: EmbeddedPostgres, component: Component, stored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    renamed, of_another = f"{stored}_mine", f"{stored}_other_before_20200101T000000Z"
    alike, no_time = f"{stored}_before_20200101T000000Z", f"{stored}_before_20200102T000000Z"
    old = replaced(pg18, component, stored, monkeypatch, days=15)
    pg18.psql(f'ALTER DATABASE "{old}" RENAME TO "{renamed}"')
    for name in (of_another, alike, no_time):
        pg18.create_database(name)
    pg18.psql(
        f"""COMMENT ON DATABASE "{of_another}" IS 'holdfast: replaced at 2020-01-01T00:00:00Z, was {stored}_other';
            COMMENT ON DATABASE "{no_time}" IS 'holdfast: replaced at 1.1.2020, was {stored}'"""
    )
    component.restore(pg18, confirm=stored, keep_previous=False, keep_previous_for="0s")
    assert beside(pg18, stored) == {renamed, of_another, alike, no_time}


@pytest.mark.parametrize("wrong", ["two weeks", "-1d", "14"])
def test_an_age_that_is_none(pg18: EmbeddedPostgres, component: Component, stored: str, wrong: str) -> None:
    with pytest.raises(InvalidOption, match="keep_previous_for"):
        component.restore(pg18, confirm=stored, keep_previous_for=wrong)
    assert beside(pg18, stored) == set()
