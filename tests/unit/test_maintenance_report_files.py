# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports of maintenance as files: written whole or not at all, remembered, and swept when they are old."""

from __future__ import annotations

import json
import os
import stat
import sys
import threading
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._errors import MissingDependency
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._report import _figures, _html
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._report._figures import load, remember
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._report._plots import (
    BOTTOM,
    HEIGHT,
    LEFT,
    POINTS,
    RIGHT,
    TOP,
    WIDTH,
    bars,
    line,
    nice_ticks,
    thinned,
)
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._report._units import changed_by, shown
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._report._write import (
    require,
    sweep,
    write_reports,
)
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._run_model import Run, TaskResult
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._section import (
    BYTES,
    COUNT,
    PERCENT,
    SECONDS,
    TIME,
    Measure,
    Section,
)
from ansible_collections.holdfast.ops.tests.support.maintenance import STARTED, past, sample_run
from hypothesis import given
from hypothesis import strategies as st

DAY = timedelta(days=1)
NAME = "20261122T063000.123Z-daily"


def run_of(started: datetime, value: float = 1.0, part: str = "daily") -> Run:
    section = Section("Title", "Summary.", measures=[Measure("size", "Size", value, BYTES)])
    return Run("host", part, started, 1.0, [TaskResult("task", "kind", 1.0, section)])


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


# Writing.


def test_reports_are_written_for_root_and_the_group_with_links_to_the_newest(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "reports"
    umask = os.umask(0)
    try:
        paths = write_reports(sample_run(), str(directory))
    finally:
        os.umask(umask)
    assert paths == {
        "json": f"{directory}/{NAME}.json",
        "markdown": f"{directory}/{NAME}.md",
        "html": f"{directory}/{NAME}.html",
    }
    for ending in ("json", "md", "html"):
        assert stat.S_IMODE((directory / f"{NAME}.{ending}").stat().st_mode) == 0o640
        assert os.readlink(directory / f"latest.{ending}") == f"{NAME}.{ending}"
    assert stat.S_IMODE((directory / "figures.jsonl").stat().st_mode) == 0o640
    assert stat.S_IMODE(directory.stat().st_mode) == 0o750
    later = write_reports(sample_run(STARTED + DAY, part=""), str(directory), ["json"])
    assert later == {"json": f"{directory}/20261123T063000.123Z-named.json"}
    assert os.readlink(directory / "latest.json") == "20261123T063000.123Z-named.json"
    assert os.readlink(directory / "latest.html") == f"{NAME}.html"
    assert not [name for name in names(directory) if name.startswith(".") and name != ".figures.lock"]
    assert json.loads((directory / "latest.json").read_text())["part"] == ""


def test_figures_of_earlier_runs_are_drawn(tmp_path: Path) -> None:
    past(tmp_path, days=5)
    written = Path(write_reports(sample_run(), str(tmp_path))["html"]).read_text(encoding="utf-8")
    assert written.count('<svg class="line"') == 6
    assert "2026-11-17 06:30 UTC: " in written


def test_without_jinja2_nothing_is_half_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)  # as if it were not installed
    _html.template.cache_clear()
    directory = tmp_path / "reports"
    with pytest.raises(MissingDependency, match="Jinja2") as raised:
        write_reports(sample_run(), str(directory))
    assert raised.value.hint and "holdfast.ops.runtime" in raised.value.hint
    assert not directory.exists()
    require(["json", "markdown"])
    assert set(write_reports(sample_run(), str(directory), ["json", "markdown"])) == {"json", "markdown"}


def test_a_format_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pdf: there are json, markdown, html"):
        write_reports(sample_run(), str(tmp_path), ["json", "pdf"])
    assert names(tmp_path) == set()


# Figures.


def test_figures_are_kept_in_the_order_of_time_and_once_for_each_run(tmp_path: Path) -> None:
    for day, value in ((2, 3.0), (0, 1.0), (1, 2.0), (1, 2.5)):
        history = remember(str(tmp_path), run_of(STARTED + day * DAY, value))
    assert history.way("task", "size") == [(STARTED, 1.0), (STARTED + DAY, 2.5), (STARTED + 2 * DAY, 3.0)]
    assert load(str(tmp_path)) == history
    assert history.way("task", "other") == history.way("other", "size") == []
    assert len((tmp_path / "figures.jsonl").read_text().splitlines()) == 3


def test_a_run_without_figures_is_not_remembered(tmp_path: Path) -> None:
    assert remember(str(tmp_path), replace(run_of(STARTED), tasks=())).entries == []
    assert not (tmp_path / "figures.jsonl").exists()


def test_damaged_lines_are_left_out_and_told(tmp_path: Path) -> None:
    past(tmp_path, days=2)
    good = (tmp_path / "figures.jsonl").read_bytes()
    damaged = [
        b"{",
        b"[]",
        b"null",
        b'{"at": "2026-11-01T00:00:00Z", "part": "daily"}',
        b'{"at": "yesterday", "part": "daily", "figures": {}}',
        b'{"at": "2026-11-01T00:00:00Z", "part": "daily", "figures": {"a": {"b": NaN}}}',
        b'{"at": "2026-11-01T00:00:00Z", "part": "daily", "figures": {"a": {"b": "1"}}}',
        b'{"at": "2026-11-01T00:00:00Z", "part": "daily", "figures": {"a": {"b": 1' + b"0" * 400 + b"}}}",
        b"[" * 100_000,
        b"\xff\xfe",
        b"x" * (_figures.LONGEST + 5),
    ]
    (tmp_path / "figures.jsonl").write_bytes(b"\n".join(damaged) + b"\n\n" + good + b'{"at": "2026')
    history = load(str(tmp_path))
    assert len(history.entries) == 2
    (note,) = history.notes
    assert note.startswith(f"{len(damaged) + 1} lines of figures.jsonl could not be read and were left out")
    paths = write_reports(sample_run(), str(tmp_path))
    for path in paths.values():
        assert "12 lines of figures.jsonl" in Path(path).read_text(encoding="utf-8")
    assert load(str(tmp_path)).notes == []


def test_only_so_many_runs_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_figures, "RUNS", 3)
    for day in range(5):
        history = remember(str(tmp_path), run_of(STARTED + day * DAY, day))
    assert [value for _at, value in history.way("task", "size")] == [2, 3, 4]
    monkeypatch.setattr(_figures, "LARGEST", 1)
    assert len(remember(str(tmp_path), run_of(STARTED + 5 * DAY)).entries) == 1
    assert len(load(str(tmp_path)).entries) == 1


def test_runs_that_end_together_are_all_remembered(tmp_path: Path) -> None:
    def many(part: str) -> None:
        for day in range(8):
            remember(str(tmp_path), run_of(STARTED + day * DAY, part=part))

    threads = [threading.Thread(target=many, args=(part,)) for part in ("daily", "weekly", "monthly")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(load(str(tmp_path)).entries) == 24


# Sweeping.


def test_old_reports_go_and_nothing_else(tmp_path: Path) -> None:
    now = STARTED + 500 * DAY
    old = {f"20261122T063000.123Z-{part}.{ending}" for part in ("daily", "named") for ending in ("json", "md", "html")}
    kept = {
        "20280301T063000.000Z-weekly.json",  # young
        "20280301T063000.000Z-weekly.md",
        "20261120T063000.000Z-daily.html",  # the link says that it is the latest
        "20261122T063000.123Z-hourly.json",  # not ours
        "20261122T063000.123Z-daily.json.bak",
        "20261399T063000.123Z-daily.json",  # no time
        "x20261122T063000.123Z-daily.json",
        "figures.jsonl",
        "notes.md",
        ".20261122T063000.123Z-daily.json.0123456789abcdef",  # perhaps still written
    }
    left = {".latest.html.0123456789abcdef", ".figures.jsonl.0123456789abcdef"}
    for name in old | kept | left:
        (tmp_path / name).write_text(name)
        age = 0 if name.startswith(".2026") else 7200
        os.utime(tmp_path / name, (now.timestamp() - age,) * 2)
    (tmp_path / "latest.html").symlink_to("20261120T063000.000Z-daily.html")
    (tmp_path / "20261101T063000.000Z-daily.json").mkdir()
    (tmp_path / "20261102T063000.000Z-daily.json").symlink_to("/etc/passwd")
    kept |= {"latest.html", "20261101T063000.000Z-daily.json", "20261102T063000.000Z-daily.json"}
    kept.add("20261122T063000.123Z-named.html")  # the newest page, though there are younger reports
    gone = sorted((old | left) - kept)

    assert sweep(str(tmp_path), 400 * DAY, check=True, now=now) == gone
    assert names(tmp_path) == old | kept | left
    assert sweep(str(tmp_path), 400 * DAY, now=now) == gone
    assert names(tmp_path) == kept
    assert sweep(str(tmp_path), 400 * DAY, now=now) == []


def test_the_only_report_stays_however_old(tmp_path: Path) -> None:
    write_reports(sample_run(), str(tmp_path))
    before = names(tmp_path)
    assert sweep(str(tmp_path), DAY, now=STARTED + 5000 * DAY) == []
    assert names(tmp_path) == before


def test_where_there_are_no_reports_nothing_is_swept(tmp_path: Path) -> None:
    assert sweep(str(tmp_path / "none"), DAY) == []


# Plots.

VALUES = st.floats(allow_nan=False, allow_infinity=False)
WAYS = st.lists(st.tuples(st.integers(0, 10**6), VALUES), max_size=200, unique_by=lambda each: each[0]).map(
    lambda found: [(STARTED + timedelta(minutes=minute), value) for minute, value in sorted(found)]
)


@given(st.lists(VALUES, min_size=1), st.sampled_from([COUNT, BYTES, SECONDS, PERCENT]))
def test_ticks_are_few_ascend_and_hold_all_values(values: list[float], unit: str) -> None:
    ticks = nice_ticks(values, unit)
    assert 2 <= len(ticks) <= 6
    assert ticks == sorted(set(ticks))
    room = 1e-9 * max(abs(value) for value in values)
    assert ticks[0] <= max(min(values), -1e300) + room
    assert ticks[-1] >= min(max(values), 1e300) - room


@pytest.mark.parametrize(
    ("values", "unit", "labels"),
    [
        ([11.6 * 2**30, 13.4 * 2**30], BYTES, ["11 GiB", "12 GiB", "13 GiB", "14 GiB"]),
        ([41, 87.5], PERCENT, ["40.0 %", "60.0 %", "80.0 %", "100.0 %"]),
        ([0.004, 0.0121], SECONDS, ["0 s", "5 ms", "10 ms", "15 ms"]),
        ([5, 5], COUNT, ["4", "5", "6"]),
        ([0, 0], BYTES, ["0 B", "1 B"]),
        ([1_200_000, 3_900_000], COUNT, ["1 M", "2 M", "3 M", "4 M"]),
    ],
)
def test_ticks_are_round(values: list[float], unit: str, labels: list[str]) -> None:
    drawn = line([(STARTED, values[0]), (STARTED + DAY, values[1])], unit)
    assert drawn
    assert [tick.label for tick in drawn.values] == labels


@given(WAYS)
def test_a_line_lies_in_its_area(way: list[tuple[datetime, float]]) -> None:
    drawn = line(way, COUNT)
    assert (drawn is None) == (len(way) < 2)
    for point in drawn.points if drawn else ():
        assert LEFT - 0.01 <= point.x <= WIDTH - RIGHT + 0.01
        if abs(point.value) <= 1e300:
            assert TOP - 0.01 <= point.y <= HEIGHT - BOTTOM + 0.01


@given(WAYS)
def test_thinning_keeps_the_ends_and_invents_nothing(way: list[tuple[datetime, float]]) -> None:
    kept = thinned(way)
    assert len(kept) <= POINTS
    assert [each for each in way if each in kept] == kept
    assert kept[:1] == way[:1] and kept[-1:] == way[-1:]


@given(st.lists(st.none() | VALUES), st.sampled_from([COUNT, PERCENT]))
def test_bars_are_as_long_as_their_values(values: list[float | None], unit: str) -> None:
    lengths = bars(values, unit)
    assert [length is None for length in lengths] == [value is None for value in values]
    assert all(0 <= length <= 100 for length in lengths if length is not None)


def test_percentages_are_of_the_whole_and_other_bars_of_the_largest() -> None:
    assert bars([50.0, 25.0, None, 0.0], PERCENT) == [50.0, 25.0, None, 0.0]
    assert bars([50.0, 25.0, None, 0.0], COUNT) == [100.0, 50.0, None, 0.0]
    assert bars([0.0], COUNT) == [0.0]


def test_the_ends_of_a_line_are_told_as_short_as_they_differ() -> None:
    begin = datetime(2026, 11, 22, 6, 30, tzinfo=timezone.utc)
    told = []
    for end in (begin + timedelta(hours=3), begin + 2 * DAY, begin + 60 * DAY):
        drawn = line([(begin, 1), (end, 2)], COUNT)
        assert drawn
        told.append([tick.label for tick in drawn.times])
    assert told == [["06:30", "09:30"], ["22 Nov", "24 Nov"], ["22 Nov 2026", "21 Jan 2027"]]


# Units.


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, BYTES, "–"),
        ("", "text", "–"),
        (True, COUNT, "yes"),
        (1234567, COUNT, "1,234,567"),
        (0.4213, COUNT, "0.421"),
        (13.4 * 2**30, BYTES, "13.4 GiB"),
        (0.00008, SECONDS, "80 µs"),
        (0.0412, SECONDS, "41.2 ms"),
        (4.218, SECONDS, "4.22 s"),
        (840, SECONDS, "14 min"),
        (0, SECONDS, "0 s"),
        (38.25, PERCENT, "38.2 %"),
        ("2026-11-22T06:30:00.123Z", TIME, "2026-11-22 06:30 UTC"),
        ("never", TIME, "never"),
        ("text where a number belongs", BYTES, "text where a number belongs"),
    ],
)
def test_values_are_shown_as_people_read_them(value: object, unit: str, text: str) -> None:
    assert shown(value, unit) == text


@pytest.mark.parametrize(
    ("difference", "unit", "text"),
    [
        (2**30, BYTES, "+1 GiB"),
        (-3, COUNT, "\N{MINUS SIGN}3"),
        (0.01, PERCENT, "±0"),
        (12.6, PERCENT, "+12.6 points"),
    ],
)
def test_a_change_has_a_sign(difference: float, unit: str, text: str) -> None:
    assert changed_by(difference, unit) == text
