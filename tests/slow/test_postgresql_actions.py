# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Vacuum, terminate and purge on Debian's PostgreSQL, as its package sets it up: a socket, and peer authentication."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from ansible_collections.holdfast.ops.tests.support.debian import DebianPostgres, PackagedPostgres, needs_debian
from ansible_collections.holdfast.ops.tests.support.modules import run_module
from ansible_collections.holdfast.ops.tests.support.postgres_tasks import wait_until

pytestmark = [pytest.mark.privileged, needs_debian]


@pytest.fixture(scope="module")
def packaged() -> Iterator[PackagedPostgres]:
    with PackagedPostgres() as server:
        yield server


@pytest.fixture
def shop(packaged: PackagedPostgres) -> str:
    name = f"shop_{uuid.uuid4().hex[:8]}"  # goes with the cluster
    packaged.psql(f"CREATE DATABASE {name}")
    packaged.psql(
        "CREATE TABLE orders (id int PRIMARY KEY, at timestamptz, note text) WITH (autovacuum_enabled = off);"
        "INSERT INTO orders SELECT g, now() - g * interval '1 h', md5(g::text) FROM generate_series(1, 9000) g",
        name,
    )
    return name


def run(server: DebianPostgres, name: str, module: str, **options: Any) -> dict[str, Any]:
    """With nothing but the database and the port: the socket is where Debian puts it, and so are the programs."""
    result = run_module(module, {"database": name, "login_port": server.port, **options})
    assert not result.get("failed"), result
    return result


def test_purge_and_vacuum(packaged: PackagedPostgres, shop: str, tmp_path: Path) -> None:
    content = "SELECT count(*) || md5(string_agg(t::text, '|' ORDER BY id)) FROM orders t"
    before = packaged.psql(content, shop)
    directory = tmp_path / "purged"
    what = {"table": "orders", "column": "at", "older_than": "100d", "pause": 0}
    done = run(packaged, shop, "postgresql_purge", archive_directory=str(directory), **what)
    assert (done["deleted"], packaged.psql("SELECT count(*) FROM orders", shop)) == (6601, "2399")
    assert not run(packaged, shop, "postgresql_purge", **what)["changed"]

    dead = "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'orders'"
    wait_until(lambda: int(packaged.psql(dead, shop)) >= 6601, "the statistics know of the dead rows")
    assert run(packaged, shop, "postgresql_vacuum")["done"] == ["public.orders"]
    assert packaged.psql(dead, shop) == "0"
    assert not run(packaged, shop, "postgresql_vacuum")["changed"]

    # What the result says brings the rows back, as the server's account.
    load = done["tables"][0]["load"].replace("psql ", f"runuser -u postgres -- psql -p {packaged.port} ")
    subprocess.run(["bash", "-o", "pipefail", "-c", load], check=True, cwd="/")
    assert packaged.psql(content, shop) == before


def test_terminate(packaged: PackagedPostgres, shop: str) -> None:
    packaged.psql(f"CREATE ROLE \"{shop}_app\" LOGIN PASSWORD 'app'", shop)
    login = {"dbname": shop, "user": f"{shop}_app", "password": "app", "host": "127.0.0.1", "port": packaged.port}
    with psycopg.connect(**login) as victim:
        victim.execute("SELECT 1")
        age = (
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'"
            f" AND state_change < now() - interval '3 s' AND pid = {victim.info.backend_pid}"
        )
        wait_until(lambda: packaged.psql(age, shop) == "1", "the session is old enough")
        pid = victim.info.backend_pid
        done = run(packaged, shop, "postgresql_terminate", states=["idle in transaction"], older_than="2s")
        assert done["terminated"] == [pid]
        with pytest.raises(psycopg.errors.AdminShutdown):
            victim.execute("SELECT 1")
