# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checking a mapping against a spec in the form of Ansible's argument specs, without Ansible.

PRIVATE to the collection; may change without notice.

It follows Ansible where a value is right and is stricter where Ansible would guess: a number or boolean is not
turned into a string, because YAML has already changed what the user wrote (`0123`, `1.10`, `no`).
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Callable

from .._durations import parse_duration, parse_period, parse_size
from .._errors import InvalidOption
from .._schedules._model import NEVER
from .._schedules._parse import check_schedule
from .._spec import Spec
from ._report import Report, suggestion

NAME_PATTERN = "[A-Za-z0-9_][A-Za-z0-9._-]{0,62}"
"""What is safe as a file name, an object key, a unit name and a label, alone and with a suffix."""

_TRUE = frozenset({"y", "yes", "on", "1", "true", "t"})
_FALSE = frozenset({"n", "no", "off", "0", "false", "f"})


def check(
    values: Mapping[Any, Any], spec: Spec, report: Report, notes: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Check a mapping and return what was given, under the options' own names and in their types.

    Defaults are not filled in: to a module, an option that was left out is not the same as its default
    (`mutually_exclusive`). An option without a value (YAML's `key:`) counts as left out. `notes` say more about
    keys that are unknown here.
    """
    given: dict[str, Any] = {}
    names = {alias: name for name, option in spec.options.items() for alias in (name, *option.get("aliases", ()))}
    sound = True
    for key, value in values.items():
        name = names.get(key) if isinstance(key, str) else None
        if name is None:
            report.unknown_key(key, names, (notes or {}).get(key, "") if isinstance(key, str) else "")
        elif name in given:
            report.key(key).add("given twice, once under another name")
        elif value is not None:
            place = report.key(key)
            try:
                given[name] = check_value(value, spec.options[name], place)
            except InvalidOption as error:
                place.add(error.message)
                sound = False
    if sound:
        # A value that is wrong already was reported; judging its relations too would only repeat that.
        _check_constraints(given, spec, report)
    for name, option in spec.options.items():
        if (
            option.get("required")
            and not option.get("fallback")
            and all(values.get(alias) is None for alias in (name, *option.get("aliases", ())))
        ):
            report.key(name).add("is required")
    return given


def check_by_kind(
    values: Mapping[Any, Any],
    key: str,
    specs: Mapping[str, Spec],
    common: Mapping[str, Mapping[str, Any]],
    report: Report,
    notes: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Check a mapping whose further keys depend on what kind of thing its key `key` names.

    Args:
        key: `engine`, `type`, `kind`: the key that names one of `specs`.
        specs: the options of every kind.
        common: the keys that all have, `key` among them.
        notes: say more about keys that are unknown, as for `check`.
    """
    kind = values.get(key)
    notes = dict(notes or {})
    of_kinds: dict[str, list[str]] = {}
    for name, spec in specs.items():
        for option, details in spec.options.items():
            for spelling in (option, *details.get("aliases", ())):
                of_kinds.setdefault(spelling, []).append(name)
    if isinstance(kind, str) and kind in specs:
        spec = specs[kind]
        for option, kinds in of_kinds.items():
            if kind not in kinds:
                notes[option] = f" for {key} {kind}; it belongs to {', '.join(sorted(kinds))}"
        return check(values, replace(spec, options={**spec.options, **common}), report, notes)
    if isinstance(kind, str):
        report.key(key).add(f"there is no such {key}{suggestion(kind, specs, 'there are')}")
    # Its options cannot be judged; only keys that belong to no kind at all are certainly wrong.
    return check(values, Spec({**{option: {"type": "raw"} for option in of_kinds}, **common}), report, notes)


def check_value(value: Any, option: Mapping[str, Any], report: Report) -> Any:
    """Check one value and return it in the option's type; problems below it are added to `report`.

    Raises:
        InvalidOption: the value itself is wrong; the message fits after the name of the key.
    """
    kind = option.get("type", "str")
    if callable(kind):
        raise TypeError("a callable type cannot be checked on the controller")
    if kind == "list":
        return _check_list(value, option, report)
    checked = KINDS[kind](value)
    if kind == "dict" and option.get("options") is not None:
        return check(checked, Spec.below(option), report)
    if checked == "" and option.get("required"):
        raise InvalidOption("must not be empty")
    choices = option.get("choices")
    if choices and checked not in choices:
        names = [str(choice) for choice in choices]
        raise InvalidOption(f"is none of its choices{suggestion(checked, names, 'choices')}")
    return checked


def _check_list(value: Any, option: Mapping[str, Any], report: Report) -> list[Any]:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",")]
    if not isinstance(value, (list, tuple)):
        raise InvalidOption(f"must be a list, and is {what(value)}")
    if not value and option.get("default") != []:
        raise InvalidOption("is an empty list; leave the key out or name at least one")
    element = {**option, "type": option.get("elements", "raw"), "required": False}
    checked = []
    for number, item in enumerate(value):
        place = report.index(number)
        try:
            checked.append(check_value(item, element, place))
        except InvalidOption as error:
            place.add(error.message)
            checked.append(None)  # so that the others keep their place
    return checked


def _check_constraints(given: Mapping[str, Any], spec: Spec, report: Report) -> None:
    beside_their_files = [
        (name, f"{name}_file") for name, option in spec.options.items() if option.get("no_log") is True
    ]
    for group in (*spec.mutually_exclusive, *beside_their_files):
        both = [name for name in group if name in given]
        if len(both) > 1:
            report.add(f"{' and '.join(both)} exclude each other")
    for group in spec.required_together:
        missing = [name for name in group if name not in given]
        if missing and len(missing) < len(group):
            report.add(f"{', '.join(group)} go together; missing: {', '.join(missing)}")
    for group in spec.required_one_of:
        if not any(name in given for name in group):
            report.add(f"one of {', '.join(group)} is required")
    for name, others in spec.required_by.items():
        missing = [other for other in others if other not in given]
        if name in given and missing:
            report.key(name).add(f"requires {', '.join(missing)}")
    defaults = {name: option["default"] for name, option in spec.options.items() if option.get("default") is not None}
    for name, expected, requirements, *any_of in spec.required_if:
        missing = [other for other in requirements if {**defaults, **given}.get(other) is None]
        enough = len(missing) < len(requirements) if any_of and any_of[0] else not missing
        if {**defaults, **given}.get(name) == expected and not enough:
            # `expected` stands in the spec; it is not the user's value.
            joined = (" or " if any_of and any_of[0] else ", ").join(missing)
            report.add(f"{joined} is required when {name} is {expected}")


def what(value: Any) -> str:
    """A value's kind in the words of YAML; never the value."""
    kinds: tuple[tuple[Any, str], ...] = (
        (bool, "a boolean"),
        ((int, float), "a number"),
        (str, "a string"),
        (Mapping, "a mapping"),
        ((list, tuple), "a list"),
        ((datetime.date, datetime.datetime), "a date"),
        (type(None), "empty"),
    )
    return next((words for kind, words in kinds if isinstance(value, kind)), "something else")


def _string(value: Any) -> str:
    if isinstance(value, str):
        return value
    quote = "; YAML may have changed it: quote it" if isinstance(value, (int, float, datetime.date)) else ""
    raise InvalidOption(f"must be a string, and is {what(value)}{quote}")


def _path(value: Any) -> str:
    path = _string(value)
    if not path or "\0" in path:
        raise InvalidOption("must be a path")
    return path


def _name(value: Any) -> str:
    if not re.fullmatch(NAME_PATTERN, _string(value)):
        raise InvalidOption(f"is not a safe name; allowed is {NAME_PATTERN}")
    return str(value)


def _unit(value: Any) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9:_.@\\-]{0,254}", _string(value)):
        raise InvalidOption("is not the name of a service")
    return str(value)


def _boolean(value: Any) -> bool:
    text = value.strip().lower() if isinstance(value, str) else str(value).lower()
    if isinstance(value, (bool, int, str)) and text in _TRUE | _FALSE:
        return text in _TRUE
    raise InvalidOption(f"must be true or false, and is {what(value)}")


def _integer(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,18}", value.strip()):
        return int(value)
    raise InvalidOption(f"must be a whole number, and is {what(value)}")


def _float(value: Any) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,18}(\.[0-9]{1,18})?", value.strip()):
        return float(value)
    raise InvalidOption(f"must be a number, and is {what(value)}")


def _mapping(value: Any) -> Mapping[Any, Any]:
    if isinstance(value, Mapping):
        return value
    raise InvalidOption(f"must be a mapping, and is {what(value)}")


def _size(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise InvalidOption(f"must be a size, and is {what(value)}")
    parse_size(str(value))
    return value


def _duration(value: Any) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise InvalidOption("is a number without a unit; write for example 24h or 30m")
    parse_duration(_string(value))
    return str(value)


def _positive_duration(value: Any) -> str:
    duration = _duration(value)
    if not parse_duration(duration):
        raise InvalidOption("must be longer than nothing")
    return duration


def _period(value: Any) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise InvalidOption("is a number without a unit; write for example 7d or 6m (months)")
    return str(parse_period(_string(value)))


def _schedule(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        raise InvalidOption("is an integer; YAML reads an unquoted 12:30 as the number 750: quote it")
    if value is False:
        raise InvalidOption(f"is a boolean; write {NEVER}")
    return check_schedule(_string(value))


KINDS: dict[str, Callable[[Any], Any]] = {
    "str": _string,
    "path": _path,
    "bool": _boolean,
    "int": _integer,
    "float": _float,
    "dict": _mapping,
    "bytes": _size,
    "raw": lambda value: value,
    # Kinds that Ansible does not have, for the keys of a component.
    "name": _name,
    "unit": _unit,
    "duration": _duration,
    "positive_duration": _positive_duration,
    "period": _period,
    "schedule": _schedule,
}
"""What can be checked, beside `list`."""
