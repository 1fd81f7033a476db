# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that several kinds of checks share, spelled once.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

from typing import Any


def secret(name: str) -> dict[str, Any]:
    """The option for a secret, and its sibling that names a file with it; `_secret_files.secret` reads either."""
    return {name: {"type": "str", "no_log": True}, f"{name}_file": {"type": "path", "no_log": False}}
