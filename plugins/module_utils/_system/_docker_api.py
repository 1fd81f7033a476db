# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Just enough of the Docker Engine's API to look at containers and to remove what is not used, without a library.

PRIVATE to the collection; may change without notice.

A liveness probe that runs every minute must not load the SDK (0.3 s and 25 MB); what is asked here has been the same
since Docker 19.03. Engines behind TLS or ssh are not reached this way.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from .._deadline import Deadline
from .._errors import HoldfastError, InvalidOption, NotFound, PermissionDenied, Refused, ToolFailed, Unavailable
from ._sockets import open_socket

SOCKET = "unix:///var/run/docker.sock"
_OLDEST, _NEWEST = (1, 40), (1, 51)
"""Versions of the API that this is written for. An engine knows older ones, too, but each drops the oldest some day."""
_LONGEST_LINE = 1 << 20


class Docker:
    """An engine.

    Args:
        url: `unix:///…` or `tcp://host:port`; empty for `DOCKER_HOST` or the usual socket.
    """

    def __init__(self, url: str | None, deadline: Deadline) -> None:
        self._url = url or os.environ.get("DOCKER_HOST") or SOCKET
        self._deadline = deadline
        self._path, self._host, self._port = address(self._url)
        self._version = ""

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """The JSON of an answer.

        Raises:
            NotFound: there is no such thing.
            Unavailable, PermissionDenied: the engine cannot be reached.
        """
        with self._request("GET", path, query) as answer:
            return json.loads(answer.read())

    def post(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """Have something done that takes no further words; the JSON of the answer, None when there is none.

        Raises:
            NotFound: there is no such thing.
            Refused: the engine will not, for it is in use.
            Unavailable, PermissionDenied, ToolFailed: as `get`.
        """
        with self._request("POST", path, query) as answer:
            body = answer.read()
            return json.loads(body) if body.strip() else None

    def delete(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """Remove a thing, as `post`."""
        with self._request("DELETE", path, query) as answer:
            body = answer.read()
            return json.loads(body) if body.strip() else None

    def stream(self, path: str, query: Mapping[str, str] | None = None) -> Iterator[Any]:
        """The JSON of an answer that goes on, line by line."""
        with self._request("GET", path, query) as answer:
            while True:
                line = answer.readline(_LONGEST_LINE)
                if not line:
                    return
                yield json.loads(line)

    def _prefix(self) -> str:
        """The version of the API to speak, asked for once."""
        if not self._version:
            with self._asked("GET", "/_ping") as answer:
                words = re.fullmatch(r"(\d+)\.(\d+)", answer.headers.get("Api-Version") or "")
            theirs = (int(words[1]), int(words[2])) if words else _OLDEST
            self._version = "/v{}.{}".format(*min(theirs, _NEWEST))
        return self._version

    @contextlib.contextmanager
    def _request(self, method: str, path: str, query: Mapping[str, str] | None) -> Iterator[Any]:
        target = f"{self._prefix()}{path}"
        if query:
            target += "?" + "&".join(f"{name}={quote(value)}" for name, value in query.items())
        with self._asked(method, target) as answer:
            yield answer

    @contextlib.contextmanager
    def _asked(self, method: str, target: str) -> Iterator[Any]:
        import http.client

        connection = http.client.HTTPConnection("docker")
        try:
            connection.sock, _place = open_socket(self._host, self._port, self._path or None, self._deadline)
            connection.sock.settimeout(self._deadline.remaining("waiting for Docker"))
            connection.request(method, target)
            answer = connection.getresponse()
            if answer.status == 404:
                raise NotFound(f"Docker: {_message(answer.read())}")
            if answer.status == 409:
                raise Refused(f"Docker: {_message(answer.read())}")
            if answer.status not in (200, 201, 204):
                raise ToolFailed(f"Docker answered {answer.status}.", tool_output=_message(answer.read()))
            yield answer
        except HoldfastError as error:
            raise self._explained(error) from None
        except socket.timeout:
            raise self._deadline.missed("waiting for Docker") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Unavailable(f"Docker ({self._url}) gave no answer: {error}.") from None
        finally:
            connection.close()

    def _explained(self, error: HoldfastError) -> HoldfastError:
        """A refused or missing socket in the words of this place."""
        if self._path and not os.path.exists(self._path):
            return Unavailable(
                f"The Docker engine does not run: there is no {self._path}.", hint="Is Docker installed?"
            )
        if self._path and not os.access(self._path, os.W_OK):
            return PermissionDenied(f"{self._path} may not be used.", hint="Run as root, or as a member of docker.")
        return error


def address(url: str) -> tuple[str, str, int]:
    """Path, host and port of an engine's URL; either the path or the other two.

    Raises:
        InvalidOption: it is no URL that is understood here.
    """
    try:
        parts = urlsplit(url)
        if parts.scheme == "unix" and parts.path:
            return parts.path, "", 0
        if parts.scheme in ("tcp", "http") and parts.hostname:
            return "", parts.hostname, parts.port or 2375
    except ValueError:
        pass
    raise InvalidOption("docker_host must be unix:///path or tcp://host:port.")


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (KeyError, TypeError, ValueError):
        return "no such container"
