# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compression and encryption, both ways, as stages over chunks.

PRIVATE to the collection; may change without notice.

Encoding: source chunks → zstd → age or gpg → `write`. Decoding is the same way back. Both are driven by one
call in the caller's thread, so an error in any stage surfaces there, with its own type.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, Callable

from .._errors import (
    Corrupted,
    HoldfastError,
    InvalidOption,
    MissingDependency,
    NoIdentity,
    ToolFailed,
)
from .._process import Process, find_program, run
from .._secret_files import private_file

Write = Callable[[Any], object]

MAX_WINDOW_LOG = 23
"""8 MiB: keeps the memory of compression and of every later decompression small at any level."""

MAX_TABLE_LOG = 22
"""16 MiB for each of the match finder's two tables: high levels would take 64 MiB for a percent of size."""

ZSTD_MEMORY = 56 * 1024 * 1024
"""Bytes that compression may hold; a high level gets fewer threads instead of more memory."""


MAX_WINDOW_READ = 1 << 27
"""128 MiB, what `zstd -d` allows too: others may have compressed the files that we read."""

PIECE = 512 * 1024
"""Bytes of decompressed data at once."""

_END = b"the end of a holdfast stream, " * 4  # compressible, so that a frame of it does not contain it


def _zstandard() -> Any:
    try:
        import zstandard
    except ImportError:
        raise _missing("zstandard") from None
    return zstandard


def _pyrage() -> Any:
    try:
        import pyrage
    except ImportError:
        raise _missing("pyrage") from None
    return pyrage


def _missing(library: str) -> MissingDependency:
    return MissingDependency(
        f"The Python library {library} is not installed for the interpreter that runs this module.",
        stage="preflight",
        hint="The role holdfast.ops.runtime installs it; or set ansible_python_interpreter to one that has it.",
    )


def default_threads() -> int:
    """Compression threads: the cores this process may use, at most 4."""
    return max(1, min(4, len(os.sched_getaffinity(0))))


@dataclass(frozen=True)
class Compression:
    """zstd, or none.

    Attributes:
        level: 1 (fastest) to 19 (smallest).
        threads: 0 means as many as there are cores, at most 4.
    """

    method: str = "zstd"
    level: int = 3
    threads: int = 0

    def check(self) -> None:
        if self.method == "zstd":
            _zstandard()

    def memory(self) -> int:
        """Bytes held while encoding."""
        return 0 if self.method == "none" else self._parameters()[1]

    def _parameters(self) -> tuple[Any, int]:
        """The compressor's parameters and the bytes that it will hold."""
        make = _zstandard().ZstdCompressionParameters.from_level
        base = make(self.level)
        window = min(base.window_log, MAX_WINDOW_LOG)
        bounds = {
            "window_log": window,
            "chain_log": min(base.chain_log, MAX_TABLE_LOG),
            "hash_log": min(base.hash_log, MAX_TABLE_LOG),
            "write_checksum": True,
        }
        alone = make(self.level, **bounds)
        context, job = alone.estimated_compression_context_size(), max(1024 * 1024, 1 << window)
        for threads in range(self.threads or default_threads(), 1, -1):
            memory = threads * (context + 2 * job) + 4 * job  # tables, input and output of each; jobs that wait
            if memory <= ZSTD_MEMORY:
                return make(self.level, threads=threads, job_size=job, **bounds), memory
        return alone, context + job  # in the caller's thread: a worker's queues would hold as much as its tables

    def encode(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        if self.method == "none":
            yield from chunks
            return
        parameters, _memory = self._parameters()
        compressor = _zstandard().ZstdCompressor(compression_params=parameters).compressobj()
        for chunk in chunks:
            out = compressor.compress(chunk)
            if out:
                yield out
        yield compressor.flush()


def decompress(chunks: Iterable[bytes], write: Write) -> int:
    """Decode concatenated zstd frames into pieces of at most `PIECE`; returns the bytes written.

    However small the compressed data, its content is never held as a whole.

    Raises:
        Corrupted: the data is damaged or ends in the middle of a frame.
    """
    zstandard = _zstandard()
    # The library's bounded reader does not tell whether the last frame was whole. So a frame of ours follows: what
    # stands at the end of the output is its content only if the decoder was between frames when it came. In two pieces,
    # because libzstd takes a whole frame in one piece for good even after the beginning of another.
    end = zstandard.ZstdCompressor(write_checksum=True).compress(_END)
    reader = ChunkReader(chain(chunks, (end[:10], end[10:])))
    decoder = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_READ)
    written, held = 0, b""
    with decoder.stream_reader(reader, read_size=PIECE, read_across_frames=True) as content:
        while True:
            try:
                piece = content.read(PIECE)
            except zstandard.ZstdError as error:
                raise Corrupted(f"The compressed data is damaged ({error}).") from None
            if not piece:
                break
            data = held + piece
            ready = max(0, len(data) - len(_END))
            held = data[ready:]
            if ready:
                write(memoryview(data)[:ready])
                written += ready
    if held != _END:
        raise Corrupted("The compressed data ends too early.")
    return written


class ChunkReader:
    """A pull reader (`read(n)`) over chunks, for libraries that want a file. Keeps the error that ended it."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._view = memoryview(b"")
        self.error: BaseException | None = None

    def read(self, size: int = -1) -> bytes:
        if size is None or size < 0:
            return b"".join([bytes(self._view), *self._chunks])
        while not self._view:
            try:
                chunk = next(self._chunks, None)
            except BaseException as error:
                self.error = error
                raise
            if chunk is None:
                return b""
            self._view = memoryview(chunk)
        out = bytes(self._view[:size])
        self._view = self._view[size:]
        return out

    def readable(self) -> bool:
        return True


class _Writer:
    """A push writer over a function, for libraries that want a file. Keeps the error that ended it."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self.error: BaseException | None = None

    def write(self, data: bytes) -> int:
        try:
            self._write(data)
        except BaseException as error:
            self.error = error
            raise
        return len(data)

    def flush(self) -> None:
        return None


@dataclass(frozen=True)
class Encryption:
    """How artefacts are made unreadable for everybody without the identity.

    Attributes:
        method: `none`, `age` or `gpg`.
        recipients: age: `age1…` or ssh public keys; gpg: key ids or fingerprints from `gpg_home`.
        recipients_file: age: one recipient a line.
        passphrase_file: gpg symmetric (AES256) instead of recipients.
        gpg_home: GNUPGHOME; default is gpg's own.
    """

    method: str = "none"
    recipients: tuple[str, ...] = ()
    recipients_file: str | None = None
    passphrase_file: str | None = None
    gpg_home: str | None = None

    @property
    def suffix(self) -> str:
        return {"none": "", "age": ".age", "gpg": ".gpg"}[self.method]

    def check(self) -> None:
        """Refuse what cannot work before anything is read."""
        if self.method == "age":
            self._age_recipients()
        elif self.method == "gpg":
            find_program("gpg", package="gnupg")
            if bool(self.recipients) == bool(self.passphrase_file):
                raise InvalidOption("gpg encryption takes either recipients or a passphrase_file.", stage="preflight")
            if self.passphrase_file:
                private_file(self.passphrase_file, "encryption.passphrase_file", group_may_read=True)
            for recipient in self.recipients:
                code, _out, words = run([*_gpg(self.gpg_home), "--list-keys", "--", recipient], check=False)
                if code != 0:
                    raise InvalidOption(
                        f"gpg has no public key of the recipient {recipient!r}.",
                        stage="preflight",
                        tool_output=words,
                        hint="Import it into the keyring of encryption.gpg_home.",
                    )

    def public(self) -> dict[str, Any]:
        """What a manifest may say: public keys and method, nothing secret."""
        symmetric = self.method == "gpg" and not self.recipients
        return {"method": self.method, "recipients": list(self._lines()), "symmetric": symmetric}

    def _lines(self) -> list[str]:
        lines = list(self.recipients)
        if self.recipients_file and self.method == "age":
            try:
                with open(self.recipients_file, encoding="utf-8") as stream:
                    lines += [line.strip() for line in stream if line.strip() and not line.startswith("#")]
            except OSError as error:
                raise InvalidOption(
                    f"encryption.recipients_file cannot be read: {error.strerror}.", stage="preflight"
                ) from None
        return lines

    def _age_recipients(self) -> list[Any]:
        pyrage = _pyrage()
        lines = self._lines()
        if not lines:
            raise InvalidOption("age encryption needs recipients or a recipients_file.", stage="preflight")
        parsed = []
        for number, line in enumerate(lines, 1):
            if line.upper().startswith("AGE-SECRET-KEY-"):
                raise InvalidOption(
                    f"encryption recipient {number} is a private identity, not a recipient.",
                    stage="preflight",
                    hint="Give the public key (age1…) here and keep the identity off this host.",
                )
            kind = pyrage.ssh.Recipient if line.startswith("ssh-") else pyrage.x25519.Recipient
            try:
                parsed.append(kind.from_str(line))
            except pyrage.RecipientError as error:
                raise InvalidOption(
                    f"encryption recipient {number} is not an age recipient ({error}).", stage="preflight"
                ) from None
        return parsed

    def encode(self, chunks: Iterable[bytes], write: Write) -> None:
        """Encrypt chunks and write the result."""
        if self.method == "none":
            for chunk in chunks:
                write(chunk)
        elif self.method == "age":
            pyrage = _pyrage()
            _drive(pyrage.encrypt_io, chunks, write, self._age_recipients())
        else:
            arguments = ["--trust-model", "always", "--compress-algo", "none"]
            if self.passphrase_file:
                arguments += ["--symmetric", "--cipher-algo", "AES256", "--passphrase-file", self.passphrase_file]
            else:
                arguments += ["--encrypt"]
                for recipient in self.recipients:
                    arguments += ["--recipient", recipient]
            _through_gpg(arguments, self.gpg_home, chunks, write)


@dataclass(frozen=True)
class Identity:
    """What reads an encrypted backup.

    Attributes:
        age_file: file with age identities or an unencrypted ssh private key.
        passphrase_file: gpg symmetric.
        gpg_home: the keyring with the private key.
    """

    age_file: str | None = None
    passphrase_file: str | None = None
    gpg_home: str | None = None

    def check(self, method: str) -> None:
        """Refuse before a restore begins what cannot decrypt."""
        if method == "age":
            self._age_identities()
        elif method == "gpg":
            find_program("gpg", package="gnupg")
            if self.passphrase_file:
                private_file(self.passphrase_file, "identity.passphrase_file", group_may_read=True)

    def _age_identities(self) -> list[Any]:
        pyrage = _pyrage()
        if not self.age_file:
            raise NoIdentity(
                "The backup is encrypted with age and no identity was given.",
                stage="preflight",
                hint="Set identity.age_file to the file with the AGE-SECRET-KEY.",
            )
        text = private_file(self.age_file, "identity.age_file", group_may_read=True)
        try:
            if b"PRIVATE KEY-----" in text:
                return [pyrage.ssh.Identity.from_buffer(text)]
            keys = [line.strip() for line in text.decode().splitlines()]
            return [pyrage.x25519.Identity.from_str(key) for key in keys if key and not key.startswith("#")]
        except (pyrage.IdentityError, ValueError):
            raise NoIdentity(
                "identity.age_file holds no readable age identity.",
                stage="preflight",
                hint="It must hold AGE-SECRET-KEY-1… lines or an ssh private key without a passphrase.",
            ) from None

    def decode(self, method: str, chunks: Iterable[bytes], write: Write) -> None:
        """Decrypt chunks and write the result.

        Raises:
            NoIdentity: the identity does not fit.
            Corrupted: the ciphertext was changed or cut.
        """
        if method == "none":
            for chunk in chunks:
                write(chunk)
        elif method == "age":
            pyrage = _pyrage()
            identities = self._age_identities()
            try:
                _drive(pyrage.decrypt_io, chunks, write, identities)
            except pyrage.DecryptError as error:
                if "No matching keys" in str(error):
                    raise NoIdentity(
                        "None of the identities in identity.age_file can decrypt this backup.",
                        hint="The manifest names the recipients that can.",
                    ) from None
                raise Corrupted(f"The encrypted data is damaged ({error}).") from None
        else:
            arguments = ["--decrypt"]
            if self.passphrase_file:
                arguments += ["--passphrase-file", self.passphrase_file]
            try:
                _through_gpg(arguments, self.gpg_home, chunks, write)
            except ToolFailed as error:
                if re.search(r"No secret key|Bad session key|decryption failed", error.tool_output or ""):
                    raise NoIdentity(
                        "gpg has no key that decrypts this backup.", tool_output=error.tool_output
                    ) from None
                raise


def _drive(function: Callable[..., object], chunks: Iterable[bytes], write: Write, keys: list[Any]) -> None:
    """Run a pyrage stream; errors of our own ends come back as themselves, not as the library's."""
    reader, writer = ChunkReader(chunks), _Writer(write)
    try:
        function(reader, writer, keys)
    except BaseException as error:
        ours = reader.error or writer.error
        if ours is not None and ours is not error:
            raise ours from None
        if isinstance(error, (HoldfastError, KeyboardInterrupt)):
            raise
        pyrage = _pyrage()
        if isinstance(error, (pyrage.DecryptError, pyrage.EncryptError)):
            raise
        raise Corrupted(f"The encrypted data is damaged ({error}).") from None


def _gpg(home: str | None) -> list[str]:
    """gpg as a filter: no terminal, no question, and no key server asked."""
    argv = [find_program("gpg", package="gnupg"), "--batch", "--no-tty", "--yes", "--quiet", "--no-auto-key-locate"]
    return [*argv, "--pinentry-mode", "loopback", *(["--homedir", home] if home else [])]


def _through_gpg(arguments: list[str], home: str | None, chunks: Iterable[bytes], write: Write) -> None:
    """Pipe chunks through gpg; a feeding thread writes, this thread reads."""
    process = Process(_gpg(home) + arguments, stdin=-1)
    failure: list[BaseException] = []

    def feed() -> None:
        if process.popen.stdin is None:
            raise AssertionError("process.popen.stdin is None")
        try:
            for chunk in chunks:
                process.popen.stdin.write(chunk)
            process.popen.stdin.close()
        except BaseException as error:  # handed to the caller's thread below
            failure.append(error)
            process.terminate()

    feeder = threading.Thread(target=feed, name="gpg-feed", daemon=True)
    feeder.start()
    try:
        if process.popen.stdout is None:
            raise AssertionError("process.popen.stdout is None")
        while True:
            out = os.read(process.popen.stdout.fileno(), 1024 * 1024)
            if not out:
                break
            write(out)
        feeder.join()
        if failure and not isinstance(failure[0], BrokenPipeError):
            raise failure[0]
        process.check(stage="encryption")
    finally:
        process.terminate()
        feeder.join(5)  # who handed us the chunks may close or go on reading them next
