# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a prune of Docker may remove, as far as it is pure; tests/slow does it to an engine."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._declaration._report import Report
from ansible_collections.holdfast.ops.plugins.module_utils._errors import Refused
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._kinds._docker_prune import DockerPrune
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._prune._engine import Engine, _latest
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._prune._wanted import (
    BUILD_CACHE,
    CONTAINER,
    IMAGE,
    NETWORK,
    Wanted,
    protecting,
)

DEFAULTS = {name: option.get("default") for name, option in DockerPrune.SPEC.options.items()}


def problems(**options: Any) -> list[str]:
    lines: list[str] = []
    DockerPrune.examine({**DEFAULTS, **options}, Report(lines, "it"))
    return lines


def test_something_must_be_named() -> None:
    assert len(problems()) == 1
    assert problems(images="dangling") == problems(volumes=["a-*"]) == problems(networks_older_than="1d") == []
    assert problems(volumes=["[0-9a-f]" * 64]) == []  # those that have no name of their own


@pytest.mark.parametrize("pattern", ["*", "**", "?*", "", "[!_]*", "[]a]*"])
def test_every_volume_is_refused(pattern: str) -> None:
    assert problems(volumes=["ok", pattern]) == ["it: volumes[1]: would be every volume; name some of them"]


def test_what_is_no_age_or_no_engine_is_refused() -> None:
    assert [line.split(" must")[0] for line in problems(containers_older_than="soon", docker_host="ssh://a")] == [
        "it: containers_older_than:",
        "it: docker_host:",
    ]


def wanted(**options: Any) -> Wanted:
    return Wanted.of({**DEFAULTS, "images": "unused", "images_older_than": "0s", **options})


COMPOSED = {
    "Id": "ab12" * 16,
    "Names": ["/shop-db-1"],
    "Labels": {"com.docker.compose.project": "shop", "com.docker.compose.service": "db"},
}


@pytest.mark.parametrize(
    ("pattern", "protected"),
    [("shop-db-1", True), ("shop:db", True), ("shop:*", True), ("ab12ab12ab12", True), ("shop", False), ("*x", False)],
)
def test_what_is_protected(pattern: str, protected: bool) -> None:
    assert wanted(protect=[pattern]).protects_container(COMPOSED) is protected


def test_what_components_live_in_is_protected_without_being_named() -> None:
    containers = [{"name": "db[1]"}, {"id": "ab12ab"}, {"project": "shop", "service": "db"}, None]
    prune, other = {"name": "p", "kind": "docker_prune"}, {"name": "o", "kind": "host_report"}
    patterns = ["db[[]1]", "ab12ab*", "shop:db"]
    assert protecting([prune, other], containers) == [{**prune, "protect": patterns}, other]
    (found,) = protecting([{**prune, "protect": ["mine"]}], containers)
    assert found["protect"] == ["mine", *patterns]
    assert wanted(protect=patterns).protects_container(COMPOSED)
    assert wanted(protect=patterns[:1]).protects_container({"Id": "1", "Names": ["/db[1]"]})
    assert wanted(protect=patterns[1:2]).protects_container(COMPOSED)
    (found,) = protecting([{**prune, "protect": "mine"}], containers)
    assert found["protect"] == ["mine", *patterns]


@pytest.mark.parametrize("tasks", [None, "text", [1, {"kind": "docker_prune", "protect": 5}], {"a": 1}])
def test_what_is_no_list_of_tasks_is_left_to_those_who_refuse_it(tasks: Any) -> None:
    assert protecting(tasks, [{"name": "db"}]) == tasks


def test_labels_that_keep() -> None:
    keeping = wanted(exclude_labels=["keep", "tier=gold"])
    assert keeping.excluded({"keep": ""}) and keeping.excluded({"tier": "gold"})
    assert not keeping.excluded({"tier": "tin"}) and not keeping.excluded({}) and not keeping.excluded(None)


def test_moments_of_the_engine() -> None:
    year_one = "0001-01-01T00:00:00Z"
    assert _latest(None, "", year_one, "nonsense") is None
    assert _latest("2026-11-22T20:20:41.643720344Z", year_one, "2026-11-22T21:20:41.6+01:00") == datetime(
        2026, 11, 22, 20, 20, 41, 643720, tzinfo=timezone.utc
    )


class Answers:
    """What an engine answers, by path."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self._answers = answers

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        return self._answers[path]


OLD = {"Created": "2020-01-01T00:00:00Z"}


def image(name: str, parent: str = "", tags: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"Id": name, "ParentId": parent, "RepoTags": list(tags), "RepoDigests": None, "Labels": None, "Size": 1}


def test_what_a_used_image_is_built_on_stays() -> None:
    images = [
        image("base", tags=("base:1",)),
        image("step", parent="base"),
        image("app", parent="step", tags=("app:1",)),
        image("child", parent="loose", tags=("child:1",)),
        image("loose", tags=("loose:1",)),
    ]
    engine = Answers(
        {
            "/containers/json": [{"Id": "c1", "ImageID": "app"}],
            "/images/json": images,
            **{f"/images/{each['Id']}/json": OLD for each in images},
        }
    )
    pruner = Engine(engine, wanted())  # type: ignore[arg-type]
    assert [item.id for item in pruner.candidates(IMAGE, ())] == ["child", "loose"]
    # When its container goes first, all of it may go; a step goes with its image.
    assert [item.id for item in pruner.candidates(IMAGE, (), gone=["c1"])] == ["app", "child", "base", "loose"]


def test_networks_of_the_engine_and_of_stopped_containers_stay() -> None:
    plain = {"Scope": "local", "Labels": {}, **OLD}
    engine = Answers(
        {
            "/containers/json": [{"Id": "c", "NetworkSettings": {"Networks": {"by-name": {"NetworkID": ""}}}}],
            "/networks": [
                {"Id": "1", "Name": "bridge", **plain},
                {"Id": "2", "Name": "by-name", **plain},
                {"Id": "3", "Name": "swarm", **plain, "Scope": "swarm"},
                {"Id": "4", "Name": "free", **plain},
            ],
        }
    )
    pruner = Engine(engine, wanted(networks_older_than="1d"))  # type: ignore[arg-type]
    assert [item.name for item in pruner.candidates(NETWORK, ())] == ["free"]


def test_a_container_that_has_run_again_since_the_look_stays() -> None:
    deleted: list[str] = []

    class Records(Answers):
        def delete(self, path: str) -> None:
            deleted.append(path)

    state = {"Status": "exited", "FinishedAt": "2026-01-01T00:00:00Z"}
    answers: dict[str, Any] = {
        "/containers/json": [{"Id": "c1", "Names": ["/job"], "SizeRw": 5}],
        "/containers/c1/json": {"Created": "2025-12-01T00:00:00Z", "State": state},
    }
    engine = Engine(Records(answers), wanted(containers_older_than="1d"))  # type: ignore[arg-type]
    (item,) = engine.candidates(CONTAINER, ())
    for again in ({"FinishedAt": "2026-11-22T00:00:00Z"}, {"Status": "running"}):
        answers["/containers/c1/json"]["State"] = {**state, **again}
        with pytest.raises(Refused, match="run again"):
            engine.remove(item)
    assert deleted == []
    answers["/containers/c1/json"]["State"] = state
    assert engine.remove(item) == 5
    assert deleted == ["/containers/c1"]


def test_build_cache_that_is_not_in_use() -> None:
    entries = [
        {"Size": 100, "InUse": False, "Shared": False, "LastUsedAt": "2020-01-01T00:00:00Z"},
        {"Size": 10, "InUse": False, "Shared": True, "LastUsedAt": None, "CreatedAt": "2020-01-01T00:00:00Z"},
        {"Size": 1000, "InUse": True, "Shared": False, "LastUsedAt": "2020-01-01T00:00:00Z"},
        {"Size": 1000, "InUse": False, "Shared": False, "LastUsedAt": "2999-01-01T00:00:00Z"},
    ]
    pruner = Engine(Answers({"/system/df": {"BuildCache": entries}}), wanted(build_cache_older_than="7d"))  # type: ignore[arg-type]
    (item,) = pruner.candidates(BUILD_CACHE, ())
    assert (item.size_bytes, item.entries, item.name) == (100, 2, "2 of 4 entries")
