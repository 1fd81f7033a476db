# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collecting the problems of a declaration: where each is, what is wrong, and what was probably meant.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from .._errors import InvalidOption

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")


class InvalidDeclaration(InvalidOption):
    """The declaration cannot be right. `problems` holds one line each, `<subject>: <key path>: <what is wrong>`."""

    code = "invalid_declaration"

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__(
            "\n".join([f"The declaration has {count}; nothing was touched.", *(f"- {line}" for line in self.problems)]),
            stage="declaration",
        )

    def result(self) -> dict[str, Any]:
        return {**super().result(), "problems": list(self.problems)}


class Report:
    """A place in the declaration to which problems can be added; all places of one check share the same lines."""

    def __init__(self, lines: list[str], subject: str, path: str = "") -> None:
        self._lines = lines
        self._subject = subject
        self._path = path

    @property
    def count(self) -> int:
        """How many problems there are, anywhere."""
        return len(self._lines)

    def about(self, subject: str) -> Report:
        """The place of another subject."""
        return Report(self._lines, subject)

    def key(self, name: str) -> Report:
        """The place of a key below this one."""
        return Report(self._lines, self._subject, f"{self._path}.{name}" if self._path else name)

    def index(self, number: int) -> Report:
        """The place of a list's element, counted from 0 as Ansible does."""
        return Report(self._lines, self._subject, f"{self._path}[{number}]")

    def add(self, problem: str) -> None:
        """Add a problem: the rest of a sentence about this place, without a value of the user's."""
        self._lines.append(": ".join(part for part in (self._subject, self._path, problem) if part))

    def unknown_key(self, key: object, valid: Collection[str], note: str = "") -> None:
        """Add a key that nobody knows, with a note on it or the nearest valid one.

        The key is repeated only if it is a plain word: `{secret_key:abc}` (no blank after the colon) is a key to
        YAML, and holds the secret.
        """
        if isinstance(key, str) and _PLAIN_KEY.fullmatch(key):
            self.key(str(key)).add(f"unknown key{note or suggestion(key, valid, 'valid keys')}")
            return
        head = key.split(":", 1)[0].strip() if isinstance(key, str) and ":" in key else ""
        if head in valid:
            self.key(head).add("a blank is missing after the colon")
        else:
            self.add("a key is not a plain word; is a blank missing after its colon, or a quote?")


def suggestion(text: object, valid: Iterable[str], label: str) -> str:
    """`, did you mean X?` when something valid is near, otherwise `; <label>: …`."""
    names = sorted(valid)
    near = difflib.get_close_matches(text.lower(), names, 1) if isinstance(text, str) else []
    if near:
        return f", did you mean {near[0]}?"
    return f"; {label}: {', '.join(names)}" if names else f"; {label}: none"
