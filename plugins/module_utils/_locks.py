# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups of one component on one host exclude each other; the kernel forgets the lock when its holder dies.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from typing import Any

from ._errors import InvalidOption, Locked
from ._manifest import rfc3339, safe_name, utc_now

POLL = 0.2


@contextlib.contextmanager
def host_lock(state_dir: str, component: str, verb: str, wait: float = 0.0) -> Iterator[None]:
    """Hold the component's lock.

    Args:
        state_dir: where the lock files live.
        wait: seconds to wait for another holder.

    Raises:
        Locked: somebody else holds it after `wait` seconds; the message names who, since when, and how to end it.
    """
    path = os.path.join(private_directory(os.path.join(state_dir, "locks")), safe_name(component) + ".lock")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise _held(descriptor, component) from None
                time.sleep(POLL)
        owner = {"pid": os.getpid(), "host": socket.gethostname(), "verb": verb, "since": rfc3339(utc_now())}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(owner).encode(), 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _held(descriptor: int, component: str) -> Locked:
    owner: dict[str, Any] = {}
    with contextlib.suppress(ValueError):
        owner = json.loads(os.pread(descriptor, 4096, 0) or b"{}")
    pid = owner.get("pid", "unknown")
    return Locked(
        f"Component {component} is held by process {pid} ({owner.get('verb', 'another operation')}, "
        f"since {owner.get('since', 'an unknown time')}).",
        stage="lock",
        hint=f"Wait for it (lock_wait), or end it with: kill {pid}. The lock goes with the process.",
    )


def state_directory(path: str) -> str:
    """Create the directory of all that this host keeps between runs, when missing.

    What lies in it is private by itself. It can be walked through, but not listed, because the tools that get a
    scratch directory in there run as somebody else.

    Raises:
        InvalidOption: it cannot be made.
    """
    if not os.path.isdir(path):
        private_directory(path)
        os.chmod(path, 0o711)  # whatever the umask
    return path


def private_directory(path: str) -> str:
    """Create a 0700 directory when missing.

    Raises:
        InvalidOption: it cannot be made.
    """
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
    except OSError as error:
        raise InvalidOption(
            f"The directory {path} cannot be created: {error.strerror}.",
            stage="preflight",
            hint="Run as root (become), or set state_dir to a directory of your own.",
        ) from None
    return path
