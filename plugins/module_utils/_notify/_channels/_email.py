# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""E-mail over SMTP: TLS unless that is turned off, plain text, one thread for each problem.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import hashlib
import re
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ..._declaration._report import Report
from ..._errors import (
    AuthenticationFailed,
    Degraded,
    HoldfastError,
    TlsFailed,
    ToolFailed,
    Unavailable,
    Unsupported,
    shorten,
)
from ..._manifest import rfc3339
from ..._spec import Spec
from .. import _http, _text
from .._interface import TLS_OPTIONS, Channel, secret
from .._model import Message

if TYPE_CHECKING:
    import smtplib
    from email.message import EmailMessage

PORTS = {"starttls": 587, "tls": 465, "none": 25}
_ADDRESS = re.compile(r"[^\s@<>,;:\"()\\]+@[^\s@<>,;:\"()\\]+")
_SAID = 300


class EmailChannel(Channel):
    """Mail to any number of people, through a server that relays for this host."""

    type: ClassVar[str] = "email"
    SPEC: ClassVar[Spec] = Spec(
        {
            **TLS_OPTIONS,
            "host": {"type": "str", "required": True},
            "port": {"type": "int"},
            "security": {"type": "str", "choices": list(PORTS), "default": "starttls"},
            "user": {"type": "str"},
            **secret("password"),
            "from": {"type": "str", "required": True},
            "to": {"type": "list", "elements": "str", "required": True},
            "subject_prefix": {"type": "str", "default": "[holdfast]"},
        },
        required_by={"password": ("user",), "password_file": ("user",)},
    )

    @classmethod
    def check(cls, options: Mapping[str, Any], report: Report) -> None:
        if not re.fullmatch(r"[A-Za-z0-9._:-]+", str(options.get("host", ""))):
            report.key("host").add("is not the name or address of a server")
        if "port" in options and not 0 < options["port"] < 65536:
            report.key("port").add("must be from 1 to 65535")
        for number, address in enumerate(options.get("to", ())):
            if not _is_address(address):
                report.key("to").index(number).add("is not an address of the form name@example.com")
        if "from" in options and not _is_address(options["from"]):
            report.key("from").add("is not an address of the form name@example.com")
        if "\n" in options.get("subject_prefix", ""):
            report.key("subject_prefix").add("must be one line")
        if options.get("security") == "none" and options.get("user") is not None:
            report.key("security").add("none would send the password in clear; use starttls or tls")

    def send(self, message: Message, timeout: float) -> None:
        mail = compose(message, self.options["from"], self.options["to"], self.options["subject_prefix"])
        connection: smtplib.SMTP | None = None
        try:
            connection = self._connect(timeout)
            password = self.secret("password")
            if password is not None:
                connection.login(str(self.options["user"]), password)
            refused = connection.send_message(mail)
        except Exception as error:
            raise self._fault(error) from None
        finally:
            _hang_up(connection)
        if refused:
            names = ", ".join(f"{address} ({code})" for address, (code, _said) in sorted(refused.items()))
            raise Degraded(f"{self._place()} took the message, but not for {names}.")

    def probe(self, timeout: float) -> str:
        connection: smtplib.SMTP | None = None
        try:
            connection = self._connect(timeout)
            if self.options.get("user") is not None and not connection.has_extn("auth"):
                raise Unsupported(f"{self._place()} offers no login, and user is declared.")
        except Exception as error:
            raise self._fault(error) from None
        finally:
            _hang_up(connection)
        return self._place()

    def _connect(self, timeout: float) -> smtplib.SMTP:
        """A connection that was greeted, with TLS unless that was turned off."""
        import smtplib

        host, port = str(self.options["host"]), self._port()
        security = self.options["security"]
        # Ours is not looked up by the resolver, which may be what has failed.
        greeting = socket.gethostname() if re.fullmatch("[A-Za-z0-9.-]+", socket.gethostname()) else "localhost"
        if security == "none":
            plain = smtplib.SMTP(host, port, local_hostname=greeting, timeout=timeout)
            plain.ehlo_or_helo_if_needed()
            return plain
        context = _http.tls_context(self.options["validate_certs"], self.options.get("ca_file"))
        if security == "tls":
            wrapped = smtplib.SMTP_SSL(host, port, local_hostname=greeting, timeout=timeout, context=context)
            wrapped.ehlo_or_helo_if_needed()
            return wrapped
        connection = smtplib.SMTP(host, port, local_hostname=greeting, timeout=timeout)
        try:
            connection.ehlo_or_helo_if_needed()
            if not connection.has_extn("starttls"):
                raise TlsFailed(
                    f"{self._place()} offers no STARTTLS, so nothing was sent.",
                    hint="With security: tls the connection begins with TLS (usually port 465).",
                )
            connection.starttls(context=context)
            connection.ehlo_or_helo_if_needed()
        except BaseException:
            _hang_up(connection)
            raise
        return connection

    def _port(self) -> int:
        return int(self.options.get("port") or PORTS[self.options["security"]])

    def _place(self) -> str:
        return f"{self.options['host']}:{self._port()}"

    def _fault(self, error: Exception) -> HoldfastError:
        """The errors of smtplib in our terms; the server's words without the password."""
        import smtplib

        where = self._place()
        if isinstance(error, HoldfastError):
            return error
        if isinstance(error, smtplib.SMTPAuthenticationError):
            refused = f"{where} refused the login ({error.smtp_code})."
            permanent = error.smtp_code >= 500
            return (AuthenticationFailed if permanent else Unavailable)(
                refused, tool_output=self._words(error.smtp_error)
            )
        if isinstance(error, smtplib.SMTPRecipientsRefused):
            codes = sorted({code for code, _said in error.recipients.values()})
            said = next((said for _code, said in error.recipients.values()), b"")
            kind = Unavailable if all(400 <= code < 500 for code in codes) else ToolFailed
            numbers = ", ".join(map(str, codes))
            return kind(f"{where} refused every recipient ({numbers}).", tool_output=self._words(said))
        if isinstance(error, smtplib.SMTPResponseException):
            kind = Unavailable if 400 <= error.smtp_code < 500 or error.smtp_code < 0 else ToolFailed
            return kind(f"{where} answered {error.smtp_code}.", tool_output=self._words(error.smtp_error))
        if isinstance(error, smtplib.SMTPNotSupportedError):
            return Unsupported(f"{where} does not offer what is needed, such as a login.")
        if isinstance(error, smtplib.SMTPServerDisconnected):
            return Unavailable(f"{where} hung up.")
        if isinstance(error, smtplib.SMTPException):
            return ToolFailed(
                f"{where} could not be used ({type(error).__name__}).", tool_output=self._words(str(error))
            )
        return _http.fault(error, where)

    def _words(self, said: bytes | str) -> str:
        text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        return shorten(self.redact(" ".join(text.split())), _SAID, _SAID // 2)


def compose(message: Message, sender: str, recipients: list[str], prefix: str) -> EmailMessage:
    """The mail. What belongs to one problem is one thread: the first message's id follows from the problem alone."""
    import email.policy
    import email.utils
    from email.message import EmailMessage

    event = message.event
    # Long enough that no subject is folded: Python folds before its first word, which some programs show as a blank.
    mail = EmailMessage(policy=email.policy.SMTP.clone(max_line_length=500))
    mail["Subject"] = " ".join(f"{prefix} {_text.title(message)}".split())
    mail["From"] = sender
    mail["To"] = ", ".join(recipients)
    mail["Date"] = email.utils.format_datetime(event.at)
    domain = sender.rpartition("@")[2].strip("> ")
    first = _message_id(domain, event.host, event.key, rfc3339(message.since))
    if message.again:
        mail["Message-ID"] = _message_id(domain, event.host, event.key, event.status, rfc3339(event.at))
        mail["In-Reply-To"] = first
        mail["References"] = first
    else:
        mail["Message-ID"] = first
    mail["Auto-Submitted"] = "auto-generated"  # so that nobody's absence notice answers it
    if event.severity == "critical" and event.firing:
        mail["Importance"] = "high"
    mail["X-Holdfast-Key"] = _header(event.key)
    mail["X-Holdfast-Severity"] = event.severity
    mail["X-Holdfast-Status"] = event.status
    mail.set_content(_text.plain(message))
    return mail


def _message_id(domain: str, *parts: str) -> str:
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
    return f"<holdfast.{digest}@{domain}>"


def _header(text: str) -> str:
    return " ".join(text.split())


def _is_address(text: Any) -> bool:
    import email.utils

    if not isinstance(text, str) or not text.isascii() or not text.isprintable():
        return False
    return bool(_ADDRESS.fullmatch(email.utils.parseaddr(text)[1])) and "," not in text


def _hang_up(connection: smtplib.SMTP | None) -> None:
    """Say goodbye where somebody listens; the message is on its way or not, whatever becomes of that."""
    import smtplib

    if connection is None:
        return
    try:
        connection.quit()
    except (smtplib.SMTPException, OSError):
        connection.close()
