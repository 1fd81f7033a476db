# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is declared of a host itself: what starts its jobs, in which time zone, and where its health is asked for.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from .._errors import InvalidOption
from .._schedules._zones import UTC, check_zone
from ._report import Report, suggestion
from ._spec import what

SCHEDULERS = ("timer", "cron")

_LISTEN = re.compile(r"(?P<host>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\]):(?P<port>[0-9]{1,5})")
_LOCAL = frozenset({"", "localhost", "127.0.0.1", "::1", "0.0.0.0", "::"})


@dataclass(frozen=True)
class HostSettings:
    """Checked, with the defaults filled in.

    Attributes:
        scheduler: what starts the jobs, `timer` or `cron`.
        time_zone: the one that schedules mean.
        health_listen: `address:port` of the endpoint for probes; empty when there is none.
        textfile_dir: of node_exporter's textfile collector; empty when there is none.
    """

    scheduler: str = SCHEDULERS[0]
    time_zone: str = UTC
    health_listen: str = ""
    textfile_dir: str = ""


@dataclass(frozen=True)
class Port:
    """A TCP port of this host that something declared uses; `by` says what, for messages."""

    number: int
    by: str = field(compare=False)


def collect_host(values: Mapping[str, Any], ports: Collection[Port], lines: list[str]) -> HostSettings:
    """Check the variables of the host; problems are added to `lines`.

    Args:
        values: variable → value, templated; those that are not set are None or missing.
        ports: what else uses a port of this host.
    """
    scheduler = _text(values, "holdfast_scheduler", SCHEDULERS[0], lines)
    if scheduler is not None and scheduler not in SCHEDULERS:
        Report(lines, "holdfast_scheduler").add(f"is none of its choices{suggestion(scheduler, SCHEDULERS, 'choices')}")
    zone = _text(values, "holdfast_time_zone", UTC, lines)
    if zone is not None:
        _check_zone(zone, Report(lines, "holdfast_time_zone"))
    listen = _text(values, "holdfast_health_listen", "", lines)
    if listen:
        _check_listen(listen, ports, Report(lines, "holdfast_health_listen"))
    textfile_dir = _text(values, "holdfast_textfile_dir", "", lines)
    if textfile_dir and not textfile_dir.startswith("/"):
        Report(lines, "holdfast_textfile_dir").add("must be the absolute path of a directory")
    return HostSettings(scheduler or SCHEDULERS[0], zone or UTC, listen or "", (textfile_dir or "").rstrip("/"))


def _text(values: Mapping[str, Any], name: str, default: str, lines: list[str]) -> str | None:
    """The value of a variable, None when it is none that could be judged."""
    value = values.get(name)
    if value is None:
        return default
    if isinstance(value, str):
        return value.strip() or default
    Report(lines, name).add(f"must be a string, and is {what(value)}")
    return None


def _check_zone(zone: str, report: Report) -> None:
    try:
        check_zone(zone)
    except InvalidOption as error:
        report.add(error.message)


def _check_listen(listen: str, ports: Collection[Port], report: Report) -> None:
    match = _LISTEN.fullmatch(listen)
    if match is None or not 0 < int(match["port"]) < 65536:
        report.add("is not an address and a port; write 127.0.0.1:9880")
        return
    for port in ports:
        if port.number == int(match["port"]):
            report.add(f"its port is that of {port.by}; two cannot listen on one port")


def ports_of(options: Mapping[str, Any], by: str) -> Iterator[Port]:
    """The ports of this host that a component or a check, by its options, expects something else to listen on."""
    url = options.get("url")
    if isinstance(url, str):
        try:
            parts = urlsplit(url)
            number = parts.port
        except ValueError:
            return  # whoever owns the option refuses it
        if (parts.hostname or "") in _LOCAL and number:
            yield Port(number, by)
    host = options.get("login_host", options.get("host", ""))
    if host in _LOCAL:
        for name in ("port", "login_port"):
            number = options.get(name)
            if isinstance(number, int) and not isinstance(number, bool):
                yield Port(number, by)
