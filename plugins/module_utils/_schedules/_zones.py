# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time zones by their IANA names.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import difflib
import re
import zoneinfo

from .._errors import InvalidOption

UTC = "UTC"

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}")
_UTC_NAMES = frozenset({"UTC", "Etc/UTC", "UCT", "Etc/UCT", "Zulu", "Etc/Zulu", "Universal", "Etc/Universal"})
_EXAMPLE = "Europe/Berlin"


def check_zone(name: str) -> str:
    """Return the name of a zone. Where this machine has no data of zones only its form can be judged.

    Raises:
        InvalidOption: there is no such zone; the message fits after the name of a key.
    """
    if not _NAME.fullmatch(name):
        raise InvalidOption(f"is not a time zone; write {UTC} or an IANA name such as {_EXAMPLE}")
    if name not in _UTC_NAMES and not _has(name) and _has(_EXAMPLE):
        names = {each.lower(): each for each in zoneinfo.available_timezones()}
        near = difflib.get_close_matches(name.lower(), names, 1)
        meant = f", did you mean {names[near[0]]}?" if near else f"; write {UTC} or an IANA name such as {_EXAMPLE}"
        raise InvalidOption(f"is a time zone that there is not{meant}")
    return name


def _has(name: str) -> bool:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, OSError, ValueError):  # a directory of the data is no zone
        return False
    return True


def same_zone(one: str, other: str) -> bool:
    """Whether two names certainly mean the same clock."""
    return one == other or (one in _UTC_NAMES and other in _UTC_NAMES)
