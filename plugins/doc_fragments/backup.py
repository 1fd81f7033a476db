# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the option family `backup`; the spec is in module_utils/_arguments.py."""

from __future__ import annotations


class ModuleDocFragment:
    """The options that every module of this family takes."""

    DOCUMENTATION = r"""
options:
  max_age:
    description:
      - Do nothing while a committed backup that was made with the same options is younger than this in every
        repository, such as V(20h).
      - Makes the task idempotent. Without it every run makes a backup.
    type: str
  set:
    description: A stamp that this backup shares with those of other components, so that they can be restored together.
    type: str
"""
