# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m ansible_collections.holdfast.ops.plugins.module_utils._host`: the command `holdfast`.

PRIVATE to the collection; may change without notice. On a host it is called /usr/local/bin/holdfast.
"""

from __future__ import annotations

from ._main import main

if __name__ == "__main__":
    raise SystemExit(main())
