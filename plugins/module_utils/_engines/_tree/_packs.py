# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packs: small files that travel together, as pax tar archives that any tar reads.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator, Mapping
from typing import Callable

from ._index import Entry

PACK_SIZE = 16 * 1024 * 1024
"""Bytes after which a pack is closed: one part of an upload, and little to read for a single file."""

SMALL_PACK = 4 * 1024 * 1024
"""Packs with less content than this are gathered once there are many of them."""
MANY_SMALL_PACKS = 16

REWRITE_LIMIT = 512 * 1024 * 1024
"""Living bytes that one backup at most packs anew, so that the cost of a run stays bounded."""

BLOCK = 512
CHUNK = 1024 * 1024

_ZEROS = bytes(BLOCK)


class Packer:
    """Gathers files into packs.

    Args:
        store: takes the SHA-256 (hex) and the bytes of a finished pack; returns the blob's name.
    """

    def __init__(self, store: Callable[[str, bytearray], str]) -> None:
        self._store = store
        self._data = bytearray()
        self._entries: list[Entry] = []
        self.packs: dict[str, int] = {}
        """Bytes of content in each pack that was made."""

    def add(self, entry: Entry, content: bytes) -> None:
        """Pack a file; its entry learns the offset now and the blob when the pack is closed."""
        self._data += tar_header(entry, len(content))
        entry.offset = len(self._data)
        self._data += content
        self._data += _ZEROS[: -len(content) % BLOCK]
        self._entries.append(entry)
        if len(self._data) >= PACK_SIZE:
            self.close()

    def close(self) -> None:
        """Store what has been gathered."""
        if not self._entries:
            return
        self._data += _ZEROS * 2  # the end of a tar archive
        name = self._store(hashlib.sha256(self._data).hexdigest(), self._data)
        self.packs[name] = sum(entry.size for entry in self._entries)
        for entry in self._entries:
            entry.blob = name
        self._data = bytearray()
        self._entries = []


def pieces(data: bytearray) -> Iterator[bytes]:
    """The bytes of a pack, in chunks, without copying all of it at once."""
    with memoryview(data) as view:
        for offset in range(0, len(view), CHUNK):
            yield bytes(view[offset : offset + CHUNK])


def tar_header(entry: Entry, size: int) -> bytes:
    """The header block of a member, preceded by pax records where its name or numbers need them."""
    path = entry.path
    seconds = entry.mtime // 10**9
    if len(path) <= 100 and path.isascii() and max(entry.uid, entry.gid) < 0o10000000 and 0 <= seconds < 0o100000000000:
        fields = b"%s%07o\0%07o\0%07o\0%011o\0%011o\0        0" % (
            path.encode().ljust(100, b"\0"),
            entry.mode,
            entry.uid,
            entry.gid,
            size,
            seconds,
        )
        block = (fields.ljust(257, b"\0") + b"ustar\00000").ljust(BLOCK, b"\0")
        return block[:148] + b"%06o\0 " % sum(block) + block[156:]
    member = tarfile.TarInfo(path)
    member.mode, member.uid, member.gid, member.mtime, member.size = entry.mode, entry.uid, entry.gid, seconds, size
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def packs_to_rewrite(packs: Mapping[str, int], living: Mapping[str, int], limit: int = REWRITE_LIMIT) -> set[str]:
    """The packs whose living files are packed anew: those that are more than half dead, the deadest first, and
    small ones when there are many.

    Args:
        packs: bytes of content that were put in each.
        living: bytes of them that the tree still uses.
        limit: living bytes that may be packed anew.
    """
    used = {name: size for name, size in packs.items() if living.get(name, 0) > 0}
    dead = sorted((living[name] / size, name) for name, size in used.items() if living[name] * 2 < size)
    small = sorted((living[name], name) for name, size in used.items() if size < SMALL_PACK)
    chosen: set[str] = set()
    for _rank, name in [*dead, *(small if len(small) > MANY_SMALL_PACKS else ())]:
        if name not in chosen and living[name] <= limit:
            chosen.add(name)
            limit -= living[name]
    return chosen
