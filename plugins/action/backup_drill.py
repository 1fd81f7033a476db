# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""holdfast.ops.backup_drill, with its progress shown. The module works without this file too."""

from __future__ import annotations

from ansible_collections.holdfast.ops.plugins.plugin_utils._action import ModuleAction


class ActionModule(ModuleAction):
    """Runs the module of the same name."""
