# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""This collection on a host: releases side by side, one of them in use, switched in one step.

PRIVATE to the collection; may change without notice.

A release is a directory `<version>-<digest>`; `current` is a link to the one in use. The one that was in use before
stays: whoever began to run with it can end, and there is a way back.
"""

from __future__ import annotations

import compileall
import contextlib
import hashlib
import os
import re
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass

from .._errors import Corrupted, InvalidOption, Refused

COLLECTION = "ansible_collections/holdfast/ops"
"""Where a release holds the collection: what Python and Ansible expect."""

_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+-]{0,80}-[0-9a-f]{16}")
_CACHE = "__pycache__"
_UNFINISHED = ".new"


def tree_digest(directory: str) -> str | None:
    """SHA-256 (hex) of a `SHA256SUMS` of all files below a directory, whatever the interpreter cached there.

    None when the directory does not exist or holds something that is neither a directory nor a plain file.
    """
    lines = []
    try:
        for path in _files(directory, ""):
            with open(os.path.join(directory, path), "rb") as stream:
                lines.append((path, hashlib.sha256(stream.read()).hexdigest()))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return digest_of(lines)


def digest_of(files: list[tuple[str, str]]) -> str:
    """The digest of a tree from (path, SHA-256 in hex) of each of its files."""
    lines = (f"{sha256}  {path}\n" for path, sha256 in sorted(files))
    return hashlib.sha256("".join(lines).encode("utf-8")).hexdigest()


def _files(directory: str, below: str) -> Iterator[str]:
    with os.scandir(os.path.join(directory, below)) as entries:
        for entry in sorted(entries, key=lambda each: each.name):
            path = f"{below}/{entry.name}" if below else entry.name
            if entry.is_dir(follow_symlinks=False):
                if entry.name != _CACHE:
                    yield from _files(directory, path)
            elif entry.is_file(follow_symlinks=False):
                yield path
            else:
                raise ValueError(path)


@dataclass(frozen=True)
class Release:
    """A release by its digest, and the places that it is switched in.

    Args:
        collections: the directory that all releases lie in.
        current: the link to the one in use.
        version: of the collection.
        digest: `tree_digest` of what it holds.
    """

    collections: str
    current: str
    version: str
    digest: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidOption("version and digest cannot be the name of a release.")

    @property
    def name(self) -> str:
        return f"{self.version}-{self.digest[:16]}"

    @property
    def path(self) -> str:
        return os.path.join(self.collections, self.name)

    @property
    def is_complete(self) -> bool:
        """It is here, and every file is as it was packed."""
        return tree_digest(os.path.join(self.path, COLLECTION)) == self.digest

    @property
    def in_use(self) -> str | None:
        """The path of the release in use; None when there is none.

        Raises:
            Refused: something stands where the link belongs.
        """
        try:
            return os.path.join(os.path.dirname(self.current), os.readlink(self.current))
        except FileNotFoundError:
            return None
        except OSError:
            raise Refused(f"{self.current} is there and is no link.", stage="preflight") from None

    def plan(self) -> list[str]:
        """What has to be done so that this release is in use, in words."""
        steps = [] if self.is_complete else [f"unpack {self.path}"]
        if self.in_use != self.path:
            steps += [f"switch {self.current} to it", *(f"remove {path}" for path in self._outdated())]
        return steps

    def unpack(self, archive: str) -> None:
        """Unpack an archive beside the others, prove that it is what was packed, and give it its name.

        Raises:
            Corrupted: it is something else. Nothing of it is left.
        """
        os.makedirs(self.collections, mode=0o755, exist_ok=True)
        new = f"{self.path}{_UNFINISHED}"
        shutil.rmtree(new, ignore_errors=True)
        try:
            target = os.path.join(new, COLLECTION)
            _extract(archive, target)
            if tree_digest(target) != self.digest:
                raise Corrupted("The archive of the collection is not what the controller packed.", stage="unpack")
            # Units may not write here, and a probe that compiles everything again each minute would be none.
            compileall.compile_dir(target, quiet=2, legacy=False)
            os.sync()
            shutil.rmtree(self.path, ignore_errors=True)  # damaged, or it would not be unpacked again
            os.rename(new, self.path)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise

    def switch(self) -> None:
        """Use this release from now on, and remove those that are neither it nor the one before."""
        outdated = self._outdated()
        link = f"{self.current}{_UNFINISHED}"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(link)
        os.symlink(os.path.relpath(self.path, os.path.dirname(self.current)), link)
        os.replace(link, self.current)
        for path in outdated:
            shutil.rmtree(path)

    def _outdated(self) -> list[str]:
        kept = {os.path.normpath(path) for path in (self.path, self.in_use) if path}
        try:
            names = sorted(os.listdir(self.collections))
        except FileNotFoundError:
            return []
        return [path for path in (os.path.join(self.collections, name) for name in names) if path not in kept]


def _extract(archive: str, target: str) -> None:
    """Unpack plain files, with paths that stay below the target: the archive is ours, but not trusted for that."""
    with tarfile.open(archive, "r:gz") as members:
        for member in members:
            path = os.path.normpath(member.name)
            if not member.isfile() or path.startswith(("/", "..")):
                raise Corrupted("The archive of the collection holds something that is no plain file.", stage="unpack")
            place = os.path.join(target, path)
            os.makedirs(os.path.dirname(place), mode=0o755, exist_ok=True)
            content = members.extractfile(member)
            if content is None:
                raise Corrupted("The archive of the collection cannot be read.", stage="unpack")
            with content, open(place, "xb") as stream:
                shutil.copyfileobj(content, stream)
            os.chmod(place, 0o644)
    for directory, _names, _files in os.walk(os.path.dirname(os.path.dirname(os.path.dirname(target)))):
        os.chmod(directory, 0o755)  # whatever the umask was


def present(collections: str, current: str) -> list[str]:
    """Of the link and the directory of the releases, those that are there.

    Raises:
        Refused: something stands where the link belongs.
    """
    found = [path for path in (current, collections) if os.path.lexists(path)]
    if current in found and not os.path.islink(current):
        raise Refused(f"{current} is there and is no link.", stage="preflight")
    return found


def delete(paths: list[str]) -> None:
    """Remove what `present` found."""
    for path in paths:
        if os.path.islink(path):
            os.unlink(path)
        else:
            shutil.rmtree(path)
