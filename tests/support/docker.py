# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Docker engine of the test's own, and an image that needs no registry: this machine's programs, read only."""

from __future__ import annotations

import io
import os
import shutil
import signal
import tarfile
from pathlib import Path
from typing import Any

import pytest

from .servers import Server, short_directory, wait_until

IMAGE = "holdfast-test:latest"
needs_docker = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("dockerd"),
    reason="needs root and Docker's engine (tests/slow/prepare installs it)",
)
_LINKS = {name: f"usr/{name}" for name in ("bin", "sbin", "lib", "lib64")}
_DIRECTORIES = {
    "usr": 0o755,
    "etc": 0o755,
    "dev": 0o755,
    "proc": 0o755,
    "sys": 0o755,
    "run": 0o1777,
    "tmp": 0o1777,
    "var": 0o755,
    "data": 0o1777,
}
_FILES = {
    "etc/passwd": "root:x:0:0::/:/bin/sh\npostgres:x:999:999::/tmp:/bin/sh\n",
    "etc/group": "root:x:0:\npostgres:x:999:\n",
}

# Started again, it finds its data. Whoever may enter the container may log in, but for `guarded`.
_POSTGRESQL = """set -e
if ! [ -s /data/pg/PG_VERSION ]; then
    "$0"/initdb -D /data/pg -U postgres -E UTF8 --locale=C.UTF-8 --no-sync --auth=trust > /dev/null
    sed -i '1i local all guarded scram-sha-256' /data/pg/pg_hba.conf
fi
exec "$0"/postgres -D /data/pg -k /run -c listen_addresses= -c fsync=off
"""


class DockerEngine:
    """`with DockerEngine() as engine: container = engine.run([...])`. Needs root and Docker's programs."""

    def __init__(self) -> None:
        self.home = short_directory("hf-docker-")
        self.url = f"unix://{self.home}/docker.sock"
        self._server: Server | None = None
        self._client: Any = None

    def __enter__(self) -> DockerEngine:
        import docker

        places = [f"--{name}={self.home}/{name}" for name in ("data-root", "exec-root", "pidfile")]
        self._server = Server(
            ["dockerd", f"--host={self.url}", *places, "--storage-driver=vfs", "--bridge=none", "--iptables=false"],
            log=self.home / "dockerd.log",
            orphan_signal=signal.SIGTERM,
        )
        try:
            self._server.wait_ready((self.home / "docker.sock").exists, "dockerd")
            self._client = docker.DockerClient(base_url=self.url, timeout=60)
            self._server.wait_ready(self._answers, "dockerd")
            self._client.api.import_image_from_data(_image(), repository=IMAGE.partition(":")[0], tag="latest")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _answers(self) -> bool:
        import docker

        try:
            return bool(self._client.ping())
        except (docker.errors.DockerException, OSError):
            return False

    def run(self, command: list[str], usr: Path = Path("/usr"), **more: Any) -> Any:
        """Start a container that sees this machine's /usr, or another system's; the Docker SDK's object."""
        return self._client.containers.run(
            IMAGE,
            command,
            detach=True,
            network_mode="none",
            security_opt=["seccomp=unconfined", "apparmor=unconfined"],
            volumes={str(usr): {"bind": "/usr", "mode": "ro"}},
            **more,
        )

    def postgresql(self, programs: str, **more: Any) -> PostgresContainer:
        """Start a container with a PostgreSQL server, as the account postgres, whose socket lies in /run."""
        command = ["/bin/sh", "-c", _POSTGRESQL, programs]
        server = PostgresContainer(self.run(command, user="postgres", **more), programs)
        server.wait_ready()
        return server

    def close(self) -> None:
        if self._client is not None:
            for container in self._client.containers.list(all=True):
                container.remove(force=True)
            self._client.close()
        if self._server is not None:
            self._server.stop()
        shutil.rmtree(self.home, ignore_errors=True)


class PostgresContainer:
    """A server in a container, asked from inside by Docker's own means.

    Args:
        container: of the Docker SDK.
        programs: the directory of PostgreSQL's programs inside.
    """

    def __init__(self, container: Any, programs: str) -> None:
        self.container = container
        self._programs = programs

    def wait_ready(self) -> None:
        """Wait until it takes connections."""

        def ready() -> bool:
            self.container.reload()
            assert self.container.status == "running", self.container.logs().decode()
            return bool(self.container.exec_run([f"{self._programs}/pg_isready", "-q", "-h", "/run"]).exit_code == 0)

        wait_until(ready, "PostgreSQL in the container", 60)

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run one statement, or several in one transaction; unaligned rows."""
        where = ["-h", "/run", "-U", "postgres", "-d", database]
        done = self.container.exec_run([f"{self._programs}/psql", "-XAtq", *where, "-c", statement])
        assert done.exit_code == 0, done.output
        return str(done.output.decode().strip())


def _image() -> bytes:
    """A root file system that is only a place to hang /usr into."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, mode in _DIRECTORIES.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            archive.addfile(entry)
        for name, target in _LINKS.items():
            if Path("/", name).is_symlink():
                entry = tarfile.TarInfo(name)
                entry.type, entry.linkname = tarfile.SYMTYPE, target
                archive.addfile(entry)
        for name, text in _FILES.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return out.getvalue()
