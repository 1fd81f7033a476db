# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check kind `dns`: a name is resolved, and to what it should be.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ..._deadline import Deadline
from ..._declaration._report import Report
from ..._errors import NotFound
from ..._limits import examine_limits, limits
from ..._spec import Spec
from .._connect import examine_port
from .._dns_client import TYPES, ask
from .._interface import FAIL, PASS, Kind, Measurement
from .._thresholds import judged

_FAMILIES = {"A": socket.AF_INET, "AAAA": socket.AF_INET6}


class DnsCheck(Kind):
    """Asks as programs of this host do (/etc/hosts included), or a server of its own choice."""

    name = "dns"
    SPEC = Spec(
        {
            "record": {"type": "str", "required": True},
            "type": {"type": "str", "choices": list(TYPES), "default": "A"},
            "server": {"type": "str"},
            "port": {"type": "int", "default": 53},
            "expect": {"type": "list", "elements": "str", "default": []},
            **limits("latency", 0.5, None),
        }
    )

    @classmethod
    def examine(cls, options: Mapping[str, Any], report: Report) -> None:
        examine_port(options, report)
        examine_limits(options, report, "latency")
        if options.get("server"):
            try:
                ipaddress.ip_address(options["server"])
            except ValueError:
                report.key("server").add("must be an address: a name would have to be resolved first")
        try:
            options["record"].rstrip(".").encode("idna")
        except UnicodeError:
            report.key("record").add("is no name of DNS")

    def run(self, deadline: Deadline) -> Iterator[Measurement]:
        began = time.monotonic()
        found = self._resolve(deadline)
        yield judged(
            "latency",
            time.monotonic() - began,
            "s",
            self.options.get("latency_warning"),
            self.options.get("latency_critical"),
            what=f"Resolving {self.options['record']} took",
        )
        expected = {_normal(each) for each in self.options["expect"]}
        missing = sorted(expected - {_normal(each) for each in found})
        output = f"{self.options['record']} is not {' nor '.join(missing)}." if missing else ""
        yield Measurement("records", FAIL if missing else PASS, len(found), "", output)

    def _resolve(self, deadline: Deadline) -> list[str]:
        name, kind, server = self.options["record"], self.options["type"], self.options.get("server")
        if server or kind not in _FAMILIES:
            return ask(server or _nameserver(), self.options["port"], name, kind, deadline)
        try:
            found = socket.getaddrinfo(name, None, _FAMILIES[kind], socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise NotFound(f"The name {name} cannot be resolved: {error.strerror}.") from None
        return list(dict.fromkeys(str(address[4][0]) for address in found))


def _nameserver() -> str:
    """The first that this host uses."""
    with open("/etc/resolv.conf", encoding="utf-8") as stream:
        for line in stream:
            words = line.split()
            if len(words) > 1 and words[0] == "nameserver":
                return words[1].partition("%")[0]
    raise NotFound("/etc/resolv.conf names no server.", hint="Set server.")


def _normal(text: str) -> str:
    """The same address or name in one spelling."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text.rstrip(".").lower()
