# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL 13 and 14 with contrib: the oldest servers that are supported, beside client tools of a newer one.

tests/slow/prepare downloads the archives; they hold servers and no client tools.
"""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

from .postgres import EmbeddedPostgres

ARCHIVES = Path(__file__).resolve().parents[2] / ".build" / "postgresql"
VERSIONS = (13, 14)
_TOOLS = ("pg_amcheck", "pg_dump", "pg_dumpall", "pg_isready", "pg_restore", "psql")


def archive(version: int) -> Path | None:
    """The downloaded archive of a version, if it is there."""
    return next(ARCHIVES.glob(f"*-linux-amd64-{version}.*.jar"), None)


class OldPostgres(EmbeddedPostgres):
    """One cluster of an old version. In `bin_dir` its own programs lie beside the tools of PostgreSQL 16.

    Args:
        version: one of VERSIONS.
    """

    def __init__(self, version: int) -> None:
        super().__init__(16)
        self.version = version
        newer, self._installation = self._installation, self.home / "installation"
        found = archive(version)
        if found is None:
            raise FileNotFoundError(f"no archive of PostgreSQL {version} in {ARCHIVES}: tests/slow/prepare fetches it")
        with zipfile.ZipFile(found) as jar:
            (name,) = (name for name in jar.namelist() if name.endswith(".txz"))
            with tarfile.open(fileobj=io.BytesIO(jar.read(name)), mode="r:xz") as files:
                files.extractall(self._installation)
        for tool in _TOOLS:
            self.bin_dir.joinpath(tool).symlink_to(newer / "bin" / tool)
