# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A dump of the globals is read as the server would read it, whatever roles are called and passwords hold."""

from __future__ import annotations

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._engines._pg._kept import previous_name
from ansible_collections.holdfast.ops.plugins.module_utils._engines._pg._properties import settings
from ansible_collections.holdfast.ops.plugins.module_utils._engines._pg._roles import Globals, check_wanted, parse
from ansible_collections.holdfast.ops.plugins.module_utils._engines._pg._sql import identifier, literal
from ansible_collections.holdfast.ops.plugins.module_utils._errors import Corrupted, NotFound
from hypothesis import given
from hypothesis import strategies as st

DUMP = r"""
--
-- PostgreSQL database cluster dump; it's quoted
--
\restrict abc'def
SET default_transaction_read_only = off;
SET standard_conforming_strings = on;
CREATE ROLE admin;
ALTER ROLE admin WITH SUPERUSER INHERIT CREATEROLE CREATEDB LOGIN REPLICATION BYPASSRLS PASSWORD 'SCRAM-SHA$4096:a;b';
CREATE ROLE app;
ALTER ROLE app WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB LOGIN NOREPLICATION NOBYPASSRLS
    PASSWORD 'md5''x' VALID UNTIL 'infinity';
COMMENT ON ROLE app IS 'PASSWORD; CREATE ROLE evil;';
CREATE ROLE "the ""x"" one";
ALTER ROLE "the ""x"" one" WITH NOSUPERUSER NOINHERIT NOCREATEROLE NOCREATEDB NOLOGIN NOREPLICATION NOBYPASSRLS;
CREATE ROLE tablespace;
ALTER ROLE app SET search_path TO E'a\\''b', 'c';
ALTER ROLE app IN DATABASE shop SET work_mem TO '8MB';
GRANT "the ""x"" one" TO app WITH ADMIN OPTION, INHERIT TRUE GRANTED BY admin;
GRANT tablespace TO app WITH INHERIT TRUE GRANTED BY app;
GRANT SET ON PARAMETER work_mem TO tablespace;
CREATE TABLESPACE fast OWNER app LOCATION '/srv/fast';
GRANT CREATE ON TABLESPACE fast TO app;
COMMENT ON TABLESPACE fast IS 'x';
\unrestrict abc'def
"""


def kinds() -> list[tuple[str, str, str, str]]:
    return [(s.kind, s.role, s.group, s.name) for s in parse(DUMP)]


def test_every_statement_is_told_apart() -> None:
    assert kinds() == [
        ("session", "", "", ""),
        ("session", "", "", ""),
        ("create_role", "admin", "", ""),
        ("attributes", "admin", "", ""),
        ("create_role", "app", "", ""),
        ("attributes", "app", "", ""),
        ("role_note", "app", "", ""),
        ("create_role", 'the "x" one', "", ""),
        ("attributes", 'the "x" one', "", ""),
        ("create_role", "tablespace", "", ""),
        ("setting", "app", "", ""),
        ("setting", "app", "", ""),
        ("membership", "app", 'the "x" one', ""),
        ("membership", "app", "tablespace", ""),
        ("parameter", "tablespace", "", ""),
        ("tablespace", "", "", "fast"),
        ("tablespace", "", "", "fast"),
        ("tablespace", "", "", "fast"),
    ]


def test_missing_roles_are_made_and_nothing_else_is_touched() -> None:
    made = Globals(DUMP).creating(["app", "admin"], existing=["admin", "tablespace"])
    assert made == [
        "CREATE ROLE app",
        "ALTER ROLE app WITH INHERIT NOCREATEROLE NOCREATEDB LOGIN\n    PASSWORD 'md5''x' VALID UNTIL 'infinity'",
        "COMMENT ON ROLE app IS 'PASSWORD; CREATE ROLE evil;'",
        r"ALTER ROLE app SET search_path TO E'a\\''b', 'c'",
        "ALTER ROLE app IN DATABASE shop SET work_mem TO '8MB'",
        "GRANT tablespace TO app WITH INHERIT TRUE",
    ]


def test_a_scratch_place_gets_roles_without_passwords() -> None:
    made = Globals(DUMP).creating(["app"], existing=["postgres"], bare=True)
    attributes = "ALTER ROLE app WITH INHERIT NOCREATEROLE NOCREATEDB LOGIN VALID UNTIL 'infinity'"
    assert made == ["CREATE ROLE app", attributes]


def test_replaying_leaves_out_what_would_fail_or_lock_us_out() -> None:
    made = Globals(DUMP).replaying(existing=["admin", "postgres"], bootstrap="postgres", login="admin")
    assert "CREATE ROLE admin" not in made
    assert "CREATE ROLE app" in made
    (admin,) = [text for text in made if text.startswith("ALTER ROLE admin")]
    assert admin.endswith("REPLICATION BYPASSRLS")
    assert 'GRANT "the ""x"" one" TO app WITH ADMIN OPTION, INHERIT TRUE' in made, (
        "admin is no bootstrap superuser here"
    )
    assert not [text for text in made if "TABLESPACE" in text]


def test_a_grantor_that_was_given_the_right_stays() -> None:
    script = "CREATE ROLE a;CREATE ROLE b;CREATE ROLE c;GRANT a TO b WITH ADMIN TRUE;GRANT a TO c GRANTED BY b;"
    assert Globals(script).replaying([], "postgres", "postgres")[-1] == "GRANT a TO c GRANTED BY b"


@pytest.mark.parametrize("end", ["'", '"', "x"])
def test_a_dump_that_breaks_off(end: str) -> None:
    with pytest.raises(Corrupted, match="breaks off"):
        parse("CREATE ROLE a; ALTER ROLE a WITH PASSWORD " + end + "abc")


def test_a_role_that_nobody_knows() -> None:
    check_wanted(["app"], Globals(DUMP))
    with pytest.raises(NotFound, match="lost"):
        check_wanted(["app", "lost"], Globals(DUMP))
    with pytest.raises(NotFound, match="app"):
        check_wanted(["app"], None)


NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=40)


@given(NAMES, st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_any_name_and_any_text_survive(name: str, text: str) -> None:
    script = f"CREATE ROLE {identifier(name)};\nCOMMENT ON ROLE {identifier(name)} IS {literal(text)};\n"
    first, second = parse(script)
    assert (first.kind, first.role, second.kind, second.role) == ("create_role", name, "role_note", name)
    assert second.text == f"COMMENT ON ROLE {identifier(name)} IS {literal(text)}"
    assert Globals(script).creating([name], []) == [first.text, second.text]


@given(NAMES, st.sets(st.text(max_size=3), max_size=3))
def test_the_name_of_a_replaced_database_is_new_and_short_enough(name: str, taken: set[str]) -> None:
    stamp = "20261122T143700Z"
    first = previous_name(name, stamp, taken)
    second = previous_name(name, stamp, {*taken, first})
    for one in (first, second):
        assert len(one.encode()) <= 63
        assert one not in taken
        assert stamp in one
    assert first != second
    assert name.startswith(first.split("_before_")[0]) or "_before_" in name


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        ("work_mem=8MB", "SET \"work_mem\" TO '8MB'"),
        ("app.tenant=it's \\ x=y", "SET \"app\".\"tenant\" TO 'it''s \\ x=y'"),
        ('search_path="$user", public, "a, ""b"""', "SET \"search_path\" TO '$user', 'public', 'a, \"b\"'"),
        ('search_path=""', "SET \"search_path\" TO ''"),
    ],
)
def test_settings_are_said_again_as_they_were(stored: str, said: str) -> None:
    described = {"settings": [stored], "role_settings": {"r": [stored]}}
    assert settings("db", described, late=False) == [
        f'ALTER DATABASE "db" {said}',
        f'ALTER ROLE "r" IN DATABASE "db" {said}',
    ]
    assert settings("db", described, late=True) == []
