# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the option family `encryption`; the spec is in module_utils/_arguments.py."""

from __future__ import annotations


class ModuleDocFragment:
    """The options that every module of this family takes."""

    DOCUMENTATION = r"""
options:
  encryption:
    description:
      - How the artefacts are encrypted before they leave this host.
      - With V(age), the host that makes backups cannot read them; keep the identity elsewhere.
      - Without this option, backups are stored unencrypted.
    type: dict
    suboptions:
      method:
        description: The format. V(gpg) needs the C(gpg) program on the host.
        type: str
        choices: [age, gpg, none]
        default: none
      recipients:
        description:
          - 'O(encryption.method=age): public keys, C(age1...) or C(ssh-ed25519 ...) or C(ssh-rsa ...).'
          - 'O(encryption.method=gpg): key ids or fingerprints in the keyring of O(encryption.gpg_home).'
        type: list
        elements: str
        default: []
      recipients_file:
        description: 'O(encryption.method=age): a file with one recipient a line.'
        type: path
      passphrase_file:
        description:
          - 'O(encryption.method=gpg): a file with the passphrase of symmetric encryption (AES256), instead of
            recipients.'
          - The file must not be readable by others.
        type: path
      gpg_home:
        description: The GnuPG home directory with the recipients' keys.
        type: path
  compression:
    description:
      - How the artefacts are compressed. What is compressed already is never compressed again.
      - Without this option, zstd level 1 is used with as many threads as there are cores, at most 4.
    type: dict
    suboptions:
      method:
        description: The format.
        type: str
        choices: [zstd, none]
        default: zstd
      level:
        description: From 1 (fastest) to 19 (smallest). A high level uses fewer threads, so that memory stays small.
        type: int
        default: 1
      threads:
        description: V(0) means as many as there are cores, at most 4.
        type: int
        default: 0
"""
