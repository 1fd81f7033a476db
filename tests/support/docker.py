# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Docker engine of the test's own, and an image that needs no registry: this machine's programs, read only."""

from __future__ import annotations

import io
import shutil
import signal
import tarfile
from pathlib import Path
from typing import Any

from .servers import Server, short_directory

IMAGE = "holdfast-test:latest"
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

    def run(self, command: list[str], **more: Any) -> Any:
        """Start a container that sees this machine's /usr; the Docker SDK's object."""
        return self._client.containers.run(
            IMAGE,
            command,
            detach=True,
            network_mode="none",
            security_opt=["seccomp=unconfined", "apparmor=unconfined"],
            volumes={"/usr": {"bind": "/usr", "mode": "ro"}},
            **more,
        )

    def close(self) -> None:
        if self._client is not None:
            for container in self._client.containers.list(all=True):
                container.remove(force=True)
            self._client.close()
        if self._server is not None:
            self._server.stop()
        shutil.rmtree(self.home, ignore_errors=True)


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
