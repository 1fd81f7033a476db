# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which tasks a run is about, and which of them may act: the guard of everything that maintenance changes.

PRIVATE to the collection; may change without notice.

An action acts when somebody names it, or when its declaration says `every:` and the schedule of that part runs it.
Everything else is only looked at.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from .._declaration._report import suggestion
from .._errors import InvalidOption, Refused
from ._interface import Task
from ._parse import ALL
from ._registry import KINDS

STAGE = "declaration"


@dataclass(frozen=True)
class Wanted:
    """What a run was asked for.

    Attributes:
        part: only its tasks; empty for all of them.
        names: only these tasks.
        apply: actions that shall act. Without a part or names, the run is about nothing else.
        scheduled: it is the part's own schedule that runs it.
    """

    part: str = ""
    names: Sequence[str] = ()
    apply: Sequence[str] = ()
    scheduled: bool = False


@dataclass(frozen=True)
class Selection:
    """The tasks of a run in the order of their declaration, and the names of those that act."""

    tasks: tuple[Task, ...]
    acting: frozenset[str]


def select(tasks: Sequence[Task], wanted: Wanted, elsewhere: Collection[str] = ()) -> Selection:
    """Find what a run is about.

    Args:
        tasks: all that the host declares.
        elsewhere: tasks of the other hosts that the run is about; to name one of them is no mistake.

    Raises:
        InvalidOption: a name is unknown, or there is a schedule without a part.
        Refused: what was named to act is no single action.
    """
    if wanted.scheduled and not wanted.part:
        raise InvalidOption("Only a part has a schedule; name it.", stage=STAGE)
    known = {task.name: task for task in tasks}
    names = _known(wanted.names, known, elsewhere)
    apply = _actions(wanted.apply, known, elsewhere)
    chosen = [
        task
        for task in tasks
        if task.name in apply
        or (
            (wanted.part in ("", task.every))
            and (not wanted.names or task.name in names)
            and not (wanted.apply and not wanted.part and not wanted.names)
        )
    ]
    acting = {task.name for task in chosen if KINDS[task.kind].action and (task.name in apply or wanted.scheduled)}
    return Selection(tuple(chosen), frozenset(acting))


def _known(names: Sequence[str], known: Collection[str], elsewhere: Collection[str]) -> set[str]:
    for name in names:
        if name not in known and name not in elsewhere:
            raise InvalidOption(
                f"No such maintenance task is declared{suggestion(name, {*known, *elsewhere}, 'declared')}", stage=STAGE
            )
    return {name for name in names if name in known}


def _actions(names: Sequence[str], known: dict[str, Task], elsewhere: Collection[str]) -> set[str]:
    """The names among them that are actions of this host."""
    actions = [task.name for task in known.values() if KINDS[task.kind].action]
    for name in names:
        if name == ALL:
            why, near = f"nothing acts on {ALL}; name each action", suggestion(None, actions, "actions")
        elif name in known and name not in actions:
            why, near = f"{name} is a report, which changes nothing", suggestion(name, actions, "actions")
        elif name not in known and name not in elsewhere:
            why, near = "no such action is declared", suggestion(name, {*actions, *elsewhere}, "actions")
        else:
            continue
        raise Refused(f"Nothing was touched: {why}{near}", stage=STAGE)
    return {name for name in names if name in known}
