# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`holdfast notify`: what units, cron lines and people call on a host. Knows no Ansible.

PRIVATE to the collection; may change without notice.

Exit codes: 0 everything was sent, or nothing had to be; 1 something could not be sent (it is kept and tried again);
64 the command was misspelled.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from .._errors import InvalidOption
from . import _config, _unit
from ._channels._heartbeat import SIGNALS, SUCCESS
from ._interface import Channel
from ._model import FIRING, RESOLVED, SEVERITIES, Delivery, Event
from ._send import STATE_DIR, deliver, flush, heartbeat, probe, send_tests, to_stderr

DETAILS_LIMIT = 100_000
"""Characters of details that are read from the standard input; a message carries a few thousand of them."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands of `holdfast notify`."""
    parser.description = "Tell people: send a notification, or test the channels."
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    unit = verbs.add_parser("unit", help="say that a unit of systemd failed (OnFailure=holdfast-notify@%%n.service)")
    unit.add_argument("unit", help="its name, such as holdfast-backup-shop_db.service")

    send = verbs.add_parser("send", help="send a notification")
    send.add_argument("summary", help="one line: what happened")
    send.add_argument("--key", required=True, help="names the problem; --resolved with the same key ends it")
    send.add_argument("--severity", choices=SEVERITIES, default="warning")
    send.add_argument("--resolved", action="store_true", help="it is over; told only where it was told before")
    send.add_argument("--component", default="", help="the component it is about")
    send.add_argument("--details", default="", help="more lines; - reads them from the standard input")
    send.add_argument("--label", action="append", default=[], metavar="NAME=VALUE", help="may be given several times")

    test = verbs.add_parser("test", help="send a test of each severity through every channel that takes it")
    test.add_argument("--severity", choices=SEVERITIES, action="append", help="only this one; may be repeated")
    test.add_argument("--channel", action="append", metavar="NAME", help="only this one; may be repeated")

    beat = verbs.add_parser("heartbeat", help="ping for a component that succeeded")
    beat.add_argument("component")
    beat.add_argument("--signal", choices=SIGNALS, default=SUCCESS)

    channels = verbs.add_parser("channels", help="list the channels")
    channels.add_argument("--probe", action="store_true", help="and connect to each (TCP and TLS), telling it nothing")

    retry = verbs.add_parser("retry", help="try again what could not be delivered (a timer does this)")
    for each in (send, test, beat, channels, retry):
        each.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Do it; the exit code."""
    verbs = {
        "unit": _run_unit,
        "send": _run_send,
        "test": _run_test,
        "heartbeat": _run_heartbeat,
        "channels": _run_channels,
        "retry": _run_retry,
    }
    return verbs[arguments.verb](arguments)


def _run_unit(arguments: argparse.Namespace) -> int:
    if not _unit.is_unit(arguments.unit):
        raise InvalidOption("That is not the name of a unit.")
    channels = _config.load()
    ending = _unit.ending_of(arguments.unit, os.environ, to_stderr)
    secrets = [*_config.known_secrets(), *(text for channel in channels for text in channel.secrets())]
    lines = _unit.last_lines(arguments.unit, ending.invocation, secrets, to_stderr)
    event = _unit.event_of(arguments.unit, ending, lines, _config.host_name())
    if not channels:
        to_stderr(f"no channel is declared, so nobody is told that {event.summary}")
        return 0
    return _report(deliver(event, channels, STATE_DIR), as_json=False)


def _run_send(arguments: argparse.Namespace) -> int:
    event = Event(
        key=arguments.key,
        severity=arguments.severity,
        status=RESOLVED if arguments.resolved else FIRING,
        summary=arguments.summary,
        details=sys.stdin.read(DETAILS_LIMIT) if arguments.details == "-" else arguments.details,
        component=arguments.component,
        host=_config.host_name(),
        source="other",
        labels=dict(_label(text) for text in arguments.label),
    )
    return _report(deliver(event, _declared(), STATE_DIR), arguments.json)


def _run_test(arguments: argparse.Namespace) -> int:
    channels = _chosen(_declared(), arguments.channel)
    deliveries = send_tests(channels, _config.host_name(), arguments.severity or SEVERITIES)
    return _report(deliveries, arguments.json)


def _run_heartbeat(arguments: argparse.Namespace) -> int:
    return _report(heartbeat(arguments.component, arguments.signal, _declared()), arguments.json)


def _run_retry(arguments: argparse.Namespace) -> int:
    return _report(flush(_config.load(), STATE_DIR), arguments.json)


def _run_channels(arguments: argparse.Namespace) -> int:
    channels = list(_config.load())
    reached = dict(zip((channel.name for channel in channels), probe(channels))) if arguments.probe else {}
    rows: list[dict[str, Any]] = []
    for channel in channels:
        row: dict[str, Any] = {"channel": channel.name, "type": channel.type, "severities": list(channel.severities)}
        if channel.components is not None:
            row["components"] = list(channel.components)
        if channel.name in reached:
            row.update(reached=not reached[channel.name].failed, reason=reached[channel.name].reason)
        rows.append(row)
    if arguments.json:
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
    else:
        for row in rows:
            sys.stdout.write(_line_of_channel(row) + "\n")
        if not rows:
            sys.stdout.write("No channel is declared for this host.\n")
    return int(any(delivery.failed for delivery in reached.values()))


def _line_of_channel(row: dict[str, Any]) -> str:
    line = f"{row['channel']} ({row['type']}): {', '.join(row['severities'])}"
    if "components" in row:
        line += f"; only {', '.join(row['components'])}"
    if "reached" in row:
        line += f"; {'reached ' if row['reached'] else 'NOT reached: '}{row['reason']}"
    return line


def _declared() -> Sequence[Channel]:
    channels = list(_config.load())
    if not channels:
        raise InvalidOption(
            "No channel is declared for this host.", hint="Declare holdfast_notifications and run holdfast.ops.site."
        )
    return channels


def _chosen(channels: Sequence[Channel], names: Sequence[str] | None) -> Sequence[Channel]:
    if not names:
        return channels
    known = {channel.name: channel for channel in channels}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InvalidOption(f"There is no such channel; there are: {', '.join(known)}.")
    return [known[name] for name in dict.fromkeys(names)]


def _label(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise InvalidOption("A label is written NAME=VALUE.")
    return name, value


def _report(deliveries: Sequence[Delivery], as_json: bool) -> int:
    if as_json:
        sys.stdout.write(json.dumps([delivery.as_json() for delivery in deliveries], indent=2) + "\n")
    else:
        for delivery in deliveries:
            stream = sys.stderr if delivery.failed else sys.stdout
            stream.write(delivery.line() + "\n")
        if not deliveries:
            sys.stdout.write("Nothing to send.\n")
    return int(any(delivery.failed for delivery in deliveries))
