# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the option family `files`; the spec is in module_utils/_engines/_files.py."""

from __future__ import annotations


class ModuleDocFragment:
    """The options that every module of this family takes."""

    DOCUMENTATION = r"""
options:
  path:
    description:
      - The absolute path of the directory that the component is, with everything in it. It may be a single file.
      - When it is a symbolic link, what it points to is meant. Links below it are backed up as links.
    type: path
    required: true
"""
