# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the option family `identity`; the spec is in module_utils/_arguments.py."""

from __future__ import annotations


class ModuleDocFragment:
    """The options that every module of this family takes."""

    DOCUMENTATION = r"""
options:
  identity:
    description:
      - The private key that reads an encrypted backup.
      - Not needed for unencrypted backups, nor to verify the levels V(stat) and V(checksum).
    type: dict
    suboptions:
      age_file:
        description:
          - A file with C(AGE-SECRET-KEY-1...) lines, or an SSH private key without a passphrase. Must not be
            readable by others.
        type: path
      passphrase_file:
        description: A file with the passphrase of a symmetric gpg backup. Must not be readable by others.
        type: path
      gpg_home:
        description: The GnuPG home directory with the private key.
        type: path
"""
