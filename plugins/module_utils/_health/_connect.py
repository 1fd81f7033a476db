# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections of checks: TCP or a Unix socket, TLS when asked for, never longer than the deadline.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .._deadline import Deadline
from .._declaration._report import Report
from .._errors import InvalidOption, TimedOut, TlsFailed, Unavailable
from .._limits import examine_limits, limits
from ._certificates import not_after
from ._interface import Measurement
from ._thresholds import judged

if TYPE_CHECKING:
    import ssl

TLS_OPTIONS: Mapping[str, Any] = {
    "validate_certs": {"type": "bool", "default": True},
    "ca_cert": {"type": "path"},
    "client_cert": {"type": "path"},
    "client_key": {"type": "path", "no_log": False},
    "server_name": {"type": "str"},
    **limits("certificate", 21, 7),
}
"""How the other side proves who it is, and how many days its certificate must still be good for."""

_DAY = 86_400


def examine_tls(options: Mapping[str, Any], report: Report) -> None:
    """Add what is wrong with TLS_OPTIONS."""
    examine_limits(options, report, "certificate", falling=True)
    if options.get("client_key") and not options.get("client_cert"):
        report.key("client_key").add("requires client_cert")


def examine_port(options: Mapping[str, Any], report: Report, name: str = "port") -> None:
    """Add what is wrong with the number of a port."""
    if options.get(name) is not None and not 0 < options[name] < 65_536:
        report.key(name).add("must lie between 1 and 65535")


def tls_context(options: Mapping[str, Any]) -> ssl.SSLContext:
    """The client's side of TLS, as TLS_OPTIONS say.

    Raises:
        InvalidOption: a file of certificates or keys cannot be used.
    """
    import ssl

    try:
        context = ssl.create_default_context(cafile=options.get("ca_cert"))
        if not options.get("validate_certs", True):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if options.get("client_cert"):
            context.load_cert_chain(options["client_cert"], options.get("client_key"))
    except (OSError, ssl.SSLError) as error:
        raise InvalidOption(f"ca_cert, client_cert or client_key cannot be used: {error}.") from None
    return context


def wrap_tls(
    connection: socket.socket, host: str, place: str, options: Mapping[str, Any], deadline: Deadline
) -> ssl.SSLSocket:
    """TLS over an open connection.

    Raises:
        TlsFailed: the other side did not prove who it is, or does not speak TLS.
    """
    import ssl

    context = tls_context(options)
    try:
        connection.settimeout(deadline.remaining(f"TLS with {place}"))
        return context.wrap_socket(connection, server_hostname=options.get("server_name") or host)
    except ssl.SSLCertVerificationError as error:
        raise TlsFailed(f"The certificate of {place} is not accepted: {error.verify_message}.") from None
    except socket.timeout:
        raise deadline.missed(f"TLS with {place}") from None
    except OSError as error:
        raise TlsFailed(f"No TLS with {place}: {getattr(error, 'reason', None) or error.strerror or error}.") from None


def certificate(connection: socket.socket, place: str, options: Mapping[str, Any]) -> Iterator[Measurement]:
    """How many days the certificate at the other end of TLS is still good for, also where it was not validated."""
    encoded: bytes | None = getattr(connection, "getpeercert", lambda binary_form: None)(binary_form=True)
    if encoded:
        days = (not_after(encoded) - time.time()) / _DAY
        yield judged(
            "certificate_days",
            days,
            "d",
            options.get("certificate_warning"),
            options.get("certificate_critical"),
            what=f"The certificate of {place} ends in",
            falling=True,
        )


def receive(connection: socket.socket, size: int, place: str, deadline: Deadline) -> bytes:
    """Some bytes, at most `size`; nothing at the end of the stream.

    Raises:
        TimedOut, Unavailable.
    """
    try:
        connection.settimeout(deadline.remaining(f"waiting for {place}"))
        return connection.recv(size)
    except TimedOut:
        raise
    except socket.timeout:
        raise deadline.missed(f"waiting for {place}") from None
    except OSError as error:
        raise Unavailable(f"The connection to {place} was lost: {error.strerror or error}.") from None
