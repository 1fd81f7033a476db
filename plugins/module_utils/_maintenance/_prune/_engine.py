# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is on a Docker engine that may be removed, and removing it. Nothing is ever forced.

PRIVATE to the collection; may change without notice.

Each look is fresh, and the engine itself refuses to remove what somebody uses by then.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote

from ..._errors import NotFound, Refused
from ..._manifest import parse_time, utc_now
from ..._system._docker_api import Docker
from ._wanted import BUILD_CACHE, CONTAINER, DANGLING, IMAGE, NETWORK, NONE, VOLUME, Item, Wanted

ORDER = (CONTAINER, NETWORK, IMAGE, BUILD_CACHE, VOLUME)
"""Containers first: what only they used can go, too. But not volumes: those of a container stay until the next time."""

_STOPPED = ("created", "exited", "dead")
_OWN_NETWORKS = frozenset(("bridge", "host", "none"))
_FRACTION = re.compile(r"\.(\d{1,6})\d*")


class Engine:
    """An engine, and what may go from it."""

    def __init__(self, docker: Docker, wanted: Wanted) -> None:
        self._docker = docker
        self._wanted = wanted
        self._now = utc_now()

    def attached_volumes(self) -> frozenset[str]:
        """The names of all volumes that some container has, whether it runs or not."""
        mounts = (mount for each in self._containers() for mount in each.get("Mounts") or ())
        return frozenset(mount["Name"] for mount in mounts if mount.get("Type") == "volume" and mount.get("Name"))

    def candidates(self, what: str, attached: Collection[str], gone: Collection[str] = ()) -> list[Item]:
        """What may be removed.

        Args:
            attached: volumes that some container has.
            gone: ids of containers to be thought of as removed.
        """
        if what == CONTAINER:
            return [] if self._wanted.containers is None else list(self._stopped(self._wanted.containers))
        if what == NETWORK:
            return [] if self._wanted.networks is None else list(self._networks(self._wanted.networks, gone))
        if what == IMAGE:
            return [] if self._wanted.images == NONE else list(self._images(gone))
        if what == BUILD_CACHE:
            return [] if self._wanted.build_cache is None else list(self._build_cache(self._wanted.build_cache))
        return list(self._volumes(attached)) if self._wanted.volumes else []

    def remove(self, item: Item) -> int:
        """Remove one thing; the bytes that became free, as far as the engine tells.

        Raises:
            Refused: it is in use by now.
            NotFound: somebody else has removed it.
        """
        if item.what == BUILD_CACHE:
            age = self._wanted.build_cache or timedelta()
            filters = json.dumps({"until": [f"{int(age.total_seconds())}s"]})
            answer = self._docker.post("/build/prune", {"all": "true", "filters": filters})
            return int((answer or {}).get("SpaceReclaimed") or 0)
        if item.what == IMAGE:
            self._remove_image(item)
        else:
            if item.what == CONTAINER and self._stopped_since(item.id) != item.since:
                raise Refused("it has run again since it was looked at.")  # and may have ended again
            # Without `v`, the volumes of a container stay.
            self._docker.delete(f"/{item.what}s/{quote(item.id, safe='')}")
        return item.size_bytes or 0

    def _remove_image(self, item: Item) -> None:
        if len(item.references) <= 1:
            self._docker.delete(f"/images/{item.id}")
            return
        # Several names have to go one by one; one that is another image's by now stays.
        for reference in item.references:
            path = f"/images/{quote(reference, safe='')}"
            if self._docker.get(f"{path}/json")["Id"] != item.id:
                raise Refused(f"{reference} is another image by now.")
            self._docker.delete(path)

    def _containers(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = self._docker.get("/containers/json", {"all": "true"})
        return listed

    def _old(self, since: datetime | None, age: timedelta) -> bool:
        """What the engine does not know the age of is not old."""
        return since is not None and self._now - since >= age

    def _stopped(self, age: timedelta) -> Iterator[Item]:
        filters = json.dumps({"status": list(_STOPPED)})
        for each in self._docker.get("/containers/json", {"all": "true", "size": "true", "filters": filters}):
            if self._wanted.excluded(each.get("Labels")) or self._wanted.protects_container(each):
                continue
            try:
                since = self._stopped_since(each["Id"])
            except NotFound:
                continue
            if self._old(since, age):
                name = (each.get("Names") or [each["Id"][:12]])[0].lstrip("/")
                yield Item(CONTAINER, each["Id"], name, each.get("SizeRw") or 0, since)

    def _stopped_since(self, name: str) -> datetime | None:
        """When a container ended, or was made and never started; None while it is not stopped."""
        found = self._docker.get(f"/containers/{name}/json")
        state = found["State"]
        return _latest(found.get("Created"), state.get("FinishedAt")) if state["Status"] in _STOPPED else None

    def _networks(self, age: timedelta, gone: Collection[str]) -> Iterator[Item]:
        used = set()
        for each in self._containers():
            if each["Id"] not in gone:
                networks = (each.get("NetworkSettings") or {}).get("Networks") or {}
                # By name, too: a container that never ran has no id of its network yet.
                used |= {*networks, *(network.get("NetworkID") for network in networks.values() if network)}
        for each in self._docker.get("/networks"):
            since = _latest(each.get("Created"))
            own = each["Name"] in _OWN_NETWORKS or each.get("Scope") != "local" or each.get("Ingress")
            if own or each.get("ConfigOnly") or each["Id"] in used or each["Name"] in used:
                continue
            if not self._wanted.excluded(each.get("Labels")) and self._old(since, age):
                yield Item(NETWORK, each["Id"], each["Name"], None, since)

    def _images(self, gone: Collection[str]) -> Iterator[Item]:
        used = {each["ImageID"] for each in self._containers() if each["Id"] not in gone}
        listed = self._docker.get("/images/json", {"all": "true"})
        parents = {each["Id"]: each.get("ParentId") or "" for each in listed}
        built_on = set(parents.values())
        found, steps = {}, set()
        for each in listed:
            references = _references(each)
            if not references and each["Id"] in built_on:
                steps.add(each["Id"])  # on the way to another image, with which it goes or stays
                continue
            if each["Id"] in used or self._wanted.excluded(each.get("Labels")):
                continue
            if self._wanted.images == DANGLING and references:
                continue
            item = self._image(each, references)
            if item is not None and self._old(item.since, self._wanted.images_age):
                found[item.id] = item
        for name in parents.keys() - found.keys() - steps:
            for ancestor in _ancestors(name, parents):
                found.pop(ancestor, None)
        # What others are built on comes after them.
        yield from sorted(found.values(), key=lambda item: -len(_ancestors(item.id, parents)))

    def _image(self, listed: Mapping[str, Any], references: tuple[str, ...]) -> Item | None:
        try:
            details = self._docker.get(f"/images/{listed['Id']}/json")
        except NotFound:
            return None
        # An image that was pulled today may have been built years ago.
        since = _latest(details.get("Created"), (details.get("Metadata") or {}).get("LastTagTime"))
        name = references[0] if references else listed["Id"].partition(":")[2][:12]
        return Item(IMAGE, listed["Id"], name, int(listed.get("Size") or 0), since, references)

    def _build_cache(self, age: timedelta) -> Iterator[Item]:
        entries = self._docker.get("/system/df", {"type": "build-cache"}).get("BuildCache") or []
        old = [each for each in entries if not each.get("InUse") and self._old(_used(each), age)]
        if old:
            size = sum(int(each.get("Size") or 0) for each in old if not each.get("Shared"))
            used = [moment for moment in map(_used, old) if moment is not None]
            name = f"{len(old)} of {len(entries)} entries"
            yield Item(BUILD_CACHE, "", name, size, max(used, default=None), entries=len(old))

    def _volumes(self, attached: Collection[str]) -> Iterator[Item]:
        found = [
            each
            for each in self._docker.get("/volumes").get("Volumes") or []
            if each["Name"] not in attached
            and self._wanted.wants_volume(each["Name"])
            and not self._wanted.excluded(each.get("Labels"))
        ]
        if found:
            known = self._docker.get("/system/df", {"type": "volume"}).get("Volumes") or []
            sizes = {each["Name"]: (each.get("UsageData") or {}).get("Size", -1) for each in known}
            for each in found:
                size = sizes.get(each["Name"], -1)
                name = each["Name"]
                yield Item(VOLUME, name, name, size if size >= 0 else None, _latest(each.get("CreatedAt")))


def _ancestors(name: str, parents: Mapping[str, str]) -> list[str]:
    """What an image is built on, as far as the engine knows (its own builds alone)."""
    found: list[str] = []
    while parents.get(name):
        name = parents[name]
        found.append(name)
    return found


def _references(image: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of an image; by its digest where it has no other."""
    tags = [name for name in image.get("RepoTags") or () if name != "<none>:<none>"]
    digests = [name for name in image.get("RepoDigests") or () if name != "<none>@<none>"]
    return tuple(tags or digests)


def _used(entry: Mapping[str, Any]) -> datetime | None:
    return _latest(entry.get("LastUsedAt")) or _latest(entry.get("CreatedAt"))


def _latest(*moments: str | None) -> datetime | None:
    """The latest of some moments as the engine writes them, with nanoseconds; those of the year 1 say never."""
    known = []
    for text in moments:
        if text:
            try:
                moment = parse_time(_FRACTION.sub(lambda match: f".{match[1]:0<6}", text))
            except ValueError:
                continue
            if moment.year > 1:
                known.append(moment.astimezone(timezone.utc))
    return max(known, default=None)
