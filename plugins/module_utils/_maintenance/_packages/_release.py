# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Until when a distribution gets security updates. Pure but for reading /etc/os-release.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

OS_RELEASE = "/etc/os-release"
SOURCE = "distro-info-data 0.58+deb12u7"
"""Debian's package that the table below was taken from; it is looked at with every release of this collection."""


@dataclass(frozen=True)
class Support:
    """The last days of the regular updates, and of the free long-term ones (the same where there are none)."""

    regular: date
    long_term: date


TABLE: dict[tuple[str, str], Support] = {
    ("debian", "10"): Support(date(2022, 9, 10), date(2024, 6, 30)),
    ("debian", "11"): Support(date(2024, 8, 14), date(2026, 8, 31)),
    ("debian", "12"): Support(date(2026, 7, 11), date(2028, 6, 30)),
    ("debian", "13"): Support(date(2028, 8, 9), date(2030, 6, 30)),
    ("ubuntu", "20.04"): Support(date(2025, 5, 29), date(2025, 5, 29)),
    ("ubuntu", "22.04"): Support(date(2027, 6, 1), date(2027, 6, 1)),
    ("ubuntu", "24.04"): Support(date(2029, 5, 31), date(2029, 5, 31)),
    ("ubuntu", "25.10"): Support(date(2026, 7, 9), date(2026, 7, 9)),
    ("ubuntu", "26.04"): Support(date(2031, 5, 29), date(2031, 5, 29)),
    ("ubuntu", "26.10"): Support(date(2027, 7, 15), date(2027, 7, 15)),
}


def parse_os_release(lines: Iterable[str]) -> dict[str, str]:
    """The variables of os-release(5), which are written as a shell would read them."""
    found = {}
    for line in lines:
        name, sign, value = line.strip().partition("=")
        if sign and not name.startswith("#"):
            try:
                found[name] = " ".join(shlex.split(value))
            except ValueError:  # an open quote
                found[name] = value
    return found


def support_of(release: dict[str, str]) -> Support | None:
    """None for a distribution, or a release of it, that the table does not have."""
    return TABLE.get((release.get("ID", ""), release.get("VERSION_ID", "")))
