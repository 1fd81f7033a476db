# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the report on PostgreSQL looks at, and from where on something is worth a word.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..._declaration._report import Report
from ..._durations import parse_size
from ..._errors import InvalidOption
from ..._limits import examine_limits, limits
from ..._spec import Spec
from ._login import LOGIN_SPEC, examine_login
from ._options import examine_at_least, examine_duration, seconds_of

ESTIMATE, PGSTATTUPLE = "estimate", "pgstattuple"
ALL = ["all"]

_DURATIONS = {
    "unused_index_age": "7d",
    "slow_query_mean": "1s",
    "active_query_age": "5m",
    "idle_in_transaction_age": "5m",
    "transaction_age": "1h",
    "blocked_age": "10s",
}
_SIZES = {"bloat_size": "16MiB", "unused_index_size": "1MiB", "seq_scan_size": "10MiB", "slot_size": "1GiB"}
_PERCENTS = {"bloat_percent": 40, "dead_rows_percent": 20}
_COUNTS = {
    "dead_rows": 10000,
    "unused_index_reads": 100,
    "seq_scans": 100,
    "seq_scan_rows": 10000,
    "slow_query_calls": 1,
}

SPEC = Spec(
    {
        **{name: option for name, option in LOGIN_SPEC.options.items() if name != "database"},
        "database": {"type": "str"},
        "databases": {"type": "list", "elements": "str"},
        "maintenance_db": {"type": "str", "default": "postgres"},
        "statement_timeout": {"type": "int", "default": 0},
        "limit": {"type": "int", "default": 20},
        "bloat": {"type": "str", "choices": [ESTIMATE, PGSTATTUPLE], "default": ESTIMATE},
        **limits("connections", 80, 95),
        **limits("wraparound", 50, 75),
        **{name: {"type": "str", "default": default} for name, default in {**_DURATIONS, **_SIZES}.items()},
        **{name: {"type": "int", "default": default} for name, default in {**_PERCENTS, **_COUNTS}.items()},
    },
    mutually_exclusive=[*LOGIN_SPEC.mutually_exclusive, ["database", "databases"]],
    required_together=LOGIN_SPEC.required_together,
    required_by=LOGIN_SPEC.required_by,
)


@dataclass(frozen=True)
class Thresholds:
    """The options in base units: bytes, seconds, percent."""

    connections_warning: float | None
    connections_critical: float | None
    wraparound_warning: float | None
    wraparound_critical: float | None
    unused_index_age: float
    slow_query_mean: float
    active_query_age: float
    idle_in_transaction_age: float
    transaction_age: float
    blocked_age: float
    bloat_size: int
    unused_index_size: int
    seq_scan_size: int
    slot_size: int
    bloat_percent: int
    dead_rows_percent: int
    dead_rows: int
    unused_index_reads: int
    seq_scans: int
    seq_scan_rows: int
    slow_query_calls: int

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Thresholds:
        """Of options that were examined."""
        values = {name: options.get(name) for name in cls.__dataclass_fields__}
        values.update({name: seconds_of(options, name) for name in _DURATIONS})
        values.update({name: parse_size(str(options[name])) for name in _SIZES})
        return cls(**values)  # type: ignore[arg-type]


def examine(options: Mapping[str, Any], report: Report) -> None:
    """Add what the spec cannot say."""
    examine_login(options, report)
    examine_limits(options, report, "connections", "wraparound", maximum=100)
    for name in _DURATIONS:
        examine_duration(options, name, report, zero=True)
    for name in _SIZES:
        try:
            parse_size(str(options[name]))
        except InvalidOption as error:
            report.key(name).add(error.message)
    for name in _PERCENTS:
        if not 0 <= options[name] <= 100:
            report.key(name).add("must lie between 0 and 100")
    examine_at_least(options, 0, report, "statement_timeout", *_COUNTS)
    if not 1 <= options["limit"] <= 1000:
        report.key("limit").add("must lie between 1 and 1000")
    if options.get("databases") is not None and not options["databases"]:
        report.key("databases").add("is an empty list; leave the key out or name at least one")


def wanted(options: Mapping[str, Any]) -> list[str] | None:
    """The databases that were named, or None for every one that can be connected to."""
    if options.get("database"):
        return [str(options["database"])]
    named = [str(name) for name in options.get("databases") or ALL]
    return None if named == ALL else list(dict.fromkeys(named))
