# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From `holdfast_notifications` to the channels, or to all of its problems at once.

PRIVATE to the collection; may change without notice.

Used on the controller before any connection, and on the host for what was written there. No problem repeats a value:
addresses of webhooks are secrets, and a secret may stand in the wrong place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Callable

from .._declaration._report import InvalidDeclaration, Report, suggestion
from .._declaration._spec import NAME_PATTERN, check_by_kind, what
from .._durations import parse_duration
from ._channels._registry import CHANNELS
from ._interface import COMMON, MAXIMUM_RETRIES, MAXIMUM_TIMEOUT, Channel

NOTIFICATIONS = "holdfast_notifications"

_SPECS = {name: channel.SPEC for name, channel in CHANNELS.items()}

PlaceSecret = Callable[[str, str], str]
"""(name, value) → path of the file that holds the value on the host."""


@dataclass(frozen=True)
class Notifications:
    """The declared channels, in their order."""

    channels: tuple[Channel, ...] = ()

    def __iter__(self) -> Iterator[Channel]:
        return iter(self.channels)

    def __len__(self) -> int:
        return len(self.channels)

    def as_config(self, place_secret: PlaceSecret | None = None) -> dict[str, Any]:
        """Plain values for JSON, which `from_config` reads back.

        Args:
            place_secret: called for every secret that can be given as a file, with a name that is safe for one
                (`notify-<channel>-<option>`); the path that it returns stands in the result instead of the value.
        """
        return {"channels": [_configuration(channel, place_secret) for channel in self.channels]}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Notifications:
        """Read what `as_config` gave.

        Raises:
            InvalidDeclaration: it is damaged, or of another version with other options.
        """
        return parse_notifications(config.get("channels"))


def parse_notifications(value: Any, components: Mapping[str, Any] | None = None) -> Notifications:
    """Check `holdfast_notifications`.

    Args:
        value: the variable, templated; None when nothing is declared.
        components: name of each declared component → its tags. Given, the components and tags that channels name must
            exist, and `tags` become the components that have them: on the host nothing knows of tags.

    Raises:
        InvalidDeclaration: with every problem, a line each, and no value.
    """
    lines: list[str] = []
    report = Report(lines, NOTIFICATIONS)
    if value is None:
        return Notifications()
    if not isinstance(value, (list, tuple)):
        report.add(f"must be a list of channels, and is {what(value)}")
        raise InvalidDeclaration(lines)
    seen: dict[str, int] = {}
    checked: list[tuple[type[Channel], dict[str, Any]]] = []
    for number, item in enumerate(value):
        place = report.index(number)
        if not isinstance(item, Mapping):
            place.add(f"must be a mapping, and is {what(item)}")
            continue
        name = item.get("name")
        if isinstance(name, str) and re.fullmatch(NAME_PATTERN, name):
            place = report.about(f"notification channel {name}")
            if name in seen:
                place.key("name").add(f"declared twice, as {NOTIFICATIONS}[{seen[name]}] and [{number}]")
            seen.setdefault(name, number)
        kind, options = _check_channel(item, place)
        if kind is not None:
            _check_limits(options, place)
            _select_components(options, components, place)
            checked.append((kind, options))
    if lines:
        raise InvalidDeclaration(lines)
    return Notifications(tuple(kind(options) for kind, options in checked))


def secret_options(kind: str) -> tuple[str, ...]:
    """The options of a type of channel that can be given as a file instead."""
    options = CHANNELS[kind].SPEC.options
    return tuple(name for name, each in options.items() if each.get("no_log") and f"{name}_file" in options)


def _check_channel(values: Mapping[Any, Any], report: Report) -> tuple[type[Channel] | None, dict[str, Any]]:
    before = report.count
    options = check_by_kind(values, "type", _SPECS, COMMON, report)
    kind = values.get("type")
    channel = CHANNELS.get(kind) if isinstance(kind, str) else None
    if channel is not None and report.count == before:
        channel.check(options, report)
    return channel, options


def _check_limits(options: Mapping[str, Any], report: Report) -> None:
    timeout = options.get("timeout")
    if isinstance(timeout, str) and parse_duration(timeout) > MAXIMUM_TIMEOUT:
        report.key("timeout").add("is longer than a minute; a message waits for nobody longer")
    retries = options.get("retries")
    if isinstance(retries, int) and not 0 <= retries <= MAXIMUM_RETRIES:
        report.key("retries").add(f"must be from 0 to {MAXIMUM_RETRIES}; what still fails is tried again later anyway")
    limit = options.get("rate_limit")
    if isinstance(limit, int) and limit < 1:
        report.key("rate_limit").add("must be at least 1 message of one problem in an hour")


def _select_components(options: dict[str, Any], components: Mapping[str, Any] | None, report: Report) -> None:
    """Check the components and tags that a channel names, and put the tags' components in their place."""
    if components is None:
        return
    wanted = [name for name in options.get("components", ()) if name is not None]
    for number, name in enumerate(wanted):
        if name not in components:
            report.key("components").index(number).add(
                f"no such component is declared{suggestion(name, components, 'declared')}"
            )
    tags = [tag for tag in options.pop("tags", ()) if tag is not None]
    known = {tag for each in components.values() for tag in each}
    for number, tag in enumerate(tags):
        if tag not in known:
            report.key("tags").index(number).add(f"no component has this tag{suggestion(tag, known, 'declared')}")
    if tags:
        tagged = [name for name, own in components.items() if set(own) & set(tags)]
        options["components"] = [*wanted, *(name for name in tagged if name not in wanted)]


def _configuration(channel: Channel, place_secret: PlaceSecret | None) -> dict[str, Any]:
    config = {name: _plain(value) for name, value in channel.declared.items()}
    if place_secret is not None:
        for option in secret_options(channel.type):
            if option in config:
                config[f"{option}_file"] = place_secret(f"notify-{channel.name}-{option}", str(config.pop(option)))
    return config


def _plain(value: Any) -> Any:
    """JSON's own types: what Ansible hands over are subclasses of them."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, str) else value
