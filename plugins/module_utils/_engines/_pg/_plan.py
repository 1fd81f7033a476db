# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The preflight of a restore: everything that can be known to fail fails here, and nothing is touched.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from ..._durations import parse_duration
from ..._errors import InvalidOption, NotFound, PermissionDenied, Refused, Unsupported, VersionMismatch
from ..._manifest import utc_now
from .._interface import RestorePlan
from ._catalog import databases as list_databases
from ._kept import Kept, expired, how_to_drop, kept_databases
from ._preflight import check_extensions, check_locale, check_room
from ._roles import Globals, check_wanted, existing_roles, missing_roles
from ._server import Server, Tool
from ._sql import Session
from ._stored import Stored
from ._swap import check_can_be_renamed

RESERVED = ("postgres", "template1")
"""Databases that only a fresh cluster gets back: in any other somebody else's things depend on them."""
NEVER = ("template0",)
_CLOSED = 15
"""From this version on not everybody may create in the schema public; a dump does not carry the old default."""
_SHOWN = 5
"""Roles whose statements a warning holds."""
_STRICTER = 17
"""From this version on pg_restore sets a parameter (transaction_timeout) that older servers refuse."""

# What a person, not the server, has made; extensions count, for nobody creates one in a database that is not used.
_HAS_OBJECTS = """
SELECT EXISTS (SELECT FROM pg_class WHERE oid >= 16384 AND relnamespace NOT IN
       (SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_t'))
    OR EXISTS (SELECT FROM pg_namespace WHERE oid >= 16384 AND nspname !~ '^pg_')
    OR EXISTS (SELECT FROM pg_proc WHERE oid >= 16384) OR EXISTS (SELECT FROM pg_type WHERE oid >= 16384)
    OR EXISTS (SELECT FROM pg_extension WHERE oid >= 16384) OR EXISTS (SELECT FROM pg_largeobject_metadata) AS live"""


OPTIONS: Mapping[str, Any] = {
    "target_database": {"type": "str"},
    "globals": {"type": "str", "choices": ["missing", "all", "none"], "default": "missing"},
    "keep_previous": {"type": "bool", "default": True},
    "keep_previous_for": {"type": "str"},
    "jobs": {"type": "int", "default": 1},
    "tables": {"type": "list", "elements": "str", "default": []},
    "schemas": {"type": "list", "elements": "str", "default": []},
    "tablespaces": {"type": "bool", "default": True},
    "amcheck": {"type": "bool", "default": True},
}
"""Options of a restore only."""


@dataclass(frozen=True)
class Wanted:
    """What a restore shall do.

    Attributes:
        databases: of the backup; None means all of them.
        target: another name for the only database.
        globals: `missing`, `all` or `none`.
        keep_previous_for: drop what earlier restores of the same databases have replaced longer ago; None: nothing.
        tables, schemas: only these, into an existing database.
        tablespaces: as they were; otherwise everything into the target's default.
        any_locale: take the locale C where the recorded one does not exist (scratch places only).
        scratch: the databases are looked at and dropped; new roles get no passwords, and are dropped too.
    """

    databases: tuple[str, ...] | None = None
    target: str | None = None
    globals: str = "missing"
    keep_previous: bool = True
    keep_previous_for: timedelta | None = None
    jobs: int = 1
    tables: tuple[str, ...] = ()
    schemas: tuple[str, ...] = ()
    tablespaces: bool = True
    amcheck: bool = True
    any_locale: bool = False
    scratch: bool = False

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Wanted:
        """Read the options.

        Raises:
            InvalidOption: they contradict each other.
        """
        one, several = options.get("database"), options.get("databases")
        if one and several:
            raise InvalidOption("database and databases exclude each other.", stage="preflight")
        names = (str(one),) if one else tuple(str(name) for name in several or ())
        values: dict[str, Any] = {name: options[name] for name in OPTIONS if options.get(name) is not None}
        target = values.pop("target_database", None)
        for name in ("tables", "schemas"):
            values[name] = tuple(values.get(name, ()))
        if "keep_previous_for" in values:
            values["keep_previous_for"] = _age(str(values["keep_previous_for"]))
        wanted = cls(None if not names or names == ("all",) else names, target, **values)
        wanted.check()
        return wanted

    @property
    def selects(self) -> bool:
        return bool(self.tables or self.schemas)

    def check(self) -> None:
        """
        Raises:
            InvalidOption: the options contradict each other.
        """
        if self.jobs < 1:
            raise InvalidOption("jobs must be at least 1.", stage="preflight")
        for name in (self.target, *(self.databases or ())):
            if name is not None and not 0 < len(name.encode()) <= 63:
                raise InvalidOption(f"{name!r} is no name for a database: 1 to 63 bytes.", stage="preflight")
        if self.target in NEVER:
            raise InvalidOption(f"{self.target} cannot be restored.", stage="preflight")
        if self.selects and self.globals == "all":
            raise InvalidOption("globals: all does not go with tables or schemas.", stage="preflight")


def _age(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except InvalidOption as error:
        raise InvalidOption(f"keep_previous_for {error.message}.", stage="preflight") from None


@dataclass(frozen=True)
class Target:
    """A database that is to be restored.

    Attributes:
        described: what it was; see `_catalog`.
        name: what it shall be called.
        exists, live: whether there is one of that name, and whether it holds anything.
    """

    described: Mapping[str, Any]
    name: str
    exists: bool = False
    live: bool = False


@dataclass
class Plan:
    """What a restore will do.

    Attributes:
        globals: of the backup, when it has them.
        new_roles, new_tablespaces: that will be created.
        maintenance: a database of the server that takes no part; empty when one has to be made.
        tool: pg_restore.
        expired: what earlier restores have replaced, and is dropped when this one is done.
    """

    targets: list[Target]
    tool: Tool
    maintenance: str
    globals: Globals | None
    new_roles: list[str] = field(default_factory=list)
    new_tablespaces: list[str] = field(default_factory=list)
    live: list[str] = field(default_factory=list)
    expired: list[Kept] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def result(self) -> RestorePlan:
        """As the operation knows it."""
        return RestorePlan(tuple(self.lines), bool(self.targets), ", ".join(self.live) or None, tuple(self.warnings))


def make_plan(server: Server, stored: Stored, wanted: Wanted) -> Plan:
    """Look at the target and decide.

    Raises:
        HoldfastError: it cannot be restored there, and why.
    """
    wanted.check()
    details = stored.details
    chosen = _choose(details, wanted)
    names = [wanted.target or one["name"] for one in chosen]
    maintenance = _maintenance(server, () if wanted.scratch else names)
    with server.connect(maintenance) if maintenance else server.connect_anywhere() as session:
        server.learn_version(session)
        tool = _check_versions(server, session, details, stored.dumped_by)
        targets, warnings = _look_at_targets(server, session, chosen, names, wanted)
        plan = Plan(targets, tool, maintenance, stored.globals, warnings=warnings)
        if int(details["server"]["version_num"]) // 10000 < _CLOSED <= server.major and not wanted.scratch:
            plan.warnings.append(
                f"In PostgreSQL {server.major} only the owner of a database creates things in its schema public. "
                "Where an application did so as another role: GRANT CREATE ON SCHEMA public TO that role."
            )
        _plan_roles(session, plan, wanted)
        _plan_tablespaces(session, plan, details, wanted)
        for target in targets:
            plan.warnings += check_extensions(session, target.described, details)
            plan.warnings += check_locale(session, target.described, wanted.any_locale)
        plan.lines += check_room(server, session, [one.described for one in targets])
        if not wanted.selects and not wanted.scratch:
            plan.warnings += check_can_be_renamed(session, [one.name for one in targets if one.exists])
            _plan_kept(session, plan, wanted)
    _describe(plan, wanted)
    plan.live.sort()
    return plan


def _choose(details: Mapping[str, Any], wanted: Wanted) -> list[Mapping[str, Any]]:
    held = {one["name"]: one for one in details["databases"]}
    absent = [name for name in wanted.databases or () if name not in held]
    if absent:
        raise NotFound(
            f"The backup does not hold the database {absent[0]!r}; it holds {', '.join(map(repr, held))}.",
            stage="preflight",
        )
    chosen = [one for name, one in held.items() if wanted.databases is None or name in wanted.databases]
    if (wanted.target or wanted.selects) and len(chosen) != 1:
        option = "target_database" if wanted.target else "tables and schemas"
        raise InvalidOption(
            f"{option} want one database; the backup holds {', '.join(held)}.",
            stage="preflight",
            hint="Name one of them (database).",
        )
    return chosen


def _maintenance(server: Server, names: Collection[str]) -> str:
    """A database to work from that is not itself replaced; empty when there is none."""
    preferred = str(server.options["maintenance_db"] or "postgres")
    for name in (preferred, "postgres", "template1"):
        if name in names:
            continue
        try:
            with server.connect(name):
                return name
        except NotFound:
            continue
    return ""


def _check_versions(server: Server, session: Session, details: Mapping[str, Any], dumped_by: int) -> Tool:
    """The pg_restore that reads the archives and suits the server."""
    state = session.row(
        "SELECT pg_is_in_recovery() AS standby, EXISTS (SELECT FROM pg_roles WHERE rolname = current_user"
        " AND (rolsuper OR rolcreatedb)) AS may_create"
    )
    if state["standby"]:
        raise Unsupported(f"The server ({server.where}) is a standby; restore into its primary.", stage="preflight")
    if not state["may_create"]:
        raise PermissionDenied(
            "The PostgreSQL role may not create databases.", right="write", stage="preflight", hint="Use a superuser."
        )
    dumped = int(details["server"]["version_num"]) // 10000
    if server.major < dumped:
        raise VersionMismatch(
            f"The backup is of PostgreSQL {dumped}, the target ({server.where}) is {server.major}: dumps go into the "
            "same version or a newer one.",
            stage="preflight",
        )
    tool = server.tool("pg_restore", max(server.major, dumped_by))
    if tool.major >= _STRICTER > server.major:
        raise VersionMismatch(
            f"pg_restore {tool.major} cannot restore into PostgreSQL {server.major}"
            + (f", and the archive was written by pg_dump {dumped_by}." if dumped_by > server.major else "."),
            stage="preflight",
            hint=f"Install the package postgresql-client-{server.major}, or set bin_dir to tools of that version.",
        )
    return tool


def _look_at_targets(
    server: Server, session: Session, chosen: Sequence[Mapping[str, Any]], names: Sequence[str], wanted: Wanted
) -> tuple[list[Target], list[str]]:
    existing = {row["name"]: row for row in list_databases(session)}
    if wanted.scratch:
        return [Target(one, name) for one, name in zip(chosen, names)], []
    fresh = set(existing) <= {*RESERVED, *NEVER} and not _has_objects(server, "postgres", existing)
    targets, warnings = [], []
    for described, name in zip(chosen, names):
        if name in RESERVED and not wanted.selects and not fresh:
            if wanted.databases is not None or wanted.target:
                raise Refused(f"The database {name} is replaced in a fresh cluster only.", stage="preflight")
            warnings.append(f"The database {name} is left as it is: only a fresh cluster gets it back.")
            continue
        exists = name in existing
        if wanted.selects and not exists:
            raise NotFound(
                f"The database {name!r}, which tables shall be restored into, does not exist.", stage="preflight"
            )
        targets.append(Target(described, name, exists, exists and _has_objects(server, name, existing)))
    return targets, warnings


def _has_objects(server: Server, name: str, existing: Mapping[str, Mapping[str, Any]]) -> bool:
    if name not in existing:
        return False
    if not existing[name]["allow_connections"]:
        return True  # nobody can look, so somebody may miss it
    with server.connect(name) as session:
        return bool(session.value(_HAS_OBJECTS))


def _plan_roles(session: Session, plan: Plan, wanted: Wanted) -> None:
    referred = {role for target in plan.targets for role in target.described["roles"]}
    if wanted.globals == "all":
        if plan.globals is None:
            raise NotFound("The backup holds no globals.", stage="preflight", hint="Set globals: none.")
        known = existing_roles(session)
        plan.new_roles = [role for role in plan.globals.roles if role not in known]
        if _has_roles(session):
            plan.live.append("roles")
            plan.lines.append(f"alter existing roles: {', '.join(r for r in plan.globals.roles if r in known)}")
        return
    missing = missing_roles(session, referred)
    if wanted.scratch:  # who they are does not matter there, only that they are
        known_roles = plan.globals.roles if plan.globals else []
        plan.globals = plan.globals if set(missing) <= set(known_roles) else Globals.naming(missing)
    check_wanted(missing, plan.globals if wanted.globals == "missing" else None)
    plan.new_roles = missing
    if plan.globals and not wanted.scratch:
        # Nothing in the database names who gets at it as a member only, and often that is the application itself.
        known = existing_roles(session)
        absent = sorted(plan.globals.members(referred) - known)
        if absent:
            plan.warnings.append(_members_stay_away(plan.globals, absent, known | set(plan.new_roles)))


def _members_stay_away(source: Globals, absent: Sequence[str], known: Collection[str]) -> str:
    """What to do about roles that are only members of the databases' roles; passwords are never shown."""
    said = f"Roles that only belong to roles of the databases are not created: {', '.join(absent)}."
    everything = "Set globals: all to take every role from the backup, with its password"
    if len(absent) > _SHOWN:
        return f"{said} {everything}."
    statements = "; ".join(source.creating(absent, known, bare=True))
    return f"{said} {everything}; or create them without: {statements}."


def _plan_kept(session: Session, plan: Plan, wanted: Wanted) -> None:
    """What earlier restores have replaced: told, and dropped where that was asked for."""
    kept = kept_databases(session, [target.name for target in plan.targets])
    plan.expired = expired(kept, wanted.keep_previous_for, utc_now())
    stay = [one for one in kept if one not in plan.expired]
    if stay:
        plan.warnings.append(how_to_drop(stay))


def _plan_tablespaces(session: Session, plan: Plan, details: Mapping[str, Any], wanted: Wanted) -> None:
    if not wanted.tablespaces:
        return
    existing = {row["spcname"] for row in session.rows("SELECT spcname FROM pg_tablespace")}
    used = {name for target in plan.targets for name in target.described["tablespaces"]}
    created = set(plan.globals.tablespaces) if plan.globals and wanted.globals == "all" else set()
    plan.new_tablespaces = sorted(created - existing)
    lost = sorted(used - existing - created)
    if lost:
        raise NotFound(
            f"The database uses tablespaces that the target does not have: {', '.join(lost)}.",
            stage="preflight",
            hint="Create them first, or restore into the default one (tablespaces: false).",
        )


def _has_roles(session: Session) -> bool:
    """Whether the cluster has roles that somebody has made."""
    return bool(
        session.value("SELECT EXISTS (SELECT FROM pg_roles WHERE oid >= 16384 AND rolname <> current_user) AS v")
    )


def _describe(plan: Plan, wanted: Wanted) -> None:
    for target in plan.targets:
        described = target.described
        size = f", {described['size']} bytes" if described.get("size") else ""
        locale = described["locale"] if described["locale_provider"] != "libc" else described["collate"]
        what = (
            f"database {target.name!r}: {described['encoding']}, {described['locale_provider']} {locale}, "
            f"owner {described['owner']!r}{size}"
        )
        if wanted.selects:
            plan.lines.append(f"replace in database {target.name!r}: {', '.join((*wanted.tables, *wanted.schemas))}")
        elif not target.exists:
            plan.lines.append(f"create {what}")
        else:
            after = "kept under another name" if wanted.keep_previous else "dropped after the proof"
            plan.lines.append(f"replace {what}; the present one is {after}")
        if described["extensions"]:
            plan.lines.append(f"  extensions: {', '.join(e['name'] for e in described['extensions'])}")
        if target.live or (wanted.selects and target.exists):
            plan.live.append(target.name)
    plan.lines += [f"drop database {one}, kept by an earlier restore" for one in plan.expired]
    if plan.new_roles:
        plan.lines.append(f"create roles: {', '.join(plan.new_roles)}")
    if plan.new_tablespaces:
        plan.lines.append(f"create tablespaces: {', '.join(plan.new_tablespaces)}")
