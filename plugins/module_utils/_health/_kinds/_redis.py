# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check kind `redis`: Redis or Valkey answers, has room, and is replicated and persisted as it should be.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from ..._deadline import Deadline
from ..._declaration._report import Report
from ..._engines._rd._client import Address, Client
from ..._engines._rd._server import OPTIONS
from ..._errors import ToolFailed
from ..._limits import examine_limits, limits
from ..._secret_files import secret
from ..._spec import Spec
from .._connect import certificate, examine_port, tls_context
from .._interface import FAIL, PASS, WARN, Kind, Measurement
from .._thresholds import judged

PRIMARY, REPLICA = "primary", "replica"
_NOT_HERE = frozenset({"container", "bin_dir", "connect_timeout"})


class RedisCheck(Kind):
    """PING and INFO, as a user that may do no more than that."""

    name = "redis"
    component_type = "datastore"
    SPEC = Spec(
        {
            **{name: option for name, option in OPTIONS.items() if name not in _NOT_HERE},
            **limits("certificate", 21, 7),
            **limits("latency"),
            **limits("memory", 80, 95),
            **limits("clients", 80, 95),
            "role": {"type": "str", "choices": [PRIMARY, REPLICA]},
            "replicas": {"type": "int", "default": 0},
            **limits("replication_lag", 30, 300),
        },
        mutually_exclusive=[["login_host", "login_unix_socket"], ["login_password", "login_password_file"]],
        required_by={"client_key": ["client_cert"]},
    )

    @classmethod
    def examine(cls, options: Mapping[str, Any], report: Report) -> None:
        examine_port(options, report, "login_port")
        examine_limits(options, report, "certificate", falling=True)
        examine_limits(options, report, "latency", "replication_lag")
        examine_limits(options, report, "memory", "clients", maximum=100)
        if options["replicas"] < 0:
            report.key("replicas").add("is negative")

    @classmethod
    def preload(cls, options: Mapping[str, Any]) -> None:
        if options["tls"]:
            tls_context({"validate_certs": False})

    def run(self, deadline: Deadline) -> Iterator[Measurement]:
        began = time.monotonic()
        with Client(self._address(deadline)) as client:
            if client.command("PING") != b"PONG":
                raise ToolFailed(f"{client.where} did not answer PING.")
            yield judged(
                "latency",
                time.monotonic() - began,
                "s",
                self.options.get("latency_warning"),
                self.options.get("latency_critical"),
                what=f"Redis ({client.where}) answered after",
            )
            if self.options["tls"]:
                yield from certificate(client.connection, client.where, self.options)
            yield from self._look(_parse_info(client.command("INFO").decode("utf-8", "replace")))

    def _address(self, deadline: Deadline) -> Address:
        options = self.options
        return Address(
            host=options.get("login_host") or "127.0.0.1",
            port=options.get("login_port") or 6379,
            unix_socket=options.get("login_unix_socket"),
            user=options.get("login_user"),
            password=secret(options, "login_password"),
            tls=options["tls"],
            verify=options["validate_certs"],
            ca_cert=options.get("ca_cert"),
            client_cert=options.get("client_cert"),
            client_key=options.get("client_key"),
            timeout=deadline.remaining(),
        )

    def _look(self, info: Mapping[str, str]) -> Iterator[Measurement]:
        if info.get("loading", "0") != "0":
            yield Measurement("loading", WARN, True, "", "The server is still loading its data.")
        most = int(info.get("maxmemory", 0))
        if most:  # without a limit the host's own memory is the limit, and a check of its own
            yield self._percent("memory", int(info["used_memory"]), most, "Of maxmemory is used:")
        most = int(info.get("maxclients", 0))
        if most:
            yield self._percent("clients", int(info["connected_clients"]), most, "Of maxclients are connected:")
        yield from self._persistence(info)
        yield from self._replication(info)

    def _percent(self, name: str, part: int, whole: int, what: str) -> Measurement:
        warning, critical = self.options[f"{name}_warning"], self.options[f"{name}_critical"]
        return judged(name, 100 * part / whole, "%", warning, critical, what=what)

    def _persistence(self, info: Mapping[str, str]) -> Iterator[Measurement]:
        for field, what in (("rdb_last_bgsave_status", "snapshot"), ("aof_last_write_status", "write to the AOF")):
            if field in info:
                good = info[field] == "ok"
                output = "" if good else f"The last {what} failed."
                yield Measurement(field, PASS if good else FAIL, info[field], "", output)

    def _replication(self, info: Mapping[str, str]) -> Iterator[Measurement]:
        role = PRIMARY if info.get("role") == "master" else REPLICA
        wanted = self.options.get("role")
        output = f"The server is a {role} and should be a {wanted}." if wanted and role != wanted else ""
        yield Measurement("role", FAIL if output else PASS, role, "", output)
        if role == REPLICA:
            link = info.get("master_link_status", "unknown")
            output = "" if link == "up" else f"The link to the primary is {link}."
            yield Measurement("replication_link", PASS if link == "up" else FAIL, link, "", output)
            silent = float(info.get("master_last_io_seconds_ago", -1))
            if silent >= 0:
                yield judged(
                    "replication_lag",
                    silent,
                    "s",
                    self.options["replication_lag_warning"],
                    self.options["replication_lag_critical"],
                    what="The primary was last heard of before",
                )
        elif self.options["replicas"]:
            online = sum("state=online" in value for name, value in info.items() if name.startswith("slave"))
            enough = online >= self.options["replicas"]
            output = "" if enough else f"{online} of {self.options['replicas']} replicas are connected."
            yield Measurement("replicas", PASS if enough else FAIL, online, "", output)


def _parse_info(text: str) -> dict[str, str]:
    pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line and not line.startswith("#"))
    return {line[0]: line[1] for line in pairs}
