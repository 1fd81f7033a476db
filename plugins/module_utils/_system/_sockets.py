# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections that are open before a deadline, or not at all.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import socket

from .._deadline import Deadline
from .._errors import Unavailable


def open_socket(host: str, port: int, path: str | None, deadline: Deadline) -> tuple[socket.socket, str]:
    """Connect; the socket, and the place in a person's words.

    Args:
        path: of a Unix socket, instead of host and port.

    Raises:
        Unavailable: nobody listens there; TimedOut: no answer.
    """
    place = path or f"{host}:{port}"
    try:
        if path:
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(deadline.remaining())
            connection.connect(path)
        else:
            connection = socket.create_connection((host, port), deadline.remaining())
    except socket.timeout:
        raise deadline.missed(f"connecting to {place}") from None
    except socket.gaierror as error:
        raise Unavailable(f"The name {host} cannot be resolved: {error.strerror}.") from None
    except OSError as error:
        raise Unavailable(f"{place} cannot be connected to: {error.strerror or error}.") from None
    return connection, place
