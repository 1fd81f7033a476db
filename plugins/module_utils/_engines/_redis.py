# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Redis and Valkey: one RDB as a replica gets it, read while it passes, and proved by reading it out again.

PRIVATE to the collection; may change without notice.

Only wiring: the parts are in `_rd`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ._interface import BackupPlan, BackupRun, Engine, Place, Proof, RestorePlan, RestoreRun
from ._rd import _backup, _restore, _server, _verify


class RedisEngine(Engine):
    """All databases of a Redis or Valkey server."""

    name = "redis"
    OPTIONS: ClassVar[Mapping[str, Any]] = _server.OPTIONS
    BACKUP_OPTIONS: ClassVar[Mapping[str, Any]] = _backup.OPTIONS
    RESTORE_OPTIONS: ClassVar[Mapping[str, Any]] = _restore.OPTIONS
    VERIFY_OPTIONS: ClassVar[Mapping[str, Any]] = _verify.OPTIONS

    def __init__(self, options: Mapping[str, Any], place: Place) -> None:
        super().__init__(options, place)
        self._opened: _server.Server | None = None
        self._restoring: _restore.RestoreJob | None = None

    @property
    def server(self) -> _server.Server:
        """Where it is; looked for when first needed (an archive can be verified without any)."""
        if self._opened is None:
            self._opened = _server.open_server(self.options)
        return self._opened

    def plan_backup(self) -> BackupPlan:
        return _backup.BackupJob(self.server, self.options).plan()

    def backup(self, run: BackupRun) -> None:
        _backup.BackupJob(self.server, self.options).run(run)

    def plan_restore(self, run: RestoreRun) -> RestorePlan:
        self._restoring = _restore.RestoreJob(self.server, self.options, run)
        return self._restoring.plan()

    def restore(self, run: RestoreRun) -> Proof:
        if self._restoring is None:
            raise AssertionError("nothing was planned")
        return self._restoring.execute()

    def verify_archive(self, run: RestoreRun) -> Mapping[str, Any]:
        return _verify.verify_archive(self.options, run)

    def verify_restore(self, run: RestoreRun) -> Proof:
        return _verify.verify_restore(self.options, run)

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None
