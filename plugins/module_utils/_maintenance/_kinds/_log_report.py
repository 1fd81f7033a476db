# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kind `log_report`: the errors of logs and of the journal: how many, which, since when, and whether that is usual.

PRIVATE to the collection; may change without notice.

Everything is read from its end, so that the newest is known when time is up.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from ..._deadline import Deadline
from ..._declaration._report import Report
from ..._durations import counted, format_duration, parse_duration
from ..._errors import HoldfastError, InvalidOption
from ..._spec import Spec
from .._interface import Kind
from .._logs._counts import DAY, HOUR, Burst, Counts, Message, bursts
from .._logs._entries import CRITICAL as CRITICAL_ENTRY
from .._logs._entries import ERROR
from .._logs._entries import WARNING as WARNING_ENTRY
from .._logs._files import Finder, LogFile, blocks
from .._logs._journal import Journal
from .._logs._moments import Moments
from .._logs._scan import Scanner
from .._moment import moment
from .._section import (
    BYTES,
    CODE,
    COUNT,
    INFO,
    TEXT,
    TIME,
    WARNING,
    Column,
    Finding,
    Measure,
    Section,
    Table,
    bounded_table,
    table_of,
)

_TOLD = 5
"""Of the same kind of finding, how many stand by themselves."""
_RESERVE = 0.5
"""Seconds of a look that are left for the answer."""
_GRACE = 1.0
"""Seconds beyond its time that a piece is read to its end."""
_HOURS_SHOWN = 48
"""A longer window is shown by days."""
JOURNAL = "journal"


@dataclass
class Source:
    """A log with what it was before its rotation, or a part of the journal.

    Attributes:
        oldest: the first moment that was read, in seconds since 1970.
        complete: everything of the window and of the time before it was read, as far as it exists.
    """

    name: str
    bytes: int = 0
    oldest: float | None = None
    complete: bool = True

    def reached(self, when: float | None) -> None:
        if when is not None:
            self.oldest = when if self.oldest is None else min(when, self.oldest)


class LogReport(Kind):
    """Errors, by what they say."""

    name = "log_report"
    title = "Errors in logs and in the journal"
    SPEC = Spec(
        {
            "files": {"type": "list", "elements": "str", "default": []},
            "rotated": {"type": "bool", "default": True},
            "units": {"type": "list", "elements": "str", "default": []},
            "journal": {"type": "bool", "default": False},
            "since": {"type": "str", "default": "24h"},
            "level": {"type": "str", "choices": [ERROR, WARNING_ENTRY], "default": ERROR},
            "patterns": {"type": "list", "elements": "str", "default": []},
            "ignore": {"type": "list", "elements": "str", "default": []},
            "timezone": {"type": "str"},
            "burst_least": {"type": "int", "default": 20},
            "burst_factor": {"type": "float", "default": 5.0},
            "read_seconds": {"type": "float", "default": 5.0},
            "limit": {"type": "int", "default": 20},
        }
    )

    @classmethod
    def examine(cls, options: Mapping[str, Any], report: Report) -> None:
        if not (options["files"] or options["units"] or options["journal"]):
            report.add("name files or units, or set journal: true")
        _examine_names(options, report)
        try:
            if parse_duration(options["since"]).total_seconds() < HOUR:
                report.key("since").add("must be at least 1h")
        except InvalidOption as error:
            report.key("since").add(error.message)
        for name, least in (("burst_least", 1), ("burst_factor", 1), ("read_seconds", 0.1), ("limit", 1)):
            if options[name] < least:
                report.key(name).add(f"must be at least {least}")

    def look(self, deadline: Deadline) -> Section:
        now = time.time()
        length = parse_duration(self.options["since"]).total_seconds()
        counts = Counts((now - length, now + 60), now - 2 * length)
        moments = Moments(_zone(self.options.get("timezone")), now)
        scanner = Scanner(
            counts,
            moments,
            least=self.options["level"],
            patterns=self._compiled("patterns"),
            ignore=self._compiled("ignore"),
        )
        until = time.monotonic() + min(self.options["read_seconds"], max(0.1, deadline.left() - _RESERVE))
        sources, troubles = self._read(scanner, counts, until)
        found = [*troubles, *self._findings(counts, sources, moments)]
        return self._section(counts, sources, moments, found)

    def _compiled(self, option: str) -> list[re.Pattern[bytes]]:
        return [re.compile(each.encode(), re.MULTILINE) for each in self.options[option]]

    # -- reading ----------------------------------------------------------------------------------------------------

    def _read(self, scanner: Scanner, counts: Counts, until: float) -> tuple[list[Source], list[Finding]]:
        sources: dict[str, Source] = {}
        troubles: list[Finding] = []
        finder = Finder(counts.before, self.options["rotated"])
        with contextlib.closing(finder):
            for pattern in self.options["files"]:
                if not finder.find(pattern):
                    advice = f"ls -ld {pattern}"
                    troubles.append(Finding("no_such_log", WARNING, f"No file fits {pattern}.", pattern, advice))
            troubles += [_unreadable(each.path, f"{each.path} {each.why}.") for each in finder.troubles]
            files = sorted(finder.files, key=lambda file: -file.modified)
            journals: list[list[str] | None] = [list(self.options["units"])] if self.options["units"] else []
            journals += [None] if self.options["journal"] else []
            waiting = len(files) + len(journals)
            for units in journals:
                share = until - (until - time.monotonic()) * (waiting - 1) / waiting
                troubles += self._journal(units, scanner, counts, sources, share)
                waiting -= 1
            for file in files:
                share = until - (until - time.monotonic()) * (waiting - 1) / waiting
                source = sources.setdefault(file.source, Source(file.source))
                try:
                    _read_file(file, source, scanner, counts, share)
                except (OSError, HoldfastError) as error:
                    source.complete = False
                    troubles.append(_unreadable(file.path, f"{file.path} cannot be read: {error}"))
                waiting -= 1
        return list(sources.values()), troubles

    def _journal(
        self, units: list[str] | None, scanner: Scanner, counts: Counts, sources: dict[str, Source], until: float
    ) -> list[Finding]:
        name = f"{JOURNAL} of {', '.join(units)}" if units else JOURNAL
        source = sources.setdefault(name, Source(name))
        journal = Journal(units, scanner)
        try:
            source.complete = journal.read(counts.before, until)
        except HoldfastError as error:
            source.complete = False
            advice = "Run it as root or as a member of the group systemd-journal."
            return [Finding("journal_unreadable", WARNING, f"The journal cannot be read: {error}", name, advice)]
        finally:
            source.bytes += journal.bytes
            source.reached(journal.oldest)
        return []

    # -- findings ---------------------------------------------------------------------------------------------------

    def _findings(self, counts: Counts, sources: list[Source], moments: Moments) -> Iterator[Finding]:
        for source in sources:
            if not source.complete:
                back = f"back to {moment(source.oldest)}" if source.oldest is not None else "in part"
                yield Finding(
                    "not_all_read",
                    WARNING if source.oldest is None or source.oldest > counts.window[0] else INFO,
                    f"{source.name} could only be read {back} in the time there was.",
                    source.name,
                    "Raise read_seconds, or say in ignore what fills it.",
                )
        for burst in self._bursts(counts, sources):
            yield _of_burst(burst, counts)
        common = counts.common()
        new = [each for each in common if self._is_new(each, counts, sources)]
        for message in new[:_TOLD]:
            text = f"New since {moment(message.first or 0)}, {_times(message.count)}: {message.text}"
            yield Finding(
                "new_message", WARNING, text, _where(message), "What changed at that moment? A release, a setting?"
            )
        if len(new) > _TOLD:
            yield Finding("new_message", INFO, f"{counted(len(new) - _TOLD, 'more new message')}: see the table.")
        severe = [each for each in common if each.level == CRITICAL_ENTRY and each not in new]
        for message in severe[:_TOLD]:
            text = f"Critical, {_times(message.count)}: {message.text}"
            yield Finding("critical_message", WARNING, text, _where(message))
        if counts.undated:
            yield Finding(
                "undated",
                INFO,
                f"{counted(counts.undated, 'error')} of files written in this time cannot be dated; they may be older.",
                advice="Let the program write the moment of each line.",
            )

    def _bursts(self, counts: Counts, sources: list[Source]) -> list[Burst]:
        known = [source.oldest for source in sources if source.oldest is not None]
        since = max(counts.before, min(known, default=counts.window[0]))
        options = self.options
        return bursts(counts.hours, since, counts.window, options["burst_least"], options["burst_factor"])

    def _is_new(self, message: Message, counts: Counts, sources: list[Source]) -> bool:
        """Of a log that does not reach back into the time before, nothing can be said."""
        if message.first is None or not counts.is_new(message):
            return False
        middle = (counts.before + counts.window[0]) / 2
        files = {source.name: source for source in sources}
        journals = [source for source in sources if source.name.startswith(JOURNAL)]
        wanted = [files[name] for name in message.sources if name in files] or journals
        return all(source.oldest is not None and source.oldest <= middle for source in wanted)

    # -- what is shown ----------------------------------------------------------------------------------------------

    def _section(self, counts: Counts, sources: list[Source], moments: Moments, found: list[Finding]) -> Section:
        limit, since = self.options["limit"], format_duration(parse_duration(self.options["since"]))
        what = "error" if self.options["level"] == ERROR else "error or warning"
        many = None if what == "error" else "errors and warnings"
        usual = sum(counts.hours.values()) - sum(number for _hour, number in counts.by_hour())
        common = counts.common()
        summary = f"{counted(counts.total, what, many)} in {since}"
        summary += f" ({usual} in the {since} before)" if usual else ""
        if common:
            summary += f"; most common, {_times(common[0].count)}: {common[0].text}"
        zone = self.options.get("timezone") or "this host's own"
        note = f"Moments without a zone were read in {zone} zone." if moments.assumed else ""
        rows = [_row(message, self._is_new(message, counts, sources)) for message in common]
        tables = [
            bounded_table("messages", "Most common messages", _MESSAGES, rows, limit, note=_note(counts), plot="count"),
            _by_time(counts),
            table_of("logs", "What was read", _LOGS, [_log(source) for source in sources], note=note),
        ]
        return Section(
            title=f"Errors in logs: {since}",
            summary=f"{summary}." if not summary.endswith((".", "…")) else summary,
            findings=found,
            tables=tables,
            measures=[Measure("errors", f"Errors in {since}", counts.total, COUNT)],
            data={
                "errors": counts.total,
                "undated": counts.undated,
                "levels": dict(sorted(counts.levels.items())),
                "messages": rows[:limit],
                "hours": [{"hour": moment(hour), "errors": number} for hour, number in counts.by_hour()],
                "logs": [_log(source) for source in sources],
            },
        )


def _examine_names(options: Mapping[str, Any], report: Report) -> None:
    for number, path in enumerate(options["files"]):
        if not path.startswith("/") or "/../" in f"{path}/" or path.endswith("/"):
            report.key("files").index(number).add("must be the absolute path of files, with wildcards or without")
    for number, unit in enumerate(options["units"]):
        if not re.fullmatch(r"[A-Za-z0-9_*?][A-Za-z0-9:_.@*?\\-]{0,254}", unit):
            report.key("units").index(number).add("is not the name of a unit")
    for name in ("patterns", "ignore"):
        for number, pattern in enumerate(options[name]):
            try:
                re.compile(pattern.encode(), re.MULTILINE)
            except re.error:
                report.key(name).index(number).add("is no regular expression of Python")


_MESSAGES = (
    Column("message", "Message", TEXT),
    Column("level", "Level"),
    Column("count", "Times", COUNT),
    Column("new", "New"),
    Column("first", "First", TIME),
    Column("last", "Last", TIME),
    Column("logs", "Where", CODE),
)
_LOGS = (
    Column("log", "Log", CODE),
    Column("bytes", "Read", BYTES),
    Column("oldest", "Back to", TIME),
    Column("complete", "All of the time"),
)


def _read_file(file: LogFile, source: Source, scanner: Scanner, counts: Counts, until: float) -> None:
    for number, data in enumerate(blocks(file, scanner)):
        if number and time.monotonic() > until:
            source.complete = False
            return
        source.bytes += len(data)
        scanner.until, scanner.cut = until + _GRACE, False
        first = scanner.piece(source.name, data)
        source.complete = source.complete and not scanner.cut
        source.reached(first)
        if not file.compressed and first is not None and first < counts.before:
            return


def _zone(name: str | None) -> tzinfo | None:
    """None is this host's own.

    Raises:
        InvalidOption: there is no such zone here.
    """
    if not name:
        return None
    import zoneinfo

    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidOption(
            "timezone is none that this host knows.",
            stage="preflight",
            hint="Such as UTC or Europe/Berlin; Debian's package tzdata brings them.",
        ) from None


def _unreadable(path: str, text: str) -> Finding:
    return Finding("log_unreadable", WARNING, text, path, f"ls -ld {shlex.quote(path)}")


def _of_burst(burst: Burst, counts: Counts) -> Finding:
    length = "an hour" if burst.hours == 1 else f"{burst.hours} hours"
    during = [
        each
        for each in counts.common()
        if each.first is not None and each.last is not None
        if each.first < burst.start + burst.hours * HOUR and each.last >= burst.start
    ]
    mostly = f" The most common message of that time: {during[0].text}" if during else ""
    return Finding(
        "burst",
        WARNING,
        f"{counted(burst.count, 'error')} within {length} from {moment(burst.start)}, where {burst.usual:g} an hour "
        f"{'is' if burst.usual == 1 else 'are'} usual (the median).{mostly}",
        moment(burst.start),
        "Look at the log from that moment on, and at what happened just before it.",
    )


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _where(message: Message) -> str:
    """The log that holds most of it."""
    return max(message.sources, key=lambda name: message.sources[name])


def _row(message: Message, new: bool) -> dict[str, Any]:
    names = sorted(message.sources, key=lambda name: -message.sources[name])
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return {
        "message": message.text,
        "level": message.level,
        "count": message.count,
        "new": "yes" if new else "",
        "first": None if message.first is None else moment(message.first),
        "last": None if message.last is None else moment(message.last),
        "logs": ", ".join(names[:2]) + more,
    }


def _log(source: Source) -> dict[str, Any]:
    return {
        "log": source.name,
        "bytes": source.bytes,
        "oldest": None if source.oldest is None else moment(source.oldest),
        "complete": "yes" if source.complete else "no",
    }


def _note(counts: Counts) -> str:
    note = "Numbers, paths, quoted words, addresses and secrets are replaced."
    if counts.forgotten:
        note += f" {counts.forgotten:,} entries of rare messages are only counted."
    return note


def _by_time(counts: Counts) -> Table:
    hours = list(counts.by_hour())
    if len(hours) <= _HOURS_SHOWN + 1:
        rows = [{"when": moment(hour), "errors": number} for hour, number in hours]
        return table_of("by_time", "Errors by hour", _BY_TIME, rows, plot="errors")
    days: dict[int, int] = {}
    for hour, number in hours:
        days[hour // DAY * DAY] = days.get(hour // DAY * DAY, 0) + number
    rows = [{"when": moment(day), "errors": number} for day, number in sorted(days.items())]
    return table_of("by_time", "Errors by day (UTC)", _BY_TIME, rows, plot="errors")


_BY_TIME = (Column("when", "From", TIME), Column("errors", "Errors", COUNT))
