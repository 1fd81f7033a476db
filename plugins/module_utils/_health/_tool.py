# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that checks run: as their owner, in their place, with their environment.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .._declaration._report import Report
from .._errors import InvalidOption, MissingDependency, NotFound, PermissionDenied
from .._process import Process, account

OPTIONS: Mapping[str, Any] = {
    "run_as": {"type": "str"},
    "directory": {"type": "path"},
    "environment": {"type": "dict", "default": {}},
    "environment_file": {"type": "path", "no_log": False},
}
"""Who runs a program, where, and with what in its environment. Secrets belong into `environment_file`."""

_MOST_READ = 1 << 20
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET = re.compile(r"PASS|SECRET|TOKEN|KEY|URL|URI|DSN|BROKER|CREDENTIAL", re.IGNORECASE)


def examine_tool(options: Mapping[str, Any], report: Report) -> None:
    """Add what is wrong with OPTIONS."""
    for name in options["environment"]:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            report.key("environment").add("a key is no name of an environment variable")


def run_tool(argv: Sequence[str], options: Mapping[str, Any]) -> tuple[int, str, str]:
    """Run a program to its end, or to that of the check: exit code, the beginning of its output, its redacted errors.

    Raises:
        MissingDependency: there is no such program.
        InvalidOption: nobody is called `run_as`, or a file or directory cannot be read.
    """
    environment, secrets = environment_of(options)
    try:
        process = Process(
            argv,
            env=environment,
            run_as=account(options.get("run_as")),
            cwd=options.get("directory"),
            secrets=secrets,
        )
    except FileNotFoundError as error:
        if error.filename == options.get("directory"):
            raise NotFound(f"The directory {error.filename} does not exist.") from None
        raise MissingDependency(f"The program {argv[0]} was not found on this host.") from None
    except PermissionError:
        who = options.get("run_as") or "us"
        raise PermissionDenied(f"{argv[0]} may not be run by {who}, or the directory not be entered.") from None
    if process.popen.stdout is None:
        raise AssertionError("process.popen.stdout is None")
    out = process.popen.stdout.read(_MOST_READ)
    if len(out) == _MOST_READ:
        process.terminate()  # it has said enough
    return process.wait(), out.decode("utf-8", "replace"), process.stderr


def environment_of(options: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    """The variables of OPTIONS, and which of their values are secrets.

    Raises:
        InvalidOption: `environment_file` cannot be read.
    """
    from_file = _read_environment(options.get("environment_file"))
    declared = {name: str(value) for name, value in (options.get("environment") or {}).items()}
    return {**from_file, **declared}, [value for name, value in from_file.items() if _SECRET.search(name)]


def _read_environment(path: str | None) -> dict[str, str]:
    """The variables of a file as systemd's `EnvironmentFile=` reads it; lines that set nothing are passed over."""
    if not path:
        return {}
    try:
        with open(path, encoding="utf-8") as stream:
            lines = stream.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidOption(f"environment_file {path} cannot be read: {error}.") from None
    found = {}
    for line in lines:
        name, sign, value = line.strip().partition("=")
        name = name.removeprefix("export ").strip()
        if sign and _NAME.fullmatch(name):
            value = value.strip()
            quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
            found[name] = value[1:-1] if quoted else value
    return found
