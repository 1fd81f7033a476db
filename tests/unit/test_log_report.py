# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report on logs: what is an error, what belongs together, when it was, and what may be shown of it."""

from __future__ import annotations

import gzip
import os
import re
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._deadline import Deadline
from ansible_collections.holdfast.ops.plugins.module_utils._declaration._report import Report
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._kinds import _log_report
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._kinds._log_report import LogReport
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._logs import _counts, _files
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._logs._counts import Counts, bursts
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._logs._entries import Entry, entry
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._logs._moments import Moments
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._logs._normalise import LENGTH, normalised
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._section import Finding, Section
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=timezone.utc).timestamp()
UTC = timezone.utc

# -- messages ---------------------------------------------------------------------------------------------------------

WORDS = st.sampled_from(
    [
        *("password=", "token: ", "Authorization: Bearer ", "'", '"', "`", "/", "//", "https://u:p@h/", "a@b.c", "<n>"),
        *(
            "<string>",
            "<path>",
            "****",
            "0x1f",
            "2026-11-22T10:00:00Z",
            "\n",
            "\t",
            ":",
            "=",
            "-",
            ".",
            "é",
            "٣",
            "…",
            " ",
        ),
        *(
            "eyJhbGciOiJI.eyJzdWIi.abc",
            "deadbeef00",
            "7b4f6d8e-1c2a-4b3d-9e8f-0a1b2c3d4e5f",
            "x" * 230,
            "word",
            "<",
            ">",
        ),
    ]
)
TEXTS = st.lists(st.one_of(WORDS, st.text(max_size=12)), max_size=30).map("".join)


@given(TEXTS)
def test_a_normal_form_is_its_own(text: str) -> None:
    once = normalised(text)
    assert normalised(once) == once
    assert len(once) <= LENGTH


@given(TEXTS)
def test_no_digit_survives_and_nothing_that_does_more_than_show(text: str) -> None:
    found = normalised(text)
    assert not re.search(r"\d", found)
    assert found.isprintable()


@given(
    st.sampled_from(
        [
            *("password={}", "api_key: {}", "Authorization: Bearer {}", "Authorization: Basic {}", '"token": "{}"'),
            *("postgres://user:{}@db/x", "https://h/p?access_token={}&x=y", "bearer {}", "cookie: session={}; other"),
            *("X-Api-Key: {}", "client_secret='{}'", "user said '{}'", "mail to {}@example.com", "ghp_{}"),
        ]
    ),
    st.from_regex(r"[A-Za-z]{6}Zq[A-Za-z]{8}", fullmatch=True),
    st.text(alphabet="abc :=", max_size=10),
)
def test_no_secret_survives(shape: str, secret: str, around: str) -> None:
    assert secret not in normalised(f"{around} {shape.format(secret)}")


@pytest.mark.parametrize(
    ("message", "normal"),
    [
        ("connection to 10.0.0.7:5432 lost after 12.5 s", "connection to <n> lost after <n> s"),
        (
            'duplicate key value violates unique constraint "users_pkey"',
            "duplicate key value violates unique constraint <string>",
        ),
        ("can't open /srv/data/7/x.pdf: No such file", "can't open <path>: No such file"),
        ("job 7b4f6d8e-1c2a-4b3d-9e8f-0a1b2c3d4e5f failed at 2026-11-22T10:00:00Z", "job <uuid> failed at <time>"),
        ("mail to jane.doe@example.com bounced", "mail to <address> bounced"),
        ("GET https://api.example.com/v1/items?id=7 gave 502", "GET <url> gave <n>"),
        ("object at 0x7f3a2b failed, digest deadbeef00", "object at <hex> failed, digest <hex>"),
        ("no\x1b[31m colour\r\nhere", "no [<n>m colour here"),
    ],
)
def test_messages_that_differ_in_detail_are_one(message: str, normal: str) -> None:
    assert normalised(message) == normal


# -- moments ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "moment"),
    [
        ("2026-11-22T10:00:00Z x", "10:00:00"),
        ("2026-11-22T10:00:00.123456+02:00 x", "08:00:00"),
        ("[2026-11-22 10:00:00,123: ERROR/MainProcess] x", "10:00:00"),
        ("2026-11-22 10:00:00.123 UTC [17] app@db ERROR:  x", "10:00:00"),
        ("2026/11/22 10:00:00 [error] 17#0: x", "10:00:00"),
        ("Nov 22 10:00:00 host app[7]: x", "10:00:00"),
        ("17:M 22 Nov 2026 10:00:00.123 # x", "10:00:00"),
        ('::1 - - [22/Nov/2026:10:00:00 -0130] "GET / HTTP/1.1" 200 1', "11:30:00"),
        ("[Sun Nov 22 10:00:00.123456 2026] [core:error] x", "10:00:00"),
        ('{"level":50,"time":1795341600000,"msg":"x"}', "10:00:00"),
        ('{"ts":1795341600.25,"level":"error"}', "10:00:00"),
        ("2026-02-31 10:00:00 x", None),
        ("nothing here", None),
    ],
)
def test_moments_are_read(line: str, moment: str | None) -> None:
    found = Moments(UTC, NOW).read(line.encode())
    assert (found and f"{datetime.fromtimestamp(found[0], UTC):%Y-%m-%d %H:%M:%S}") == (
        moment and f"2026-11-22 {moment}"
    )


def test_a_moment_without_a_year_is_the_last_that_fits() -> None:
    new_year = datetime(2027, 1, 1, 0, 30, tzinfo=UTC).timestamp()
    read = Moments(UTC, new_year).read
    for line, year in (
        ("Dec 31 23:59:59 h a: x", 2026),
        ("Jan  1 00:10:00 h a: x", 2027),
        ("Feb 29 01:00:00 h a: x", 2024),
    ):
        found = read(line.encode())
        assert found
        assert datetime.fromtimestamp(found[0], UTC).year == year


def test_a_zone_that_is_not_said_is_assumed_and_that_is_known() -> None:
    moments = Moments(ZoneInfo("Europe/Berlin"), NOW)
    assert moments.read(b"2026-11-22T10:00:00Z x") == (NOW - 7200, 20)
    assert not moments.assumed
    assert moments.read(b"2026-11-22 10:00:00 x") == (NOW - 3 * 3600, 19)
    assert moments.read(b"2026-07-22 10:00:00 x") == (datetime(2026, 7, 22, 8, tzinfo=UTC).timestamp(), 19)
    assert moments.assumed


# -- entries ----------------------------------------------------------------------------------------------------------


def judged(*lines: str, least: str = "error") -> Entry | None:
    return entry([line.encode() for line in lines], Moments(UTC, NOW), least)


@pytest.mark.parametrize(
    ("line", "level", "message"),
    [
        ("2026-11-22 10:00:00,123 ERROR app.db: no connection", "error", "app.db: no connection"),
        ("ERROR:root:boom", "error", "root:boom"),
        ("[2026-11-22 10:00:00,123: CRITICAL/MainProcess] lost", "critical", "MainProcess] lost"),
        ("2026/11/22 10:00:00 [error] 17#0: *3 connect() failed", "error", "17#0: *3 connect() failed"),
        ("2026-11-22 10:00:00.123 UTC [17] app@db FATAL:  sorry", "critical", "sorry"),
        ('{"level":"error","time":"2026-11-22T10:00:00Z","msg":"boom"}', "error", "boom"),
        ('{"level":60,"time":1795341600000,"msg":"boom"}', "critical", "boom"),
        (
            '{"log":"2026-11-22 10:00:00 ERROR x: boom\\n","stream":"stderr","time":"2026-11-22T10:00:00.5Z"}',
            "error",
            "x: boom",
        ),
        ("time=2026-11-22T10:00:00Z level=error msg=boom", "error", "msg=boom"),
        (
            "Nov 22 10:00:00 h kernel: Out of memory: Killed process 7 (x)",
            "error",
            "h kernel: Out of memory: Killed process 7 (x",
        ),
        ("Nov 22 10:00:00 h app[7]: error: cannot", "error", "cannot"),
    ],
)
def test_an_error_is_known_with_what_it_says(line: str, level: str, message: str) -> None:
    found = judged(line)
    assert found is not None
    assert (found.level, found.message) == (level, message)


@pytest.mark.parametrize(
    "line",
    [
        "2026-11-22 10:00:00,123 INFO app: retry after ERROR in step 1",
        "2026-11-22 10:00:00.123 UTC [17] app@db STATEMENT:  select 'ERROR: no'",
        '10.0.0.1 - - [22/Nov/2026:10:00:00 +0000] "GET /?q=ERROR HTTP/1.1" 200 17 "-" "x"',
        '{"level":"info","msg":"0 errors"}',
        '{"level":30,"msg":"error handling is on"}',
        "2026-11-22 10:00:00,123 WARNING app: slow",
        "0 errors, 0 warnings",
    ],
)
def test_what_only_speaks_of_errors_is_none(line: str) -> None:
    assert judged(line) is None


def test_a_warning_counts_where_it_is_asked_for() -> None:
    found = judged("2026-11-22 10:00:00,123 WARNING app: slow", least="warning")
    assert found is not None
    assert found.level == "warning"


def test_an_error_is_known_by_the_exception_of_its_trace() -> None:
    trace = ["Traceback (most recent call last):", '  File "x.py", line 3, in f', "    g()", "ValueError: bad thing"]
    found = judged("2026-11-22 10:00:00,123 ERROR app: failed", *trace)
    assert found is not None
    assert found.message == "app: failed | ValueError: bad thing"
    alone = judged(*trace)
    assert alone is not None
    assert alone.message == "ValueError: bad thing"


# -- counting ---------------------------------------------------------------------------------------------------------


def test_memory_stays_bounded_and_the_most_common_stay() -> None:
    counts = Counts((NOW - 3600, NOW), NOW - 7200)
    letters = "abcdefghijklmnopqrstuvwxyz"
    for number in range(2 * _counts.MESSAGES):
        word = "".join(letters[number // 26**place % 26] for place in range(4))
        counts.add("a", Entry("error", word, NOW - 10))
        counts.add("a", Entry("error", "often", NOW - 10))
    assert len(counts.messages) <= _counts.MESSAGES
    assert counts.common()[0].count == 2 * _counts.MESSAGES
    assert counts.total == 4 * _counts.MESSAGES == sum(each.count for each in counts.common()) + counts.forgotten


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        ({}, []),
        ({-1: 19}, []),
        ({-1: 20}, [(-1, 1, 20)]),
        ({-3: 30, -2: 40}, [(-3, 2, 70)]),
        (dict.fromkeys(range(-48, 0), 10) | {-5: 50}, []),
        (dict.fromkeys(range(-48, 0), 10) | {-5: 51}, [(-5, 1, 51)]),
        ({-30: 500}, []),  # before the window
    ],
)
def test_a_burst_is_an_hour_with_far_more_than_usual(
    hours: dict[int, int], expected: list[tuple[int, int, int]]
) -> None:
    found = bursts(
        {int(NOW) + 3600 * hour: count for hour, count in hours.items()}, NOW - 48 * 3600, (NOW - 24 * 3600, NOW), 20, 5
    )
    assert [((each.start - int(NOW)) // 3600, each.hours, each.count) for each in found] == expected


# -- the whole, on real files -----------------------------------------------------------------------------------------


def look(**options: Any) -> Section:
    defaults = {name: option.get("default") for name, option in LogReport.SPEC.options.items()}
    return LogReport({**defaults, "timezone": "UTC", "read_seconds": 60.0, **options}).look(Deadline(120))


def line(ago: timedelta, text: str) -> str:
    return f"{datetime.now(UTC) - ago:%Y-%m-%d %H:%M:%S},000 {text}\n"


def found(section: Section, code: str) -> list[Finding]:
    return [each for each in section.findings if each.code == code]


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Two days of an ordinary log: an old error every hour."""
    path = tmp_path.resolve() / "app.log"
    with path.open("w", encoding="utf-8") as stream:
        for hour in range(50, 0, -1):
            stream.write(line(timedelta(hours=hour), f"INFO app: {hour} requests"))
            stream.write(line(timedelta(hours=hour) - minutes(1), f"ERROR app.db: connection {hour} lost"))
    return path


def test_errors_are_counted_in_the_window_alone(log: Path) -> None:
    section = look(files=[str(log)])
    assert section.data["errors"] == 24
    (row,) = section.data["messages"]
    assert (row["message"], row["count"], row["new"]) == ("app.db: connection <n> lost", 24, "")
    assert sum(hour["errors"] for hour in section.data["hours"]) == 24
    assert look(files=[str(log)], since="2h").data["errors"] == 2
    assert not found(section, "burst")
    assert not found(section, "new_message")


def test_a_burst_of_something_new_is_found_with_its_trace_as_one_entry(log: Path) -> None:
    with log.open("a", encoding="utf-8") as stream:
        for number in range(60):
            stream.write(line(minutes(10), f"ERROR app.pay: payment {number} failed"))
            stream.write(f'Traceback (most recent call last):\n  File "/x.py", line {number}, in pay\n    ERROR()\n')
            stream.write(f"ValueError: no card '{number}'\n")
        stream.write(line(minutes(9), "INFO app: on we go"))
    section = look(files=[str(log)])
    assert section.data["errors"] == 84
    first = section.data["messages"][0]
    assert (first["message"], first["count"]) == ("app.pay: payment <n> failed | ValueError: no card <string>", 60)
    assert first["new"] == "yes"
    assert len(found(section, "burst")) == 1
    assert "app.pay" in found(section, "new_message")[0].text


def test_a_young_log_cannot_say_what_is_new(tmp_path: Path) -> None:
    path = tmp_path.resolve() / "young.log"
    path.write_text(line(minutes(20), "INFO app: start") + line(minutes(10), "ERROR app: first"), encoding="utf-8")
    section = look(files=[str(path)])
    assert section.data["errors"] == 1
    assert not found(section, "new_message")


def test_rotated_logs_belong_to_their_log(log: Path) -> None:
    older, packed = log.with_name("app.log.1"), log.with_name("app.log-20261120.gz")
    older.write_text(line(minutes(300), "ERROR app: from the older one"), encoding="utf-8")
    packed.write_bytes(
        gzip.compress(line(minutes(400), "ERROR app: from the packed one").encode())
        + gzip.compress(line(minutes(390), "ERROR app: from its second part").encode())
    )
    ancient = log.with_name("app.log.9")
    ancient.write_text(line(minutes(100), "ERROR app: not written for long"), encoding="utf-8")
    os.utime(ancient, (time.time() - 10 * 86400,) * 2)
    section = look(files=[str(log)])
    assert section.data["errors"] == 27
    assert {row["logs"] for row in section.data["messages"]} == {str(log)}
    assert look(files=[str(log)], rotated=False).data["errors"] == 24
    assert look(files=[f"{log}*"], rotated=False).data["errors"] == 27
    packed.write_bytes(packed.read_bytes()[:-20] + b"x" * 20)
    assert look(files=[str(log)]).data["errors"] >= 25  # what can be read of it counts


def test_blocks_neither_lose_nor_split_an_entry(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with log.open("a", encoding="utf-8") as stream:
        for number in range(300):
            stream.write(line(minutes(10), f"ERROR app: {'x' * (number % 70)}"))
            stream.write("Traceback (most recent call last):\n" + "  File\n" * (number % 9) + "KeyError: gone\n")
    whole = look(files=[str(log)], limit=1000)
    for size in (700, 1024, 4097):
        monkeypatch.setattr(_files, "BLOCK", size)
        again = look(files=[str(log)], limit=1000)
        assert again.data["errors"] == whole.data["errors"] == 324
        assert again.data["messages"] == whole.data["messages"]


def test_what_may_not_be_read_is_told_and_the_rest_is_read(log: Path, tmp_path: Path) -> None:
    top = tmp_path.resolve()
    secret = top / "secret.txt"
    secret.write_text("ERROR my secret\n", encoding="utf-8")
    (top / "link.log").symlink_to(secret)
    os.link(secret, top / "hard.log")
    (top / "elsewhere").symlink_to(top)
    os.mkfifo(top / "pipe.log")
    files = [str(top / "*.log"), str(top / "elsewhere" / "secret.txt"), str(top / "missing.log"), str(top / "no*.txt")]
    section = look(files=files)
    assert section.data["errors"] == 24
    assert {each.subject for each in found(section, "log_unreadable")} == {
        *(str(top / name) for name in ("link.log", "hard.log", "missing.log", "elsewhere")),
    }
    assert [each.subject for each in found(section, "no_such_log")] == [str(top / "no*.txt")]
    assert "my secret" not in str(section.as_dict())


def test_what_is_ignored_and_what_is_sought(log: Path) -> None:
    with log.open("a", encoding="utf-8") as stream:
        stream.write(line(minutes(5), "INFO app: disk nearly full"))
    assert look(files=[str(log)], ignore=["connection \\d+ lost"]).data["errors"] == 0
    assert look(files=[str(log)], patterns=["nearly full$"]).data["errors"] == 25


def test_time_that_is_up_leaves_the_newest(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_files, "BLOCK", 500)
    section = look(files=[str(log)], read_seconds=0.0)
    assert 0 < section.data["errors"] < 24
    assert section.data["hours"][-2]["errors"] + section.data["hours"][-1]["errors"] > 0
    (finding,) = found(section, "not_all_read")
    assert finding.severity == "warning"
    assert section.data["logs"][0]["complete"] == "no"


def test_entries_that_cost_much_are_left_when_time_is_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path.resolve() / "app.log"
    path.write_text(line(minutes(5), "ERROR app: boom") * 1000, encoding="utf-8")
    monkeypatch.setattr(_log_report, "_GRACE", -100.0)
    section = look(files=[str(path)])
    assert section.data["errors"] == 0
    assert found(section, "not_all_read")


def test_errors_that_cannot_be_dated_are_counted_beside(tmp_path: Path) -> None:
    path = tmp_path.resolve() / "plain.log"
    path.write_text("ERROR:root:boom\nINFO:root:fine\nERROR:root:boom\n", encoding="utf-8")
    section = look(files=[str(path)])
    assert (section.data["errors"], section.data["undated"]) == (0, 2)
    assert found(section, "undated")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "name files or units"),
        ({"files": ["relative.log"]}, "files[0]: must be the absolute path"),
        ({"files": ["/a/../b"]}, "files[0]: must be the absolute path"),
        ({"units": ["--flag"]}, "units[0]: is not the name of a unit"),
        ({"journal": True, "patterns": ["("]}, "patterns[0]: is no regular expression"),
        ({"journal": True, "since": "1m"}, "since: must be at least 1h"),
        ({"journal": True, "burst_factor": 0.5}, "burst_factor: must be at least 1"),
    ],
)
def test_a_declaration_that_cannot_be_right_names_its_key(options: dict[str, Any], words: str) -> None:
    lines: list[str] = []
    defaults = {name: option.get("default") for name, option in LogReport.SPEC.options.items()}
    LogReport.examine({**defaults, **options}, Report(lines, "logs"))
    assert words in "\n".join(lines)


@pytest.mark.parametrize(
    "line",
    [
        b'{"error":' + b"[" * 15_000,
        b'{"level":"error","message":' + b'{"message":' * 900 + b'"deep"' + b"}" * 901,
        b'{"time":"\\ud800","level":"error","message":"half a moment"}',
        b'{"message":"ERROR half a character: \\ud800"}',
        b'{"level":"error","message":"\\udfff"}',
    ],
    ids=["brackets", "mappings", "moment", "wrapped", "message"],
)
def test_one_line_that_somebody_made_up_does_not_hide_the_others(tmp_path: Path, line: bytes) -> None:
    log = tmp_path / "app.log"
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    log.write_bytes(b"%b ERROR the disk is full\n%b\n" % (stamp.encode(), line))
    section = look(files=[str(log)])
    assert "the disk is full" in [message["message"] for message in section.data["messages"]]
