# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fan-out: one stream of parts to several repositories at once, within one counted budget of memory.

PRIVATE to the collection; may change without notice.

Parts lie in a fixed number of buffers that all repositories share; a part's buffer is free again when every
repository has stored it. So the slowest repository sets the pace (back-pressure), memory does not depend on
the length of the stream, and a repository that fails or stalls is dropped without stopping the others.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import Callable

from .._errors import Degraded, HoldfastError, InternalError, Interrupted, SourceChanged, TimedOut, Unavailable
from .._repositories._interface import Buffer, PartSum, Repository, Upload

MEMORY_BUDGET = 96 * 1024 * 1024
"""Bytes of part buffers, for all repositories together, and of compression."""

MIN_BUFFERS = 3
"""One is filled while two are in flight; of parts above `LARGE_PART` bytes, while one is."""

LARGE_PART = 16 * 1024 * 1024

RETRIES = 2
"""Further tries of one part after the store was unavailable (the store's own client retries beneath)."""

ABORT_GRACE = 15.0
"""Seconds given to a failed repository to end what it is in the middle of."""

TICK = 0.5
"""Seconds between looks at stalled repositories while waiting."""


class Part:
    """A filled buffer and its checksum, shared by the repositories that still have to store it."""

    def __init__(self, number: int, buffer: bytearray, size: int, holders: int, sha256: bytes | None = None) -> None:
        self.number = number
        self.buffer = buffer
        self.size = size
        self.holders = holders
        self._sha = sha256
        self._lock = threading.Lock()

    @property
    def data(self) -> Buffer:
        return self.buffer if self.size == len(self.buffer) else memoryview(self.buffer)[: self.size]

    def sha256(self) -> bytes:
        """Computed once, by the first repository's thread that needs it: off the reading thread."""
        with self._lock:
            if self._sha is None:
                self._sha = hashlib.sha256(self.data).digest()
            return self._sha

    def sum(self) -> PartSum:
        return PartSum(self.number, self.size, self.sha256())


class _ObjectOnLeg:
    """One object on its way to one repository."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.upload: Upload | None = None
        self.sums: list[PartSum] = []
        self.submitted = 0
        self.pending = 0
        self.closed = False
        self.broken = False
        self.discarded = False
        self.lock = threading.Lock()
        self.beginning = threading.Lock()


class Leg:
    """One repository of a fan-out: its threads, its progress, and why it was dropped."""

    def __init__(self, repository: Repository, fanout: FanOut) -> None:
        self.repository = repository
        self.failure: HoldfastError | None = None
        self.outstanding = 0
        self.bytes = 0
        self.last_progress = time.monotonic()
        self._fanout = fanout
        self._open: set[_ObjectOnLeg] = set()
        # Daemon threads: one that hangs in a dead socket or mount must not keep the process from ending.
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._serve, name=f"to-{repository.name}-{n}", daemon=True)
            for n in range(repository.parallel)
        ]
        for thread in self._threads:
            thread.start()

    def _serve(self) -> None:
        while True:
            task = self._queue.get()
            if task is None:
                return
            task()

    def submit(self, target: _ObjectOnLeg, part: Part, whole: bool) -> None:
        """Queue a part; `whole` when it is all there is of the object."""
        with self._fanout.lock:
            if self.outstanding == 0:
                self.last_progress = time.monotonic()
            self.outstanding += 1
            self._open.add(target)
        with target.lock:
            target.submitted += 1
            target.pending += 1
        self._queue.put(lambda: self._work(target, part, whole))

    def close(self, target: _ObjectOnLeg) -> None:
        """No more parts will come; whoever stores the last one completes the object."""
        with target.lock:
            target.closed = True
            ready = target.pending == 0 and not target.broken
        if ready and self.failure is None:
            with self._fanout.lock:
                self.outstanding += 1
            self._queue.put(lambda: self._finish(target))

    def discard(self, target: _ObjectOnLeg) -> None:
        """The object shall never exist: abort it once none of its parts is in flight."""
        with target.lock:
            target.broken = target.discarded = True
            idle = target.pending == 0
        if idle and self.failure is None:
            with self._fanout.lock:
                self.outstanding += 1
            self._queue.put(lambda: self._give_up(target))

    def _give_up(self, target: _ObjectOnLeg) -> None:
        if target.upload is not None:
            target.upload.abort()
        self._done(None, None, 0, target)

    def _work(self, target: _ObjectOnLeg, part: Part, whole: bool) -> None:
        error: BaseException | None = None
        try:
            if self.failure is None:
                if whole:
                    self._retry(lambda: self.repository.put(target.key, part.data, part.sha256()))
                else:
                    self._store_part(target, part)
        except BaseException as caught:
            error = caught
        stored = error is None and self.failure is None
        complete = False
        with target.lock:
            target.pending -= 1
            target.broken = target.broken or not stored
            if stored and not whole:
                target.sums.append(part.sum())
            complete = not whole and target.closed and target.pending == 0 and not target.broken
            abandoned = target.discarded and target.pending == 0
        if complete:
            error = self._complete(target)
        elif abandoned and target.upload is not None:
            target.upload.abort()
        over = (complete or whole or abandoned) and error is None
        self._done(error, part, part.size if stored else 0, target if over else None)

    def _finish(self, target: _ObjectOnLeg) -> None:
        self._done(self._complete(target), None, 0, target)

    def _store_part(self, target: _ObjectOnLeg, part: Part) -> None:
        with target.beginning:  # not `lock`: a store that hangs here must not block those who only count
            if target.upload is None:
                target.upload = self.repository.begin(target.key)
            upload = target.upload
        self._retry(lambda: upload.write_part(part.number, part.data, part.sha256()))

    def _complete(self, target: _ObjectOnLeg) -> BaseException | None:
        try:
            if target.upload is None or len(target.sums) != target.submitted:
                raise InternalError(f"{target.key}: {len(target.sums)} of {target.submitted} parts are stored.")
            target.upload.complete(sorted(target.sums, key=lambda item: item.number))
        except BaseException as error:
            return error
        return None

    def _retry(self, action: Callable[[], None]) -> None:
        for attempt in range(RETRIES + 1):
            try:
                action()
                return
            except Unavailable:
                if attempt == RETRIES or self._fanout.stopping.wait(2.0**attempt) or self.failure is not None:
                    raise

    def _done(self, error: BaseException | None, part: Part | None, size: int, finished: _ObjectOnLeg | None) -> None:
        if error is not None:
            self.fail(error)
        with self._fanout.lock:
            self.outstanding -= 1
            self.last_progress = time.monotonic()
            self.bytes += size
            if finished is not None:
                self._open.discard(finished)
            if part is not None:
                self._fanout.release(part)
            self._fanout.changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """Drop this repository; the first reason stands."""
        with self._fanout.lock:
            if self.failure is None:
                if not isinstance(error, HoldfastError):
                    error = InternalError(f"{type(error).__name__}: {error}")
                self.failure = error.at("upload")
            self._fanout.changed.notify_all()
        self._drop_queued()

    def _drop_queued(self) -> None:
        """Give back the parts that wait for this repository: its threads may all hang in the store."""
        stop = False
        while True:
            try:
                task = self._queue.get_nowait()
            except Empty:
                break
            if task is None:
                stop = True
            else:
                task()  # sees the failure, stores nothing, releases its part
        if stop:
            self._end_threads()

    def _end_threads(self) -> None:
        for _thread in self._threads:
            self._queue.put(None)

    def stalled(self) -> bool:
        idle = time.monotonic() - self.last_progress
        return self.failure is None and self.outstanding > 0 and idle > self.repository.stall_timeout

    def shut_down(self, abort: bool) -> None:
        """End the threads; abort what was not completed. A stalled repository is waited for only briefly."""
        self._end_threads()
        deadline = time.monotonic() + (ABORT_GRACE if self.failure is not None else 3600)
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        unfinished = [target.upload for target in list(self._open) if target.upload is not None]
        if unfinished and (abort or self.failure is not None):
            aborter = threading.Thread(target=lambda: [upload.abort() for upload in unfinished], daemon=True)
            aborter.start()
            aborter.join(ABORT_GRACE)


class FanOut:
    """All repositories of one backup. One stream at a time; objects are confirmed in the background until `drain`.

    Args:
        repositories: where the bytes go.
        memory: bytes of part buffers, at least `MIN_BUFFERS`.
    """

    def __init__(self, repositories: Sequence[Repository], memory: int = MEMORY_BUDGET) -> None:
        self.part_size = min(repository.part_size for repository in repositories)
        for repository in repositories:  # a part's number tells a repository where the part begins
            repository.part_size = self.part_size
        self.max_parts = min(repository.max_parts for repository in repositories)
        # Entered directly, not through the condition, whose `__enter__` is Python: a signal that is raised there, after
        # the lock was taken and before the block began, would leave it taken, and every thread waiting for it.
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.stopping = threading.Event()
        self.legs = [Leg(repository, self) for repository in repositories]
        self._least = MIN_BUFFERS if self.part_size <= LARGE_PART else MIN_BUFFERS - 1
        self._buffers = self._spare = max(self._least, memory // self.part_size)
        self._free: list[bytearray] = []

    def acquire(self) -> bytearray:
        """A free buffer of `part_size`; waits for one, dropping repositories that stall meanwhile."""
        with self.lock:
            while True:
                self._raise_if_all_failed()
                if self._free:
                    return self._free.pop()
                if self._spare:
                    self._spare -= 1
                    return bytearray(self.part_size)
                self.changed.wait(TICK)
                self._drop_stalled()

    def give_back(self, buffer: bytearray) -> None:
        with self.lock:
            self._free.append(buffer)
            self.changed.notify_all()

    def release(self, part: Part) -> None:
        """One repository is done with a part (called with `lock` held)."""
        part.holders -= 1
        if part.holders == 0:
            self._free.append(part.buffer)

    def healthy(self, only: Sequence[str] | None = None) -> list[Leg]:
        """The legs still in use, of the repositories named in `only` (None: all)."""
        return [leg for leg in self.legs if leg.failure is None and (only is None or leg.repository.name in only)]

    def drain(self) -> None:
        """Wait until everything handed over is confirmed or its repository dropped.

        Raises:
            HoldfastError: every repository was dropped.
        """
        with self.lock:
            while any(leg.outstanding for leg in self.legs if leg.failure is None):
                self.changed.wait(TICK)
                self._drop_stalled()
            self._raise_if_all_failed()

    def _drop_stalled(self) -> None:
        for leg in self.legs:
            if leg.stalled():
                seconds = leg.repository.stall_timeout
                leg.fail(
                    TimedOut(
                        f"The repository {leg.repository.name} took no part for {seconds:g} s.",
                        stage="upload",
                        hint="Look at the store and the network; stall_timeout bounds the wait.",
                    )
                )
                # The parts that hang in its threads are lost until its sockets time out: the others need some to go on.
                self._spare += max(0, self._least - (self._buffers - leg.outstanding))

    def _raise_if_all_failed(self) -> None:
        failures = [leg.failure for leg in self.legs if leg.failure is not None]
        if len(failures) < len(self.legs):
            return
        if len(failures) == 1:
            raise failures[0]
        said = "; ".join(f"{leg.repository.name}: {leg.failure}" for leg in self.legs)
        raise Degraded(f"Every repository failed: {said}", stage="upload")

    def close(self, *, abort: bool) -> None:
        """End all threads. With `abort`, unfinished objects are given up and queued parts dropped."""
        self.stopping.set()
        if abort:
            for leg in self.legs:
                leg.fail(Interrupted("The run was given up.", stage="upload"))
        for leg in self.legs:
            leg.shut_down(abort)


class ObjectWriter:
    """Cuts a stream into parts, and into further objects where the store's number of parts ends.

    Args:
        fanout: where to.
        key: of the first object; the next are `<key>.001`, …
        only: names of the repositories that want this stream (None: all).
        expected: SHA-256 (hex) that the stream must turn out to have; the object does not come to be otherwise.
    """

    def __init__(
        self, fanout: FanOut, key: str, only: Sequence[str] | None = None, expected: str | None = None
    ) -> None:
        self._fanout = fanout
        self._expected = expected
        self._key = key
        self._legs = fanout.healthy(only)
        self._targets: dict[Leg, _ObjectOnLeg] = {}
        self._buffer: bytearray | None = None
        self._filled = 0
        self._parts = 0
        self._object_size = 0
        self._total = hashlib.sha256()
        self._current = self._total
        self.size = 0
        self.objects: list[tuple[str, int, str]] = []

    def write(self, data: Buffer) -> None:
        """Take bytes; blocks while all buffers are in flight."""
        view = memoryview(data)
        while len(view):
            if self._buffer is not None and self._filled == len(self._buffer):
                self._dispatch(last=False)
            if self._buffer is None:
                self._buffer = self._fanout.acquire()
                self._filled = 0
            take = min(len(view), len(self._buffer) - self._filled)
            self._buffer[self._filled : self._filled + take] = view[:take]
            self._filled += take
            view = view[take:]

    def close(self) -> str:
        """Hand over the rest; returns the SHA-256 (hex) of the whole stream. Confirmation comes with `drain`.

        Raises:
            SourceChanged: the stream is not the expected one; call `discard`.
        """
        if self._buffer is None:
            self._buffer = self._fanout.acquire()
            self._filled = 0
        self._dispatch(last=True)
        return self._total.hexdigest()

    def discard(self) -> None:
        """Give the buffer back and take back what was handed over of the present object."""
        if self._buffer is not None:
            self._fanout.give_back(self._buffer)
            self._buffer = None
        for leg, target in self._targets.items():
            leg.discard(target)
        self._targets = {}

    def _dispatch(self, last: bool) -> None:
        if self._buffer is None:
            raise AssertionError("self._buffer is None")
        buffer, size = self._buffer, self._filled
        with memoryview(buffer)[:size] as view:
            self._total.update(view)
            if self._current is not self._total:
                self._current.update(view)
        if last and self._expected not in (None, self._total.hexdigest()):
            raise SourceChanged("The content is not the same as when its checksum was taken.", stage="upload")
        self._buffer = None
        self._parts += 1
        self._object_size += size
        self.size += size
        whole = last and self._parts == 1
        key = self._key if not self.objects else f"{self._key}.{len(self.objects):03d}"
        legs = [leg for leg in self._legs if leg.failure is None]
        # the checksum of an object's only part is known already
        part = Part(self._parts, buffer, size, len(legs), self._current.digest() if whole else None)
        if not legs:
            self._fanout.give_back(buffer)
        for leg in legs:
            target = self._targets.get(leg)
            if target is None:
                target = self._targets[leg] = _ObjectOnLeg(key)
            leg.submit(target, part, whole)
        if last or self._parts == self._fanout.max_parts:
            self._end_object(key, whole)

    def _end_object(self, key: str, whole: bool) -> None:
        for leg, target in self._targets.items():
            if not whole:
                leg.close(target)
        self._targets = {}
        self.objects.append((key, self._object_size, self._current.hexdigest()))
        self._parts = 0
        self._object_size = 0
        self._current = hashlib.sha256()

    def __iter__(self) -> Iterator[tuple[str, int, str]]:
        return iter(self.objects)
