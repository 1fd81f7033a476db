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

from ._interface import BackupPlan, BackupRun, Engine, Place, Proof, RestorePlan, RestoreRun
from ._pg import _backup, _plan, _restore, _server, _verify
from ._pg._stored import Stored


class PostgresqlEngine(Engine):
    """Databases of a PostgreSQL server."""

    name = "postgresql"
    OPTIONS: ClassVar[Mapping[str, Any]] = {**_server.OPTIONS, **_backup.DATABASE_OPTIONS}
    BACKUP_OPTIONS: ClassVar[Mapping[str, Any]] = _backup.OPTIONS
    RESTORE_OPTIONS: ClassVar[Mapping[str, Any]] = _plan.OPTIONS
    VERIFY_OPTIONS: ClassVar[Mapping[str, Any]] = _verify.OPTIONS

    def __init__(self, options: Mapping[str, Any], place: Place) -> None:
        super().__init__(options, place)
        self._opened: _server.Server | None = None
        self._job: _backup.BackupJob | None = None
        self._planned: _plan.Plan | None = None

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
        self._planned = _plan.make_plan(self.server, Stored(run), _plan.Wanted.from_options(self.options))
        return self._planned.result()

    def safety_options(self) -> Mapping[str, Any]:
        live = [target.name for target in self._planned.targets if target.exists] if self._planned else []
        plain = {name: option.get("default") for name, option in _backup.OPTIONS.items()}
        return {**plain, "database": None, "databases": live}

    def restore(self, run: RestoreRun) -> Proof:
        return _restore.restore(self.server, run, _plan.Wanted.from_options(self.options))

    def verify_archive(self, run: RestoreRun) -> Mapping[str, Any]:
        return _verify.verify_archive(self.server, run)

    def verify_restore(self, run: RestoreRun) -> Proof:
        return _verify.verify_restore(self.options, self.place.component, run)

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None
