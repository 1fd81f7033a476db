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
from ._report import suggestion
from ._spec import EngineSpec

ENGINE_VERBS = ("backup", "restore")
"""Verbs that each engine has a module of its own for; the modules of the others are called `backup_<verb>`."""

_VERB_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "backup": ("encryption", "max_age", "run_as", "set", "size_anomaly"),
    "restore": ("encryption", "run_as", "services"),
    "verify": ("encryption", "engine", "engine_options", "level", "run_as"),
    "prune": ("retention",),
    "info": (),
}


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
        services: systemd services stopped for a restore and started again.
        set: components of one set are backed up under one stamp.
        tags: words to select components by.
        max_age: a backup younger than this makes another one unnecessary.
        run_as: the account that the engine's tools run as.
        size_anomaly: `below` and `above`, factors of the predecessors' median size beyond which a size warns; None
            leaves them to the module.
        encryption, options: what the user gave; may hold secrets. Defaults are the modules' own.
        engine_spec: which verb takes which of the options.
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
    services: tuple[str, ...]
    set: str | None
    tags: tuple[str, ...]
    max_age: timedelta | None
    run_as: str | None
    size_anomaly: Mapping[str, float] | None
    encryption: Mapping[str, Any] | None = field(repr=False)
    options: Mapping[str, Any] = field(repr=False)
    engine_spec: EngineSpec = field(repr=False)

    def module(self, verb: str) -> str:
        """The short name of the module that does a verb: `postgresql_backup`, `backup_verify`."""
        return f"{self.engine}_{verb}" if verb in ENGINE_VERBS else f"backup_{verb}"

    def module_args(self, verb: str) -> dict[str, Any]:
        """The options that the module of a verb is called with; containers are the caller's own.

        The engine's options stand beside the others in its own modules. `backup_verify` is one module for all
        engines, so there they are below `engine_options`.

        Args:
            verb: `backup`, `restore`, `verify`, `prune` or `info`.
        """
        taken = self.engine_spec.names(verb)
        engine_options = {name: value for name, value in self.options.items() if name in taken}
        policy: dict[str, Any] = {
            "encryption": self.encryption,
            "engine": self.engine,
            "engine_options": engine_options,
            "level": self.verification_level,
            "max_age": format_duration(self.max_age) if self.max_age else None,
            "retention": self.retention,
            "run_as": self.run_as,
            "services": self.services or None,
            "set": self.set,
            "size_anomaly": self.size_anomaly,
        }
        arguments = {
            "component": self.name,
            "repositories": [repository.module_args() for repository in self.repositories],
            **{name: policy[name] for name in _VERB_OPTIONS[verb] if policy[name] is not None},
            **(engine_options if verb in ENGINE_VERBS else {}),
        }
        return {name: _copy(value) for name, value in arguments.items()}


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
