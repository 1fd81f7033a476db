# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A child with all that it starts: its end, its lines, signals passed on, nobody left behind. Real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from ansible_collections.holdfast.ops.plugins.module_utils._host._children import Ended, run_child


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_the_exit_code_and_the_lines() -> None:
    lines: list[str] = []
    code = (
        "import os, sys\n"
        "for n in range(3000): open(os.environ['OUT'], 'a').write(f'line {n}\\n')\n"
        "open(os.environ['OUT'], 'a').write('without an end')\n"
        "sys.exit(7)"
    )
    ended = run_child(python(code), os.environ, on_line=lines.append, line_variable="OUT")
    assert (ended.code, ended.asked, ended.timed_out, ended.killed) == (7, None, False, [])
    assert lines == [*(f"line {number}" for number in range(3000)), "without an end"]


def test_output_is_given_on() -> None:
    said: list[str] = []
    code = "import sys; print('out', flush=True); print('err', file=sys.stderr); print('x' * 300000)"
    assert run_child(python(code), os.environ, on_output=said.append).code == 0
    assert said == ["out", "err", "x" * 300000]


def test_a_child_that_is_killed() -> None:
    assert run_child(python("import os; os.kill(os.getpid(), 9)"), os.environ).code == -signal.SIGKILL


def test_too_long() -> None:
    begun = time.monotonic()
    ended = run_child(python("import time; time.sleep(60)"), os.environ, timeout=0.3)
    assert (ended.timed_out, ended.code) == (True, -signal.SIGTERM)
    assert time.monotonic() - begun < 20


STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
inner = subprocess.Popen([sys.executable, '-c', '''
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.setsid()
open(os.environ["OUT"], "a").write(f"{os.getpid()}\\\\n")
time.sleep(60)
'''], close_fds=False)
time.sleep(60)
"""


def test_a_signal_reaches_everything_and_what_stays_is_killed() -> None:
    """Processes that ignore TERM, one of them in a session of its own."""
    pids: list[int] = []

    def on_line(line: str) -> None:
        pids.append(int(line))
        os.kill(os.getpid(), signal.SIGTERM)  # we are asked to stop

    ended = run_child(python(STUBBORN), os.environ, on_line=on_line, line_variable="OUT", grace=0.3)
    assert ended.asked == signal.SIGTERM
    assert pids[0] in ended.killed
    assert len(ended.killed) == 2
    assert not any(alive(pid) for pid in ended.killed)


def test_what_a_dead_child_leaves_behind_is_ended() -> None:
    code = (
        "import os, subprocess, sys\n"
        "left = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True)\n"
        "open(os.environ['OUT'], 'a').write(f'{left.pid}\\n')\n"
        "os.kill(os.getpid(), 9)"
    )
    pids: list[int] = []
    from ansible_collections.holdfast.ops.plugins.module_utils._host import _children

    before, _children.LINGER = _children.LINGER, 0.2
    try:
        ended = run_child(python(code), os.environ, on_line=lambda line: pids.append(int(line)), line_variable="OUT")
    finally:
        _children.LINGER = before
    assert ended.code == -signal.SIGKILL
    assert pids
    assert not alive(pids[0])


def test_handlers_are_given_back() -> None:
    assert threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    assert run_child(["true"], os.environ) == Ended()
    assert signal.getsignal(signal.SIGTERM) == before
    assert subprocess.run(["true"], check=False).returncode == 0
