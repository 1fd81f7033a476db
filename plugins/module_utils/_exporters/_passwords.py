# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""bcrypt hashes of passwords, which exporter-toolkit wants, by the host's own libcrypt.

PRIVATE to the collection; may change without notice.

A hash is made anew only when the one that is there is not of this password: salts are random, and a file that differs
each time would start the exporter anew each time.
"""

from __future__ import annotations

import base64
import ctypes
import hmac
import os
from collections.abc import Mapping

from .._errors import MissingDependency

_LIBRARY = "libcrypt.so.1"
_ROUNDS = 10
"""As a power of two. The exporter remembers what it has checked, so scrapes stay cheap."""
_ALPHABET = bytes.maketrans(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
)


def hashes(users: Mapping[str, str], present: Mapping[str, str]) -> dict[str, str]:
    """A hash for each user's password; one that is there already and fits stays.

    Args:
        users: name → password.
        present: name → hash, as the file has it now.

    Raises:
        MissingDependency: this host's libcrypt cannot make such hashes.
    """
    return {
        user: present[user] if matches(password, present.get(user, "")) else new_hash(password)
        for user, password in users.items()
    }


def matches(password: str, hashed: str) -> bool:
    """Whether a hash is one of this password."""
    return hashed.startswith("$2") and hmac.compare_digest(_crypt(password, hashed), hashed)


def new_hash(password: str) -> str:
    """A hash with a random salt."""
    salt = base64.b64encode(os.urandom(16)).translate(_ALPHABET).decode("ascii")[:22]
    return _crypt(password, f"$2b${_ROUNDS}${salt}")


def _crypt(password: str, setting: str) -> str:
    try:
        crypt = ctypes.CDLL(_LIBRARY).crypt
    except (OSError, AttributeError):
        raise MissingDependency(f"This host has no {_LIBRARY}.", hint="Install the package libcrypt1.") from None
    crypt.restype = ctypes.c_char_p
    crypt.argtypes = (ctypes.c_char_p, ctypes.c_char_p)
    found: bytes | None = crypt(password.encode("utf-8"), setting.encode("ascii"))
    if found is None or not found.startswith(b"$2"):
        raise MissingDependency(f"The {_LIBRARY} of this host makes no bcrypt hashes.", hint="basic_auth needs them.")
    return found.decode("ascii")
