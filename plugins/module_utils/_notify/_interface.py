# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is told: the small interface that every kind of channel implements in one file below `_channels`.

PRIVATE to the collection; may change without notice.

A channel turns a message into what its vendor takes, and sends it once. It knows nothing of routing, repetition, other
channels or files of state: that is `_send`. Its errors are those of `_errors` and never contain a secret.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar

from .._declaration._report import Report
from .._durations import parse_duration
from .._errors import InvalidOption, Unavailable, redact
from .._spec import Spec
from ._model import SEVERITIES, SOURCES, Event, Message

COMMON: Mapping[str, Mapping[str, Any]] = {
    "name": {"type": "name", "required": True},
    "type": {"type": "str", "required": True},
    "severities": {"type": "list", "elements": "str", "choices": SEVERITIES},
    "components": {"type": "list", "elements": "name"},
    "tags": {"type": "list", "elements": "name"},
    "sources": {"type": "list", "elements": "str", "choices": SOURCES},
    "repeat": {"type": "duration", "default": "4h"},
    "rate_limit": {"type": "int", "default": 6},
    "timeout": {"type": "positive_duration", "default": "10s"},
    "retries": {"type": "int", "default": 2},
}
"""What can be said of every channel, whatever its type."""

TLS_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "validate_certs": {"type": "bool", "default": True},
    "ca_file": {"type": "path"},
}

HTTP_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    **TLS_OPTIONS,
    "proxy": {"type": "str", "no_log": True},
    "proxy_file": {"type": "path", "no_log": False},
}

MAXIMUM_TIMEOUT = timedelta(seconds=60)
MAXIMUM_RETRIES = 10
SECRET_FILE_LIMIT = 64 * 1024


class RetryLater(Unavailable):
    """The other side is busy, or limits us. `after` is how many seconds it wants to be left alone, if it said so."""

    def __init__(self, message: str, *, after: float | None = None, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.after = after


def secret(name: str) -> dict[str, dict[str, Any]]:
    """A secret option and its sibling that names a file with the secret (0600, read when it is used).

    That only one of them is given is checked for all secrets of a declaration.
    """
    return {name: {"type": "str", "no_log": True}, f"{name}_file": {"type": "path", "no_log": False}}


def one_of(name: str) -> Spec:
    """A secret option that must be given, itself or as a file."""
    return Spec(secret(name), required_one_of=[(name, f"{name}_file")])


class Channel(abc.ABC):
    """One declared channel.

    Args:
        options: what the user declared, checked by `_parse`: `name`, `type`, options of COMMON and of SPEC.
    """

    type: ClassVar[str]
    SPEC: ClassVar[Spec]
    """The type's own options, in the form of Ansible's argument specs. Secrets have `no_log` and a `*_file` sibling."""
    SEVERITIES: ClassVar[Sequence[str]] = SEVERITIES
    """What is told here unless `severities` says otherwise."""
    WAKES: ClassVar[bool] = False
    """Whether a test has to be taken back, because it opens something that somebody would have to close."""
    REMEMBERS: ClassVar[bool] = True
    """Whether a problem has a beginning and an end here. If not, every event that is wanted is sent, and none kept."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.declared = dict(options)
        specs = {**COMMON, **self.SPEC.options}
        self.options: dict[str, Any] = {
            **{name: spec["default"] for name, spec in specs.items() if "default" in spec},
            **self.declared,
        }
        self.name = str(options["name"])
        self.severities: Sequence[str] = self.options.get("severities") or self.SEVERITIES
        self.components: Sequence[str] | None = self.options.get("components")
        self.sources: Sequence[str] | None = self.options.get("sources")
        self.repeat = parse_duration(self.options["repeat"])
        self.rate_limit = int(self.options["rate_limit"])
        self.timeout = parse_duration(self.options["timeout"]).total_seconds()
        self.retries = int(self.options["retries"])

    @classmethod  # noqa: B027 - optional: most need nothing more
    def check(cls, options: Mapping[str, Any], report: Report) -> None:
        """Add what only this type knows to be wrong; the options have their types already."""

    def wants(self, event: Event) -> bool:
        """Whether a firing event is to be told here."""
        return (
            event.severity in self.severities
            and (self.components is None or event.component in self.components)
            and (self.sources is None or event.source in self.sources)
        )

    @abc.abstractmethod
    def send(self, message: Message, timeout: float) -> None:
        """Tell it, once; no step may take longer than `timeout` seconds.

        Raises:
            Unavailable: (RetryLater, TimedOut) trying again can help.
            HoldfastError: it cannot.
        """

    @abc.abstractmethod
    def probe(self, timeout: float) -> str:
        """Reach the other side (TCP and TLS) without telling it anything; return where that was, without a secret.

        Raises:
            HoldfastError: it cannot be reached, or its certificate is refused.
        """

    def secret(self, name: str) -> str | None:
        """The value of a secret option, from the declaration or from its file; None when neither is given.

        Raises:
            InvalidOption: the file cannot be read.
        """
        if self.options.get(name):
            return str(self.options[name])
        path = self.options.get(f"{name}_file")
        if path is None:
            return None
        try:
            with open(path, encoding="utf-8") as file:
                value = file.read(SECRET_FILE_LIMIT).strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise InvalidOption(
                f"The file {path} ({name}_file of channel {self.name}) cannot be read: {why}."
            ) from None
        if not value:
            raise InvalidOption(f"The file {path} ({name}_file of channel {self.name}) is empty.")
        return value

    def needed(self, name: str) -> str:
        """A secret that must be there.

        Raises:
            InvalidOption: it is not.
        """
        value = self.secret(name)
        if value is None:
            raise InvalidOption(f"Channel {self.name} has no {name}.")
        return value

    def secrets(self) -> list[str]:
        """Everything that must not be shown: secret values and, of those that are URLs, the telling parts."""
        found: list[str] = []
        for name, option in self.SPEC.options.items():
            value = self._readable(name) if option.get("no_log") else None
            for text in _texts(value):
                found += [text, *_telling_parts(text)]
        return found

    def redact(self, text: str) -> str:
        """Somebody else's words without this channel's secrets."""
        return redact(text, self.secrets())

    def _readable(self, name: str) -> Any:
        value = self.options.get(name)
        if value or f"{name}_file" not in self.SPEC.options:
            return value
        try:
            return self.secret(name)
        except InvalidOption:
            return None  # what cannot be read cannot be shown either


def _texts(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [text for item in value.values() for text in _texts(item)]
    return [value] if isinstance(value, str) and value else []


def _telling_parts(text: str) -> list[str]:
    """Of a URL: path, query and the long segments, because services repeat parts of it; of anything else nothing."""
    scheme, separator, rest = text.partition("://")
    if not separator or not scheme.isalpha():
        return []
    path = rest.partition("/")[2]
    segments = [
        part for part in path.replace("?", "/").replace("&", "/").replace("=", "/").split("/") if len(part) >= 8
    ]
    userinfo = rest.partition("/")[0].rpartition("@")[0]
    return [part for part in (path, *segments, userinfo, userinfo.partition(":")[2]) if len(part) >= 4]
