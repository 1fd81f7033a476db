# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A declaration that was checked: components, their repositories, and what the modules are told of them.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from .._durations import format_duration
from .._errors import InvalidOption
from .._schedules._intervals import longest_interval
from ._report import suggestion

ENGINE_VERBS = ("backup", "restore")
"""Verbs that each engine has a module of its own for; the modules of the others are called `backup_<verb>`."""


UPKEEPS = ("host", "elsewhere")
"""Where the backups of a component are verified and pruned: on the host that makes them (which needs the rights to read
and to delete), or in another, trusted place. The first is the default."""


@dataclass(frozen=True)
class Repository:
    """Where backups rest. `options` are those of the store's spec that the user gave; they may hold secrets."""

    name: str
    type: str
    options: Mapping[str, Any] = field(repr=False)

    def module_args(self) -> dict[str, Any]:
        """This repository as an element of a module's option `repositories`."""
        return {"name": self.name, "type": self.type, **_copy(self.options)}


@dataclass(frozen=True)
class Component:
    """One thing that must survive, with its policy.

    Attributes:
        repositories: the first is the one that restores come from unless told otherwise.
        schedule: when it is backed up; `never` when something else starts its backups.
        retention: the keep rules with `minimum_verified` and `verified_level`.
        rpo: the oldest that the newest backup may become; None when there is no schedule and none was declared.
        rto: how long a restore may take.
        verification_level: what every backup is verified to.
        verification_schedule: when older backups are verified again.
        drill: when a restore is rehearsed.
        upkeep: one of UPKEEPS; with `elsewhere` the host's own jobs only back up.
        max_runtime: how long a backup may run.
        tags: words to select components by.
        set: components of one set are backed up under one stamp.
        options: options of the modules that the user gave; may hold secrets. Defaults are the modules' own.
        module_options: verb → the options that its module has.
    """

    name: str
    engine: str
    repositories: tuple[Repository, ...]
    schedule: str
    retention: Mapping[str, Any]
    rpo: timedelta | None
    rto: timedelta
    verification_level: str
    verification_schedule: str
    drill: str
    upkeep: str
    max_runtime: timedelta
    tags: tuple[str, ...]
    set: str | None
    options: Mapping[str, Any] = field(repr=False)
    module_options: Mapping[str, frozenset[str]] = field(repr=False)

    def policy(self) -> dict[str, Any]:
        """What those who run the modules need to know: when, where, and within which limits. Holds no secret."""
        return {
            "engine": self.engine,
            "schedule": self.schedule,
            "verification": {"level": self.verification_level, "schedule": self.verification_schedule},
            "drill": self.drill,
            "upkeep": self.upkeep,
            "rpo_seconds": None if self.rpo is None else int(self.rpo.total_seconds()),
            "rto_seconds": int(self.rto.total_seconds()),
            "max_runtime_seconds": int(self.max_runtime.total_seconds()),
        }

    def module(self, verb: str) -> str:
        """The short name of the module that does a verb: `postgresql_backup`, `backup_verify`."""
        return f"{self.engine}_{verb}" if verb in ENGINE_VERBS else f"backup_{verb}"

    def module_args(self, verb: str) -> dict[str, Any]:
        """The options that the module of a verb is called with, those among what is known here that it has.

        The containers are the caller's own; the values keep their types (Ansible's tagged strings).

        Raises:
            ValueError: no module of this verb is known.
        """
        if verb not in self.module_options:
            raise ValueError(f"there is no module for {verb}")
        rehearsed = longest_interval(self.drill)
        known = {
            **self.options,
            "component": self.name,
            "engine": self.engine,
            "repositories": [repository.module_args() for repository in self.repositories],
            "retention": self.retention,
            "level": self.verification_level,
            "rto": format_duration(self.rto),
            **({"interval": format_duration(rehearsed)} if rehearsed is not None else {}),
            **({"rpo": format_duration(self.rpo)} if self.rpo is not None else {}),
        }
        taken = self.module_options[verb]
        return {name: _copy(value) for name, value in known.items() if name in taken}


@dataclass(frozen=True)
class Declaration:
    """All components and repositories, in the order in which they were declared."""

    components: tuple[Component, ...]
    repositories: Mapping[str, Repository]

    def select(
        self, component: str | None = None, set_name: str | None = None, tag: str | None = None
    ) -> tuple[Component, ...]:
        """The components that an operator named; all of them when nothing is named.

        Args:
            component: a name, or several with commas between.
            set_name: only components of this set.
            tag: only components with this tag.

        Raises:
            InvalidOption: a name is unknown, or nothing fits all of what was named.
        """
        chosen: Sequence[Component] = self.components
        if component is not None:
            wanted = [name.strip() for name in component.split(",")]
            for name in wanted:
                _known(name, "component", {each.name for each in self.components})
            chosen = [each for each in chosen if each.name in wanted]
        if set_name is not None:
            _known(set_name, "set", {each.set for each in self.components if each.set is not None})
            chosen = [each for each in chosen if each.set == set_name]
        if tag is not None:
            _known(tag, "tag", {word for each in self.components for word in each.tags})
            chosen = [each for each in chosen if tag in each.tags]
        if not chosen and self.components:
            raise InvalidOption("No component fits everything that was asked for.", stage="declaration")
        return tuple(chosen)


def _known(name: str, what: str, valid: Collection[str]) -> None:
    if name not in valid:
        raise InvalidOption(f"No such {what} is declared{suggestion(name, valid, 'declared')}", stage="declaration")


def _copy(value: Any) -> Any:
    """Containers of our own round the caller's values, whose types (Ansible's tagged strings) stay as they are."""
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_copy(item) for item in value]
    return value
