# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Replacing a small file or a link at once: whoever reads it meets the old one or the new one, whole.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import contextlib
import os
import secrets


def replace_file(path: str, content: str, mode: int, *, suffix: str = "") -> None:
    """Write a file beside its place, durably, and rename it there; what stood there stays until then.

    Args:
        mode: of the file, whatever the umask; until it is complete only its owner may read it.
        suffix: how the name of the unfinished file ends, which begins with a dot.

    Raises:
        OSError: it cannot be written; nothing is left of it.
    """
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, f".{name}.{secrets.token_hex(8)}{suffix}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "w", encoding="utf-8") as stream:
            stream.write(content)
            stream.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def replace_link(path: str, target: str) -> None:
    """Make a symbolic link, instead of what stands at its place if anything does.

    Args:
        target: what the link says.

    Raises:
        OSError: it cannot be made; nothing is left of it.
    """
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, f".{name}.{secrets.token_hex(8)}")
    os.symlink(target, temporary)
    try:
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
