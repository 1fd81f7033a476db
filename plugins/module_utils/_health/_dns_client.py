# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Just enough DNS to ask one server one question (RFC 1035), without a library.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import secrets
import socket
import struct
from collections.abc import Iterator

from .._deadline import Deadline
from .._errors import Corrupted, NotFound, TimedOut, Unavailable
from .._system._sockets import open_socket
from ._connect import receive

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28}

_RCODES = {1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}
_TRY = 1.0
"""Seconds until a question over UDP is asked again: a datagram may be lost."""
_TRUNCATED = 0x0200


def ask(server: str, port: int, name: str, kind: str, deadline: Deadline) -> list[str]:
    """The answers of a server, as text: addresses, names without the dot at their end, `10 mail.example.com`.

    Raises:
        NotFound: there is no such name, or it has no such record.
        Unavailable, TimedOut: the server does not answer, or refuses to.
    """
    question, number = _question(name, kind)
    answer = _over_udp(server, port, question, number, deadline)
    if struct.unpack("!H", answer[2:4])[0] & _TRUNCATED:
        answer = _over_tcp(server, port, question, deadline)
    code = answer[3] & 0x0F
    if code == 3:
        raise NotFound(f"The DNS server {server} knows no {name} (NXDOMAIN).")
    if code:
        raise Unavailable(f"The DNS server {server} answered {_RCODES.get(code, code)} for {name}.")
    try:
        found = list(_answers(answer, TYPES[kind]))
    except (IndexError, struct.error, ValueError):
        raise Corrupted(f"The answer of the DNS server {server} cannot be read.") from None
    if not found:
        raise NotFound(f"The DNS server {server} knows no {kind} record of {name}.")
    return found


def _question(name: str, kind: str) -> tuple[bytes, bytes]:
    labels = name.rstrip(".").encode("idna").split(b".") if name.rstrip(".") else []
    encoded = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    number = secrets.token_bytes(2)
    return number + struct.pack("!HHHHH", 0x0100, 1, 0, 0, 0) + encoded + struct.pack("!HH", TYPES[kind], 1), number


def _over_udp(server: str, port: int, question: bytes, number: bytes, deadline: Deadline) -> bytes:
    place = f"DNS server {server}"
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as connection:
        try:
            connection.connect((server, port))
            while True:
                connection.send(question)
                connection.settimeout(min(_TRY, deadline.remaining(f"waiting for the {place}")))
                try:
                    answer = connection.recv(4096)
                except socket.timeout:
                    continue
                if len(answer) >= 12 and answer[:2] == number and answer[2] & 0x80:
                    return answer
        except TimedOut:
            raise
        except OSError as error:
            raise Unavailable(f"The {place} cannot be reached: {error.strerror or error}.") from None


def _over_tcp(server: str, port: int, question: bytes, deadline: Deadline) -> bytes:
    connection, place = open_socket(server, port, None, deadline)
    with connection:
        connection.sendall(struct.pack("!H", len(question)) + question)
        data = b""
        while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2], "big"):
            more = receive(connection, 65_536, place, deadline)
            if not more:
                raise Unavailable(f"{place} ended the connection in the middle of its answer.")
            data += more
        return data[2:]


def _answers(message: bytes, wanted: int) -> Iterator[str]:
    questions, answers = struct.unpack("!HH", message[4:8])
    position = 12
    for _each in range(questions):
        _name, position = _read_name(message, position)
        position += 4
    for _each in range(answers):
        _name, position = _read_name(message, position)
        kind, _class, _ttl, length = struct.unpack("!HHIH", message[position : position + 10])
        position += 10
        if position + length > len(message):
            raise ValueError("cut short")
        if kind == wanted:
            yield _text(message, position, length, kind)
        position += length


def _text(message: bytes, position: int, length: int, kind: int) -> str:
    data = message[position : position + length]
    if kind == TYPES["A"]:
        return socket.inet_ntop(socket.AF_INET, data)
    if kind == TYPES["AAAA"]:
        return socket.inet_ntop(socket.AF_INET6, data)
    if kind == TYPES["MX"]:
        return f"{int.from_bytes(data[:2], 'big')} {_read_name(message, position + 2)[0]}"
    if kind == TYPES["TXT"]:
        text, rest = b"", data
        while rest:
            text, rest = text + rest[1 : 1 + rest[0]], rest[1 + rest[0] :]
        return text.decode("utf-8", "replace")
    return _read_name(message, position)[0]


def _read_name(message: bytes, position: int) -> tuple[str, int]:
    """A name, which may go on elsewhere in the message, and where what follows it begins."""
    labels: list[str] = []
    after = 0
    for _step in range(128):  # a loop of pointers ends
        length = message[position]
        if length & 0xC0 == 0xC0:
            after = after or position + 2
            position = struct.unpack("!H", message[position : position + 2])[0] & 0x3FFF
        elif length:
            labels.append(message[position + 1 : position + 1 + length].decode("ascii", "replace"))
            position += 1 + length
        else:
            return ".".join(labels), after or position + 1
    raise ValueError("a name without an end")
