# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a PostgreSQL server is, who we are there, and the tools that fit it.

PRIVATE to the collection; may change without notice.

Three places: a TCP address or service, a Unix socket, or inside a container. On a socket we are, unless told
otherwise, the account that owns it (peer authentication asks the kernel), in child processes dropped to it.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import pwd
import re
import socket
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..._containers import OPTIONS as CONTAINER_OPTIONS
from ..._containers import Container
from ..._errors import HoldfastError, InvalidOption, MissingDependency, NotFound, VersionMismatch, failures_ignored
from ..._libpq import default_ssl_mode
from ..._process import Account, Process, account, run
from ..._secret_files import secret
from ._faults import describe_tool
from ._sql import PsqlSession, PsycopgSession, Session, literal

OPTIONS: Mapping[str, Any] = {
    "login_host": {"type": "str"},
    "login_port": {"type": "int"},
    "login_unix_socket": {"type": "path"},
    "login_user": {"type": "str"},
    "login_password": {"type": "str", "no_log": True},
    "login_password_file": {"type": "path", "no_log": False},
    "ssl_mode": {"type": "str", "choices": ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]},
    "ca_cert": {"type": "path"},
    "ssl_cert": {"type": "path"},
    "ssl_key": {"type": "path", "no_log": False},
    "service": {"type": "str"},
    "service_file": {"type": "path"},
    "maintenance_db": {"type": "str", "default": "postgres"},
    "run_as": {"type": "str"},
    "bin_dir": {"type": "path"},
    "connect_timeout": {"type": "int", "default": 10},
    "statement_timeout": {"type": "int", "default": 300},
    **CONTAINER_OPTIONS,
}
"""Where the server is and how to log in: shared by backup, restore and verify."""

OLDEST = 13
"""The oldest server that is supported, by major version."""

SOCKET_DIRECTORIES = ("/var/run/postgresql", "/run/postgresql", "/tmp")
TOOL_DIRECTORIES = ("/usr/lib/postgresql/{}/bin", "/usr/pgsql-{}/bin", "/opt/homebrew/opt/postgresql@{}/bin")
_MAJORS = range(30, OLDEST - 1, -1)
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")


@dataclass(frozen=True)
class Tool:
    """A client program and its major version."""

    path: str
    major: int


class Server:
    """A PostgreSQL server as the options describe it. Nothing is contacted before it is asked.

    Attributes:
        application_name: what our sessions are called on the server; `claim` names them after a run.
        container: the container that it runs in, or None.
        run_as: the account of child processes, None for our own.
    """

    def __init__(self, options: Mapping[str, Any], component: str) -> None:
        self.options = {name: options.get(name) for name in OPTIONS}
        self.options["login_password"] = secret(options, "login_password")
        self._component = component
        self.application_name = "holdfast:preflight"
        self._check_options()
        self.container = Container(self.options["container"]) if self.options["container"] else None
        self.socket_directory = self.options["login_unix_socket"] if self.container else self._find_socket()
        self.run_as = None if self.container else self._find_account()
        self._password_file: int | None = None
        self._password_path_inside: str | None = None
        self._tools: dict[str, list[Tool]] = {}
        self._version: int | None = None
        self._claimed = False

    # -- where and who ------------------------------------------------------------------------------------------

    def _check_options(self) -> None:
        given = {name for name, value in self.options.items() if value is not None}
        for one, other in (("login_host", "login_unix_socket"), ("container", "service"), ("container", "bin_dir")):
            if {one, other} <= given:
                raise InvalidOption(f"{one} and {other} exclude each other.", stage="preflight")
        if ("ssl_cert" in given) != ("ssl_key" in given):
            raise InvalidOption("ssl_cert and ssl_key belong together; one is missing.", stage="preflight")
        if "service_file" in given and "service" not in given:
            raise InvalidOption("service_file needs service.", stage="preflight")
        if "\n" in (self.options["login_password"] or ""):
            raise InvalidOption("login_password holds a line break.", stage="preflight")
        for option in ("connect_timeout", "statement_timeout"):
            if (self.options[option] or 1) < 0:
                raise InvalidOption(f"{option} is negative.", stage="preflight")

    @property
    def port(self) -> int:
        return int(self.options["login_port"] or 5432)

    @property
    def connect_timeout(self) -> int:
        return int(self.options["connect_timeout"] or 10)

    @property
    def statement_timeout(self) -> float | None:
        """Seconds that a statement about the catalogue may take; None without a limit."""
        return float(300 if self.options["statement_timeout"] is None else self.options["statement_timeout"]) or None

    def _find_socket(self) -> str | None:
        """The directory of the socket; None for TCP, or when a service says where the server is."""
        if self.options["login_host"] or (self.options["service"] and not self.options["login_unix_socket"]):
            return None
        given = self.options["login_unix_socket"]
        if given:
            # As libpq does, take the directory; people also name the socket itself.
            return os.path.dirname(given) if os.path.basename(given).startswith(".s.PGSQL.") else str(given)
        for directory in SOCKET_DIRECTORIES:
            if os.path.exists(os.path.join(directory, f".s.PGSQL.{self.port}")):
                return directory
        return SOCKET_DIRECTORIES[0]

    def _find_account(self) -> Account | None:
        if self.options["run_as"]:
            return account(self.options["run_as"])
        if self.socket_directory is None or os.geteuid() != 0:
            return None
        with contextlib.suppress(OSError, KeyError):
            status = os.stat(os.path.join(self.socket_directory, f".s.PGSQL.{self.port}"))
            if stat.S_ISSOCK(status.st_mode):
                return account(pwd.getpwuid(status.st_uid).pw_name)
        return None

    @property
    def where(self) -> str:
        """The place in a person's words."""
        if self.container:
            return f"container {self.container.name}"
        if self.options["service"]:
            return f"service {self.options['service']}"
        if self.socket_directory:
            return f"{self.socket_directory}/.s.PGSQL.{self.port}"
        return f"{self.options['login_host']}:{self.port}"

    @property
    def key(self) -> Mapping[str, Any]:
        """The place by the options that name it: equal for the same server."""
        names = ("login_host", "login_port", "login_unix_socket", "service", "container")
        return {name: self.options[name] for name in names if self.options[name] is not None}

    def parameters(self, database: str) -> dict[str, Any]:
        """Connection parameters by libpq's names, without the password."""
        options = self.options
        found: dict[str, Any] = {
            "service": options["service"],
            "host": options["login_host"] or self.socket_directory,
            "port": options["login_port"],
            "user": options["login_user"],
            "dbname": database,
            "sslmode": options["ssl_mode"] or default_ssl_mode(options["login_host"], options["ca_cert"]),
            "sslrootcert": options["ca_cert"],
            "sslcert": options["ssl_cert"],
            "sslkey": options["ssl_key"],
            "application_name": self.application_name,
            "connect_timeout": self.connect_timeout,
        }
        if not options["service"]:
            found["port"] = self.port
            found["user"] = options["login_user"] or "postgres"
        if not (self.container or self.socket_directory):
            # A peer that vanished without a word is noticed after about two minutes, whatever the kernel's defaults.
            found.update(keepalives=1, keepalives_idle=60, keepalives_interval=15, keepalives_count=4)
            found["tcp_user_timeout"] = 120000
        return {name: value for name, value in found.items() if value is not None}

    def conninfo(self, database: str) -> str:
        """The same as a connection string, for tools; holds no secret."""
        return conninfo(self.parameters(database))

    @property
    def _environment(self) -> dict[str, str]:
        return {"PGSERVICEFILE": self.options["service_file"]} if self.options["service_file"] else {}

    # -- SQL ----------------------------------------------------------------------------------------------------

    def connect(self, database: str) -> Session:
        """A session with settings pinned; see `_sql.PINNED`.

        Raises:
            AuthenticationFailed, NotFound (no such database), Unavailable, TimedOut, TlsFailed.
        """
        session: Session
        try:
            if self.container or self.run_as:
                session = self._psql(database)
            else:
                secret = {"password": self.options["login_password"]} if self.options["login_password"] else {}
                session = PsycopgSession(database, {**self.parameters(database), **secret}, self._environment)
        except HoldfastError as error:
            error.message = f"{error.message[:-1]} ({self.where}, database {database!r})."
            raise
        try:
            session.pin(self.connect_timeout + 5)
        except BaseException:
            session.close()
            raise
        return session

    def _psql(self, database: str) -> Session:
        arguments = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=0", "-v", "VERBOSITY=default"]
        program = self.tool("psql").path
        process = self.start(program, *arguments, database=database, stdin=True)
        try:
            return PsqlSession(database, process, self.connect_timeout)
        except BaseException:
            process.terminate()
            raise

    def connect_anywhere(self) -> Session:
        """A session in `maintenance_db`, or in template1 where that does not exist: for what is cluster-wide."""
        try:
            return self.connect(self.options["maintenance_db"] or "postgres")
        except NotFound:
            return self.connect("template1")

    @property
    def version_num(self) -> int:
        """As `server_version_num`: 160014. Asked once.

        Raises:
            VersionMismatch: the server is older than what is supported.
        """
        if self._version is None:
            with self.connect_anywhere() as session:
                self.learn_version(session)
        if self._version is None:
            raise AssertionError("self._version is None")
        return self._version

    def learn_version(self, session: Session) -> None:
        """Ask an open session for the server's version."""
        self._version = int(session.value("SELECT current_setting('server_version_num') AS v", self.statement_timeout))
        if self._version < OLDEST * 10000:
            raise VersionMismatch(
                f"The PostgreSQL server ({self.where}) is version {self._version // 10000}; "
                f"{OLDEST} is the oldest that is supported.",
                stage="preflight",
            )

    @property
    def major(self) -> int:
        return self.version_num // 10000

    # -- sessions of ours ---------------------------------------------------------------------------------------

    def claim(self, run_id: str) -> int:
        """Name our sessions after a run, and end those that a killed run of this component has left behind.

        Call with the component's lock held: sessions of this host and component that are not of this run have
        no living owner then. Returns how many were ended.
        """
        mark = hashlib.sha256(f"{_machine()}\0{self._component}".encode()).hexdigest()[:8]
        self.application_name = f"holdfast:{run_id}:{mark}"[:63]
        self._claimed = True
        return self._end_sessions(f"application_name LIKE 'holdfast:%:{mark}'")

    def _end_sessions(self, condition: str) -> int:
        query = (
            "SELECT count(pg_terminate_backend(pid)) AS n FROM pg_stat_activity"
            f" WHERE pid <> pg_backend_pid() AND datname IS NOT NULL AND {condition}"
        )
        with self.connect_anywhere() as session:
            return int(session.value(query, self.statement_timeout))

    # -- tools --------------------------------------------------------------------------------------------------

    def tool(self, name: str, at_least: int | None = None) -> Tool:
        """The program that fits best: of exactly `at_least`'s major version, else the oldest that is newer.

        Args:
            at_least: major version; None takes the newest (psql speaks to every server).

        Raises:
            MissingDependency: there is none.
            VersionMismatch: all that there are, are older.
        """
        if name not in self._tools:
            self._tools[name] = sorted(self._candidates(name), key=lambda tool: tool.major)
        found = self._tools[name]
        if not found:
            where = (
                f"in the {self.where}"
                if self.container
                else f"in {self.options['bin_dir']}"
                if self.options["bin_dir"]
                else "on this host"
            )
            major = f"-{at_least}" if at_least else ""
            raise MissingDependency(
                f"The program {name} was not found {where}.",
                stage="preflight",
                hint=f"Install the package postgresql-client{major}, or set bin_dir.",
            )
        if at_least is None:
            # Of several the first, which is the program itself; in PATH may lie a wrapper of the distribution.
            return max(found, key=lambda tool: tool.major)
        for tool in found:
            if tool.major >= at_least:
                return tool
        raise VersionMismatch(
            f"{name} {found[-1].major} ({found[-1].path}) is older than PostgreSQL {at_least}.",
            stage="preflight",
            hint=f"Install the package postgresql-client-{at_least}, or set bin_dir to tools of that version.",
        )

    def _candidates(self, name: str) -> Iterator[Tool]:
        seen = set()
        for path in self._paths(name):
            if path in seen:
                continue
            seen.add(path)
            code, out, _said = self.run([path, "--version"], check=False)
            match = _VERSION.search(out.decode("utf-8", "replace"))
            if code == 0 and match:
                yield Tool(path, int(match[1]))

    def _paths(self, name: str) -> Iterator[str]:
        if self.container:
            listing = "ls -d /usr/lib/postgresql/*/bin /usr/pgsql-*/bin 2>/dev/null || :"
            _code, out, _said = self.container.run(["sh", "-c", listing], check=False)
            yield from (f"{directory}/{name}" for directory in out.decode("utf-8", "replace").split())
            yield name
            return
        if self.options["bin_dir"]:
            directories = [str(self.options["bin_dir"])]
        else:
            directories = [
                d for major in _MAJORS for pattern in TOOL_DIRECTORIES for d in glob.glob(pattern.format(major))
            ]
            directories += os.environ.get("PATH", os.defpath).split(os.pathsep)
        for directory in directories:
            path = os.path.join(directory, name)
            if os.path.isfile(path) and os.access(path, os.X_OK):
                yield path

    def start(
        self,
        program: str,
        *arguments: str,
        database: str | None = None,
        stdin: bool = False,
        stdout: int | None = -1,
        cwd: str | None = None,
    ) -> Process:
        """Start a client program of PostgreSQL, connected to a database of this server when one is named.

        Its process has the face of `_process.Process`, inside a container too.
        """
        argv = [program, *arguments]
        if database is not None:
            # As an option with its value: a database may be called `-x` or `a=b`, a connection string says which.
            argv += ["--no-password", f"--dbname={self.conninfo(database)}"]
        secrets = [self.options["login_password"]]
        environment, descriptors = self._login()
        if self.container:
            return self.container.process(argv, env=environment, stdin=stdin, secrets=secrets)
        return Process(
            argv,
            env=environment,
            run_as=self.run_as,
            stdin=-1 if stdin else -3,
            stdout=stdout,
            cwd=cwd,
            pass_fds=descriptors,
            secrets=secrets,
            dies_with_us=True,
        )

    def run(
        self, argv: Sequence[str], *, input_bytes: bytes | None = None, stage: str | None = None, check: bool = True
    ) -> tuple[int, bytes, str]:
        """Run any program where the server's tools run, to its end; not connected to anything."""
        if self.container:
            return self.container.run(argv, input_bytes=input_bytes, stage=stage, check=check)
        return run(argv, run_as=self.run_as, input_bytes=input_bytes, stage=stage, check=check)

    def _login(self) -> tuple[dict[str, str], tuple[int, ...]]:
        """Environment and descriptors with which a tool finds the password: a file in memory that dies with us."""
        password = self.options["login_password"]
        if not password:
            return dict(self._environment), ()
        escaped = re.sub(r"([\\:])", r"\\\1", password)
        line = f"*:*:*:*:{escaped}\n".encode()
        if self.container:
            if self._password_path_inside is None:
                script = 'umask 077 && f=$(mktemp) && cat > "$f" && echo "$f"'
                _code, out, _said = self.container.run(
                    ["sh", "-c", script], input_bytes=line, stage="preflight", secrets=[password]
                )
                self._password_path_inside = out.decode().strip()
            return {"PGPASSFILE": self._password_path_inside}, ()
        if self._password_file is None:
            self._password_file = os.memfd_create("holdfast", os.MFD_CLOEXEC)
            os.write(self._password_file, line)
            os.fchmod(self._password_file, 0o600)  # libpq ignores a file that others may read
            if self.run_as:
                os.fchown(self._password_file, self.run_as.uid, self.run_as.gid)
        return {**self._environment, "PGPASSFILE": f"/proc/self/fd/{self._password_file}"}, (self._password_file,)

    def describe(self, error: HoldfastError) -> HoldfastError:
        """A tool's failure as what it means; for `ProcessSource`."""
        return describe_tool(error)

    def close(self) -> None:
        """Give everything back. Raises nothing but an interruption, once all is done."""
        with contextlib.ExitStack() as stack:  # runs the last one first, and all of them whatever happens
            stack.callback(self._forget)
            if self.container:
                stack.callback(self.container.close)
                stack.callback(self._remove_password_inside, self.container)
                stack.callback(self._end_claimed)

    def _end_claimed(self) -> None:
        """An exec'd tool outlives whoever started it; its session is the handle that ends it."""
        with failures_ignored():
            if self._claimed:
                self._end_sessions(f"application_name = {literal(self.application_name)}")

    def _remove_password_inside(self, container: Container) -> None:
        with failures_ignored():
            if self._password_path_inside:
                container.run(["rm", "-f", self._password_path_inside], check=False)

    def _forget(self) -> None:
        if self._password_file is not None:
            os.close(self._password_file)
            self._password_file = None
        self._claimed = False
        self._password_path_inside = None


def conninfo(parameters: Mapping[str, Any]) -> str:
    """A libpq connection string: values quoted, so that any name is only a name."""
    parts = []
    for name, value in parameters.items():
        escaped = str(value).replace("\\", "\\\\").replace("'", "\\'")
        parts.append(f"{name}='{escaped}'")
    return " ".join(parts)


def _machine() -> str:
    """What tells this host from others."""
    with contextlib.suppress(OSError), open("/etc/machine-id", encoding="ascii") as stream:
        return stream.read().strip()
    return socket.gethostname()
