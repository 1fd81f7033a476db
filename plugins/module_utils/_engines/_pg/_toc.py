# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An archive's table of contents, and what of it belongs to some tables or schemas.

PRIVATE to the collection; may change without notice.

`pg_restore --table` leaves a table without its indexes, constraints, triggers, sequences and grants. The list that
`pg_restore --list --verbose` prints names every entry's dependencies, so that a table can be taken with all of them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from ..._errors import Corrupted, InvalidOption, NotFound
from ._selection import Pattern

_ENTRY = re.compile(r"(?P<id>\d+); (?P<catalogue>\d+) (?P<oid>\d+) (?P<rest>.+)\Z")
_DEPENDS = re.compile(r";\s+depends on: (?P<ids>[\d ]+)\Z")
_HEADER = re.compile(
    r";\s+(?P<name>Dumped from database version|Dumped by pg_dump version|Dump Version|Format): (?P<value>.+)\Z"
)

_RELATIONS = ("TABLE", "FOREIGN TABLE", "VIEW", "MATERIALIZED VIEW", "SEQUENCE")
_NAMED_AFTER_TABLE = (
    "TABLE DATA", "MATERIALIZED VIEW DATA", "CHECK CONSTRAINT", "FK CONSTRAINT", "CONSTRAINT", "TRIGGER", "RULE",
    "POLICY", "ROW SECURITY", "DEFAULT",
)  # fmt: skip
_OWNED = ("INDEX", "STATISTICS", "SEQUENCE")
_ABOUT = ("SEQUENCE OWNED BY", "SEQUENCE SET", "COMMENT", "ACL", "SECURITY LABEL", "INDEX ATTACH", "STATISTICS DATA")
_OTHERS = (
    "TABLE ATTACH", "SCHEMA", "ENCODING", "STDSTRINGS", "SEARCHPATH", "DATABASE", "DATABASE PROPERTIES", "EXTENSION",
    "TYPE", "SHELL TYPE", "DOMAIN", "FUNCTION", "PROCEDURE", "AGGREGATE", "DEFAULT ACL", "BLOB", "BLOBS",
    "BLOB METADATA", "EVENT TRIGGER", "PUBLICATION", "PUBLICATION TABLE", "PUBLICATION TABLES IN SCHEMA",
    "SUBSCRIPTION", "SUBSCRIPTION TABLE", "OPERATOR", "OPERATOR CLASS", "OPERATOR FAMILY", "COLLATION", "CONVERSION",
    "CAST", "TRANSFORM", "ACCESS METHOD", "TEXT SEARCH PARSER", "TEXT SEARCH DICTIONARY", "TEXT SEARCH TEMPLATE",
    "TEXT SEARCH CONFIGURATION", "FOREIGN DATA WRAPPER", "SERVER", "USER MAPPING", "PROCEDURAL LANGUAGE", "LANGUAGE",
)  # fmt: skip
_KINDS = sorted({*_RELATIONS, *_NAMED_AFTER_TABLE, *_OWNED, *_ABOUT, *_OTHERS}, key=len, reverse=True)


@dataclass(frozen=True)
class Entry:
    """One line of the contents.

    Attributes:
        kind: what it is, e.g. `TABLE DATA`.
        rest: `schema name owner`: not quoted, so only somebody who knows the names can take it apart.
    """

    id: int
    line: str
    kind: str
    rest: str
    depends: tuple[int, ...]

    def is_named(self, schema: str, name: str) -> bool:
        return self.rest.startswith(f"{_flat(schema)} {_flat(name)} ")


def _flat(name: str) -> str:
    """A name as the list shows it."""
    return name.replace("\n", " ").replace("\r", " ")


@dataclass(frozen=True)
class Contents:
    """A table of contents.

    Attributes:
        server, tool: major versions of the dumped server and of pg_dump.
    """

    entries: tuple[Entry, ...]
    server: int
    tool: int


def parse(listing: str) -> Contents:
    """Read what `pg_restore --list --verbose` prints.

    Raises:
        Corrupted: it is not that.
    """
    entries: list[Entry] = []
    facts: dict[str, str] = {}
    for line in listing.splitlines():
        entry = _ENTRY.match(line)
        if entry:
            kind = next((k for k in _KINDS if entry["rest"].startswith(k + " ")), entry["rest"].split(" ", 1)[0])
            entries.append(Entry(int(entry["id"]), line, kind, entry["rest"][len(kind) + 1 :], ()))
            continue
        depends = _DEPENDS.match(line)
        if depends and entries:
            ids = tuple(int(number) for number in depends["ids"].split())
            last = entries[-1]
            entries[-1] = Entry(last.id, last.line, last.kind, last.rest, ids)
            continue
        header = _HEADER.match(line)
        if header:
            facts[header["name"]] = header["value"]
    if not entries:
        raise Corrupted("The archive has no table of contents.")
    return Contents(
        tuple(entries),
        _major(facts.get("Dumped from database version")),
        _major(facts.get("Dumped by pg_dump version")),
    )


def _major(text: str | None) -> int:
    match = re.match(r"\d+", text or "")
    return int(match[0]) if match else 0


def table_name(text: str) -> tuple[str, str]:
    """Schema and table of `schema.table`, spelled as for a backup, but without wildcards.

    Raises:
        InvalidOption: it is not that.
    """
    parts = [_plain(part, text, "tables") for part in Pattern.parse(text, "tables", 2).parts]
    if len(parts) != 2:
        raise InvalidOption(f"tables: {text!r} does not name a schema.", stage="preflight", hint="Write schema.table.")
    return parts[0], parts[1]


def schema_name(text: str) -> str:
    """A schema, spelled as for a backup, but without wildcards.

    Raises:
        InvalidOption: it is not that.
    """
    (part,) = Pattern.parse(text, "schemas", 1).parts
    return _plain(part, text, "schemas")


def _plain(part: Iterable[str | tuple[str]], text: str, option: str) -> str:
    if any(isinstance(piece, str) for piece in part):
        raise InvalidOption(
            f"{option}: {text!r} has a wildcard; a restore wants names.",
            stage="preflight",
            hint="Put a name that really holds * or ? into double quotes.",
        )
    return "".join(piece[0] for piece in part)


class Selection:
    """Entries that belong to tables (with their partitions) and schemas.

    Raises:
        NotFound: the archive has no such table or schema.
    """

    def __init__(self, contents: Contents, tables: Iterable[tuple[str, str]], schemas: Collection[str]) -> None:
        self._entries = contents.entries
        self._by_id = {entry.id: entry for entry in contents.entries}
        self.chosen: set[int] = set()
        self._tables: dict[int, tuple[str, str]] = {}
        for schema, name in tables:
            self._add_table(schema, name)
        for schema in schemas:
            self._add_schema(schema)
        self._close()

    def _add_table(self, schema: str, name: str) -> None:
        found = [e for e in self._entries if e.kind in _RELATIONS and e.is_named(schema, name)]
        if not found:
            raise NotFound(f"The backup has no table {schema}.{name}.", stage="preflight")
        # Where a longer name fits too, what is left for the owner is longer by the rest of that name.
        entry = min(found, key=lambda e: len(e.rest))
        prefix = f"{_flat(schema)} {_flat(name)} "
        self._take(entry, prefix, entry.rest[len(prefix) :])

    def _take(self, entry: Entry, prefix: str, owner: str) -> None:
        self.chosen.add(entry.id)
        self._tables[entry.id] = (prefix, owner)

    def _add_schema(self, schema: str) -> None:
        prefix = f"{_flat(schema)} "
        own = sorted(
            (e for e in self._entries if e.kind == "SCHEMA" and e.rest.startswith("- " + prefix)),
            key=lambda e: len(e.rest),
        )
        inside = [e for e in self._entries if e.rest.startswith(prefix) and e.kind != "SCHEMA"]
        if own:  # the others' names begin with this one: `app` and `app two`
            owner = own[0].rest[len(prefix) + 2 :]
            others = tuple(e.rest[2 : -len(owner)] for e in own[1:] if e.rest.endswith(f" {owner}"))
            inside = [e for e in inside if not e.rest.startswith(others)]
            self.chosen.add(own[0].id)
        if not own and not inside:
            raise NotFound(f"The backup has no schema {schema}.", stage="preflight")
        self.chosen |= {e.id for e in inside}

    def _close(self) -> None:
        """Take what belongs to what was taken, until nothing more does."""
        before = -1
        while before != len(self.chosen):
            before = len(self.chosen)
            for entry in self._entries:
                if entry.id not in self.chosen and self._belongs(entry):
                    self.chosen.add(entry.id)

    def _belongs(self, entry: Entry) -> bool:
        if entry.kind == "TABLE ATTACH":
            return self._attaches(entry)
        if entry.kind in _NAMED_AFTER_TABLE:
            return entry.rest.startswith(
                tuple(prefix for prefix, _owner in self._tables.values())
            ) and self._depends_on_chosen(entry)
        if entry.kind in _OWNED:
            return any(i in self.chosen and self._by_id[i].kind in _RELATIONS for i in entry.depends)
        if entry.kind in _ABOUT:
            own = [i for i in entry.depends if i in self._by_id and self._by_id[i].kind != "SCHEMA"] or entry.depends
            return bool(own) and all(i in self.chosen for i in own)
        return False

    def _attaches(self, entry: Entry) -> bool:
        """A partition comes with its table; an entry names the partition first, then the table."""
        child, parent = (*entry.depends, 0, 0)[:2]
        if parent in self.chosen and child in self._by_id and child not in self.chosen:
            entry = self._by_id[child]
            owner = self._tables.get(parent, ("", ""))[1]
            if not entry.rest.endswith(f" {owner}"):
                owner = entry.rest.rpartition(" ")[2]
            self._take(entry, entry.rest[: len(entry.rest) - len(owner)], owner)
        return child in self.chosen

    def _depends_on_chosen(self, entry: Entry) -> bool:
        return any(i in self.chosen for i in entry.depends)

    def leave_out_schemas(self, existing: Collection[str]) -> None:
        """Do not create the schemas that exist already."""
        flat = tuple(f"- {_flat(name)} " for name in existing)
        self.chosen -= {e.id for e in self._entries if e.kind == "SCHEMA" and e.rest.startswith(flat)}

    def holds(self, schema: str, name: str) -> bool:
        """Whether a table or sequence is among them."""
        found = [e for e in self._entries if e.kind in _RELATIONS and e.is_named(schema, name)]
        return bool(found) and min(found, key=lambda e: len(e.rest)).id in self.chosen

    def listing(self) -> str:
        """For `pg_restore --use-list`, in the archive's order."""
        return "".join(f"{entry.line}\n" for entry in self._entries if entry.id in self.chosen)
