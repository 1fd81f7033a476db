# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which schemas and tables of a database are dumped: names with wildcards, read once for pg_dump and for ourselves.

PRIVATE to the collection; may change without notice.

A name is taken as it is stored (no folding to lower case); `*` and `?` are wildcards; a part in double quotes is
taken literally, dots and stars included.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..._errors import InvalidOption, NotFound
from ._catalog import Relation
from ._sql import identifier

OPTIONS: Mapping[str, Any] = {
    "schemas": {"type": "list", "elements": "str", "default": []},
    "exclude_schemas": {"type": "list", "elements": "str", "default": []},
    "tables": {"type": "list", "elements": "str", "default": []},
    "exclude_tables": {"type": "list", "elements": "str", "default": []},
    "exclude_table_data": {"type": "list", "elements": "str", "default": []},
}

_TOKEN = re.compile(r'"((?:[^"]|"")*)"|([*?])|(\.)|([^"*?.]+)')


@dataclass(frozen=True)
class Pattern:
    """One name with wildcards.

    Attributes:
        text: as the user wrote it.
        parts: one or two of a schema and a name; each a list of literal pieces and the wildcards `*` and `?`
            (a literal piece is a 1-tuple, a wildcard a string).
    """

    text: str
    parts: tuple[tuple[str | tuple[str], ...], ...]

    @classmethod
    def parse(cls, text: str, option: str, most: int) -> Pattern:
        """Read one.

        Args:
            most: parts that are allowed (a schema has 1, a table 2).

        Raises:
            InvalidOption: it cannot be read.
        """
        parts: list[list[str | tuple[str]]] = [[]]
        position = 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise InvalidOption(f"{option}: {text!r} has an unfinished quote.", stage="preflight")
            position = match.end()
            if match[3] is not None:
                parts.append([])
            elif match[2] is not None:
                parts[-1].append(match[2])
            else:
                piece = match[1].replace('""', '"') if match[1] is not None else match[4]
                parts[-1].append((piece,))
        if not all(parts) or len(parts) > most:
            shape = "schema.table or table" if most > 1 else "schema"
            raise InvalidOption(
                f"{option}: {text!r} is not of the form {shape}.",
                stage="preflight",
                hint="Put a part that holds a dot into double quotes.",
            )
        return cls(text, tuple(tuple(part) for part in parts))

    def matches(self, schema: str, name: str | None = None) -> bool:
        """Whether it means this schema (`name` None) or table."""
        given = (schema,) if name is None else (schema, name)[-len(self.parts) :]
        return all(_regex(part).fullmatch(text) for part, text in zip(self.parts, given))


def _regex(part: Iterable[str | tuple[str]]) -> re.Pattern[str]:
    wild = {"*": ".*", "?": "."}
    return re.compile("".join(wild[p] if isinstance(p, str) else re.escape(p[0]) for p in part), re.DOTALL)


@dataclass(frozen=True)
class Selection:
    """What of a database is dumped. Empty means all of it."""

    schemas: Sequence[Pattern] = ()
    exclude_schemas: Sequence[Pattern] = ()
    tables: Sequence[Pattern] = ()
    exclude_tables: Sequence[Pattern] = ()
    exclude_table_data: Sequence[Pattern] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Selection:
        """Read the options.

        Raises:
            InvalidOption: a name cannot be read, or tables are combined with schemas (pg_dump would ignore those).
        """
        given = {name: [str(text) for text in options.get(name) or ()] for name in OPTIONS}
        if given["tables"] and (given["schemas"] or given["exclude_schemas"]):
            raise InvalidOption(
                "tables excludes schemas and exclude_schemas: chosen tables are dumped whatever their schema.",
                stage="preflight",
            )
        parsed = {
            name: tuple(Pattern.parse(text, name, 1 if name.endswith("schemas") else 2) for text in texts)
            for name, texts in given.items()
        }
        return cls(**parsed, options={name: texts for name, texts in given.items() if texts})

    @property
    def partial(self) -> bool:
        """Whether parts were chosen, so that what belongs to no schema (extensions, large objects) is not all there."""
        return bool(self.schemas or self.tables)

    @property
    def everything(self) -> bool:
        """Whether nothing was chosen and nothing left out."""
        return not self.options

    def dumped(self, relations: Sequence[Relation]) -> list[Relation]:
        """The relations whose definition is dumped."""
        wanted = [relation for relation in relations if self._in_schemas(relation)]
        if self.tables:
            chosen = {relation.oid for relation in _with_children(relations, self.tables)}
            wanted = [r for r in wanted if r.oid in chosen or r.owned_by in chosen]
        gone = {relation.oid for relation in _with_children(relations, self.exclude_tables)}
        kept = {relation.oid for relation in wanted} - gone
        # pg_dump leaves an identity's sequence out with its table; a sequence without its table proves nothing anyway.
        return [r for r in wanted if r.oid in kept and (r.owned_by is None or r.owned_by in kept)]

    def with_data(self, relations: Sequence[Relation]) -> list[Relation]:
        """The relations whose contents are dumped."""
        gone = {relation.oid for relation in _with_children(relations, self.exclude_table_data)}
        return [relation for relation in self.dumped(relations) if relation.oid not in gone]

    def _in_schemas(self, relation: Relation) -> bool:
        if any(pattern.matches(relation.schema) for pattern in self.exclude_schemas):
            return False
        return not self.schemas or any(pattern.matches(relation.schema) for pattern in self.schemas)

    def check(self, relations: Sequence[Relation], schemas: Iterable[str], database: str) -> list[str]:
        """Compare the names with what there is; returns warnings about what is left out but does not exist.

        Raises:
            NotFound: a chosen schema or table does not exist.
        """
        known = list(schemas)
        warnings = []
        for option in OPTIONS:
            for pattern in getattr(self, option):
                if option.endswith("schemas"):
                    found = any(pattern.matches(schema) for schema in known)
                else:
                    found = any(pattern.matches(*relation.key) for relation in relations)
                if found:
                    continue
                if option in ("schemas", "tables"):
                    raise NotFound(
                        f"Nothing in {database!r} is meant by {option}: {pattern.text!r}.", stage="preflight"
                    )
                warnings.append(f"Nothing in {database!r} is meant by {option}: {pattern.text!r}.")
        return warnings

    def arguments(self, relations: Sequence[Relation], schemas: Iterable[str], tool_major: int) -> list[str]:
        """As options of pg_dump: every schema and table by its full name, so that its own notion of patterns, case
        and search path does not matter and partitions follow their parents in every version."""
        known = list(schemas)
        found = []
        for flag, patterns in (("--schema", self.schemas), ("--exclude-schema", self.exclude_schemas)):
            found += [f"{flag}={identifier(s)}" for s in known if any(p.matches(s) for p in patterns)]
        for flag, patterns in (
            ("--table", self.tables),
            ("--exclude-table", self.exclude_tables),
            ("--exclude-table-data", self.exclude_table_data),
        ):
            found += [f"{flag}={identifier(*relation.key)}" for relation in _with_children(relations, patterns)]
        if self.partial and tool_major >= 14:
            found.append("--extension=*")  # otherwise left out as soon as something is chosen
        return found


def _with_children(relations: Sequence[Relation], patterns: Sequence[Pattern]) -> list[Relation]:
    """What the patterns mean, with every partition and child of it."""
    if not patterns:
        return []
    found = {r.oid for r in relations if any(pattern.matches(*r.key) for pattern in patterns)}
    while True:
        more = {r.oid for r in relations if r.oid not in found and any(p in found for p in r.parents or ())}
        if not more:
            return [relation for relation in relations if relation.oid in found]
        found |= more
