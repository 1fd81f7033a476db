# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check kind `python`: what an application imports can be imported.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..._deadline import Deadline
from ..._declaration._report import Report
from ..._spec import Spec
from .. import _tool
from .._interface import FAIL, PASS, WARN, Kind, Measurement

_MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")

# A line for each module as soon as it is known: one that crashes the interpreter takes only the later ones along.
# What a module prints when it is imported goes to stderr.
_SCRIPT = """
import importlib, json, os, sys
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
for name in sys.argv[1:]:
    print(json.dumps({"module": name, "begun": True}), file=answers, flush=True)
    try:
        importlib.import_module(name)
        error = ""
    except BaseException as failure:
        error = f"{type(failure).__name__}: {failure}"
    print(json.dumps({"module": name, "error": error}), file=answers, flush=True)
"""


class PythonCheck(Kind):
    """Imports really, in the application's own interpreter and as its user: what is installed may still be broken."""

    name = "python"
    SPEC = Spec(
        {
            "interpreter": {"type": "path", "required": True},
            "modules": {"type": "list", "elements": "str", "default": []},
            "optional": {"type": "list", "elements": "str", "default": []},
            **_tool.OPTIONS,
        }
    )

    @classmethod
    def examine(cls, options: Mapping[str, Any], report: Report) -> None:
        _tool.examine_tool(options, report)
        for key in ("modules", "optional"):
            for number, name in enumerate(options[key]):
                if not _MODULE.fullmatch(name):
                    report.key(key).index(number).add("is no name of a module")
        if not options["modules"] and not options["optional"]:
            report.add("modules or optional is required")

    def run(self, deadline: Deadline) -> Iterator[Measurement]:
        wanted = [*self.options["modules"], *self.options["optional"]]
        code, out, said = _tool.run_tool([self.options["interpreter"], "-c", _SCRIPT, *wanted], self.options)
        found: dict[str, str] = {}
        for line in out.splitlines():
            answer = json.loads(line)
            found[answer["module"]] = answer.get("error", f"the interpreter died ({code}) while it was imported")
        last = (said.strip().splitlines() or [f"exit status {code}"])[-1]
        for name in wanted:
            error = found.get(name, f"the interpreter died before ({last})")
            bad = FAIL if name in self.options["modules"] else WARN
            output = f"The module {name} cannot be imported: {error}." if error else ""
            yield Measurement("import", bad if error else PASS, not error, "", output, name)
