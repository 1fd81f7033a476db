# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The declaration as this collection's modules understand it: which engine, store and verb takes which option.

PRIVATE to the collection; may change without notice. Knows no Ansible.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from ansible_collections.holdfast.ops.plugins.module_utils._arguments import (
    backup_spec,
    copy_spec,
    declared_drill_spec,
    declared_verify_spec,
    info_spec,
    nest_engine,
    prune_spec,
    restore_spec,
)
from ansible_collections.holdfast.ops.plugins.module_utils._declaration._model import Component, Declaration
from ansible_collections.holdfast.ops.plugins.module_utils._declaration._parse import parse
from ansible_collections.holdfast.ops.plugins.module_utils._declaration._report import suggestion
from ansible_collections.holdfast.ops.plugins.module_utils._engines._interface import Engine
from ansible_collections.holdfast.ops.plugins.module_utils._engines._registry import ENGINES
from ansible_collections.holdfast.ops.plugins.module_utils._errors import InvalidOption
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._registry import REPOSITORIES
from ansible_collections.holdfast.ops.plugins.module_utils._spec import Spec

_FROM_THE_DECLARATION = frozenset({"component", "repositories", "engine", "progress_file"})
"""Options of the modules that follow from the component, so that a single run cannot say otherwise."""


def read_declaration(components: Any, repositories: Any) -> Declaration:
    """Check both variables and resolve them.

    Raises:
        InvalidDeclaration: with every problem, a line each, and no value.
    """
    return parse(
        components,
        repositories,
        engine_specs={name: _verbs(engine) for name, engine in ENGINES.items()},
        repository_specs={name: Spec(options) for name, options in _stores().items()},
    )


def declared_options() -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """The options of each kind of repository, and of a component of each engine, in the form of argument specs."""
    engines = {
        name: {option: details for spec in _verbs(engine).values() for option, details in spec.options.items()}
        for name, engine in ENGINES.items()
    }
    return _stores(), engines


def _stores() -> dict[str, dict[str, Any]]:
    return {name: {"prefix": {"type": "str"}, **store.OPTIONS} for name, store in REPOSITORIES.items()}


def _verbs(engine: type[Engine]) -> dict[str, Spec]:
    return {
        "backup": backup_spec(engine),
        "restore": restore_spec(engine),
        "verify": declared_verify_spec(engine),
        "drill": declared_drill_spec(engine),
        "prune": prune_spec(),
        "copy": copy_spec(),
        "info": info_spec(),
    }


def written_directories(component: Component) -> list[str]:
    """Directories on its host that runs of a component write to, those that were declared, sorted."""
    found = [component.options.get(name) for name in ("state_dir", "scratch_dir", "textfile_dir", "reports_dir")]
    for repository in component.repositories:
        found += [repository.options.get(name) for name in REPOSITORIES[repository.type].WRITTEN]
    return sorted({str(path).rstrip("/") for path in found if path})


def uses_shared_tmp(component: Component) -> bool:
    """Whether something that was declared lies in the /tmp that all processes share: a socket, a tree, a repository."""
    return in_shared_tmp(component.options) or any(in_shared_tmp(one.options) for one in component.repositories)


def in_shared_tmp(options: Mapping[str, Any]) -> bool:
    """Whether one of some options names something in the /tmp that all processes share."""
    return any(isinstance(value, str) and value.startswith(("/tmp/", "/var/tmp/")) for value in options.values())


def arguments(component: Component, verb: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """What the module of a verb is called with: the component's options, and over them those of this run.

    Raises:
        InvalidOption: the module has no such option, or it is not for a single run to say.
    """
    known = frozenset(component.module_options[verb]) - _FROM_THE_DECLARATION
    for name in options:
        if name not in known:
            raise InvalidOption(_unknown(name, component.module(verb), known), stage="options")
    declared = component.module_args(verb)
    if verb == "info":
        declared.pop("set", None)  # there it is a filter, and a set has backups from before it was one
    args = {**declared, **options}
    return nest_engine(component.engine, args) if verb in ("verify", "drill") else args


def with_named_repositories(args: Mapping[str, Any], declaration: Declaration) -> dict[str, Any]:
    """The arguments of a copy, with the declared repositories that it names and the component itself does not use.

    So backups can be brought to a repository before it is one of the component's own, or after it was.

    Raises:
        InvalidOption: no repository of such a name is declared.
    """
    used = {each["name"] for each in args["repositories"]}
    added = []
    for option in ("source", "destination"):
        name = args.get(option)
        if name is None or name in used:
            continue
        if name not in declaration.repositories:
            said = suggestion(name, declaration.repositories, "declared")
            raise InvalidOption(f"{option}: no such repository is declared{said}", stage="options")
        added.append(declaration.repositories[name].module_args())
        used.add(name)
    return {**args, "repositories": [*args["repositories"], *added]}


def _unknown(name: Any, module: str, known: frozenset[str]) -> str:
    """A key is repeated only when it is near a valid one: it may be a value that was put in the wrong place."""
    near = difflib.get_close_matches(str(name).lower(), known, 1)
    if near:
        return f"{module} has no option {name!s}, did you mean {near[0]}?"
    return f"An option that was given for this run is none of {module}; there are: {', '.join(sorted(known))}."
