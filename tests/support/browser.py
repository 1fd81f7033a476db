# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Chromium without a window, asked over pipes in its own language, the DevTools protocol."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

TIMEOUT = 120.0
"""Seconds for one answer: a busy machine is no failure."""


class Browser:
    """A running Chromium: commands go in by one pipe, answers and events come out of another."""

    def __init__(self, process: subprocess.Popen[bytes], to: int, out: int) -> None:
        self._process, self._to, self._out = process, to, out
        self._number = 0
        self._rest = b""
        self.events: list[dict[str, Any]] = []

    def ask(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Give a command and wait for its answer; events that come meanwhile are kept."""
        self._number += 1
        message = {
            "id": self._number,
            "method": method,
            "params": params,
            **({"sessionId": session} if session else {}),
        }
        os.write(self._to, json.dumps(message).encode() + b"\0")
        answer = self._until(lambda each: each.get("id") == self._number, method)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def wait_for(self, method: str, session: str) -> None:
        """Wait for an event that has not come yet, or has come since the events were cleared."""

        def wanted(each: dict[str, Any]) -> bool:
            return each.get("method") == method and each.get("sessionId") == session

        if not any(map(wanted, self.events)):
            self._until(wanted, method)

    def _until(self, wanted: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        end = time.monotonic() + TIMEOUT
        while True:
            message = self._read(end, what)
            if "method" in message:
                self.events.append(message)
            if wanted(message):
                return message

    def _read(self, end: float, what: str) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _writable, _failed = select.select([self._out], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"no answer of the browser: {what}"
            more = os.read(self._out, 1 << 20)
            assert more, f"the browser ended ({self._process.poll()}): {what}"
            self._rest += more
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)


class Page:
    """One tab; what it asked the network for, and what it complained of, is kept."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        target = browser.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = browser.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Give a command to this tab."""
        return self._browser.ask(method, self._session, **params)

    def open(
        self,
        url: str,
        *,
        width: int = 1280,
        height: int = 900,
        scheme: str = "light",
        media: str = "",
    ) -> None:
        """Load a page as a reader with such a window sees it, and wait until it is there."""
        phone = width < 600
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        self.ask("Emulation.setEmulatedMedia", media=media, features=features)
        self.navigate(url)
        self._browser.wait_for("Page.loadEventFired", self._session)

    def navigate(self, url: str) -> None:
        """Go to a page without waiting for what belongs to it."""
        self._browser.events.clear()
        self.ask("Page.navigate", url=url)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression of JavaScript, which runs even where the page itself may run none."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    @property
    def requested(self) -> list[str]:
        """Every address that was asked for since the page was opened."""
        return [each["params"]["request"]["url"] for each in self._mine("Network.requestWillBeSent")]

    @property
    def complaints(self) -> list[str]:
        """What stands in the console since the page was opened: errors, warnings, refusals by a policy."""
        logged = [each["params"]["entry"]["text"] for each in self._mine("Log.entryAdded")]
        thrown = [each["params"]["exceptionDetails"]["text"] for each in self._mine("Runtime.exceptionThrown")]
        return logged + thrown + [str(each["params"]["args"]) for each in self._mine("Runtime.consoleAPICalled")]

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        """A picture of the page."""
        data = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))

    def pdf(self) -> bytes:
        """The page as it is printed on A4."""
        answer = self.ask(
            "Page.printToPDF", paperWidth=8.27, paperHeight=11.69, preferCSSPageSize=True, printBackground=True
        )
        return base64.b64decode(answer["data"])

    def _mine(self, method: str) -> list[dict[str, Any]]:
        return [
            each for each in self._browser.events if each["method"] == method and each.get("sessionId") == self._session
        ]


@contextlib.contextmanager
def chromium(profile: Path) -> Iterator[Browser]:
    """A browser with a profile of its own that knows nobody; it ends with the block."""
    program = shutil.which("chromium")
    assert program, "tests/slow/packages.txt names chromium: run tests/slow/prepare"
    in_read, in_write = os.pipe()
    out_read, out_write = os.pipe()
    # The protocol's pipes are the descriptors 3 and 4 of the browser, which no argument can change.
    command = f'exec 3<&{in_read} 4>&{out_write}; exec "$0" "$@"'
    options = ["--headless", "--remote-debugging-pipe", "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage"]
    options += ["--disable-background-networking", "--disable-component-update", f"--user-data-dir={profile}"]
    options += ["--no-sandbox"] if os.geteuid() == 0 else []  # it refuses to be root otherwise
    process = subprocess.Popen(
        ["bash", "-c", command, program, *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(in_read, out_write),
    )
    os.close(in_read)
    os.close(out_write)
    try:
        browser = Browser(process, in_write, out_read)
        yield browser
        browser.ask("Browser.close")
        process.wait(TIMEOUT)
    finally:
        process.kill()
        process.wait()
        os.close(in_write)
        os.close(out_read)
