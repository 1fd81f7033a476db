# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The channels and the name of this host, as they were written to `/etc/holdfast`.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import os
import socket

from .._errors import InvalidOption
from .._host._config import read_config
from .._host._paths import HOST, NOTIFY, SECRETS
from ._parse import Notifications


def load(path: str = NOTIFY) -> Notifications:
    """The channels of this host; none where the file is missing, because then none were declared.

    Raises:
        InvalidOption: the file cannot be read.
        InvalidDeclaration: it is not what holdfast writes.
    """
    config = read_config(path)
    return Notifications() if config is None else Notifications.from_config(config)


def host_name(path: str = HOST) -> str:
    """What the inventory calls this host; its own name where nothing says so."""
    try:
        name = (read_config(path) or {}).get("inventory_hostname")
    except InvalidOption:
        name = None  # a message under another name is better than none
    return str(name or socket.gethostname())


def known_secrets(directory: str = SECRETS) -> list[str]:
    """The secrets that lie on this host, so that they can be taken out of other programs' words."""
    found = []
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return []  # none, or not ours to read: then they cannot be in what we read either
    for name in names:
        try:
            with open(os.path.join(directory, name), encoding="utf-8") as file:
                value = file.read(4096).strip()
        except (OSError, UnicodeDecodeError):
            continue
        if len(value) >= 6:
            found.append(value)
    return found
