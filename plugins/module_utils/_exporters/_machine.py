# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What exporters need of a host's systemd and of its accounts.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
from dataclasses import dataclass

from .._errors import NotFound
from .._process import find_program, run
from .._system._systemd import show

_TIMEOUT = 120.0


@dataclass(frozen=True)
class State:
    """How a unit is now.

    Attributes:
        restarts: how often systemd has started it anew by itself.
        pid: of its main process; 0 for none.
    """

    active: bool
    enabled: bool
    restarts: int
    pid: int

    @property
    def program_is_gone(self) -> bool:
        """Whether the program that runs was replaced since, by an upgrade of its package."""
        try:
            return self.pid > 0 and os.readlink(f"/proc/{self.pid}/exe").endswith(" (deleted)")
        except OSError:
            return False


def systemctl(*arguments: str, check: bool = True) -> str:
    """Run systemctl and return what it printed."""
    _code, out, _err = run(["systemctl", *arguments], check=check, timeout=_TIMEOUT)
    return out.decode("utf-8", "replace")


def is_running_systemd() -> bool:
    """Whether there is a systemd that units could be given to."""
    return os.path.isdir("/run/systemd/system")


def state_of(unit: str) -> State:
    """How a unit is; one that there is not is neither active nor enabled."""
    (values,) = show([unit], ["ActiveState", "UnitFileState", "NRestarts", "MainPID"], _TIMEOUT)
    return State(
        active=values.get("ActiveState") == "active",
        enabled=values.get("UnitFileState") == "enabled",
        restarts=int(values.get("NRestarts") or 0),
        pid=int(values.get("MainPID") or 0),
    )


def journal(unit: str) -> str:
    """The last words of a unit."""
    argv = ["journalctl", "--unit", unit, "--lines=12", "--no-pager", "--output=cat"]
    return run(argv, check=False, timeout=_TIMEOUT)[1].decode("utf-8", "replace")


def is_masked(path: str) -> bool:
    """Whether a unit's file is the link that lets nobody start it."""
    try:
        return os.readlink(path) == "/dev/null"
    except OSError:
        return False


def has_account(name: str) -> bool:
    """Whether there is such a user."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def has_group(name: str) -> bool:
    """Whether there is such a group."""
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def make_account(name: str) -> None:
    """A user of the system, with a group of its own, that nobody can log in as."""
    argv = [find_program("useradd", ["/usr/sbin"], package="passwd"), "--system", "--user-group", "--no-create-home"]
    run([*argv, "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", name], stage="account")


def make_directory(path: str, account: str) -> None:
    """A directory of root's whose files the account's group may read: what is made in it belongs to that group."""
    group = pwd.getpwnam(account).pw_gid
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    os.makedirs(path, mode=0o700, exist_ok=True)
    for name in (path, *(os.path.join(path, each) for each in os.listdir(path))):
        os.chown(name, 0, group, follow_symlinks=False)
    os.chmod(path, 0o2750)


def remove_account(name: str) -> None:
    """Remove a user and its group."""
    run([find_program("userdel", ["/usr/sbin"], package="passwd"), name], stage="account")


def require_groups(names: tuple[str, ...], exporter: str) -> None:
    """Raise NotFound for a group that an exporter's account must belong to and the host has not."""
    for name in names:
        if not has_group(name):
            raise NotFound(
                f"exporter {exporter}: there is no group {name} on this host.",
                stage="preflight",
                hint="Install first what the exporter looks at.",
            )


def read_text(path: str) -> str | None:
    """The content of a file; None when there is none."""
    with contextlib.suppress(FileNotFoundError), open(path, encoding="utf-8") as stream:
        return stream.read()
    return None
