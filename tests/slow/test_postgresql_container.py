# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server inside a Docker container: found, dumped with its own programs, restored, and left with no session."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._engines._pg._server import Server
from ansible_collections.holdfast.ops.plugins.module_utils._errors import (
    AuthenticationFailed,
    HoldfastError,
    InvalidOption,
    NotFound,
    Unavailable,
)
from ansible_collections.holdfast.ops.tests.support.debian import DEBIAN, needs_debian
from ansible_collections.holdfast.ops.tests.support.docker import DockerEngine, PostgresContainer, needs_docker
from ansible_collections.holdfast.ops.tests.support.modules import RunningModule, run_module
from ansible_collections.holdfast.ops.tests.support.servers import wait_until

PASSWORD = "wi:th\\all 'of' it"
pytestmark = [pytest.mark.privileged, needs_debian, needs_docker]


@pytest.fixture(scope="module")
def engine() -> Iterator[DockerEngine]:
    with DockerEngine() as started:
        yield started


@pytest.fixture(scope="module")
def server(engine: DockerEngine) -> PostgresContainer:
    labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": "db"}
    return engine.postgresql(str(DEBIAN), name="database", labels=labels)


@pytest.fixture
def container(server: PostgresContainer) -> Any:
    """The Docker SDK's object."""
    server.wait_ready()  # a test may have stopped it
    return server.container


def sql(container: Any, statement: str, database: str = "postgres") -> str:
    return PostgresContainer(container, str(DEBIAN)).sql(statement, database)


def parameters(engine: DockerEngine, path: Path, **more: Any) -> dict[str, Any]:
    path.chmod(0o755)
    return {
        "component": "shop",
        "container": {"name": "database", "docker_host": engine.url},
        "login_unix_socket": "/run",
        "state_dir": str(path / "state"),
        "scratch_dir": str(path / "scratch"),
        "repositories": [{"name": "disk", "type": "local", "path": str(path / "disk")}],
        **more,
    }


@pytest.fixture
def database(container: Any) -> Iterator[str]:
    name = "the shop's"
    quoted = f'"{name}"'
    sql(container, f"CREATE DATABASE {quoted}")
    sql(container, "CREATE TABLE t AS SELECT g, repeat(md5(g::text), 90) AS v FROM generate_series(1, 20000) g", name)
    yield name
    for left in sql(container, "SELECT datname FROM pg_database WHERE datname LIKE 'the shop%'").splitlines():
        sql(container, f'DROP DATABASE "{left}" WITH (FORCE)')


def digest(container: Any, name: str) -> str:
    return sql(container, "SELECT count(*), md5(string_agg(v, '' ORDER BY g)) FROM t", name)


def test_there_and_back(engine: DockerEngine, container: Any, database: str, tmp_path: Path) -> None:
    before = digest(container, database)
    made = run_module("postgresql_backup", parameters(engine, tmp_path, database=database, fingerprint="digest"))
    assert made["changed"], made
    assert made["source"]["databases"] == [database]
    sql(container, f'DROP DATABASE "{database}"')
    back = run_module("postgresql_restore", parameters(engine, tmp_path, database=database))
    assert back["changed"], back
    assert back["proof"]["proved"]
    assert digest(container, database) == before


@pytest.mark.parametrize("how", [{"project": "shop", "service": "db"}, {"id": True}])
def test_it_is_found_by_labels_and_id(
    engine: DockerEngine, container: Any, database: str, tmp_path: Path, how: dict[str, Any]
) -> None:
    where = {**({"id": container.id} if "id" in how else how), "docker_host": engine.url}
    wanted = parameters(engine, tmp_path, database=database, container=where)
    result = run_module("postgresql_backup", wanted, check=True)
    assert result["changed"], result
    assert "container database" in result["plan"][0]


def test_what_is_not_there_is_said(engine: DockerEngine, container: Any) -> None:
    def server(**where: Any) -> Server:
        return Server({"container": {"docker_host": engine.url, **where}, "login_unix_socket": "/run"}, "shop")

    for where in ({"name": "nothing"}, {"project": "shop", "service": "web"}):
        with pytest.raises(NotFound):
            server(**where)
    with pytest.raises(InvalidOption):
        server(project="shop")
    with pytest.raises(Unavailable):
        server(name="database", docker_host="unix:///nonexistent.sock")
    with pytest.raises(NotFound):
        server(name="database").connect("nowhere")
    stopped = engine.run(["/bin/sh", "-c", "true"], name="stopped")
    stopped.wait()
    with pytest.raises(Unavailable, match="exited"):
        server(name="stopped")


def test_a_password_goes_in_and_is_gone_afterwards(engine: DockerEngine, container: Any, tmp_path: Path) -> None:
    secret = PASSWORD.replace("'", "''")
    sql(container, f"CREATE ROLE guarded SUPERUSER LOGIN PASSWORD '{secret}'")
    files = container.exec_run(["ls", "/tmp"]).output
    wanted = parameters(engine, tmp_path, database="postgres", login_user="guarded", login_password=PASSWORD)
    result = run_module("postgresql_backup", wanted)
    assert result["changed"], result
    assert container.exec_run(["ls", "/tmp"]).output == files
    assert PASSWORD not in json.dumps(result)
    wrong = Server({**wanted, "login_password": "wrong"}, "shop")
    with pytest.raises(AuthenticationFailed):
        wrong.connect("postgres")
    wrong.close()


OURS = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'holdfast:2%'"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_killed_leaves_nothing_to_the_next(
    engine: DockerEngine, container: Any, database: str, tmp_path: Path, how: signal.Signals
) -> None:
    """Docker cannot end what it executes: a run ends its own sessions when it can, and the next run those left over."""
    wanted = parameters(engine, tmp_path, database=database)
    running = RunningModule("postgresql_backup", wanted)
    wait_until(lambda: int(sql(container, OURS)) >= 2, "pg_dump is at work", interval=0.005)
    running.signal(how)
    assert running.result()["rc"] != 0
    if how == signal.SIGTERM:
        wait_until(lambda: sql(container, OURS) == "0", "our sessions are gone")
    again = run_module("postgresql_backup", wanted)
    assert again["changed"], again
    wait_until(lambda: sql(container, OURS) == "0", "our sessions are gone")
    assert len(list(tmp_path.glob("disk/**/manifests/*.json"))) == 1


def test_a_container_that_stops_fails_the_backup(engine: DockerEngine, container: Any, tmp_path: Path) -> None:
    server = Server(parameters(engine, tmp_path), "shop")
    process = server.start(server.tool("pg_dump").path, database="postgres")
    assert process.popen.stdout is not None
    with server.connect("postgres") as session:
        container.kill("SIGKILL")
        with pytest.raises(HoldfastError):
            session.value("SELECT 1 AS n", 30)
    container.start()
