# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check kind `process`: programs run, and as often as they should.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..._deadline import Deadline
from ..._declaration._report import Report
from ..._errors import InvalidOption
from ..._spec import Spec
from .._interface import FAIL, PASS, Kind, Measurement

_LONGEST_NAME = 15
"""The kernel keeps no more of a process's name."""


class ProcessCheck(Kind):
    """Counts the processes of this host by name, command line and user."""

    name = "process"
    component_type = "system"
    SPEC = Spec(
        {
            "process": {"type": "str"},
            "matches": {"type": "str"},
            "user": {"type": "str"},
            "minimum": {"type": "int", "default": 1},
            "maximum": {"type": "int"},
        },
        required_one_of=[["process", "matches"]],
    )

    @classmethod
    def examine(cls, options: Mapping[str, Any], report: Report) -> None:
        if options.get("matches") is not None:
            try:
                re.compile(options["matches"])
            except re.error:
                report.key("matches").add("is no regular expression")
        if options["minimum"] < 0:
            report.key("minimum").add("is negative")
        if options.get("maximum") is not None and options["maximum"] < options["minimum"]:
            report.key("maximum").add("is below minimum")

    def run(self, deadline: Deadline) -> Iterator[Measurement]:
        count = sum(1 for _pid in self._found())
        minimum, maximum = self.options["minimum"], self.options.get("maximum")
        good = count >= minimum and (maximum is None or count <= maximum)
        wanted = f"at least {minimum}" if maximum is None else f"{minimum} to {maximum}"
        what = self.options.get("process") or self.options["matches"]
        output = "" if good else f"{count} processes of {what} run, and not {wanted}."
        yield Measurement("count", PASS if good else FAIL, count, "", output)

    def _found(self) -> Iterator[int]:
        uid = self._uid()
        name, pattern = self.options.get("process"), self.options.get("matches")
        ours = {os.getpid(), os.getppid()}  # a pattern would find itself in our own arguments
        for entry in os.listdir("/proc"):
            if not entry.isdigit() or int(entry) in ours:
                continue
            with contextlib.suppress(OSError):  # it ended meanwhile
                if uid is not None and os.stat(f"/proc/{entry}").st_uid != uid:
                    continue
                if name is not None and _read(f"/proc/{entry}/comm").rstrip("\n") != name[:_LONGEST_NAME]:
                    continue
                words = _read(f"/proc/{entry}/cmdline").replace("\0", " ").strip()
                if pattern is None or re.search(pattern, words):
                    yield int(entry)

    def _uid(self) -> int | None:
        if not self.options.get("user"):
            return None
        try:
            return pwd.getpwnam(self.options["user"]).pw_uid
        except KeyError:
            raise InvalidOption(f"The user {self.options['user']} does not exist on this host.") from None


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as stream:
        return stream.read()
