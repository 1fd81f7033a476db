# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check kind `tcp`: something listens, speaks TLS, and answers.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ..._deadline import Deadline
from ..._declaration._report import Report
from ..._errors import Unavailable
from ..._limits import examine_limits, limits
from ..._spec import Spec
from ..._system._sockets import open_socket
from .._connect import (
    TLS_OPTIONS,
    certificate,
    examine_port,
    examine_tls,
    receive,
    tls_context,
    wrap_tls,
)
from .._interface import FAIL, PASS, Kind, Measurement
from .._thresholds import judged

_MOST_READ = 65_536


class TcpCheck(Kind):
    """Connect; with `expect`, read until it was said."""

    name = "tcp"
    SPEC = Spec(
        {
            "host": {"type": "str", "default": "127.0.0.1"},
            "port": {"type": "int"},
            "unix_socket": {"type": "path"},
            "tls": {"type": "bool", "default": False},
            **TLS_OPTIONS,
            "send": {"type": "str"},
            "expect": {"type": "str"},
            **limits("latency"),
        },
        required_one_of=[["port", "unix_socket"]],
        mutually_exclusive=[["port", "unix_socket"]],
    )

    @classmethod
    def examine(cls, options: Mapping[str, Any], report: Report) -> None:
        examine_port(options, report)
        examine_tls(options, report)
        examine_limits(options, report, "latency")

    @classmethod
    def preload(cls, options: Mapping[str, Any]) -> None:
        if options["tls"]:
            tls_context({"validate_certs": False})

    def run(self, deadline: Deadline) -> Iterator[Measurement]:
        began = time.monotonic()
        host = self.options["host"]
        connection, place = open_socket(host, self.options.get("port") or 0, self.options.get("unix_socket"), deadline)
        with connection:
            yield judged(
                "latency",
                time.monotonic() - began,
                "s",
                self.options.get("latency_warning"),
                self.options.get("latency_critical"),
                what=f"Connecting to {place} took",
            )
            if not self.options["tls"]:
                yield from self._talk(connection, place, deadline)
                return
            with wrap_tls(connection, host, place, self.options, deadline) as encrypted:
                yield from certificate(encrypted, place, self.options)
                yield from self._talk(encrypted, place, deadline)

    def _talk(self, connection: socket.socket, place: str, deadline: Deadline) -> Iterator[Measurement]:
        if self.options.get("send"):
            connection.sendall(self.options["send"].encode())
        expected = (self.options.get("expect") or "").encode()
        if not expected:
            return
        said = b""
        while expected not in said:
            data = receive(connection, 4096, place, deadline)
            said += data
            if not data or len(said) > _MOST_READ:
                raise Unavailable(f"{place} did not say what was expected.")
        yield Measurement("answer", PASS if expected in said else FAIL, "expected")
