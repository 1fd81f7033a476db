# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reaching a PostgreSQL server: both SQL channels answer alike, failures are told apart, secrets stay out of sight."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._engines._pg._faults import SqlFailed
from ansible_collections.holdfast.ops.plugins.module_utils._engines._pg._server import Server, conninfo
from ansible_collections.holdfast.ops.plugins.module_utils._engines._pg._sql import PsqlSession, PsycopgSession, Session
from ansible_collections.holdfast.ops.plugins.module_utils._errors import (
    AuthenticationFailed,
    HoldfastError,
    InvalidOption,
    Locked,
    MissingDependency,
    NotFound,
    PermissionDenied,
    TimedOut,
    TlsFailed,
    Unavailable,
    VersionMismatch,
)
from ansible_collections.holdfast.ops.tests.support.component import login
from ansible_collections.holdfast.ops.tests.support.postgres import EmbeddedPostgres
from ansible_collections.holdfast.ops.tests.support.procwatch import ProcessWatch

ODD = "-d a=b 'q' \"Ö\" \\ host=nowhere"


def tcp(server: EmbeddedPostgres, **more: Any) -> dict[str, Any]:
    return {
        "login_host": "127.0.0.1",
        "login_port": server.port,
        "login_password": server.password,
        "bin_dir": str(server.bin_dir),
        **more,
    }


@pytest.fixture
def open_server() -> Iterator[Callable[..., Server]]:
    opened: list[Server] = []

    def make(options: dict[str, Any], component: str = "shop") -> Server:
        opened.append(Server(options, component))
        return opened[-1]

    yield make
    for server in opened:
        server.close()


@pytest.fixture(params=["psycopg", "psql"])
def session(request: Any, pg18: EmbeddedPostgres, database: Any, open_server: Any) -> Iterator[Session]:
    """A session of each kind, in a database whose name could be taken for anything."""
    name = f"{ODD} {request.param}"
    database(pg18, name)
    server = open_server(tcp(pg18))
    with server._psql(name) if request.param == "psql" else server.connect(name) as opened:
        assert isinstance(opened, PsqlSession if request.param == "psql" else PsycopgSession)
        opened.pin()
        yield opened


class TestBothChannelsAlike:
    def test_values_come_as_they_are(self, session: Session) -> None:
        text = "two\nlines, 'quotes' \"double\" \\ back, ünïcode, \t tab, :variable \\! echo no"
        (row,) = session.rows(
            f"SELECT '{text.replace(chr(39), chr(39) * 2)}' AS text, NULL AS nothing, true AS yes,"
            " 9007199254740993 AS large, ARRAY['a', NULL] AS list"
        )
        assert row == {"text": text, "nothing": None, "yes": True, "large": 9007199254740993, "list": ["a", None]}
        assert session.rows("SELECT 1 AS n WHERE false") == []

    def test_an_error_is_typed_and_the_session_lives_on(self, session: Session) -> None:
        with pytest.raises(SqlFailed, match="42P01") as caught:
            session.rows("SELECT * FROM nowhere")
        assert "nowhere" in (caught.value.tool_output or "")
        assert session.value("SELECT 1 AS n") == 1

    def test_a_transaction_is_undone_by_an_error(self, session: Session) -> None:
        session.execute("CREATE TABLE public.kept (n int)")
        with pytest.raises(SqlFailed), session.transaction():
            session.execute("INSERT INTO public.kept VALUES (1)")
            session.execute("INSERT INTO public.kept VALUES (1 / 0)")
        assert session.value("SELECT count(*) AS n FROM public.kept") == 0

    def test_a_lock_that_is_held_is_locked(self, session: Session, pg18: EmbeddedPostgres) -> None:
        session.execute("CREATE TABLE public.held (n int)")
        with pg18.connect(session.database, autocommit=False) as other:
            other.execute("LOCK TABLE held")
            session.execute("SET lock_timeout = 50")
            with pytest.raises(Locked), session.transaction():
                session.execute("LOCK TABLE public.held")

    def test_what_takes_too_long_is_given_up(self, session: Session) -> None:
        began = time.monotonic()
        with pytest.raises(TimedOut, match=r"within 0\.2 s"):
            session.value("SELECT count(pg_sleep(30)) AS n", timeout=0.2)
        assert time.monotonic() - began < 10

    def test_settings_of_database_and_role_do_not_reach_us(self, session: Session, pg18: EmbeddedPostgres) -> None:
        quoted = '"' + session.database.replace('"', '""') + '"'
        pg18.psql(
            f"ALTER DATABASE {quoted} SET statement_timeout = '7min'; ALTER DATABASE {quoted} SET search_path = x"
        )
        server = Server(tcp(pg18), "shop")
        with server.connect(session.database) as ours:
            found = ours.row("SELECT current_setting('statement_timeout') AS t, current_setting('search_path') AS p")
        assert found == {"t": "0", "p": "pg_catalog"}

    def test_a_server_that_goes_away_is_unavailable(self, session: Session, pg18: EmbeddedPostgres) -> None:
        pid = session.value("SELECT pg_backend_pid() AS pid")
        pg18.value("SELECT pg_terminate_backend(%s)", parameters=[pid])
        with pytest.raises(Unavailable):
            for _again in range(3):  # the first answer may be what was already on its way
                session.value("SELECT 1 AS n")
        with pytest.raises(Unavailable):  # as who wants to undo something finds
            session.execute("ROLLBACK")


class TestFailuresAreToldApart:
    @pytest.mark.parametrize(
        ("changed", "expected"),
        [
            ({"login_password": "wrong"}, AuthenticationFailed),
            ({"login_password": None}, AuthenticationFailed),
            ({"login_user": "nobody here"}, AuthenticationFailed),
            ({"login_port": 1}, Unavailable),
            ({"login_host": "host.invalid", "ssl_mode": "prefer"}, Unavailable),
            ({"ssl_mode": "require"}, TlsFailed),
            ({"login_host": None, "service": "not there"}, InvalidOption),
            ({"login_host": None, "login_unix_socket": "/nonexistent"}, Unavailable),
        ],
    )
    @pytest.mark.parametrize("channel", ["psycopg", "psql"])
    def test_connecting(
        self, pg18: EmbeddedPostgres, open_server: Any, changed: dict[str, Any], expected: type, channel: str
    ) -> None:
        server = open_server(tcp(pg18, **changed))
        with pytest.raises(expected) as caught:
            (server._psql if channel == "psql" else server.connect)("postgres")
        assert caught.value.__class__ is expected
        assert caught.value.stage == "preflight"
        assert pg18.password not in str(caught.value)

    @pytest.mark.parametrize("name", ["no such database", ODD])
    def test_a_missing_database(self, pg18: EmbeddedPostgres, open_server: Any, name: str) -> None:
        server = open_server(tcp(pg18))
        for connect in (server.connect, server._psql):
            with pytest.raises(NotFound):
                connect(name)

    def test_a_hung_server_is_given_up_in_time(self, open_server: Any) -> None:
        with EmbeddedPostgres(18) as hung:
            assert hung._server is not None
            postmaster = hung._server.process.pid
            os.kill(postmaster, signal.SIGSTOP)
            try:
                server = open_server(tcp(hung, connect_timeout=2))
                for connect in (server.connect, server._psql):
                    began = time.monotonic()
                    with pytest.raises(TimedOut):
                        connect("postgres")
                    assert time.monotonic() - began < 15
            finally:
                os.kill(postmaster, signal.SIGCONT)

    def test_old_tools_are_refused(self, pg16: EmbeddedPostgres, pg18: EmbeddedPostgres, open_server: Any) -> None:
        server = open_server({**tcp(pg18), "bin_dir": str(pg16.bin_dir)})
        assert server.major == 18
        with pytest.raises(VersionMismatch, match="pg_dump 16"):
            server.tool("pg_dump", server.major)

    def test_newer_tools_serve(self, pg16: EmbeddedPostgres, pg18: EmbeddedPostgres, open_server: Any) -> None:
        server = open_server({**tcp(pg16), "bin_dir": str(pg18.bin_dir)})
        assert server.tool("pg_dump", server.major).major == 18

    def test_missing_tools_are_named(self, pg18: EmbeddedPostgres, open_server: Any, tmp_path: Path) -> None:
        with pytest.raises(MissingDependency, match="pg_dump"):
            open_server({**tcp(pg18), "bin_dir": str(tmp_path)}).tool("pg_dump", 18)

    @pytest.mark.parametrize(
        "options",
        [
            {"login_host": "a", "login_unix_socket": "/tmp"},
            {"ssl_cert": "/c"},
            {"service_file": "/f"},
            {"login_password": "two\nlines"},
            {"connect_timeout": -1},
        ],
    )
    def test_options_that_cannot_be_right(self, options: dict[str, Any]) -> None:
        with pytest.raises(InvalidOption):
            Server(options, "shop")


class TestLogin:
    def test_a_service_file_says_where_and_who(
        self, pg18: EmbeddedPostgres, open_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "services.conf"
        file.write_text(f"[here]\nhost=127.0.0.1\nport={pg18.port}\nuser=postgres\npassword={pg18.password}\n")
        file.chmod(0o600)
        # Another service file of the surroundings must not matter.
        monkeypatch.setenv("PGSERVICEFILE", "/nonexistent")
        server = open_server({"service": "here", "service_file": str(file), "bin_dir": str(pg18.bin_dir)})
        for connect in (server.connect, server._psql):
            with connect("postgres") as session:
                assert session.value("SELECT current_user::text AS who") == "postgres"
        assert os.environ["PGSERVICEFILE"] == "/nonexistent"

    @pytest.mark.parametrize("password", ["plain-Secret", "wi:th\\all 'of' \"it\" $é"])
    def test_a_tool_gets_the_password_and_nobody_else_sees_it(
        self, pg18: EmbeddedPostgres, open_server: Any, database: Any, password: str
    ) -> None:
        name = database(pg18)
        pg18.psql(f"""CREATE ROLE "{name} who" LOGIN SUPERUSER PASSWORD '{password.replace("'", "''")}'""")
        server = open_server(tcp(pg18, login_user=f"{name} who", login_password=password))
        with ProcessWatch() as seen:
            with server.connect(name) as session:
                assert session.value("SELECT current_user::text AS who") == f"{name} who"
            process = server.start(server.tool("pg_dump", 18).path, "--schema-only", database=name)
            assert process.popen.stdout is not None
            assert b"PostgreSQL database dump complete" in process.popen.stdout.read()
            process.check()
        assert seen.pids
        assert not seen.holding(password)

    @pytest.mark.privileged
    def test_root_becomes_the_owner_of_the_socket(self, pg18: EmbeddedPostgres, open_server: Any) -> None:
        if os.geteuid() != 0:
            pytest.skip("only root can become somebody else")
        server = open_server(login(pg18))
        assert server.run_as is not None
        assert server.run_as.name == pg18.user
        with server.connect("postgres") as session:
            assert isinstance(session, PsqlSession)
        assert open_server({**login(pg18), "run_as": "root"}).run_as is None

    @pytest.mark.privileged
    def test_peer_authentication(self, open_server: Any) -> None:
        if os.geteuid() != 0:
            pytest.skip("only root can become somebody else")
        with EmbeddedPostgres(16) as peer:
            (peer.data / "pg_hba.conf").write_text("local all all peer map=m\n")
            (peer.data / "pg_ident.conf").write_text(f"m {peer.user} postgres\n")
            peer.stop()
            peer.start()
            with open_server(login(peer)).connect("postgres") as session:
                assert session.value("SELECT current_user::text AS who") == "postgres"
            with pytest.raises(AuthenticationFailed):
                open_server({**login(peer), "run_as": "root"}).connect("postgres")


class TestSessionsOfKilledRuns:
    def test_they_are_ended_and_no_others(self, pg18: EmbeddedPostgres, open_server: Any) -> None:
        killed, other = open_server(tcp(pg18)), open_server(tcp(pg18), component="another")
        killed.claim("20261122T020000.000Z-000000000001")
        other.claim("20261122T020000.000Z-000000000002")
        with killed.connect("postgres") as left, other.connect("postgres") as living:
            again = open_server(tcp(pg18))
            assert again.claim("20261122T020000.000Z-000000000003") == 1
            assert living.value("SELECT 1 AS n") == 1
            with pytest.raises(HoldfastError):
                left.value("SELECT 1 AS n")


def test_a_connection_string_holds_any_value(pg18: EmbeddedPostgres) -> None:
    from psycopg.conninfo import conninfo_to_dict

    for value in (ODD, "", " ", "'", "\\", "a'b\\c", "dbname='x'"):
        assert conninfo_to_dict(conninfo({"dbname": value, "port": 1})) == {"dbname": value, "port": "1"}


def test_a_right_that_is_missing(pg18: EmbeddedPostgres, database: Any, open_server: Any) -> None:
    name = database(pg18)
    pg18.psql(f'CREATE ROLE "{name} weak" LOGIN; CREATE TABLE t (n int)', db=name)
    server = open_server({**login(pg18), "login_user": f"{name} weak"})
    with server.connect(name) as session, pytest.raises(PermissionDenied):
        session.rows("SELECT * FROM public.t")
