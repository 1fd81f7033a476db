# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report on Redis and Valkey finds the trouble that was seeded, and says honestly what it did not see."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.holdfast.ops.plugins.module_utils._deadline import Deadline
from ansible_collections.holdfast.ops.plugins.module_utils._errors import AuthenticationFailed, Unavailable
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._kinds._redis_report import RedisReport
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._section import Finding, Section
from ansible_collections.holdfast.ops.tests.support.modules import run_module
from ansible_collections.holdfast.ops.tests.support.redis import BUILDS, Build, Service, cluster_node, fill
from ansible_collections.holdfast.ops.tests.support.servers import free_ports, wait_until

MODULE = Path(__file__).parents[2] / "plugins" / "modules" / "redis_report_info.py"
PATIENT = {"scan_seconds": 60.0}
"""All keys are seen, however busy this machine is."""


@pytest.fixture(params=sorted(BUILDS))
def build(request: pytest.FixtureRequest) -> Build:
    """Each server that comes in a wheel."""
    return BUILDS[request.param]


@pytest.fixture
def server(build: Build) -> Iterator[Service]:
    with Service(build, "--save", "") as running:
        yield running


def string_constant(path: Path, name: str) -> str:
    """The value of `NAME = '…'` in a file, which is not run."""
    (value,) = (
        node.value
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [name]
    )
    return str(ast.literal_eval(value))


def report(server: Service, **more: Any) -> Section:
    defaults = {name: option.get("default") for name, option in RedisReport.SPEC.options.items()}
    return RedisReport({**defaults, **PATIENT, "login_port": server.port, **more}).look(Deadline(120))


def rows(section: Section, name: str) -> list[dict[str, Any]]:
    return next(([dict(row) for row in table.rows] for table in section.tables if table.name == name), [])


def found(section: Section, code: str) -> list[Finding]:
    return [each for each in section.findings if each.code == code]


def seed_big_keys(server: Service) -> dict[str, str]:
    """A big key of every type; its elements, and one beside it that is not big."""
    with server.client() as client, client.pipeline(transaction=False) as pipe:
        pipe.set("big:string", b"x" * 300_000)
        pipe.rpush("big:list", *(f"element {number:05}" for number in range(2000)))
        pipe.sadd("big:set", *(f"member {number:05}" for number in range(2000)))
        pipe.zadd("big:zset", {f"member {number:05}": number for number in range(2000)})
        pipe.hset("big:hash", mapping={f"field {number:05}": "v" for number in range(2000)})
        for number in range(2000):
            pipe.xadd("big:stream", {"number": number, "text": "x" * 20})
        for number in range(300):
            pipe.rpush(f"small:list:{number}", "a", "b")
        pipe.execute()
    return {f"big:{kind}": kind for kind in ("string", "list", "set", "zset", "hash", "stream")}


def test_a_big_key_of_every_type_is_found(server: Service) -> None:
    seeded = seed_big_keys(server)
    section = report(server, big_size="256KiB", big_elements=2000)
    assert {each.subject for each in found(section, "big_key") if each.subject} <= set(seeded)
    assert sum(1 for row in rows(section, "big_keys") if row["key"] in seeded) == len(seeded)
    assert "1 more big key was seen." in {each.text for each in found(section, "big_key")}  # five stand by themselves
    shown = {row["key"]: row for row in rows(section, "big_keys")}
    with server.client() as client:
        for key, kind in seeded.items():
            assert shown[key]["type"] == client.type(key).decode() == kind
            assert shown[key]["bytes"] == client.memory_usage(key)
        assert shown["big:zset"]["elements"] == client.zcard("big:zset")
        assert shown["big:stream"]["elements"] == client.xlen("big:stream")
    assert not found(report(server, big_size="1GiB", big_elements=2001), "big_key")


def test_everything_is_counted_as_the_server_counts(server: Service) -> None:
    fill(server)
    section = report(server)
    with server.client() as client:
        info = client.info()
        by_type: dict[str, int] = {}
        for key in client.scan_iter(count=1000):
            kind = client.type(key).decode()
            by_type[kind] = by_type.get(kind, 0) + 1
    by_type["string"] += 1  # the one of database 5
    assert {row["type"]: row["keys"] for row in rows(section, "types")} == by_type
    assert section.data["databases"] == [
        {"number": number, "keys": info[f"db{number}"]["keys"], "expiring": info[f"db{number}"]["expires"]}
        for number in (0, 5)
    ]
    assert section.data["sample"]["complete"]
    assert section.data["sample"]["seen"] == sum(by_type.values())
    assert {"pattern": "string:*", "keys": 500}.items() <= next(
        row for row in rows(section, "patterns") if row["pattern"] == "string:*"
    ).items()
    assert section.data["server"]["product"] == server.build.product


def test_a_sample_says_that_it_is_one(server: Service) -> None:
    fill(server)
    section = report(server, scan_keys=1)
    sample = section.data["sample"]
    assert 0 < sample["seen"] < sample["keys"]
    assert not sample["complete"]
    assert f"{sample['seen']:,} of {sample['keys']:,} keys" in section.summary
    assert report(server, scan_keys=0).data["sample"]["seen"] == 0


@pytest.mark.parametrize(
    ("policy", "use", "code", "severity"),
    [
        ("noeviction", "cache", "policy_of_cache", "warning"),
        ("allkeys-lru", "queue", "policy_of_data", "critical"),
        ("volatile-lru", "store", "policy_without_effect", "warning"),
        ("allkeys-lru", "cache", None, ""),
        ("noeviction", "queue", None, ""),
    ],
)
def test_the_policy_is_judged_by_the_use(
    server: Service, policy: str, use: str, code: str | None, severity: str
) -> None:
    with server.client() as client:
        client.set("a", "1")
        client.config_set("maxmemory", "1gb")
        client.config_set("maxmemory-policy", policy)
    section = report(server, use=use)
    assert not found(section, "memory_unlimited")
    of_policy = {each.code: each.severity for each in section.findings if each.code.startswith("policy")}
    assert of_policy == ({code: severity} if code else {})


def test_what_a_server_is_for_is_seen_by_its_keys(server: Service) -> None:
    with server.client() as client:
        client.set("a", "1", ex=1000)
        assert report(server).data["server"]["use"] == "cache"
        client.mset({"b": "1", "c": "2"})
        assert report(server).data["server"]["use"] == "store"
        client.sadd("_kombu.binding.celery", "x")
        client.config_set("maxmemory-policy", "allkeys-lru")
    section = report(server)
    assert section.data["server"]["use"] == "queue"
    assert found(section, "memory_unlimited")
    assert found(section, "not_persistent")
    assert found(section, "policy_of_data")


def test_a_save_that_fails_is_critical(build: Build) -> None:
    with Service(build, "--save", "3600 1") as server, server.client() as client:
        client.set("a", "1")
        server.data.chmod(0o500)
        client.bgsave()
        wait_until(lambda: client.info("persistence")["rdb_bgsave_in_progress"] == 0, "the end of the save")
        assert client.info("persistence")["rdb_last_bgsave_status"] == "err"
        assert [each.severity for each in found(report(server), "rdb_last_bgsave_failed")] == ["critical"]
        server.data.chmod(0o700)
        client.bgsave()
        wait_until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "ok", "a save")
        assert not found(report(server), "rdb_last_bgsave_failed")


def test_keys_of_a_cache_without_expiry_are_named(server: Service) -> None:
    with server.client() as client:
        for number in range(30):
            client.set(f"cache:page:{number}", "x")
            client.set(f"page_cache:{number}", "x", ex=1000)
    section = report(server)
    (row,) = rows(section, "cache_without_expiry")
    assert (row["pattern"], row["keys"]) == ("cache:page:*", 30)
    assert [each.subject for each in found(section, "cache_without_expiry")] == ["cache:page:*"]


def test_slow_commands_are_told_without_their_arguments(server: Service) -> None:
    with server.client() as client:
        client.config_set("slowlog-log-slower-than", 0)
        client.mset({"token:s3cr3t": "hunter2", "another": "value"})
        client.config_set("slowlog-log-slower-than", 10_000_000)
    section = report(server)
    row = next(each for each in rows(section, "slow_commands") if each["command"] == "MSET")
    assert row["arguments"] == 4
    assert found(section, "slow_commands")
    (table,) = (table for table in section.as_dict()["tables"] if table["name"] == "slow_commands")
    assert "token" not in json.dumps(table)
    assert "hunter2" not in json.dumps(section.as_dict())


def test_clients_are_grouped_by_who_they_are(server: Service) -> None:
    with server.client(client_name="worker") as one, server.client(client_name="worker") as two:
        one.ping()
        two.ping()
        (row,) = (row for row in rows(report(server), "clients") if row["name"] == "worker")
    assert (row["number"], row["address"]) == (2, "127.0.0.1")


def test_a_hostile_name_cannot_change_what_is_shown(server: Service) -> None:
    with server.client() as client:
        client.set(b"evil\x1b[2J\r\n\xff\xe2\x80\xae" + b"a" * 500, "x" * 2000)
    (row,) = rows(report(server), "big_keys")
    assert row["key"].startswith("evil\\x1b[2J\\r\\n\\xff\\u202e")
    assert len(row["key"]) == 100
    assert row["key"].isprintable()


def test_a_user_with_few_rights_gets_what_there_is(server: Service) -> None:
    fill(server)
    with server.client() as client:
        client.execute_command(
            "ACL", "SETUSER", "reader", "on", ">secret", "resetkeys", "-@all", "+ping", "+info", "+select"
        )
    section = report(server, login_user="reader", login_password="secret")
    (finding,) = found(section, "not_permitted")
    for command in ("SCAN", "CLIENT LIST", "SLOWLOG GET", "CONFIG GET"):
        assert command in finding.text
    assert section.data["memory"]["used_bytes"] > 0
    assert section.data["sample"]["seen"] == 0
    with server.client() as client:  # what the advice says is enough
        words = finding.advice.split("`")[1].split()
        if client.info()["redis_version"].startswith("6."):
            words = [word.split("|")[0].replace("%R~*", "~*") for word in words]
        client.execute_command(*words)
    section = report(server, login_user="reader", login_password="secret")
    assert not found(section, "not_permitted")
    assert section.data["sample"]["complete"]


def test_without_info_the_keys_are_looked_at_all_the_same(server: Service) -> None:
    with server.client() as client:
        client.set("a", "1")
        client.execute_command("ACL", "SETUSER", "blind", "on", "nopass", "~*", "+@all", "-info")
    section = report(server, login_user="blind", login_password="x")
    assert [row["key"] for row in rows(section, "big_keys")] == ["a"]
    assert "INFO" in found(section, "not_permitted")[0].text


def test_a_password_from_a_file(build: Build, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("pass word's\n")
    file.chmod(0o600)
    with Service(build, "--requirepass", "pass word's") as server:
        assert report(server, login_password_file=str(file)).data["server"]["role"] == "primary"
        file.write_text("wrong\n")
        with pytest.raises(AuthenticationFailed):
            report(server, login_password_file=str(file))


def test_a_replica_that_lost_its_primary(build: Build) -> None:
    (nobody,) = free_ports(1)
    with Service(build, "--replicaof", "127.0.0.1", str(nobody)) as server:
        section = report(server)
    assert [each.severity for each in found(section, "replication_down")] == ["critical"]
    assert section.data["server"]["role"] == "replica"


def test_a_node_of_a_cluster_is_reported_as_one(build: Build) -> None:
    with cluster_node(build) as server:
        assert found(report(server), "cluster_node")


def test_the_module_returns_what_it_documents(server: Service) -> None:
    with server.client() as client:
        client.set("big", "x" * 2_000_000)
        client.config_set("requirepass", "pass word's")
    parameters = {"login_port": server.port, "login_password": "pass word's", "scan_seconds": 60.0}
    result = run_module("redis_report_info", parameters)
    assert (result["rc"], result["changed"]) == (0, False)
    assert [each["subject"] for each in result["findings"] if each["code"] == "big_key"] == ["big"]
    documented = yaml.safe_load(string_constant(MODULE, "RETURN"))
    assert set(result) - {"rc", "stderr", "changed", "invocation"} <= set(documented)
    assert "pass word's" not in json.dumps(result["section"])


def test_a_server_that_is_not_there() -> None:
    (nobody,) = free_ports(1)
    with pytest.raises(Unavailable):
        RedisReport(
            {
                **{name: option.get("default") for name, option in RedisReport.SPEC.options.items()},
                "login_port": nobody,
            }
        ).look(Deadline(5))
