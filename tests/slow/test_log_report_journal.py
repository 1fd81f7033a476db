# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report on logs reads a real journal: a journald of its own, in a namespace where nobody else sees it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

JOURNALD = Path("/usr/lib/systemd/systemd-journald")

pytestmark = [
    pytest.mark.privileged,
    pytest.mark.skipif(
        os.geteuid() != 0 or not JOURNALD.exists() or not shutil.which("unshare"),
        reason="needs root, systemd's journald and unshare",
    ),
]

# Process 1 of namespaces of its own: when it ends, journald does, and /run with its journal is gone.
WITHIN = """
set -eu
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/journal /run/log/journal
echo 0123456789abcdef0123456789abcdef > /run/machine-id
mount --bind /run/machine-id /etc/machine-id
{journald} &
for _ in $(seq 150); do [ -S /run/systemd/journal/stdout ] && break; sleep 0.1; done
{python} -c '{say}'
journalctl --sync
exec {python} -c '{look}' "$1"
"""

SAY = """
import socket
journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
journal.connect("/run/systemd/journal/socket")
def say(message, priority, **fields):
    fields.update(MESSAGE=message, PRIORITY=priority)
    journal.send("".join(f"{name}={value}\\n" for name, value in fields.items()).encode())
trace = ["Traceback (most recent call last):", "  File x.py, line 3, in f", "ValueError: bad"]
for line in ["ERROR: job 7 failed", *trace, "INFO: on we go"]:
    say(line, 6, SYSLOG_IDENTIFIER="worker", OBJECT_SYSTEMD_UNIT="worker.service")
say("disk 3 on fire", 2, SYSLOG_IDENTIFIER="other")
say("password=hunter2 refused", 3, SYSLOG_IDENTIFIER="other")
"""

LOOK = """
import json, sys
from ansible_collections.holdfast.ops.plugins.module_utils._deadline import Deadline
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._kinds._log_report import LogReport
defaults = {name: option.get("default") for name, option in LogReport.SPEC.options.items()}
section = LogReport({**defaults, "read_seconds": 30.0, **json.loads(sys.argv[1])}).look(Deadline(60))
print(json.dumps({"data": dict(section.data), "findings": [vars(each) for each in section.findings]}))
"""


def look(**options: Any) -> dict[str, Any]:
    script = WITHIN.format(journald=JOURNALD, python=sys.executable, say=SAY, look=LOOK)
    words = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c", script, "bash"]
    done = subprocess.run([*words, json.dumps(options)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_the_whole_journal_is_read_by_priority() -> None:
    report = look(journal=True)
    rows = [row for row in report["data"]["messages"] if row["logs"] != "kernel"]  # whose log is everybody's
    assert {(row["message"], row["level"], row["logs"]) for row in rows} == {
        ("disk <n> on fire", "critical", "other"),
        ("password=******** refused", "error", "other"),
    }
    assert not [each for each in report["findings"] if each["code"] == "journal_unreadable"]
    assert report["data"]["logs"][0]["complete"] == "yes"


def test_a_unit_is_read_whatever_the_priority_and_its_trace_is_one_entry() -> None:
    report = look(units=["worker.service"])
    assert [(row["message"], row["count"]) for row in report["data"]["messages"]] == [
        ("job <n> failed | ValueError: bad", 1)
    ]
