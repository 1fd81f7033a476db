# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sources: where a stream's bytes come from, and the proof that they all came.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from typing import Callable, Protocol

from .._errors import HoldfastError, TimedOut
from .._process import Process, wait_readable

CHUNK = 1024 * 1024
"""Bytes per read."""


class Source(Protocol):
    """One pass over some bytes. Iterating to the end without an exception is the proof of success."""

    def chunks(self) -> Iterator[bytes]:
        """The bytes, in chunks of any size. Raises (never just stops early) when they are not complete."""

    def abort(self) -> None:
        """Stop; called when the stream fails elsewhere. Never raises; safe to call at any time, twice too."""


class ProcessSource:
    """A tool's stdout; complete only when the tool exited 0.

    Args:
        start: starts the tool, when the stream is read and not before.
        describe: turns the tool's failure into a better error (wrong password, missing database, …).
        stall_timeout: seconds that the tool may be silent while we listen; None: for ever.
    """

    def __init__(
        self,
        start: Callable[[], Process],
        describe: Callable[[HoldfastError], HoldfastError] | None = None,
        stall_timeout: float | None = None,
    ) -> None:
        self._start = start
        self._describe = describe
        self._stall_timeout = stall_timeout
        self._process: Process | None = None

    def chunks(self) -> Iterator[bytes]:
        process = self._process = self._start()
        pipe = process.popen.stdout
        if pipe is None:
            raise AssertionError("pipe is None")
        fd = pipe.fileno()
        while True:
            if self._stall_timeout and not wait_readable(fd, self._stall_timeout):
                raise TimedOut(
                    f"{process.name} has sent nothing for {self._stall_timeout:g} s.",
                    stage="dump",
                    hint="Look at the server it reads from; stall_timeout bounds the wait.",
                )
            chunk = os.read(fd, CHUNK)
            if not chunk:
                break
            yield chunk
        try:
            process.check(stage="dump")
        except HoldfastError as error:
            raise (self._describe(error) if self._describe else error) from None
        finally:
            process.terminate()

    def abort(self) -> None:
        if self._process is not None:
            self._process.terminate()


class FileSource:
    """The content of a file descriptor's file from the current position; closes it."""

    def __init__(self, path: str) -> None:
        self._path = path

    def chunks(self) -> Iterator[bytes]:
        with open(self._path, "rb", buffering=0) as stream:
            while True:
                chunk = stream.read(CHUNK)
                if not chunk:
                    return
                yield chunk

    def abort(self) -> None:
        return None


class IteratorSource:
    """Bytes that somebody makes: a generator that raises when it cannot go on."""

    def __init__(self, chunks: Iterable[bytes], on_abort: Callable[[], None] | None = None) -> None:
        self._chunks = chunks
        self._on_abort = on_abort

    def chunks(self) -> Iterator[bytes]:
        return iter(self._chunks)

    def abort(self) -> None:
        if self._on_abort is not None:
            self._on_abort()
        close = getattr(self._chunks, "close", None)
        if close is not None:
            # Not left to the garbage collector, which would do it at any moment in any thread: a generator that waits
            # for threads of its own could wait there for ever.
            with contextlib.suppress(ValueError):  # it is running just now, so it comes to its end by itself
                close()


def bytes_source(data: bytes) -> IteratorSource:
    """A small document."""
    return IteratorSource([data] if data else [])
