# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""holdfast.ops.component: from the declaration to the module of an engine. Documented in modules/component.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.holdfast.ops.plugins.module_utils._declaration._model import UPKEEPS, Component, Declaration
from ansible_collections.holdfast.ops.plugins.module_utils._errors import HoldfastError, InvalidOption
from ansible_collections.holdfast.ops.plugins.plugin_utils._action import HostAction
from ansible_collections.holdfast.ops.plugins.plugin_utils._declared import (
    arguments,
    read_declaration,
    uses_shared_tmp,
    with_named_repositories,
    written_directories,
)

VERBS = ("backup", "restore", "verify", "drill", "prune", "copy", "info")
"""What there is a module for."""
COMPONENTS, REPOSITORIES = "holdfast_components", "holdfast_repositories"


class ActionModule(HostAction):
    """Reads and checks the declaration on the controller; only then is the host contacted, if at all."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        variables = task_vars or {}
        _checked, given = self.validate_argument_spec(
            {
                "verb": {
                    "type": "str",
                    "required": True,
                    "choices": ["select", *VERBS],
                },
                "component": {"type": "str"},
                "set": {"type": "str"},
                "tag": {"type": "str"},
                "upkeep": {"type": "str", "choices": list(UPKEEPS)},
                "options": {"type": "dict", "default": {}},
            },
            required_if=[["verb", verb, ["component"]] for verb in VERBS],
        )
        # What was given for this run may hold a secret, and what the declaration holds certainly may.
        result["invocation"] = {"module_args": {name: given.get(name) for name in ("verb", "component", "set", "tag")}}
        try:
            if given["verb"] == "select":
                return {**result, **self._select(variables, given)}
            declaration = self._declaration(variables)
            component = declaration.select(given["component"])[0]
            args = arguments(component, given["verb"], given["options"])
            if given["verb"] == "copy":
                args = with_named_repositories(args, declaration)
        except HoldfastError as error:
            return {**result, "failed": True, "msg": str(error), **error.result()}
        module = f"holdfast.ops.{component.module(given['verb'])}"
        return {**result, **self.run_module(variables, args, module), "component": component.name}

    def _declaration(self, variables: Mapping[str, Any]) -> Declaration:
        return read_declaration(self.variable(variables, COMPONENTS), self.variable(variables, REPOSITORIES))

    def _select(self, variables: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """The components of this host that an operator named; none where only other hosts have what was named."""
        others = list(self.declared_elsewhere(variables, COMPONENTS))
        if COMPONENTS not in variables:
            if others:
                return _selection(())
            raise InvalidOption(
                f"None of the hosts of this play declares {COMPONENTS}.",
                stage="declaration",
                hint="Is this the right inventory, and holdfast_hosts the right pattern?",
            )
        declaration = self._declaration(variables)
        wanted: dict[str, str | None] = {}
        for kind in ("component", "set", "tag"):
            here = {name for one in declaration.components for name in _names(kind, vars(one))}
            elsewhere = {name for one in others for name in _names(kind, one)}
            asked = [name.strip() for name in (given.get(kind) or "").split(",") if name.strip()]
            left = [name for name in asked if name in here or name not in elsewhere]
            if asked and not left:
                return _selection(())
            wanted[kind] = ",".join(left) or None
        chosen = declaration.select(wanted["component"], wanted["set"], wanted["tag"])
        return _selection([one for one in chosen if given.get("upkeep") in (None, one.upkeep)])


def _names(kind: str, component: Mapping[str, Any]) -> tuple[Any, ...]:
    """The words by which a component can be named: its name, its set, or its tags."""
    if kind == "tag":
        tags = component.get("tags")
        return tuple(tags) if isinstance(tags, (list, tuple)) else ()
    return (component.get({"component": "name"}.get(kind, kind)),)


def _selection(components: Sequence[Component]) -> dict[str, Any]:
    return {
        "changed": False,
        "components": [component.name for component in components],
        "sets": {component.name: component.set for component in components if component.set is not None},
        "policies": {
            component.name: {
                **component.policy(),
                "directories": written_directories(component),
                "shared_tmp": uses_shared_tmp(component),
            }
            for component in components
        },
        "msg": f"Selected: {', '.join(component.name for component in components) or 'nothing on this host'}.",
    }
