# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A list whose elements are mappings with a name: most of what is declared has this form.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ._report import Report
from ._spec import NAME_PATTERN, what


def is_name(value: Any) -> bool:
    """Whether a value is a safe name, so that a message may repeat it."""
    return isinstance(value, str) and re.fullmatch(NAME_PATTERN, value) is not None


def named_elements(values: Any, variable: str, what_they_are: str, lines: list[str]) -> Iterator[tuple[Any, Report]]:
    """Each mapping of a list with the place to report about it; all that is no list of named mappings is reported.

    Args:
        values: the variable, templated; None counts as an empty list.
        what_they_are: what an element is called: `cleanup` gives `cleanup NAME: key: …`. Its plural has an s.
        lines: where problems are collected.
    """
    report = Report(lines, variable)
    if values is None:
        return
    if not isinstance(values, (list, tuple)):
        report.add(f"must be a list of {what_they_are}s, and is {what(values)}")
        return
    seen: dict[str, int] = {}
    for number, value in enumerate(values):
        place = report.index(number)
        if not isinstance(value, Mapping):
            place.add(f"must be a mapping, and is {what(value)}")
            continue
        name = value.get("name")
        if is_name(name):
            place = report.about(f"{what_they_are} {name}")
            if name in seen:
                place.key("name").add(f"declared twice, as {variable}[{seen[name]}] and [{number}]")
            seen.setdefault(str(name), number)
        yield value, place
