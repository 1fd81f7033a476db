# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module `docker_prune` with a real engine, asked by Docker's own library what is left."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._deadline import Deadline
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._prune._engine import Engine
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._prune._wanted import IMAGE, Wanted
from ansible_collections.holdfast.ops.plugins.module_utils._system._docker_api import Docker
from ansible_collections.holdfast.ops.tests.support.docker import IMAGE as OURS
from ansible_collections.holdfast.ops.tests.support.docker import DockerEngine, needs_docker
from ansible_collections.holdfast.ops.tests.support.modules import run_module

pytestmark = [pytest.mark.privileged, needs_docker]

ALL = {
    "containers_older_than": "0s",
    "images": "unused",
    "images_older_than": "0s",
    "networks_older_than": "0s",
    "volumes": ["build-*"],
}


@pytest.fixture
def engine() -> Iterator[DockerEngine]:
    with DockerEngine() as started:
        yield started


@pytest.fixture
def docker(engine: DockerEngine) -> Any:
    return engine._client


def image(docker: Any, name: str, labels: dict[str, str] | None = None) -> str:
    """An image with one small file of its own."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = 100_000
        archive.addfile(entry, io.BytesIO(name.encode().ljust(100_000)))
    changes = [f"LABEL {key}={value}" for key, value in (labels or {}).items()]
    docker.api.import_image_from_data(out.getvalue(), repository=name, tag="1", changes=changes)
    return str(docker.images.get(f"{name}:1").id)


def prune(engine: DockerEngine, *, check: bool = False, **options: Any) -> dict[str, Any]:
    result = run_module("docker_prune", {"docker_host": engine.url, **options}, check=check)
    assert not result.get("failed"), result
    return result


def named(result: dict[str, Any]) -> set[tuple[str, str]]:
    return {(item["what"], item["name"]) for item in result["objects"]}


def test_what_nobody_uses_goes_and_what_somebody_uses_stays(engine: DockerEngine, docker: Any) -> None:
    image(docker, "unused")
    docker.images.get(image(docker, "twice")).tag("other", "2")
    image(docker, "labelled", {"keep": "true"})
    engine.run(["/bin/sleep", "600"], name="running")
    volume = {name: docker.volumes.create(name) for name in ("build-free", "build-attached", "data")}
    for name, labels in (("ended", {}), ("kept", {"keep": "true"}), ("db", {})):
        container = docker.containers.create(
            OURS, ["/bin/true"], name=name, labels=labels, network_mode="none",
            volumes={volume["build-attached"].name: {"bind": "/data"}} if name == "ended" else {},
        )  # fmt: skip
        assert container.status == "created"
    options = {**ALL, "exclude_labels": ["keep"], "protect": ["d*"]}

    planned = prune(engine, check=True, **options)
    assert planned["changed"] is True
    assert len(docker.containers.list(all=True)) == 4  # nothing was done
    assert named(planned) == {
        ("container", "ended"),
        ("image", "unused:1"),
        ("image", "other:2"),
        ("volume", "build-free"),
    }
    assert planned["size_bytes"] >= 200_000

    done = prune(engine, **options)
    assert named(done) == named(planned)
    assert done["skipped"] == []
    assert {each.name for each in docker.containers.list(all=True)} == {"running", "kept", "db"}
    assert {tag for each in docker.images.list() for tag in each.tags} == {OURS, "labelled:1"}
    # The container that had it is gone, and its volume stays until the next time.
    assert {each.name for each in docker.volumes.list()} == {"build-attached", "data"}

    again = prune(engine, **options)
    assert named(again) == {("volume", "build-attached")}
    assert prune(engine, **options)["changed"] is False
    assert {each.name for each in docker.volumes.list()} == {"data"}


def test_what_is_young_stays(engine: DockerEngine, docker: Any) -> None:
    image(docker, "fresh")
    docker.containers.create(OURS, ["/bin/true"], name="fresh", network_mode="none")
    result = prune(engine, containers_older_than="1h", images="unused", images_older_than="1h")
    assert (result["changed"], result["objects"]) == (False, [])
    assert docker.images.get("fresh:1") and docker.containers.get("fresh")


def test_only_images_without_a_name_are_dangling(engine: DockerEngine, docker: Any) -> None:
    old = image(docker, "app")
    docker.images.get(old).tag("moving", "1")
    docker.images.remove("app:1")
    image(docker, "unrelated")
    docker.images.get("unrelated:1").tag("moving", "1")  # `old` has lost its name
    result = prune(engine, images="dangling", images_older_than="0s")
    assert [item["id"] for item in result["objects"]] == [old]
    assert "unrelated:1" in {tag for each in docker.images.list() for tag in each.tags}


def test_networks_of_stopped_containers_stay(engine: DockerEngine, docker: Any) -> None:
    used = docker.networks.create("used")
    docker.networks.create("free")
    docker.containers.create(OURS, ["/bin/true"], name="stopped", network=used.name)
    result = prune(engine, networks_older_than="0s")
    assert named(result) == {("network", "free")}
    assert {each.name for each in docker.networks.list()} >= {"used"}


def test_what_is_used_by_then_is_skipped(engine: DockerEngine, docker: Any) -> None:
    """Between the look and the removal a container of the image is made: the engine refuses, and nothing is forced."""
    name = image(docker, "contested")
    options = {**ALL, "volumes": [], "exclude_labels": [], "protect": []}
    pruner = Engine(Docker(engine.url, Deadline(60)), Wanted.of(options))
    (item,) = (each for each in pruner.candidates(IMAGE, ()) if each.id == name)
    docker.containers.create("contested:1", ["/bin/true"], name="quick", network_mode="none")
    with pytest.raises(Exception, match="conflict") as caught:
        pruner.remove(item)
    assert caught.value.code == "refused"  # type: ignore[attr-defined]
    assert docker.images.get(name)


def test_an_engine_that_is_not_there_is_an_error(tmp_path: Any) -> None:
    result = run_module("docker_prune", {"docker_host": f"unix://{tmp_path}/none.sock", "images": "dangling"})
    assert (result["failed"], result["error_code"]) == (True, "unavailable")
