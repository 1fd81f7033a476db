# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's own inventory, written and read back by the oldest and the newest ansible-core that we support."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.holdfast.ops.tests.support.resolved import prove

TOP = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.ansible


@pytest.mark.parametrize("core", ["2.17", "2.21"])
def test_what_the_controller_resolves_the_host_reads_as_it_was(core: str, tmp_path: Path) -> None:
    made = subprocess.run([TOP / "scripts/core-environment", core], stdout=subprocess.PIPE, text=True, check=True)
    prove(tmp_path, Path(made.stdout.strip()) / "bin")
