# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the option family `restore`; the spec is in module_utils/_arguments.py."""

from __future__ import annotations


class ModuleDocFragment:
    """The options that every module of this family takes."""

    DOCUMENTATION = r"""
options:
  backup_id:
    description: The id of a backup, or V(latest).
    type: str
    default: latest
  at:
    description:
      - With O(backup_id=latest), the newest backup of this moment or an earlier one, such as
        V(2026-11-22T02:00:00Z). Without an offset it is UTC.
    type: str
  confirm:
    description:
      - The name of the live thing that may be replaced. A restore into something that is in use is refused
        without it.
    type: str
  services:
    description:
      - systemd units that are stopped before a live target is replaced, and started again whatever happens.
      - Only those that were running are started again.
    type: list
    elements: str
    default: []
  safety_backup:
    description:
      - Back up what will be replaced, first, into the same repositories.
      - It belongs to the set V(before-restore), and O(backup_id=latest) passes it over.
    type: bool
    default: false
"""
