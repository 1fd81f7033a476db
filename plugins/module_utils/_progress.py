# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Progress of a long operation: what a person who waits wants to know, written to a file that somebody polls.

PRIVATE to the collection; may change without notice.

The file holds one JSON object and no secrets: stage, component, bytes done, bytes in all (or null), start of the
operation and of the stage (epoch seconds). It is replaced atomically at most twice a second.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time

INTERVAL = 0.5


class Progress:
    """Counts bytes and stages; never raises, because progress must never change a result.

    Args:
        path: where to write; None only counts.
        component: shown with it.
    """

    def __init__(self, path: str | None = None, component: str = "") -> None:
        self._path = path
        self._component = component
        self._lock = threading.Lock()
        self._started = time.time()
        self._written = 0.0
        self.name = "start"
        self.stage_started = self._started
        self.done = 0
        self.total: int | None = None
        self.seconds: dict[str, float] = {}
        """Seconds spent in each stage that has ended."""

    def stage(self, name: str, total: int | None = None) -> None:
        """Begin a stage; `total` is the bytes expected in it, when known."""
        with self._lock:
            now = time.time()
            self.seconds[self.name] = self.seconds.get(self.name, 0.0) + now - self.stage_started
            self.name, self.stage_started, self.done, self.total = name, now, 0, total
        self._write(force=True)

    def add(self, size: int) -> None:
        """Some bytes have passed."""
        with self._lock:
            self.done += size
        if self._path and time.time() - self._written > INTERVAL:
            self._write()

    def _write(self, force: bool = False) -> None:
        if not self._path:
            return
        self._written = time.time()
        document = {
            "component": self._component,
            "stage": self.name,
            "done": self.done,
            "total": self.total,
            "started": round(self._started, 3),
            "stage_started": round(self.stage_started, 3),
            "updated": round(self._written, 3),
        }
        temporary = f"{self._path}.{threading.get_ident()}"
        with contextlib.suppress(OSError):  # a full disk must not stop a backup for the sake of its progress
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with open(descriptor, "w", encoding="ascii") as stream:
                json.dump(document, stream)
            os.replace(temporary, self._path)
