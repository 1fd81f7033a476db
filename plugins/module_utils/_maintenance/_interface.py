# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a kind of maintenance is: a report that only looks, or an action that can say beforehand what it would do.

PRIVATE to the collection; may change without notice.

A kind is one file in `_kinds/`, one line in `_registry.py`, and one thin module of its own. When a task runs, who is
told, and what a report looks like, is none of its business.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from .._deadline import Deadline
from .._declaration._report import Report
from .._progress import Progress
from .._spec import Spec
from ._section import Section

DAILY, WEEKLY, MONTHLY, NEVER = "daily", "weekly", "monthly", "never"
PARTS = (DAILY, WEEKLY, MONTHLY)
"""The parts of maintenance; each has a schedule of its own. A task of none of them is run when it is named."""


@dataclass(frozen=True)
class Task:
    """A declared task.

    Attributes:
        every: the part it belongs to, or `never`.
        backup: components that must have been backed up before it may act; only for actions.
        options: of its kind, defaults filled in. May hold secrets.
    """

    name: str
    kind: str
    every: str
    backup: tuple[str, ...]
    options: Mapping[str, Any] = field(repr=False)


class Kind(abc.ABC):
    """A kind of maintenance, made with the options of one task."""

    name: ClassVar[str]
    """As in `kind:` of `holdfast_maintenance`. The module is called the same, a report's with `_info` behind it."""
    title: ClassVar[str]
    """In a person's words: `Sizes, bloat, indexes and queries of PostgreSQL`."""
    SPEC: ClassVar[Spec]
    """Its options in Ansible's form, with the types of `_declaration._spec.KINDS`; a secret has `no_log: True` and a
    sibling `<option>_file`."""
    action: ClassVar[bool] = False
    every: ClassVar[str] = DAILY
    """When a declared task of this kind runs that does not say it. An action runs when somebody said so: `never`."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = options

    @classmethod
    def examine(cls, options: Mapping[str, Any], report: Report) -> None:
        """Add what is wrong with options (of the right types, defaults filled in) that the spec cannot say.

        Runs on the controller, before any connection.
        """
        return

    @classmethod
    def written(cls, options: Mapping[str, Any]) -> Sequence[str]:
        """Directories that it writes to when it acts, beside /var/lib/holdfast: its job's sandbox leaves them open.

        Runs on the controller. Caches that tools keep in a home belong into a place of ours, for homes are read-only.
        """
        return ()

    @abc.abstractmethod
    def look(self, deadline: Deadline) -> Section:
        """Look, changing nothing: the report, or what an action would do, with the counts.

        Takes no lock that a reader or writer would notice. What cannot be looked at (a missing extension, a right
        that is not granted) is a finding that says what to do, and the rest is still looked at.

        Raises:
            HoldfastError: nothing can be looked at.
        """


class Action(Kind):
    """A kind that changes something."""

    action = True
    every = NEVER

    @abc.abstractmethod
    def act(self, progress: Progress) -> Section:
        """Do it, and tell what was done.

        Raises:
            HoldfastError: it could not be done, or not all of it; what was done until then is said.
        """
