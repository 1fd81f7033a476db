# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Words that bash offers behind `holdfast`: commands, options, and the names of what is declared here.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from .._maintenance._interface import PARTS
from . import _ansible

_NAMED = frozenset({"list", "backup", "verify", "restore", "prune", "drill"})


def words(parser: argparse.ArgumentParser, command: str, before: Sequence[str]) -> list[str]:
    """What can follow.

    Args:
        parser: with the arguments of the command.
        before: the words between the command and the one that is being typed.
    """
    options = {spelling: action for action in parser._actions for spelling in action.option_strings}
    last = options.get(before[-1]) if before else None
    if last is not None and last.nargs != 0:
        return [str(choice) for choice in last.choices or ()] or _declared(last.dest)
    positional = [action for action in parser._actions if not action.option_strings]
    taken = [word for word in before if not word.startswith("-")]
    names = _ansible.declared() if command in _NAMED | {"job"} else []
    if command == "job" and "maintenance" in taken:
        names = list(PARTS)
    choices = [str(choice) for action in positional for choice in action.choices or ()]
    return [word for word in (*choices, *names, *options) if word not in taken]


def _declared(option: str) -> list[str]:
    """What is declared here that an option can name."""
    if option == "set":
        return _ansible.declared("set")
    where = {"task": "tasks", "apply": "actions"}.get(option)
    return _ansible.declared(where=where) if where else []
