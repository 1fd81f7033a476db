# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""postgresql_vacuum: the tables that need it get it, others wait for nobody; judged by the server's own statistics."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.holdfast.ops.tests.conftest import DatabaseFactory
from ansible_collections.holdfast.ops.tests.support.postgres_tasks import Place, codes, wait_until

MODULE = "postgresql_vacuum"
ROWS = 6000


@pytest.fixture(params=[16, 18])
def place(request: pytest.FixtureRequest, database: DatabaseFactory) -> Place:
    server = request.getfixturevalue(f"pg{request.param}")
    return Place(server, database(server))


def bloated(place: Place, *names: str) -> None:
    """Tables of which a third is dead, known to the statistics."""
    for name in names:
        place.psql(
            f"CREATE TABLE {name} (id int PRIMARY KEY, v text) WITH (autovacuum_enabled = off);"
            f"INSERT INTO {name} SELECT g, md5(g::text) FROM generate_series(1, {ROWS}) g;"
            f"ANALYZE {name}; DELETE FROM {name} WHERE id % 3 = 0;"
        )
        wait_until(lambda name=name: state(place, name)["dead"] >= ROWS // 3, f"dead rows of {name}")


def state(place: Place, table: str) -> dict[str, Any]:
    columns = ("dead", "vacuums", "analyzes", "changed")
    (row,) = place.server.query(
        "SELECT n_dead_tup, vacuum_count, analyze_count, n_mod_since_analyze FROM pg_stat_all_tables"
        " WHERE relid = %s::regclass",
        place.name,
        [table],
    )
    return dict(zip(columns, row))


def test_what_needs_it_gets_it_and_a_second_run_changes_nothing(place: Place) -> None:
    bloated(place, "worn")
    place.psql("CREATE TABLE fresh AS SELECT generate_series(1, 3000) AS id; CREATE TABLE fine (id int)")
    wait_until(lambda: state(place, "fresh")["changed"] == 3000, "rows of fresh")

    plan = place.run(MODULE, check=True)
    assert plan["changed"]
    assert [(each["table"], each["what"]) for each in plan["tables"]] == [
        ("public.worn", "VACUUM and ANALYZE"),
        ("public.fresh", "ANALYZE"),
    ]
    assert (state(place, "worn")["vacuums"], state(place, "fresh")["analyzes"]) == (0, 0)

    done = place.run(MODULE)
    assert done["changed"]
    assert done["done"] == ["public.worn", "public.fresh"]
    assert state(place, "worn")["dead"] == 0
    assert (state(place, "worn")["vacuums"], state(place, "worn")["analyzes"]) == (1, 2)
    assert place.value("SELECT reltuples FROM pg_class WHERE relname = 'fresh'") == 3000
    assert state(place, "fresh")["vacuums"] == 0

    again = place.run(MODULE)
    assert not again["changed"]
    assert again["tables"] == []


def test_a_mode_a_pattern_and_what_is_left_out(place: Place) -> None:
    bloated(place, "one", "two", "three")
    done = place.run(MODULE, mode="analyze", tables=["public.t*", "one"], exclude_tables=["three"])
    assert sorted(done["done"]) == ["public.one", "public.two"]
    assert [state(place, name)["vacuums"] for name in ("one", "two", "three")] == [0, 0, 0]
    assert [state(place, name)["analyzes"] for name in ("one", "two", "three")] == [2, 2, 1]
    forced = place.run(MODULE, mode="vacuum", tables=["one"], needed_only=False, parallel=0, truncate=True)
    assert forced["done"] == ["public.one"]
    assert "TRUNCATE true" in forced["tables"][0]["statement"]
    assert (state(place, "one")["dead"], state(place, "one")["analyzes"]) == (0, 2)
    assert place.fail(MODULE, tables=["no_such"])["error_code"] == "not_found"


@pytest.mark.parametrize("how", [{"lock_timeout": "1s"}, {"skip_locked": True, "lock_timeout": "10m"}])
def test_a_locked_table_is_skipped_and_said_and_the_others_are_done(place: Place, how: dict[str, Any]) -> None:
    bloated(place, "busy", "calm")
    with place.connect(autocommit=False) as holder:
        holder.execute("LOCK TABLE busy IN ROW EXCLUSIVE MODE")
        holder.execute("LOCK TABLE busy IN SHARE UPDATE EXCLUSIVE MODE")
        done = place.run(MODULE, **how)
        holder.rollback()
    assert (done["locked"], done["done"]) == (["public.busy"], ["public.calm"])
    assert "locked" in codes(done)
    assert (state(place, "busy")["vacuums"], state(place, "calm")["vacuums"]) == (0, 1)


def test_full_is_refused_with_the_reason(place: Place) -> None:
    refused = place.fail(MODULE, mode="full")
    assert refused["error_code"] == "invalid_declaration"
    assert "locks out readers" in refused["msg"]
    assert "pg_repack" in refused["msg"]
    assert "did you mean analyze" in place.fail(MODULE, mode="analyse")["msg"]


def test_what_the_time_did_not_suffice_for_is_said_and_no_failure_unless_asked(place: Place) -> None:
    bloated(place, "long", "longer")
    slow = {"cost_delay": 100, "cost_limit": 1, "max_runtime": "1s"}
    done = place.run(MODULE, **slow)
    assert not done["changed"]
    assert sorted(done["left"]) == ["public.long", "public.longer"]
    assert "no_time_left" in codes(done)
    assert state(place, "longer")["vacuums"] == 0
    failed = place.fail(MODULE, fail_when_incomplete=True, **slow)
    assert failed["error_code"] == "timeout"
    assert "public.long" in failed["msg"]


def test_a_partitioned_table_gets_statistics_of_its_own(place: Place) -> None:
    place.psql(
        "CREATE TABLE parts (id int, v int) PARTITION BY RANGE (id);"
        "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (5000);"
        "CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (5000) TO (10000);"
        "INSERT INTO parts SELECT g, g % 7 FROM generate_series(0, 9999) g"
    )
    place.psql("ANALYZE parts_1; ANALYZE parts_2")  # a session tells what it has changed when it ends
    done = place.run(MODULE)
    assert done["done"] == ["public.parts"]
    assert place.value("SELECT count(*) FROM pg_stats WHERE tablename = 'parts' AND inherited") == 2
    assert not place.run(MODULE)["changed"]


def test_who_keeps_dead_rows_from_being_removed_is_said(place: Place) -> None:
    with place.connect(autocommit=False) as old:
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT 1")
        pid = old.info.backend_pid
        bloated(place, "held")
        done = place.run(MODULE, mode="vacuum")
        old.rollback()
    (finding,) = [each for each in done["findings"] if each["code"] == "dead_rows_kept"]
    assert f"session {pid} " in finding["text"]
    assert state(place, "held")["dead"] >= ROWS // 3


def test_a_role_without_the_right_is_told_so(place: Place) -> None:
    bloated(place, "theirs")
    role = place.role("poor", "PASSWORD 'poor-secret'")
    login = {"login_host": "127.0.0.1", "login_user": role, "login_password": "poor-secret", "login_unix_socket": None}
    done = place.run(MODULE, **login)
    assert not done["changed"]
    assert codes(done) == {"not_allowed"}
    assert state(place, "theirs")["vacuums"] == 0
    wrong = place.fail(MODULE, **{**login, "login_password": "not-so-secret"})
    assert wrong["error_code"] == "authentication_failed"
    assert "not-so-secret" not in str(wrong)
