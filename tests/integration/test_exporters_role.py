# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role that an exporter logs in to PostgreSQL as: what it may do, and that it is made only where it is missing."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._engines._pg._server import Server
from ansible_collections.holdfast.ops.plugins.module_utils._exporters import _monitor_role


@pytest.fixture(params=[16, 18])
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Of an exporter that looks at a real server over its socket."""
    server = request.getfixturevalue(f"pg{request.param}")
    return {"login_unix_socket": str(server.socket_dir), "login_port": server.port, "database": "postgres"}


@pytest.fixture
def account(options: dict[str, Any]) -> Iterator[str]:
    name = f"exporter-{uuid.uuid4().hex[:8]}"
    yield name
    _monitor_role.absent(name, options)


def ask(options: dict[str, Any], query: str) -> list[dict[str, Any]]:
    login = {name: options[name] for name in ("login_unix_socket", "login_port")}
    with Server(login, "test").connect("postgres") as session:
        return session.rows(query)


def role(options: dict[str, Any], account: str) -> list[dict[str, Any]]:
    return ask(
        options,
        f"""SELECT rolcanlogin AS login, rolsuper AS super, rolcreaterole AS creates,
            rolpassword IS NULL AS no_password, pg_has_role(rolname, 'pg_monitor', 'usage') AS monitors
            FROM pg_authid WHERE rolname = '{account}'""",
    )


WANTED = {"login": True, "super": False, "creates": False, "no_password": True, "monitors": True}


def test_the_role_is_made_once_and_goes_again(options: dict[str, Any], account: str) -> None:
    assert _monitor_role.is_there(options)
    assert _monitor_role.present(account, options, check_mode=True)
    assert role(options, account) == []  # check mode has only looked
    assert _monitor_role.present(account, options, check_mode=False)
    assert role(options, account) == [WANTED]
    assert not _monitor_role.present(account, options, check_mode=False)
    _monitor_role.absent(account, options)
    assert role(options, account) == []
    _monitor_role.absent(account, options)  # it need not be there


def test_a_role_that_may_too_much_or_too_little_is_put_right(options: dict[str, Any], account: str) -> None:
    login = {name: options[name] for name in ("login_unix_socket", "login_port")}
    with Server(login, "test").connect("postgres") as session:
        session.execute(f'CREATE ROLE "{account}" NOLOGIN SUPERUSER CREATEROLE')
    assert _monitor_role.present(account, options, check_mode=False)
    assert role(options, account) == [WANTED]


def test_a_server_that_is_not_there_is_no_failure(tmp_path: Any) -> None:
    assert not _monitor_role.is_there({"login_unix_socket": str(tmp_path), "login_port": 5432})
