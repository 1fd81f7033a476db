# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From `holdfast_health_checks` to checks, or to all of its problems at once.

PRIVATE to the collection; may change without notice. No value is repeated in a problem: it may be a secret.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from .._declaration._elements import named_elements
from .._declaration._report import InvalidDeclaration, Report
from .._declaration._spec import check as check_values
from .._declaration._spec import check_by_kind, what
from .._durations import format_duration, parse_duration
from .._spec import Spec
from ._interface import Check
from ._registry import KINDS

VARIABLE, TIMERS = "holdfast_health_checks", "holdfast_health_timers"
LIVENESS, READINESS, COMPREHENSIVE = "liveness", "readiness", "comprehensive"
PROFILES = (LIVENESS, READINESS, COMPREHENSIVE)
"""`comprehensive` holds all checks; the others those that say so."""

CONFIG_VERSION = 1
_MOST_IN_A_ROW = 100

COMMON: Mapping[str, Mapping[str, Any]] = {
    "name": {"type": "name", "required": True},
    "kind": {"type": "str", "required": True},
    "profiles": {"type": "list", "elements": "str", "choices": list(PROFILES), "default": []},
    "timeout": {"type": "positive_duration", "default": "5s"},
    "failures": {"type": "int", "default": 3},
    "recoveries": {"type": "int", "default": 2},
}
"""The keys that every check has, whatever its kind."""

SPECS = {name: kind.SPEC for name, kind in KINDS.items()}


def parse_checks(value: Any) -> tuple[Check, ...]:
    """Check the whole list and fill in defaults.

    Raises:
        InvalidDeclaration: with every problem, a line each.
    """
    lines: list[str] = []
    checks = collect_checks(value, lines)
    if lines:
        raise InvalidDeclaration(lines)
    return checks


def collect_checks(value: Any, lines: list[str]) -> tuple[Check, ...]:
    """As `parse_checks`, adding the problems to `lines` beside those of other parts of a declaration."""
    parsed = (_parse_check(values, place) for values, place in named_elements(value, VARIABLE, "health check", lines))
    return tuple(check for check in parsed if check is not None)


def _parse_check(values: Mapping[Any, Any], report: Report) -> Check | None:
    before = report.count
    given = check_by_kind(values, "kind", SPECS, COMMON, report)
    if report.count > before:
        return None
    kind = KINDS[given["kind"]]
    options = {
        name: given.get(name, option.get("default"))
        for name, option in kind.SPEC.options.items()
        if name in given or option.get("default") is not None
    }
    common: dict[str, Any] = {name: given.get(name, option.get("default")) for name, option in COMMON.items()}
    for option in ("failures", "recoveries"):
        if not 1 <= common[option] <= _MOST_IN_A_ROW:
            report.key(option).add(f"must lie between 1 and {_MOST_IN_A_ROW}")
    kind.examine(options, report)
    if report.count > before:
        return None
    profiles = tuple(dict.fromkeys(each for each in common["profiles"] if each != COMPREHENSIVE))
    timeout = parse_duration(common["timeout"]).total_seconds()
    return Check(str(common["name"]), kind.name, profiles, timeout, common["failures"], common["recoveries"], options)


def parse_timers(value: Any) -> dict[str, str]:
    """Check `holdfast_health_timers`: how often the checks of a profile are run.

    Raises:
        InvalidDeclaration: with every problem, a line each.
    """
    lines: list[str] = []
    report = Report(lines, TIMERS)
    options = {profile: {"type": "positive_duration"} for profile in PROFILES}
    if isinstance(value, Mapping):
        given = check_values(value, Spec(options), report)
    else:
        report.add(f"must be a mapping of profiles to durations, and is {what(value)}")
    if lines:
        raise InvalidDeclaration(lines)
    return {profile: str(every) for profile, every in given.items()}


def secrets_of(check: Check) -> dict[str, str]:
    """The secrets among the options of a check, by option."""
    options = SPECS[check.kind].options
    return {
        name: value for name, value in check.options.items() if options[name].get("no_log") and isinstance(value, str)
    }


def with_files(check: Check, paths: Mapping[str, str]) -> Check:
    """The same check with each secret in a file: `password` becomes `password_file`, with the path given for it."""
    options = {name: value for name, value in check.options.items() if name not in paths}
    return replace(check, options={**options, **{f"{name}_file": path for name, path in paths.items()}})


def as_config(checks: Sequence[Check]) -> dict[str, Any]:
    """What /etc/holdfast/health.json holds; `from_config` reads it back."""
    return {"version": CONFIG_VERSION, "checks": [_as_declared(check) for check in checks]}


def from_config(config: Any) -> tuple[Check, ...]:
    """Read what `as_config` made.

    Raises:
        InvalidDeclaration: it is something else.
    """
    if not isinstance(config, Mapping) or config.get("version") != CONFIG_VERSION:
        raise InvalidDeclaration(["health.json: is not of this version of holdfast.ops; run the role agent again"])
    return parse_checks(config.get("checks"))


def _as_declared(check: Check) -> dict[str, Any]:
    return {
        "name": check.name,
        "kind": check.kind,
        "profiles": list(check.profiles),
        "timeout": format_duration(timedelta(seconds=check.timeout)),
        "failures": check.failures,
        "recoveries": check.recoveries,
        **check.options,
    }


def in_profile(checks: Sequence[Check], profile: str) -> tuple[Check, ...]:
    """The checks that a profile holds."""
    return tuple(each for each in checks if profile == COMPREHENSIVE or profile in each.profiles)
