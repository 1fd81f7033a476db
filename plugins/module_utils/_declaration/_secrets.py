# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking the secrets out of what a user declared: each goes into a file, and an option names that file instead.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable

PlaceSecret = Callable[[str, str], str]
"""(a name that is safe for a file, the secret) → the path of the file that holds it on the host."""


def place_secrets(
    values: Mapping[Any, Any], options: Mapping[str, Any], name: str, place: PlaceSecret
) -> dict[str, Any]:
    """The same values with `<option>_file` in the place of each option that holds a secret.

    Args:
        values: what was declared, checked already.
        options: the spec of it, in Ansible's form; a secret is what has `no_log: true`.
        name: whose secrets these are, such as `component-omnidoc_db`; unique, and safe as the name of a file.
        place: takes a secret and says where it will be.
    """
    spellings = {alias: key for key, option in options.items() for alias in (key, *option.get("aliases", ()))}
    placed: dict[str, Any] = {}
    for key, value in values.items():
        option_name = spellings.get(key, key)
        option = options.get(option_name, {})
        where = f"{name}-{option_name}"
        if option.get("no_log") is True and isinstance(value, str) and value:
            placed[f"{option_name}_file"] = place(where, value)
        else:
            placed[key] = _below(value, option.get("options") or {}, where, place)
    return placed


def _below(value: Any, options: Mapping[str, Any], name: str, place: PlaceSecret) -> Any:
    if not options:
        return value
    if isinstance(value, Mapping):
        return place_secrets(value, options, name, place)
    if isinstance(value, (list, tuple)):
        return [_below(item, options, f"{name}.{number}", place) for number, item in enumerate(value)]
    return value
