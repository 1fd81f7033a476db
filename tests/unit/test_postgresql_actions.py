# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The actions on PostgreSQL without a server: how batches grow, what is needed, what is meant, what is documented."""

from __future__ import annotations

import csv
import io
import re
import time
from typing import Any

import pytest
import yaml
from ansible_collections.holdfast.ops.plugins.module_utils._declaration._report import Report
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._interface import Action
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._kinds._postgresql_purge import PostgresqlPurge
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._kinds._postgresql_terminate import (
    PostgresqlTerminate,
)
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._kinds._postgresql_vacuum import (
    PostgresqlVacuum,
)
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._module import module_spec
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._pg._login import LOGIN_SPEC
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._pg._purge_archive import rows_in
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._pg._purge_pace import (
    COMMIT_SECONDS,
    STATEMENT_SECONDS,
    TRANSACTION_SECONDS,
    WANTED_SECONDS,
    Pace,
)
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._pg._purge_plan import clocks_apart
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._pg._purge_target import comparison
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._pg._sessions import regex
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._pg._vacuum import (
    TableState,
    Thresholds,
    need_of,
    order_of,
    with_sums,
)
from ansible_collections.holdfast.ops.plugins.modules import (
    postgresql_purge,
    postgresql_terminate,
    postgresql_vacuum,
)
from hypothesis import given
from hypothesis import strategies as st

KINDS = [
    (PostgresqlPurge, postgresql_purge),
    (PostgresqlTerminate, postgresql_terminate),
    (PostgresqlVacuum, postgresql_vacuum),
]
COMPARED = ("type", "elements", "required", "choices", "default")


class TestPace:
    @given(st.integers(-5, 10**6), st.integers(-5, 10**6), st.lists(st.one_of(st.none(), st.floats(0, 100))))
    def test_it_never_leaves_its_bounds(self, size: int, most: int, history: list[float | None]) -> None:
        pace = Pace(size, most)
        for seconds in history:
            before = pace.size
            if seconds is None:
                assert pace.timed_out() == (before > 1)
                assert pace.size < before or before == 1
            else:
                pace.took(seconds)
                assert pace.size <= 2 * before
            assert 1 <= pace.size <= max(1, most)

    @given(st.integers(1, 50_000), st.floats(1e-6, STATEMENT_SECONDS * 0.99), st.floats(0, 0.5))
    def test_whatever_a_row_costs_batches_come_to_last_what_they_should(
        self, size: int, per_row: float, overhead: float
    ) -> None:
        pace = Pace(size, 50_000)
        for _attempt in range(60):
            seconds = overhead + pace.size * per_row
            if seconds > STATEMENT_SECONDS:
                assert pace.timed_out() or pace.size == 1
            else:
                pace.took(seconds)
        lasts = overhead + pace.size * per_row
        assert pace.size == 1 or lasts <= STATEMENT_SECONDS
        assert pace.size == 50_000 or lasts + 2 * per_row >= WANTED_SECONDS / 2

    @given(st.integers(1, 10**6))
    def test_after_timeouts_a_single_row_is_tried_soon(self, size: int) -> None:
        pace = Pace(size, 10**6)
        tries = 1
        while pace.timed_out():
            tries += 1
        assert pace.size == 1
        assert tries <= 9

    def test_statements_and_commit_fit_into_a_transaction(self) -> None:
        assert STATEMENT_SECONDS + COMMIT_SECONDS < TRANSACTION_SECONDS <= 5


class TestRowsInCsv:
    @given(st.lists(st.lists(st.text(st.sampled_from('a",\n\\ü')), min_size=1, max_size=3), max_size=5))
    def test_line_ends_within_quotes_end_no_row(self, rows: list[list[str]]) -> None:
        written = io.StringIO()
        csv.writer(written, lineterminator="\n", quoting=csv.QUOTE_MINIMAL).writerows(rows)
        assert rows_in(written.getvalue().encode()) == len(rows)


@pytest.mark.parametrize(
    ("value", "sql"),
    [
        ("open", "c IN ('open')"),
        ("it's; DROP", "c IN ('it''s; DROP')"),
        (True, "c IN ('true')"),
        ([1, 2.5], "c IN ('1', '2.5')"),
        (None, "c IS NULL"),
        (["x", None], "(c IN ('x') OR c IS NULL)"),
    ],
)
def test_a_condition_is_a_comparison_with_literals(value: Any, sql: str) -> None:
    assert comparison("c", value) == sql


@given(st.text(st.sampled_from("ab*?.+[]()|^$\\-'{ ü")), st.text(st.sampled_from("ab.+[]()|^$\\-'{ ü")))
def test_a_name_with_wildcards_means_what_it_says(glob: str, name: str) -> None:
    """Python reads these expressions as PostgreSQL does."""
    parts = re.split(r"([*?])", glob)
    meant = "".join({"*": ".*", "?": "."}.get(part, re.escape(part)) for part in parts)
    assert bool(re.search(regex(glob), name)) == bool(re.fullmatch(meant, name))


def table(**values: Any) -> TableState:
    names = dict.fromkeys(TableState.__dataclass_fields__, 0)
    plain = {**names, "schema": "public", "name": "t", "kind": "r", "allowed": True, "parents": None}
    return TableState(**{**plain, "vacuumed_at": None, "analyzed_at": "2026-11-22T00:00:00Z", **values})


class TestNeed:
    limits = Thresholds(dead_percent=10, changed_percent=20, rows=100)

    @pytest.mark.parametrize(
        ("values", "mode", "needs"),
        [
            ({"live": 1000, "dead": 112}, "vacuum_analyze", (True, False)),
            ({"live": 1000, "dead": 112}, "analyze", None),
            ({"live": 1000, "dead": 112, "changed": 200}, "vacuum_analyze", (True, True)),
            ({"live": 1000, "changed": 199}, "vacuum_analyze", None),
            ({"live": 10, "dead": 99, "changed": 99}, "vacuum_analyze", None),  # too few to matter
            ({"live": 1, "analyzed_at": None}, "analyze", (False, True)),
            ({"live": 0, "analyzed_at": None}, "analyze", None),
            ({"estimate": 10**6, "live": 0, "dead": 5000}, "vacuum", None),  # statistics that began anew
            ({"kind": "p", "dead": 10**6, "analyzed_at": None}, "vacuum_analyze", (False, True)),
        ],
    )
    def test_by_dead_and_changed_rows(self, values: Any, mode: str, needs: tuple[bool, bool] | None) -> None:
        need = need_of(table(**values), mode, self.limits)
        assert (need and (need.vacuum, need.analyze)) == needs

    def test_a_partitioned_table_has_what_its_partitions_have_on_all_levels_and_comes_first(self) -> None:
        tables = [
            table(oid=1, name="top", kind="p"),
            table(oid=2, name="middle", kind="p", parents=[1]),
            table(oid=3, name="leaf", live=300, changed=150, dead=1000, parents=[2]),
            table(oid=4, name="other", live=700, changed=70, parents=[1]),
        ]
        summed = with_sums(tables)
        assert [(each.live, each.changed) for each in summed[:2]] == [(1000, 220), (300, 150)]
        needs = sorted((n for n in (need_of(t, "vacuum_analyze", self.limits) for t in summed) if n), key=order_of)
        assert [each.table.name for each in needs] == ["top", "middle", "leaf"]


def documented_as(documentation: dict[str, Any], spec: dict[str, Any]) -> None:
    assert set(documentation) == set(spec)
    for name, option in spec.items():
        said = documentation[name]
        assert {key: said.get(key) for key in COMPARED} == {key: option.get(key) for key in COMPARED}, name
        if "options" in option:
            documented_as(said["suboptions"], option["options"])


@pytest.mark.parametrize(("kind", "module"), KINDS, ids=lambda each: getattr(each, "name", ""))
def test_the_documentation_is_what_the_spec_says(kind: type[Action], module: Any) -> None:
    spec = dict(module_spec(kind).options)
    own = {name: option for name, option in spec.items() if name == "database" or name not in LOGIN_SPEC.options}
    documented_as(yaml.safe_load(module.DOCUMENTATION)["options"], own)


def problems(kind: type[Action], **given: Any) -> list[str]:
    lines: list[str] = []
    options = {name: option.get("default") for name, option in kind.SPEC.options.items()}
    kind.examine({**options, "database": "shop", **given}, Report(lines, "task"))
    return lines


@pytest.mark.parametrize(
    ("kind", "given", "key"),
    [
        (PostgresqlVacuum, {"mode": "FULL"}, "mode: is refused"),
        (PostgresqlVacuum, {"dead_percent": 101}, "dead_percent"),
        (PostgresqlVacuum, {"max_runtime": "0s"}, "max_runtime"),
        (PostgresqlVacuum, {"tables": ["a.b.c"]}, "tables[0]"),
        (PostgresqlVacuum, {"login_port": 70000}, "login_port"),
        (PostgresqlTerminate, {"older_than": "5m", "states": ["idle"], "mode": "cancel"}, "mode"),
        (PostgresqlTerminate, {"older_than": "0s", "states": ["idle"]}, "older_than"),
        (PostgresqlTerminate, {"older_than": "5m", "states": []}, "states"),
        (PostgresqlTerminate, {"older_than": "5m", "states": ["idle"], "databases": ["all", "a"]}, "databases"),
        (PostgresqlPurge, {"older_than": "9d", "table": "a*", "column": "at"}, "table: must be one table"),
        (PostgresqlPurge, {"older_than": "0d", "table": "a", "column": "at"}, "older_than"),
        (PostgresqlPurge, {"older_than": "9d", "table": "a", "column": "at", "where": {"x": {"y": 1}}}, "where.x"),
        (PostgresqlPurge, {"older_than": "9d", "table": "a", "column": "at", "most": 0}, "most"),
        (PostgresqlPurge, {"older_than": "9d", "tables": [{"table": "a?", "column": "at"}]}, "tables[0].table"),
        (PostgresqlPurge, {"older_than": "9d", "tables": []}, "tables"),
        (
            PostgresqlPurge,
            {"older_than": "9d", "table": "a", "column": "at", "archive_directory": "x"},
            "archive_directory",
        ),
        # What a template has left empty must not mean everybody.
        (PostgresqlTerminate, {"older_than": "5m", "states": ["idle"], "users": []}, "users: is empty"),
        (PostgresqlTerminate, {"older_than": "5m", "states": ["idle"], "applications": []}, "applications: is empty"),
        (PostgresqlTerminate, {"older_than": "5m", "states": ["idle"], "databases": []}, "databases: is empty"),
        (PostgresqlTerminate, {"older_than": "5m", "states": ["idle"], "query_matches": ""}, "query_matches: is empty"),
    ],
)
def test_what_cannot_be_right_is_refused_naming_the_key(kind: type[Action], given: dict[str, Any], key: str) -> None:
    (line,) = problems(kind, **given)
    assert line.startswith(f"task: {key}")


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (PostgresqlVacuum, {}),
        (PostgresqlTerminate, {"older_than": "5m", "states": ["active"], "mode": "cancel"}),
        (PostgresqlPurge, {"older_than": "9d", "table": '"a.b".c', "column": "at", "where": {"x": [1, None]}}),
    ],
)
def test_what_can_be_right_is_not_refused(kind: type[Action], given: dict[str, Any]) -> None:
    assert problems(kind, **given) == []


@pytest.mark.parametrize(("ahead", "said"), [(0, ""), (240, ""), (40 * 86400, "40 d apart"), (-3600, "60 min apart")])
def test_a_server_whose_clock_is_wrong_is_not_believed(ahead: float, said: str) -> None:
    class Clock:
        def value(self, _query: str, _timeout: float) -> float:
            return time.time() + ahead

    reasons = clocks_apart(Clock(), 1.0)  # type: ignore[arg-type]
    assert bool(reasons) == bool(said)
    assert said in "".join(reasons)
