# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the engines' options as backup_verify takes them: made from the specs, so that none is missing."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.holdfast.ops.plugins.module_utils._arguments import engine_options
from ansible_collections.holdfast.ops.plugins.module_utils._engines._registry import ENGINES

_SAID = {
    "scratch_database": "With the level V(restore), do not start a private cluster: restore into a temporary database "
    "of the server that the login options name, and drop it again.",
    "run_as": "Unprivileged user of this host that the programs run as. A scratch server never runs as root.",
    "load_timeout": "Seconds that a scratch server gets to load the dump.",
}
"""Options that only a verification has."""


def _suboption(engine: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    shown = {key: spec[key] for key in ("type", "elements", "choices", "default") if spec.get(key) is not None}
    text = _SAID.get(name, f"As the option of the same name of M(holdfast.ops.{engine}_restore).")
    said = {"description": text, **shown}
    if spec.get("options"):
        said["suboptions"] = {inner: _suboption(engine, inner, option) for inner, option in spec["options"].items()}
    return said


def _options() -> dict[str, Any]:
    return {
        name: {
            "description": [
                f"What the levels V(archive) and V(restore) need to know of a backup made by the engine {name}.",
                f"The options that M(holdfast.ops.{name}_backup) and M(holdfast.ops.{name}_restore) share.",
            ],
            "type": "dict",
            "suboptions": {option: _suboption(name, option, spec) for option, spec in engine_options(engine).items()},
        }
        for name, engine in ENGINES.items()
    }


class ModuleDocFragment:
    """One dictionary of options an engine. JSON is YAML; the annotation tells ansible-test that it is no literal."""

    DOCUMENTATION: str = json.dumps({"options": _options()})
