# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every engine's shell lines for a restore by hand begin with.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import os
import shlex

from .._manifest import Artefact


def decoded(artefact: Artefact) -> str:
    """A pipeline that writes an artefact's original bytes to stdout. KEY stands for the file with the age identity."""
    files = [shlex.quote(os.path.basename(part.key)) for part in artefact.objects]
    stages = [f"cat {' '.join(files)}"]
    if artefact.encryption == "age":
        stages.append('age -d -i "$KEY"')
    elif artefact.encryption == "gpg":
        stages.append("gpg -d")
    if artefact.compression == "zstd":
        stages.append("zstd -dc")
    return " | ".join(stages)
