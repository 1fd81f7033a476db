# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check kind `http`: status, body, values of a JSON body, latency and certificate of a URL.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import base64
import json
import re
import socket
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urljoin, urlsplit

from ..._deadline import Deadline
from ..._declaration._report import Report
from ..._errors import HoldfastError, ToolFailed, Unavailable
from ..._limits import examine_limits, limits
from ..._secret_files import secret as read_secret
from ..._spec import Spec
from ..._system._sockets import open_socket
from .._connect import TLS_OPTIONS, certificate, examine_tls, tls_context, wrap_tls
from .._interface import FAIL, PASS, Kind, Measurement
from .._options import secret
from .._thresholds import judged

if TYPE_CHECKING:
    import http.client

_MOST_READ = 1 << 20
_MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


class HttpCheck(Kind):
    """One request. Proxies of the environment are not used: what is asked for is the service itself."""

    name = "http"
    SPEC = Spec(
        {
            "url": {"type": "str", "required": True},
            "method": {"type": "str", "choices": ["GET", "HEAD", "POST"], "default": "GET"},
            "headers": {"type": "dict", "default": {}},
            "body": {"type": "str"},
            "username": {"type": "str"},
            **secret("password"),
            **secret("token"),
            "unix_socket": {"type": "path"},
            "follow_redirects": {"type": "bool", "default": False},
            "status": {"type": "list", "elements": "int", "default": []},
            "contains": {"type": "str"},
            "matches": {"type": "str"},
            "json": {"type": "dict", "default": {}},
            **limits("latency"),
            **TLS_OPTIONS,
        },
        mutually_exclusive=[
            ["password", "password_file"],
            ["token", "token_file"],
            ["username", "token", "token_file"],
        ],
        required_by={"password": ["username"], "password_file": ["username"]},
    )

    @classmethod
    def examine(cls, options: Mapping[str, Any], report: Report) -> None:
        try:
            url = urlsplit(options["url"])
            sound = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
        except ValueError:
            sound = False
        if not sound:
            report.key("url").add("must be a URL that begins with http:// or https:// and names a host")
        elif url.username is not None or url.password is not None:
            report.key("url").add("must hold no login; use username and password")
        for number, status in enumerate(options["status"]):
            if not 100 <= status <= 599:
                report.key("status").index(number).add("is no status of HTTP")
        if options.get("matches") is not None:
            try:
                re.compile(options["matches"])
            except re.error:
                report.key("matches").add("is no regular expression")
        for path in options["json"]:
            if not isinstance(path, str) or not _steps(path):
                report.key("json").add("a key is no path such as status or checks[0].state")
        examine_limits(options, report, "latency")
        examine_tls(options, report)

    @classmethod
    def preload(cls, options: Mapping[str, Any]) -> None:
        import http.client  # noqa: F401

        if options["url"].startswith("https:"):
            tls_context({"validate_certs": False})

    def run(self, deadline: Deadline) -> Iterator[Measurement]:
        began = time.monotonic()
        url = self.options["url"]
        for _attempt in range(_MOST_REDIRECTS + 1):
            answer, body, measured = self._request(urlsplit(url), deadline)
            yield from measured
            target = answer.getheader("Location")
            if not (self.options["follow_redirects"] and answer.status in _REDIRECTS and target):
                break
            url = urljoin(url, target)
        else:
            raise Unavailable(f"{self.options['url']} redirects more than {_MOST_REDIRECTS} times.")
        yield judged(
            "latency",
            time.monotonic() - began,
            "s",
            self.options.get("latency_warning"),
            self.options.get("latency_critical"),
            what=f"{self.options['url']} answered after",
        )
        yield self._status(answer.status)
        yield from self._content(body)

    def fetch(self, deadline: Deadline) -> bytes:
        """The body of a good answer, for kinds that look at a page of their own.

        Raises:
            ToolFailed: it is no good answer.
        """
        answer, body, _measured = self._request(urlsplit(self.options["url"]), deadline)
        judged_status = self._status(answer.status)
        if judged_status.status != PASS:
            raise ToolFailed(judged_status.output)
        return body

    def _request(
        self, url: SplitResult, deadline: Deadline
    ) -> tuple[http.client.HTTPResponse, bytes, list[Measurement]]:
        """One request: the answer, its body, and what the connection told."""
        import http.client

        host = url.hostname or ""
        secure = url.scheme == "https"
        port = url.port or (443 if secure else 80)
        raw, place = open_socket(host, port, self.options.get("unix_socket"), deadline)
        measured: list[Measurement] = []
        connection = http.client.HTTPConnection(host, port)
        try:
            connection.sock = raw
            if secure:
                connection.sock = encrypted = wrap_tls(raw, host, place, self.options, deadline)
                measured += certificate(encrypted, place, self.options)
            # The name of the host with the port only where that is not the usual one, as every client does it.
            headers = {"Host": url.netloc.rpartition("@")[2], **self._headers(url)}
            connection.sock.settimeout(deadline.remaining(f"waiting for {place}"))
            target = (url.path or "/") + (f"?{url.query}" if url.query else "")
            connection.request(self.options["method"], target, self.options.get("body"), headers)
            answer = connection.getresponse()
            return answer, _read(answer, deadline, place), measured
        except HoldfastError:
            raise
        except socket.timeout:
            raise deadline.missed(f"waiting for {place}") from None
        except (OSError, http.client.HTTPException) as error:
            words = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise Unavailable(f"{place} gave no answer: {words}.") from None
        finally:
            connection.close()

    def _headers(self, url: SplitResult) -> dict[str, str]:
        headers = {"User-Agent": "holdfast-health", "Accept": "*/*", "Connection": "close"}
        if (url.scheme, url.netloc) == urlsplit(self.options["url"])[:2]:  # a redirect elsewhere gets no login
            password, token = read_secret(self.options, "password"), read_secret(self.options, "token")
            if self.options.get("username"):
                login = f"{self.options['username']}:{password or ''}".encode()
                headers["Authorization"] = f"Basic {base64.b64encode(login).decode()}"
            elif token:
                headers["Authorization"] = f"Bearer {token}"
        return {**headers, **{str(name): str(value) for name, value in self.options["headers"].items()}}

    def _status(self, status: int) -> Measurement:
        expected = self.options["status"]
        good = status in expected if expected else 200 <= status < 300
        wanted = " or ".join(map(str, expected)) if expected else "2xx"
        output = "" if good else f"{self.options['url']} answered {status} and not {wanted}."
        return Measurement("status", PASS if good else FAIL, status, "", output)

    def _content(self, body: bytes) -> Iterator[Measurement]:
        text = body.decode("utf-8", "replace")
        contains, matches = self.options.get("contains"), self.options.get("matches")
        if contains is not None or matches is not None:
            good = (contains is None or contains in text) and (matches is None or bool(re.search(matches, text)))
            output = "" if good else f"The body of {self.options['url']} is not what was expected."
            yield Measurement("body", PASS if good else FAIL, good, "", output)
        if not self.options["json"]:
            return
        try:
            document = json.loads(text)
        except ValueError:
            raise ToolFailed(f"The body of {self.options['url']} is no JSON.") from None
        for path, expected in self.options["json"].items():
            yield _compare(document, str(path), expected)


def _read(answer: http.client.HTTPResponse, deadline: Deadline, place: str) -> bytes:
    """The body, the beginning of a long one; a server that drips it does not hold us up."""
    body = b""
    while len(body) < _MOST_READ:
        deadline.remaining(f"reading from {place}")
        data = answer.read1(65_536)
        if not data:
            break
        body += data
    return body


def _steps(path: str) -> list[str | int]:
    """`checks[0].state` as ["checks", 0, "state"]; nothing when it is no path."""
    steps: list[str | int] = [name or int(number) for name, number in _STEP.findall(path)]
    spelled = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return steps if spelled.lstrip(".") == path else []


def _compare(document: Any, path: str, expected: Any) -> Measurement:
    """A value of the document; what it is, is told only when it is short and plain."""
    found = document
    for step in _steps(path):
        try:
            found = found[step]
        except (KeyError, IndexError, TypeError):
            return Measurement("json", FAIL, None, "", f"The answer has no {path}.", path)
    good = found == expected and isinstance(found, bool) == isinstance(expected, bool)
    plain = found if isinstance(found, (int, float, bool)) or (isinstance(found, str) and len(found) < 40) else None
    said = f"is {plain!r}" if plain is not None else "is something else"
    return Measurement("json", PASS if good else FAIL, plain, "", "" if good else f"{path} {said}.", path)
