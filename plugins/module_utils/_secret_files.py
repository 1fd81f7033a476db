# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets that stand in a file of their own, which nobody else may read.

PRIVATE to the collection; may change without notice.

Every option that holds a secret has a sibling `<option>_file`: the same secret as the content of a file on the host,
followed by at most one line feed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from typing import Any

from ._errors import InvalidOption


def private_file(path: str, option: str, *, group_may_read: bool = False) -> bytes:
    """Read a file that only its owner (we, or root) may read.

    Args:
        option: how the file is called in messages: the option that names it, and whose option that is.

    Raises:
        InvalidOption: it cannot be read, or others could read or change it.
    """
    try:
        with open(path, "rb") as stream:
            status = os.fstat(stream.fileno())
            forbidden = 0o077 & ~stat.S_IRGRP if group_may_read else 0o077
            if stat.S_IMODE(status.st_mode) & forbidden or status.st_uid not in (0, os.geteuid()):
                raise InvalidOption(
                    f"{option} {path} can be read by others "
                    f"(mode {stat.S_IMODE(status.st_mode):04o}, owner {status.st_uid}).",
                    stage="preflight",
                    hint=f"chmod 0600 {path}, owned by root or by the user that runs this.",
                )
            return stream.read()
    except OSError as error:
        raise InvalidOption(f"{option} {path} cannot be read: {error.strerror}.", stage="preflight") from None


def secret(options: Mapping[str, Any], name: str, whose: str = "") -> str | None:
    """The secret that an option holds, or that the file of its sibling `<name>_file` holds; None when neither is set.

    Args:
        whose: the beginning of messages, such as `The repository primary: `.

    Raises:
        InvalidOption: both are set, or the file is not as `private_file` wants it, is empty, or is no text.
    """
    value, path = options.get(name), options.get(f"{name}_file")
    if not path:
        return value or None
    if value:
        raise InvalidOption(f"{whose}{name} and {name}_file exclude each other.", stage="preflight")
    try:
        text = private_file(path, f"{whose}{name}_file").decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidOption(f"{whose}{name}_file {path} cannot be read: it is not UTF-8.", stage="preflight") from None
    text = text[:-1] if text.endswith("\n") else text
    if not text:
        raise InvalidOption(f"{whose}{name}_file {path} is empty.", stage="preflight")
    return text
