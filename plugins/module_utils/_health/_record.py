# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeping what runs found: state for flap control, the document for probes, metrics, and telling people of changes.

PRIVATE to the collection; may change without notice.

Runs of several profiles may end at the same time. What is kept is one file with the last run of every check, changed
under a lock; document and metrics are written from all of it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from .._host import _paths
from .._locks import private_directory, state_directory
from .._notify._model import FIRING, RESOLVED, Event
from .._replace import replace_file
from . import _textfile
from ._document import Known, document
from ._flaps import State
from ._interface import FAIL, PASS, Check, Result

_STATE = "state.json"
_VERSION = 1
_MISSED_RUNS = 3
"""So many runs may be missed before what was found no longer counts."""


class Record:
    """What is kept of a host's checks.

    Args:
        checks: all that are declared, also those that a run leaves out.
        host: as the inventory calls it.
        textfile_dir: of node_exporter's textfile collector; empty writes no metrics.
    """

    def __init__(self, checks: Sequence[Check], host: str, textfile_dir: str = "") -> None:
        self._checks = {check.name: check for check in checks}
        self._host = host
        self._textfile_dir = textfile_dir
        self.known: tuple[Known, ...] = ()
        """All checks that have run, once `add` was called."""

    def add(self, results: Sequence[Result], every: float) -> list[str]:
        """Keep what a run found, and write the document and the metrics.

        Args:
            every: seconds until the next run.

        Returns:
            Sentences to warn with: what is kept was damaged, or metrics could not be written.

        Raises:
            OSError: what is kept, or the document, cannot be written.
        """
        warnings: list[str] = []
        now = time.time()
        with self._locked():
            before = self._read(warnings)
            known = {name: before[name] for name in self._checks if name in before}
            for result in results:
                check = self._checks[result.name]
                state = known[result.name].state if result.name in known else State()
                state = state.seen(result.status, check.failures, check.recoveries, now)
                until = now + _MISSED_RUNS * every + check.timeout
                known[result.name] = Known(result, state, check.profiles, until)
            self._write(known)
        return warnings + self._publish(now)

    def changes(self) -> Iterator[tuple[str, Event]]:
        """What people are to know: checks of which something else is believed than they were last told."""
        for each in self.known:
            told, confirmed = each.state.told, each.state.confirmed
            if told != confirmed:
                yield each.result.name, self._event(each, told, confirmed)

    def told(self, names: Sequence[str]) -> None:
        """People were told of these."""
        believed = {each.result.name: each.state.confirmed for each in self.known}
        with self._locked():
            known = self._read([])
            for name in names:
                if name in known:
                    known[name] = replace(known[name], state=replace(known[name].state, told=believed[name]))
            self._write(known)

    def _event(self, known: Known, told: str, confirmed: str) -> Event:
        result = known.result
        bad = told if confirmed == PASS else confirmed
        return Event(
            key=f"health:{result.name}",
            severity="critical" if bad == FAIL else "warning",
            status=RESOLVED if confirmed == PASS else FIRING,
            summary=f"{result.name} is well again" if confirmed == PASS else f"{result.name}: {_short(result)}",
            details=result.output,
            host=self._host,
            at=datetime.fromtimestamp(known.state.since or result.started, timezone.utc),
            source="health",
            labels={"check": result.name, "kind": result.kind},
        )

    # -- files --------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        state_directory(_paths.STATE)
        path = os.path.join(private_directory(_paths.HEALTH_STATE), "lock")
        with open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _read(self, warnings: list[str]) -> dict[str, Known]:
        path = os.path.join(_paths.HEALTH_STATE, _STATE)
        try:
            with open(path, encoding="utf-8") as stream:
                kept = json.load(stream)
            if kept["version"] != _VERSION:
                raise ValueError("another version")
            return {each.result.name: each for each in map(Known.from_json, kept["checks"])}
        except FileNotFoundError:
            return {}
        except (KeyError, TypeError, ValueError):
            warnings.append(f"{path} could not be read and is begun anew.")
            return {}

    def _write(self, known: Mapping[str, Known]) -> None:
        self.known = tuple(known.values())
        kept = {"version": _VERSION, "checks": [each.as_json() for each in self.known]}
        replace_file(os.path.join(_paths.HEALTH_STATE, _STATE), _as_json(kept), 0o600)

    def _publish(self, now: float) -> list[str]:
        if not os.path.isdir(_paths.RUN):
            os.makedirs(_paths.RUN)
            os.chmod(_paths.RUN, 0o755)  # whatever the umask
        # Readable by all: it holds no secret, and the endpoint that serves it has no rights at all.
        replace_file(_paths.HEALTH_REPORT, _as_json(document(self.known, self._host, now)), 0o644)
        if not self._textfile_dir:
            return []
        try:
            _textfile.write(self._textfile_dir, self.known)
        except OSError as error:
            return [f"The metrics could not be written to {self._textfile_dir}: {error.strerror}."]
        return []


def _as_json(content: Any) -> str:
    return json.dumps(content, indent=1) + "\n"


def _short(result: Result) -> str:
    """The first sentence of what a check says, as a summary."""
    first, _end, _rest = (result.output or f"the check is {result.status}").partition(". ")
    return first.rstrip(".")
