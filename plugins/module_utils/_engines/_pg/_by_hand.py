# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shell lines that restore a PostgreSQL backup with standard tools only. They stand in the manifest.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from ..._manifest import Artefact, safe_name
from .._by_hand import decoded

PRESENT_ANYWHERE = ("postgres", "template1")
"""Databases that every cluster has, so that they cannot be created again."""


def by_hand_lines(roles: Artefact, databases: Sequence[str]) -> list[str]:
    """All of it, in order."""
    start = ["# In the directory of the artefacts:", "sha256sum -c SHA256SUMS"]
    if roles.encryption == "age":
        start.append("KEY=/path/to/the/age/identity")
    return [
        *start,
        "# Roles and tablespaces. Into a cluster that is in use, run only the lines you need: others reset passwords.",
        f"{decoded(roles)} | psql -X -d postgres",
        *databases,
    ]


def custom_by_hand(database: str, artefact: Artefact) -> list[str]:
    """One database in custom format."""
    return [_heading(database), f"{decoded(artefact)} | {_pg_restore(database)}"]


def directory_by_hand(database: str, artefacts: Sequence[Artefact]) -> list[str]:
    """One database in directory format."""
    place = shlex.quote(f"{safe_name(database)}.dir")
    unpack = [f"{decoded(artefact)} | tar -x -C {place}" for artefact in artefacts]
    return [_heading(database), f"mkdir {place}", *unpack, f"{_pg_restore(database)} --jobs=4 {place}"]


def _heading(database: str) -> str:
    return f"# The database {' '.join(database.split())!r}."


def _pg_restore(database: str) -> str:
    create = "" if database in PRESENT_ANYWHERE else " --create"
    into = database if database in PRESENT_ANYWHERE else "postgres"
    return f"pg_restore --exit-on-error{create} --dbname={into}"
