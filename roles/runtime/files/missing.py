# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Print as JSON what a virtual environment lacks. Run by its own interpreter.

The one argument is JSON too: `{"requirements": ["name>=1", …], "modules": ["importable", …]}`.
"""

from __future__ import annotations

import importlib
import json
import sys
from importlib import metadata

# The environment's own pip knows how versions compare; nothing else is sure to be there yet.
from pip._vendor.packaging.requirements import Requirement


def lacks(text: str) -> bool:
    """Whether a requirement is not met by what is installed."""
    wanted = Requirement(text)
    try:
        return not wanted.specifier.contains(metadata.version(wanted.name), prereleases=True)
    except metadata.PackageNotFoundError:
        return True


def broken(module: str) -> str | None:
    """Why a module cannot be imported, None when it can."""
    try:
        importlib.import_module(module)
    except Exception as error:  # whatever a native library raises while it is loaded
        return f"{module}: {error}"
    return None


wanted = json.loads(sys.argv[1])
reasons = (broken(module) for module in wanted["modules"])
print(
    json.dumps(
        {
            "missing": [text for text in wanted["requirements"] if lacks(text)],
            "broken": [reason for reason in reasons if reason is not None],
        }
    )
)
