# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep what is sent: an HTTP server that answers every request and appends it to a file, a line of JSON each.

Usage: sink.py PORT FILE. A line holds `at` (seconds since the epoch), `method`, `path`, `headers` (names in lower
case), `body` (text) and `json` (the body parsed, null where it is none).
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_LOCK = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    """Record, then say that all is well."""

    protocol_version = "HTTP/1.1"

    def _record(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode("utf-8", "replace")
        try:
            parsed = json.loads(body)
        except ValueError:
            parsed = None
        line = {
            "at": time.time(),
            "method": self.command,
            "path": self.path,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "body": body,
            "json": parsed,
        }
        with _LOCK, open(sys.argv[2], "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", "2")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(b"ok")

    do_GET = do_HEAD = do_POST = do_PUT = _record  # noqa: N815 - the names that http.server asks for


ThreadingHTTPServer(("", int(sys.argv[1])), Handler).serve_forever()
