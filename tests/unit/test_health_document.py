# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The document, the lines for people, the metrics, and what a probe is answered from them."""

from __future__ import annotations

import calendar
import json
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._health import _serve, _textfile
from ansible_collections.holdfast.ops.plugins.module_utils._health._document import Known, document, lines
from ansible_collections.holdfast.ops.plugins.module_utils._health._flaps import State
from ansible_collections.holdfast.ops.plugins.module_utils._health._interface import (
    FAIL,
    PASS,
    WARN,
    Measurement,
    Result,
)
from prometheus_client.parser import text_string_to_metric_families

NOW = 1_795_000_000.0


def known(
    name: str = "disk", status: str = PASS, *profiles: str, until: float = NOW + 60, confirmed: str = ""
) -> Known:
    measurements = (
        Measurement("used_percent", status, 93.25, "%", "" if status == PASS else "/ is full to 93 %.", "/"),
        Measurement("used_percent", PASS, 10.0, "%", "", "/srv"),
        Measurement("writable", PASS, True),
    )
    result = Result(name, "disk", NOW - 1, 0.5, measurements)
    return Known(result, State(confirmed or status, (status,), NOW - 100), profiles, NOW + 60)


def test_the_document_is_what_the_draft_describes() -> None:
    found = document([known(status=WARN), known("other")], "app1", NOW)
    assert found["status"] == "warn"
    assert found["output"] == "disk: / is full to 93 %."
    first, second = found["checks"]["disk:used_percent"]
    assert first == {
        "componentId": "/",
        "componentType": "system",
        "observedValue": 93.25,
        "observedUnit": "%",
        "status": "warn",
        "time": "2026-11-18T11:06:39.500Z",
        "output": "/ is full to 93 %.",
    }
    assert (second["componentId"], "output" in second) == ("/srv", False)
    assert found["holdfast"]["disk"]["validUntil"] == "2026-11-18T11:07:40.000Z"
    json.dumps(found, allow_nan=False)


def test_a_value_that_json_does_not_know_breaks_nothing() -> None:
    assert Measurement("load", FAIL, float("nan")).as_json()["value"] is None


def test_a_check_that_measured_nothing_has_failed() -> None:
    assert Result("x", "disk", NOW, 0.1, ()).status == FAIL


def test_what_was_kept_is_read_back_the_same() -> None:
    each = known("disk", FAIL, "liveness")
    assert Known.from_json(json.loads(json.dumps(each.as_json()))) == each


def test_people_see_what_is_bad_last_and_why() -> None:
    told = [known("a", FAIL), known("b"), known("c", FAIL, confirmed=PASS)]
    assert list(lines(told, told, 0.51)) == [
        "pass  b  used / 93.2 %, used /srv 10 %",
        "WARN  c  / is full to 93 %. (Not yet confirmed.)",
        "FAIL  a  / is full to 93 %.",
        "3 checks in 0.5 s: 1 pass, 1 warn, 1 fail.",
    ]


def test_metrics_are_a_valid_exposition_and_forget_checks_that_are_gone(tmp_path: Path) -> None:
    _textfile.write(str(tmp_path), [known("gone"), known("disk", FAIL)])
    _textfile.write(str(tmp_path), [known("disk", FAIL), known('od"d\\', WARN)])
    text = (tmp_path / "holdfast_health.prom").read_text(encoding="utf-8")
    samples = {
        (sample.name, sample.labels["check"], sample.labels.get("target")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["holdfast_health_status", "disk", None] == 2
    assert samples["holdfast_health_status", 'od"d\\', None] == 1
    assert samples["holdfast_health_measurement", "disk", "/srv"] == 10
    assert samples["holdfast_health_valid_until_timestamp_seconds", "disk", None] == NOW + 60
    assert not [key for key in samples if key[1] == "gone"]


# -- probes -----------------------------------------------------------------------------------------------------------


def ask(path: Path, request: str, now: float = NOW) -> tuple[int, dict[str, Any]]:
    head, _empty, body = _serve.answer(f"{request}\r\nHost: x\r\n\r\n".encode(), str(path), now).partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head or request.startswith("HEAD")
    return int(head.split()[1]), json.loads(body) if body else {}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "health.json"
    checks = [known("alive", PASS, "liveness"), known("ready", FAIL, "readiness"), known("all", WARN, "liveness")]
    path.write_text(json.dumps(document(checks, "app1", NOW)))
    return path


def test_a_probe_is_answered_by_its_profile(written: Path) -> None:
    assert ask(written, "GET /livez HTTP/1.1")[0] == 200
    code, body = ask(written, "GET /readyz?verbose HTTP/1.0")
    assert (code, body["status"], list(body["holdfast"])) == (503, "fail", ["ready"])
    assert body["output"] == "ready: / is full to 93 %."
    assert {key.split(":")[0] for key in body["checks"]} == {"ready"}
    assert ask(written, "GET /health HTTP/1.1")[0] == 503
    assert ask(written, "HEAD /livez HTTP/1.1") == (200, {})


def test_what_is_too_old_does_not_count(written: Path) -> None:
    code, body = ask(written, "GET /livez HTTP/1.1", NOW + 61)
    assert (code, body["output"]) == (
        503,
        "alive: It was last checked too long ago. all: It was last checked too long ago.",
    )


@pytest.mark.parametrize("content", [None, "", "{}", "[]", '{"holdfast": {"a": {}}, "checks": {}}', '{"holdfast": []}'])
def test_nothing_or_nonsense_is_not_well(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "health.json"
    if content is not None:
        path.write_text(content)
    assert ask(path, "GET /livez HTTP/1.1")[0] == 503


@pytest.mark.parametrize(
    ("request_line", "code"),
    [
        ("POST /livez HTTP/1.1", 405),
        ("GET / HTTP/1.1", 404),
        ("GET /../etc/passwd HTTP/1.1", 404),
        ("nonsense", 400),
        ("GET /livez HTTP/2", 400),
    ],
)
def test_other_requests_are_refused(written: Path, request_line: str, code: int) -> None:
    assert ask(written, request_line)[0] == code


def test_times_are_utc() -> None:
    assert _serve._epoch("2026-11-18T11:06:40.000Z") == NOW == calendar.timegm(time.gmtime(NOW))
