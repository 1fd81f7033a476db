# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roles and tablespaces: `pg_dumpall --globals-only` read as statements, so that only what is wanted is executed.

PRIVATE to the collection; may change without notice.

The dump of the globals holds `ALTER ROLE … PASSWORD` for every role and no error would stop it: run as it is, it
resets the passwords of a living cluster. So it is never run as it is.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from ..._errors import Corrupted, NotFound
from ._sql import Session, identifier, literals

_TOKEN = re.compile(
    r"""(?P<skip>\s+|--[^\n]*|/\*.*?\*/|^\\[^\n]*)
    |(?P<string>[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*')
    |(?P<quoted>"(?:[^"]|"")+")
    |(?P<word>[^\W\d][\w$]*)
    |(?P<end>;)
    |(?P<broken>['"])
    |(?P<other>.)""",
    re.DOTALL | re.VERBOSE | re.MULTILINE,
)
_DEFAULTS = ("NOSUPERUSER", "NOREPLICATION", "NOBYPASSRLS")
"""What a new role is anyway; saying so takes a superuser."""


@dataclass(frozen=True)
class Token:
    """A word (folded), quoted name (unquoted), string or other sign, and where it stands."""

    kind: str
    value: str
    start: int
    end: int

    def is_word(self, *words: str) -> bool:
        return self.kind == "word" and self.value in words


@dataclass(frozen=True)
class Statement:
    """One statement of the globals.

    Attributes:
        kind: `create_role`, `attributes`, `setting`, `role_note` (comment, security label), `membership`,
            `parameter` (a grant on a setting), `tablespace`, `session` (a SET of the script itself) or `other`.
        role: whom it is about (of a membership: the member).
        group: of a membership: the role that is granted.
        name: of the tablespace.
    """

    text: str
    kind: str = "other"
    role: str = ""
    group: str = ""
    name: str = ""
    tokens: tuple[Token, ...] = field(default=(), repr=False, compare=False)

    def without(self, spans: Iterable[tuple[Token, Token]]) -> str:
        """The text with the given runs of tokens (first, last) taken out."""
        text = self.text
        for first, last in sorted(spans, key=lambda span: -span[0].start):
            text = text[: first.start].rstrip() + text[last.end :]
        return text

    @property
    def grantor(self) -> str | None:
        return next((_name(self.tokens[i + 2]) for i in self._pairs("GRANTED", "BY")), None)

    @property
    def gives_admin(self) -> bool:
        return any(
            self.tokens[i + 1].is_word("OPTION", "TRUE") for i, t in enumerate(self.tokens) if t.is_word("ADMIN")
        )

    def without_grantor(self) -> str:
        return self.without((self.tokens[i], self.tokens[i + 2]) for i in self._pairs("GRANTED", "BY"))

    def without_password(self) -> str:
        return self.without(
            (token, self.tokens[i + 1]) for i, token in enumerate(self.tokens) if token.is_word("PASSWORD")
        )

    def without_defaults(self) -> str:
        """Of `ALTER ROLE … WITH`: leave out what only repeats a new role's defaults."""
        return self.without((token, token) for token in self.tokens if token.is_word(*_DEFAULTS))

    def _pairs(self, first: str, second: str) -> Iterator[int]:
        return (
            i
            for i in range(len(self.tokens) - 2)
            if self.tokens[i].is_word(first) and self.tokens[i + 1].is_word(second)
        )


def parse(script: str) -> list[Statement]:
    """The statements of a script of pg_dumpall; psql's own commands (`\\restrict`) and comments are passed over.

    Raises:
        Corrupted: it breaks off in the middle.
    """
    statements: list[Statement] = []
    tokens: list[Token] = []
    for match in _TOKEN.finditer(script):
        kind = match.lastgroup or "other"
        if kind == "broken":
            raise Corrupted("The dump of the roles breaks off within a quoted text.")
        if kind == "end":
            statements.append(_statement(script, tokens))
            tokens = []
        elif kind != "skip":
            tokens.append(Token(kind, _value(kind, match.group()), match.start(), match.end()))
    if tokens:
        raise Corrupted("The dump of the roles breaks off within a statement.")
    return statements


def _value(kind: str, text: str) -> str:
    if kind == "quoted":
        return text[1:-1].replace('""', '"')
    return text.upper() if kind == "word" else text


def _statement(script: str, tokens: list[Token]) -> Statement:
    start = tokens[0].start if tokens else 0
    text = script[start : tokens[-1].end] if tokens else ""
    moved = tuple(Token(t.kind, t.value, t.start - start, t.end - start) for t in tokens)
    return Statement(text, *_classify(moved), tokens=moved)


def _name(token: Token) -> str:
    """A name as the server folds it."""
    return token.value.lower() if token.kind == "word" else token.value


def _classify(tokens: tuple[Token, ...]) -> tuple[str, str, str, str]:
    """(kind, role, group, tablespace) of a statement."""
    words = [token.value if token.kind == "word" else "" for token in tokens]
    verb, what = (*words, "", "")[:2]
    if verb == "GRANT" and words[2:3] == ["TO"]:
        return "membership", _name(tokens[3]), _name(tokens[1]), ""
    position = 1
    if verb in ("COMMENT", "SECURITY", "GRANT", "REVOKE") and "ON" in words:
        position = words.index("ON") + 1
        what = words[position]
    if what == "ROLE":
        if verb == "ALTER":
            return ("attributes" if words[3:4] == ["WITH"] else "setting"), _name(tokens[2]), "", ""
        return ("create_role" if verb == "CREATE" else "role_note"), _name(tokens[position + 1]), "", ""
    if what == "TABLESPACE":
        return "tablespace", "", "", _name(tokens[position + 1])
    if what == "PARAMETER":
        return "parameter", _name(tokens[words.index("TO", position) + 1]), "", ""
    return ("session" if verb == "SET" else "other"), "", "", ""


class Globals:
    """What a dump of the globals holds."""

    def __init__(self, script: str) -> None:
        self.statements = parse(script)
        self.roles = [s.role for s in self.statements if s.kind == "create_role"]
        self.tablespaces = [s.name for s in self.statements if s.kind == "tablespace" and s.text.startswith("CREATE")]

    @classmethod
    def naming(cls, roles: Iterable[str]) -> Globals:
        """Globals that hold nothing but some roles."""
        return cls("".join(f"CREATE ROLE {identifier(role)};\n" for role in roles))

    def creating(self, wanted: Collection[str], existing: Collection[str], *, bare: bool = False) -> list[str]:
        """Statements that create the wanted roles which do not exist, and touch nothing that does.

        A membership is made when one of its two sides is new; the role that restores is its grantor.

        Args:
            bare: without passwords, settings and comments (for a scratch place).
        """
        new = {role for role in self.roles if role in set(wanted) - set(existing)}
        known = new | set(existing)
        statements = []
        for s in self.statements:
            if s.kind == "membership":
                if {s.role, s.group} & new and {s.role, s.group} <= known:
                    statements.append(s.without_grantor())
            elif s.role not in new:
                continue
            elif s.kind == "attributes":
                statements.append((_again(s.without_password()) if bare else s).without_defaults())
            elif s.kind == "create_role" or not bare:
                statements.append(s.text)
        return statements

    def replaying(self, existing: Collection[str], bootstrap: str, login: str) -> list[str]:
        """Statements that make the roles what they were, existing ones too, but for the password of the role that
        restores: with it the rest of the restore would lock itself out.

        Args:
            bootstrap: the target cluster's first superuser, whom any grant may name as its grantor.
            login: the role that restores.
        """
        admins = {(s.group, s.role) for s in self.statements if s.kind == "membership" and s.gives_admin}
        statements = []
        for s in self.statements:
            if s.kind in ("session", "tablespace", "other") or (s.kind == "create_role" and s.role in existing):
                continue
            if s.kind == "membership" and s.grantor not in (None, bootstrap) and (s.group, s.grantor) not in admins:
                statements.append(s.without_grantor())  # the dumped cluster's first superuser, by its other name
            elif s.kind == "attributes" and s.role == login:
                statements.append(s.without_password())
            else:
                statements.append(s.text)
        return statements

    def members(self, groups: Collection[str]) -> set[str]:
        """The roles that belong to some others, by way of others too."""
        found = set(groups)
        while True:
            more = {s.role for s in self.statements if s.kind == "membership" and s.group in found} - found
            if not more:
                return found - set(groups)
            found |= more

    def tablespace_statements(self, existing: Collection[str]) -> list[str]:
        """Statements that make the tablespaces which do not exist; they cannot run in a transaction."""
        return [s.text for s in self.statements if s.kind == "tablespace" and s.name not in existing]


def _again(text: str) -> Statement:
    return parse(text + ";")[0]


def existing_roles(session: Session) -> set[str]:
    """All roles of the cluster, the predefined ones (`pg_…`) among them."""
    return {row["rolname"] for row in session.rows("SELECT rolname FROM pg_roles")}


def missing_roles(session: Session, wanted: Iterable[str]) -> list[str]:
    """Those of the wanted roles that the cluster does not have."""
    names = sorted(set(wanted))
    if not names:
        return []
    rows = session.rows(
        f"SELECT role FROM unnest({literals(names)}) AS wanted (role)"
        " WHERE role NOT IN (SELECT rolname FROM pg_roles) ORDER BY role"
    )
    return [row["role"] for row in rows]


def check_wanted(missing: Collection[str], source: Globals | None) -> None:
    """
    Raises:
        NotFound: a role that the database refers to exists neither here nor in the backup's globals.
    """
    lost = sorted(set(missing) - set(source.roles if source else ()))
    if lost:
        raise NotFound(
            f"The database refers to roles that the target does not have: {', '.join(lost)}.",
            stage="preflight",
            hint="Create them first, or let the restore create them from the backup (globals: missing).",
        )


def apply(session: Session, statements: Iterable[str]) -> None:
    """Run statements in one transaction, all or none, unseen by the server's log (they hold password verifiers)."""
    with session.transaction():
        for name, value in (
            ("log_statement", "none"),
            ("log_min_duration_statement", "-1"),
            ("log_min_error_statement", "panic"),
        ):
            # Only a superuser may; whoever is none has a log that it cannot quiet.
            session.execute(
                f"SELECT set_config('{name}', '{value}', true) FROM pg_roles WHERE rolname = current_user AND rolsuper"
            )
        for statement in statements:
            session.execute(statement)
