# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Prometheus' own linter says about every metric that is written."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ansible_collections.holdfast.ops.plugins.module_utils._health import _textfile
from ansible_collections.holdfast.ops.tests.unit.test_health_document import known
from ansible_collections.holdfast.ops.tests.unit.test_metrics import record_all


def test_promtool_has_nothing_to_say(tmp_path: Path) -> None:
    record_all(tmp_path)
    _textfile.write(str(tmp_path), [known(), known("web", "fail", "liveness")])
    text = b"".join(path.read_bytes() for path in sorted(tmp_path.glob("*.prom")))
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
