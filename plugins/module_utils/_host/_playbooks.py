# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`holdfast list`, `backup`, `verify`, `restore`, `prune`, `drill`: the playbooks of this collection, short to type.

PRIVATE to the collection; may change without notice.

They run the very playbooks that an operator runs from afar, on this host alone. Nothing is known here of engines or
repositories: what is asked for is passed on, and what comes back is shown.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from .._errors import InvalidOption, NotFound, PermissionDenied, Refused
from . import _ansible, _paths

PLAYBOOKS: Mapping[str, str] = {"list": "catalogue"}
"""The playbook of a command where it is called otherwise."""

LEVELS = ("stat", "checksum", "archive", "restore")

_EXAMPLES: Mapping[str, Sequence[tuple[str, str]]] = {
    "list": (("list", "everything"), ("list omnidoc_db", "")),
    "backup": (("backup", "everything that is declared here"), ("backup omnidoc_db --check", "look only")),
    "verify": (
        ("verify omnidoc_db", "to the level that is declared"),
        ("verify omnidoc_db --level restore", "restore into a server of its own, and compare"),
    ),
    "restore": (
        ("restore omnidoc_db --check", "what would be done, and to what"),
        ("restore omnidoc_db", "the newest backup; asks before anything live is replaced"),
        ("restore omnidoc_db --at 2026-11-22T20:00:00Z", "as it was then"),
        ("restore omnidoc_db -o target_database=omnidoc_look", "beside the live one"),
    ),
    "prune": (("prune --check", "the plan, with a reason for each backup"), ("prune omnidoc_db", "")),
    "drill": (("drill omnidoc_db", "restore into a scratch place, prove, measure"),),
}


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """The arguments of the command called `name`."""
    width = max(len(line) for line, _what in _EXAMPLES[name]) + 2
    lines = (f"  holdfast {line:<{width}}{what}".rstrip() for line, what in _EXAMPLES[name])
    parser.epilog = "\n".join(["examples:", *lines])
    several = "components that are declared here; without any, all of them"
    if name == "restore":
        parser.add_argument("component", nargs="?", metavar="COMPONENT", help="what to bring back")
    else:
        parser.add_argument("component", nargs="*", metavar="COMPONENT", help=several)
    parser.add_argument("--set", metavar="SET", help="the components of a set, as they were at one moment")
    if name != "restore":
        parser.add_argument("--tag", metavar="TAG", help="the components with a tag")
    if name in ("verify", "restore"):
        parser.add_argument("--id", metavar="ID", help="one backup, as holdfast list shows it, instead of the newest")
    if name == "verify":
        parser.add_argument("--level", choices=LEVELS, help="how much is proved, instead of what is declared")
    if name == "restore":
        _add_restore_arguments(parser)
    if name != "list":
        parser.add_argument("--check", action="store_true", help="only look, and show what would be done")
    parser.add_argument("-v", "--verbose", action="count", default=0, help="all that Ansible says; more with -vv, -vvv")


def _add_restore_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--at", metavar="TIME", help="the newest backup of this moment or earlier: 2026-11-22T20:00:00Z"
    )
    parser.add_argument(
        "--confirm", metavar="NAME", help="the name of the live thing that may be replaced; asked for on a terminal"
    )
    parser.add_argument(
        "-o",
        "--option",
        action="append",
        default=[],
        type=_option,
        metavar="NAME=VALUE",
        help="an option of the engine's restore module, such as target_database=NAME",
    )


def _option(text: str) -> tuple[str, str]:
    name, mark, value = text.partition("=")
    if not mark or not name.isidentifier():
        raise argparse.ArgumentTypeError("write it as NAME=VALUE")
    return name, value


def run(arguments: argparse.Namespace) -> int:
    """Run the playbook; its exit code."""
    check_host()
    variables = _variables(arguments)
    if arguments.command != "restore" or arguments.check:
        return run_playbook(arguments, variables)
    if arguments.confirm is None and _is_terminal():
        return _restore_after_asking(arguments, variables)
    if arguments.confirm is not None:
        variables["holdfast_restore_confirm"] = arguments.confirm
    return run_playbook(arguments, variables)


def check_host() -> None:
    """Refuse in a sentence what Ansible would only warn of: without an inventory it does nothing, and calls that well.

    Raises:
        PermissionDenied, NotFound.
    """
    try:
        with open(_paths.INVENTORY, "rb"):
            pass
    except PermissionError:
        raise PermissionDenied(
            f"{_paths.INVENTORY} may be read by root only.", right="read", hint="Use sudo."
        ) from None
    except FileNotFoundError:
        raise NotFound(
            f"There is no {_paths.INVENTORY}: this host was not told what to look after.",
            hint="Run the playbook holdfast.ops.site for it. To restore without a control node, see docs/hosts.md.",
        ) from None
    program = _ansible.playbook("", {})[0]
    if not os.access(program, os.X_OK):
        raise NotFound(f"There is no {program}.", hint="Run the playbook holdfast.ops.site for this host again.")
    os.makedirs(_paths.ANSIBLE_HOME, mode=0o700, exist_ok=True)


def _variables(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the playbook is told, by the names of its extra variables.

    Raises:
        InvalidOption: nothing was named that could be restored.
    """
    named = arguments.component if isinstance(arguments.component, str) else ",".join(arguments.component or ())
    given = {
        "holdfast_component": named,
        "holdfast_set": arguments.set,
        "holdfast_tag": getattr(arguments, "tag", None),
        "holdfast_backup_id": getattr(arguments, "id", None),
        "holdfast_level": getattr(arguments, "level", None),
        "holdfast_at": getattr(arguments, "at", None),
        "holdfast_restore_options": dict(getattr(arguments, "option", ())),
    }
    if arguments.command == "restore" and not (named or arguments.set):
        raise InvalidOption(
            "Say what to restore: a component, or a set with --set. Nothing was touched.",
            hint=f"Declared here: {', '.join(_ansible.declared()) or 'nothing'}.",
        )
    return {name: value for name, value in given.items() if value}


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def run_playbook(arguments: argparse.Namespace, variables: Mapping[str, Any]) -> NoReturn:
    """Become Ansible: what interrupts or ends us is then meant for it, and its exit code is ours."""
    argv = _argv(arguments, variables, check=getattr(arguments, "check", False))
    sys.stdout.flush()
    os.chdir(_paths.ANSIBLE_HOME)
    os.execve(argv[0], argv, _environment(arguments))


def _argv(arguments: argparse.Namespace, variables: Mapping[str, Any], *, check: bool) -> list[str]:
    name = PLAYBOOKS.get(arguments.command, arguments.command)
    options = [*(["--check", "--diff"] if check else []), *(["-v"] * arguments.verbose)]
    return [*_ansible.playbook(name, variables), *options]


def _environment(arguments: argparse.Namespace) -> dict[str, str]:
    """Quiet unless asked otherwise: what was done, what would be, and what failed."""
    quiet = {} if arguments.verbose else {"ANSIBLE_STDOUT_CALLBACK": "holdfast.ops.plain"}
    return _ansible.environment(quiet)


# -- restore, on a terminal ------------------------------------------------------------------------------------------


def _restore_after_asking(arguments: argparse.Namespace, variables: dict[str, Any]) -> int:
    """Show what would be done, have what is live named by whoever sits there, and only then do it.

    Raises:
        Refused: something else was named, or nothing.
    """
    with tempfile.NamedTemporaryFile(prefix="holdfast-", suffix=".jsonl") as results:
        watched = {"ANSIBLE_CALLBACKS_ENABLED": "holdfast.ops.job_log", "HOLDFAST_JOB_LOG": results.name}
        code = subprocess.call(  # pylint: disable=ansible-bad-function
            _argv(arguments, variables, check=True),
            env={**_environment(arguments), **watched},
            cwd=_paths.ANSIBLE_HOME,
        )
        if code != 0:
            return code
        lines = [json.loads(line) for line in results.read().decode("utf-8").splitlines()]
    planned = [line for line in lines if line.get("verb") == "restore"]
    if not any(line.get("changed") for line in planned):
        return code
    confirmed = {}
    for line in planned:
        if line.get("live"):
            confirmed[line["component"]] = _ask_for(str(line["live"]), line["component"])
    if not confirmed:
        _ask_to_go_on()
    decided = {**variables, **({"holdfast_restore_confirm": confirmed} if confirmed else {})}
    if len(planned) == 1 and planned[0].get("backup_id"):
        # What was shown, and not what a job may have made of the spoilt data while somebody was thinking.
        decided["holdfast_backup_id"] = planned[0]["backup_id"]
        decided.pop("holdfast_at", None)
    return run_playbook(arguments, decided)


def _ask_for(live: str, component: str) -> str:
    """Have the name of a live thing typed."""
    sys.stderr.write(f"\n{component}: {live} is live and would be replaced. Type its name to go on: ")
    sys.stderr.flush()
    typed = sys.stdin.readline().rstrip("\n")
    if typed != live:
        raise Refused("That is not its name. Nothing was touched.")
    return typed


def _ask_to_go_on() -> None:
    sys.stderr.write("\nNothing live would be replaced. Restore? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Refused("Nothing was touched.")
