# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the command runs the playbooks of this collection: one place for their arguments and their environment.

PRIVATE to the collection; may change without notice. Ansible is a program here, never a library.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from .. import _unsafe_yaml
from . import _paths, _self

_OTHERS_SETTINGS = ("ANSIBLE_", "HOLDFAST_JOB")
"""Variables of an operator's environment that must not change what a job does."""


def playbook(names: str | Sequence[str], extra_vars: Mapping[str, Any]) -> list[str]:
    """The command that runs a playbook of this collection on this host, or several: each if those before succeeded."""
    program = os.path.join(_paths.VENV, "bin", "ansible-playbook")
    # Tagged as unsafe: the name of a database may hold two braces.
    playbooks = [f"holdfast.ops.{name}" for name in ([names] if isinstance(names, str) else names)]
    return [program, "-i", _paths.INVENTORY, *playbooks, "-e", _unsafe_yaml.dump(dict(extra_vars), None)]


def declared(what: str = "name", where: str = "components") -> list[str]:
    """The names (or the sets) of the components that are declared on this host, or of its maintenance tasks.

    None when that cannot be read.

    Args:
        where: `components`, or `tasks` or `actions` of maintenance.
    """
    try:
        with open(_paths.HOST, encoding="utf-8") as stream:
            host = json.load(stream)
        declared_here = host["components"] if where == "components" else host["maintenance"]["tasks"]
    except (OSError, ValueError, KeyError):
        return []
    wanted = [each for each in declared_here if where != "actions" or each.get("action")]
    return list(dict.fromkeys(str(each[what]) for each in wanted if each.get(what)))


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our environment with the settings of this host's Ansible, and of nobody else's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OTHERS_SETTINGS)}
    kept.setdefault("PATH", os.defpath)
    kept.update(
        ANSIBLE_CONFIG=_paths.ANSIBLE_CONFIG,
        ANSIBLE_HOME=_paths.ANSIBLE_HOME,
        ANSIBLE_LOCAL_TEMP=os.path.join(_paths.ANSIBLE_HOME, "tmp"),
        ANSIBLE_REMOTE_TEMP=os.path.join(_paths.ANSIBLE_HOME, "tmp"),
        ANSIBLE_NOCOLOR="1",
        LC_ALL="C.UTF-8",
    )
    # The release that this code belongs to, also when another is switched to meanwhile.
    kept["ANSIBLE_COLLECTIONS_PATH"] = _self.RELEASE
    kept.update(extra or {})
    return kept
