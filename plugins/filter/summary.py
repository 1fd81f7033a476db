# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter holdfast.ops.summary."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.holdfast.ops.plugins.plugin_utils._report import summary

DOCUMENTATION = r"""
name: summary
short_description: What was done for each component, in lines to read
version_added: 1.0.0
author:
  - holdfast.ops authors (@holdfast)
description:
  - Turns what M(holdfast.ops.component) returned in a loop into a few lines for each component, and a last line that
    names those that failed.
options:
  _input:
    description: The C(results) of a loop over components.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Report
  ansible.builtin.debug:
    msg: "{{ backup_done.results | holdfast.ops.summary }}"
"""

RETURN = r"""
_value:
  description: Lines to read.
  type: list
  elements: str
"""


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"summary": summary}
