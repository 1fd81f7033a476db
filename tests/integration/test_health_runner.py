# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks run side by side, end when their time is over with all that they started, and cost little."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._health._interface import FAIL, PASS
from ansible_collections.holdfast.ops.plugins.module_utils._health._parse import parse_checks
from ansible_collections.holdfast.ops.plugins.module_utils._health._runner import run_checks
from ansible_collections.holdfast.ops.tests.support.health import look, measured


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_check_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    # Three that would outlive it: a child, one in a session of its own, and one that ignores to be told to end.
    script = f"""
        sleep 300 & echo $! >> {tmp_path}/pids
        setsid sleep 300 & echo $! >> {tmp_path}/pids
        (trap '' TERM; sleep 300) & echo $! >> {tmp_path}/pids
        wait"""
    began = time.monotonic()
    result = look(kind="command", command=["/bin/sh", "-c", script], timeout="1s")
    assert time.monotonic() - began < 1.8
    assert (result.status, result.output) == (FAIL, "It did not end within 1 s and was stopped.")
    pids = [int(line) for line in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 3
    deadline = time.monotonic() + 5
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(map(alive, pids))


def test_what_was_measured_before_the_end_counts(tmp_path: Path) -> None:
    fifo = tmp_path / "model"
    os.mkfifo(fifo)
    files = [{"path": "/etc/passwd"}, {"path": str(fifo)}]
    assert [each.status for each in look(kind="model_files", files=files).measurements] == [PASS, FAIL]
    sums = tmp_path / "SUMS"
    os.mkfifo(sums)  # opening it waits for ever, as a file system does whose server is gone
    assert look(kind="model_files", sha256sums=str(sums), timeout="1s").status == FAIL


def test_all_take_as_long_as_the_slowest() -> None:
    sleeps = [{"name": f"s{n}", "kind": "command", "command": ["/bin/sleep", "0.8"]} for n in range(8)]
    hangs = [{"name": f"h{n}", "kind": "command", "command": ["/bin/sleep", "60"], "timeout": "1s"} for n in range(4)]
    checks = parse_checks([*sleeps, *hangs])
    began = time.monotonic()
    results = run_checks(checks, "")
    took = time.monotonic() - began
    assert took < 8  # 10.4 s one after the other; how much longer than the slowest is measured on a quiet machine
    assert [each.status for each in results] == [PASS] * 8 + [FAIL] * 4
    assert [each.name for each in results] == [check.name for check in checks]


def test_a_check_that_dies_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    from ansible_collections.holdfast.ops.plugins.module_utils._health._kinds._swap import SwapCheck

    monkeypatch.setattr(SwapCheck, "run", lambda self, deadline: os.kill(os.getpid(), signal.SIGKILL))
    assert look(kind="swap").output == "Its process ended with status -9."
    monkeypatch.setattr(SwapCheck, "run", lambda self, deadline: iter([1 / 0]))
    assert look(kind="swap").output == "A defect in holdfast.ops: ZeroDivisionError: division by zero."
    monkeypatch.setattr(SwapCheck, "run", lambda self, deadline: iter(()))
    assert look(kind="swap").status == FAIL


def test_nothing_is_left_behind() -> None:
    before = set(os.listdir("/proc/self/fd"))
    checks = parse_checks([{"name": f"m{n}", "kind": "memory"} for n in range(10)])
    for _run in range(3):
        run_checks(checks, "")
    assert set(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ChildProcessError):
        while True:  # children of other fixtures may live; none of ours is unreaped
            pid, _status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                raise ChildProcessError


def test_an_environment_is_not_handed_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_OURS", "x")
    found = look(kind="command", command=["/bin/sh", "-c", 'echo "${SECRET_OF_OURS-none} $LC_ALL"; exit 1'])
    assert found.output == "/bin/sh exited with status 1: none C.UTF-8"


def test_a_python_dependency_that_is_missing_or_broken(tmp_path: Path) -> None:
    (tmp_path / "loud.py").write_text("print('hello')\n")
    (tmp_path / "broken.py").write_text("raise RuntimeError('no GPU')\n")
    (tmp_path / "crash.py").write_text("import os\nos.kill(os.getpid(), 6)\n")
    options = {"interpreter": sys.executable, "environment": {"PYTHONPATH": str(tmp_path)}, "timeout": "30s"}
    found = look(kind="python", modules=["json", "loud", "broken"], optional=["no_such_module"], **options)
    assert [(each.target, each.status) for each in found.measurements] == [
        ("json", "pass"),
        ("loud", "pass"),
        ("broken", "fail"),
        ("no_such_module", "warn"),
    ]
    assert measured(found, "import", "broken").output == ("The module broken cannot be imported: RuntimeError: no GPU.")
    found = look(kind="python", modules=["crash", "json"], **options)
    assert "the interpreter died (-6) while it was imported" in measured(found, "import", "crash").output
    assert measured(found, "import", "json").status == FAIL


def test_a_program_that_is_missing_or_not_a_program(tmp_path: Path) -> None:
    assert look(kind="command", command=["/no/such"]).output == "The program /no/such was not found on this host."
    assert "does not exist" in look(kind="command", command=["/bin/true"], directory="/no/dir").output
    assert "not be run" in look(kind="command", command=["/etc/passwd"]).output
    assert "does not exist" in look(kind="command", command=["/bin/true"], run_as="no-such-user").output


def test_exit_codes_of_a_command() -> None:
    codes = [look(kind="command", command=["/bin/sh", "-c", f"exit {code}"]).status for code in (0, 1, 2, 7)]
    assert codes == ["pass", "warn", "fail", "fail"]
    assert look(kind="command", command=["/bin/sh", "-c", "exit 7"], warning_codes=[7]).status == "warn"
