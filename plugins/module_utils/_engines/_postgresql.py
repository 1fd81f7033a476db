# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL: pg_dump within an exported snapshot, restored into a new database, proved, then swapped.

PRIVATE to the collection; may change without notice.

Only wiring: the parts are in `_pg`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from .._errors import InternalError
from ._interface import BackupPlan, BackupRun, Engine, Place, Proof, RestorePlan, RestoreRun
from ._pg import _backup, _server


class PostgresqlEngine(Engine):
    """Databases of a PostgreSQL server."""

    name = "postgresql"
    OPTIONS: ClassVar[Mapping[str, Any]] = {**_server.OPTIONS, **_backup.DATABASE_OPTIONS}
    BACKUP_OPTIONS: ClassVar[Mapping[str, Any]] = _backup.OPTIONS

    def __init__(self, options: Mapping[str, Any], place: Place) -> None:
        super().__init__(options, place)
        self._opened: _server.Server | None = None
        self._job: _backup.BackupJob | None = None

    @property
    def server(self) -> _server.Server:
        """Where it is; looked for when first needed (an archive can be verified without any)."""
        if self._opened is None:
            self._opened = _server.Server(self.options, self.place.component)
        return self._opened

    @property
    def _backup(self) -> _backup.BackupJob:
        if self._job is None:
            self._job = _backup.BackupJob(self.server, self.options, self.place)
        return self._job

    def plan_backup(self) -> BackupPlan:
        return self._backup.plan()

    def backup(self, run: BackupRun) -> None:
        self._backup.run(run)

    def plan_restore(self, run: RestoreRun) -> RestorePlan:
        raise InternalError("not wired yet")

    def restore(self, run: RestoreRun) -> Proof:
        raise InternalError("not wired yet")

    def verify_archive(self, run: RestoreRun) -> Mapping[str, Any]:
        raise InternalError("not wired yet")

    def verify_restore(self, run: RestoreRun) -> Proof:
        raise InternalError("not wired yet")

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None
