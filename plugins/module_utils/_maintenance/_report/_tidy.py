# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run as reports may show it: plain values, and texts that do nothing to whoever looks at them.

PRIVATE to the collection; may change without notice.

Texts come from logs, queries and names that anybody may have chosen. Markup is the renderers' business; what no
renderer can escape is taken out here: escape sequences that a terminal obeys, characters that turn the direction of
what is read, and halves of characters, which no file can hold.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from ..._manifest import rfc3339
from .._run_model import Run

_LINE_ENDS = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")
_HARMFUL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff\u200e\u200f\u202a-\u202e\u2066-\u2069\ufffe\uffff]")
_INSTEAD = "\N{REPLACEMENT CHARACTER}"


def tidy(run: Run) -> Run:
    """The same run, of plain values only. A measure that is no finite number is left out, as it has no place anywhere.

    Raises:
        TypeError: a value is of a kind that no report can show.
    """
    values = run.as_dict()
    for task in values["tasks"]:
        if task["section"]:
            measures = task["section"]["measures"]
            task["section"]["measures"] = [each for each in measures if math.isfinite(each["value"])]
    return Run.from_dict(_plain(values))


def tidy_text(text: str) -> str:
    """A text without what no renderer can escape; lines end with a line feed."""
    return _HARMFUL.sub(_INSTEAD, _LINE_ENDS.sub("\n", text))


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return tidy_text(value)
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, (float, Decimal)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, Mapping):
        return {tidy_text(str(key)): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    raise TypeError(f"no report can show a value of the type {type(value).__name__}")
