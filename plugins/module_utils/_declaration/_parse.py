# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the two variables of a user to a `Declaration`, or to all of its problems at once.

PRIVATE to the collection; may change without notice.

`holdfast_components` and `holdfast_repositories` are checked as a whole before any connection. Every problem is
collected and all are raised together, one line each, naming component and key. A value is never repeated, because it
may be a secret that stands in the wrong place; names of components and repositories are, once they are known to be
names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from .._durations import format_duration, parse_duration
from .._errors import InvalidOption
from .._manifest import LEVELS
from .._retention import COUNTS, DEFAULT_MINIMUM_VERIFIED, Policy
from .._schedules._intervals import longest_interval
from .._schedules._model import NEVER
from .._spec import Spec
from ._elements import is_name, named_elements
from ._model import UPKEEPS, Component, Declaration, Repository
from ._report import InvalidDeclaration, Report, suggestion
from ._spec import NAME_PATTERN, check_by_kind, what

COMPONENTS, REPOSITORIES = "holdfast_components", "holdfast_repositories"

_DEFAULT_SCHEDULE = "02:00"
_DEFAULT_KEEP = {"daily": 7, "weekly": 4, "monthly": 12}
_DEFAULT_RTO = "1h"
_DEFAULT_RPO_MARGIN = timedelta(hours=2)
"""A backup counts from its end and timers start with a random delay, so an RPO of exactly the interval would alert."""
_DEFAULT_LEVEL = "checksum"
_DEFAULT_VERIFICATION_SCHEDULE = "weekly"
_DEFAULT_MAX_RUNTIME = "6d"
"""Of an engine whose module says nothing else."""

_LEVEL = {"type": "str", "choices": LEVELS}
_COMPONENT: Mapping[str, Mapping[str, Any]] = {
    "name": {"type": "name", "required": True},
    "engine": {"type": "str", "required": True},
    "repositories": {"type": "list", "elements": "name", "required": True},
    "schedule": {"type": "schedule"},
    "retention": {
        "type": "dict",
        "options": {
            **{rule: {"type": "int"} for rule in COUNTS},
            "within": {"type": "period"},
            "minimum_verified": {"type": "int"},
            "verified_level": _LEVEL,
        },
    },
    "rpo": {"type": "positive_duration"},
    "rto": {"type": "positive_duration"},
    "verification": {"type": "dict", "options": {"level": _LEVEL, "schedule": {"type": "schedule"}}},
    "drill": {"type": "schedule"},
    "upkeep": {"type": "str", "choices": UPKEEPS},
    "tags": {"type": "list", "elements": "name"},
}
"""The keys that every component has, whatever its engine."""

_NARROWER: Mapping[str, Mapping[str, Any]] = {
    "max_age": {"type": "duration"},
    "max_runtime": {"type": "positive_duration"},
    "lock_wait": {"type": "duration"},
    "blob_grace": {"type": "positive_duration"},
    "services": {"type": "list", "elements": "unit"},
    "set": {"type": "name"},
}
"""Options of the modules that can be judged more closely here than Ansible does."""

_PER_RUN = frozenset(
    {
        *("component", "backup_id", "at", "confirm", "level", "progress_file"),
        *("source", "destination", "newer_than", "interval"),
    }
)
"""Options of the modules that say what one run does; declared, `confirm` would be no confirmation."""

_NO_OPTION = frozenset({"name", "schedule", "verification", "drill", "upkeep", "tags"})
"""Keys of a component that no module takes; an option spelled like one could not be declared."""


@dataclass(frozen=True)
class _Engine:
    """What can be declared for an engine, and which verb takes which option."""

    declared: Spec
    module_options: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, name: str, verbs: Mapping[str, Spec]) -> _Engine:
        options: dict[str, Mapping[str, Any]] = {}
        for verb, spec in sorted(verbs.items(), key=lambda each: each[0] == "backup"):
            for option, details in spec.options.items():
                # Only a backup runs unattended: what a restore requires may be said when there is one.
                required = verb == "backup" and details.get("required", False)
                options[option] = {**details, **_NARROWER.get(option, {}), "required": required}
        if options.keys() & _NO_OPTION:
            raise ValueError(f"options of engine {name} are spelled like keys of every component")
        declared = {option: details for option, details in options.items() if option not in _PER_RUN}
        constraints = replace(verbs["backup"], options=declared) if "backup" in verbs else Spec(declared)
        return cls(constraints, {verb: frozenset(spec.options) for verb, spec in verbs.items()})


def parse(
    components: Any,
    repositories: Any,
    *,
    engine_specs: Mapping[str, Mapping[str, Spec]],
    repository_specs: Mapping[str, Spec],
) -> Declaration:
    """Check the whole declaration and resolve it.

    Args:
        components: `holdfast_components`, templated.
        repositories: `holdfast_repositories`, templated.
        engine_specs: engine → verb (`backup`, `restore`, `verify`, …) → all options of its module.
            What the modules take can be declared; what only makes sense for one run can not.
        repository_specs: repository type → its options, those that all stores share among them. `name` and `type`
            are understood and need not be there.

    Raises:
        InvalidDeclaration: with every problem, a line each; no value is repeated.
        ValueError: an engine's option is spelled like a key of the declaration: a defect of that engine.
    """
    engines = {name: _Engine.of(name, verbs) for name, verbs in engine_specs.items()}
    stores = {kind: replace(spec, options=_without_name(spec.options)) for kind, spec in repository_specs.items()}
    lines: list[str] = []
    known = _parse_repositories(repositories, stores, Report(lines, REPOSITORIES))
    declared = (
        frozenset(name for name in repositories if isinstance(name, str))
        if isinstance(repositories, Mapping)
        else frozenset()
    )
    parsed = _parse_components(components, known, declared, engines, lines)
    if lines:
        raise InvalidDeclaration(lines)
    return Declaration(tuple(parsed), known)


def _without_name(options: Mapping[str, Any]) -> dict[str, Any]:
    """A repository's name is its key in the declaration; only to a module it is an option."""
    return {key: option for key, option in options.items() if key != "name"}


def _parse_repositories(values: Any, stores: Mapping[str, Spec], report: Report) -> dict[str, Repository]:
    if not isinstance(values, Mapping):
        report.add(f"must be a mapping of names to repositories, and is {what(values)}")
        return {}
    if not values:
        report.add("is empty; declare at least one repository")
    parsed = {}
    for number, (name, value) in enumerate(values.items(), 1):
        if not is_name(name):
            report.add(f"the name of repository number {number} is not safe; allowed is {NAME_PATTERN}")
            continue
        repository = _parse_repository(str(name), value, stores, report.about(f"repository {name}"))
        if repository is not None:
            parsed[repository.name] = repository
    return parsed


def _parse_repository(name: str, values: Any, stores: Mapping[str, Spec], report: Report) -> Repository | None:
    if not isinstance(values, Mapping):
        report.add(f"must be a mapping with a type, and is {what(values)}")
        return None
    before = report.count
    common = {"type": {"type": "str", "required": True}}
    options = check_by_kind(values, "type", stores, common, report)
    if report.count > before:
        return None
    return Repository(name, options.pop("type"), options)


def _parse_components(
    values: Any,
    repositories: Mapping[str, Repository],
    declared: frozenset[str],
    engines: Mapping[str, _Engine],
    lines: list[str],
) -> list[Component]:
    report = Report(lines, COMPONENTS)
    if not isinstance(values, (list, tuple)):
        report.add(f"must be a list of components, and is {what(values)}")
        return []
    if not values:
        report.add("is an empty list; declare at least one component")
    parsed = []
    for value, place in named_elements(values, COMPONENTS, "component", lines):
        component = _parse_component(value, repositories, declared, engines, place)
        if component is not None:
            parsed.append(component)
    return parsed


def _parse_component(
    values: Mapping[Any, Any],
    repositories: Mapping[str, Repository],
    declared: frozenset[str],
    engines: Mapping[str, _Engine],
    report: Report,
) -> Component | None:
    before = report.count
    specs = {name: engine.declared for name, engine in engines.items()}
    notes = dict.fromkeys(_PER_RUN, "; it is said for one run and not declared")
    given = check_by_kind(values, "engine", specs, _COMPONENT, report, notes)
    names = given.get("repositories", [])
    for number, name in enumerate(names):
        place = report.key("repositories").index(number)
        if name is not None and name not in declared:
            place.add(f"no such repository is declared{suggestion(name, filter(is_name, declared), 'declared')}")
        elif name in names[:number]:
            place.add("names a repository that stands before it already")
    if report.count > before or any(name not in repositories for name in names):
        return None
    component = _resolve(given, tuple(repositories[name] for name in names), engines[given["engine"]])
    _check_policy(component, report)
    return component


def _resolve(given: Mapping[str, Any], repositories: tuple[Repository, ...], engine: _Engine) -> Component:
    """Fill in the defaults of what was checked."""
    verification = given.get("verification", {})
    schedule = given.get("schedule", _DEFAULT_SCHEDULE)
    max_runtime = engine.declared.options.get("max_runtime", {}).get("default") or _DEFAULT_MAX_RUNTIME
    return Component(
        name=str(given["name"]),
        engine=str(given["engine"]),
        repositories=repositories,
        schedule=schedule,
        retention=_resolve_retention(given.get("retention", {})),
        rpo=parse_duration(given["rpo"]) if "rpo" in given else _default_rpo(schedule),
        rto=parse_duration(given.get("rto", _DEFAULT_RTO)),
        verification_level=verification.get("level", _DEFAULT_LEVEL),
        verification_schedule=verification.get("schedule", _DEFAULT_VERIFICATION_SCHEDULE),
        drill=given.get("drill", NEVER),
        upkeep=given.get("upkeep", UPKEEPS[0]),
        max_runtime=parse_duration(given.get("max_runtime", max_runtime)),
        tags=tuple(given.get("tags", ())),
        set=given.get("set"),
        options={key: value for key, value in given.items() if key not in _COMPONENT},
        module_options=engine.module_options,
    )


def _resolve_retention(given: Mapping[str, Any]) -> dict[str, Any]:
    """A user who names a keep rule names all of them: the default rules would keep more than was asked for."""
    keep = {} if any(rule in given for rule in (*COUNTS, "within")) else _DEFAULT_KEEP
    return {"minimum_verified": DEFAULT_MINIMUM_VERIFIED, "verified_level": _DEFAULT_LEVEL, **keep, **given}


def _default_rpo(schedule: str) -> timedelta | None:
    interval = longest_interval(schedule)
    return None if interval is None else interval + _DEFAULT_RPO_MARGIN


def _check_policy(component: Component, report: Report) -> None:
    """What only the parts of a policy together show to be wrong."""
    try:
        Policy.from_options(component.retention)
    except InvalidOption as error:
        report.add(str(error))
    if LEVELS.index(component.verification_level) < LEVELS.index(component.retention["verified_level"]):
        report.key("verification.level").add(
            "is below retention.verified_level: no backup would ever count as verified, and none be pruned"
        )
    interval = longest_interval(component.schedule)
    if interval is not None and component.rpo is not None and component.rpo < interval:
        report.key("rpo").add(
            f"is shorter than the {format_duration(interval)} between two backups of its schedule, so it cannot be met"
        )
