# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No literal of a query survives in what a report shows of it."""

from __future__ import annotations

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._pg._queries import SHOWN, shown
from hypothesis import given
from hypothesis import strategies as st

SECRET = "ΛΞΠΣΨ"
"""Letters that stand in literals and nowhere else."""

contents = st.text(alphabet=SECRET + "ab'\\$\"-*/ \n?9", max_size=12).map(lambda text: f"Λ{text}Ξ")


def plain(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def escaped(text: str) -> str:
    return "E'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def dollared(text: str) -> str:
    tag = "$q$" if "$" in text else "$$"
    return f"{tag}{text.replace('$q$', '')}{tag}"


literals = st.one_of(
    contents.map(plain),
    contents.map(lambda text: f"U&{plain(text)}"),
    contents.map(lambda text: f"n{plain(text)}"),
    contents.map(escaped),
    contents.map(lambda text: f"e{plain(text.replace(chr(92), ''))}"),
    contents.map(dollared),
    contents.map(lambda text: f"/* {text.replace('*', '').replace('/', '')} /* Σ */ Π */"),
    contents.map(lambda text: "-- " + text.replace("\n", "") + "\n"),
)
code = st.sampled_from(
    ["SELECT", "a1", "=", "||", " ", "\n", ",", "$1", '"Na""me"', "(", ")", "::text", "->>", ";", "- ", "e", "u&", "*"]
)


@given(st.lists(st.tuples(code, literals), max_size=6), st.integers(0, 400))
def test_no_literal_survives(pieces: list[tuple[str, str]], cut: int) -> None:
    query = "".join(f"{before} {literal} " for before, literal in pieces)
    for text in (query, query[:cut]):  # the server cuts long texts anywhere
        assert not set(shown(text, 10_000)) & set(SECRET), text


@given(st.text(alphabet="ab'\\\"$1 \n/*-", max_size=60))
def test_every_text_is_shown_on_one_line(text: str) -> None:
    assert len(shown(text).splitlines()) <= 1
    assert shown(text) == shown(text).strip()


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(), st.sampled_from(["{}", "0x{}", "{}_7", "{}e5"]))
def test_no_number_survives(real: float, whole: int, form: str) -> None:
    for number in (str(abs(real)), form.format(abs(whole))):
        assert shown(f"SELECT {number} + t1.c2 - {number}") == "SELECT ? + t1.c2 - ?"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT * FROM t1\n\tWHERE id = 42 AND name = 'O''Hara'", "SELECT * FROM t1 WHERE id = ? AND name = ?"),
        ("INSERT INTO a VALUES ($1, $2, -1.5e-7, .5)", "INSERT INTO a VALUES ($1, $2, -?, ?)"),
        ("ALTER ROLE app PASSWORD 'hunter2'", "ALTER ROLE app PASSWORD ?"),
        ("DO $do$ BEGIN PERFORM 'x'; END $do$ LANGUAGE plpgsql", "DO ? LANGUAGE plpgsql"),
        ("SELECT a$b$c FROM \"Odd 'name\" -- 'said\n WHERE x", 'SELECT a$b$c FROM "Odd \'name" WHERE x'),
        ("SELECT 'cut o", "SELECT ? …"),
        ('SELECT "cut o', "SELECT …"),
        (r"SELECT 'a\'secret' FROM t", "SELECT ? …"),
        ("<insufficient privilege>", "<insufficient privilege>"),
        ("", ""),
        (None, ""),
    ],
)
def test_what_is_shown(query: str | None, expected: str) -> None:
    assert shown(query) == expected


def test_a_long_query_is_cut() -> None:
    text = shown("SELECT " + "column_name, " * 100)
    assert len(text) == SHOWN
    assert text.endswith("…")
