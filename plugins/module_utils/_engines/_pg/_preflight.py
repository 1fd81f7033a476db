# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the target of a restore must offer: extensions, libraries, locales, room.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..._errors import DiskFull, HoldfastError, Interrupted, NotFound, Unsupported, VersionMismatch
from ._server import Server
from ._sql import Session, identifier, literal

PRELOADED = ("timescaledb", "citus", "pg_cron", "pgaudit", "pg_squeeze", "age_preload", "anon", "supautils")
"""Extensions that cannot be created, or not be used, where their library is not preloaded."""
MARGIN = 1.1
"""Room asked for, as a multiple of the size that the databases had."""


def check_extensions(session: Session, described: Mapping[str, Any], details: Mapping[str, Any]) -> list[str]:
    """Every extension of the database must be there, in its version or a newer one.

    Returns: warnings about differences that do no harm.

    Raises:
        NotFound: some are not installed.
        VersionMismatch: one is older than the database's.
    """
    wanted = {one["name"]: one["version"] for one in described["extensions"]}
    rows = session.rows("SELECT name, default_version FROM pg_available_extensions")
    available = {row["name"]: row["default_version"] for row in rows}
    lost = sorted(set(wanted) - set(available))
    if lost:
        raise NotFound(
            f"The database uses extensions that are not installed at the target: {', '.join(lost)}.",
            stage="preflight",
            hint="Install their packages there.",
        )
    warnings = []
    for name, version in sorted(wanted.items()):
        older = is_older(available[name], version)
        if older:
            raise VersionMismatch(
                f"The extension {name} is {version} in the backup and {available[name]} at the target.",
                stage="preflight",
                hint="Install at least the backup's version.",
            )
        if available[name] != version:
            warnings.append(f"The extension {name} will be {available[name]} instead of {version}.")
    return warnings + _check_preload(session, wanted, details)


def is_older(found: str | None, wanted: str) -> bool:
    """Whether a version comes before another; versions that are no numbers cannot be told."""
    one, other = _numbers(found or ""), _numbers(wanted)
    return bool(one and other) and one < other


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)] if re.fullmatch(r"[\d.\-]+", version) else []


def needed_libraries(described: Mapping[str, Any], details: Mapping[str, Any]) -> list[str]:
    """Libraries that the server preloaded for the sake of an extension of this database."""
    preloaded = [
        name.strip() for name in (details["server"]["settings"].get("shared_preload_libraries") or "").split(",")
    ]
    names = {one["name"] for one in described["extensions"]}
    return [name for name in preloaded if name in names]


def _check_preload(session: Session, wanted: Mapping[str, str], details: Mapping[str, Any]) -> list[str]:
    # A view of pg_settings hides it from roles that may not see it; then the restore itself will say.
    row = session.row("SELECT max(setting) AS setting FROM pg_settings WHERE name = 'shared_preload_libraries'")
    if row["setting"] is None:
        return []
    here = {name.strip() for name in row["setting"].split(",")}
    described = {"extensions": [{"name": name} for name in wanted]}
    absent = [name for name in needed_libraries(described, details) if name not in here]
    hard = [name for name in absent if name in PRELOADED]
    if hard:
        raise Unsupported(
            f"The target does not preload libraries that the database's extensions need: {', '.join(hard)}.",
            stage="preflight",
            hint=f"Add them to shared_preload_libraries and restart the server: {', '.join(hard)}.",
        )
    return [f"The library {name}, preloaded at the source, is not preloaded at the target." for name in absent]


def check_locale(session: Session, described: Mapping[str, Any], lenient: bool) -> list[str]:
    """The locale must exist at the target: asked by making a temporary collation of it and taking that back.

    Args:
        lenient: a missing one is a warning.

    Raises:
        Unsupported: it does not.
    """
    provider = described["locale_provider"]
    if provider == "builtin":
        return []
    names = {described["locale"]} if provider == "icu" else {described["collate"], described["ctype"]} - {"C", "POSIX"}
    for name in sorted(n for n in names if n):
        problem = _try_collation(session, provider, name)
        if problem is None:
            continue
        sentence = f"The locale {name} ({provider}) of the database {described['name']!r} does not exist at the target."
        if not lenient:
            raise Unsupported(sentence, stage="preflight", tool_output=problem, hint="Install the locale there.")
        return [sentence]
    return []


def _try_collation(session: Session, provider: str, name: str) -> str | None:
    """Why a collation cannot be made, or None; another reason than the locale proves nothing and counts as None."""
    problem = None
    session.execute("BEGIN")
    try:
        session.execute(
            f"CREATE COLLATION pg_temp.{identifier('holdfast probe')} (provider = {provider}, locale = {literal(name)})"
        )
    except Interrupted:
        raise  # the session ends, and with it the transaction
    except HoldfastError as error:
        said = error.tool_output or ""
        about = r"could not create locale|could not open collator|not supported in this build|has unknown language"
        problem = said if re.search(about, said) else None
    session.execute("ROLLBACK")
    return problem


def check_room(server: Server, session: Session, described: Sequence[Mapping[str, Any]]) -> list[str]:
    """The target's file system must have room for the databases beside what is there, where we can look at it.

    Returns: a line for the plan.

    Raises:
        DiskFull: it has not.
    """
    needed = int(sum(one["size"] or 0 for one in described) * MARGIN)
    if not needed:
        return ["free space: unproven (the backup does not tell the size)"]
    row = session.row("SELECT max(setting) AS directory FROM pg_settings WHERE name = 'data_directory'")
    if server.container or not server.socket_directory or not row["directory"]:
        return [f"free space: unproven (about {needed} bytes are needed at the server)"]
    try:
        status = os.statvfs(row["directory"])
    except OSError:
        return [f"free space: unproven (about {needed} bytes are needed at the server)"]
    free = status.f_bavail * status.f_frsize
    if free < needed:
        raise DiskFull(
            f"The restore needs about {needed} bytes; the server's file system has {free} free.",
            stage="preflight",
            hint="Make room, or restore elsewhere.",
        )
    return [f"free space: {free} bytes, about {needed} are needed"]
