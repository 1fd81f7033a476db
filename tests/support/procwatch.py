# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watch every process that a test starts: its arguments, and its environment. For the test of secrets."""

from __future__ import annotations

import ctypes
import os
import threading
from dataclasses import dataclass, field

_PR_SET_CHILD_SUBREAPER = 36
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass
class Seen:
    """What was seen while watching: distinct command lines and environments, NUL separated as the kernel keeps them."""

    cmdlines: set[bytes] = field(default_factory=set)
    environs: set[bytes] = field(default_factory=set)
    pids: set[int] = field(default_factory=set)
    samples: int = 0

    def programs(self) -> set[str]:
        """Base names of all that ran, to prove that the watch saw what it should have seen."""
        return {os.path.basename(line.split(b"\0", 1)[0]).decode(errors="replace") for line in self.cmdlines if line}

    def holding(self, *secrets: str) -> list[str]:
        """Every sighting of one of the secrets, as text for a failure message; empty is what a test wants."""
        found = []
        for kind, texts in (("cmdline", self.cmdlines), ("environ", self.environs)):
            for text in texts:
                for secret in secrets:
                    if secret.encode() in text:
                        owner = text.split(b"\0", 1)[0].decode(errors="replace")
                        found.append(f"{kind} of a process ({owner} …) holds {secret!r}")
        return sorted(found)


class ProcessWatch:
    """`with ProcessWatch() as seen: …; assert not seen.holding(password)`.

    Descendants of this process are sampled about a thousand times a second. Orphans among them are handed to this
    process (a child subreaper) instead of to init, so that a daemon does not slip out of sight.
    """

    def __init__(self, interval: float = 0.001) -> None:
        self.interval = interval
        self.seen = Seen()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._error: BaseException | None = None

    def __enter__(self) -> Seen:
        _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._thread.start()
        return self.seen

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()
        _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        if self._error is not None:
            raise self._error

    def _watch(self) -> None:
        try:
            while not self._stop.wait(self.interval):
                self._sample()
        except BaseException as error:  # a watcher that died would let every test pass
            self._error = error

    def _sample(self) -> None:
        self.seen.samples += 1
        waiting, known = [os.getpid()], set()
        while waiting:
            for pid in _children(waiting.pop()):
                if pid not in known:
                    known.add(pid)
                    waiting.append(pid)
        for pid in known:
            self.seen.pids.add(pid)
            self.seen.cmdlines.add(_read(pid, "cmdline"))
            self.seen.environs.add(_read(pid, "environ"))


def _children(pid: int) -> list[int]:
    """Direct children, of all threads of a process. The kernel keeps the list: no walk over all of /proc."""
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as listing:
                found += map(int, listing.read().split())
        except OSError:
            continue  # it ended between the two looks
    return found


def _read(pid: int, name: str) -> bytes:
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except OSError:
        return b""  # ended, or another user's (its command line is readable, its environment is not)
