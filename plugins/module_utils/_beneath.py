# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reaching what lies beneath a directory, and nothing else, whoever owns it and changes it meanwhile.

PRIVATE to the collection; may change without notice.

Directories are opened one component after the other from a descriptor, none of them through a symbolic link: a link
that somebody plants between a look and a deed leads nowhere else.
"""

from __future__ import annotations

import errno
import os
from collections import OrderedDict

from ._errors import NotFound, PermissionDenied, Refused

DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
OPEN_DIRECTORIES = 64
"""Directory descriptors that are kept open."""


def open_directory(path: str) -> int:
    """Open an absolute path, no component of which may be a symbolic link.

    Raises:
        NotFound: there is no such directory.
        Refused: a link or a file lies on the way.
        PermissionDenied: it may not be opened.
    """
    fd = os.open("/", DIRECTORY_FLAGS)
    way = ""
    for name in filter(None, path.split("/")):
        parent, way = fd, f"{way}/{name}"
        try:
            fd = os.open(name, DIRECTORY_FLAGS, dir_fd=parent)
        except FileNotFoundError:
            raise NotFound(f"{way} does not exist.", stage="preflight") from None
        except PermissionError as error:
            raise PermissionDenied(f"{way} cannot be opened: {error.strerror}.", stage="preflight") from None
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise
            raise Refused(
                f"{way} is no directory, or a symbolic link.",
                stage="preflight",
                hint=f"Name the directory itself; readlink -f {path} tells where it is.",
            ) from None
        finally:
            os.close(parent)
    return fd


class Beneath:
    """A directory and all that lies below it. Paths are relative, with `/` between components; `.` is itself."""

    def __init__(self, fd: int) -> None:
        """Take over an open directory; `close` closes it."""
        self.fd = fd
        self._open: OrderedDict[str, int] = OrderedDict()

    def close(self) -> None:
        """Close every descriptor."""
        self._forget()
        os.close(self.fd)

    def _forget(self) -> None:
        for fd in self._open.values():
            os.close(fd)
        self._open.clear()

    def directory(self, path: str) -> int:
        """A descriptor of a directory, valid until the next call.

        Raises:
            OSError: it is not there, or a link or file lies on the way.
        """
        if path in ("", "."):
            return self.fd
        if path in self._open:
            self._open.move_to_end(path)
            return self._open[path]
        parent, _slash, name = path.rpartition("/")
        fd = os.open(name, DIRECTORY_FLAGS, dir_fd=self.directory(parent))
        self._open[path] = fd
        if len(self._open) > OPEN_DIRECTORIES:
            os.close(self._open.popitem(last=False)[1])
        return fd

    def place(self, path: str) -> tuple[int, str]:
        """The directory and the name of an entry."""
        if path == ".":
            return self.fd, "."
        parent, _slash, name = path.rpartition("/")
        return self.directory(parent), name

    def status(self, path: str) -> os.stat_result | None:
        """What is at a path, or None; a link is not followed, on no part of the way."""
        try:
            fd, name = self.place(path)
            return os.stat(name, dir_fd=fd, follow_symlinks=False)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return None
            raise
