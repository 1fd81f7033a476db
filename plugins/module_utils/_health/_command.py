# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`holdfast health`: run the checks of this host.

PRIVATE to the collection; may change without notice. What it prints and its exit codes are public: docs/health.md.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from .._durations import parse_duration
from .._errors import HoldfastError, InvalidOption
from .._host import _paths
from .._host._config import read_config
from .._notify._config import host_name
from ._document import Known, document, lines, overall
from ._interface import PASS, STATUSES, Check
from ._parse import COMPREHENSIVE, PROFILES, from_config, in_profile
from ._record import Record
from ._runner import run_checks

UNKNOWN = 3
"""Exit code when nothing could be checked; else it is 0 for pass, 1 for warn, 2 for fail."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `holdfast health`."""
    parser.add_argument(
        "profile",
        nargs="?",
        choices=PROFILES,
        default=COMPREHENSIVE,
        help="which checks: those of a probe, or all of them (the default)",
    )
    parser.add_argument("--check", metavar="NAME", action="append", default=[], help="this check only; may be repeated")
    parser.add_argument("--json", action="store_true", help="print the health+json document")
    parser.add_argument("--quiet", action="store_true", help="print only what is not well")
    parser.add_argument("--config", default=_paths.HEALTH, help=argparse.SUPPRESS)
    recording = parser.add_argument_group("what timers add")
    recording.add_argument(
        "--record",
        action="store_true",
        help="let this run count: for flap control, the document for probes, the metrics and notifications",
    )
    recording.add_argument("--every", metavar="DURATION", default="5m", help="how often it is run (5m)")
    recording.add_argument("--textfile-dir", metavar="DIR", default="", help="where node_exporter looks for metrics")
    parser.epilog = "exit codes: 0 pass, 1 warning, 2 failure, 3 nothing could be checked"


def run(arguments: argparse.Namespace) -> int:
    """Check, print, and return the exit code."""
    signal.signal(signal.SIGTERM, _end)
    try:
        return _run(arguments)
    except HoldfastError as error:
        sys.stderr.write(f"holdfast health: {error}\n")
    except OSError as error:
        sys.stderr.write(f"holdfast health: {error}\n")
    return UNKNOWN


def _end(number: int, frame: FrameType | None) -> NoReturn:
    """Unwind, so that the checks which are still running are ended."""
    raise SystemExit(128 + number)


def _run(arguments: argparse.Namespace) -> int:
    every = parse_duration(arguments.every).total_seconds()
    declared = _load(arguments.config)
    wanted = _selected(declared, arguments.profile, arguments.check)
    began = time.monotonic()
    results = run_checks(wanted, _paths.HEALTH_STATE)
    seconds = time.monotonic() - began
    host = host_name(_paths.HOST)
    if arguments.record:
        record = Record(declared, host, arguments.textfile_dir)
        for warning in record.add(results, every):
            sys.stderr.write(f"holdfast health: {warning}\n")
        ran = {result.name for result in results}
        known = [each for each in record.known if each.result.name in ran]
    else:
        known = [Known.once(result, check.profiles) for result, check in zip(results, wanted)]
    if arguments.json:
        sys.stdout.write(json.dumps(document(known, host, time.time()), indent=1) + "\n")
    else:
        told = [each for each in known if each.status != PASS] if arguments.quiet else known
        if told or not arguments.quiet:
            sys.stdout.write("".join(f"{line}\n" for line in lines(told, known, seconds)))
    sys.stdout.flush()
    if arguments.record:
        _tell(record)
    return STATUSES.index(overall(known))


def _load(path: str) -> tuple[Check, ...]:
    config = read_config(path)
    if config is None:
        raise InvalidOption(
            f"{path} does not exist, so nothing is declared to be checked.",
            hint="It is written by the playbook holdfast.ops.site.",
        )
    return from_config(config)


def _selected(declared: Sequence[Check], profile: str, names: Sequence[str]) -> tuple[Check, ...]:
    unknown = [name for name in names if name not in {check.name for check in declared}]
    if unknown:
        known = ", ".join(check.name for check in declared) or "none"
        raise InvalidOption(f"No such check is declared: {', '.join(unknown)}; there are: {known}.")
    return tuple(check for check in in_profile(declared, profile) if not names or check.name in names)


def _tell(record: Record) -> None:
    """Tell people what has changed. What a channel could not take is kept there, and counts as told here."""
    changes = list(record.changes())
    if not changes:
        return
    from .._notify import _config, _send

    channels = tuple(_config.load(_paths.NOTIFY))
    for _name, event in changes:
        for delivery in _send.deliver(event, channels, _paths.NOTIFY_STATE):
            if delivery.failed:
                sys.stderr.write(f"holdfast health: {delivery.channel}: {delivery.reason}\n")
    record.told([name for name, _event in changes])
