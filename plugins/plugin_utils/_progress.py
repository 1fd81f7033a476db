# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the person who waits sees of a long module: its progress file, read now and then, as a line of text.

PRIVATE to the collection; may change without notice. Knows no Ansible: `_action.py` gives it a way to read and to show.

`module_utils/_progress.py` writes the file. Nothing that goes wrong here may change a result, so a reader that fails
ends the showing and nothing else.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any, Callable

LIVE_INTERVAL = 1.0
LINE_INTERVAL = 30.0
RATE_WINDOW = 10.0
"""Seconds that a live rate is the mean of."""
POLL_SHARE = 0.1
"""At most this share of the time is spent polling, so a slow connection is asked less often."""
FAILURES_ALLOWED = 3
FAREWELL = 3.0
"""Seconds that a poll in flight gets when the module has ended; after that its answer is not waited for."""

# Ansible runs actions in forks that have no terminal, but imports this module before it forks.
TERMINAL = sys.stderr is not None and sys.stderr.isatty()


@dataclass(frozen=True)
class Sample:
    """One reading of a progress file; times are the host's own clock, so that clocks need not agree."""

    component: str
    stage: str
    done: int
    total: int | None
    in_stage: float
    """Seconds since the stage began."""
    elapsed: float
    """Seconds since the operation began."""
    updated: float

    @classmethod
    def parse(cls, data: str) -> Sample | None:
        """None when it is not what the module writes (yet): then there is simply nothing to show."""
        try:
            document = json.loads(data)
            updated = float(document["updated"])
            total = document["total"]
            return cls(
                component=_plain(document["component"]),
                stage=_plain(document["stage"]),
                done=int(document["done"]),
                total=None if total is None else int(total),
                in_stage=max(0.0, updated - float(document["stage_started"])),
                elapsed=max(0.0, updated - float(document["started"])),
                updated=updated,
            )
        except (ValueError, KeyError, TypeError):
            return None


class Meter:
    """Rate and text of successive samples. `window` is the number of seconds that the rate is the mean of."""

    def __init__(self, window: float) -> None:
        self._window = window
        self._samples: deque[Sample] = deque()
        self._seen_at = 0.0

    def add(self, sample: Sample, now: float) -> None:
        """Take a reading; `now` is the controller's monotonic clock."""
        if self._samples and self._samples[-1].stage != sample.stage:
            self._samples.clear()
        if not self._samples or self._samples[-1].updated != sample.updated:
            self._samples.append(sample)
            self._seen_at = now
        while len(self._samples) > 2 and self._samples[1].updated <= sample.updated - self._window:
            self._samples.popleft()

    def text(self, now: float) -> str:
        """`omnidoc_db: dump 312.4 MB of 1.2 GB (26 %), 55.1 MB/s, 0:06, 0:17 left`; empty without a sample."""
        if not self._samples:
            return ""
        last = self._samples[-1]
        silent = max(0.0, now - self._seen_at)  # the file is only written when something moves
        parts = [f"{last.component}: {last.stage}"]
        if last.done:
            rate = self._rate(silent)
            known = last.total is not None and last.done <= last.total
            of = f" of {size(last.total)} ({100 * last.done // last.total} %)" if known and last.total else ""
            parts[0] += f" {size(last.done)}{of}"
            parts.append(f"{size(rate)}/s")
        parts.append(duration(last.elapsed + silent))
        if last.done and known and last.total and rate:
            parts.append(f"{duration((last.total - last.done) / rate)} left")
        return ", ".join(parts)

    def _rate(self, silent: float) -> float:
        first, last = self._samples[0], self._samples[-1]
        if first is last or first.updated == last.updated:
            seconds, amount = last.in_stage, last.done
        else:
            seconds, amount = last.updated - first.updated, last.done - first.done
        return amount / max(seconds + silent, 0.1)


def size(count: float) -> str:
    """Bytes in decimal units, three or four figures: `312.4 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} TB"


def duration(seconds: float) -> str:
    """`0:06`, `12:34`, `1:02:03`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _plain(text: Any) -> str:
    """Text that moves no cursor, whatever a host wrote."""
    return "".join(character for character in str(text) if character.isprintable())[:100]


class Watcher:
    """Polls in a thread of its own from `with` to its end, and shows what it reads.

    Args:
        read: the content of the progress file; may raise anything, and may take long.
        show: shows a text; an empty one clears the line.
        interval: seconds between two texts.
        live: one line that is written again and again, first after a second; otherwise a line an interval.
    """

    def __init__(
        self, read: Callable[[], str], show: Callable[[str], None], interval: float, live: bool, label: str = ""
    ) -> None:
        self._read, self._show, self._interval, self._live = read, show, interval, live
        self._label = label
        self._ended = threading.Event()
        self._showing = threading.Lock()
        self._shown = False
        self._thread = threading.Thread(target=self._watch, name="holdfast-progress", daemon=True)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join(FAREWELL)
        with self._showing:  # from here on a poll that is still in flight shows nothing
            if self._live and self._shown:
                self._show("")

    def _watch(self) -> None:
        meter = Meter(RATE_WINDOW if self._live else self._interval)
        failures, pause = 0, self._interval
        while not self._ended.wait(pause):
            asked = time.monotonic()
            try:
                sample = Sample.parse(self._read())
                failures = 0
            except Exception:  # whatever a connection does, the module's result stands
                sample = None
                failures += 1
                if failures >= FAILURES_ALLOWED:
                    return
            now = time.monotonic()
            pause = max(self._interval, (now - asked) / POLL_SHARE)
            if sample is not None:
                meter.add(sample, now)
                self._say(meter.text(now))

    def _say(self, text: str) -> None:
        with self._showing:
            if not self._ended.is_set():
                self._show(f"{self._label}{text}")
                self._shown = True
