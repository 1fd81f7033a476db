# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scraping an exporter once, as Prometheus would, and what that has to show.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import base64
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .._errors import AuthenticationFailed, HoldfastError, NotProved, TlsFailed, Unavailable
from ._model import NO_TLS, Exporter, Kind, Proof

_UP_WITHIN = 20.0
"""Seconds until an exporter that was just started has to answer."""
_TIMEOUT = 15.0
_LARGEST = 64 * 1024 * 1024
_SAMPLE = re.compile(r"(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})? (?P<value>[^ ]+)(?: -?\d+)?")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def scrape(exporter: Exporter, certificate: str | None, has_ended: Callable[[], bool]) -> str:
    """The metrics of an exporter that may have been started this moment.

    With passwords it is proved first that nobody gets anything without.

    Args:
        certificate: the file of its certificate, which is what it has to show, whatever name it is for.
        has_ended: tells that there is no use in waiting any longer.

    Raises:
        Unavailable, TlsFailed, AuthenticationFailed, NotProved
    """
    until = time.monotonic() + _UP_WITHIN
    while True:
        try:
            if exporter.users:
                _refused_without_password(exporter, certificate)
            return _get(exporter, certificate, next(iter(exporter.users.items()), None))
        except Unavailable:
            if time.monotonic() > until or has_ended():
                raise
            time.sleep(0.2)


def _refused_without_password(exporter: Exporter, certificate: str | None) -> None:
    try:
        _get(exporter, certificate, None)
    except AuthenticationFailed:
        return
    raise NotProved(f"exporter {exporter.name} gives its metrics to those who have no password.", stage="scrape")


def _get(exporter: Exporter, certificate: str | None, login: tuple[str, str] | None) -> str:
    import http.client

    host = {"0.0.0.0": "127.0.0.1", "[::]": "::1"}.get(exporter.address, exporter.address.strip("[]"))
    where = f"{exporter.address}:{exporter.port}"
    if exporter.tls == NO_TLS:
        connection = http.client.HTTPConnection(host, exporter.port, timeout=_TIMEOUT)
    else:
        connection = http.client.HTTPSConnection(host, exporter.port, timeout=_TIMEOUT, context=_pinned(certificate))
    headers = {}
    if login is not None:
        headers["Authorization"] = "Basic " + base64.b64encode(":".join(login).encode()).decode("ascii")
    try:
        connection.request("GET", "/metrics", headers=headers)
        answer = connection.getresponse()
        body = answer.read(_LARGEST)
    except ssl.SSLError as error:
        raise TlsFailed(f"exporter {exporter.name}: no TLS with {where}: {error.reason}.", stage="scrape") from None
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(f"exporter {exporter.name} does not answer on {where}: {error}.", stage="scrape") from None
    finally:
        connection.close()
    if answer.status == 401:
        raise AuthenticationFailed(f"exporter {exporter.name} does not accept the password.", stage="scrape")
    if answer.status != 200:
        raise NotProved(
            f"exporter {exporter.name} answers with {answer.status}.",
            stage="scrape",
            tool_output=body[:2000].decode("utf-8", "replace"),
        )
    return body.decode("utf-8", "replace")


def _pinned(certificate: str | None) -> ssl.SSLContext:
    """Only this certificate is accepted; its name does not matter on the machine itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VerifyFlags(0x80000)  # X509_V_FLAG_PARTIAL_CHAIN: a leaf may be trusted by itself
    try:
        context.load_verify_locations(cafile=certificate)
    except (OSError, ssl.SSLError) as error:
        raise TlsFailed(f"The certificate {certificate} cannot be used: {error}.", stage="scrape") from None
    return context


# -- what the metrics show --------------------------------------------------------------------------------------------


def samples(text: str, metric: str) -> Iterator[tuple[Mapping[str, str], float]]:
    """The samples of one metric: labels and value."""
    for line in text.splitlines():
        if not line.startswith(metric):
            continue
        match = _SAMPLE.fullmatch(line.rstrip())
        if match is not None and match["name"] == metric:
            yield dict(_LABEL.findall(match["labels"] or "")), float(match["value"])


def look(exporter: Exporter, kind: Kind, text: str) -> list[str]:
    """What is not well with what the exporter looks at, a sentence each.

    Raises:
        NotProved: the exporter itself is not well.
    """
    vital: list[str] = []
    other: list[str] = []
    for proof in kind.proofs:
        (vital if proof.vital else other).extend(_missed(proof, exporter.options, text))
    if vital:
        raise NotProved(f"exporter {exporter.name}: {'; '.join(vital)}.", stage="scrape")
    return [f"exporter {exporter.name}: {each}." for each in other]


def _missed(proof: Proof, options: Mapping[str, Any], text: str) -> Iterator[str]:
    found = list(samples(text, proof.metric))
    if not proof.label:
        if [value for _labels, value in found] != [proof.value]:
            yield proof.means
        return
    values = {labels.get(proof.label, ""): value for labels, value in found}
    unwanted = set(options.get(proof.without) or ())
    wanted = dict.fromkeys([*proof.values, *(options.get(proof.added) or ())]) or dict.fromkeys(values)
    for each in wanted:
        if each not in unwanted and values.get(each) != proof.value:
            yield proof.means.format(each)


def why(error: HoldfastError, journal: str) -> HoldfastError:
    """The same error with the exporter's own last words, which mostly say it."""
    error.tool_output = error.tool_output or journal.strip() or None
    return error
