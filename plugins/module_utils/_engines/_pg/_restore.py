# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The restore: into new databases, proved there, and only then swapped into place, all or none.

PRIVATE to the collection; may change without notice.

Everything that is made bears a name or a lock by which the next run finds it when this one is killed. Until the swap,
which is one transaction, nothing that anybody uses has been touched.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from ..._errors import HoldfastError, Interrupted, NotProved, Unavailable
from ..._manifest import utc_now
from .._interface import Proof, RestoreRun
from .._scratch_directories import sweep_directories
from . import _properties
from ._fingerprint import compare, take
from ._kept import marked, previous_name
from ._leftovers import (
    COMMENT,
    PREFIX,
    drop_database,
    drop_temporary,
    hold,
    subscriptions,
    sweep_databases,
)
from ._load import load
from ._plan import RESERVED, Plan, Target, Wanted, make_plan
from ._prove import Findings, analyze, soundness
from ._roles import Globals, apply, existing_roles
from ._selected import restore_selected
from ._server import Server
from ._sql import Session, identifier, literal, literals
from ._stored import Stored
from ._swap import Exchange, swap

UNDO_ATTEMPTS = 20
"""How often an undo asks for a server that is just starting again after a crash, a second apart."""
DIFFERENCES = 20
"""Differences that an error names."""


def restore(server: Server, run: RestoreRun, wanted: Wanted) -> Proof:
    """Restore what is wanted.

    Raises:
        NotProved: what came back is not what was dumped; it was dropped again.
        HoldfastError: nothing was changed.
    """
    stored = Stored(run)
    plan = make_plan(server, stored, wanted)
    server.claim(run.backup.id)
    sweep_directories(run.place.scratch_dir)
    with _workplace(server, plan), server.connect(plan.maintenance) as keeper:
        for sentence in sweep_databases(server, keeper):
            run.warn(sentence)
        if wanted.selects:
            return restore_selected(server, run, stored, plan, wanted)
        return Restoring(server, run, stored, plan, wanted, keeper).execute()


@contextlib.contextmanager
def _workplace(server: Server, plan: Plan) -> Iterator[None]:
    """A database to work from, where every other takes part (a fresh cluster that gets `postgres` and `template1`)."""
    if plan.maintenance:
        yield
        return
    name = PREFIX + secrets.token_hex(8)
    with server.connect_anywhere() as session:
        session.execute(f"CREATE DATABASE {identifier(name)} TEMPLATE template0")
    plan.maintenance = name
    try:
        yield
    finally:
        with server.connect_anywhere() as session:
            drop_database(session, name)


class Restoring:
    """One restore under way.

    Args:
        keeper: a session in `plan.maintenance` that lives as long as the run: its locks say that what was made has
            an owner.
    """

    def __init__(
        self, server: Server, run: RestoreRun, stored: Stored, plan: Plan, wanted: Wanted, keeper: Session
    ) -> None:
        self.server, self.run, self.stored, self.plan, self.wanted = server, run, stored, plan, wanted
        self.keeper = keeper
        self._made: dict[str, Target] = {}
        self._oids: dict[str, str] = {}
        self._roles: list[str] = []
        self._tablespaces: list[str] = []
        self._altered = False
        self._superuser = bool(keeper.value("SELECT current_setting('is_superuser') = 'on' AS v"))
        # Nobody depends on a temporary database before the swap, whose own commit makes all of it durable; and a login
        # trigger would write into what is being compared.
        triggers = ["event_triggers"] if self._superuser and server.major >= 17 else []
        self._passing = ["synchronous_commit", *triggers]

    def rehearse(self) -> Proof:
        """Restore and prove one database after the other, and keep none."""
        found: dict[str, Findings] = {}
        try:
            self.make_roles()
            for target in self.plan.targets:
                found[target.name] = self.make(target)
                self.run.progress.stage("drop")
                for temporary in list(self._made):
                    drop_temporary(self.server, self.keeper, temporary)
                    del self._made[temporary], self._oids[temporary]
        except BaseException as error:
            left = self.undo()
            if isinstance(error, HoldfastError):
                error.left_behind = error.left_behind or left
            raise
        left = self.undo()
        if left:
            self.run.warn(f"Left behind: {left}.")
        return combine(self.run.backup.fingerprint, found)

    def execute(self) -> Proof:
        """Restore, prove, swap; or undo."""
        try:
            self.make_roles()
            found = {target.name: self.make(target) for target in self.plan.targets}
            proof = combine(self.run.backup.fingerprint, found)
            self.insist(proof)
            previous = self.swap()
        except BaseException as error:
            left = self.undo()
            if isinstance(error, HoldfastError):
                error.left_behind = error.left_behind or left
            raise
        # Those of a fresh cluster held nothing.
        gone = {name: new for name, new in previous.items() if name in RESERVED or not self.wanted.keep_previous}
        kept = {name: new for name, new in previous.items() if name not in gone} | self._drop(gone)
        expired = {one.name: one.name for one in self.plan.expired}
        dropped = sorted(expired.keys() - self._drop(expired).keys())
        details = {**proof.details, "previous": kept, "dropped": dropped}
        return Proof(proof.level, proof.checked, proof.differences, details)

    # -- roles --------------------------------------------------------------------------------------------------

    def make_roles(self) -> None:
        """Create the roles and tablespaces that the plan names."""
        source = self.plan.globals
        if source is None or self.wanted.globals == "none":
            return
        self.run.progress.stage("roles")
        if self.wanted.globals == "all":
            self._replay(source)
        elif self.plan.new_roles:
            known = existing_roles(self.keeper)
            statements = source.creating(self.plan.new_roles, known, bare=self.wanted.scratch)
            apply(self.keeper, statements)
            self._roles = list(self.plan.new_roles)

    def _replay(self, source: Globals) -> None:
        row = self.keeper.row("SELECT rolname AS bootstrap, current_user AS me FROM pg_roles WHERE oid = 10")
        known = existing_roles(self.keeper)
        self._roles = [role for role in source.roles if role not in known]
        apply(self.keeper, source.replaying(known, row["bootstrap"], row["me"]))
        self._altered = bool(known & set(source.roles))
        existing = {one["spcname"] for one in self.keeper.rows("SELECT spcname FROM pg_tablespace")}
        for statement in source.tablespace_statements(existing) if self.wanted.tablespaces else ():
            self.keeper.execute(statement)
        self._tablespaces = self.plan.new_tablespaces

    # -- one database -------------------------------------------------------------------------------------------

    def make(self, target: Target) -> Findings:
        """Restore one database under a temporary name and prove it there."""
        progress, described = self.run.progress, target.described
        temporary = PREFIX + secrets.token_hex(8)
        hold(self.keeper, temporary)
        self._made[temporary] = target
        self._create(temporary, described)
        progress.stage("restore", sum(part.size for part in self.stored.dumps(described["name"])))
        self._load(temporary, described)
        if not self.wanted.scratch:
            for subscription in subscriptions(self.keeper, temporary):
                self.run.warn(
                    f"The subscription {subscription} of {target.name!r} is disabled. Its slot may serve the database "
                    "that was dumped: set its slot_name to NONE before you drop it, or enable it when that is gone."
                )
        progress.stage("analyze")
        analyze(self.server, temporary)
        progress.stage("prove")
        return self.prove(temporary, described["name"])

    def _load(self, temporary: str, described: Mapping[str, Any]) -> None:
        """The archive into the temporary database; by one job where several get into each other's way.

        pg_restore does not know all that a foreign key of a partitioned table locks, and the server ends one of two
        jobs that wait for each other.
        """
        source, tool = described["name"], self.plan.tool
        try:
            load(self.server, self.stored, source, temporary, tool, self.wanted)
        except HoldfastError as error:
            if self.wanted.jobs == 1 or "deadlock detected" not in (error.tool_output or ""):
                raise
            self.run.warn("Jobs of pg_restore waited for each other (deadlock); it was begun again with one job.")
            drop_temporary(self.server, self.keeper, temporary)
            self._create(temporary, described)
            self.run.progress.stage("restore", sum(part.size for part in self.stored.dumps(source)))
            load(self.server, self.stored, source, temporary, tool, replace(self.wanted, jobs=1))

    def _create(self, temporary: str, described: Mapping[str, Any]) -> None:
        self.run.progress.stage("create")
        # Until the swap says who may, nobody but superusers gets in.
        options = {"tablespace": self.wanted.tablespaces, "closed": self._superuser}
        try:
            self.keeper.execute(_properties.create(temporary, described, self.server.major, **options))
        except HoldfastError as error:
            if not self.wanted.any_locale or "locale" not in (error.tool_output or ""):
                raise
            plain = {**described, "locale_provider": "libc", "collate": "C", "ctype": "C", "locale": None}
            self.keeper.execute(_properties.create(temporary, plain, self.server.major, **options))
        found = self.keeper.row(f"SELECT oid::text AS oid FROM pg_database WHERE datname = {literal(temporary)}")
        self._oids[temporary] = found["oid"]
        self.keeper.execute(f"COMMENT ON DATABASE {identifier(temporary)} IS {literal(COMMENT)}")
        if described["acl"] is not None and not self._superuser:
            self.keeper.execute(f"REVOKE ALL ON DATABASE {identifier(temporary)} FROM PUBLIC")
        for setting in self._passing:
            self.keeper.execute(f"ALTER DATABASE {identifier(temporary)} SET {setting} = off")
        for statement in _properties.settings(temporary, described, late=False):
            self.keeper.execute(statement)

    def prove(self, database: str, name: str) -> Findings:
        """Compare a restored database with what it was, and look whether it is sound."""
        expected = self.stored.fingerprint(name)
        sequences = {key: one["value"] for key, one in expected.get("sequences", {}).items()}
        comparison = None
        if expected:
            with self.server.connect(database) as session:
                comparison = compare(dict(expected), take(session, expected["level"]))
        findings = soundness(
            self.server,
            database,
            sequences,
            self.run.progress,
            amcheck=self.wanted.amcheck,
            jobs=self.wanted.jobs,
        )
        if comparison is not None:
            findings.checked += comparison.checked
            findings.differences[:0] = comparison.differences
            findings.details["notes"] = list(comparison.notes)
        return findings

    def insist(self, proof: Proof) -> None:
        """
        Raises:
            NotProved: there are differences.
        """
        if proof.differences:
            raise NotProved(
                f"What was restored differs from what was dumped in {len(proof.differences)} places.",
                stage="prove",
                tool_output="\n".join(proof.differences[:DIFFERENCES]),
                hint="The backup may be damaged at its source; verify it, or restore an older one.",
            )

    # -- the swap -----------------------------------------------------------------------------------------------

    def swap(self) -> dict[str, str]:
        """Give every database its properties and its place; the new names of those that were there, by old name."""
        self.run.progress.stage("swap")
        found = self.keeper.rows("SELECT datname, shobj_description(oid, 'pg_database') AS comment FROM pg_database")
        taken = {row["datname"]: row["comment"] for row in found}
        now = utc_now()
        exchanges, previous = [], {}
        for temporary, target in self._made.items():
            described = target.described
            with self.keeper.transaction():
                for setting in self._passing:
                    self.keeper.execute(f"ALTER DATABASE {identifier(temporary)} RESET {setting}")
                for statement in _properties.access(temporary, described):
                    self.keeper.execute(statement)
            last = _properties.settings(target.name, described, late=True)
            last.append(_properties.comment(target.name, described["comment"]))
            if target.name in taken:
                previous[target.name] = previous_name(target.name, now.strftime("%Y%m%dT%H%M%SZ"), taken)
                last.append(marked(previous[target.name], target.name, taken[target.name], now))
                taken[previous[target.name]] = None
            exchanges.append(Exchange(temporary, target.name, previous.get(target.name), tuple(last)))
        swap(self.server, self.plan.maintenance, exchanges)
        self._made.clear()
        self._oids.clear()
        return previous

    def _drop(self, previous: Mapping[str, str]) -> dict[str, str]:
        """Drop the replaced databases; the restore stands even where that fails."""
        left = {}
        for name, replaced in previous.items():
            try:
                # What is a template cannot be dropped, and this one is one no more.
                self.keeper.execute(f"ALTER DATABASE {identifier(replaced)} IS_TEMPLATE false")
                drop_database(self.keeper, replaced)
            except Interrupted as error:
                error.left_behind = (
                    "the restored databases are in place; the replaced ones are still there or being dropped: "
                    + ", ".join(list(previous.values())[list(previous).index(name) :])
                )
                raise
            except HoldfastError as error:
                left[name] = replaced
                self.run.warn(f"The replaced database {replaced} could not be dropped: {error}")
        return left

    # -- undoing ------------------------------------------------------------------------------------------------

    def undo(self) -> str | None:
        """Remove whatever was made; what could not be removed, as a sentence.

        Raises:
            Interrupted: after all was removed nevertheless.
        """
        try:
            return self._undo()
        except Interrupted as error:  # the only one of this run, so that the second try goes through
            error.left_behind = self._undo()
            raise

    def _undo(self) -> str | None:
        if not (self._made or self._roles or self._tablespaces or self._altered):
            return None
        try:
            with self._reconnect() as session:
                left = self._undo_databases(session)
                if self._took_place(session):
                    return f"the restored databases are in place: {', '.join(t.name for t in self._made.values())}"
                left += self._undo_globals(session) if not left else []
        except Interrupted:
            raise
        except HoldfastError as error:
            left = [f"temporary databases ({', '.join(self._made)}): {error.message} The next restore drops them"]
        if self._altered:
            left.append("existing roles as the backup had them (globals: all)")
        return "; ".join(left) or None

    def _reconnect(self) -> Session:
        """The keeper's session may have died with the server, which is back in a moment."""
        for attempt in range(UNDO_ATTEMPTS):
            try:
                return self.server.connect(self.plan.maintenance)
            except Unavailable:
                if attempt == UNDO_ATTEMPTS - 1:
                    raise
                time.sleep(1)
        raise AssertionError("unreachable")

    def _undo_databases(self, session: Session) -> list[str]:
        return self._try(
            (f"the temporary database {name}", partial(drop_temporary, self.server, session, name))
            for name in self._made
        )

    def _took_place(self, session: Session) -> bool:
        """Whether the swap was committed although its answer never came."""
        if not self._oids:
            return False
        rows = session.rows(
            f"SELECT oid::text AS oid, datname FROM pg_database WHERE oid::text = ANY({literals(self._oids.values())})"
        )
        names = {row["oid"]: row["datname"] for row in rows}
        return any(names.get(oid) == self._made[temporary].name for temporary, oid in self._oids.items())

    def _undo_globals(self, session: Session) -> list[str]:
        statements = [("tablespace", name) for name in self._tablespaces] + [("role", r) for r in reversed(self._roles)]
        return self._try(
            (
                f"the {kind} {name}",
                partial(session.execute, f"DROP {kind.upper()} IF EXISTS {identifier(name)}"),
            )
            for kind, name in statements
        )

    @staticmethod
    def _try(steps: Iterable[tuple[str, Callable[[], None]]]) -> list[str]:
        left = []
        for what, step in steps:
            try:
                step()
            except Interrupted:
                raise
            except HoldfastError as error:
                left.append(f"{what} ({error.message})")
        return left


def combine(level: str, found: Mapping[str, Findings]) -> Proof:
    """One proof of all databases."""
    several = len(found) > 1
    differences = [
        f"{name}: {difference}" if several else difference
        for name, findings in found.items()
        for difference in findings.differences
    ]
    details: dict[str, Any] = {name: findings.details for name, findings in found.items()}
    if not several:
        details = dict(next(iter(details.values()), {}))
    return Proof(level, sum(findings.checked for findings in found.values()), tuple(differences), details)
