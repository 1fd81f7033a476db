# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two small kinds of maintenance that really look at a directory and really remove files, and need no server."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Any

from ansible_collections.holdfast.ops.plugins.module_utils._deadline import Deadline
from ansible_collections.holdfast.ops.plugins.module_utils._declaration._report import Report
from ansible_collections.holdfast.ops.plugins.module_utils._errors import NotFound
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._interface import Action, Kind
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._section import (
    WARNING,
    Column,
    Finding,
    Measure,
    Section,
    table_of,
)
from ansible_collections.holdfast.ops.plugins.module_utils._progress import Progress
from ansible_collections.holdfast.ops.plugins.module_utils._spec import Spec

OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "directory": {"type": "path", "required": True},
    "suffix": {"type": "str", "default": ".old"},
    "least": {"type": "bytes"},
    "password": {"type": "str", "no_log": True},
    "password_file": {"type": "path"},
}


def files_of(options: Mapping[str, Any]) -> list[tuple[str, int]]:
    try:
        with os.scandir(options["directory"]) as entries:
            found = [(one.name, one.stat().st_size) for one in entries if one.name.endswith(options["suffix"])]
    except FileNotFoundError:
        raise NotFound(
            f"There is no {options['directory']}; the password is {options['password']}.", hint="Make it."
        ) from None
    return sorted(one for one in found if one[1] >= (options["least"] or 0))


class OldFiles(Kind):
    name = "old_files_report"
    title = "Old files"
    SPEC = Spec(OPTIONS)

    @classmethod
    def examine(cls, options: Mapping[str, Any], report: Report) -> None:
        if not options["suffix"].startswith("."):
            report.key("suffix").add("must begin with a dot")

    def look(self, deadline: Deadline) -> Section:
        files = files_of(self.options)
        findings = [Finding("old_file", WARNING, f"{name} is old.", name, f"rm {name}") for name, _size in files]
        columns = (Column("name", "File"), Column("size", "Size", "bytes"))
        table = table_of("files", "Old files", columns, [{"name": name, "size": size} for name, size in files])
        measures = (Measure("files", "Old files", len(files)),)
        return Section(f"Files in {self.options['directory']}", f"{len(files)} old.", findings, (table,), measures)


class RemoveFiles(Action):
    name = "old_files_removal"
    title = "Removal of old files"
    SPEC = Spec(OPTIONS)

    def look(self, deadline: Deadline) -> Section:
        count = len(files_of(self.options))
        return Section(f"Files in {self.options['directory']}", f"Would remove {count}.", changed=bool(count))

    def act(self, progress: Progress) -> Section:
        files = files_of(self.options)
        for name, _size in files:
            os.unlink(os.path.join(self.options["directory"], name))
        return Section(f"Files in {self.options['directory']}", f"Removed {len(files)}.", changed=bool(files))


class Stuck(Kind):
    """Waits until the test lets it go, whatever the deadline says."""

    name = "stuck_report"
    title = "Stuck"
    SPEC = Spec()
    released = threading.Event()

    def look(self, deadline: Deadline) -> Section:
        self.released.wait(60)
        return Section("Stuck", "It came after all.")


class Broken(Kind):
    """Has a defect."""

    name = "broken_report"
    title = "Broken"
    SPEC = Spec({"how": {"type": "str", "default": "raises"}})

    def look(self, deadline: Deadline) -> Section:
        if self.options["how"] == "raises":
            raise ZeroDivisionError("by nothing")
        return Section("Broken", "odd", measures=(Measure("odd", "Odd", object()),))  # type: ignore[arg-type]


KINDS: dict[str, type[Kind]] = {kind.name: kind for kind in (OldFiles, RemoveFiles, Stuck, Broken)}
