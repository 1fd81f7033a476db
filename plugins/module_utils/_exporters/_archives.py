# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Versions of an exporter out of archives: fetched, proved by their checksum, kept side by side, switched by a link.

PRIVATE to the collection; may change without notice.

    /opt/holdfast-exporters/<name>/<version>/<program>    one version, and in SOURCE what it was made of
    /opt/holdfast-exporters/<name>/current -> <version>   the one in use
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
import tarfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import IO

from .._errors import Corrupted, HoldfastError, Refused, Unavailable, Unsupported
from ._model import Archive, Exporter, Upstream

KEPT = 2
"""Versions that stay beside the one in use, the last ones that were."""
_LARGEST = 512 * 1024 * 1024
_SOURCE = "SOURCE"
_UNFINISHED = ".unfinished"
_TIMEOUT = 60.0
_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def architecture() -> str:
    """This machine's, by Go's name.

    Raises:
        Unsupported: no archive is pinned for it.
    """
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        raise Unsupported(f"Archives are known for amd64 and arm64; this host is {machine}.", stage="preflight")
    return _ARCHITECTURES[machine]


@dataclass(frozen=True)
class Version:
    """A declared version of one exporter, on this host.

    Args:
        directory: of all versions of this exporter.
        checksum: SHA-256 of what is fetched.
    """

    directory: str
    version: str
    url: str
    path: str
    checksum: str
    program: str

    @classmethod
    def of(cls, exporter: Exporter, archive: Archive, upstream: Upstream, directory: str) -> Version:
        """The version that an exporter declares.

        Raises:
            Refused: there is no checksum for this machine's architecture.
        """
        arch = architecture()
        if arch not in archive.checksums:
            raise Refused(
                f"exporter {exporter.name}: the checksum of version {archive.version} for {arch} is not known.",
                stage="preflight",
                hint=f"Say archive.checksum (SHA-256); pinned are: {', '.join(sorted(archive.checksums)) or 'none'}.",
            )
        url = archive.url.replace("{version}", archive.version).replace("{arch}", arch)
        return cls(directory, archive.version, url, archive.path, archive.checksums[arch], upstream.program)

    @property
    def home(self) -> str:
        return os.path.join(self.directory, self.version)

    @property
    def link(self) -> str:
        return os.path.join(self.directory, "current")

    @property
    def executable(self) -> str:
        """The path of the program in this very version."""
        return os.path.join(self.home, self.program)

    @property
    def linked(self) -> str:
        """The path of the program in whatever version is in use."""
        return os.path.join(self.link, self.program)

    @property
    def is_here(self) -> bool:
        """Whether the version is here, made of what has this checksum, and as it was then."""
        try:
            with open(os.path.join(self.home, _SOURCE), encoding="utf-8") as stream:
                source = json.load(stream)
            return bool(source == {"sha256": self.checksum, "program": _digest(self.executable)})
        except (OSError, ValueError):
            return False

    @property
    def is_used(self) -> bool:
        return in_use(self.directory) == self.version

    def fetch(self) -> None:
        """Bring the version here beside the others. Nothing is switched, and nothing is left of one that is wrong.

        Raises:
            Unavailable: it cannot be downloaded.
            Corrupted: it is not what the checksum says, or does not hold the program.
        """
        os.makedirs(self.directory, mode=0o755, exist_ok=True)
        new = f"{self.home}{_UNFINISHED}"
        shutil.rmtree(new, ignore_errors=True)
        os.mkdir(new, 0o755)
        try:
            fetched = os.path.join(new, "archive")
            self._bring(fetched)
            target = os.path.join(new, self.program)
            if self.url.endswith((".tar.gz", ".tgz")):
                self._unpack(fetched, target)
                os.unlink(fetched)
            else:
                os.rename(fetched, target)
            os.chmod(target, 0o755)
            with open(os.path.join(new, _SOURCE), "w", encoding="utf-8") as stream:
                json.dump({"sha256": self.checksum, "program": _digest(target)}, stream)
            for directory in (self.directory, new):
                os.chmod(directory, 0o755)  # whatever the umask was
            os.chmod(os.path.join(new, _SOURCE), 0o644)
            os.sync()
            shutil.rmtree(self.home, ignore_errors=True)  # damaged, or of another checksum
            os.rename(new, self.home)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise

    def _bring(self, target: str) -> None:
        """The archive, proved by its checksum."""
        where = self.path or self.url
        try:
            with contextlib.closing(self._source()) as source, open(target, "xb") as stream:
                found = hashlib.sha256()
                size = 0
                while block := source.read(1 << 20):
                    found.update(block)
                    stream.write(block)
                    size += len(block)
                    if size > _LARGEST:
                        raise Corrupted(f"{where} is larger than any exporter.", stage="download")
        except HoldfastError:
            raise
        except urllib.error.HTTPError as error:
            raise Unavailable(f"{where} cannot be downloaded: {error.code} {error.reason}.", stage="download") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
            raise Unavailable(f"{where} cannot be downloaded: {reason}.", stage="download") from None
        if found.hexdigest() != self.checksum:
            raise Corrupted(
                f"{where} is not what was declared: its SHA-256 is {found.hexdigest()}, and not {self.checksum}.",
                stage="download",
                hint="What runs goes on running. Find out which of both is wrong before you change the checksum.",
            )

    def _source(self) -> IO[bytes]:
        if self.path:
            return open(self.path, "rb")
        request = urllib.request.Request(self.url, headers={"User-Agent": "holdfast.ops"})
        opened: IO[bytes] = urllib.request.build_opener().open(request, timeout=_TIMEOUT)
        return opened

    def _unpack(self, archive: str, target: str) -> None:
        """The program alone out of an archive: what else lies in it is not needed."""
        try:
            with tarfile.open(archive, "r:gz") as members:
                for member in members:
                    content = members.extractfile(member) if os.path.basename(member.name) == self.program else None
                    if member.isreg() and content is not None:
                        with content, open(target, "xb") as stream:
                            shutil.copyfileobj(content, stream)
                        return
        except (tarfile.TarError, EOFError, OSError) as error:
            raise Corrupted(f"{self.path or self.url} cannot be unpacked: {error}.", stage="unpack") from None
        raise Corrupted(f"{self.path or self.url} holds no program {self.program}.", stage="unpack")

    def switch(self) -> None:
        """Use this version from now on, in one step."""
        switch(self.directory, self.version)
        os.utime(self.home)  # the last ones that were in use are kept


def in_use(directory: str) -> str | None:
    """The version that the link names; None without one."""
    try:
        return os.readlink(os.path.join(directory, "current"))
    except OSError:
        return None


def switch(directory: str, version: str | None) -> None:
    """Let the link name a version; None takes it away."""
    link = os.path.join(directory, "current")
    new = f"{link}{_UNFINISHED}"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new if version is not None else link)
    if version is not None:
        os.symlink(version, new)
        os.replace(new, link)


def outdated(directory: str, version: str) -> list[str]:
    """The paths of versions that are neither this one nor among the last that were in use, and of unfinished ones."""
    try:
        names = [name for name in os.listdir(directory) if name not in ("current", version)]
    except FileNotFoundError:
        return []
    paths = [os.path.join(directory, name) for name in sorted(names)]
    unfinished = [path for path in paths if path.endswith(_UNFINISHED)]
    versions = [path for path in paths if os.path.isdir(path) and path not in unfinished]
    versions.sort(key=os.path.getmtime, reverse=True)
    return [*unfinished, *versions[KEPT:]]


def _digest(path: str) -> str:
    found = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            found.update(block)
    return found.hexdigest()
