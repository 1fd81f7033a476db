# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A database of a test's own, and maintenance of it by the modules, over both channels of SQL."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Callable

from .modules import RunningModule, run_module
from .postgres import EmbeddedPostgres

PATIENCE = 60.0
"""Seconds until something that must happen is a failure."""


@dataclass
class Place:
    """A database, and how modules reach it: over TCP on 16 (psycopg), over the socket on others (psql, for root)."""

    server: EmbeddedPostgres
    name: str

    def options(self, **more: Any) -> dict[str, Any]:
        login: dict[str, Any] = {"login_unix_socket": str(self.server.socket_dir), "login_port": self.server.port}
        if self.server.version == 16:
            login = {
                "login_host": "127.0.0.1",
                "login_port": self.server.port,
                "login_password": self.server.password,
            }
        options = {"database": self.name, **login, "bin_dir": str(self.server.bin_dir), **more}
        return {name: value for name, value in options.items() if value is not None}

    def run(self, module: str, *, check: bool = False, **options: Any) -> dict[str, Any]:
        """Run a module to its end; a failure is a failure of the test."""
        result = run_module(module, self.options(**options), check=check)
        assert not result.get("failed"), result
        return result

    def fail(self, module: str, *, check: bool = False, **options: Any) -> dict[str, Any]:
        """Run a module that has to fail."""
        result = run_module(module, self.options(**options), check=check)
        assert result.get("failed"), result
        return result

    def start(self, module: str, **options: Any) -> RunningModule:
        return RunningModule(module, self.options(**options))

    def psql(self, sql: str) -> str:
        return self.server.psql(sql, self.name)

    def value(self, sql: str, parameters: Any = None) -> Any:
        return self.server.value(sql, self.name, parameters)

    def connect(self, autocommit: bool = True, **more: Any) -> Any:
        return self.server.connect(self.name, autocommit, **more)

    def role(self, suffix: str, rights: str = "") -> str:
        """A role that goes with the database."""
        name = f"{self.name}_{suffix}"
        self.server.psql(f'CREATE ROLE "{name}" LOGIN {rights}')
        return name


def codes(result: dict[str, Any]) -> set[str]:
    """The codes of what a module found."""
    return {each["code"] for each in result["findings"]}


def wait_until(true: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, f"not within {PATIENCE:.0f} s: {what}"
        time.sleep(0.05)
