# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing /etc/holdfast: private files, each replaced in one step, and only when it differs.

PRIVATE to the collection; may change without notice.

Files that are not ours are left alone (a user's credentials and identities lie there too), but everything in
`secrets/` is ours.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .._errors import InvalidOption, Refused

OURS = ("inventory.yml", "notify.json", "health.json", "host.json", "ansible.cfg")
SECRETS = "secrets"

_DIRECTORY_MODE, _FILE_MODE = 0o700, 0o600
_UNFINISHED = ".holdfast-new"
"""The end of the name of a file that is being written. Only a run that was killed leaves one; the next removes it."""


@dataclass(frozen=True)
class Change:
    """One thing that differs: its path below the directory, and what becomes of it, in words. Never its content."""

    path: str
    what: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


def plan(directory: str, files: Mapping[str, str]) -> tuple[Change, ...]:
    """What has to be done so that the directory holds exactly these files of ours.

    Args:
        directory: absolute; made when it is missing.
        files: path below it, at most one level deep → content. Empty removes all of ours.

    Raises:
        Refused: something in the way is no plain file or directory.
        InvalidOption: a path is none of ours.
    """
    for path in files:
        if path not in OURS and not (os.path.dirname(path) == SECRETS and path.count("/") == 1):
            raise InvalidOption(f"{path} is no file of ours below {directory}.")
    return tuple(_changes(directory, files))


def _changes(directory: str, files: Mapping[str, str]) -> Iterator[Change]:
    wanted = [directory, os.path.join(directory, SECRETS)] if files else []
    for path in wanted:
        status = _status(path, stat.S_ISDIR)
        name = "." if path == directory else SECRETS
        if status is None:
            yield Change(name, "made")
        elif _differs(status, _DIRECTORY_MODE):
            yield Change(name, "mode 0700")
    for path, content in files.items():
        status = _status(os.path.join(directory, path), stat.S_ISREG)
        if status is None:
            yield Change(path, "new")
        elif _read(os.path.join(directory, path)) != content.encode("utf-8"):
            yield Change(path, "changed")
        elif _differs(status, _FILE_MODE):
            yield Change(path, "mode 0600")
    for path in _present(directory):
        if path not in files:
            yield Change(path, "removed")


def apply(directory: str, files: Mapping[str, str], changes: tuple[Change, ...]) -> None:
    """Do what `plan` said. Secrets come before what names them, and those that nobody names go last."""
    if files:
        os.makedirs(os.path.dirname(directory), mode=0o755, exist_ok=True)
        for path in (directory, os.path.join(directory, SECRETS)):
            _make_private(path)
        differing = {change.path for change in changes}
        for path in sorted(files, key=lambda each: (each in OURS, each)):
            if path in differing:
                _write(os.path.join(directory, path), files[path].encode("utf-8"))
    for path in _present(directory):
        if path not in files:
            os.unlink(os.path.join(directory, path))
    if not files:
        for path in (os.path.join(directory, SECRETS), directory):
            with contextlib.suppress(OSError):  # what else lies there is the user's, and stays
                os.rmdir(path)


def _present(directory: str) -> list[str]:
    """Files of ours that are there, unfinished ones among them."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        names = os.listdir(directory)
        kept = {*OURS, *(f"{name}{_UNFINISHED}" for name in OURS)}
        found = [name for name in sorted(names) if name in kept]
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            found += [f"{SECRETS}/{name}" for name in sorted(os.listdir(os.path.join(directory, SECRETS)))]
        return found
    return []


def _status(path: str, is_kind: object) -> os.stat_result | None:
    """The status of what is there, None when nothing is.

    Raises:
        Refused: it is something else than was expected, such as a link that leads elsewhere.
    """
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    if not (callable(is_kind) and is_kind(status.st_mode)):
        kind = "directory" if is_kind is stat.S_ISDIR else "file"
        raise Refused(
            f"{path} is there and is no {kind}.", stage="preflight", hint="Remove it, or put what it is elsewhere."
        )
    return status


def _differs(status: os.stat_result, mode: int) -> bool:
    return stat.S_IMODE(status.st_mode) != mode or status.st_uid != os.geteuid()


def _read(path: str) -> bytes:
    with open(path, "rb") as stream:
        return stream.read()


def _make_private(path: str) -> None:
    """A directory that is ours alone: nobody else can have put anything into it since."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, _DIRECTORY_MODE)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            os.fchown(descriptor, os.geteuid(), os.getegid())
        os.fchmod(descriptor, _DIRECTORY_MODE)
    finally:
        os.close(descriptor)


def _write(path: str, content: bytes) -> None:
    """Put a file into its place in one step; whoever reads sees the old one or the new one."""
    new = f"{path}{_UNFINISHED}"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, _FILE_MODE)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(stream.fileno(), _FILE_MODE)
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(new, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new)
        raise
