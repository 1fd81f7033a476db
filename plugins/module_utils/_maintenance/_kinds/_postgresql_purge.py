# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action `postgresql_purge`: delete rows that are older than declared, counted first, in short transactions.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..._deadline import Deadline
from ..._declaration._report import Report
from ..._durations import roughly
from ..._engines._pg._leftovers import lock_key
from ..._engines._pg._sql import Session, identifier, literal
from ..._errors import HoldfastError, InvalidOption, Locked, NotFound, OutOfTime, failures_ignored
from ..._progress import Progress
from ..._spec import Spec
from .._interface import Action
from .._pg._login import LOGIN_SPEC, examine_login, limit, opened
from .._pg._options import MAX_RUNTIME, examine_at_least, examine_duration, seconds_of
from .._pg._purge_archive import FileArchive, load_command, open_archives, settle
from .._pg._purge_plan import (
    COUNT_SECONDS,
    MANY_ROWS,
    Count,
    check,
    clocks_apart,
    count,
    counted_rows,
    notes,
    refuse,
    refused_findings,
)
from .._pg._purge_run import MOST_ROWS, Purge, Purged
from .._pg._purge_target import (
    TABLE_OPTIONS,
    Target,
    declared_tables,
    examine_table,
    find,
    lossy,
    names_of,
    purged_before,
    resolve,
)
from .._section import COUNT, INFO, SECONDS, TIME, WARNING, Column, Finding, Section, table_of

CATALOGUE_SECONDS = 10.0
"""How long a question about the catalogue may take."""

TAKEOVER_SECONDS = 8.0
"""How long a run waits for one that was killed: its last transaction is ended by the server within five."""

_COLUMNS = (
    Column("table", "Table"),
    Column("column", "Age by"),
    Column("cutoff", "Older than"),
    Column("oldest", "Oldest", TIME),
    Column("rows", "Old rows", COUNT),
    Column("deleted", "Deleted", COUNT),
    Column("remaining", "Left", COUNT),
    Column("batches", "Batches", COUNT),
    Column("longest", "Longest transaction", SECONDS),
    Column("archive", "Archive"),
)


@dataclass
class _Work:
    """One table of the plan, and what was done with it."""

    target: Target
    count: Count
    archive_table: tuple[str, str] | None
    done: Purged = field(default_factory=Purged)
    archive: str = ""
    load: str = ""
    remaining: int | None = None

    def as_dict(self) -> dict[str, Any]:
        return {
            **self.count.as_dict(),
            "deleted": self.done.deleted,
            "remaining": self.remaining,
            "batches": self.done.batches,
            "complete": self.done.complete,
            "longest": round(self.done.longest, 3),
            "archive": self.archive,
            "load": self.load,
        }


class PostgresqlPurge(Action):
    """Table after table in the order given; each transaction is short, and what is committed stays done."""

    name = "postgresql_purge"
    title = "Deleting old rows of PostgreSQL"
    SPEC = LOGIN_SPEC + Spec(
        {
            **TABLE_OPTIONS,
            "tables": {
                "type": "list",
                "elements": "dict",
                "options": {
                    **TABLE_OPTIONS,
                    **{name: {"type": "str", "required": True} for name in ("table", "column")},
                },
            },
            "older_than": {"type": "str", "required": True},
            "cascade": {"type": "bool", "default": False},
            "archive_directory": {"type": "path"},
            "most": {"type": "int", "default": 1_000_000},
            "batch_size": {"type": "int", "default": 100},
            "pause": {"type": "float", "default": 0.1},
            **MAX_RUNTIME,
        },
        mutually_exclusive=[["table", "tables"], ["column", "tables"], ["archive_table", "archive_directory"]],
        required_one_of=[["table", "tables"]],
        required_by={"table": ["column"]},
    )

    @classmethod
    def examine(cls, options: Mapping[str, Any], report: Report) -> None:
        examine_login(options, report)
        if options.get("tables") is not None:
            if not options["tables"]:
                report.key("tables").add("names none")
            for name in ("where", "condition", "archive_table"):
                if options.get(name):
                    report.key(name).add("belongs to each of tables, not beside them")
            for number, each in enumerate(options["tables"]):
                place = report.key("tables").index(number)
                examine_table(each, place)
                if each.get("archive_table") and options.get("archive_directory"):
                    place.key("archive_table").add("and archive_directory exclude each other")
            examine_duration(options, "older_than", report)
        else:
            examine_table(options, report)
        examine_duration(options, "max_runtime", report)
        examine_at_least(options, 1, report, "most", "batch_size")
        examine_at_least(options, 0, report, "pause")
        if options["batch_size"] > MOST_ROWS:
            report.key("batch_size").add(f"must be at most {MOST_ROWS}")
        directory = options.get("archive_directory")
        if directory is not None and not str(directory).startswith("/"):
            report.key("archive_directory").add("must be absolute")

    @classmethod
    def written(cls, options: Mapping[str, Any]) -> Sequence[str]:
        return [str(options["archive_directory"])] if options.get("archive_directory") else []

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        self._findings: list[Finding] = []
        self._doubts: list[str] = []

    # -- looking ------------------------------------------------------------------------------------------------

    def look(self, deadline: Deadline) -> Section:
        with opened(self.options, "maintenance", deadline.remaining("connecting")) as session:
            works = self._plan(session, deadline)
        self._findings += refused_findings(self._reasons(works))
        return self._section(works, planned=True, seconds=0.0)

    def _plan(self, session: Session, deadline: Deadline | None = None) -> list[_Work]:
        """Every table, looked up and counted."""
        self._findings = []
        limit(session, COUNT_SECONDS)
        self._doubts = clocks_apart(session, CATALOGUE_SECONDS)
        targets = []
        for declared in declared_tables(self.options):
            target = resolve(session, declared, CATALOGUE_SECONDS)
            archived = bool(declared.archive_table or self.options.get("archive_directory"))
            targets.append(target.guarded(bool(self.options["cascade"]), archived))
        twice = {each.title for each in targets if sum(each.oid == other.oid for other in targets) > 1}
        works = []
        for number, target in enumerate(targets):
            archive = self._archive_table(session, target)
            # What comes before it in the list is gone by then; so is what of the table itself is meant.
            purged = purged_before(targets[: number + 1])
            left = deadline.remaining("counting") - 0.5 if deadline else 60.0
            counted = count(session, target, purged, max(0.5, left / (len(targets) - number)))
            works.append(_Work(target, counted, archive))
            limit(session, COUNT_SECONDS)
            self._findings += notes(counted)
        if twice:
            self._findings.append(
                Finding(
                    "counted_twice",
                    INFO,
                    f"{', '.join(sorted(twice))} is declared more than once: rows that are meant twice count twice.",
                )
            )
        return works

    def _archive_table(self, session: Session, target: Target) -> tuple[str, str] | None:
        """The table that takes the rows; it may be one that is still to be made."""
        text = target.declared.archive_table
        if not text:
            return None
        row = find(session, text, "archive_table", CATALOGUE_SECONDS)
        if row is None:
            *schemas, name = names_of(text, "archive_table")
            schema = schemas[0] if schemas else target.schema
            if session.value(f"SELECT to_regnamespace({literal(identifier(schema))}) IS NULL AS missing"):
                raise NotFound(
                    f"There is no schema {schema!r} for archive_table {text!r}.",
                    stage="preflight",
                    hint=f"Make it: CREATE SCHEMA {identifier(schema)}",
                )
            return (schema, name)
        if row["kind"] not in "rp" or row["oid"] in {target.oid, *(leaf.oid for leaf in target.leaves)}:
            raise InvalidOption(
                f"archive_table {text!r} is no table of its own that could take rows of {target.title}.",
                stage="preflight",
            )
        lacking = set(target.columns) - {str(column["name"]) for column in row["columns"] or ()}
        if lacking:
            raise InvalidOption(
                f"archive_table {text!r} lacks columns of {target.title}: {', '.join(sorted(lacking))}.",
                stage="preflight",
                hint="Add them (ALTER TABLE), or name another table.",
            )
        self._refuse_loss(session, target, row)
        return (str(row["schema"]), str(row["name"]))

    def _refuse_loss(self, session: Session, target: Target, archive: Mapping[str, Any]) -> None:
        """Refuse an archive that would not hold what it takes."""
        text = target.declared.archive_table
        if archive["unlogged"]:
            raise InvalidOption(
                f"archive_table {text!r} is UNLOGGED: after a crash the server empties it.",
                stage="preflight",
                hint=f"ALTER TABLE {identifier(archive['schema'], archive['name'])} SET LOGGED",
            )
        source = find(session, identifier(target.schema, target.name), "table", CATALOGUE_SECONDS) or {}
        changed = lossy(source.get("columns") or (), archive["columns"])
        if changed:
            raise InvalidOption(
                f"archive_table {text!r} has columns of other types, which may round or cut: {', '.join(changed)}.",
                stage="preflight",
                hint="Give them the type of the table's column or text (ALTER TABLE), or name another table.",
            )

    def _reasons(self, works: list[_Work]) -> list[str]:
        files = bool(self.options.get("archive_directory"))
        archived = {work.target.title: files or work.archive_table is not None for work in works}
        counts = [work.count for work in works]
        return self._doubts + check(counts, int(self.options["most"]), bool(self.options["cascade"]), archived)

    # -- acting -------------------------------------------------------------------------------------------------

    def act(self, progress: Progress) -> Section:
        began = time.monotonic()
        deadline = Deadline(seconds_of(self.options, "max_runtime"))
        directory = self.options.get("archive_directory")
        if directory:
            open_archives(str(directory))
        with opened(self.options, "purge") as session, contextlib.ExitStack() as stack:
            progress.stage("count")
            works = self._plan(session)
            refuse(self._reasons(works))
            for work in works:
                stack.enter_context(_held(session, work.target))
            try:
                most = int(self.options["most"])
                for work in works:
                    progress.stage(f"purge {work.target.title}", total=work.count.rows)
                    self._purge(session, work, most, deadline, progress)
                    most -= work.done.deleted
            except HoldfastError as error:
                deleted = sum(work.done.deleted for work in works)
                error.message += f" Until then {counted_rows(deleted)} had been deleted."
                raise
            for work in works:
                with failures_ignored():  # what was done is done, whatever can be counted now
                    self._look_again(session, work)
        section = self._section(works, planned=False, seconds=time.monotonic() - began)
        incomplete = [work.target.title for work in works if not work.done.complete]
        if incomplete and self.options["fail_when_incomplete"]:
            raise OutOfTime(
                f"max_runtime ({self.options['max_runtime']}) did not suffice for {', '.join(incomplete)}."
                f" {section.summary}",
                stage="purge",
                hint="Run it again, which goes on where it stopped; or raise max_runtime.",
            )
        return section

    def _purge(self, session: Session, work: _Work, most: int, deadline: Deadline, progress: Progress) -> None:
        directory = self.options.get("archive_directory")
        archive = None
        limit(session, COUNT_SECONDS)
        if directory:
            for sentence in settle(str(directory), session, work.target, CATALOGUE_SECONDS):
                self._findings.append(Finding("settled", INFO, sentence, subject=work.target.title))
            archive = FileArchive(str(directory), session, work.target, CATALOGUE_SECONDS)
        if work.archive_table:
            work.archive = ".".join(work.archive_table)
            self._make_archive_table(session, work)
        purge = Purge(
            session,
            work.target,
            archive_table=work.archive_table,
            archive=archive,
            batch_size=int(self.options["batch_size"]),
            most=most,
            pause=float(self.options["pause"]),
            deadline=deadline,
            tell=progress.add,
        )
        work.done = purge.done
        try:
            purge.run()
        finally:
            if archive:
                archive.finish()
                work.archive = archive.path
        if archive and archive.path:
            work.load = load_command(work.target, str(self.options["database"]), archive.path)

    def _make_archive_table(self, session: Session, work: _Work) -> None:
        """Make the archive where it is missing: the columns that hold a value, without constraints and defaults."""
        if work.archive_table is None or not work.count.rows:
            return
        name = identifier(*work.archive_table)
        if session.value(f"SELECT to_regclass({literal(name)}) IS NULL AS missing", CATALOGUE_SECONDS):
            columns = ", ".join(identifier(each) for each in work.target.columns)
            session.execute(f"CREATE TABLE {name} AS SELECT {columns} FROM {work.target.sql} WITH NO DATA")
            self._findings.append(
                Finding(
                    "archive_made",
                    INFO,
                    f"The table {work.archive} was made for rows of {work.target.title}.",
                    subject=work.archive,
                    advice="Only its owner may read it; GRANT SELECT to whoever should.",
                )
            )

    def _look_again(self, session: Session, work: _Work) -> None:
        """Count what is left, and say what a person should do next."""
        target = work.target
        if work.done.complete and not work.done.deleted and work.count.exact and not work.count.rows:
            work.remaining = 0
            return
        after = count(session, target, {}, COUNT_SECONDS * 2)
        work.remaining = after.rows if after.exact else None
        if work.done.kept:
            triggers = ", ".join(target.triggers) or "a foreign key that came in between"
            self._findings.append(
                Finding(
                    "rows_kept",
                    WARNING,
                    f"{counted_rows(work.done.kept)} of {target.title} were still there after they were deleted.",
                    subject=target.title,
                    advice=f"Look at what keeps them: {triggers}.",
                )
            )
        elif work.done.complete and work.remaining:
            self._findings.append(
                Finding(
                    "rows_left",
                    INFO,
                    f"{counted_rows(work.remaining)} of {target.title} are left: other sessions had locked them, or"
                    " they were made in the meantime.",
                    subject=target.title,
                    advice="The next run takes them.",
                )
            )
        if not work.done.complete:
            self._findings.append(
                Finding(
                    "no_time_left",
                    WARNING,
                    f"max_runtime ({self.options['max_runtime']}) did not suffice for {target.title}.",
                    subject=target.title,
                    advice="The next run goes on where this one stopped.",
                )
            )
        if work.done.deleted >= min(MANY_ROWS, max(1000, target.estimate // 10)):
            self._findings.append(
                Finding(
                    "vacuum",
                    INFO,
                    f"{counted_rows(work.done.deleted)} were deleted from {target.title}; their room can be used again"
                    " after VACUUM.",
                    subject=target.title,
                    advice=f"Autovacuum does it; at once: `VACUUM (ANALYZE) {target.title}`, or postgresql_vacuum.",
                )
            )

    # -- telling ------------------------------------------------------------------------------------------------

    def _section(self, works: list[_Work], *, planned: bool, seconds: float) -> Section:
        wanted = sum(work.count.rows for work in works)
        deleted = sum(work.done.deleted for work in works)
        names = ", ".join(dict.fromkeys(work.target.title for work in works))
        about = "" if all(work.count.exact for work in works) else "about "
        if planned:
            summary = f"{about}{counted_rows(wanted)} of {names} would be deleted."
        else:
            batches = sum(work.done.batches for work in works)
            summary = f"{counted_rows(deleted)} of {names} deleted in {roughly(seconds)}, in {batches} batches."
            if not all(work.done.complete for work in works):
                summary += " There was no time for all."
        return Section(
            title=f"PostgreSQL: old rows of {self.options['database']}",
            summary=summary[0].upper() + summary[1:],
            findings=tuple(self._findings),
            tables=(table_of("purge", "Tables", _COLUMNS, [work.as_dict() for work in works]),),
            changed=bool(wanted if planned else deleted),
            data={
                "tables": [work.as_dict() for work in works],
                "rows": wanted,
                "deleted": deleted,
                "complete": planned or all(work.done.complete for work in works),
                "seconds": round(seconds, 3),
            },
        )


@contextlib.contextmanager
def _held(session: Session, target: Target) -> Iterator[None]:
    """One purge of a table at a time. The server takes the lock from a run when that dies.

    Raises:
        Locked: another one runs.
    """
    key = lock_key(f"holdfast purge {target.oid}")
    end = time.monotonic() + TAKEOVER_SECONDS
    while not session.value(f"SELECT pg_try_advisory_lock({key}) AS ours", CATALOGUE_SECONDS):
        if time.monotonic() > end:
            raise Locked(
                f"Another purge of {target.title} runs.",
                stage="lock",
                hint="Wait for it; in pg_stat_activity it is called holdfast:purge.",
            )
        time.sleep(0.2)
    try:
        yield
    finally:
        with contextlib.suppress(HoldfastError):  # it goes with the session
            session.execute(f"SELECT pg_advisory_unlock({key})")
