# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""postgresql_terminate: who exceeds the age gets its error, and everybody else lives on."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._engines._pg._server import Server
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._kinds._postgresql_terminate import (
    PostgresqlTerminate,
)
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._pg._sessions import condition, end, victims
from ansible_collections.holdfast.ops.tests.conftest import DatabaseFactory
from ansible_collections.holdfast.ops.tests.support.postgres_tasks import PATIENCE, Place, codes, wait_until

MODULE = "postgresql_terminate"
IDLE = "idle in transaction"
AGE = {"older_than": "2s"}


@pytest.fixture(params=[16, 18])
def place(request: pytest.FixtureRequest, database: DatabaseFactory) -> Place:
    server = request.getfixturevalue(f"pg{request.param}")
    return Place(server, database(server))


class Client:
    """A session; its process is known also when it is gone."""

    def __init__(self, place: Place, **how: Any) -> None:
        self.connection = place.connect(autocommit=False, **how)
        self.pid: int = self.connection.info.backend_pid

    def execute(self, statement: str) -> Any:
        return self.connection.execute(statement)

    def begin(self) -> int:
        """Leave a transaction open; the process."""
        self.execute("SELECT 'very private'")
        return self.pid


@contextlib.contextmanager
def sessions(place: Place, *names: str, role: str | None = None) -> Iterator[list[Client]]:
    """Sessions of a role that is no superuser, called so."""
    user = role or place.role("app")
    with contextlib.ExitStack() as stack:
        opened = [Client(place, user=user, application_name=name) for name in names]
        for each in opened:
            stack.callback(each.connection.close)
        yield opened


@contextlib.contextmanager
def busy(session: Client) -> Iterator[None]:
    """Its transaction is old, but its last statement is always of this moment."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(0.05):
            session.execute("SELECT 1")

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class Runs:
    """A statement that runs in a thread, and the error with which it ended."""

    def __init__(self, session: Client, statement: str) -> None:
        self.error: psycopg.Error | None = None
        self._session, self._statement = session, statement
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._session.execute(self._statement)
        except psycopg.Error as error:
            self.error = error

    def ended(self) -> psycopg.Error | None:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the statement goes on"
        return self.error


def aged(place: Place, *pids: int) -> None:
    """Wait until sessions have done for three seconds what they do."""
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY (%s) AND"
        " CASE state WHEN 'active' THEN query_start ELSE state_change END < clock_timestamp() - interval '3 s'"
    )
    wait_until(lambda: place.value(query, [list(pids)]) == len(pids), "sessions have become old")


def alive(place: Place, session: Client) -> bool:
    return bool(place.value("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", [session.pid]))


def test_an_open_transaction_is_ended_and_nobody_else(place: Place) -> None:
    names = ("shop", "holdfast:backup", "pg_dump", "young")
    with contextlib.ExitStack() as stack, sessions(place, *names) as (victim, ours, dump, young):
        aged(place, victim.begin(), ours.begin(), dump.begin())
        owner = Client(place)
        aged(place, owner.begin())  # a superuser's
        stack.enter_context(busy(young))

        plan = place.run(MODULE, check=True, states=[IDLE], **AGE)
        assert plan["changed"]
        assert [each["pid"] for each in plan["sessions"]] == [victim.pid]
        assert alive(place, victim)

        done = place.run(MODULE, states=[IDLE], **AGE)
        assert done["terminated"] == [victim.pid]
        with pytest.raises(psycopg.errors.AdminShutdown):
            victim.execute("SELECT 1")
        assert all(alive(place, each) for each in (ours, dump, young, owner))
        assert "very private" not in json.dumps(done)
        assert done["sessions"][0]["query"] == "SELECT ?"

        assert not place.run(MODULE, states=[IDLE], **AGE)["changed"]
        told = place.run(MODULE, states=[IDLE], superusers=True, exclude_users=["*_app"], **AGE)
        assert told["terminated"] == [owner.pid]
        assert alive(place, ours)
        owner.connection.close()


def test_a_statement_is_cancelled_and_its_session_lives(place: Place) -> None:
    with sessions(place, "report", "quick") as (victim, other):
        victim.connection.autocommit = True
        long = Runs(victim, "SELECT pg_sleep(300), 'secret word'")
        short = Runs(other, "SELECT pg_sleep(300) /* of another */")
        aged(place, victim.pid, other.pid)
        done = place.run(MODULE, states=["active"], mode="cancel", query_matches="sleep.*secret", **AGE)
        assert done["cancelled"] == [victim.pid]
        assert isinstance(long.ended(), psycopg.errors.QueryCanceled)
        assert victim.execute("SELECT 41 + 1").fetchone() == (42,)
        assert "secret" not in json.dumps(done["sessions"])
        assert alive(place, other)
        other.connection.cancel()
        short.ended()


def test_what_a_cancel_does_not_end_is_terminated_after_the_grace(place: Place) -> None:
    place.psql(
        """CREATE FUNCTION stubborn() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
             LOOP BEGIN PERFORM pg_sleep(300); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END $$"""
    )
    with sessions(place, "stubborn", "open") as (stubborn, left_open):
        stubborn.connection.autocommit = True
        first = Runs(stubborn, "SELECT stubborn()")
        second = Runs(left_open, "SELECT pg_sleep(300)")  # in a transaction, which the cancel leaves open
        aged(place, stubborn.pid, left_open.pid)
        done = place.run(MODULE, states=["active"], grace="1s", **AGE)
        assert sorted(done["terminated"]) == sorted([stubborn.pid, left_open.pid])
        assert isinstance(first.ended(), psycopg.errors.AdminShutdown)
        assert isinstance(second.ended(), psycopg.errors.QueryCanceled)
        assert not alive(place, left_open)


def test_sessions_are_chosen_by_application_user_and_database(place: Place) -> None:
    with sessions(place, "web-1", "web-2", "worker") as (one, two, worker):
        aged(place, *(each.begin() for each in (one, two, worker)))
        elsewhere = place.run(MODULE, states=[IDLE], databases=["postgres"], **AGE)
        assert elsewhere["sessions"] == []
        done = place.run(
            MODULE,
            states=[IDLE],
            databases=["all"],
            users=[f"{place.name}_*"],
            applications=["web-?", "w.b*"],
            exclude_applications=["web-2"],
            **AGE,
        )
        assert done["terminated"] == [one.pid]
        assert alive(place, two)
        assert alive(place, worker)


def test_a_session_that_has_moved_on_lives(place: Place) -> None:
    """What was seen is asked again in the statement that ends it."""
    options = {
        **{name: spec.get("default") for name, spec in PostgresqlTerminate.SPEC.options.items()},
        **place.options(states=[IDLE], **AGE),
    }
    server = Server(options, "test")
    with contextlib.closing(server), sessions(place, "shop") as (client,), server.connect(place.name) as session:
        aged(place, client.begin())
        where = condition(options)
        (seen,) = victims(session, where, 10)
        another = type(seen)(**{**vars(seen), "backend_start": "2026-01-01 00:00:00+00"})
        assert not end(session, another, where, "pg_terminate_backend", 10)
        client.connection.commit()
        assert not end(session, seen, where, "pg_terminate_backend", 10)
        assert alive(place, client)
        aged(place, client.begin())
        assert end(session, seen, where, "pg_terminate_backend", 10)
        wait_until(lambda: not alive(place, client), "the session is gone")


def test_a_role_without_the_rights_ends_nothing_and_says_so(place: Place) -> None:
    role = place.role("weak", "PASSWORD 'weak' IN ROLE pg_read_all_stats")
    login = {"login_host": "127.0.0.1", "login_user": role, "login_password": "weak", "login_unix_socket": None}
    with sessions(place, "shop") as (victim,):
        aged(place, victim.begin())
        assert "not_allowed" in codes(place.run(MODULE, check=True, states=[IDLE], **AGE, **login))
        failed = place.fail(MODULE, states=[IDLE], **AGE, **login)
        assert (failed["error_code"], failed["right"]) == ("permission_denied", "pg_signal_backend")
        assert alive(place, victim)
        place.psql(f'REVOKE pg_read_all_stats FROM "{role}"')
        blind = place.run(MODULE, states=[IDLE], **AGE, **login)
        assert codes(blind) == {"not_visible"}
        assert not blind["changed"]


def test_what_cannot_be_meant_is_refused(place: Place) -> None:
    assert "mode: cancel ends a statement" in place.fail(MODULE, states=["idle"], mode="cancel", **AGE)["msg"]
    assert "older_than: must be" in place.fail(MODULE, states=[IDLE], older_than="soon")["msg"]
    wrong = place.fail(MODULE, states=[IDLE], query_matches="(", **AGE)
    assert wrong["error_code"] == "invalid_option"
