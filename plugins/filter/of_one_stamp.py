# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter holdfast.ops.of_one_stamp."""

from __future__ import annotations

from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.holdfast.ops.plugins.module_utils._errors import HoldfastError
from ansible_collections.holdfast.ops.plugins.plugin_utils._report import of_one_stamp

DOCUMENTATION = r"""
name: of_one_stamp
short_description: The backups that were made together
version_added: 1.0.0
author:
  - holdfast.ops authors (@holdfast)
description:
  - Finds the newest stamp that every component of a set has a backup of, and returns the ids of these backups.
  - Fails when there is no such stamp.
positional: set, at
options:
  _input:
    description: What M(holdfast.ops.backup_info) returned for each component of the set.
    type: list
    elements: dict
    required: true
  set:
    description: The name of the set.
    type: str
    required: true
  at:
    description: Only stamps of this moment or earlier, such as V(2026-11-22T20:00:00Z).
    type: str
    default: ''
"""

EXAMPLES = r"""
- name: Which backups belong together?
  ansible.builtin.debug:
    msg: "{{ found.results | holdfast.ops.of_one_stamp('omnidoc') }}"
"""

RETURN = r"""
_value:
  description: The id of a backup for each component.
  type: dict
  sample: {omnidoc_db: 20261122T020003.120Z-1f2e3d4c5b6a, omnidoc_files: 20261122T020107.482Z-aa00bb11cc22}
"""


def _of_one_stamp(results: Any, set: str, at: str = "") -> dict[str, str]:  # noqa: A002 - the documented name
    try:
        return of_one_stamp(results, set, at)
    except HoldfastError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"of_one_stamp": _of_one_stamp}
