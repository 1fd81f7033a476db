# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom a tool runs as that runs what lies in a directory: who owns it, and root never.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import os
import pwd
import stat

from ..._errors import InvalidOption, NotFound, PermissionDenied, Refused
from ..._process import Account, account

_NOBODY = "nobody"


def runner(directory: str, *inside: str) -> Account | None:
    """The account for a tool that runs what lies in a directory; None when that is us.

    What belongs to root is looked at by nobody, who can change nothing.

    Args:
        inside: paths below it that must belong to the same user, or to root: otherwise somebody else would choose
            what the owner runs.

    Raises:
        NotFound: it is no directory; InvalidOption: its owner has no account here.
        PermissionDenied: it is somebody else's, and we are not root.
        Refused: it is several people's.
    """
    owner = _owner(directory)
    for path in inside:
        other = _owner(os.path.join(directory, path), directory=False)
        if other not in (owner, 0):
            raise Refused(
                f"{os.path.join(directory, path)} belongs to another user than {directory}, so nobody's tool is run.",
                hint=f"Give all of it to its owner; look at `ls -ld {directory}`.",
            )
    us = os.geteuid()
    if us != 0:
        if owner not in (0, us):
            raise PermissionDenied(f"{directory} belongs to another user.", hint="Run as root (become).")
        return None
    try:
        name = pwd.getpwuid(owner).pw_name if owner else _NOBODY
    except KeyError:
        raise InvalidOption(f"{directory} belongs to the user {owner}, of whom this host knows nothing.") from None
    return account(name)


def _owner(path: str, *, directory: bool = True) -> int:
    try:
        found = os.stat(path) if directory else os.lstat(path)
    except PermissionError:
        raise PermissionDenied(f"{path} may not be read.", hint="Run as root (become).") from None
    except OSError as error:
        raise NotFound(f"{path} cannot be looked at: {error.strerror}.") from None
    if directory and not stat.S_ISDIR(found.st_mode):
        raise NotFound(f"{path} is no directory.")
    return found.st_uid
