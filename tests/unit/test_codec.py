# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decompression in bounded pieces, and compression within its memory."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest
import zstandard
from ansible_collections.holdfast.ops.plugins.module_utils._errors import Corrupted, DiskFull
from ansible_collections.holdfast.ops.plugins.module_utils._stream import _codec
from ansible_collections.holdfast.ops.plugins.module_utils._stream._codec import (
    PIECE,
    ZSTD_MEMORY,
    Compression,
    Encryption,
    decompress,
)
from hypothesis import given, settings
from hypothesis import strategies as st


def decoded(stored: bytes, step: int = 1 << 20) -> bytes:
    out = bytearray()
    chunks = [stored[start : start + step] for start in range(0, len(stored), step)]
    assert decompress(chunks, out.extend) == len(out)
    return bytes(out)


def test_when_writing_fails_nobody_reads_on_behind_gpg(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read is closed next, which a thread that is still in it would make impossible."""
    monkeypatch.setattr(_codec, "_gpg", lambda home: ["sh", "-c", "exec cat"])

    def slow() -> Iterator[bytes]:
        while True:
            yield bytes(1000)
            time.sleep(0.3)

    def full(data: bytes) -> None:
        raise DiskFull("No room.")

    chunks = slow()
    with pytest.raises(DiskFull):
        Encryption("gpg", ("somebody",)).encode(chunks, full)
    chunks.close()


def test_gpg_that_waits_for_us_is_ended_when_writing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both of its pipes are full, and a thread of ours writes to one of them."""
    monkeypatch.setattr(_codec, "_gpg", lambda home: ["sh", "-c", "exec cat"])
    fed = 0

    def endless() -> Iterator[bytes]:
        nonlocal fed
        while True:
            fed += 1
            yield bytes(100_000)

    def full(data: bytes) -> None:
        seen = -1
        while seen != fed:
            seen = fed
            time.sleep(0.2)
        raise DiskFull("No room.")

    with pytest.raises(DiskFull):
        Encryption("gpg", ("somebody",)).encode(endless(), full)


class TestDecompress:
    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.binary(max_size=300) | st.integers(0, 5000).map(bytes), max_size=4), st.integers(1, 50))
    def test_frames_one_after_another(self, contents: list[bytes], step: int) -> None:
        stored = b"".join(zstandard.ZstdCompressor().compress(content) for content in contents)
        assert decoded(stored, step) == b"".join(contents)

    @pytest.mark.parametrize("checksum", [True, False])
    @pytest.mark.parametrize(
        "content", [b"text of some length, " * 20, bytes(3000), os.urandom(500)], ids=["text", "zeros", "noise"]
    )
    def test_a_frame_cut_anywhere_is_an_error(self, content: bytes, checksum: bool) -> None:
        whole = zstandard.ZstdCompressor(write_checksum=checksum).compress(content)
        for cut in range(1, len(whole)):
            with pytest.raises(Corrupted):
                decoded(whole + whole[:cut])

    def test_what_follows_the_last_frame_is_an_error(self) -> None:
        with pytest.raises(Corrupted):
            decoded(zstandard.ZstdCompressor().compress(b"x") + b"rest")

    def test_nothing_is_nothing(self) -> None:
        assert decoded(b"") == b""

    def test_content_is_never_held_as_a_whole(self) -> None:
        size = 300 * PIECE
        stored = b"".join(Compression().encode(bytes(PIECE) for _number in range(300)))
        assert len(stored) < size // 1000
        pieces: list[int] = []
        assert decompress([stored], lambda data: pieces.append(len(data))) == size
        assert max(pieces) <= PIECE + 200


@pytest.mark.parametrize("threads", [0, 1, 2, 4])
@pytest.mark.parametrize("level", range(1, 20))
def test_compression_keeps_within_its_memory_at_any_level(level: int, threads: int) -> None:
    compression = Compression(level=level, threads=threads)
    assert 0 < compression.memory() <= ZSTD_MEMORY
    content = os.urandom(1000) * 50
    assert decoded(b"".join(compression.encode([content]))) == content
