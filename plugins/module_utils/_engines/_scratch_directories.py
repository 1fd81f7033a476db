# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scratch directories on disk that a killed run left behind, recognised by a mark and swept.

PRIVATE to the collection; may change without notice.

The mark is a file with a process id and its start time (ids are used again), which only a dead run's directory can
have without such a process.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import time
from typing import Any

from .._beneath import DIRECTORY_FLAGS
from .._errors import Refused
from .._process import Account, open_owned

MARK = "holdfast-scratch.json"
GRACE = 20.0
"""Seconds that an orphaned server gets to go."""


def start_time(pid: int) -> str | None:
    """When a process began, in the kernel's ticks since boot, and the boot itself; None when there is none.

    Where there is no /proc, living processes have no time but `?`.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            fields = stream.read().rpartition(b")")[2].split()
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
            return f"{stream.read().strip()} {fields[19].decode()}"
    except OSError:
        if os.path.isdir("/proc/self"):
            return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "?"


def mark(directory: str, owner: Account | None = None, **more: Any) -> None:
    """Say in a scratch directory whose run it is of.

    Args:
        owner: the account that the directory belongs to; None: ours.

    Raises:
        Refused: another directory, or a link, is in its place.
    """
    document = {"pid": os.getpid(), "start": start_time(os.getpid()), **more}
    opened = open_owned(directory, owner.uid if owner else None, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(MARK, dir_fd=opened)  # not written through what the directory's owner may have put there
        descriptor = os.open(MARK, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=opened)
    finally:
        os.close(opened)
    with open(descriptor, "w", encoding="utf-8") as stream:
        json.dump(document, stream)


def sweep_directories(parent: str) -> list[str]:
    """Remove the marked directories below `parent` whose run is dead, ending the server that ran in one.

    Whoever our tools run as owns what is in them, and we may be root: everything is reached from a descriptor.

    Returns: what was removed.
    """
    removed = []
    try:
        top = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return []
    try:
        for name in os.listdir(top):
            with contextlib.suppress(OSError):  # it is a file, is gone, or will not go: it is in nobody's way
                if _sweep(top, name):
                    removed.append(os.path.join(parent, name))
    finally:
        os.close(top)
    return removed


def _sweep(top: int, name: str) -> bool:
    """Remove one directory; False when it is not a dead run's."""
    directory = os.open(name, DIRECTORY_FLAGS, dir_fd=top)
    try:
        found = _mark_of(directory)
        if found is None or start_time(int(found["pid"])) == found["start"]:
            return False
        end_server(directory)
        if found.get("sockets"):
            shutil.rmtree(found["sockets"], ignore_errors=True)
        _empty(directory)
    finally:
        os.close(directory)
    os.rmdir(name, dir_fd=top)
    return True


def _mark_of(directory: int) -> dict[str, Any] | None:
    """What the mark says, if we have written it: it names what is removed."""
    try:
        with open(open_owned(MARK, os.geteuid(), dir_fd=directory), encoding="utf-8") as stream:
            document = json.load(stream)
    except (OSError, ValueError, Refused):
        return None  # somebody else's, or one whose run has not said whose it is yet
    return document if isinstance(document, dict) and {"pid", "start"} <= document.keys() else None


def _empty(directory: int) -> None:
    """Remove all that is in a directory, without following a link."""
    for _path, directories, files, here in os.fwalk(".", topdown=False, dir_fd=directory):
        for name in files:
            os.unlink(name, dir_fd=here)
        for name in directories:
            try:
                os.rmdir(name, dir_fd=here)
            except NotADirectoryError:  # a link to one
                os.unlink(name, dir_fd=here)


def end_server(scratch: int) -> None:
    """End the PostgreSQL server of a scratch directory, if one runs there: at once, for nothing of it is kept.

    The process id is what that server's user has written: only a process of the user that works in the very
    directory is ended.
    """
    uid = os.fstat(scratch).st_uid
    try:
        data = open_owned("data", uid, os.O_RDONLY | os.O_DIRECTORY, dir_fd=scratch)
    except (OSError, Refused):
        return
    try:
        with open(open_owned("postmaster.pid", uid, dir_fd=data), encoding="ascii") as stream:
            pid = int(stream.readline())
        deadline = time.monotonic() + GRACE
        while _works_in(pid, data, uid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGQUIT if time.monotonic() < deadline else signal.SIGKILL)
            time.sleep(0.1)
    except (OSError, ValueError, Refused):
        return
    finally:
        os.close(data)


def _works_in(pid: int, directory: int, uid: int) -> bool:
    try:
        process, works_in = os.stat(f"/proc/{pid}"), os.stat(f"/proc/{pid}/cwd")
    except OSError:
        return False
    return process.st_uid == uid and os.path.samestat(works_in, os.fstat(directory))
