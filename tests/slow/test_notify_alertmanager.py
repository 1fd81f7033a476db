# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Alertmanager, with TLS: what we send becomes an alert there, is passed on, and ends."""

from __future__ import annotations

import json
import shutil
import ssl
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._manifest import utc_now
from ansible_collections.holdfast.ops.plugins.module_utils._notify import _send
from ansible_collections.holdfast.ops.plugins.module_utils._notify._model import Event
from ansible_collections.holdfast.ops.tests.support.notify import HttpSink, authority, channels, event
from ansible_collections.holdfast.ops.tests.support.servers import Server, free_ports, wait_until

PROGRAM = shutil.which("prometheus-alertmanager")

pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="needs Debian's package prometheus-alertmanager (tests/slow/prepare installs it)"
)


class Alertmanager:
    """Passes alerts on to a sink at once."""

    def __init__(self, directory: Path, sink: HttpSink) -> None:
        made = authority(directory)
        certificate = made.issue("localhost")
        self.pem = made.pem
        (self.port,) = free_ports(1)
        self._context = ssl.create_default_context(cafile=str(made.pem))
        route = {"receiver": "sink", "group_by": ["..."], "group_wait": "0s", "group_interval": "1s"}
        receivers = [{"name": "sink", "webhook_configs": [{"url": sink.url("/passed-on"), "send_resolved": True}]}]
        # JSON is YAML.
        config, web = directory / "config.yml", directory / "web.yml"
        config.write_text(json.dumps({"route": route, "receivers": receivers}))
        web.write_text(json.dumps({"tls_server_config": {"cert_file": certificate, "key_file": certificate}}))
        self.server = Server(
            [
                str(PROGRAM),
                f"--config.file={config}",
                f"--web.config.file={web}",
                f"--storage.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                "--cluster.listen-address=",
            ],
            directory / "log",
        )
        self.server.wait_ready(self._ready, "Alertmanager")

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", context=self._context, timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def alerts(self) -> list[dict[str, Any]]:
        """What is active, as Alertmanager's own API says."""
        with urllib.request.urlopen(f"{self.url}/api/v2/alerts?active=true", context=self._context) as answer:
            found: list[dict[str, Any]] = json.load(answer)
        return found


@pytest.fixture
def sink() -> Iterator[HttpSink]:
    with HttpSink() as server:
        yield server


@pytest.fixture
def alertmanager(tmp_path: Path, sink: HttpSink) -> Iterator[Alertmanager]:
    (tmp_path / "alertmanager").mkdir()
    running = Alertmanager(tmp_path / "alertmanager", sink)
    yield running
    running.server.stop()


def now(**changes: Any) -> Event:
    return event(at=utc_now(), **changes)


def passed_on(sink: HttpSink) -> list[tuple[str, str]]:
    return [(alert["status"], alert["labels"]["severity"]) for each in sink.received for alert in each.json()["alerts"]]


def test_an_alert_begins_gets_worse_and_ends(alertmanager: Alertmanager, sink: HttpSink, tmp_path: Path) -> None:
    (channel,) = channels(
        {"type": "alertmanager", "url": alertmanager.url, "ca_file": str(alertmanager.pem), "labels": {"team": "shop"}}
    )
    state = str(tmp_path / "state")

    def tell(told: Event) -> None:
        (delivery,) = _send.deliver(told, [channel], state)
        assert delivery.outcome == "sent", delivery

    tell(now(severity="warning"))
    (alert,) = alertmanager.alerts()
    assert alert["labels"] == {
        "alertname": "HoldfastJob",
        "severity": "warning",
        "host": "db1",
        "component": "shop_db",
        "source": "job",
        "key": "backup:shop_db",
        "unit": "holdfast-backup-shop_db.service",
        "team": "shop",
    }
    assert alert["annotations"]["summary"].startswith("backup of shop_db failed")
    assert alert["status"]["state"] == "active"
    began = alert["startsAt"]
    wait_until(lambda: passed_on(sink) == [("firing", "warning")], "the warning is passed on")

    tell(now(severity="critical"))
    (alert,) = alertmanager.alerts()
    assert (alert["labels"]["severity"], alert["startsAt"]) == ("critical", began)
    wait_until(lambda: ("firing", "critical") in passed_on(sink), "the critical alert is passed on")
    wait_until(lambda: ("resolved", "warning") in passed_on(sink), "the end of the warning is passed on")

    tell(now(status="resolved"))
    assert alertmanager.alerts() == []
    wait_until(lambda: ("resolved", "critical") in passed_on(sink), "the end is passed on")


def test_a_test_is_passed_on_and_ends_by_itself(alertmanager: Alertmanager, sink: HttpSink) -> None:
    (channel,) = channels({"type": "alertmanager", "url": alertmanager.url, "ca_file": str(alertmanager.pem)})
    deliveries = _send.send_tests([channel], "db1")
    assert [each.outcome for each in deliveries] == ["sent"] * 3
    found = alertmanager.alerts()
    assert {alert["labels"]["alertname"] for alert in found} == {"HoldfastTest"}
    assert all(alert["endsAt"] > alert["startsAt"] for alert in found)
    wait_until(lambda: len(passed_on(sink)) == 3, "the tests are passed on")


def test_what_alertmanager_refuses_is_told(alertmanager: Alertmanager, tmp_path: Path) -> None:
    declared = {"type": "alertmanager", "url": f"{alertmanager.url}/wrong", "ca_file": str(alertmanager.pem)}
    (channel,) = channels(declared)
    (delivery,) = _send.deliver(now(), [channel], str(tmp_path / "state"))
    assert (delivery.outcome, delivery.error_code) == ("failed", "not_found")
