# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the channels that are reached over HTTP have in common.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import SplitResult

from .._declaration._report import Report
from .._errors import InvalidOption
from . import _http
from ._interface import Channel


class HttpChannel(Channel):
    """A channel with an address of its own, the option `url`."""

    TLS_ONLY: ClassVar[bool] = True
    """Whether the address itself is all that protects the channel."""

    @classmethod
    def check(cls, options: Mapping[str, Any], report: Report) -> None:
        check_url(options, "url", report, tls_only=cls.TLS_ONLY)
        check_proxy(options, report)

    def probe(self, timeout: float) -> str:
        return _http.reach(self.url(), connector=self.connector(), timeout=timeout)

    def url(self) -> SplitResult:
        """The address, checked.

        Raises:
            InvalidOption: the file that should hold it cannot be read, or holds none.
        """
        return self.parsed("url", self.needed("url"))

    def parsed(self, name: str, text: str) -> SplitResult:
        """An address out of an option or its file.

        Raises:
            InvalidOption: it is none.
        """
        try:
            return _http.parse_url(text, tls_only=self.TLS_ONLY)
        except InvalidOption as error:
            raise InvalidOption(f"The {name} of channel {self.name} {error.message}.") from None

    def connector(self) -> _http.Connector:
        """How it is reached."""
        return _http.Connector(self.options["validate_certs"], self.options.get("ca_file"), self.secret("proxy"))

    def post(self, document: Any, timeout: float, headers: Mapping[str, str] | None = None) -> _http.Answer:
        """Post a document to the channel's address."""
        return _http.post_json(
            self.url(), document, connector=self.connector(), timeout=timeout, redact=self.redact, headers=headers
        )


def check_url(options: Mapping[str, Any], name: str, report: Report, *, tls_only: bool) -> None:
    """Add what is wrong with an address that was given inline."""
    _check(options, name, report, lambda text: _http.parse_url(text, tls_only=tls_only))


def check_proxy(options: Mapping[str, Any], report: Report) -> None:
    """Add what is wrong with the proxy."""
    _check(options, "proxy", report, _http.parse_proxy)


def _check(options: Mapping[str, Any], name: str, report: Report, parse: Any) -> None:
    value = options.get(name)
    if isinstance(value, str):
        try:
            parse(value)
        except InvalidOption as error:
            report.key(name).add(error.message)
