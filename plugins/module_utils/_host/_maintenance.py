# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`holdfast maintenance`: how this host is, and what could be done about it; and to do what was named.

PRIVATE to the collection; may change without notice. It runs the playbook of the same name on this host alone.
"""

from __future__ import annotations

import argparse

from .._maintenance._interface import PARTS
from ._playbooks import check_host, run_playbook

_EXAMPLES = """examples:
  holdfast maintenance                        how everything is, and what actions would do
  holdfast maintenance --task database        one task alone
  holdfast maintenance --apply sweep --check  only the plan of an action
  holdfast maintenance --apply sweep          act, after the backups that it wants"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `holdfast maintenance`."""
    parser.epilog = _EXAMPLES
    parser.add_argument("--part", choices=PARTS, help="only the tasks of this part; its actions are only looked at")
    parser.add_argument("--task", metavar="NAME[,NAME]", help="only these tasks")
    parser.add_argument("--apply", metavar="NAME[,NAME]", help="let these actions act")
    parser.add_argument("--check", action="store_true", help="only look, and write no report")
    parser.add_argument("-v", "--verbose", action="count", default=0, help="all that Ansible says; more with -vv, -vvv")


def run(arguments: argparse.Namespace) -> int:
    """Run the playbook; its exit code."""
    check_host()
    given = {
        "holdfast_part": arguments.part,
        "holdfast_task": arguments.task,
        "holdfast_apply": arguments.apply,
    }
    return run_playbook(arguments, {name: value for name, value in given.items() if value})
