# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading the journal of systemd, the newest entry first.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any

from ..._errors import ToolFailed
from ..._process import Process, find_program, wait_readable
from ._entries import continues
from ._scan import Scanner

_FIELDS = "MESSAGE,PRIORITY,_SYSTEMD_UNIT,UNIT,SYSLOG_IDENTIFIER,_PID"
_MOST_STREAMS = 1000
"""Processes whose lines are put together at the same time."""
_MOST_LINES = 200
_LONGEST = 256 * 1024
"""Bytes of an entry in JSON that are looked at."""
_CHUNK = 1 << 18

Stream = tuple[str, str]


class Journal:
    """The journal of some units, or of all.

    Args:
        units: None for everything, of the priority `err` or worse.
    """

    def __init__(self, units: Sequence[str] | None, scanner: Scanner) -> None:
        self._units = units
        self._scanner = scanner
        self._open: dict[Stream, list[tuple[bytes, float, int | None]]] = {}
        self.entries = 0
        self.bytes = 0
        self.oldest: float | None = None
        """The moment of the oldest entry that was read."""

    def read(self, since: float, until: float) -> bool:
        """Count what stands in it; whether all of it could be read in time.

        Args:
            since: seconds since 1970.
            until: by `time.monotonic`.

        Raises:
            MissingDependency: there is no journalctl.
            ToolFailed: it failed, or may not read the journal.
        """
        which = [f"--unit={unit}" for unit in self._units] if self._units is not None else ["--priority=err"]
        argv = [find_program("journalctl"), "--output=json", "--reverse", "--no-pager", "--quiet", "--all"]
        process = Process([*argv, f"--since=@{int(since)}", f"--output-fields={_FIELDS}", *which])
        try:
            for line in self._output(process, until):
                self._take(line)
            if self._late:
                return False
            code = process.wait(5)
            if code:
                raise process.failure(code)
            if "insufficient permissions" in process.stderr or "No journal files" in process.stderr:
                raise ToolFailed("The journal may not be read, or there is none.", tool_output=process.stderr)
        finally:
            process.terminate()
            for stream in list(self._open):
                self._close(stream)
        return True

    def _output(self, process: Process, until: float) -> Iterator[bytes]:
        if process.popen.stdout is None:
            raise AssertionError("process.popen.stdout is None")
        fd, held, self._late = process.popen.stdout.fileno(), b"", False
        while True:
            left = until - time.monotonic()
            if left <= 0 or not wait_readable(fd, left):
                self._late = True
                return
            piece = os.read(fd, _CHUNK)
            if not piece:
                return
            self.bytes += len(piece)
            *lines, held = (held + piece).split(b"\n")
            held = held[:_LONGEST]
            yield from lines

    def _take(self, line: bytes) -> None:
        try:
            values = json.loads(line)
            when = int(values["__REALTIME_TIMESTAMP"]) / 1e6
        except (ValueError, KeyError, TypeError):  # longer than what is looked at, or cut
            return
        message = _bytes(values.get("MESSAGE"))
        source = str(values.get("_SYSTEMD_UNIT") or values.get("UNIT") or values.get("SYSLOG_IDENTIFIER") or "kernel")
        priority = values.get("PRIORITY")
        self.entries += 1
        self.oldest = when if self.oldest is None else min(when, self.oldest)
        # What a program writes in several lines are several entries, and the last one comes first.
        stream = (source, str(values.get("_PID", "")))
        if stream not in self._open and len(self._open) >= _MOST_STREAMS:
            self._close(next(iter(self._open)))
        lines = self._open.setdefault(stream, [])
        if lines and not continues(message, lines[-1][0], False):
            self._close(stream)
            lines = self._open.setdefault(stream, [])
        if len(lines) < _MOST_LINES:
            number = int(priority) if str(priority).isdigit() else None
            lines.append((message, when, number))

    def _close(self, stream: Stream) -> None:
        lines = self._open.pop(stream)
        if lines:
            _message, when, priority = lines[-1]
            self._scanner.entry(
                stream[0], [each for line in reversed(lines) for each in line[0].split(b"\n")], when, priority
            )


def _bytes(message: Any) -> bytes:
    """What is no text comes as a list of numbers."""
    if isinstance(message, list):
        return bytes(each for each in message if isinstance(each, int) and 0 <= each < 256)
    return str(message or "").encode("utf-8", "replace")
