# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading artefacts: ranged parallel download → SHA-256 → decryption → decompression → a process, a file, a reader.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, Full, Queue
from typing import Callable

from .._errors import Corrupted, NotFound
from .._manifest import Artefact, StoredPart
from .._process import Process
from .._repositories._interface import Buffer, Repository
from ._codec import ChunkReader, Identity, Write, decompress

RANGE = 8 * 1024 * 1024
"""Bytes per ranged read."""

AHEAD = 4
"""Ranges read at once."""

QUEUED_PIECE = 1024 * 1024
"""Bytes at most of each of the 8 pieces that wait between two threads."""

READ_MEMORY = RANGE * (AHEAD + 1)
"""Bytes that `fetch` holds."""

Count = Callable[[int], None]


def fetch(
    repository: Repository, objects: Sequence[StoredPart], count: Count = lambda size: None, *, what: str = "artefact"
) -> Generator[bytes, None, None]:
    """The stored bytes of an artefact, in order, read in parallel ranges. Who may not consume it to the end closes it.

    Every object's SHA-256 is compared when its last byte has been yielded, so whoever consumes to the end has
    the proof; whoever acts on data earlier must be able to undo it.

    Raises:
        Corrupted: an object is missing, short, or its bytes are not those that were written; it names the object.
    """
    ranges = [
        (part, offset, min(RANGE, part.size - offset))
        for part in objects
        for offset in range(0, max(part.size, 1), RANGE)
    ]
    digest = hashlib.sha256()
    ahead: deque[Future[bytes]] = deque()
    with ThreadPoolExecutor(AHEAD, thread_name_prefix=f"from-{repository.name}") as pool:
        pending = iter(ranges)
        try:
            for part, offset, length in ranges:
                while len(ahead) < AHEAD:
                    coming = next(pending, None)
                    if coming is None:
                        break
                    ahead.append(pool.submit(_read_range, repository, *coming))
                data = ahead.popleft().result()
                if len(data) != length:
                    raise Corrupted(
                        f"{what} is truncated: {part.key} in {repository.name} ends at byte {offset + len(data)} "
                        f"of {part.size}."
                    )
                digest.update(data)
                count(len(data))
                if offset + length == part.size:
                    if digest.hexdigest() != part.sha256:
                        raise Corrupted(
                            f"{what} is damaged: the SHA-256 of {part.key} in {repository.name} is "
                            f"{digest.hexdigest()}, the manifest says {part.sha256}."
                        )
                    digest = hashlib.sha256()
                yield data
        finally:
            for future in ahead:
                future.cancel()


def _read_range(repository: Repository, part: StoredPart, offset: int, length: int) -> bytes:
    try:
        return repository.read(part.key, offset, length) if length else b""
    except NotFound as error:
        raise Corrupted(f"{part.key} is missing in the repository {repository.name}.") from error


class ArtefactReader:
    """Decodes artefacts of one repository.

    Args:
        repository: where they lie.
        identity: reads encrypted ones.
        count: told the stored bytes as they arrive.
    """

    def __init__(self, repository: Repository, identity: Identity, count: Count = lambda size: None) -> None:
        self.repository = repository
        self._identity = identity
        self._count = count

    def decode(self, artefact: Artefact, write: Write) -> None:
        """Push the original bytes of an artefact into `write`, checksum and authentication proved at the end.

        Raises:
            Corrupted: the stored bytes are damaged, cut or missing (which object, by its checksum).
            NoIdentity: it cannot be decrypted.
        """
        stored = fetch(self.repository, artefact.objects, self._count, what=artefact.name)
        try:
            if artefact.compression == "zstd":
                if artefact.encryption == "none":
                    decompress(stored, write)
                else:
                    with PullReader(lambda out: self._identity.decode(artefact.encryption, stored, out)) as plain:
                        decompress(plain.chunks(), write)
            else:
                self._identity.decode(artefact.encryption, stored, write)
            for _rest in stored:  # a decoder may stop before the last byte; the checksum covers all of them
                pass
        except Corrupted as error:
            self._blame_checksum(stored, error)
        finally:
            stored.close()

    @staticmethod
    def _blame_checksum(stored: Iterator[bytes], error: Corrupted) -> None:
        """A decoder stumbles before the checksum is known: read on, so that the error names the damaged object."""
        for _rest in stored:
            pass
        raise error

    def read_bytes(self, artefact: Artefact) -> bytes:
        """A small artefact, whole."""
        out = bytearray()
        self.decode(artefact, out.extend)
        return bytes(out)

    def to_file(self, artefact: Artefact, path: str) -> None:
        """Decode into a new 0600 file, removed again on failure."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(descriptor, "wb", buffering=0) as stream:
                self.decode(artefact, lambda data: _write_all(stream.fileno(), data))
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            raise

    def to_process(self, artefact: Artefact, process: Process) -> None:
        """Decode into a tool's stdin and wait for it; its failure comes before ours when it stopped reading."""
        if process.popen.stdin is None:
            raise AssertionError("process.popen.stdin is None")
        descriptor = process.popen.stdin.fileno()
        try:
            self.decode(artefact, lambda data: _write_all(descriptor, data))
            process.popen.stdin.close()
        except BrokenPipeError:
            with contextlib.suppress(BrokenPipeError):
                process.popen.stdin.close()
            process.check()
            raise
        except BaseException:
            process.terminate()
            raise
        process.check()

    def open(self, artefact: Artefact) -> PullReader:
        """The decoded bytes as a readable file (for tarfile and the like); use as a context manager."""
        return PullReader(lambda out: self.decode(artefact, out))


def _write_all(descriptor: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while len(view):
        view = view[os.write(descriptor, view) :]


class _Abandoned(Exception):
    """The reader went away; ends the pushing thread."""


class PullReader:
    """Turns a pushing function into a readable file, by a thread and a short queue.

    The pushing function's error is raised by the `read` that meets it, and by a clean exit at the latest: a
    reader that stops early still learns that the rest was damaged only when it reads to the end.
    """

    def __init__(self, push: Callable[[Write], None]) -> None:
        self._queue: Queue[bytes | None] = Queue(8)
        self._error: BaseException | None = None
        self._gone = threading.Event()
        self._reader = ChunkReader(self.chunks())
        self._thread = threading.Thread(target=self._push, args=(push,), name="decode", daemon=True)
        self._thread.start()

    def _push(self, push: Callable[[Write], None]) -> None:
        try:
            push(self._offer)
        except _Abandoned:
            return
        except BaseException as error:  # raised in the reading thread
            self._error = error
        with contextlib.suppress(_Abandoned):
            self._put(None)

    def _offer(self, data: Buffer) -> None:
        """Queue a copy, in pieces, so that the length of the queue bounds its bytes."""
        view = memoryview(data)
        for start in range(0, len(view), QUEUED_PIECE):
            self._put(bytes(view[start : start + QUEUED_PIECE]))

    def _put(self, data: bytes | None) -> None:
        while not self._gone.is_set():
            try:
                self._queue.put(data, timeout=0.2)
                return
            except Full:
                continue
        raise _Abandoned

    def chunks(self) -> Iterator[bytes]:
        """The bytes as they come."""
        while True:
            try:
                chunk = self._queue.get(timeout=0.5)
            except Empty:
                if not self._thread.is_alive() and self._queue.empty():
                    chunk = None
                else:
                    continue
            if chunk is None:
                if self._error is not None:
                    raise self._error
                return
            yield chunk

    def read(self, size: int = -1) -> bytes:
        return self._reader.read(size)

    def readable(self) -> bool:
        return True

    def __enter__(self) -> PullReader:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._gone.set()
        self._thread.join(5)
