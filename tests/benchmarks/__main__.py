# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m …tests.benchmarks`: choose contests, run them, write docs/benchmarks.md."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

from . import catalogue, files, memory, postgres
from .measure import Contest, hold, say
from .report import command_line, render, write
from .stand import Stand

CHECKOUT = Path(__file__).resolve().parents[2]
KEPT = CHECKOUT / ".build" / "bench"
PAGE = CHECKOUT / "docs" / "benchmarks.md"

Contests = dict[str, Callable[[], Contest]]


def all_contests(stand: Stand) -> Contests:
    """Every group, in the order of the page."""
    found: Contests = {}
    for part in (postgres, files, memory, catalogue):
        found.update(part.contests(stand))
    return found


def _arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description="Speed and memory against the usual tools.")
    parser.add_argument("--only", help="contests, comma-separated (default: all); see --list")
    parser.add_argument("--list", action="store_true", help="name the contests and stop")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each contestant (default 5)")
    parser.add_argument("--scale", type=float, default=1.0, help="of all volumes (default 1: what the page promises)")
    parser.add_argument(
        "--directory", help="of all data and servers (default: TMPDIR); /dev/shm keeps a busy disk out of it"
    )
    parser.add_argument(
        "--contestants", help="only those whose names hold one of these words, comma-separated; no page"
    )
    parser.add_argument("--no-page", action="store_true", help="print the page instead of writing docs/benchmarks.md")
    return parser.parse_args(words)


def main(words: list[str]) -> int:
    arguments = _arguments(words)
    signal.signal(signal.SIGTERM, lambda *_how: sys.exit(143))  # so that the servers and their data are removed
    if arguments.directory:
        tempfile.tempdir = os.environ["TEST_SERVERS_DIRECTORY"] = arguments.directory
    failed: list[str] = []
    fresh: dict[str, Any] = {}
    with Stand(arguments.scale) as stand:
        known = all_contests(stand)
        if arguments.list:
            print("\n".join(known))
            return 0
        wanted = arguments.only.split(",") if arguments.only else list(known)
        unknown = sorted(set(wanted) - set(known))
        if unknown:
            say(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
            return 2
        for key in wanted:
            try:
                fresh[key] = hold(_narrowed(known[key](), arguments.contestants), arguments.rounds)
            except Exception:  # the others still have something to tell; the exit code says that one is missing
                say(traceback.format_exc())
                failed.append(key)
                continue
            if not arguments.no_page and not arguments.contestants:  # after each, because all of them take long
                _publish(list(known), key, fresh[key], command_line(words))
    if arguments.no_page or arguments.contestants:
        print(render(fresh.values()))
    for result in fresh.values():
        for aim in result["aims"]:
            say(f"{'met   ' if aim['met'] else 'MISSED'} {aim['found']:8.2f}  {aim['ours']}: {aim['says']}")
    if failed:
        say(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


def _narrowed(contest: Contest, words: str | None) -> Contest:
    """The contest with some of its contestants, and the aims that they can still meet or miss."""
    if not words:
        return contest
    chosen = [one for one in contest.contestants if any(word in one.name for word in words.split(","))]
    names = {one.name for one in chosen}
    aims = [aim for aim in contest.aims if aim.ours in names and (aim.peer is None or aim.peer in names)]
    return replace(contest, contestants=chosen, aims=aims)


def _publish(order: list[str], key: str, result: dict[str, Any], command: str) -> None:
    """Write the page: what ran now and, for the other contests, what ran last."""
    KEPT.mkdir(parents=True, exist_ok=True)
    (KEPT / f"{key}.json").write_text(json.dumps({**result, "command": command}, indent=1))
    kept = [KEPT / f"{one}.json" for one in order]
    write(PAGE, render([json.loads(path.read_text()) for path in kept if path.exists()]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
