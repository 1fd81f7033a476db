# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person who waits sees: the text of a progress file, and a watcher that never stands in the way."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._progress import Progress
from ansible_collections.holdfast.ops.plugins.plugin_utils._progress import Meter, Sample, Watcher, duration, size


def sample(done: int, updated: float, **changes: Any) -> Sample:
    document = {
        "component": "omnidoc_db",
        "stage": "dump",
        "done": done,
        "total": 1_200_000_000,
        "started": 1000.0,
        "stage_started": 1000.0,
        "updated": updated,
        **changes,
    }
    parsed = Sample.parse(json.dumps(document))
    assert parsed is not None
    return parsed


def test_the_line_says_all_that_is_known() -> None:
    meter = Meter(10)
    meter.add(sample(200_000_000, 1004.0), 50.0)
    meter.add(sample(312_400_000, 1006.0), 52.0)
    assert meter.text(52.0) == "omnidoc_db: dump 312 MB of 1.2 GB (26 %), 56.2 MB/s, 0:06, 0:15 left"


def test_the_rate_is_of_the_last_seconds_and_not_of_all() -> None:
    meter = Meter(10)
    for second in range(60):
        meter.add(sample(min(second, 30) * 1_000_000 + 1, 1000.0 + second), float(second))
    assert "0 B/s" in meter.text(59.0)
    assert "left" not in meter.text(59.0)


def test_a_file_that_stands_still_shows_time_go_on_and_the_rate_sink() -> None:
    meter = Meter(10)
    meter.add(sample(100_000_000, 1010.0), 20.0)
    assert "10.0 MB/s, 0:10, " in meter.text(20.0)
    assert "5.0 MB/s, 0:20, " in meter.text(30.0)


@pytest.mark.parametrize("total", [None, 0, 50_000_000])
def test_an_unknown_or_exceeded_total_is_left_out(total: int | None) -> None:
    meter = Meter(10)
    meter.add(sample(100_000_000, 1010.0, total=total), 20.0)
    assert meter.text(20.0) == "omnidoc_db: dump 100 MB, 10.0 MB/s, 0:10"


def test_a_new_stage_begins_anew() -> None:
    meter = Meter(10)
    meter.add(sample(100_000_000, 1010.0), 20.0)
    meter.add(sample(0, 1011.0, stage="commit", total=None, stage_started=1011.0), 21.0)
    assert meter.text(21.0) == "omnidoc_db: commit, 0:11"


def test_what_the_module_writes_is_what_is_read(tmp_path: Any) -> None:
    path = tmp_path / "progress.json"
    progress = Progress(str(path), "a\x1b[2Jb\n")
    progress.stage("dump", 10)
    progress.add(4)
    progress.stage("commit")
    parsed = Sample.parse(path.read_text())
    assert parsed is not None
    assert (parsed.component, parsed.stage, parsed.done, parsed.total) == ("a[2Jb", "commit", 0, None)


@pytest.mark.parametrize("data", ["", "{", "[]", "null", "{}", '{"updated": "x"}'])
def test_anything_else_shows_nothing(data: str) -> None:
    assert Sample.parse(data) is None
    assert Meter(10).text(1.0) == ""


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (99_940, "99.9 kB"),
        (999_600, "1.0 MB"),
        (312_400_000, "312 MB"),
        (2.5e12, "2.50 TB"),
    ],
)
def test_sizes(count: float, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (6.9, "0:06"), (754, "12:34"), (3723, "1:02:03")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


class Shown:
    """Takes what is shown, and lets a test wait for a number of texts."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._changed = threading.Condition()

    def __call__(self, text: str) -> None:
        with self._changed:
            self.texts.append(text)
            self._changed.notify_all()

    def wait(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.texts) >= count, 10)


FILE = json.dumps(
    {"component": "c", "stage": "dump", "done": 1, "total": 2, "started": 0, "stage_started": 0, "updated": 1}
)


def test_a_live_line_is_cleared_at_the_end() -> None:
    shown = Shown()
    with Watcher(lambda: FILE, shown, 0.01, live=True, label="[db] "):
        shown.wait(2)
    assert shown.texts[0].startswith("[db] c: dump 1 B of 2 B (50 %)")
    assert shown.texts[-1] == ""


def test_lines_are_not_cleared() -> None:
    shown = Shown()
    with Watcher(lambda: FILE, shown, 0.01, live=False):
        shown.wait(1)
    assert "" not in shown.texts


def test_a_reader_that_fails_is_given_up_and_the_rest_goes_on() -> None:
    calls: list[int] = []
    gave_up = threading.Event()

    def read() -> str:
        calls.append(1)
        if len(calls) == 3:
            gave_up.set()
        raise RuntimeError("unknown connection")

    shown = Shown()
    with Watcher(read, shown, 0.01, live=True):
        assert gave_up.wait(10)
    assert len(calls) == 3
    assert shown.texts == []


def test_a_reader_that_hangs_holds_nobody_up_and_shows_nothing_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    from ansible_collections.holdfast.ops.plugins.plugin_utils import _progress

    monkeypatch.setattr(_progress, "FAREWELL", 0.1)
    asked, answer, answered = threading.Event(), threading.Event(), threading.Event()

    def read() -> str:
        asked.set()
        answer.wait(10)
        answered.set()
        return FILE

    shown = Shown()
    began = time.monotonic()
    with Watcher(read, shown, 0.01, live=True) as watcher:
        assert asked.wait(10)
    assert time.monotonic() - began < 5
    answer.set()
    assert answered.wait(10)
    watcher._thread.join(10)
    assert shown.texts == []


def test_an_error_inside_passes_through() -> None:
    with pytest.raises(KeyError), Watcher(lambda: FILE, Shown(), 0.01, live=True):
        raise KeyError("the module's own")
