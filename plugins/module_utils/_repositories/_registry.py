# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stores. A new one is one file beside this one, one import below and a doc fragment.

PRIVATE to the collection; may change without notice.

The imports are spelled out because Ansible ships to a host only what is imported statically. They stand here and not
in `__init__.py`, which ansible-test of ansible-core 2.17 wants empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable

from .._errors import InvalidOption
from ._interface import Repository
from ._local import LocalRepository
from ._s3 import S3Repository

Factory = Callable[[str, Mapping[str, Any]], Repository]

REPOSITORIES: dict[str, type[Repository]] = {store.type: store for store in (LocalRepository, S3Repository)}


def open_repository(spec: Mapping[str, Any], component: str) -> Repository:
    """The place of one component in a declared repository.

    Args:
        spec: the declaration: `name`, `type` and the options of that type.
        component: its own prefix below the repository's.

    Raises:
        InvalidOption: there is no such type, or its options cannot be right.
    """
    kind = spec.get("type")
    if kind not in REPOSITORIES:
        known = ", ".join(sorted(REPOSITORIES))
        raise InvalidOption(f"The repository {spec.get('name')} has an unknown type; known: {known}.")
    prefix = "/".join(part.strip("/") for part in (spec.get("prefix") or "", component) if part.strip("/"))
    factory: Factory = REPOSITORIES[kind]
    return factory(str(spec["name"]), {**spec, "prefix": prefix})
