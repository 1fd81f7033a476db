# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is told to redis-cli on its standard input, and what it answers with `--csv`, as the program itself reads it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._engines._rd._client import Refusal
from ansible_collections.holdfast.ops.plugins.module_utils._engines._rd._container import command_line, csv_reply
from ansible_collections.holdfast.ops.tests.support.redis import BUILDS, Service
from hypothesis import given
from hypothesis import strategies as st

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


@pytest.mark.skipif("redis" not in BUILDS, reason="the wheel with redis-cli has no build for this Python")
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
