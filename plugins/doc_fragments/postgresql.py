# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the option family `postgresql`: which databases, beside the fragment `postgresql_login`.

The spec is in module_utils/_engines/_postgresql.py.
"""

from __future__ import annotations


class ModuleDocFragment:
    """The options that every module of this family takes."""

    DOCUMENTATION = r"""
options:
  database:
    description: One database. Any name is possible; it is never taken for a connection string.
    type: str
  databases:
    description:
      - Several databases, or V(all) for every database of the server that allows connections.
      - A database that is called C(all) is named by O(database).
    type: list
    elements: str
  maintenance_db:
    description: Database to connect to for what concerns the whole server. V(template1) is tried where it is missing.
    type: str
    default: postgres
  statement_timeout:
    description:
      - Seconds to wait for the answer to a question about the catalogue. V(0) waits for ever.
      - Counting, copying and restoring rows is not limited by it.
    type: int
    default: 300
requirements:
  - the PostgreSQL client programs of at least the server's major version
"""
