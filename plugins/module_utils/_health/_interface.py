# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a kind of health check is, and what it finds.

PRIVATE to the collection; may change without notice.

A kind is one file in `_kinds/` and one line in `_registry.py`. It measures; when a check runs, how long it may take,
how often it must fail before anybody is told, and who is told, is none of its business.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Optional, Union

from .._deadline import Deadline
from .._declaration._report import Report
from .._spec import Spec

PASS, WARN, FAIL = "pass", "warn", "fail"
STATUSES = (PASS, WARN, FAIL)
"""From good to bad, in the words of draft-inadarei-api-health-check."""

OUTCOME = "outcome"
"""The measurement that says why a check could not measure (more)."""

Value = Optional[Union[int, float, str, bool]]


def worst(statuses: Iterable[str]) -> str:
    """The worst of some statuses; `pass` when there are none."""
    return STATUSES[max((STATUSES.index(status) for status in statuses), default=0)]


@dataclass(frozen=True)
class Measurement:
    """One thing that a check looked at.

    Attributes:
        name: what was measured, as part of a key: `latency`, `used_percent`.
        unit: of the value: `s`, `%`, `B`, `d`; empty for a state or a count.
        output: why it is not `pass`, a sentence; without secrets.
        target: which of several things of this check, such as a mount point or a unit; empty when there is one.
    """

    name: str
    status: str
    value: Value = None
    unit: str = ""
    output: str = ""
    target: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain values that `from_json` reads back."""
        # JSON knows no infinity, and a value that is none of ours must not break the document.
        value = None if isinstance(self.value, float) and not math.isfinite(self.value) else self.value
        return {**self.__dict__, "value": value}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Measurement:
        """Raises TypeError or ValueError when that is no measurement."""
        found = cls(**values)
        if found.status not in STATUSES:
            raise ValueError("no status")
        return found


@dataclass(frozen=True)
class Check:
    """A declared check.

    Attributes:
        profiles: beside `comprehensive`, which holds all checks.
        timeout: seconds; a check that takes longer is ended and has failed.
        failures: how many runs in a row must be worse than what is known before that is believed.
        recoveries: how many must be better.
        options: of its kind, defaults filled in. May hold secrets.
    """

    name: str
    kind: str
    profiles: tuple[str, ...]
    timeout: float
    failures: int
    recoveries: int
    options: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Result:
    """What one run of one check found.

    Attributes:
        started: epoch seconds.
        seconds: how long it took.
    """

    name: str
    kind: str
    started: float
    seconds: float
    measurements: tuple[Measurement, ...]

    @property
    def status(self) -> str:
        """The worst of its measurements. A check that measured nothing has proved nothing, so it has failed."""
        return worst(each.status for each in self.measurements) if self.measurements else FAIL

    @property
    def output(self) -> str:
        """Why it is not `pass`: what the measurements of the worst status say."""
        status = self.status
        said = [each.output for each in self.measurements if each.status == status and each.output]
        return "" if status == PASS else " ".join(dict.fromkeys(said))


class Kind(abc.ABC):
    """A kind of check, made with the options of one.

    A check runs in a process of its own, which is killed at the deadline with all that it started. So a kind may
    block, and keeps no threads or state; what must outlive the run lies in a file of its own in `state_dir`.
    """

    name: ClassVar[str]
    SPEC: ClassVar[Spec]
    """Its options in Ansible's form, with the types of `_declaration._spec.KINDS`; a secret has `no_log: True` and a
    sibling `<option>_file`."""
    component_type: ClassVar[str] = "component"
    """As the health+json draft has it: `component`, `datastore` or `system`."""

    def __init__(self, options: Mapping[str, Any], state_dir: str = "") -> None:
        self.options = options
        self.state_dir = state_dir

    @classmethod
    def examine(cls, options: Mapping[str, Any], report: Report) -> None:
        """Add what is wrong with options (of the right types, defaults filled in) that the spec cannot say."""
        return

    @classmethod
    def preload(cls, options: Mapping[str, Any]) -> None:
        """Import what the check needs, once for all checks that are about to run. Must not raise."""
        return

    @abc.abstractmethod
    def run(self, deadline: Deadline) -> Iterator[Measurement]:
        """Measure; what was yielded before the deadline counts even when the rest comes too late.

        Raises:
            HoldfastError: nothing (more) can be measured: the check has failed, and the error says why.
        """
