# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a prune may remove, as declared. Pure.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from glob import escape
from typing import Any

from ..._durations import parse_duration
from ..._manifest import rfc3339

CONTAINER, NETWORK, IMAGE, BUILD_CACHE, VOLUME = "container", "network", "image", "build cache", "volume"
NONE, DANGLING, UNUSED = "none", "dangling", "unused"
_COMPOSE = "com.docker.compose."


@dataclass(frozen=True)
class Item:
    """Something that can be removed.

    Attributes:
        id: as the engine's API takes it.
        size_bytes: None where the engine does not know.
        since: since when nobody used it, as far as the engine tells.
        references: the names of an image.
        entries: how many it is; more than one for build cache alone.
    """

    what: str
    id: str
    name: str
    size_bytes: int | None = None
    since: datetime | None = None
    references: tuple[str, ...] = ()
    entries: int = 1

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "what": self.what,
            "id": self.id,
            "name": self.name,
            "size_bytes": self.size_bytes,
            "since": None if self.since is None else rfc3339(self.since),
        }


@dataclass(frozen=True)
class Wanted:
    """Which things may go. None as an age: none of them.

    Attributes:
        images: NONE, DANGLING (without a name) or UNUSED (of which there is no container).
        volumes: patterns of names; a volume that fits none of them stays.
        exclude_labels: `key` or `key=value`; what has one stays.
        protect: patterns of names, ids and `project:service` of containers, and names of volumes, that stay.
    """

    containers: timedelta | None
    networks: timedelta | None
    images: str
    images_age: timedelta
    build_cache: timedelta | None
    volumes: tuple[str, ...]
    exclude_labels: tuple[str, ...]
    protect: tuple[str, ...]

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Wanted:
        """Raises InvalidOption when an age is none."""
        return cls(
            containers=_age(options.get("containers_older_than")),
            networks=_age(options.get("networks_older_than")),
            images=options["images"],
            images_age=parse_duration(options["images_older_than"]),
            build_cache=_age(options.get("build_cache_older_than")),
            volumes=tuple(options["volumes"]),
            exclude_labels=tuple(options["exclude_labels"]),
            protect=tuple(options["protect"]),
        )

    def excluded(self, labels: Mapping[str, str] | None) -> bool:
        """Whether a label says that it stays."""
        for wanted in self.exclude_labels:
            key, sign, value = wanted.partition("=")
            if labels and key in labels and (not sign or labels[key] == value):
                return True
        return False

    def protects_container(self, listed: Mapping[str, Any]) -> bool:
        """Whether a container, as the engine lists it, must stay."""
        labels = listed.get("Labels") or {}
        names = [name.lstrip("/") for name in listed.get("Names") or ()] + [listed["Id"], listed["Id"][:12]]
        project, service = labels.get(f"{_COMPOSE}project"), labels.get(f"{_COMPOSE}service")
        return self._protected([*names, f"{project}:{service}"] if project else names)

    def wants_volume(self, name: str) -> bool:
        """Whether a volume is named, and not protected."""
        return any(fnmatch.fnmatchcase(name, each) for each in self.volumes) and not self._protected([name])

    def _protected(self, names: Collection[str]) -> bool:
        return any(fnmatch.fnmatchcase(name, each) for each in self.protect for name in names)


def protecting(tasks: Any, containers: Iterable[Any]) -> Any:
    """Declared tasks, not checked yet, in which every prune of Docker protects these containers as well.

    Args:
        containers: the option `container` of components: `name`, `id`, or `project` and `service`.
    """
    patterns = [pattern for each in containers if isinstance(each, Mapping) for pattern in _patterns(each)]
    if not patterns or not isinstance(tasks, list):
        return tasks
    return [_protecting(task, patterns) for task in tasks]


def _patterns(container: Mapping[str, Any]) -> Iterator[str]:
    if container.get("name"):
        yield escape(str(container["name"]))
    if container.get("id"):
        yield f"{escape(str(container['id']))}*"
    if container.get("project") and container.get("service"):
        yield escape(f"{container['project']}:{container['service']}")


def _protecting(task: Any, patterns: list[str]) -> Any:
    if not isinstance(task, Mapping) or task.get("kind") != "docker_prune":
        return task
    given = task.get("protect")
    given = given.split(",") if isinstance(given, str) else given
    if given is not None and not isinstance(given, list):
        return task  # it is refused when it is checked
    return {**task, "protect": [*(given or ()), *patterns]}


def means_all(pattern: str) -> bool:
    """Whether a pattern names nothing: it has no character of its own beside wildcards, and no length."""
    rest = re.sub(r"\[!?\]?[^\]]*\]", "", pattern)
    return not rest.strip("*?") and ("*" in rest or rest == pattern)


def _age(text: str | None) -> timedelta | None:
    return None if text is None else parse_duration(text)
