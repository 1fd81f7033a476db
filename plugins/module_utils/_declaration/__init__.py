# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user declared: `holdfast_components` and `holdfast_repositories`, checked as a whole before any connection.

PRIVATE to the collection; may change without notice.

`parse` collects every problem and raises them together, one line each, naming component and key. A value is never
repeated, because it may be a secret that stands in the wrong place; names of components and repositories are, once
they are known to be names.
"""

from __future__ import annotations

from ._model import Component, Declaration, Repository
from ._parse import parse
from ._report import InvalidDeclaration

__all__ = ["Component", "Declaration", "InvalidDeclaration", "Repository", "parse"]
