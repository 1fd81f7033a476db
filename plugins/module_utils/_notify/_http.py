# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One HTTP request with the standard library: TLS verified, no redirect followed, every answer judged.

PRIVATE to the collection; may change without notice.

Nothing here repeats an address beyond host and port, because the path of a webhook is its password.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable
from urllib.parse import SplitResult, unquote, urlsplit

from .._errors import (
    AuthenticationFailed,
    HoldfastError,
    InvalidOption,
    NotFound,
    TimedOut,
    TlsFailed,
    ToolFailed,
    Unavailable,
    shorten,
)
from ._interface import RetryLater

if TYPE_CHECKING:
    import http.client
    import ssl

ANSWER_LIMIT = 64 * 1024
"""Bytes of an answer that are read; services answer with a few words."""
_SHOWN = 300
"""Characters of an answer that an error repeats."""
_AGENT = "holdfast.ops"
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")

Redact = Callable[[str], str]


@dataclass(frozen=True)
class Connector:
    """How the other side is reached. `proxy` is `http://[user:password@]host[:port]`."""

    validate_certs: bool = True
    ca_file: str | None = None
    proxy: str | None = None


@dataclass(frozen=True)
class Answer:
    """What came back: the status, and the body's beginning as text."""

    status: int
    body: str


def parse_url(text: str, *, tls_only: bool = False) -> SplitResult:
    """Read an address of the form `https://host[:port]/path`.

    Raises:
        InvalidOption: it is none; the message fits after the name of a key and does not repeat it.
    """
    schemes = ("https",) if tls_only else ("https", "http")
    form = f"is not an address of the form {schemes[0]}://host/path"
    try:
        url = urlsplit(text.strip())
        port_is_sound = url.port is None or url.port > 0
    except ValueError:
        raise InvalidOption(form) from None
    if url.scheme == "http" and tls_only:
        raise InvalidOption("must begin with https://: the address itself is the secret")
    printable = text.isascii() and text.strip().isprintable() and " " not in text.strip()
    if url.scheme not in schemes or not _HOST.fullmatch(url.hostname or "") or not port_is_sound or not printable:
        raise InvalidOption(form)
    if url.username is not None:
        raise InvalidOption("must not hold a user and password; use the channel's own options for them")
    return url


def parse_proxy(text: str) -> SplitResult:
    """Read the address of a proxy.

    Raises:
        InvalidOption: it is none; as with `parse_url`.
    """
    try:
        url = urlsplit(text.strip())
        port_is_sound = url.port is None or url.port > 0
    except ValueError:
        port_is_sound = False
    if (
        not port_is_sound
        or url.scheme != "http"
        or not _HOST.fullmatch(url.hostname or "")
        or url.path not in ("", "/")
    ):
        raise InvalidOption("is not an address of the form http://[user:password@]host:port")
    return url


def tls_context(validate_certs: bool, ca_file: str | None) -> ssl.SSLContext:
    """A context that verifies name and chain; with `ca_file` by that alone.

    Raises:
        InvalidOption: the file holds no certificate.
    """
    import ssl

    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        why = getattr(error, "strerror", None) or "it is damaged"
        raise InvalidOption(f"The certificates in {ca_file} (ca_file) cannot be loaded: {why}.") from None
    if not validate_certs:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def place(url: SplitResult) -> str:
    """Host and port: as much of an address as may be shown."""
    host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
    return f"{host}:{url.port or (443 if url.scheme == 'https' else 80)}"


def post_json(
    url: SplitResult,
    document: Any,
    *,
    connector: Connector,
    timeout: float,
    redact: Redact,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Post a JSON document; the answer if it is a success. Errors as with `request`."""
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    sent = {"Content-Type": "application/json", **(headers or {})}
    return request("POST", url, body, headers=sent, connector=connector, timeout=timeout, redact=redact)


def request(
    method: str,
    url: SplitResult,
    body: bytes | None,
    *,
    headers: Mapping[str, str],
    connector: Connector,
    timeout: float,
    redact: Redact,
) -> Answer:
    """Ask once.

    Raises:
        Unavailable: (TimedOut, RetryLater) no answer, or one that says to try again.
        TlsFailed, AuthenticationFailed, NotFound, ToolFailed: trying again cannot help.
    """
    with _faults(place(url)):
        connection = _connect(url, connector, timeout)
        try:
            path = (url.path or "/") + (f"?{url.query}" if url.query else "")
            absolute = connector.proxy is not None and url.scheme == "http"
            own = _proxy_headers(connector.proxy) if absolute and connector.proxy else {}
            connection.request(
                method,
                f"http://{url.netloc}{path}" if absolute else path,
                body=body,
                headers={"User-Agent": _AGENT, "Connection": "close", **own, **headers},
            )
            response = connection.getresponse()
            answer = Answer(response.status, response.read(ANSWER_LIMIT).decode("utf-8", "replace"))
            wait = response.getheader("Retry-After")
        finally:
            connection.close()
    return _judge(answer, place(url), wait, redact)


def reach(url: SplitResult, *, connector: Connector, timeout: float) -> str:
    """Connect, with TLS where the address says so, and hang up; host and port of where that was.

    Raises:
        Unavailable, TimedOut, TlsFailed: that did not work.
    """
    with _faults(place(url)):
        connection = _connect(url, connector, timeout)
        try:
            connection.connect()
        finally:
            connection.close()
    return place(url)


def _connect(url: SplitResult, connector: Connector, timeout: float) -> http.client.HTTPConnection:
    """A connection that is not opened yet."""
    import http.client

    proxy = parse_proxy(connector.proxy) if connector.proxy else None
    if url.scheme == "http":
        via = proxy or url
        return http.client.HTTPConnection(via.hostname or "", via.port or 80, timeout=timeout)
    context = tls_context(connector.validate_certs, connector.ca_file)
    if proxy is None:
        return http.client.HTTPSConnection(url.hostname or "", url.port or 443, timeout=timeout, context=context)
    connection = http.client.HTTPSConnection(proxy.hostname or "", proxy.port or 3128, timeout=timeout, context=context)
    connection.set_tunnel(url.hostname or "", url.port or 443, headers=_proxy_headers(connector.proxy or ""))
    return connection


def _proxy_headers(proxy: str) -> dict[str, str]:
    url = parse_proxy(proxy)
    if url.username is None:
        return {}
    login = f"{unquote(url.username)}:{unquote(url.password or '')}"
    return {"Proxy-Authorization": "Basic " + base64.b64encode(login.encode()).decode()}


class _faults:  # noqa: N801 - a context manager, used as one
    """Turn what sockets, TLS and http.client raise into our errors. Their words hold no path and no header."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, HoldfastError) or not isinstance(error, Exception):
            return
        raise fault(error, self._where) from None


def fault(error: Exception, where: str) -> HoldfastError:
    """The error of a connection in our terms. Anything that is none of a connection is passed on as it is."""
    import http.client
    import socket
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        return TlsFailed(
            f"The certificate of {where} was refused: {error.verify_message or 'it cannot be verified'}.",
            hint="If it is signed by an authority of your own, name that in ca_file.",
        )
    if isinstance(error, ssl.SSLError):
        return TlsFailed(f"No TLS connection with {where}: {error.reason or 'the protocol failed'}.")
    if isinstance(error, TimeoutError):  # socket.timeout too: from 3.10 on it is the same class
        return TimedOut(f"{where} did not answer in time.")
    if isinstance(error, socket.timeout):
        return TimedOut(f"{where} did not answer in time.")
    if isinstance(error, socket.gaierror):
        return Unavailable(f"The name of {where} cannot be resolved: {error.strerror}.")
    if isinstance(error, (OSError, http.client.HTTPException)):
        why = getattr(error, "strerror", None) or _spoken(error)
        return Unavailable(f"{where} cannot be reached: {why}.")
    raise error


def _spoken(error: Exception) -> str:
    """Words for the errors of http.client, whose own texts may quote what was sent."""
    if isinstance(error, OSError) and str(error).startswith("Tunnel connection failed"):
        return "the proxy refused: " + str(error).partition(":")[2].strip()
    return f"the connection broke ({type(error).__name__})"


def _judge(answer: Answer, where: str, wait: str | None, redact: Redact) -> Answer:
    if 200 <= answer.status < 300:
        return answer
    said = shorten(redact(" ".join(answer.body.split())), _SHOWN, _SHOWN // 2) or None
    message = f"{where} answered {answer.status}."
    if answer.status == 429:
        raise RetryLater(f"{where} limits how often it is told (429).", after=retry_after(wait), tool_output=said)
    if answer.status in (408, 425) or answer.status >= 500:
        raise RetryLater(message, after=retry_after(wait), tool_output=said)
    if answer.status in (401, 403):
        raise AuthenticationFailed(message, tool_output=said, hint="Is the address or the key still valid?")
    if answer.status in (404, 410):
        raise NotFound(message, tool_output=said, hint="Is the address still valid?")
    if 300 <= answer.status < 400:
        raise ToolFailed(
            f"{where} answered {answer.status}, a redirect, which is not followed: declare the address itself."
        )
    raise ToolFailed(message, tool_output=said)


def retry_after(text: str | None) -> float | None:
    """Seconds of a Retry-After, which is a number or a date; None when it is neither."""
    import email.utils
    from datetime import datetime, timezone

    text = (text or "").strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        return float(text)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - datetime.now(timezone.utc)).total_seconds())
