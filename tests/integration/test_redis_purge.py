# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys of Redis and Valkey are removed by pattern: exactly those, counted first, never more than was agreed to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._deadline import Deadline
from ansible_collections.holdfast.ops.plugins.module_utils._errors import (
    InvalidOption,
    OutOfTime,
    PermissionDenied,
    Refused,
    Unsupported,
)
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._kinds._redis_purge import RedisPurge
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._rd._names import glob
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._section import Section
from ansible_collections.holdfast.ops.plugins.module_utils._progress import Progress
from ansible_collections.holdfast.ops.tests.support.modules import run_module
from ansible_collections.holdfast.ops.tests.support.redis import BUILDS, Build, Service, cluster_node, contents
from ansible_collections.holdfast.ops.tests.support.servers import wait_until


@pytest.fixture(params=sorted(BUILDS))
def build(request: pytest.FixtureRequest) -> Build:
    """Each server that comes in a wheel."""
    return BUILDS[request.param]


@pytest.fixture
def server(build: Build) -> Iterator[Service]:
    with Service(build, "--save", "") as running:
        yield running


def purge(server: Service, *patterns: str, **more: Any) -> RedisPurge:
    defaults = {name: option.get("default") for name, option in RedisPurge.SPEC.options.items()}
    return RedisPurge({**defaults, "pause": 0.0, "login_port": server.port, "patterns": list(patterns), **more})


def look(server: Service, *patterns: str, **more: Any) -> Section:
    return purge(server, *patterns, **more).look(Deadline(120))


def act(server: Service, *patterns: str, **more: Any) -> Section:
    return purge(server, *patterns, **more).act(Progress())


def keys(server: Service, database: int = 0) -> set[bytes]:
    with server.client(database) as client:
        return set(client.scan_iter(count=1000))


def seed(server: Service) -> None:
    with server.client() as client, client.pipeline(transaction=False) as pipe:
        for number in range(1234):
            pipe.set(f"cache:page:{number}", "x")
        pipe.set("cache:keep?", "x")
        pipe.set("customer:1", "x")
        pipe.rpush("cache:list", "a")
        pipe.set("cache:soon", "x", ex=1000)
        pipe.execute()
    with server.client(3) as other:
        other.set("cache:page:0", "x")


def test_a_plan_changes_nothing_and_an_act_removes_just_what_was_planned(server: Service) -> None:
    seed(server)
    before = contents(server, (0, 3))
    plan = look(server, "cache:page:*")
    assert contents(server, (0, 3)) == before
    assert (plan.data["planned"], plan.data["complete"], plan.changed) == (1234, True, True)
    assert plan.summary == "Would remove 1234 keys like cache:page:*."
    assert len(plan.data["sample"]) == 20
    assert {row["key"].encode() for row in plan.data["sample"]} <= keys(server)
    done = act(server, "cache:page:*", batch=100)
    assert done.data["removed"] == 1234
    assert done.changed
    assert keys(server) == {b"cache:keep?", b"customer:1", b"cache:list", b"cache:soon"}
    assert keys(server, 3) == {b"cache:page:0"}
    again = act(server, "cache:page:*")
    assert (again.data["removed"], again.changed) == (0, False)


def test_patterns_that_overlap_count_a_key_once(server: Service) -> None:
    seed(server)
    assert look(server, "cache:page:*", "cache:page:1*", "*page*").data["planned"] == 1234


def test_types_expiry_and_databases_narrow_what_is_meant(server: Service) -> None:
    seed(server)
    assert look(server, "cache:*", types=["list"]).data["planned"] == 1
    assert look(server, "cache:[ks]*").data["planned"] == 2
    assert look(server, "cache:[ks]*", without_expiry_only=True).data["planned"] == 1
    done = act(server, "cache:*", types=["string"], without_expiry_only=True, databases=[0, 3, 3])
    assert done.data["databases"] == [{"database": 0, "keys": 1235}, {"database": 3, "keys": 1}]
    assert keys(server) == {b"customer:1", b"cache:list", b"cache:soon"}


def test_only_what_nobody_used(server: Service) -> None:
    with server.client() as client:
        client.mset({"old": "1", "used": "2"})
        wait_until(lambda: client.object("idletime", "old") >= 2, "two seconds of idleness", interval=0.2)
        client.get("used")
        assert look(server, "old", "used", idle_longer_than="1h").data["planned"] == 0
        used = client.object("idletime", "used")
        assert act(server, "old", "used", idle_longer_than=f"{used + 1}s").data["removed"] == 1
        assert keys(server) == {b"used"}
        client.config_set("maxmemory-policy", "allkeys-lfu")
        with pytest.raises(Unsupported, match="lfu"):
            look(server, "used", idle_longer_than="1h")


def test_more_than_most_is_refused_before_the_first_key_goes(server: Service) -> None:
    seed(server)
    plan = look(server, "cache:page:*", most=1233)
    assert [each.code for each in plan.findings] == ["too_many"]
    with pytest.raises(Refused, match="1,234 keys are meant, more than most"):
        act(server, "cache:page:*", most=1233)
    assert len(keys(server)) == 1238
    assert act(server, "cache:page:*", most=1234).data["removed"] == 1234


def test_what_came_after_the_count_is_left(server: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    seed(server)
    job = purge(server, "late:*", batch=10)
    refuse = job._refuse_too_many

    def others_write(found: Any, at: Any) -> None:
        refuse(found, at)
        with server.client() as client:
            client.mset({f"late:{number}": "new" for number in range(500)})

    with server.client() as client:
        client.mset({f"late:{number}": "old" for number in range(100)})
    monkeypatch.setattr(job, "_refuse_too_many", others_write)
    done = job.act(Progress())
    assert done.data["removed"] == 100
    assert [each.code for each in done.findings] == ["more_came"]
    assert sum(key.startswith(b"late:") for key in keys(server)) == 400


def test_a_replica_is_refused(build: Build) -> None:
    with (
        Service(build, "--save", "") as primary,
        Service(build, "--save", "", "--replicaof", "127.0.0.1", str(primary.port)) as replica,
    ):
        with primary.client() as client:
            client.set("cache:1", "x")
        with replica.client() as client:
            wait_until(lambda: client.get("cache:1") is not None, "replication")
        for run in (look, act):
            with pytest.raises(Refused, match=f"removed on its primary, 127.0.0.1:{primary.port}"):
                run(replica, "cache:*")
        assert act(primary, "cache:*").data["removed"] == 1


def test_a_node_of_a_cluster_is_refused(build: Build) -> None:
    with cluster_node(build) as server, pytest.raises(Unsupported, match="cluster"):
        act(server, "cache:*")


def test_without_the_right_to_remove_nothing_is_and_the_right_is_named(server: Service) -> None:
    seed(server)
    with server.client() as client:
        client.execute_command(
            "ACL", "SETUSER", "reader", "on", ">secret", "~*", "-@all", "+ping", "+info", "+select", "+scan"
        )
    login = {"login_user": "reader", "login_password": "secret"}
    assert look(server, "cache:page:*", **login).data["planned"] == 1234
    with pytest.raises(PermissionDenied) as failure:
        act(server, "cache:page:*", **login)
    assert "+unlink" in str(failure.value)
    assert failure.value.left_behind == "0 of 1234 keys had been removed"
    assert len(keys(server)) == 1238


def test_time_that_runs_out_is_told_with_what_is_gone(server: Service) -> None:
    seed(server)
    job = purge(server, "cache:page:*", batch=50, pause=0.0, max_runtime="1h")
    ticks = iter([0.0] * 40 + [1e9] * 1000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: next(ticks))
        with pytest.raises(OutOfTime) as failure:
            job.act(Progress())
    left = len([key for key in keys(server) if key.startswith(b"cache:page:")])
    assert 0 < left < 1234
    assert failure.value.left_behind == f"{1234 - left} of 1234 keys had been removed"


def test_a_database_that_is_not_there(server: Service) -> None:
    with pytest.raises(InvalidOption, match="There is no database 999"):
        look(server, "cache:*", databases=[999])


def test_patterns_mean_here_what_they_mean_to_the_server(server: Service) -> None:
    """Overlaps are found on our side: both sides must read patterns alike."""
    names = ["a", "b", "ab", "a*", "a?", "[a]", "a-c", "-", "^", "]", "\\", "a\nb", "abc", "ä", "é", "a]", "b]"]
    patterns = ["a*", "a?", "[a-c]", "[c-a]", "[^a]", "[^a]*", "\\*", "a\\*", "a\\?", "[\\a]", "\\[a]", "[a-]", "[-a]"]
    patterns += ["[]", "[^]", "[]]", "[a", "a[b", "[^", "?", "??", "*]", "\\\\", "ä", "[ab]]", "*a*", "a-c", "[\\]]"]
    with server.client() as client:
        client.mset(dict.fromkeys(names, "x"))
        for pattern in patterns:
            theirs = {key.decode() for key in client.scan_iter(match=pattern, count=1000)}
            ours = {name for name in names if glob(pattern).match(name.encode())}
            assert ours == theirs, pattern


def test_the_module_plans_in_check_mode_and_acts_otherwise(server: Service) -> None:
    seed(server)
    parameters = {"login_port": server.port, "patterns": ["cache:page:*"]}
    plan = run_module("redis_purge", parameters, check=True)
    assert (plan["rc"], plan["changed"], plan["planned"], plan["removed"]) == (0, True, 1234, 0)
    assert len(keys(server)) == 1238
    done = run_module("redis_purge", parameters)
    assert (done["rc"], done["changed"], done["removed"]) == (0, True, 1234)
    again = run_module("redis_purge", parameters)
    assert (again["rc"], again["changed"], again["removed"]) == (0, False, 0)
    for words in (["*"], ["?*"], ["[a-z]*"], [""]):
        refused = run_module("redis_purge", {**parameters, "patterns": words})
        assert refused["rc"] == 1
        assert refused["error_code"] == "invalid_declaration"
    assert len(keys(server)) == 4
    everything = run_module("redis_purge", {**parameters, "patterns": ["*"], "everything": True, "databases": [0, 3]})
    assert everything["removed"] == 5
    assert not keys(server) | keys(server, 3)
