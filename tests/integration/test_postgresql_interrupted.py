# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A signal, or the end of max_runtime, ends the run wherever it comes; what must be undone is undone first."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._engines._pg import _leftovers, _preflight, _restore, _swap
from ansible_collections.holdfast.ops.plugins.module_utils._engines._pg._server import Server
from ansible_collections.holdfast.ops.plugins.module_utils._errors import Interrupted, OutOfTime, ToolFailed
from ansible_collections.holdfast.ops.tests.support.component import Component, login
from ansible_collections.holdfast.ops.tests.support.postgres import EmbeddedPostgres


@pytest.fixture
def component(tmp_path: Path) -> Iterator[Component]:
    with contextlib.closing(Component(tmp_path)) as one:
        yield one


@pytest.fixture
def server(pg18: EmbeddedPostgres) -> Iterator[Server]:
    with contextlib.closing(Server(login(pg18), "interrupted")) as one:
        yield one


@pytest.fixture
def stored(pg18: EmbeddedPostgres, database: Any, component: Component) -> str:
    """A database that was backed up."""
    name: str = database(pg18)
    pg18.psql("CREATE TABLE t AS SELECT 1 AS x", db=name)
    component.backup(pg18, name)
    return name


def temporary(server: EmbeddedPostgres) -> list[str]:
    return [name for name in server.databases() if name.startswith("holdfast_") and "_old_" not in name]


def once(real: Callable[..., Any], error: Exception | None = None) -> Callable[..., Any]:
    """As a signal does: the first call is interrupted, and no other."""
    waiting = [error or Interrupted("Stopped.")]

    def call(*arguments: Any, **options: Any) -> Any:
        if waiting:
            raise waiting.pop()
        return real(*arguments, **options)

    return call


def test_while_the_replaced_database_is_dropped(
    pg18: EmbeddedPostgres, stored: str, component: Component, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_restore, "drop_database", once(_restore.drop_database))
    try:
        with pytest.raises(Interrupted) as caught:
            component.restore(pg18, confirm=stored, keep_previous=False)
        replaced = [name for name in pg18.databases() if name.startswith(stored) and name != stored]
        assert len(replaced) == 1
        assert replaced[0] in (caught.value.left_behind or "")
        assert pg18.value("SELECT count(*) FROM t", db=stored) == 1
    finally:
        for name in pg18.databases():
            if name.startswith(stored) and name != stored:
                pg18.drop_database(name)


def test_while_a_failed_restore_is_undone(
    pg18: EmbeddedPostgres, stored: str, component: Component, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: Any) -> None:
        raise ToolFailed("It failed.")

    monkeypatch.setattr(_restore, "analyze", fail)
    monkeypatch.setattr(_restore, "drop_temporary", once(_restore.drop_temporary, OutOfTime("Gave up.")))
    with pytest.raises(OutOfTime) as caught:
        component.restore(pg18, target_database=f"{stored}_2")
    assert caught.value.left_behind is None
    assert temporary(pg18) == []


def test_while_a_dead_run_is_swept(
    pg18: EmbeddedPostgres, server: Server, monkeypatch: pytest.MonkeyPatch, database: Any
) -> None:
    name = _leftovers.PREFIX + "0123456789abcdef"
    pg18.psql(f'CREATE DATABASE "{name}"')
    try:
        monkeypatch.setattr(_leftovers, "drop_temporary", once(_leftovers.drop_temporary))
        with server.connect("postgres") as session, pytest.raises(Interrupted):
            list(_leftovers.sweep_databases(server, session))
        with server.connect("postgres") as session:  # the lock went with the session
            assert [sentence for sentence in _leftovers.sweep_databases(server, session) if name in sentence]
        assert name not in pg18.databases()
    finally:
        pg18.psql(f'DROP DATABASE IF EXISTS "{name}"')


def test_while_a_locale_is_tried(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with server.connect("postgres") as session:
        real = session.execute

        def execute(statement: str, timeout: float | None = None) -> None:
            if statement.startswith("CREATE COLLATION"):
                raise Interrupted("Stopped.")
            real(statement, timeout)

        monkeypatch.setattr(session, "execute", execute)
        described = {"name": "d", "locale_provider": "libc", "collate": "en_US.utf8", "ctype": "C", "locale": None}
        with pytest.raises(Interrupted):
            _preflight.check_locale(session, described, lenient=True)


def test_while_a_transaction_is_rolled_back(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with server.connect("postgres") as session:
        real = session.execute

        def execute(statement: str, timeout: float | None = None) -> None:
            if statement == "ROLLBACK":
                raise Interrupted("Stopped.")
            real(statement, timeout)

        monkeypatch.setattr(session, "execute", execute)
        with pytest.raises(Interrupted), session.transaction():
            session.execute("SELECT 1/0")


def test_while_sessions_are_ended_by_one_that_is_gone(server: Server, pg18: EmbeddedPostgres) -> None:
    """That the thread failed is not why the run ended."""
    with pytest.raises(Interrupted), _swap._ending_sessions(server, "postgres", ["no number"]):
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%no number%'"
        pg18.psql(f"{query} AND pid <> pg_backend_pid()")
        _await_no_thread("end-sessions")
        raise Interrupted("Stopped.")


def _await_no_thread(name: str) -> None:
    for thread in threading.enumerate():
        if thread.name == name:
            thread.join(10)
            assert not thread.is_alive()


class InsideContainer:
    """Only what `Server.close` asks of a container."""

    def __init__(self, interrupt: bool) -> None:
        self.closed = False
        self._interrupt = interrupt

    def run(self, argv: list[str], **_options: Any) -> None:
        if self._interrupt:
            raise Interrupted("Stopped.")

    def close(self) -> None:
        self.closed = True


def test_while_a_container_is_left(pg18: EmbeddedPostgres) -> None:
    server = Server(login(pg18), "interrupted")
    container = InsideContainer(interrupt=True)
    server.container = container  # type: ignore[assignment]
    server._password_path_inside = "/tmp/password"
    with pytest.raises(Interrupted):
        server.close()
    assert container.closed
    assert server._password_path_inside is None
