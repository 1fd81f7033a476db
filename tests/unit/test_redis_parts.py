# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Redis and Valkey: what a server says, which server reads what, and its files moved away and put back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._engines._rd import _faults
from ansible_collections.holdfast.ops.plugins.module_utils._engines._rd._files import (
    DEFAULTS,
    DataFiles,
    Journal,
    read_configuration,
)
from ansible_collections.holdfast.ops.plugins.module_utils._engines._rd._programs import can_read
from ansible_collections.holdfast.ops.plugins.module_utils._engines._rd._server import State
from ansible_collections.holdfast.ops.plugins.module_utils._engines._rd._service import _UNIT
from ansible_collections.holdfast.ops.plugins.module_utils._errors import HoldfastError, Refused


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("NOAUTH Authentication required.", "authentication_failed"),
        ("WRONGPASS invalid username-password pair or user is disabled.", "authentication_failed"),
        ("ERR invalid password", "authentication_failed"),
        ("NOPERM this user has no permissions to run the 'sync' command", "permission_denied"),
        ("DENIED Redis is running in protected mode", "permission_denied"),
        ("LOADING Redis is loading the dataset in memory", "unavailable"),
        ("MASTERDOWN Link with MASTER is down", "unavailable"),
        ("NOMASTERLINK Can't SYNC while not connected with my master", "unavailable"),
        ("MISCONF Redis is configured to save RDB snapshots", "unavailable"),
        ("ERR max number of clients reached", "unavailable"),
        ("ERR unknown command 'SYNC', with args beginning with:", "unsupported"),
        ("ERR something new", "tool_failed"),
    ],
)
def test_refusals_are_told_apart(said: str, code: str) -> None:
    found = _faults.refusal(said, "here")
    assert found.code == code
    assert found.tool_output == said
    assert _faults.is_error(said)


@pytest.mark.parametrize("said", ["OK", "PONG", "# Server", "dir", "", "Background saving started"])
def test_an_answer_is_no_error(said: str) -> None:
    assert not _faults.is_error(said)


@pytest.mark.parametrize(
    ("product", "version", "rdb", "reads"),
    [
        ("redis", "6.2.14", 9, True),
        ("redis", "6.2.14", 10, False),
        ("redis", "7.0.15", 10, True),
        ("redis", "7.0.15", 11, False),
        ("redis", "7.4.1", 12, True),
        ("redis", "8.2.0", 13, None),
        ("redis", "8.2.0", 80, False),
        ("valkey", "8.0.1", 9, True),
        ("valkey", "8.0.1", 11, True),
        ("valkey", "8.0.1", 12, False),
        ("valkey", "8.1.0", 80, False),
        ("valkey", "9.1.2", 80, True),
        ("valkey", "9.9.9", 82, None),
    ],
)
def test_which_server_reads_which_dump(product: str, version: str, rdb: int, reads: bool | None) -> None:
    assert can_read(product, version, rdb) is reads


def test_what_a_server_says_of_itself() -> None:
    found = State.parse(
        "# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.1\r\nrole:master\r\n"
        "used_memory:1000\r\n# Keyspace\r\ndb0:keys=3,expires=1,avg_ttl=0\r\ndb5:keys=2,expires=0,avg_ttl=0\r\n"
    )
    assert (found.product, found.version, found.numbers) == ("valkey", "8.1.1", (8, 1, 1))
    assert (found.total, dict(found.expiring)) == (5, {0: 1, 5: 0})


@pytest.mark.parametrize(
    "line",
    [
        "0::/system.slice/redis-server.service",
        "1:name=systemd:/docker/0123/system.slice/redis-server.service",
        "0::/system.slice/redis-server.service/extra",
    ],
)
def test_the_unit_of_a_process(line: str) -> None:
    found = _UNIT.search(f"12:pids:/\n{line}\n")
    assert found is not None
    assert found[1] == "redis-server.service"


def test_a_configuration_is_read_as_the_server_would(tmp_path: Path) -> None:
    more = tmp_path / "more.conf"
    more.write_text("appendonly yes\n")
    main = tmp_path / "redis.conf"
    main.write_text(
        f'# dir /elsewhere\nDIR "{tmp_path}"\nsave 900 1\nmaxmemory 0\ninclude {more}\nrequirepass "it\'s\n'
    )
    found = read_configuration(str(main))
    assert found == {**DEFAULTS, "dir": str(tmp_path), "appendonly": "yes"}


def files(path: Path, *, append_only: bool, version: tuple[int, ...] = (7, 0)) -> DataFiles:
    return DataFiles(str(path), {**DEFAULTS, "appendonly": "yes" if append_only else "no"}, version)


def tree(path: Path) -> dict[str, bytes]:
    return {str(each.relative_to(path)): each.read_bytes() for each in path.rglob("*") if each.is_file()}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A server's directory."""
    (tmp_path / "dump.rdb").write_bytes(b"old")
    (tmp_path / "appendonlydir").mkdir()
    (tmp_path / "appendonlydir" / "appendonly.aof.1.incr.aof").write_bytes(b"old too")
    (tmp_path / "redis.log").write_bytes(b"log")
    return tmp_path


@pytest.mark.parametrize(
    ("append_only", "version", "loaded"),
    [
        (False, (7, 0), "dump.rdb"),
        (True, (6, 2), "appendonly.aof"),
        (True, (7, 0), "appendonlydir/appendonly.aof.1.base.rdb"),
    ],
)
def test_files_are_replaced_and_put_back(data: Path, append_only: bool, version: tuple[int, ...], loaded: str) -> None:
    before = tree(data)
    work = files(data, append_only=append_only, version=version)
    previous = str(data / "holdfast-previous-1")
    with work.staged() as staging:
        Path(staging, "dump.rdb").write_bytes(b"new")
        journal = Journal(previous, True, tuple(work.present()))
        work.write_journal(journal)
        written = work.journal()
        assert written is not None
        assert Journal(written.previous, written.running, tuple(written.present)) == journal
        work.move_away(previous)
        work.place("dump.rdb", work.owner())
    now = tree(data)
    assert now[loaded] == b"new"
    assert now["redis.log"] == b"log"
    assert {name for name in now if name.startswith("holdfast")} == {
        f"holdfast-previous-1/{name}" for name in before if name != "redis.log"
    }
    work.put_back(journal)
    assert tree(data) == before
    work.put_back(journal)
    assert tree(data) == before


def test_files_that_were_moved_half_are_put_back(data: Path) -> None:
    before = tree(data)
    work = files(data, append_only=True)
    previous = data / "holdfast-previous-1"
    journal = Journal(str(previous), True, tuple(work.present()))
    previous.mkdir(mode=0o700)
    (data / "dump.rdb").rename(previous / "dump.rdb")
    work.put_back(journal)
    assert tree(data) == before


def test_whoever_may_write_beside_us_leads_us_nowhere(data: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    work = files(data, append_only=False)
    with work.staged() as staging:
        os.rename(work.staging, data / "taken")
        os.symlink(elsewhere, work.staging)
        Path(staging, "dump.rdb").write_bytes(b"new")
        with pytest.raises((Refused, HoldfastError)):
            work.write_journal(Journal("", False))
        with pytest.raises((Refused, HoldfastError)):
            work.place("dump.rdb", work.owner())
        os.unlink(work.staging)
        os.rename(data / "taken", work.staging)
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("name", ["", "..", "a/b", "/etc/passwd", "holdfast-restore"])
def test_a_file_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Refused):
        DataFiles(str(tmp_path), {**DEFAULTS, "dbfilename": name}, (7, 0))
