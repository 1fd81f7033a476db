# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server inside a container, through the container's own redis-cli.

PRIVATE to the collection; may change without notice.

redis-cli writes an error where the answer would be, and exits with 0 all the same: what comes is looked at.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from ..._containers import Container, ContainerProcess
from ..._errors import Corrupted, HoldfastError, MissingDependency, TimedOut, ToolFailed, VersionMismatch
from ..._process import wait_readable
from ._client import CHUNK, MARK, Address, Refusal
from ._faults import is_error, refusal
from ._server import Server, version_numbers

NAMES = ("redis-cli", "valkey-cli")
OLDEST = (6, 2)
"""The first redis-cli that can write a dump to its standard output."""

_QUOTED = [bytes([byte]) if 32 <= byte < 127 and byte not in b'"\\' else b"\\x%02x" % byte for byte in range(256)]
_CSV = re.compile(rb'"(?:[^"\\]|\\.)*"|[^,"]+')
_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|.)", re.DOTALL)
_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b", b"\\": b"\\", b'"': b'"'}

_LOGIN_FAILED = re.compile(r"^(?:Warning: )?AUTH failed: (.*)$", re.MULTILINE)


class ContainerServer(Server):
    """A server that only its own container reaches.

    Args:
        address: as it is seen from inside; paths of certificates and of the socket are the container's.
    """

    def __init__(self, container: Container, address: Address) -> None:
        self.container = container
        self.where = f"container {container.name}"
        self._inside = container
        self._address = address
        self._program: str | None = None
        self._dumping: ContainerProcess | None = None

    @property
    def program(self) -> str:
        """The client program inside.

        Raises:
            MissingDependency: there is none.
            VersionMismatch: it is too old.
        """
        if self._program is None:
            self._program = self._find()
        return self._program

    def _find(self) -> str:
        for name in NAMES:
            try:
                code, out, _said = self._inside.run([name, "--version"], check=False)
            except ToolFailed:  # Docker itself says that there is no such program
                continue
            match = re.search(rb"-cli (\d+(?:\.\d+)+)", out)
            if code == 0 and match:
                if version_numbers(match[1].decode()) < OLDEST:
                    raise VersionMismatch(
                        f"{name} in the {self.where} is version {match[1].decode()}; 6.2 is the oldest that can "
                        "stream a dump.",
                        stage="preflight",
                        hint="Connect to the published port instead (login_host).",
                    )
                return name
        raise MissingDependency(
            f"There is neither redis-cli nor valkey-cli in the {self.where}.",
            stage="preflight",
            hint="Connect to the published port instead (login_host).",
        )

    def _arguments(self) -> list[str]:
        address = self._address
        found = ["--no-auth-warning"]
        if address.unix_socket:
            found += ["-s", address.unix_socket]
        else:
            found += ["-h", address.host, "-p", str(address.port)]
        if address.user:
            found += ["--user", address.user]
        if address.tls:
            found.append("--tls")
            for option, value in (
                ("--cacert", address.ca_cert),
                ("--cert", address.client_cert),
                ("--key", address.client_key),
            ):
                found += [option, value] if value else []
            found += [] if address.verify else ["--insecure"]
        return found

    def _start(self, *arguments: str, stdin: bool = False) -> ContainerProcess:
        password = self._address.password
        environment = {"REDISCLI_AUTH": password} if password is not None else {}
        argv = [self.program, *self._arguments(), *arguments]
        return self._inside.process(argv, env=environment, stdin=stdin, secrets=[password])

    def ask(self, *words: str) -> Any:
        process = self._start(*words)
        try:
            if process.popen.stdout is None:
                raise AssertionError("process.popen.stdout is None")
            out = process.popen.stdout.read().decode("utf-8", "surrogateescape")
            code, said = process.wait(), process.stderr
        finally:
            process.terminate()
        self._check_login(said)
        first = out.split("\n", 1)[0].strip()
        if is_error(first):
            raise Refusal(first)
        if code != 0:
            raise self._describe(process.failure(code, "preflight"))
        text = out[:-1] if out.endswith("\n") else out
        if words[0].upper() == "CONFIG" and words[1].upper() == "GET":
            return text.split("\n") if text else []
        return text

    def ask_many(self, database: int, commands: Sequence[Sequence[str | bytes]]) -> list[Any]:
        process = self._start("--csv", stdin=True)
        lines = b"".join(command_line(words) for words in (("SELECT", str(database)), *commands))
        feeder = threading.Thread(target=_feed, args=(process, lines), daemon=True)
        try:
            feeder.start()  # beside us: it answers the first while it is told the last
            if process.popen.stdout is None:
                raise AssertionError("process.popen.stdout is None")
            out = process.popen.stdout.read()
            code, said = process.wait(), process.stderr
        finally:
            process.terminate()
            feeder.join(5)
        self._check_login(said)
        if code != 0:
            raise self._describe(process.failure(code, "preflight"))
        replies = [csv_reply(line) for line in out.split(b"\n")[:-1]]
        if len(replies) != len(commands) + 1:
            words = f"{len(replies)} answers to {len(commands) + 1} commands. {said}"
            raise self._describe(ToolFailed(f"{self.program} in the {self.where} broke off.", tool_output=words))
        if isinstance(replies[0], Refusal):
            return replies[:1] * len(commands)
        return replies[1:]

    def _check_login(self, said: str) -> None:
        failed = _LOGIN_FAILED.search(said)
        if failed:
            raise refusal(failed[1], self.where, stage="preflight")

    def _describe(self, error: HoldfastError) -> HoldfastError:
        words = error.tool_output or ""
        failed = re.search(r"(?:SYNC|PSYNC) with master failed: -?(.*)", words)
        if failed:
            return refusal(failed[1], self.where, stage=error.stage)
        if "Could not connect" in words:
            from ..._errors import Unavailable

            return Unavailable(
                f"The server in the {self.where} cannot be reached.", stage="preflight", tool_output=words
            )
        return error

    def dump(self, silence: float | None) -> Iterator[bytes]:
        process = self._dumping = self._start("--rdb", "-")
        try:
            yield from self._read(process, silence)
        finally:
            self._dumping = None
            process.terminate()

    def _read(self, process: ContainerProcess, silence: float | None) -> Iterator[bytes]:
        """Its output. What it was sent until a mark is followed by that mark, which is no part of the dump."""
        if process.popen.stdout is None:
            raise AssertionError("process.popen.stdout is None")
        descriptor = process.popen.stdout.fileno()
        held = b""
        while True:
            if silence and not wait_readable(descriptor, silence):
                raise TimedOut(f"{process.name} has sent nothing for {silence:g} s.", stage="dump")
            piece = os.read(descriptor, CHUNK)
            if not piece:
                break
            piece = held + piece
            piece, held = piece[:-MARK], piece[-MARK:]
            if piece:
                yield piece
        try:
            process.check(stage="dump")
        except HoldfastError as error:
            self._check_login(process.stderr)
            raise self._describe(error) from None
        self._check_login(process.stderr)
        if "until EOF mark" not in process.stderr:
            yield held
        elif len(held) != MARK:
            raise Corrupted("The dump ends before its end mark.", stage="dump")

    def abort(self) -> None:
        if self._dumping is not None:
            self._dumping.terminate()

    def close(self) -> None:
        return None


def command_line(words: Sequence[str | bytes]) -> bytes:
    """A command as redis-cli reads it: every word quoted, whatever is in it."""
    plain = [word.encode() if isinstance(word, str) else word for word in words]
    return b" ".join(b'"%s"' % b"".join(_QUOTED[byte] for byte in word) for word in plain) + b"\n"


def csv_reply(line: bytes) -> Any:
    """A reply as redis-cli writes it with `--csv`: one line, strings quoted, lists laid flat.

    A list of one element cannot be told from that element.
    """
    if line in (b"NULL", b"NIL"):
        return None
    if line.startswith(b"ERROR,"):
        return Refusal(b"".join(_unquoted(each) for each in _CSV.findall(line[6:])[:1]).decode("utf-8", "replace"))
    found = [_unquoted(each) if each[:1] == b'"' else _bare(each) for each in _CSV.findall(line)]
    return found[0] if len(found) == 1 and not line.endswith(b",") else found


def _bare(text: bytes) -> Any:
    return None if text in (b"NULL", b"NIL") else int(text)


def _unquoted(text: bytes) -> bytes:
    return _ESCAPE.sub(lambda found: _ESCAPES.get(found[1]) or bytes.fromhex(found[1][1:].decode()), text[1:-1])


def _feed(process: ContainerProcess, data: bytes) -> None:
    pipe = process.popen.stdin
    if pipe is None:
        raise AssertionError("pipe is None")
    with contextlib.suppress(BrokenPipeError, ValueError):  # its exit code says why it stopped reading
        pipe.write(data)
        pipe.close()
