# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`holdfast clean`: what a timer does with old files, as declared for this host.

PRIVATE to the collection; may change without notice.

One directory that cannot be cleaned does not keep the others from it; the exit code is 1 then.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator

from .._durations import counted, format_size
from .._errors import HoldfastError, InvalidOption, NotFound
from ._clean import clean
from ._cleanups import Cleanup
from ._config import CONFIG, load
from ._logs import Log
from ._rotated import age


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the subcommand takes."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="a declared cleanup or log; all when none is named")
    parser.add_argument("--check", action="store_true", help="only tell what would be removed or compressed")
    parser.add_argument("--config", default=CONFIG, help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    """Clean, and tell what was done; returns the exit code."""
    upkeep = load(arguments.config)
    declared: list[Log | Cleanup] = [*(log for log in upkeep.logs if log.aged), *upkeep.cleanups]
    unknown = sorted(set(arguments.names) - {each.name for each in declared})
    if unknown:
        there = ", ".join(each.name for each in declared) or "none"
        raise InvalidOption(
            f"No cleanup or log that is kept by time is called {', '.join(unknown)}; there are: {there}."
        )
    failed = 0
    now = time.time()
    for each in declared:
        if arguments.names and each.name not in arguments.names:
            continue
        try:
            work = _age(each, now, arguments.check) if isinstance(each, Log) else _clean(each, now, arguments.check)
            for problem in work:
                failed += 1
                sys.stderr.write(f"{each.name}: {problem}\n")
        except NotFound as error:
            sys.stdout.write(f"{each.name}: {error.message}\n")  # the application has not made it yet
        except HoldfastError as error:
            failed += 1
            sys.stderr.write(f"{each.name}: {error}\n")
        except OSError as error:
            failed += 1
            sys.stderr.write(f"{each.name}: {error.strerror}\n")
    return 1 if failed else 0


def _age(log: Log, now: float, check: bool) -> Iterator[str]:
    done = age(log, now, check=check)
    if check:
        for verb, paths in (("remove", done.removed), ("compress", done.compressed)):
            sys.stdout.writelines(f"{log.name}: {verb} {path}\n" for path in paths)
    would = "would be " if check else ""
    sys.stdout.write(
        f"{log.name}: {counted(len(done.removed), 'rotated log')} {would}removed, "
        f"{len(done.compressed)} {would}compressed"
        + (f" ({format_size(done.saved_bytes)} saved)" if done.saved_bytes else "")
        + "\n"
    )
    yield from (f"{path}: {reason}" for path, reason in done.failures)


def _clean(cleanup: Cleanup, now: float, check: bool) -> Iterator[str]:
    done = clean(cleanup, now, check=check)
    if check:
        sys.stdout.writelines(f"{cleanup.name}: remove {line}\n" for line in done.lines(now))
    size = format_size(done.planned_bytes if check else done.removed_bytes)
    count = counted(len(done.files) if check else done.removed, "file")
    sys.stdout.write(f"{cleanup.name}: {count} ({size}) {'would be ' if check else ''}removed, {done.kept} kept\n")
    yield from (f"{path}: {reason}" for path, reason in done.failures)
