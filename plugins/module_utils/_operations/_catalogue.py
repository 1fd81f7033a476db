# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue: what exists, told by the repository alone.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime

from .._errors import NotFound
from .._manifest import MANIFESTS, Backup, BackupId, manifest_key
from .._repositories._interface import Repository


def backup_ids(repository: Repository) -> Iterator[BackupId]:
    """Ids of all committed backups, oldest first; a stranger's file among the manifests is passed over."""
    for item in repository.list(MANIFESTS):
        name, extension = os.path.splitext(os.path.basename(item.key))
        found = BackupId.parse(name) if extension == ".json" else None
        if found is not None:
            yield found


def load_backup(repository: Repository, backup_id: str) -> Backup:
    """One manifest.

    Raises:
        NotFound: there is no such backup here.
        Corrupted: its manifest cannot be read.
    """
    try:
        data = repository.read(manifest_key(backup_id))
    except NotFound:
        raise NotFound(
            f"There is no backup {backup_id} in the repository {repository.name}.",
            stage="preflight",
            hint="backup_info lists what exists.",
        ) from None
    return Backup.from_json(data, where=f"{manifest_key(backup_id)} in {repository.name}")


def select_backup(repository: Repository, backup_id: str = "latest", at: datetime | None = None) -> Backup:
    """The backup that was asked for.

    Args:
        backup_id: an id, or `latest`.
        at: the newest backup whose data is of this moment or earlier; goes with `latest`.

    Raises:
        NotFound: there is none.
    """
    if backup_id != "latest":
        return load_backup(repository, backup_id)
    ids = [found for found in backup_ids(repository) if at is None or found.time <= at]
    if not ids:
        when = f" at or before {at.isoformat()}" if at else ""
        raise NotFound(
            f"The repository {repository.name} holds no committed backup of this component{when}.",
            stage="preflight",
            hint="backup_info lists what exists.",
        )
    return load_backup(repository, ids[-1].text)
