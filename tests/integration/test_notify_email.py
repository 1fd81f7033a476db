# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""E-mail against a real SMTP server: STARTTLS, TLS, logins, and refusals of every kind."""

from __future__ import annotations

import email
import email.policy
import ssl
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from ansible_collections.holdfast.ops.plugins.module_utils._notify import _send
from ansible_collections.holdfast.ops.plugins.module_utils._notify._interface import Channel
from ansible_collections.holdfast.ops.plugins.module_utils._notify._model import Delivery
from ansible_collections.holdfast.ops.tests.support.notify import Authority, authority, channels, event
from ansible_collections.holdfast.ops.tests.support.servers import free_ports

PASSWORD = "s3cr3t-mail-password"


class MailServer:
    """Takes mail of one login. `refuse` maps a recipient to what is answered, once or for ever."""

    def __init__(self, **how: Any) -> None:
        self.mails: list[tuple[list[str], EmailMessage]] = []
        self.refuse: dict[str, list[str]] = {}
        self.logins = 0
        self.secured: list[bool] = []
        self._controller = Controller(
            self, hostname="127.0.0.1", port=free_ports(1)[0], server_hostname="localhost", ready_timeout=30, **how
        )
        self._controller.start()
        self._runs = True

    @property
    def port(self) -> int:
        return int(self._controller.port)

    def authenticate(self, _server: Any, _session: Any, _envelope: Any, mechanism: str, data: Any) -> AuthResult:
        self.logins += 1
        good = isinstance(data, LoginPassword) and (data.login, data.password) == (b"holdfast", PASSWORD.encode())
        # The server's own words may repeat what it was given.
        return AuthResult(success=good, handled=good)

    async def handle_RCPT(  # noqa: N802 - the name that aiosmtpd calls
        self, _server: Any, session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        self.secured.append(session.ssl is not None)
        answers = self.refuse.get(address, [])
        if answers:
            return answers.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append((envelope.rcpt_tos, mail))
        return "250 OK"

    def stop(self) -> None:
        """Safe to call twice."""
        if self._runs:
            self._runs = False
            self._controller.stop()


Serve = Callable[..., MailServer]


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def serve(ca: Authority) -> Iterator[Serve]:
    """`serve()`: STARTTLS and a login are demanded; `serve(tls=True)`; `serve(plain=True)`: neither is offered."""
    running: list[MailServer] = []

    def start(*, tls: bool = False, plain: bool = False) -> MailServer:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(ca.issue("localhost"))
        how: dict[str, Any] = {}
        number = len(running)

        def authenticate(*given: Any) -> Any:
            return running[number].authenticate(*given)

        if tls:
            how = {"ssl_context": context}
        elif not plain:
            how = {"tls_context": context, "require_starttls": True, "auth_required": True}
            how["authenticator"] = authenticate
        server = MailServer(**how)
        running.append(server)
        return server

    yield start
    for server in running:
        server.stop()


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_send, "_FIRST_PAUSE", 0.01)


def mail(server: MailServer, ca: Authority, **options: Any) -> Channel:
    declared = {
        "type": "email",
        "host": "localhost",
        "port": server.port,
        "ca_file": str(ca.pem),
        "user": "holdfast",
        "password": PASSWORD,
        "from": "Holdfast <holdfast@example.com>",
        "to": ["a@example.com", "b@example.com"],
        **options,
    }
    (channel,) = channels({name: value for name, value in declared.items() if value is not None})
    return channel


def tell(channel: Channel, state: Path, **changes: Any) -> Delivery:
    (delivery,) = _send.deliver(event(**changes), [channel], str(state))
    assert PASSWORD not in str(delivery)
    return delivery


def test_a_mail_goes_to_all_over_starttls_and_its_end_is_in_the_same_thread(
    serve: Serve, ca: Authority, tmp_path: Path
) -> None:
    server = serve()
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    channel = mail(server, ca, password=None, password_file=str(tmp_path / "password"))
    assert tell(channel, tmp_path).outcome == "sent"
    assert tell(channel, tmp_path, status="resolved").outcome == "sent"
    (recipients, first), (_again, last) = server.mails
    assert recipients == ["a@example.com", "b@example.com"]
    assert server.logins == 2 and all(server.secured)
    assert first["Subject"] == "[holdfast] CRITICAL db1: backup of shop_db failed: it was killed by SIGKILL"
    assert first["To"] == "a@example.com, b@example.com"
    assert last["Subject"].startswith("[holdfast] RESOLVED db1: ")
    assert last["References"] == first["Message-ID"]
    assert "no space left on device" in first.get_content()


def test_tls_from_the_first_byte(serve: Serve, ca: Authority, tmp_path: Path) -> None:
    server = serve(tls=True)
    channel = mail(server, ca, security="tls", user=None, password=None)
    assert tell(channel, tmp_path).outcome == "sent"
    assert len(server.mails) == 1


def test_a_relay_without_tls_only_when_asked(serve: Serve, ca: Authority, tmp_path: Path) -> None:
    server = serve(plain=True)
    delivery = tell(mail(server, ca, user=None, password=None), tmp_path / "1")
    assert (delivery.outcome, delivery.error_code, delivery.attempts) == ("failed", "tls_failed", 1)
    assert "offers no STARTTLS" in delivery.reason
    assert not server.mails
    assert tell(mail(server, ca, security="none", user=None, password=None), tmp_path / "2").outcome == "sent"


def test_a_wrong_password(serve: Serve, ca: Authority, tmp_path: Path) -> None:
    server = serve()
    (delivery,) = _send.deliver(event(), [mail(server, ca, password="wrong-mail-password")], str(tmp_path))
    assert (delivery.outcome, delivery.error_code, delivery.attempts) == ("failed", "authentication_failed", 1)
    assert "wrong-mail-password" not in str(delivery)
    assert "535" in delivery.reason
    assert not server.mails


def test_a_certificate_that_is_not_trusted_gets_no_password(serve: Serve, ca: Authority, tmp_path: Path) -> None:
    server = serve()
    (tmp_path / "other").mkdir()
    stranger = authority(tmp_path / "other")
    for options in ({"ca_file": str(stranger.pem)}, {"host": "127.0.0.1"}):
        delivery = tell(mail(server, ca, **options), tmp_path / options.popitem()[0])
        assert (delivery.error_code, delivery.attempts) == ("tls_failed", 1)
    assert server.logins == 0 and not server.mails


def test_what_is_refused_for_now_is_tried_again(serve: Serve, ca: Authority, tmp_path: Path) -> None:
    server = serve()
    server.refuse = {"a@example.com": ["451 greylisted"], "b@example.com": ["451 greylisted"]}
    delivery = tell(mail(server, ca), tmp_path)
    assert (delivery.outcome, delivery.attempts) == ("sent", 2)


def test_what_is_refused_for_good_is_not(serve: Serve, ca: Authority, tmp_path: Path) -> None:
    server = serve()
    server.refuse = {"a@example.com": ["550 no such user"] * 9, "b@example.com": ["550 no such user"] * 9}
    delivery = tell(mail(server, ca), tmp_path)
    assert (delivery.error_code, delivery.attempts) == ("tool_failed", 1)
    assert "no such user" in delivery.reason


def test_one_recipient_who_is_refused_does_not_bother_the_others_again(
    serve: Serve, ca: Authority, tmp_path: Path
) -> None:
    server = serve()
    server.refuse = {"b@example.com": ["550 no such user"] * 9}
    channel = mail(server, ca)
    delivery = tell(channel, tmp_path)
    assert (delivery.outcome, delivery.error_code) == ("failed", "degraded")
    assert "b@example.com (550)" in delivery.reason
    assert _send.flush([channel], str(tmp_path)) == ()
    assert [recipients for recipients, _mail in server.mails] == [["a@example.com"]]


def test_nobody_there(ca: Authority, serve: Serve, tmp_path: Path) -> None:
    server = serve()
    channel = mail(server, ca, retries=0)
    server.stop()
    delivery = tell(channel, tmp_path)
    assert (delivery.outcome, delivery.error_code) == ("failed", "unavailable")


def test_a_probe_shakes_hands_and_sends_nothing(serve: Serve, ca: Authority) -> None:
    server, plain = serve(), serve(plain=True)
    reached, refused = _send.probe([mail(server, ca), mail(plain, ca, name="plain")])
    assert (reached.outcome, reached.reason) == ("sent", f"localhost:{server.port}")
    assert (refused.outcome, refused.error_code) == ("failed", "tls_failed")
    assert server.logins == 0 and not server.mails
