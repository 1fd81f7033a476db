# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's PostgreSQL: what the wheel's builds lack (TLS, ICU, contrib, amcheck), for tests/slow."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path

import pytest

from .postgres import EmbeddedPostgres

DEBIAN = max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path("/usr/lib/postgresql/none/bin"))
"""The programs of this machine's package."""

SERVER_NAMES = "DNS:localhost,DNS:db.example.test"
"""Whom the server's certificate names; 127.0.0.1, where it listens, is not among them."""

needs_debian = pytest.mark.skipif(
    os.geteuid() != 0 or not (DEBIAN / "initdb").exists(),
    reason="needs root and Debian's package postgresql (tests/slow/prepare installs it)",
)


class Authority:
    """A certificate authority in a directory: `ca.crt` there is what clients trust."""

    def __init__(self, directory: Path, name: str) -> None:
        self.directory = directory
        directory.mkdir(mode=0o755)
        self.certificate, self._key = directory / "ca.crt", directory / "ca.key"
        self._issue(self.certificate, self._key, name)

    def issue(self, name: str, alternatives: str = "", owner: str | None = None) -> tuple[Path, Path]:
        """A certificate for a common name, and its key, which only `owner` may read."""
        certificate, key = self.directory / f"{name}.crt", self.directory / f"{name}.key"
        extension = ["-addext", f"subjectAltName={alternatives}"] if alternatives else []
        self._issue(certificate, key, name, "-CA", str(self.certificate), "-CAkey", str(self._key), *extension)
        if owner:
            shutil.chown(key, owner)
        return certificate, key

    @staticmethod
    def _issue(certificate: Path, key: Path, name: str, *more: str) -> None:
        new = ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        where = ["-days", "2", "-subj", f"/CN={name}", "-keyout", str(key), "-out", str(certificate)]
        subprocess.run([*new, *where, *more], check=True, capture_output=True)
        key.chmod(0o600)


class DebianPostgres(EmbeddedPostgres):
    """A cluster of our own, of the packaged version, with TLS.

    Args:
        access: lines that come first in pg_hba.conf.

    Attributes:
        authority: signed the server's certificate, and is trusted with those of clients.
    """

    def __init__(self, access: str = "") -> None:
        super().__init__(16, {"ssl": "on", "shared_preload_libraries": "pg_stat_statements"})
        self.version = int(DEBIAN.parent.name)
        self._installation = DEBIAN.parent
        self._access = access

    def initialise(self) -> None:
        super().initialise()
        self.authority = Authority(self.home / "authority", "the tests' authority")
        certificate, key = self.authority.issue("localhost", SERVER_NAMES, self.user)
        files = {"ssl_cert_file": certificate, "ssl_key_file": key, "ssl_ca_file": self.authority.certificate}
        with (self.data / "postgresql.conf").open("a") as configuration:
            configuration.writelines(f"{name} = '{path}'\n" for name, path in files.items())
        rules = self.data / "pg_hba.conf"
        rules.write_text(self._access + rules.read_text())


class PackagedPostgres(DebianPostgres):
    """A cluster as Debian's package makes it: the account postgres, peer authentication, /var/run/postgresql."""

    def __init__(self) -> None:
        super().__init__()
        self.user = pwd.getpwnam("postgres").pw_name
        shutil.chown(self.home, self.user, pwd.getpwnam(self.user).pw_gid)
        self.socket_dir = Path("/var/run/postgresql")

    def initialise(self) -> None:
        super().initialise()
        (self.data / "pg_hba.conf").write_text("local all all peer\nhost all all 127.0.0.1/32 scram-sha-256\n")
