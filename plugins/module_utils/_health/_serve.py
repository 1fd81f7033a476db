# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers one probe over HTTP from the document that the last runs have written.

PRIVATE to the collection; may change without notice. Paths and answers are public: docs/health.md.

systemd starts it for a connection, which is its standard input (a socket unit with `Accept=yes`). It imports
nothing of the collection and little of Python, because that is all that a probe waits for. What is too old, or
cannot be read, is answered with 503: nobody knows that this host is well.
"""

from __future__ import annotations

import calendar
import json
import os
import socket
import sys
import time

PATHS = {"/livez": "liveness", "/readyz": "readiness", "/health": "comprehensive"}
_WORDS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}
_PATIENCE = 5.0
"""Seconds for somebody to finish the question."""
_MOST = 8192


def answer(request: bytes, path: str, now: float) -> bytes:
    """The response to a request.

    Args:
        request: its head.
        path: of the document.
        now: epoch seconds.
    """
    words = request.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return _response(400, {"status": "fail", "output": "This is no request of HTTP/1."})
    profile = PATHS.get(words[1].split("?", 1)[0])
    if profile is None:
        return _response(404, {"status": "fail", "output": f"There are: {', '.join(PATHS)}."})
    if words[0] not in ("GET", "HEAD"):
        return _response(405, {"status": "fail", "output": "Only GET and HEAD."}, "Allow: GET, HEAD\r\n")
    try:
        with open(path, encoding="utf-8") as stream:
            document = json.load(stream)
        found = judge(document, profile, now)
    except FileNotFoundError:
        found = {"status": "fail", "output": "Nothing has been checked yet."}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        found = {"status": "fail", "output": "What was found cannot be read."}
    return _response(503 if found["status"] == "fail" else 200, found, head=words[0] == "HEAD")


def judge(document: dict[str, object], profile: str, now: float) -> dict[str, object]:
    """The part of a document that a profile is about, with its own status.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it is no such document.
    """
    known: dict[str, dict[str, object]] = document["holdfast"]  # type: ignore[assignment]
    measured: dict[str, object] = document["checks"]  # type: ignore[assignment]
    checks = {name: each for name, each in known.items() if profile == "comprehensive" or profile in each["profiles"]}  # type: ignore[operator]
    old = [name for name, each in checks.items() if _epoch(str(each["validUntil"])) < now]
    statuses = {str(each["status"]) for each in checks.values()} | ({"fail"} if old else set())
    status = next((each for each in ("fail", "warn") if each in statuses), "pass")
    said = [f"{name}: {each['output']}" for name, each in checks.items() if each["status"] == status != "pass"]
    said += [f"{name}: It was last checked too long ago." for name in old]
    return {
        **document,
        "status": status,
        "output": " ".join(said),
        "checks": {key: each for key, each in measured.items() if key.split(":", 1)[0] in checks},
        "holdfast": checks,
    }


def _epoch(text: str) -> float:
    return float(calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")))


def _response(status: int, content: dict[str, object], more: str = "", *, head: bool = False) -> bytes:
    body = (json.dumps(content, indent=1) + "\n").encode()
    lines = (
        f"HTTP/1.1 {status} {_WORDS[status]}\r\n"
        "Content-Type: application/health+json\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\n"
        f"{more}Connection: close\r\n\r\n"
    )
    return lines.encode("ascii") + (b"" if head else body)


def serve(connection: socket.socket, path: str) -> None:
    """Read one request and answer it; somebody who is slow or goes away is left alone."""
    end = time.monotonic() + _PATIENCE
    request = b""
    try:
        while b"\r\n\r\n" not in request and len(request) < _MOST:
            connection.settimeout(max(0.001, end - time.monotonic()))
            data = connection.recv(_MOST)
            if not data:
                return
            request += data
        connection.settimeout(_PATIENCE)
        connection.sendall(answer(request, path, time.time()))
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        return


def main() -> None:
    """Answer the connection that is the standard input, from the document that the argument names."""
    with socket.socket(fileno=os.dup(0)) as connection:
        serve(connection, sys.argv[1])


if __name__ == "__main__":
    main()
