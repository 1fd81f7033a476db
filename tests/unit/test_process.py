# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Children that must be ended while somebody of ours waits for them: no pipe may keep us from it."""

from __future__ import annotations

import os
import stat
import threading
import time
from pathlib import Path

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._errors import Refused, ToolFailed
from ansible_collections.holdfast.ops.plugins.module_utils._process import Account, Process, hand_over, run


def _gone(process: Process) -> bool:
    try:
        os.killpg(process.popen.pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("given", [None, b"x" * 4_000_000], ids=["silent", "does not read"])
def test_a_tool_that_takes_too_long_is_ended(given: bytes | None) -> None:
    began = time.monotonic()
    with pytest.raises(ToolFailed, match=r"sleep did not end within 0.3 s"):
        run(["sleep", "30"], timeout=0.3, input_bytes=given, stage="stop services")
    assert time.monotonic() - began < 10


def test_a_tool_that_ends_in_time_is_not_blamed() -> None:
    assert run(["cat"], timeout=30, input_bytes=b"word")[:2] == (0, b"word")


def test_a_child_of_the_tool_that_keeps_the_pipe_does_not_keep_us() -> None:
    """The shell ends; what it has started holds our pipe and says nothing."""
    began = time.monotonic()
    with pytest.raises(ToolFailed, match="did not end within"):
        run(["sh", "-c", "sleep 30 & exit 0"], timeout=0.3)
    assert time.monotonic() - began < 10


def test_a_tool_that_no_longer_reads_is_ended_while_a_thread_writes_to_it(tmp_path: Path) -> None:
    process = Process(["sh", "-c", f"touch {tmp_path}/ready; exec sleep 30"], stdin=-1)
    pipe = process.popen.stdin
    assert pipe is not None
    ended = threading.Event()

    def feed() -> None:
        try:
            pipe.write(b"x" * 8_000_000)
        except (OSError, ValueError):
            ended.set()

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    while not (tmp_path / "ready").exists():
        time.sleep(0.01)
    process.terminate()
    assert _gone(process)
    assert ended.wait(5)
    process.terminate()  # safe to call twice


def test_what_is_handed_over_is_never_behind_a_link(tmp_path: Path) -> None:
    """Who owns the directory may have put a link in the place of what is given to it."""
    me = Account("me", os.geteuid(), os.getegid(), "/")
    victim = tmp_path / "victim"
    victim.mkdir()
    (tmp_path / "archive").symlink_to(victim)
    with pytest.raises(Refused, match="archive"):
        hand_over(str(tmp_path / "archive"), me)
    (victim / "toc.dat").symlink_to(tmp_path / "nothing")  # followed, it would be missing
    hand_over(str(victim), me)
    assert stat.S_ISLNK((victim / "toc.dat").lstat().st_mode)


def test_files_are_given_to_their_new_owner(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive/toc.dat").touch()
    hand_over(str(tmp_path / "archive"), Account("other", 65534, 65534, "/"))
    assert {(tmp_path / name).stat().st_uid for name in ("archive", "archive/toc.dat")} == {65534}
