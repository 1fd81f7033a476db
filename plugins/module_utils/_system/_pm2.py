# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What PM2 keeps running for a user.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import json
import os
import pwd
from typing import Any

from .._errors import InvalidOption, ToolFailed, Unavailable
from .._process import account, find_program, run


def processes(
    run_as: str | None, home: str | None = None, command: str = "pm2", timeout: float | None = None
) -> list[dict[str, Any]]:
    """What `pm2 jlist` lists, asked as the user whose PM2 it is. It holds their environment: show only what is known.

    A PM2 that does not run is not started by being asked.

    Args:
        run_as: the user; us when left out.
        home: PM2_HOME, where that is not `~/.pm2`.

    Raises:
        Unavailable: it does not run.
        ToolFailed, MissingDependency, InvalidOption: it cannot be asked.
    """
    place = home or _home(run_as)
    if not _alive(os.path.join(place, "pm2.pid")):
        raise Unavailable(f"PM2 ({place}) does not run.")
    argv = [find_program(command), "jlist"]
    _code, answer, _said = run(argv, env={"PM2_HOME": place}, run_as=account(run_as), timeout=timeout)
    out = answer.decode("utf-8", "replace")
    # In front of the list there may be hints, such as that PM2 is out of date.
    start = next((found for found in (out.find("[{"), out.find("[]")) if found >= 0), -1)
    try:
        listed = json.loads(out[start:] if start >= 0 else "")
    except ValueError:
        raise ToolFailed("pm2 jlist gave no JSON.") from None
    return [each for each in listed if isinstance(each, dict)]


def _home(user: str | None) -> str:
    try:
        entry = pwd.getpwnam(user) if user else pwd.getpwuid(os.geteuid())
    except KeyError:
        raise InvalidOption(f"The user {user} (run_as) does not exist on this host.") from None
    return os.path.join(entry.pw_dir, ".pm2")


def _alive(path: str) -> bool:
    try:
        with open(path, encoding="ascii") as stream:
            return os.path.exists(f"/proc/{int(stream.read().strip())}")
    except (OSError, ValueError):
        return False
