# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host does by the age of files: declared on the controller, written to the host, read there.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._declaration._report import InvalidDeclaration
from .._host._config import read_config
from ._cleanups import Cleanup, parse_cleanups
from ._logs import Log, parse_logs

CONFIG = "/etc/holdfast/upkeep.json"


@dataclass(frozen=True)
class Upkeep:
    """The declared logs and cleanups, in their order."""

    logs: tuple[Log, ...] = ()
    cleanups: tuple[Cleanup, ...] = ()

    def as_config(self) -> dict[str, Any]:
        """Plain values for JSON, which `from_config` reads back. There is no secret among them."""
        return {
            "logs": [each.as_config() for each in self.logs],
            "cleanups": [each.as_config() for each in self.cleanups],
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Upkeep:
        """Read what `as_config` gave; judged again, because a file lay between.

        Raises:
            InvalidDeclaration: it is damaged, or of another version with other options.
        """
        return parse_upkeep(config.get("logs"), config.get("cleanups"))


def parse_upkeep(logs: Any, cleanups: Any, *, precious: Sequence[str] = ()) -> Upkeep:
    """Check `holdfast_logs` and `holdfast_cleanups`.

    Args:
        logs: the variable, templated; None when it is not declared.
        cleanups: the same.
        precious: absolute paths that no cleanup may reach, such as local repositories.

    Raises:
        InvalidDeclaration: with every problem of both, a line each; no value is repeated.
    """
    problems: list[str] = []
    parsed_logs: tuple[Log, ...] = ()
    parsed_cleanups: tuple[Cleanup, ...] = ()
    try:
        parsed_logs = parse_logs(logs)
    except InvalidDeclaration as error:
        problems += error.problems
    try:
        parsed_cleanups = parse_cleanups(cleanups, precious=precious)
    except InvalidDeclaration as error:
        problems += error.problems
    if problems:
        raise InvalidDeclaration(problems)
    return Upkeep(parsed_logs, parsed_cleanups)


def load(path: str = CONFIG) -> Upkeep:
    """What is declared for this host; nothing where the file is missing, because then nothing was declared.

    Raises:
        InvalidOption: the file cannot be read.
        InvalidDeclaration: it is not what holdfast writes.
    """
    config = read_config(path)
    return Upkeep() if config is None else Upkeep.from_config(config)


def dump(upkeep: Upkeep) -> str:
    """The content of that file."""
    return json.dumps(upkeep.as_config(), indent=2, sort_keys=True) + "\n"
