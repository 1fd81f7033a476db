# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How this very code is run again in a process of its own.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import os
import sys

RELEASE = os.path.abspath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 6))
"""What `ansible_collections` lies in: on a host the release that was in use when we were started, and stays ours."""

_START = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from ansible_collections.holdfast.ops.plugins.module_utils._host._main import main
sys.exit(main())
"""


def command(*words: str) -> list[str]:
    """The command `holdfast` with these words, of the same release.

    Isolated (`-I`): nothing that lies in the present directory, or that the environment names, is imported by root.
    """
    return [sys.executable, "-I", "-c", _START, RELEASE, *words]
