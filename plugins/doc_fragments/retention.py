# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the option family `retention`; the spec is in module_utils/_arguments.py."""

from __future__ import annotations


class ModuleDocFragment:
    """The options that every module of this family takes."""

    DOCUMENTATION = r"""
options:
  retention:
    description:
      - Which backups to keep. A backup that any rule keeps is kept.
      - Only verified backups count. An unverified one is kept while no newer verified one exists, and where the rules
        would keep it were it verified. One that failed its verification is kept until
        O(retention.minimum_verified) newer verified ones exist.
      - At least one rule is needed. Hours, days, weeks, months and years are those of the UTC calendar, and one
        without a backup uses up no count.
    type: dict
    required: true
    suboptions:
      last:
        description: Keep so many of the newest backups. In all numbers, V(-1) means all.
        type: int
      hourly:
        description: Keep the newest backup of each of so many hours that have one.
        type: int
      daily:
        description: Keep the newest backup of each of so many days that have one.
        type: int
      weekly:
        description: Keep the newest backup of each of so many ISO weeks that have one.
        type: int
      monthly:
        description: Keep the newest backup of each of so many months that have one.
        type: int
      yearly:
        description: Keep the newest backup of each of so many years that have one.
        type: int
      within:
        description:
          - Keep everything that is this close to the newest verified backup, such as V(14d) or V(1y6m).
          - It is not measured from now, so that backups that have stopped do not take the last good ones with them.
        type: str
      minimum_verified:
        description: With fewer verified backups than this, nothing at all is deleted. So many are kept in any case.
        type: int
        default: 3
      verified_level:
        description: The level of verification from which on a backup counts as verified.
        type: str
        choices: [stat, checksum, archive, restore]
        default: checksum
  blob_grace:
    description:
      - Time between the mark on a large file that no backup refers to and its deletion, in a later run.
      - It must be longer than O(max_runtime), so that no running backup can lose a file that it relies on.
    type: str
    default: 7d
"""
