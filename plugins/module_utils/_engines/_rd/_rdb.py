# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an RDB holds, read from the stream while it passes: the fingerprint of the very moment that was dumped.

PRIVATE to the collection; may change without notice.

The dump is of one moment and the server goes on, so no question to the server would be answered about that moment.
What passes is read instead: every key is counted by database and type, with its expiry, and the values of a sample
that depends on nothing but the keys' names (or of all) are hashed by what they mean. The same reading of the dump of a
restored server must give the same.

An RDB says what each value is but not where it ends, so what a newer server writes cannot be stepped over. Then only
the frame is checked, and there is no fingerprint.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..._errors import Corrupted
from ._digest import (
    FIELDS_EXPIRE,
    MODULE,
    MODULUS,
    REDIS_TYPES,
    TYPES,
    VALKEY_TYPES,
    as_number,
    content,
    hashed,
    stream,
)
from ._reader import Pieces, Reading, Truncated, after_string, length_at

SAMPLE = 1000
"""Values of a database that are looked at, at least, where there are as many; less than twice as many."""
ALL = 0
"""Bits of the sample when every value is looked at."""
_MARGIN = 32
"""Bytes that are enough for an opcode, an expiry or the head of a string."""
_TAIL = 9
"""Bytes from the end of the content to the end of the file: a mark and the checksum."""

_MODULE_NAME = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_ONE_STRING = frozenset({0, 10, 11, 12, 13, 16, 17, 20})
_STRINGS = {1: 1, 2: 1, 4: 2, 14: 1}
"""Values that are a length and then, for each of as many elements, so many strings."""


_BEFORE_A_KEY = frozenset({0xF8, 0xF9, 0xFC, 0xFD})


class Unknown(Exception):
    """Something that this reader has never heard of; its name."""


@dataclass
class Keyspace:
    """One database.

    Attributes:
        keys: by type; without those that lapsed.
        expiring: how many of them have an expiry.
        expiries: the sum of these, in milliseconds since 1970, modulo 2^64.
        lapsed: keys whose expiry lies before the cutoff.
        bits: one of 2^bits values is in the sample.
        sampled, sample: how many are, and the sum of their hashes.
    """

    keys: dict[str, int] = field(default_factory=dict)
    expiring: int = 0
    expiries: int = 0
    lapsed: int = 0
    bits: int = ALL
    sampled: int = 0
    sample: int = 0

    def as_json(self) -> dict[str, Any]:
        return {
            "keys": dict(sorted(self.keys.items())),
            "expiring": self.expiring,
            "expiries": f"{self.expiries:016x}",
            "bits": self.bits,
            "sampled": self.sampled,
            "sample": f"{self.sample:032x}",
        }


@dataclass
class Contents:
    """What was read.

    Attributes:
        product: `redis` or `valkey`, by whose format it is written in.
        version: of the RDB's format.
        auxiliary: what the server says of itself (`redis-ver`, `ctime`, `used-mem`, …).
        libraries: functions (Lua libraries), and the sum of their hashes.
        modules: names of those that have values in it.
        unknown: what could not be read; then nothing else is complete.
    """

    product: str = "redis"
    version: int = 0
    auxiliary: dict[str, str] = field(default_factory=dict)
    databases: dict[int, Keyspace] = field(default_factory=dict)
    libraries: int = 0
    library_sum: int = 0
    modules: set[str] = field(default_factory=set)
    unknown: str | None = None
    size: int = 0

    @property
    def keys(self) -> int:
        return sum(sum(each.keys.values()) for each in self.databases.values())

    @property
    def has_expiries(self) -> bool:
        return any(each.expiring for each in self.databases.values())

    def as_json(self) -> dict[str, Any]:
        """The fingerprint: a document of numbers and hashes, without a name or a value."""
        return {
            "databases": {str(number): each.as_json() for number, each in sorted(self.databases.items())},
            "functions": {"libraries": self.libraries, "digest": f"{self.library_sum:032x}"},
        }


class Scanner:
    """Reads an RDB piece by piece; memory does not grow with it.

    Args:
        every_value: look at all values instead of a sample.
        bits: the sample of each database, when that of an earlier reading is wanted.
        cutoff: (milliseconds since 1970) keys that expire before are only counted: a server may have dropped them.
        frame_only: no more than beginning and end, which costs nothing.
    """

    def __init__(
        self,
        *,
        every_value: bool = False,
        bits: Mapping[int, int] | None = None,
        cutoff: int | None = None,
        frame_only: bool = False,
    ) -> None:
        self.contents = Contents()
        self.begun = False
        self._every_value = every_value
        self._frame_only = frame_only
        self._bits = bits
        self._cutoff = cutoff or 0
        self._pieces = Pieces()
        self._tail = b""
        self._size = 0
        self._done = False
        self._reading = self._run()
        next(self._reading)

    def feed(self, piece: bytes) -> None:
        """Read on.

        Raises:
            Corrupted: this is no RDB.
        """
        if not piece:
            return
        self.begun = True
        self._size += len(piece)
        self._tail = (self._tail + piece)[-_TAIL:] if len(piece) < _TAIL else piece[-_TAIL:]
        self._send(bytes(piece))

    def close(self) -> Contents:
        """All was fed; what was read.

        Raises:
            Corrupted: the end is missing.
        """
        self._send(None)
        if not self._done and self.contents.unknown is None:
            raise AssertionError("the reader stopped early")
        if self.contents.unknown is not None and self._tail[:1] != b"\xff":
            raise Corrupted("The RDB is cut: it does not end as one must.")
        self.contents.size = self._size
        return self.contents

    def _send(self, piece: bytes | None) -> None:
        if self.contents.unknown is not None:
            return
        try:
            self._reading.send(piece)
        except StopIteration:
            if piece is not None:
                raise Corrupted("The RDB goes on behind its end.") from None
        except Unknown as found:
            self.contents.unknown = str(found)
        except Truncated:
            raise Corrupted(f"The RDB is cut: it ends after {self._size} bytes, in the middle of a value.") from None
        except (ValueError, KeyError, IndexError, OverflowError):
            raise Corrupted(f"This is no RDB, or a damaged one: nonsense near byte {self._pieces.offset}.") from None

    # -- the whole ------------------------------------------------------------------------------------------------

    def _run(self) -> Reading[None]:
        yield from self._header()
        space: Keyspace | None = None
        while True:
            opcode = yield from self._keys(space)
            if opcode == 0xFF:
                yield from self._pieces.take(8 if self.contents.version >= 5 else 0)
                break
            if opcode == 0xFE:
                if self._frame_only:
                    raise Unknown("nothing else was asked for")
                number = yield from self._pieces.length()
                space = self.contents.databases[number] = Keyspace(bits=self._bits_of(number))
            elif opcode == 0xFB:
                size = yield from self._pieces.length()
                yield from self._pieces.length()
                if space is not None and self._bits is None and not self._every_value:
                    space.bits = max(0, (size // SAMPLE).bit_length() - 1)
            else:
                yield from self._other(opcode)
        for number in [each for each, found in self.contents.databases.items() if not (found.keys or found.lapsed)]:
            del self.contents.databases[number]
        known = self._pieces.total if self._pieces.total is not None else self._size
        if self._pieces.offset != known:
            raise Corrupted("The RDB goes on behind its end.")
        self._done = True
        if (yield) is not None:
            raise Corrupted("The RDB goes on behind its end.")

    def _bits_of(self, number: int) -> int:
        return ALL if self._bits is None else self._bits.get(number, ALL)

    def _header(self) -> Reading[None]:
        head = yield from self._pieces.take(9)
        if head.startswith(b"VALKEY"):
            self.contents.product = "valkey"
            digits = head[6:9]
        elif head.startswith(b"REDIS"):
            digits = head[5:9]
        else:
            raise ValueError("the signature")
        self.contents.version = int(digits)
        self._names = {**TYPES, **(VALKEY_TYPES if self.contents.product == "valkey" else REDIS_TYPES)}

    def _other(self, opcode: int) -> Reading[None]:
        pieces, contents = self._pieces, self.contents
        if opcode == 0xFA:
            name = yield from pieces.string()
            contents.auxiliary[name.decode("latin-1")] = (yield from pieces.string()).decode("latin-1")
        elif opcode == 245:
            contents.libraries += 1
            contents.library_sum += as_number(hashed((yield from pieces.string())))
            contents.library_sum %= MODULUS
        elif opcode == 247:
            yield from self._module()
        elif opcode == 244:
            for _each in range(3):
                yield from pieces.length()
        else:
            raise Unknown(f"the mark {opcode} of RDB version {contents.version}")

    # -- keys -----------------------------------------------------------------------------------------------------

    def _keys(self, space: Keyspace | None) -> Reading[int]:
        """Read keys until something else comes; its opcode. Runs once a key, so names are local and steps few."""
        pieces, names, cutoff = self._pieces, self._names, self._cutoff
        expiry = 0
        buffer, position = pieces.buffer, pieces.position
        crc32, one_string = zlib.crc32, _ONE_STRING
        counts = space.keys if space is not None else {}
        mask = (1 << space.bits) - 1 if space is not None else 0
        while True:
            if len(buffer) - position < _MARGIN:
                pieces.position = position
                yield from pieces.fill(_MARGIN)
                buffer, position = pieces.buffer, pieces.position
            kind = buffer[position]
            position += 1
            if kind > 242:
                if kind not in _BEFORE_A_KEY:
                    pieces.position = position
                    return kind
                expiry, position = _before_a_key(kind, expiry, buffer, position)
                continue
            name = names.get(kind)
            if name is None or space is None:
                raise Unknown(f"the type {kind} of RDB version {self.contents.version}")
            first = buffer[position]
            if first < 64 and position + first < len(buffer):
                key = buffer[position + 1 : position + 1 + first]
                position += 1 + first
            else:
                pieces.position = position
                key = yield from pieces.string()
                buffer, position = pieces.buffer, pieces.position
            lapsed = expiry and expiry < cutoff
            if lapsed:
                space.lapsed += 1
            else:
                counts[name] = counts.get(name, 0) + 1
                if expiry:
                    space.expiring += 1
                    space.expiries = (space.expiries + expiry) % (1 << 64)
                if not crc32(key) & mask and name != MODULE and name != FIELDS_EXPIRE:
                    pieces.position = position
                    digest = yield from content(pieces, kind)
                    buffer, position = pieces.buffer, pieces.position
                    space.sampled += 1
                    whole = hashed(name.encode(), key, b"%d" % expiry, digest or b"")
                    space.sample = (space.sample + as_number(whole)) % MODULUS
                    expiry = 0
                    continue
            expiry = 0
            if kind in one_string and len(buffer) - position >= _MARGIN:
                first = buffer[position]
                position = position + 1 + first if first < 64 else after_string(buffer, position)
                continue
            pieces.position = position
            yield from self._skip(kind)
            buffer, position = pieces.buffer, pieces.position

    def _skip(self, kind: int) -> Reading[None]:
        """Pass over a value."""
        pieces = self._pieces
        if kind in _ONE_STRING:
            yield from pieces.skip_string()
        elif kind in _STRINGS:
            yield from self._skip_elements((yield from pieces.length()) * _STRINGS[kind], 0, 0)
        elif kind == 5:
            yield from self._skip_elements((yield from pieces.length()), 0, 8)
        elif kind == 18:
            yield from self._skip_elements((yield from pieces.length()), 1, 0)
        elif kind == 3:
            for _each in range((yield from pieces.length())):
                yield from pieces.skip_string()
                size = (yield from pieces.take(1))[0]
                pieces.position += size if size < 253 else 0
        elif kind in (15, 19, 21):
            yield from stream(pieces, kind)
        elif kind == 7:
            yield from self._module()
        else:
            yield from self._skip_expiring_fields(kind)

    def _skip_elements(self, count: int, before: int, behind: int) -> Reading[None]:
        """Pass over strings that each have so many bytes before and behind them."""
        pieces = self._pieces
        buffer, position = pieces.buffer, pieces.position
        for _each in range(count):
            if len(buffer) - position < _MARGIN:
                pieces.position = position
                yield from pieces.fill(_MARGIN)
                buffer, position = pieces.buffer, pieces.position
            position += before
            first = buffer[position]
            position = (position + 1 + first if first < 64 else after_string(buffer, position)) + behind
        pieces.position = position

    def _skip_expiring_fields(self, kind: int) -> Reading[None]:
        pieces = self._pieces
        if kind == 22:  # Valkey: field, value, expiry
            for _each in range((yield from pieces.length())):
                yield from pieces.skip_string()
                yield from pieces.skip_string()
                pieces.position += 8
            return
        yield from pieces.take(8)  # the first expiry of all
        if kind == 25:
            yield from pieces.skip_string()
            return
        for _each in range((yield from pieces.length())):  # Redis: expiry, field, value
            yield from pieces.length()
            yield from pieces.skip_string()
            yield from pieces.skip_string()

    def _module(self) -> Reading[None]:
        """A module's own data: pieces that say what they are, so that whoever lacks the module can pass over them."""
        pieces = self._pieces
        identity = yield from pieces.length()
        name = "".join(_MODULE_NAME[identity >> 10 + 6 * place & 63] for place in reversed(range(9)))
        self.contents.modules.add(name)
        while True:
            part = yield from pieces.length()
            if part == 0:
                return
            if part in (1, 2):
                yield from pieces.length()
            elif part in (3, 4):
                yield from pieces.take(4 if part == 3 else 8)
            elif part == 5:
                yield from pieces.skip_string()
            else:
                raise ValueError("a module's data")


def _before_a_key(mark: int, expiry: int, buffer: bytes, position: int) -> tuple[int, int]:
    """The expiry of the key that follows, in milliseconds, and where reading goes on."""
    if mark == 0xFC:
        return int.from_bytes(buffer[position : position + 8], "little"), position + 8
    if mark == 0xFD:
        return int.from_bytes(buffer[position : position + 4], "little") * 1000, position + 4
    if mark == 0xF9:  # how often it is used
        return expiry, position + 1
    return expiry, length_at(buffer, position)[1]  # how long it was not
