# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kind `docker_prune`: removes what a Docker engine keeps and nobody uses.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..._deadline import Deadline
from ..._declaration._report import Report
from ..._durations import counted, format_size, parse_duration
from ..._errors import HoldfastError, Interrupted, InvalidOption, NotFound, Refused, ToolFailed
from ..._progress import Progress
from ..._spec import Spec
from ..._system._docker_api import Docker, address
from .._interface import Action
from .._prune._engine import ORDER, Engine
from .._prune._wanted import CONTAINER, DANGLING, NONE, UNUSED, Item, Wanted, means_all
from .._section import BYTES, CODE, INFO, TIME, Column, Finding, Section, Table, bounded_table

_AGES = ("containers_older_than", "networks_older_than", "build_cache_older_than")
_COLUMNS = (
    Column("what", "What"),
    Column("name", "Name", CODE),
    Column("size_bytes", "Size", BYTES),
    Column("since", "Unused since", TIME),
)
_SHARED = "Layers that images share count for each of them."
_LONGEST = 600.0
"""Seconds that the engine gets for one removal: that of a large image or volume takes its time."""


class DockerPrune(Action):
    """Nothing is removed by force: what is in use by then stays, and that is said."""

    name = "docker_prune"
    title = "Unused containers, images, networks, volumes and build cache of Docker"
    SPEC = Spec(
        {
            "containers_older_than": {"type": "str"},
            "images": {"type": "str", "choices": [NONE, DANGLING, UNUSED], "default": NONE},
            "images_older_than": {"type": "str", "default": "7d"},
            "networks_older_than": {"type": "str"},
            "build_cache_older_than": {"type": "str"},
            "volumes": {"type": "list", "elements": "str", "default": []},
            "exclude_labels": {"type": "list", "elements": "str", "default": []},
            "protect": {"type": "list", "elements": "str", "default": []},
            "docker_host": {"type": "str"},
            "limit": {"type": "int", "default": 20},
        }
    )

    @classmethod
    def examine(cls, options: Mapping[str, Any], report: Report) -> None:
        for name in (*_AGES, "images_older_than"):
            if options.get(name) is not None:
                try:
                    parse_duration(options[name])
                except InvalidOption as error:
                    report.key(name).add(error.message)
        for number, pattern in enumerate(options["volumes"]):
            if means_all(pattern):
                report.key("volumes").index(number).add("would be every volume; name some of them")
        if options["images"] == NONE and not options["volumes"] and all(options.get(name) is None for name in _AGES):
            report.add(f"nothing is to be removed; one of {', '.join(_AGES)}, images or volumes is required")
        if options.get("docker_host"):
            try:
                address(options["docker_host"])
            except InvalidOption:
                report.key("docker_host").add("must be unix:///path or tcp://host:port")
        if options["limit"] < 1:
            report.key("limit").add("must be at least 1")

    def look(self, deadline: Deadline) -> Section:
        engine = Engine(Docker(self.options.get("docker_host"), deadline), Wanted.of(self.options))
        attached = engine.attached_volumes()
        planned: list[Item] = []
        for what in ORDER:
            gone = [item.id for item in planned if item.what == CONTAINER]
            planned += engine.candidates(what, attached, gone)
        size = sum(item.size_bytes or 0 for item in planned)
        return Section(
            title="Docker",
            summary=f"Would remove {_named(planned)}, {format_size(size)}." if planned else "Nothing is to be removed.",
            tables=[self._table("plan", "What would be removed", planned)] if planned else [],
            changed=bool(planned),
            data={"objects": [item.as_dict() for item in planned], "skipped": [], "size_bytes": size},
        )

    def act(self, progress: Progress) -> Section:
        # What some container has now stays, even if that container goes.
        attached = self._engine().attached_volumes()
        removed: list[Item] = []
        skipped: list[tuple[Item, str]] = []
        failed: list[tuple[Item, HoldfastError]] = []
        size = 0
        try:
            for what in ORDER:
                found = self._engine().candidates(what, attached)
                progress.stage(f"remove {what}", len(found))
                for item in found:
                    try:
                        size += self._engine().remove(item)
                        removed.append(item)
                    except NotFound:
                        skipped.append((item, "somebody else has removed it"))
                    except Refused as error:
                        skipped.append((item, error.message))
                    except Interrupted:
                        raise
                    except HoldfastError as error:
                        failed.append((item, error))
                    progress.add(1)
        except HoldfastError as error:
            error.left_behind = f"{_named(removed)} had been removed before" if removed else None
            raise
        if failed:
            item, first = failed[0]
            raise ToolFailed(
                f"{len(failed)} of {len(failed) + len(removed)} could not be removed, first {item.what} {item.name}.",
                tool_output=str(first),
                hint=f"Removed were {_named(removed)}, {format_size(size)}." if removed else None,
            )
        return self._done(removed, skipped, size)

    def _engine(self) -> Engine:
        """With a deadline of its own: a prune may take as long as it takes, one answer may not."""
        return Engine(Docker(self.options.get("docker_host"), Deadline(_LONGEST)), Wanted.of(self.options))

    def _done(self, removed: Sequence[Item], skipped: Sequence[tuple[Item, str]], size: int) -> Section:
        findings = [
            Finding("skipped", INFO, f"The {item.what} {item.name} stays: {why.rstrip('.')}.", item.name)
            for item, why in skipped
        ]
        return Section(
            title="Docker",
            summary=f"Removed {_named(removed)}, {format_size(size)}." if removed else "Nothing was to be removed.",
            findings=findings[: self.options["limit"]],
            tables=[self._table("removed", "What was removed", removed)] if removed else [],
            changed=bool(removed),
            data={
                "objects": [item.as_dict() for item in removed],
                "skipped": [{**item.as_dict(), "reason": why} for item, why in skipped],
                "size_bytes": size,
            },
        )

    def _table(self, name: str, title: str, items: Sequence[Item]) -> Table:
        rows = [item.as_dict() for item in sorted(items, key=lambda item: -(item.size_bytes or 0))]
        return bounded_table(name, title, _COLUMNS, rows, self.options["limit"], note=_SHARED, plot="size_bytes")


def _named(items: Sequence[Item]) -> str:
    """How many of each: `2 containers, 1 image`."""
    parts = []
    for what in ORDER:
        number = sum(item.entries for item in items if item.what == what)
        if number:
            plural = "entries of build cache" if what == "build cache" else None
            parts.append(counted(number, "entry of build cache" if plural else what, plural))
    return ", ".join(parts)
