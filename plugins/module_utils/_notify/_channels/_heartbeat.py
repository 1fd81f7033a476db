# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A ping for every success, so that somebody else notices when none comes: https://healthchecks.io/docs/http_api/.

PRIVATE to the collection; may change without notice.

This is what notices a host that is dead and can tell nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import SplitResult, quote

from ..._declaration._report import Report
from ..._errors import InvalidOption
from ..._spec import Spec
from .. import _http, _text
from .._http_channel import HttpChannel
from .._interface import HTTP_OPTIONS, secret
from .._model import Event, Message

SUCCESS, START, FAIL = "success", "start", "fail"
SIGNALS = (SUCCESS, START, FAIL)
PLACEHOLDER = "{component}"
_BODY = 10_000
"""Bytes that every version of the service keeps."""


class HeartbeatChannel(HttpChannel):
    """An address for each component, or one with `{component}` in it."""

    type: ClassVar[str] = "heartbeat"
    SPEC: ClassVar[Spec] = Spec(HTTP_OPTIONS) + Spec(
        {
            **secret("url"),
            # No sibling that is a file: they are kept in notify.json, which only root reads.
            "urls": {"type": "dict", "no_log": True},
            "start": {"type": "bool", "default": True},
            "fail": {"type": "bool", "default": True},
        },
        required_one_of=[("url", "url_file", "urls")],
    )
    SEVERITIES: ClassVar[Sequence[str]] = ("critical", "warning")
    TLS_ONLY: ClassVar[bool] = False
    REMEMBERS: ClassVar[bool] = False

    @classmethod
    def check(cls, options: Mapping[str, Any], report: Report) -> None:
        super().check(options, report)
        for name, value in (options.get("urls") or {}).items():
            place = report.key("urls")
            try:
                if not isinstance(name, str) or not isinstance(value, str):
                    raise InvalidOption("must be a mapping of components to addresses")
                _http.parse_url(value)
            except InvalidOption as error:
                place.add(error.message)

    def wants(self, event: Event) -> bool:
        """Only failures of a component's jobs: the service hears of its success by the pings."""
        return (
            bool(self.options["fail"])
            and event.firing
            and event.source in (self.sources or ("job",))
            and event.severity in self.severities
            and self.serves(event.component)
        )

    def serves(self, component: str) -> bool:
        """Whether a component has an address here."""
        if not component or (self.components is not None and component not in self.components):
            return False
        return component in (self.options.get("urls") or {}) or self._common() is not None

    def send(self, message: Message, timeout: float) -> None:
        self.ping(message.event.component, FAIL, timeout, _text.plain(message))

    def ping(self, component: str, signal: str, timeout: float, text: str = "") -> bool:
        """Give a signal of SIGNALS; False when this channel does not pass that one on.

        Raises:
            InvalidOption: the component has no address here, or its file cannot be read.
            HoldfastError: as `Channel.send`.
        """
        if signal != SUCCESS and not self.options[signal]:
            return False
        url = self._address(component)
        if signal != SUCCESS:
            url = url._replace(path=f"{url.path.rstrip('/')}/{signal}")
        body = text.encode()[:_BODY] if text else None
        _http.request(
            "POST" if body else "GET",
            url,
            body,
            headers={"Content-Type": "text/plain; charset=utf-8"} if body else {},
            connector=self.connector(),
            timeout=timeout,
            redact=self.redact,
        )
        return True

    def probe(self, timeout: float) -> str:
        addresses = [*(self.options.get("urls") or {}).values(), *([self.needed("url")] if self._common() else [])]
        hosts: dict[str, SplitResult] = {}
        for text in addresses:
            url = self.parsed("url", text)
            hosts.setdefault(_http.place(url), url)
        reached = [_http.reach(url, connector=self.connector(), timeout=timeout) for url in hosts.values()]
        return ", ".join(reached)

    def _common(self) -> Any:
        return self.options.get("url") or self.options.get("url_file")

    def _address(self, component: str) -> SplitResult:
        own = (self.options.get("urls") or {}).get(component)
        if own is not None:
            return self.parsed("urls", str(own))
        common = self.secret("url")
        if common is None:
            raise InvalidOption(f"Channel {self.name} has no address for component {component}.")
        return self.parsed("url", common.replace(PLACEHOLDER, slug(component)))


def slug(component: str) -> str:
    """A component's name as the service writes names of checks: a-z, 0-9, hyphens and underscores."""
    return quote(re.sub("[^a-z0-9_-]+", "-", component.lower()))
