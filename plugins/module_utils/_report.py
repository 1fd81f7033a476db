# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the world is told of a backup run, failed ones too: metrics and the history table.

PRIVATE to the collection; may change without notice. Telling never fails a run; it warns.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

from . import _history, _metrics
from ._errors import HoldfastError, InternalError, Locked
from ._manifest import parse_time
from ._operations._backup import BackupResult, DegradedBackup, sha256sums

Warn = Callable[[str], None]


class BackupReport:
    """One backup run, told when it begins and when it ends.

    Args:
        params: of the module: `component`, `textfile_dir`, `history`.
        objectives: `rpo_seconds`, `rto_seconds` and `max_duration_seconds`, each a number or None.
        warn: shows a sentence to the user.
    """

    def __init__(
        self, params: Mapping[str, Any], engine: str, objectives: Mapping[str, float | None], warn: Warn
    ) -> None:
        self._component = str(params["component"])
        self._directory = params.get("textfile_dir")
        self._history = params.get("history")
        self._engine = engine
        self._objectives = objectives
        self._warn = warn
        self._started = time.time()

    def started(self) -> None:
        """A backup begins."""
        self._tell(_metrics.record_backup_started(self._directory, self._component, started=self._started))

    def run(self, work: Callable[[], BackupResult]) -> BackupResult:
        """Run the backup and tell what became of it; its result or error passes through."""
        self._tell(_metrics.record_component(self._directory, self._component, engine=self._engine, **self._objectives))
        try:
            result = work()
        except DegradedBackup as error:
            self._ended(error.result_of_run, _metrics.DEGRADED, error)
            raise
        except Exception as error:
            self._failed(error)
            raise
        if result.backup is not None:  # else nothing had to be done, and the last success stays what it was
            self._ended(result, _metrics.SUCCESS, None)
        return result

    def _tell(self, trouble: str | None) -> None:
        if trouble:
            self._warn(trouble)

    def _ended(self, result: BackupResult, outcome: str, error: HoldfastError | None) -> None:
        seconds = time.time() - self._started
        made = result.backup
        if made is None:
            raise AssertionError("made is None")
        unknown = (None, None)
        states = [_metrics.RepositoryState(name, True, *result.room.get(name, unknown)) for name in result.committed]
        states += [_metrics.RepositoryState(name, False) for name in result.missing]
        self._tell(
            _metrics.record_backup(
                self._directory,
                self._component,
                outcome=outcome,
                started=self._started,
                seconds=seconds,
                snapshot_at=parse_time(made.snapshot_at).timestamp(),
                size=made.size,
                source_size=made.source_size,
                repositories=states,
            )
        )
        attempt = _history.Attempt(
            component=self._component,
            backup_type=self._engine,
            status=outcome,
            timestamp=datetime.fromtimestamp(self._started, timezone.utc),
            seconds=seconds,
            backup_id=made.id,
            size_bytes=made.size,
            source_size_bytes=made.source_size,
            checksum=hashlib.sha256(sha256sums(made.artefacts)).hexdigest(),
            snapshot_at=parse_time(made.snapshot_at),
            repositories=result.committed,
            missing=list(result.missing),
            backup_set=made.set,
            error_code=error.code if error else None,
            error_message=str(error) if error else None,
        )
        self._tell(_history.record(self._history, attempt))

    def _failed(self, error: Exception) -> None:
        known = error if isinstance(error, HoldfastError) else InternalError(f"{type(error).__name__}: {error}")
        seconds = time.time() - self._started
        if not isinstance(error, Locked):  # the metrics belong to the run that holds the lock
            self._tell(
                _metrics.record_backup(
                    self._directory,
                    self._component,
                    outcome=_metrics.FAILURE,
                    started=self._started,
                    seconds=seconds,
                )
            )
        attempt = _history.Attempt(
            component=self._component,
            backup_type=self._engine,
            status=_metrics.FAILURE,
            timestamp=datetime.fromtimestamp(self._started, timezone.utc),
            seconds=seconds,
            error_code=known.code,
            error_message=str(known),
        )
        self._tell(_history.record(self._history, attempt))
