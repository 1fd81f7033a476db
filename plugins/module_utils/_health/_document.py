# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of all checks, as the health+json document of draft-inadarei-api-health-check, and for people. Pure.

PRIVATE to the collection; may change without notice. The document is public: docs/health.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from .._durations import counted, format_size
from .._manifest import rfc3339
from ._flaps import State
from ._interface import FAIL, PASS, WARN, Measurement, Result, worst
from ._registry import KINDS

VERSION = "1"
"""Of the document: raised when somebody who reads it would have to know."""


@dataclass(frozen=True)
class Known:
    """A check as it is known.

    Attributes:
        valid_until: epoch seconds after which its last run is too old to count; None for a single run.
    """

    result: Result
    state: State
    profiles: tuple[str, ...]
    valid_until: float | None = None

    @classmethod
    def once(cls, result: Result, profiles: tuple[str, ...]) -> Known:
        """Of a single run, which is believed as it is."""
        return cls(result, State(result.status, (result.status,)), profiles)

    @property
    def status(self) -> str:
        return self.state.effective

    def as_json(self) -> dict[str, Any]:
        """Plain values that `from_json` reads back."""
        result = self.result
        return {
            "name": result.name,
            "kind": result.kind,
            "started": result.started,
            "seconds": result.seconds,
            "measurements": [each.as_json() for each in result.measurements],
            "state": self.state.as_json(),
            "profiles": list(self.profiles),
            "valid_until": self.valid_until,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Known:
        """Read what `as_json` wrote.

        Raises:
            KeyError, TypeError, ValueError: that is something else.
        """
        measurements = tuple(Measurement.from_json(each) for each in values["measurements"])
        result = Result(
            str(values["name"]), str(values["kind"]), float(values["started"]), float(values["seconds"]), measurements
        )
        until = values["valid_until"]
        profiles = tuple(str(each) for each in values["profiles"])
        return cls(result, State.from_json(values["state"]), profiles, None if until is None else float(until))


def overall(known: Iterable[Known]) -> str:
    """The status of all of them."""
    return worst(each.status for each in known)


def document(known: Sequence[Known], host: str, now: float) -> dict[str, Any]:
    """The health+json document. Beside what the draft has, `holdfast` says of each check what is believed of it."""
    checks: dict[str, list[dict[str, Any]]] = {}
    for each in known:
        for measurement in each.result.measurements:
            key = f"{each.result.name}:{measurement.name}"
            checks.setdefault(key, []).append(_entry(each.result, measurement))
    status = overall(known)
    return {
        "status": status,
        "version": VERSION,
        "serviceId": host,
        "description": f"Health of {host}",
        "output": " ".join(f"{each.result.name}: {_reason(each)}" for each in known if each.status == status != PASS),
        "time": _time(now),
        "checks": checks,
        "holdfast": {each.result.name: _extension(each) for each in known},
    }


def _entry(result: Result, measurement: Measurement) -> dict[str, Any]:
    """One object of the draft's arrays; what is empty is left out, as it wants."""
    entry = {
        "componentId": measurement.target or result.name,
        "componentType": KINDS[result.kind].component_type if result.kind in KINDS else "component",
        "observedValue": measurement.value,
        "observedUnit": measurement.unit,
        "status": measurement.status,
        "time": _time(result.started + result.seconds),
        "output": measurement.output,
    }
    return {name: value for name, value in entry.items() if value not in (None, "")}


def _extension(known: Known) -> dict[str, Any]:
    result, state = known.result, known.state
    return {
        "kind": result.kind,
        "status": known.status,
        "confirmed": state.confirmed,
        "observed": result.status,
        "since": None if state.since is None else _time(state.since),
        "output": _reason(known),
        "seconds": round(result.seconds, 3),
        "profiles": list(known.profiles),
        "time": _time(result.started + result.seconds),
        "validUntil": None if known.valid_until is None else _time(known.valid_until),
    }


def _reason(known: Known) -> str:
    """Why a check is what it is."""
    if known.result.output or known.status == PASS:
        unconfirmed = known.result.status == FAIL != known.state.confirmed
        return f"{known.result.output} (Not yet confirmed.)" if unconfirmed else known.result.output
    return "It has failed before, and is well again; more good runs in a row are wanted before that is believed."


def lines(told: Sequence[Known], known: Sequence[Known], seconds: float) -> Iterator[str]:
    """The same for people: what is bad at the end, where it is seen.

    Args:
        told: those of them that get a line.
    """
    width = max((len(each.result.name) for each in told), default=0)
    for each in sorted(told, key=lambda one: (PASS, WARN, FAIL).index(one.status)):
        mark = each.status if each.status == PASS else each.status.upper()
        said = _reason(each) or ", ".join(filter(None, map(_value, each.result.measurements)))
        yield f"{mark:<4}  {each.result.name:<{width}}  {said}".rstrip()
    counts = [(sum(each.status == status for each in known), status) for status in (PASS, WARN, FAIL)]
    summary = ", ".join(f"{number} {status}" for number, status in counts if number)
    yield f"{counted(len(known), 'check')} in {seconds:.1f} s: {summary}." if known else "No checks are declared here."


def _value(measurement: Measurement) -> str:
    value, unit = measurement.value, measurement.unit
    if value is None or isinstance(value, bool):
        return ""
    text = f"{value:.3g} {unit}" if isinstance(value, float) else f"{value} {unit}"
    if unit == "B":
        text = format_size(int(value))
    what = measurement.name.replace("_", " ").replace(" percent", "")
    return " ".join(part for part in (what, measurement.target, text.rstrip()) if part)


def _time(seconds: float) -> str:
    return rfc3339(datetime.fromtimestamp(seconds, timezone.utc))
