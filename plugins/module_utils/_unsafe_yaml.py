# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values as YAML in which every string is tagged `!unsafe`, so that Ansible reads it as it is and never templates it.

PRIVATE to the collection; may change without notice.

The form is JSON with tags (flow style), with everything but printable ASCII escaped: there is nothing in it that a
YAML parser could understand in another way.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


class Plain(str):
    """A string that Ansible may look into: the few that are ours, such as the name of a connection."""

    __slots__ = ()


def dump(value: Any, indent: int | None = 2) -> str:
    """A mapping, list, string, number, boolean or None as YAML.

    Args:
        indent: blanks a level; None puts everything on one line.

    Raises:
        TypeError: another type, or a key that is no string.
    """
    return "".join(_parts(value, indent, 0))


def _parts(value: Any, indent: int | None, level: int) -> Iterator[str]:
    if isinstance(value, str):
        yield _quoted(value) if isinstance(value, Plain) else f"!unsafe {_quoted(value)}"
    elif value is None or isinstance(value, (bool, int, float)):
        yield _number(value)
    elif isinstance(value, Mapping):
        yield from _container("{}", (_pair(key, item, indent, level) for key, item in value.items()), indent, level)
    elif isinstance(value, (list, tuple)):
        yield from _container("[]", (_parts(item, indent, level + 1) for item in value), indent, level)
    else:
        raise TypeError(f"{type(value).__name__} cannot be written as YAML")


def _container(brackets: str, items: Iterator[Iterator[str]], indent: int | None, level: int) -> Iterator[str]:
    separator = " " if indent is None else f"\n{' ' * (indent * (level + 1))}"
    yield brackets[0]
    empty = True
    for item in items:
        yield ("" if indent is None else separator) if empty else f",{separator}"
        yield from item
        empty = False
    if indent is not None and not empty:
        yield f"\n{' ' * (indent * level)}"
    yield brackets[1]


def _pair(key: Any, value: Any, indent: int | None, level: int) -> Iterator[str]:
    if not isinstance(key, str):
        raise TypeError(f"a key that is {type(key).__name__} cannot be written as YAML")
    yield f"{_quoted(key)}: "
    yield from _parts(value, indent, level + 1)


def _number(value: bool | float | None) -> str:
    text = json.dumps(value)
    # YAML 1.1 takes `1e-07` for a string; with a point it is a number.
    return text.replace("e", ".0e") if isinstance(value, float) and "e" in text and "." not in text else text


def _quoted(text: str) -> str:
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(character: str) -> str:
    code = ord(character)
    if 0x20 <= code < 0x7F:
        return f"\\{character}" if character in '"\\' else character
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
