# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stream of a tool inside a container, as the SDK hands it over: nothing of it is lost, however soon it comes."""

from __future__ import annotations

import socket
import types
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._containers import _Exec

HEAD = b"HTTP/1.1 101 UPGRADED\r\n\r\n"


class Engine:
    """Answers for an exec that has ended well."""

    def exec_inspect(self, _exec_id: str) -> dict[str, Any]:
        return {"Running": False, "ExitCode": 0}


def frame(stream: int, data: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def handed_over(ours: socket.socket) -> Any:
    """What the SDK makes of the connection once it has read the head of the answer through a buffer."""
    buffered = ours.makefile("rb")
    while buffered.readline() != b"\r\n":
        pass
    wire = buffered.raw
    wire._response = types.SimpleNamespace(raw=types.SimpleNamespace(_fp=types.SimpleNamespace(fp=buffered)))
    return wire


@pytest.mark.parametrize("with_the_head", [0, 3, 8, 11, 13, 21, 26, 34])
def test_nothing_is_lost_wherever_the_head_s_buffer_ends(
    ends: tuple[socket.socket, socket.socket], with_the_head: int
) -> None:
    ours, theirs = ends
    said: list[bytes] = []
    stream = frame(1, b"first") + frame(2, b"a word") + frame(1, b"last")
    theirs.sendall(HEAD + stream[:with_the_head])
    wire = handed_over(ours)
    process = _Exec(Engine(), "id", wire, False, said.append)
    theirs.sendall(stream[with_the_head:])
    theirs.shutdown(socket.SHUT_WR)
    assert process.stdout.read() == b"firstlast"
    assert process.wait(10) == 0
    assert b"".join(said) == b"a word"


def test_a_stream_that_is_cut_is_no_success(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    theirs.sendall(HEAD + frame(1, b"first")[:-2])
    wire = handed_over(ours)
    process = _Exec(Engine(), "id", wire, False, lambda _data: None)
    theirs.shutdown(socket.SHUT_WR)
    process.stdout.read()
    with pytest.raises(Exception, match="cut"):
        process.wait(10)
