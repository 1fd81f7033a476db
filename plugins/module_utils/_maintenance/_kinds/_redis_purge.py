# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kind `redis_purge`: removes the keys that patterns name.

PRIVATE to the collection; may change without notice.

By SCAN and UNLINK, a few hundred at a time with a pause, so that nobody else waits. Never FLUSHDB. All keys are
counted before the first one goes.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import Any

from ..._deadline import Deadline
from ..._declaration._report import Report
from ..._durations import counted, format_duration, parse_duration
from ..._engines._rd._server import OPTIONS, Server, open_server
from ..._errors import HoldfastError, InvalidOption, OutOfTime, Refused
from ..._progress import Progress
from ..._spec import Spec
from .._interface import Action
from .._rd._names import masked, means_everything
from .._rd._sample import CONTAINER_BATCH, LENGTHS
from .._rd._session import within
from .._rd._walk import Found, Walker, selection_of
from .._section import CODE, COUNT, INFO, WARNING, Column, Finding, Measure, Section, Table, table_of

_RESERVE = 0.5
"""Seconds of a look that are left for the answer."""


class RedisPurge(Action):
    """Keys that are old, or in the way."""

    name = "redis_purge"
    title = "Remove keys of Redis or Valkey by pattern"
    SPEC = Spec(
        {
            **OPTIONS,
            "patterns": {"type": "list", "elements": "str", "required": True},
            "everything": {"type": "bool", "default": False},
            "databases": {"type": "list", "elements": "int", "default": [0]},
            "types": {"type": "list", "elements": "str", "choices": sorted(LENGTHS)},
            "idle_longer_than": {"type": "str"},
            "without_expiry_only": {"type": "bool", "default": False},
            "most": {"type": "int", "default": 100000},
            "batch": {"type": "int", "default": 500},
            "pause": {"type": "float", "default": 0.02},
            "max_runtime": {"type": "str", "default": "10m"},
        },
        mutually_exclusive=[["login_host", "login_unix_socket"], ["login_password", "login_password_file"]],
    )

    @classmethod
    def examine(cls, options: Mapping[str, Any], report: Report) -> None:
        for number, pattern in enumerate(options["patterns"]):
            place = report.key("patterns").index(number)
            if not pattern:
                place.add("is empty")
            elif means_everything(pattern) and not options["everything"]:
                place.add("names every key; if that is meant, set everything: true")
        if not options["patterns"]:
            report.key("patterns").add("must name at least one")
        if not options["databases"] or any(number < 0 for number in options["databases"]):
            report.key("databases").add("must be numbers of databases, from 0")
        for name, least, highest in (("most", 1, None), ("batch", 1, 10000), ("pause", 0, 10)):
            if options[name] < least or (highest is not None and options[name] > highest):
                report.key(name).add(
                    f"must lie between {least} and {highest}" if highest else f"must be at least {least}"
                )
        if options.get("types") is not None and not options["types"]:
            report.key("types").add("names none; leave it out if keys of all types are meant")
        for name in ("idle_longer_than", "max_runtime"):
            try:
                if options.get(name) is not None and not parse_duration(options[name]):
                    report.key(name).add("must be longer than nothing")
            except InvalidOption as error:
                report.key(name).add(error.message)

    def look(self, deadline: Deadline) -> Section:
        server = within(self.options, deadline)
        with contextlib.closing(server):
            self._refuse(server)
            found = self._walker(server).count(lambda: deadline.left() < _RESERVE)
        return self._planned(server, found)

    def act(self, progress: Progress) -> Section:
        limit = parse_duration(self.options["max_runtime"]).total_seconds()
        until = time.monotonic() + limit
        server, removed = open_server(self.options), Found()
        with contextlib.closing(server):
            self._refuse(server)
            walker = self._walker(server)
            progress.stage("count")
            found = walker.count(lambda: time.monotonic() > until)
            if not found.complete:
                raise OutOfTime(
                    f"The keys at {server.where} could not be counted within max_runtime ({limit:g} s). Nothing was "
                    "removed.",
                    stage="count",
                    hint="Raise max_runtime, or name fewer keys.",
                )
            self._refuse_too_many(found, server)
            progress.stage("remove")
            began = time.monotonic()
            try:
                # Not more than were counted: what has come since nobody has agreed to.
                walker.remove(found.total, self.options["pause"], removed, lambda: time.monotonic() > until)
            except HoldfastError as error:
                error.left_behind = f"{removed.total} of {counted(found.total, 'key')} had been removed"
                error.message += f" Until then {error.left_behind}."
                raise error.at("remove") from None
        return self._done(server, found, removed, time.monotonic() - began)

    def _walker(self, server: Server) -> Walker:
        idle = self.options.get("idle_longer_than")
        selection = selection_of(self.options, parse_duration(idle).total_seconds() if idle else 0.0)
        batch = max(self.options["batch"], CONTAINER_BATCH) if server.container else self.options["batch"]
        return Walker(server, selection, sorted(set(self.options["databases"])), batch)

    def _refuse(self, server: Server) -> None:
        """Not a replica, and not a node of a cluster (`state` sees to that): it would hold only a part of the keys."""
        info = server.state().info
        if info.get("role") == "slave":
            raise Refused(
                f"The server at {server.where} is a replica: keys are removed on its primary, "
                f"{info.get('master_host')}:{info.get('master_port')}.",
                stage="preflight",
                hint="Set login_host to the primary; its replicas follow.",
            )

    def _too_many(self, found: Found) -> str:
        most = self.options["most"]
        at_least = "" if found.complete else "at least "
        return f"{at_least}{found.total:,} keys are meant, more than most ({most:,})"

    def _refuse_too_many(self, found: Found, server: Server) -> None:
        if found.total > self.options["most"]:
            raise Refused(
                f"Nothing was removed at {server.where}: {self._too_many(found)}.",
                stage="preflight",
                hint="If they are the right ones, raise most; otherwise make patterns narrower.",
            )

    # -- what is told -----------------------------------------------------------------------------------------------

    @property
    def _meant(self) -> str:
        options = self.options
        words = [f"like {', '.join(map(str, options['patterns']))}"]
        if options.get("types"):
            words.append(f"of type {' or '.join(options['types'])}")
        if options.get("idle_longer_than"):
            words.append(f"idle for {format_duration(parse_duration(options['idle_longer_than']))}")
        if options["without_expiry_only"]:
            words.append("without expiry")
        return ", ".join(words)

    def _planned(self, server: Server, found: Found) -> Section:
        bound = "" if found.complete else "at least "
        findings = []
        if found.total > self.options["most"]:
            findings.append(
                Finding(
                    "too_many",
                    WARNING,
                    f"It would be refused: {self._too_many(found)}.",
                    advice="If they are the right ones, raise most; otherwise make patterns narrower.",
                )
            )
        if not found.complete:
            text = "Not all keys could be looked at in the time; when it acts, all are counted first."
            findings.append(Finding("not_all_counted", INFO, text))
        return self._section(
            server,
            f"Would remove {bound}{counted(found.total, 'key')} {self._meant}.",
            found,
            findings,
            found.total > 0,
            {"planned": found.total, "complete": found.complete, "removed": 0},
        )

    def _done(self, server: Server, found: Found, removed: Found, seconds: float) -> Section:
        findings = []
        if not removed.complete:
            text = "While they were removed, more such keys came; they are left."
            findings.append(Finding("more_came", INFO, text, advice="Run it again if they are meant too."))
        return self._section(
            server,
            f"Removed {counted(removed.total, 'key')} {self._meant}, in {seconds:.1f} s.",
            Found(removed.keys, removed.looked_at, found.sample, True),
            findings,
            removed.total > 0,
            {"planned": found.total, "complete": True, "removed": removed.total, "seconds": round(seconds, 3)},
        )

    def _section(
        self,
        server: Server,
        summary: str,
        found: Found,
        findings: list[Finding],
        changed: bool,
        data: Mapping[str, Any],
    ) -> Section:
        keys = [Column("database", "Database", CODE), Column("keys", "Keys", COUNT)]
        rows = [{"database": number, "keys": count} for number, count in sorted(found.keys.items())]
        names = [{"database": number, "key": masked(name)} for number, name in found.sample]
        tables: list[Table] = [table_of("databases", "Keys by database", keys, rows)]
        if names:
            note = f"{found.total - len(names):,} more are not shown." if found.total > len(names) else ""
            columns = [Column("key", "Key", CODE), Column("database", "Database", CODE)]
            tables.append(table_of("sample", "Some of them", columns, names, note=note))
        return Section(
            title=f"Redis: keys at {server.where}",
            summary=summary,
            findings=findings,
            tables=tables,
            measures=[Measure("keys", "Keys", found.total, COUNT)],
            changed=changed,
            data={**data, "databases": rows, "sample": names},
        )
