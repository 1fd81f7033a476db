# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module `health_check`: from its parameters to a run of checks, and what it returns.

PRIVATE to the collection; may change without notice. `module` is an AnsibleModule or anything that looks like one.
"""

from __future__ import annotations

import socket
import time
from typing import Any

from .._durations import counted
from .._errors import HoldfastError, InvalidOption
from .._host import _paths
from .._run import Module, guarded
from ._document import Known, document, lines, overall
from ._interface import FAIL, PASS, WARN
from ._parse import COMPREHENSIVE, PROFILES, in_profile, parse_checks, secrets_of
from ._runner import run_checks

ARGUMENTS: dict[str, Any] = {
    "checks": {"type": "list", "elements": "dict", "required": True},
    "profile": {"type": "str", "choices": list(PROFILES), "default": COMPREHENSIVE},
    "names": {"type": "list", "elements": "str", "default": []},
    "fail_on": {"type": "str", "choices": ["critical", "warning", "never"], "default": "critical"},
}
_BAD = {"critical": (FAIL,), "warning": (WARN, FAIL), "never": ()}


class Unhealthy(HoldfastError):
    """Checks found what `fail_on` says is a failure."""

    code = "unhealthy"

    def __init__(self, message: str, found: dict[str, Any]) -> None:
        super().__init__(message)
        self.found = found

    def result(self) -> dict[str, Any]:
        return {**super().result(), **self.found}


def run_health_check(module: Module) -> None:
    """Check the parameters, run, and end the module."""
    guarded(module, lambda: _run(module))


def _run(module: Any) -> dict[str, Any]:
    params = module.params
    declared = parse_checks(params["checks"])
    for check in declared:
        # What Ansible shows of the call at -vvv is censored by these; `checks` as a whole is no secret.
        module.no_log_values.update(secrets_of(check).values())
    unknown = [name for name in params["names"] if name not in {check.name for check in declared}]
    if unknown:
        raise InvalidOption(f"No such check is declared: {', '.join(unknown)}.")
    wanted = [
        check
        for check in in_profile(declared, params["profile"])
        if not params["names"] or check.name in params["names"]
    ]
    began = time.monotonic()
    results = run_checks(wanted, "" if module.check_mode else _paths.HEALTH_STATE)
    seconds = time.monotonic() - began
    known = [Known.once(result, check.profiles) for result, check in zip(results, wanted)]
    found = {
        "changed": False,
        "status": overall(known),
        "report": list(lines(known, known, seconds)),
        "document": document(known, socket.gethostname(), time.time()),
    }
    bad = [each for each in known if each.status in _BAD[params["fail_on"]]]
    if bad:
        said = " ".join(f"{each.result.name}: {each.result.output}" for each in bad)
        raise Unhealthy(f"{counted(len(bad), 'check')} of {len(known)} {_are(len(bad))} not {PASS}. {said}", found)
    return found


def _are(number: int) -> str:
    return "is" if number == 1 else "are"
