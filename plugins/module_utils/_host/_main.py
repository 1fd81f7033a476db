# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `holdfast`: which subcommands there are, and what becomes of their errors.

PRIVATE to the collection; may change without notice.

A subcommand lives in a file of its own, which is imported only when it is called: a probe that runs every few
seconds must not pay for the others. Such a file offers `add_arguments(parser)` and `run(arguments)`, which returns
the exit code; `arguments.command` is the name that it was called by.
"""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable, NoReturn

from .._errors import HoldfastError

USAGE_ERROR = 64
"""EX_USAGE of sysexits.h: 1, 2 and 3 are results of `holdfast health`, and a misspelled probe is none."""
INTERRUPTED = 130


def _status() -> Any:
    from . import _status

    return _status


def _playbooks() -> Any:
    from . import _playbooks

    return _playbooks


def _jobs() -> Any:
    from . import _jobs

    return _jobs


def _maintenance() -> Any:
    from . import _maintenance

    return _maintenance


def _health() -> Any:
    from .._health import _command

    return _command


def _notify() -> Any:
    from .._notify import _command

    return _command


def _clean() -> Any:
    from .._upkeep import _command

    return _command


@dataclass(frozen=True)
class Subcommand:
    """How a subcommand's file is imported, and what it does, in a few words."""

    load: Callable[[], Any]
    summary: str


SUBCOMMANDS: Mapping[str, Subcommand] = {
    "status": Subcommand(_status, "what is declared here, when it last ran, and what comes next"),
    "list": Subcommand(_playbooks, "the backups that exist: where, how old, how well verified"),
    "backup": Subcommand(_playbooks, "back up now"),
    "verify": Subcommand(_playbooks, "prove that backups can be restored"),
    "restore": Subcommand(_playbooks, "bring something back, proved"),
    "prune": Subcommand(_playbooks, "delete what retention no longer keeps"),
    "drill": Subcommand(_playbooks, "rehearse a restore and measure it"),
    "job": Subcommand(_jobs, "what timers and cron run: a backup, verify or drill of one component, or maintenance"),
    "maintenance": Subcommand(_maintenance, "how databases and this host are, and to act on what is named"),
    "health": Subcommand(_health, "check this host: exit 0 healthy, 1 warning, 2 critical, 3 unknown"),
    "clean": Subcommand(_clean, "remove old files and compress rotated logs, as declared"),
    "notify": Subcommand(_notify, "send a notification, or a test of the channels"),
}


class Parser(argparse.ArgumentParser):
    """Says where help is, and ends with an exit code that no result has."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE_ERROR, f"{self.prog}: {message}\nTry: {self.prog} --help\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(words)
        sys.stdout.flush()
        return code
    except HoldfastError as error:
        sys.stderr.write(f"holdfast {words[0]}: {error}\n")
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Who read our output has gone (`| head`); Python must not complain about it once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(words: Sequence[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        sys.stdout.write(_help())
        return 0 if words else USAGE_ERROR
    name, *rest = words
    if name == "complete":
        return _complete(rest)
    subcommand = SUBCOMMANDS.get(name)
    if subcommand is None:
        near = difflib.get_close_matches(name, SUBCOMMANDS, 1)
        meant = f", did you mean {near[0]}?" if near else "."
        sys.stderr.write(f"holdfast: there is no command {name}{meant}\nTry: holdfast --help\n")
        return USAGE_ERROR
    parser, module = _parser(name, subcommand)
    return int(module.run(parser.parse_args(rest)))


def _parser(name: str, subcommand: Subcommand) -> tuple[Parser, Any]:
    """The parser of a subcommand, and the file that it lives in."""
    module = subcommand.load()
    parser = Parser(
        prog=f"holdfast {name}",
        description=f"{subcommand.summary[0].upper()}{subcommand.summary[1:]}.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=name)
    if subcommand.load is _playbooks:
        module.add_arguments(parser, name)
    else:
        module.add_arguments(parser)
    return parser, module


def _complete(words: Sequence[str]) -> int:
    """`holdfast complete WORD…`: what could stand in the place of the last word. For the shell's completion."""
    from . import _complete

    *before, _typed = words or [""]
    if not before:
        offered = [*SUBCOMMANDS, "--help"]
    elif before[0] in SUBCOMMANDS:
        parser, _module = _parser(before[0], SUBCOMMANDS[before[0]])
        offered = _complete.words(parser, before[0], before[1:])
    else:
        offered = []
    sys.stdout.write("".join(f"{word}\n" for word in offered))
    return 0


def _help() -> str:
    width = max(map(len, SUBCOMMANDS)) + 2
    lines = [f"  {name:<{width}}{each.summary}" for name, each in SUBCOMMANDS.items()]
    return "\n".join(
        [
            "usage: holdfast COMMAND [ARGUMENT …]",
            "",
            "Backups that are proved, on this host.",
            "",
            *lines,
            "",
            "holdfast COMMAND --help tells more. Something is gone? holdfast list, then holdfast restore NAME.",
            "",
        ]
    )
