# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal in a report on logs, newest first, from what journalctl writes. A real one is read in tests/slow."""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._deadline import Deadline
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._kinds._log_report import LogReport
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._section import Section

# What journalctl writes with --output=json, and what it was asked.
PROGRAM = """#!{python} -SE
import sys
open({asked!r}, "w").write("\\n".join(sys.argv[1:]))
{trouble}
for line in open({entries!r}):
    sys.stdout.write(line)
"""


def look(**options: Any) -> Section:
    defaults = {name: option.get("default") for name, option in LogReport.SPEC.options.items()}
    return LogReport({**defaults, "read_seconds": 30.0, **options}).look(Deadline(60))


class Journal:
    """A stand-in for journalctl with the entries of a test."""

    def __init__(self, directory: Path) -> None:
        self.entries: list[dict[str, Any]] = []
        self._directory = directory

    def add(
        self, message: Any, *, ago: float = 600, unit: str = "app.service", pid: int = 7, priority: int = 6
    ) -> None:
        moment = int((time.time() - ago) * 1e6) + len(self.entries)
        self.entries.append(
            {
                "__REALTIME_TIMESTAMP": str(moment),
                "_SYSTEMD_UNIT": unit,
                "_PID": str(pid),
                "PRIORITY": str(priority),
                "MESSAGE": message,
            }
        )

    def install(self, patch: pytest.MonkeyPatch, trouble: str = "") -> None:
        entries, asked = self._directory / "entries", self._directory / "asked"
        entries.write_text("".join(f"{json.dumps(each)}\n" for each in reversed(self.entries)), encoding="utf-8")
        program = self._directory / "journalctl"
        program.write_text(
            PROGRAM.format(python=sys.executable, asked=str(asked), entries=str(entries), trouble=trouble),
            encoding="utf-8",
        )
        program.chmod(0o755)
        patch.setenv("PATH", str(self._directory), prepend=":")

    def asked(self) -> list[str]:
        return (self._directory / "asked").read_text(encoding="utf-8").split("\n")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path)


def test_lines_of_one_process_are_put_together(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    journal.add("INFO: started")
    for number in range(3):
        journal.add(f"ERROR: job {number} failed")
        journal.add("Traceback (most recent call last):")
        journal.add("INFO: somebody else", unit="other.service", pid=8)
        journal.add('  File "x.py", line 3, in f')
        journal.add("ValueError: bad")
    journal.add("INFO: on we go")
    journal.install(monkeypatch)
    section = look(units=["app", "other*"])
    (row,) = section.data["messages"]
    assert (row["message"], row["count"], row["logs"]) == ("job <n> failed | ValueError: bad", 3, "app.service")
    assert {"--unit=app", "--unit=other*", "--reverse", "--output=json"} <= set(journal.asked())
    assert not any("priority" in word for word in journal.asked())


def test_the_priority_counts_where_nothing_else_is_said(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    journal.add("disk on fire", priority=2, unit="a.service")
    journal.add("could not open", priority=3, unit="b.service")
    journal.add("mind the step", priority=4, unit="c.service")
    journal.add([72, 105, 255, 10], priority=3, unit="d.service")
    journal.add(None, priority=6, unit="e.service")
    journal.add("old", priority=3, unit="f.service", ago=30 * 3600)
    journal.install(monkeypatch)
    section = look(journal=True)
    assert {(row["message"], row["level"]) for row in section.data["messages"]} == {
        ("disk on fire", "critical"),
        ("could not open", "error"),
        ("Hi\ufffd", "error"),
    }
    assert section.data["errors"] == 3
    assert "--priority=err" in journal.asked()


def test_a_journal_that_fails_is_told_and_files_are_read(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    log = tmp_path.resolve() / "app.log"
    log.write_text(time.strftime("%Y-%m-%d %H:%M:%S ERROR app: boom\n"), encoding="utf-8")
    journal.install(monkeypatch, 'sys.stderr.write("Failed to open the journal: no rights\\n"); sys.exit(1)')
    section = look(journal=True, files=[str(log)])
    assert section.data["errors"] == 1
    (finding,) = (each for each in section.findings if each.code == "journal_unreadable")
    assert "no rights" in finding.text


def test_a_journal_without_end_is_left_when_time_is_up(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    journal.add("boom", priority=3)
    journal.install(
        monkeypatch, f"print({json.dumps(json.dumps(journal.entries[0]))}, flush=True); import time; time.sleep(600)"
    )
    began = time.monotonic()
    section = look(journal=True, read_seconds=1.0)
    assert time.monotonic() - began < 60
    assert section.data["errors"] == 1
    assert [each.code for each in section.findings if each.code == "not_all_read"]


@pytest.mark.skipif(shutil.which("journalctl") is None, reason="there is no systemd on this machine")
def test_journalctl_itself_takes_what_it_is_asked() -> None:
    """Whether there is a journal or not: its options are right."""
    section = look(journal=True, units=["no-such-unit-of-ours.service"])
    for finding in section.findings:
        assert "invalid option" not in finding.text
        assert "unrecognized" not in finding.text
        assert "Failed to parse" not in finding.text
