# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Channels over HTTP against real servers with TLS: what arrives, and what becomes of every way to fail."""

from __future__ import annotations

import hashlib
import hmac
import socket
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._notify import _send
from ansible_collections.holdfast.ops.plugins.module_utils._notify._interface import Channel
from ansible_collections.holdfast.ops.plugins.module_utils._notify._model import Delivery
from ansible_collections.holdfast.ops.tests.support.notify import (
    Authority,
    HttpSink,
    Reply,
    authority,
    channels,
    contract,
    event,
)
from ansible_collections.holdfast.ops.tests.support.servers import free_ports

SECRET = "s3cr3t-0123456789-path"
KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def sink(ca: Authority) -> Iterator[HttpSink]:
    with HttpSink(ca.issue("localhost")) as server:
        yield server


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_send, "_FIRST_PAUSE", 0.01)


def tell(channel: Channel, state: Path, **changes: Any) -> Delivery:
    """Deliver an event to one channel; whatever comes of it holds no secret."""
    (delivery,) = _send.deliver(event(**changes), [channel], str(state))
    assert SECRET not in str(delivery) and KEY not in str(delivery)
    return delivery


def slack(sink: HttpSink, ca: Authority, **options: Any) -> Channel:
    (channel,) = channels({"type": "slack", "url": sink.url(f"/services/{SECRET}"), "ca_file": str(ca.pem), **options})
    return channel


@pytest.mark.parametrize(
    ("declared", "path"),
    [
        ({"type": "slack"}, f"/services/{SECRET}"),
        ({"type": "discord"}, f"/services/{SECRET}"),
        ({"type": "webhook"}, f"/services/{SECRET}"),
        ({"type": "pagerduty", "routing_key": KEY}, f"/services/{SECRET}"),
        ({"type": "alertmanager"}, f"/services/{SECRET}/api/v2/alerts"),
    ],
)
def test_beginning_and_end_arrive_as_the_vendor_wants_them(
    declared: Mapping[str, Any], path: str, sink: HttpSink, ca: Authority, tmp_path: Path
) -> None:
    url = sink.url(f"/services/{SECRET}")
    (channel,) = channels({**declared, "url": url, "ca_file": str(ca.pem)})
    assert tell(channel, tmp_path).outcome == "sent"
    assert tell(channel, tmp_path, status="resolved").outcome == "sent"
    assert [(each.method, each.path) for each in sink.received] == [("POST", path)] * 2
    for each in sink.received:
        contract(str(declared["type"])).validate(each.json())
        assert each.headers["content-type"] == "application/json"
        assert each.headers["host"] == f"localhost:{sink.port}"
    assert sink.received[0].body != sink.received[1].body


def test_a_webhook_is_signed_and_carries_its_token_and_headers(sink: HttpSink, ca: Authority, tmp_path: Path) -> None:
    files = {"token": SECRET, "secret": f"{SECRET}-key"}
    for name, value in files.items():
        (tmp_path / name).write_text(f"{value}\n")
    (channel,) = channels(
        {"type": "webhook", "url": sink.url("/in?a=b"), "ca_file": str(ca.pem), "headers": {"X-Team": "shop"}}
        | {f"{name}_file": str(tmp_path / name) for name in files}
    )
    assert tell(channel, tmp_path).outcome == "sent"
    (got,) = sink.received
    assert (got.path, got.headers["x-team"], got.headers["authorization"]) == ("/in?a=b", "shop", f"Bearer {SECRET}")
    signed = got.headers["x-holdfast-timestamp"].encode() + b"." + got.body
    wanted = hmac.new(files["secret"].encode(), signed, hashlib.sha256).hexdigest()
    assert got.headers["x-holdfast-signature"] == f"sha256={wanted}"


def test_alertmanager_takes_a_login(sink: HttpSink, ca: Authority, tmp_path: Path) -> None:
    declared = {"type": "alertmanager", "url": sink.url(), "ca_file": str(ca.pem), "user": "h", "password": SECRET}
    (channel,) = channels(declared)
    tell(channel, tmp_path)
    assert sink.received[0].headers["authorization"] == "Basic aDpzM2NyM3QtMDEyMzQ1Njc4OS1wYXRo"


@pytest.mark.parametrize(
    ("replies", "outcome", "code", "tries"),
    [
        ([Reply(500)], "sent", None, 2),
        ([Reply(503, headers={"Retry-After": "1"})], "sent", None, 2),
        ([Reply(429, headers={"Retry-After": "1"})], "sent", None, 2),
        ([Reply(hang_up=True)], "sent", None, 2),
        ([Reply(500)] * 3, "failed", "unavailable", 3),
        ([Reply(429, headers={"Retry-After": "3600"})], "failed", "unavailable", 1),
        ([Reply(400, "invalid_payload")], "failed", "tool_failed", 1),
        ([Reply(403, "invalid_token")], "failed", "authentication_failed", 1),
        ([Reply(404, f"no_service {SECRET}")], "failed", "not_found", 1),
        ([Reply(302, headers={"Location": "http://127.0.0.1/elsewhere"})], "failed", "tool_failed", 1),
    ],
)
def test_answers(
    replies: list[Reply], outcome: str, code: str | None, tries: int, sink: HttpSink, ca: Authority, tmp_path: Path
) -> None:
    sink.replies = list(replies)
    delivery = tell(slack(sink, ca), tmp_path)
    assert (delivery.outcome, delivery.error_code, delivery.attempts) == (outcome, code, tries)
    assert len(sink.received) == tries
    if outcome == "failed":
        assert f"localhost:{sink.port}" in delivery.reason
    if any("Retry-After" in reply.headers for reply in replies) and tries > 1:
        assert sink.received[1].at - sink.received[0].at >= 1


def test_what_the_service_said_is_repeated_without_the_secret(sink: HttpSink, ca: Authority, tmp_path: Path) -> None:
    sink.replies = [Reply(404, f"nothing at /services/{SECRET}: was it revoked? " + "x" * 1000)]
    reason = tell(slack(sink, ca), tmp_path).reason
    assert "was it revoked?" in reason and len(reason) < 600


def test_a_server_that_does_not_answer_costs_the_timeout_and_no_more(
    sink: HttpSink, ca: Authority, tmp_path: Path
) -> None:
    sink.replies = [Reply(delay=30), Reply(delay=30)]
    delivery = tell(slack(sink, ca, timeout="1s", retries=1), tmp_path)
    assert (delivery.outcome, delivery.error_code, delivery.attempts) == ("failed", "timeout", 2)
    assert delivery.seconds < 15


def test_nobody_there(ca: Authority, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    (channel,) = channels({"type": "slack", "url": f"https://localhost:{port}/{SECRET}", "retries": 0})
    delivery = tell(channel, tmp_path)
    assert (delivery.outcome, delivery.error_code) == ("failed", "unavailable")
    assert "Connection refused" in delivery.reason


def test_a_name_that_nobody_knows(tmp_path: Path) -> None:
    (channel,) = channels({"type": "slack", "url": f"https://no-such-host.invalid/{SECRET}", "retries": 0})
    delivery = tell(channel, tmp_path)
    assert (delivery.outcome, delivery.error_code) == ("failed", "unavailable")
    assert "no-such-host.invalid" in delivery.reason


def test_a_certificate_of_a_stranger_is_refused(sink: HttpSink, ca: Authority, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    stranger = authority(tmp_path / "other")
    for options in ({"ca_file": str(stranger.pem)}, {}):
        (channel,) = channels({"type": "slack", "url": sink.url(f"/{SECRET}"), **options})
        delivery = tell(channel, tmp_path / str(len(options)))
        assert (delivery.error_code, delivery.attempts) == ("tls_failed", 1)
        assert "ca_file" in delivery.reason
    assert not sink.received


def test_a_certificate_for_another_name_is_refused(sink: HttpSink, ca: Authority, tmp_path: Path) -> None:
    url = sink.url(f"/{SECRET}", host="127.0.0.1")
    (channel,) = channels({"type": "slack", "url": url, "ca_file": str(ca.pem)})
    assert tell(channel, tmp_path).error_code == "tls_failed"
    assert not sink.received


def test_verification_is_turned_off_only_when_asked(sink: HttpSink, tmp_path: Path) -> None:
    (channel,) = channels({"type": "slack", "url": sink.url(f"/{SECRET}"), "validate_certs": False})
    assert tell(channel, tmp_path).outcome == "sent"


def test_a_ca_file_that_is_none_is_named(sink: HttpSink, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    for path in (tmp_path / "ca.pem", tmp_path / "missing.pem"):
        (channel,) = channels({"type": "slack", "url": sink.url(f"/{SECRET}"), "ca_file": str(path)})
        delivery = tell(channel, tmp_path / path.stem)
        assert delivery.error_code == "invalid_option" and str(path) in delivery.reason


class Proxy:
    """A proxy that knows CONNECT, for one login."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _address = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(4096)
        self.requests.append(head)
        host, _colon, port = head.split()[1].decode().rpartition(":")
        if b"Proxy-Authorization: Basic dXNlcjpwQHNz" not in head:  # user:p@ss
            client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            client.close()
            return
        server = socket.create_connection((host, int(port)))
        client.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        threading.Thread(target=_copy, args=(server, client), daemon=True).start()
        _copy(client, server)

    def close(self) -> None:
        self._listener.close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return  # the other direction has ended the connection


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    server = Proxy()
    yield server
    server.close()


def test_a_proxy_sees_neither_path_nor_body(proxy: Proxy, sink: HttpSink, ca: Authority, tmp_path: Path) -> None:
    channel = slack(sink, ca, proxy=f"http://user:p%40ss@127.0.0.1:{proxy.port}")
    assert tell(channel, tmp_path).outcome == "sent"
    assert len(sink.received) == 1
    assert SECRET.encode() not in proxy.requests[0]


def test_a_proxy_that_refuses_is_named_without_its_password(
    proxy: Proxy, sink: HttpSink, ca: Authority, tmp_path: Path
) -> None:
    channel = slack(sink, ca, proxy=f"http://user:wrongpassword@127.0.0.1:{proxy.port}", retries=0)
    delivery = tell(channel, tmp_path)
    assert delivery.outcome == "failed" and "407" in delivery.reason
    assert "wrongpassword" not in delivery.reason
    assert not sink.received


def test_a_heartbeat_pings_the_components_own_address(sink: HttpSink, ca: Authority) -> None:
    (alive,) = channels(
        {
            "type": "heartbeat",
            "url": sink.url(f"/{SECRET}/{{component}}?create=1"),
            "urls": {"shop_db": sink.url("/uuid-of-shop-db")},
            "ca_file": str(ca.pem),
        }
    )
    for component, signal in (("shop_db", "start"), ("shop_db", "success"), ("Shop.Files", "success"), ("x", "fail")):
        (delivery,) = _send.heartbeat(component, signal, [alive])
        assert delivery.outcome == "sent" and SECRET not in str(delivery)
    assert [(each.method, each.path) for each in sink.received] == [
        ("GET", "/uuid-of-shop-db/start"),
        ("GET", "/uuid-of-shop-db"),
        ("GET", f"/{SECRET}/shop-files?create=1"),
        ("GET", f"/{SECRET}/x/fail?create=1"),
    ]


def test_a_heartbeat_says_so_when_a_job_fails_and_nothing_else(sink: HttpSink, ca: Authority, tmp_path: Path) -> None:
    (alive,) = channels({"type": "heartbeat", "urls": {"shop_db": sink.url("/uuid")}, "ca_file": str(ca.pem)})
    assert tell(alive, tmp_path).outcome == "sent"
    for changes in ({"source": "health"}, {"status": "resolved"}, {"component": "other"}, {"severity": "info"}):
        assert _send.deliver(event(**changes), [alive], str(tmp_path)) == ()
    (got,) = sink.received
    assert (got.method, got.path) == ("POST", "/uuid/fail")
    assert b"backup of shop_db failed" in got.body


def test_a_heartbeat_that_knows_only_success_is_not_told_of_failures(
    sink: HttpSink, ca: Authority, tmp_path: Path
) -> None:
    declared = {"type": "heartbeat", "urls": {"shop_db": sink.url("/uuid")}, "ca_file": str(ca.pem)}
    (alive,) = channels({**declared, "start": False, "fail": False})
    assert _send.deliver(event(), [alive], str(tmp_path)) == ()
    _send.heartbeat("shop_db", "start", [alive])
    assert not sink.received
    _send.heartbeat("shop_db", "success", [alive])
    assert len(sink.received) == 1


def test_a_probe_reaches_and_tells_nothing(sink: HttpSink, ca: Authority) -> None:
    (port,) = free_ports(1)
    url, certificates = sink.url(f"/{SECRET}"), {"ca_file": str(ca.pem)}
    chosen = channels(
        {"type": "slack", "url": url, **certificates},
        {"type": "heartbeat", "url": url, "urls": {"a": f"https://localhost:{port}/x"}, **certificates},
        {"type": "discord", "url": url},
    )
    good, down, refused = _send.probe(chosen)
    assert (good.outcome, good.reason) == ("sent", f"localhost:{sink.port}")
    assert (down.outcome, down.error_code) == ("failed", "unavailable")
    assert (refused.outcome, refused.error_code) == ("failed", "tls_failed")
    assert not sink.received


def test_tests_are_sent_whatever_was_told_and_taken_back_where_somebody_is_woken(
    sink: HttpSink, ca: Authority, tmp_path: Path
) -> None:
    common = {"url": sink.url(f"/{SECRET}"), "ca_file": str(ca.pem)}
    chosen = channels(
        {"type": "slack", **common, "components": ["other"]},
        {"type": "pagerduty", **common, "routing_key": KEY},
        {"type": "alertmanager", **common},
        {"type": "heartbeat", **common},
    )
    for _again in range(2):
        sink.received.clear()
        deliveries = _send.send_tests(chosen, "db1")
        assert all(delivery.outcome == "sent" for delivery in deliveries)
        told = [(each.channel, each.severity, each.status) for each in deliveries]
        assert told == [
            *((name, severity, "firing") for name in ("slack0",) for severity in ("critical", "warning", "info")),
            ("pagerduty1", "critical", "firing"),
            ("pagerduty1", "critical", "resolved"),
            *(("alertmanager2", severity, "firing") for severity in ("critical", "warning", "info")),
            ("heartbeat3", "critical", "firing"),
        ]
        assert len(sink.received) == len(told) - 1  # the heartbeat was only reached
    assert not list(tmp_path.iterdir())
