# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A database as it was, beside its contents: what pg_restore into another name loses is said again in SQL.

PRIVATE to the collection; may change without notice.

`described` is one of `details["databases"]`; see `_catalog`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ._sql import identifier, literal

LISTS = frozenset(
    [
        "local_preload_libraries",
        "search_path",
        "session_preload_libraries",
        "shared_preload_libraries",
        "temp_tablespaces",
        "unix_socket_directories",
    ]
)
"""Settings whose value is a list of names that the server quotes one by one (GUC_LIST_QUOTE)."""

LATE = frozenset(
    [
        "default_transaction_read_only",
        "event_triggers",
        "idle_in_transaction_session_timeout",
        "idle_session_timeout",
        "lock_timeout",
        "role",
        "statement_timeout",
        "synchronous_commit",
        "transaction_timeout",
    ]
)
"""Settings that would stand in the way of restoring, or slow it; set when the database takes its place."""

_ELEMENT = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^,\s]+))\s*(?:,|\Z)')


def create(
    name: str,
    described: Mapping[str, Any],
    major: int,
    *,
    owner: bool = True,
    tablespace: bool = True,
    closed: bool = False,
) -> str:
    """CREATE DATABASE with the encoding and locale that it had.

    Args:
        major: of the server that gets it.
        owner, tablespace: as they were, or else the server's defaults.
        closed: only superusers may connect, until `access` says otherwise.
    """
    parts = [f"CREATE DATABASE {identifier(name)} TEMPLATE template0"]
    if owner:
        parts.append(f"OWNER {identifier(described['owner'])}")
    parts.append(f"ENCODING {literal(described['encoding'])}")
    parts += locale(described, major)
    if tablespace and described["tablespace"] != "pg_default":
        parts.append(f"TABLESPACE {identifier(described['tablespace'])}")
    if closed:
        parts.append("CONNECTION LIMIT 0")
    return " ".join(parts)


def locale(described: Mapping[str, Any], major: int) -> list[str]:
    """The clauses of CREATE DATABASE about the locale."""
    provider = described["locale_provider"]
    parts = [f"LC_COLLATE {literal(described['collate'])}", f"LC_CTYPE {literal(described['ctype'])}"]
    if major >= 15:
        parts.insert(0, f"LOCALE_PROVIDER {provider}")
    if provider != "libc" and described["locale"]:
        parts.append(f"{'ICU_LOCALE' if provider == 'icu' else 'BUILTIN_LOCALE'} {literal(described['locale'])}")
    if provider == "icu" and described["icu_rules"]:
        parts.append(f"ICU_RULES {literal(described['icu_rules'])}")
    return parts


def settings(name: str, described: Mapping[str, Any], *, late: bool, roles: Iterable[str] | None = None) -> list[str]:
    """ALTER DATABASE … SET and ALTER ROLE … IN DATABASE … SET.

    Args:
        late: only those of LATE, or only the others.
        roles: set those of these roles only; None sets all.
    """
    database = identifier(name)
    statements = [
        f"ALTER DATABASE {database} {_set(one)}" for one in described["settings"] if (_name(one) in LATE) is late
    ]
    for role, values in sorted(described["role_settings"].items()):
        if roles is None or role in roles:
            statements += [
                f"ALTER ROLE {identifier(role)} IN DATABASE {database} {_set(one)}"
                for one in values
                if (_name(one) in LATE) is late
            ]
    return statements


def _name(setting: str) -> str:
    return setting.partition("=")[0].lower()


def _set(setting: str) -> str:
    """The SET clause of `name=value` as the catalogue has it."""
    name, _equals, value = setting.partition("=")
    if name.lower() not in LISTS:
        return f"SET {_setting_name(name)} TO {literal(value)}"
    elements = [quoted.replace('""', '"') or plain for quoted, plain in _ELEMENT.findall(value)] or [""]
    return f"SET {_setting_name(name)} TO {', '.join(literal(element) for element in elements)}"


def _setting_name(name: str) -> str:
    """`work_mem`, or `app.tenant` with each part quoted."""
    return identifier(*name.split("."))


def access(name: str, described: Mapping[str, Any]) -> list[str]:
    """Who may connect: grants, the connection limit, whether it is a template; labels of security modules."""
    database = identifier(name)
    statements = []
    if described["acl"] is not None:
        statements.append(f"REVOKE ALL ON DATABASE {database} FROM PUBLIC")
        statements.append(f"REVOKE ALL ON DATABASE {database} FROM {identifier(described['owner'])}")
        # The owner's grants first: another can only pass on what it was given.
        for grant in sorted(described["acl"], key=lambda one: one["grantor"] != described["owner"]):
            statements += _grant(database, grant, described["owner"])
    for label in described["security_labels"]:
        statements.append(
            f"SECURITY LABEL FOR {identifier(label['provider'])} ON DATABASE {database} IS {literal(label['label'])}"
        )
    statements.append(f"ALTER DATABASE {database} CONNECTION LIMIT {int(described['connection_limit'])}")
    if described["is_template"]:
        statements.append(f"ALTER DATABASE {database} IS_TEMPLATE true")
    return statements


def _grant(database: str, grant: Mapping[str, Any], owner: str) -> list[str]:
    grantee = "PUBLIC" if grant["grantee"] is None else identifier(grant["grantee"])
    option = " WITH GRANT OPTION" if grant["grantable"] else ""
    statement = f"GRANT {grant['privilege']} ON DATABASE {database} TO {grantee}{option}"
    if grant["grantor"] == owner:
        return [statement]
    return [f"SET LOCAL ROLE {identifier(grant['grantor'])}", statement, "RESET ROLE"]


def comment(name: str, text: str | None) -> str:
    return f"COMMENT ON DATABASE {identifier(name)} IS {'NULL' if text is None else literal(text)}"
