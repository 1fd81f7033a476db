# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role of a PostgreSQL server that an exporter logs in as: called like its account, without a password.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Mapping
from typing import Any

from .._engines._pg._server import Server
from .._engines._pg._sql import Session, identifier, literal
from .._errors import Refused

_ATTRIBUTES = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"

_LOOK = """SELECT pg_is_in_recovery() AS replica,
    (SELECT count(*) FROM pg_roles WHERE rolname = {name}) AS roles,
    (SELECT count(*) FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles r ON r.oid = m.member
      WHERE g.rolname = 'pg_monitor' AND r.rolname = {name}) AS grants,
    (SELECT count(*) FROM pg_roles WHERE rolname = {name} AND rolcanlogin
      AND NOT (rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls)) AS fitting"""


def socket_of(options: Mapping[str, Any]) -> str:
    """The path of the server's socket."""
    return os.path.join(str(options["login_unix_socket"]), f".s.PGSQL.{options['login_port']}")


def is_there(options: Mapping[str, Any]) -> bool:
    """Whether a server listens on its socket now; a new host may get one later."""
    try:
        return stat.S_ISSOCK(os.stat(socket_of(options)).st_mode)
    except OSError:
        return False


def present(account: str, options: Mapping[str, Any], *, check_mode: bool) -> bool:
    """Make the role, as the owner of the server, where it is not as it should be; whether anything was to be done.

    Raises:
        Refused: it has to be made and this is a replica.
        HoldfastError: the server cannot be logged into, or denies it.
    """
    with _connect(options) as session:
        found = session.row(_LOOK.format(name=literal(account)))
        if found["fitting"] and found["grants"]:
            return False
        if found["replica"]:
            raise Refused(
                f"The role {account} is missing, and {socket_of(options)} is a replica.",
                stage="preflight",
                hint="Declare the exporter on the primary too, or first; the role is replicated.",
            )
        if not check_mode:
            verb = "ALTER" if found["roles"] else "CREATE"
            with session.transaction():
                session.execute(f"{verb} ROLE {identifier(account)} {_ATTRIBUTES}")
                session.execute(f"GRANT pg_monitor TO {identifier(account)}")
    return True


def absent(account: str, options: Mapping[str, Any]) -> None:
    """Remove the role; it owns nothing."""
    with _connect(options) as session:
        if not session.row(_LOOK.format(name=literal(account)))["replica"]:
            session.execute(f"DROP ROLE IF EXISTS {identifier(account)}")


@contextlib.contextmanager
def _connect(options: Mapping[str, Any]) -> Iterator[Session]:
    """A session of the account that owns the socket."""
    login = {"login_unix_socket": options["login_unix_socket"], "login_port": options["login_port"]}
    server = Server(login, "exporters")
    server.application_name = "holdfast:exporters"
    with contextlib.closing(server), server.connect(str(options["database"])) as session:
        yield session
