# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pg_dump in directory format: files that are finished go away while others are still being written.

PRIVATE to the collection; may change without notice.

pg_dump opens each of its files once, so one that none of its processes has open is finished. Finished files travel
in plain tar streams (a large one alone, small ones together). There is no back-pressure in pg_dump: at the
watermark all its processes are stopped, and go on when enough has been sent.

The directory belongs to the account that pg_dump runs as, and we may be root: everything in it is reached from a
descriptor of the directory, and nothing is read that this account has not written itself.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Callable

from ..._durations import format_size
from ..._errors import DiskFull, InternalError, Refused, TimedOut
from ..._process import Account, Process, open_owned
from ..._stream._source import CHUNK, IteratorSource

PACK = 128 * 1024 * 1024
"""Bytes from which a file travels alone, and to which small ones are gathered."""
POLL = 0.1
"""Seconds between two looks."""
RESERVE = 256 * 1024 * 1024
"""Bytes that must stay free in the scratch place."""
RESUME = 0.5
"""Share of the limit below which a stopped pg_dump goes on."""

_BLOCK = 512


@dataclass(frozen=True)
class Finished:
    """A file that pg_dump will not touch again, by its name in the directory."""

    name: str
    size: int


class Directory:
    """A directory that an account may write to, held open: another one in its place changes nothing.

    Args:
        owner: the account; None: ours.

    Raises:
        Refused: it is not that account's.
    """

    def __init__(self, path: str, owner: Account | None) -> None:
        self._uid = owner.uid if owner is not None else None
        self._descriptor = open_owned(path, self._uid, os.O_RDONLY | os.O_DIRECTORY)

    @property
    def path(self) -> str:
        """Where the kernel says that it is."""
        return os.readlink(f"/proc/self/fd/{self._descriptor}")

    def listing(self) -> list[Finished]:
        """Its files, with their sizes; what vanishes meanwhile is left out."""
        found = []
        # A descriptor of its own: two threads look, and would share the place up to which the other has read.
        descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._descriptor)
        try:
            with os.scandir(descriptor) as entries:
                for entry in entries:
                    with contextlib.suppress(FileNotFoundError):
                        found.append(Finished(entry.name, entry.stat(follow_symlinks=False).st_size))
        finally:
            os.close(descriptor)
        return found

    def free(self) -> int:
        """Bytes that are free on its disk."""
        return shutil.disk_usage(self._descriptor).free

    def open(self, name: str) -> BinaryIO:
        """A file of it, to be read.

        Raises:
            Refused: it is no regular file of the account, or one with a second name.
        """
        descriptor = open_owned(name, self._uid, dir_fd=self._descriptor)
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise Refused(f"pg_dump has not written {name}: it is a directory.", stage="dump")
        return open(descriptor, "rb", buffering=0)

    def remove(self, name: str) -> None:
        os.unlink(name, dir_fd=self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)


class Watermark:
    """Stops a group of processes while a directory holds more than `limit` bytes."""

    def __init__(self, process: Process, directory: Directory, limit: int) -> None:
        self._process = process
        self._directory = directory
        self._limit = limit
        self._over = threading.Event()
        self._beyond = threading.Event()
        self._end = threading.Event()
        self.exceeded = False
        self.stops = 0
        self._thread = threading.Thread(target=self._watch, name="watermark", daemon=True)
        self._thread.start()

    @property
    def stopped(self) -> bool:
        return self._over.is_set()

    def _watch(self) -> None:
        while not self._end.wait(POLL):
            used = sum(found.size for found in self._directory.listing())
            if self._over.is_set():
                if used < self._limit * RESUME:
                    self._beyond.clear()
                    self._go_on()
            elif used > self._limit and not self._beyond.is_set():
                self._over.set()
                self.stops += 1
                self._signal(signal.SIGSTOP)
            elif used < self._limit * RESUME:
                self._beyond.clear()

    def go_beyond(self) -> None:
        """Let it write on although the limit is reached: nothing is finished, so stopping would be for ever."""
        self.exceeded = True
        self._beyond.set()
        self._go_on()

    def _go_on(self) -> None:
        self._over.clear()
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.popen.pid, number)

    def close(self) -> None:
        self._end.set()
        self._thread.join(5)
        self._go_on()


def open_files(group: int) -> set[str]:
    """The paths that the processes of a group have open."""
    found: set[str] = set()
    for pid in _members(group):
        try:
            for descriptor in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(FileNotFoundError):
                    found.add(os.readlink(f"/proc/{pid}/fd/{descriptor}"))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended, and with it closed its files
    return found


def _members(group: int) -> Iterator[int]:
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as stream:
                # The second field is a name in parentheses that may hold anything; the group is the third after it.
                if int(stream.read().rpartition(b")")[2].split()[2]) == group:
                    yield int(name)
        except (FileNotFoundError, ProcessLookupError):
            continue


def finished_files(directory: Directory, process: Process) -> tuple[list[Finished], bool]:
    """The files that will not change any more, and whether pg_dump has ended (then all of them).

    The order matters: what is listed and not open *afterwards* was closed before or in between. So only a size that is
    looked up after that is the final one: in between the last bytes may have been written.
    """
    ended = process.popen.poll() is not None
    there = {file.name for file in directory.listing()}
    busy = set() if ended else open_files(process.popen.pid)
    path = directory.path
    closed = {name for name in there if os.path.join(path, name) not in busy}
    return sorted((f for f in directory.listing() if f.name in closed), key=lambda file: file.name), ended


def packs(files: Sequence[Finished], everything: bool) -> list[list[Finished]]:
    """What is sent now: each large file alone, small ones as soon as they fill a pack (`everything`: at once)."""
    found: list[list[Finished]] = []
    small: list[Finished] = []
    for file in files:
        if file.size >= PACK:
            found.append([file])
            continue
        small.append(file)
        if sum(each.size for each in small) >= PACK:
            found.append(small)
            small = []
    if small and everything:
        found.append(small)
    return found


def tar_source(directory: Directory, files: Sequence[Finished]) -> IteratorSource:
    """A tar stream of finished files."""
    return IteratorSource(_tar(directory, files))


def _tar(directory: Directory, files: Sequence[Finished]) -> Iterator[bytes]:
    for file in files:
        header = tarfile.TarInfo(file.name)
        header.size, header.mode, header.mtime = file.size, 0o600, int(time.time())
        yield header.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        left = file.size
        with directory.open(file.name) as stream:
            while left:
                chunk = stream.read(min(CHUNK, left))
                if not chunk:
                    raise InternalError(f"{file.name} shrank while it was read.", stage="dump")
                left -= len(chunk)
                yield chunk
            if stream.read(1):  # never seen, and worth a byte: the rest of the table would be missing in the backup
                raise InternalError(f"{file.name} grew after pg_dump had closed it.", stage="dump")
        if file.size % _BLOCK:
            yield bytes(_BLOCK - file.size % _BLOCK)
    yield bytes(2 * _BLOCK)


class Uploads:
    """Watches a pg_dump and yields what can be sent, until it has ended.

    Args:
        limit: bytes of the directory at which pg_dump is stopped.
        stall: seconds without a new byte that end the run; None: never.
        check: raises what a failure of pg_dump means, once it has ended.
    """

    def __init__(
        self, process: Process, directory: Directory, limit: int, stall: float | None, check: Callable[[], None]
    ) -> None:
        self._process = process
        self._check = check
        self._directory = directory
        self._stall = stall
        self._limit = limit
        self._progressed = time.monotonic()
        self._state: tuple[int, int] = (0, 0)
        self.watermark = Watermark(process, directory, limit)

    def batches(self) -> Iterator[list[Finished]]:
        """Packs of finished files; the consumer sends each before it takes the next, and they are removed then.

        Raises:
            DiskFull: a file that is not finished would fill the scratch place.
            TimedOut: pg_dump writes nothing any more.
        """
        while True:
            stopped = self.watermark.stopped  # asked before we look: what is finished then is all there will be
            files, ended = finished_files(self._directory, self._process)
            if ended:
                self._check()
            batches = packs(files, everything=ended or stopped)
            for batch in batches:
                yield batch
                for file in batch:
                    self._directory.remove(file.name)
            if ended:
                return
            if not batches:
                self._wait(stopped)

    def _wait(self, stopped: bool) -> None:
        """Nothing can be sent yet."""
        files = self._directory.listing()
        free = self._directory.free()
        if free < RESERVE:
            largest = max((file.size for file in files), default=0)
            raise DiskFull(
                f"Only {format_size(free)} are left in the scratch directory while pg_dump writes a table of more than "
                f"{format_size(largest)}.",
                stage="dump",
                hint="Set scratch_dir to a place with more room than the largest table, or use format: custom.",
            )
        if stopped:
            self.watermark.go_beyond()
        state = (len(files), sum(file.size for file in files))
        if state != self._state or stopped:
            self._state, self._progressed = state, time.monotonic()
        elif self._stall and time.monotonic() - self._progressed > self._stall:
            raise TimedOut(
                f"pg_dump has written nothing for {self._stall:g} s.",
                stage="dump",
                hint="Look at the server it reads from; stall_timeout bounds the wait.",
            )
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.popen.wait(POLL)

    def close(self) -> None:
        self.watermark.close()
