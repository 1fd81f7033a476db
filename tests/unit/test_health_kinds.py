# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What kinds of checks read, as far as it is pure: answers, certificates, DNS messages, samples of Docker, cgroups."""

from __future__ import annotations

import ipaddress
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._errors import Corrupted
from ansible_collections.holdfast.ops.plugins.module_utils._health import _dns_client, _tool
from ansible_collections.holdfast.ops.plugins.module_utils._health._certificates import not_after
from ansible_collections.holdfast.ops.plugins.module_utils._health._docker_stats import usage
from ansible_collections.holdfast.ops.plugins.module_utils._health._kinds._http import _compare, _steps
from ansible_collections.holdfast.ops.plugins.module_utils._health._kinds._postgresql import _split
from ansible_collections.holdfast.ops.plugins.module_utils._system import _cgroups
from ansible_collections.holdfast.ops.plugins.module_utils._system._docker_api import address
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        ("status", ["status"]),
        ("checks[0].state", ["checks", 0, "state"]),
        ("[1].a-b", [1, "a-b"]),
        ("a..b", []),
        ("a[x]", []),
        ("", []),
    ],
)
def test_paths_into_json(path: str, steps: list[Any]) -> None:
    assert _steps(path) == steps


@pytest.mark.parametrize(
    ("path", "expected", "status", "output"),
    [
        ("db.up", True, "pass", ""),
        ("db.up", 1, "fail", "db.up is True."),
        ("list[1]", 2, "pass", ""),
        ("list[2]", 2, "fail", "The answer has no list[2]."),
        ("db.up.more", 2, "fail", "The answer has no db.up.more."),
        ("long", "x", "fail", "long is something else."),
    ],
)
def test_values_in_json(path: str, expected: Any, status: str, output: str) -> None:
    document = {"db": {"up": True}, "list": [1, 2], "long": "secret" * 20}
    found = _compare(document, path, expected)
    assert (found.status, found.output) == (status, output)


@given(st.binary(max_size=64))
def test_what_is_no_certificate_is_told(data: bytes) -> None:
    with pytest.raises(Corrupted):
        not_after(data)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("documents", ("", "documents")),
        ("public.documents", ("public", "documents")),
        ('"a.b"."C d"', ("a.b", "C d")),
        ('public."x"', ("public", "x")),
    ],
)
def test_names_of_tables(name: str, parts: tuple[str, str]) -> None:
    assert _split(name) == parts


@pytest.mark.parametrize("name", ["a.b.c", ".a", 'x""'])
def test_what_is_no_name_of_a_table(name: str) -> None:
    assert _split(name) is None


# -- DNS --------------------------------------------------------------------------------------------------------------

NAME = b"\x03app\x07example\x03com\x00"


def message(kind: int, *records: bytes) -> bytes:
    """An answer whose records point back to the name of the question."""
    head = struct.pack("!HHHHHH", 1, 0x8180, 1, len(records), 0, 0)
    body = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, len(data)) + data for data in records)
    return head + NAME + struct.pack("!HH", kind, 1) + body


@pytest.mark.parametrize(
    ("kind", "record", "text"),
    [
        ("A", b"\xc0\x00\x02\x07", "192.0.2.7"),
        ("AAAA", bytes.fromhex("20010db8000000000000000000000001"), "2001:db8::1"),
        ("CNAME", b"\x03www\xc0\x10", "www.example.com"),
        ("MX", b"\x00\x0a\x04mail\xc0\x10", "10 mail.example.com"),
        ("TXT", b"\x03v=s\x02 x", "v=s x"),
    ],
)
def test_records_are_read(kind: str, record: bytes, text: str) -> None:
    number = _dns_client.TYPES[kind]
    assert list(_dns_client._answers(message(number, record), number)) == [text]


def test_a_name_that_points_to_itself_ends() -> None:
    looped = message(5, b"\xc0\x25")
    looped = looped[:-2] + struct.pack("!H", 0xC000 | (len(looped) - 2))
    with pytest.raises(ValueError):
        list(_dns_client._answers(looped, 5))


@given(st.binary(max_size=80))
def test_any_bytes_are_answers_or_an_error(data: bytes) -> None:
    try:
        answers = list(_dns_client._answers(message(1, data)[: 12 + len(data)], 1))
    except (IndexError, ValueError, struct.error):
        return
    assert all(ipaddress.IPv4Address(answer) for answer in answers)


# -- Docker -----------------------------------------------------------------------------------------------------------


def sample(own: int, whole: int, **more: Any) -> dict[str, Any]:
    return {"cpu_stats": {"cpu_usage": {"total_usage": own}, "system_cpu_usage": whole, "online_cpus": 4}, **more}


def test_a_container_is_counted_as_docker_counts_it() -> None:
    after = sample(
        1_500,
        14_000,
        memory_stats={"usage": 900, "limit": 1000, "stats": {"inactive_file": 100}},
        networks={"eth0": {"rx_bytes": 5, "tx_bytes": 7}, "eth1": {"rx_bytes": 1, "tx_bytes": 1}},
        blkio_stats={"io_service_bytes_recursive": [{"op": "read", "value": 3}, {"op": "Write", "value": 4}]},
        pids_stats={"current": 9},
    )
    found = usage(sample(1_000, 10_000), after)
    assert found.cpu_percent == 50.0  # 500 of 4000 ticks of four processors
    assert (found.memory_bytes, found.memory_percent) == (800, 80.0)
    assert (found.network_received_bytes, found.network_sent_bytes) == (6, 8)
    assert (found.block_read_bytes, found.block_written_bytes, found.pids) == (3, 4, 9)


def test_version_1_names_the_cache_otherwise() -> None:
    memory = {"usage": 900, "limit": 1000, "stats": {"total_inactive_file": 300, "inactive_file": 1}}
    assert usage({}, {"memory_stats": memory}).memory_bytes == 600


def test_what_docker_does_not_tell_is_not_made_up() -> None:
    found = usage({}, {})
    assert (found.known, found.cpu_percent) == (False, None)
    assert usage(sample(5, 100), sample(4, 200)).cpu_percent is None


@pytest.mark.parametrize(
    ("url", "parts"),
    [("unix:///run/x.sock", ("/run/x.sock", "", 0)), ("tcp://h:1", ("", "h", 1)), ("tcp://h", ("", "h", 2375))],
)
def test_where_an_engine_is(url: str, parts: tuple[str, str, int]) -> None:
    assert address(url) == parts


# -- cgroups ----------------------------------------------------------------------------------------------------------


def files(root: Path, content: dict[str, str]) -> str:
    for name, text in content.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return str(root)


def test_limits_of_version_2(tmp_path: Path) -> None:
    root = files(
        tmp_path,
        {
            "memory.current": "700\n",
            "memory.max": "1000\n",
            "memory.stat": "anon 400\ninactive_file 200\n",
            "memory.swap.current": "5\n",
            "memory.swap.max": "50\n",
            "cpu.max": "150000 100000\n",
            "cpu.stat": "usage_usec 2500000\n",
        },
    )
    assert _cgroups.memory(root) == _cgroups.Usage(500, 1000)
    assert _cgroups.swap(root) == _cgroups.Usage(5, 50)
    assert (_cgroups.processors(root), _cgroups.processor_seconds(root)) == (1.5, 2.5)


def test_limits_of_version_1(tmp_path: Path) -> None:
    root = files(
        tmp_path,
        {
            "memory/memory.usage_in_bytes": "700",
            "memory/memory.limit_in_bytes": "1000",
            "memory/memory.stat": "total_inactive_file 300\n",
            "memory/memory.memsw.usage_in_bytes": "720",
            "memory/memory.memsw.limit_in_bytes": "1500",
            "cpu/cpu.cfs_quota_us": "50000",
            "cpu/cpu.cfs_period_us": "100000",
            "cpuacct/cpuacct.usage": "4000000000",
        },
    )
    assert _cgroups.memory(root) == _cgroups.Usage(400, 1000)
    assert _cgroups.swap(root) == _cgroups.Usage(20, 500)
    assert (_cgroups.processors(root), _cgroups.processor_seconds(root)) == (0.5, 4.0)


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"memory.current": "7", "memory.max": "max", "cpu.max": "max 100000"},
        {
            "memory/memory.usage_in_bytes": "7",
            "memory/memory.limit_in_bytes": "9223372036854771712",
            "cpu/cpu.cfs_quota_us": "-1",
            "cpu/cpu.cfs_period_us": "100000",
        },
    ],
)
def test_no_limit_is_that_of_the_host(tmp_path: Path, content: dict[str, str]) -> None:
    root = files(tmp_path, content)
    assert (_cgroups.memory(root), _cgroups.swap(root), _cgroups.processors(root)) == (None, None, None)


# -- programs ---------------------------------------------------------------------------------------------------------


def test_an_environment_file_is_read_as_systemd_reads_it_and_its_secrets_are_not_told(tmp_path: Path) -> None:
    path = tmp_path / "env"
    path.write_text("# a comment\n\nPLAIN=a b\nBROKER_URL='redis-password-in-words'\nexport Q=\"x\"\nnot a line\n")
    script = 'echo "$PLAIN|$Q|$OWN"; echo "broken: $BROKER_URL" >&2; exit 3'
    options = {"environment_file": str(path), "environment": {"OWN": 1}, "directory": str(tmp_path)}
    code, out, said = _tool.run_tool(["/bin/sh", "-c", script], options)
    assert (code, out) == (3, "a b|x|1\n")
    assert said.strip() == "broken: ********"


def test_measurements_survive_json() -> None:
    from ansible_collections.holdfast.ops.plugins.module_utils._health._interface import Measurement

    found = Measurement("a", "warn", 1.5, "s", "why", "x")
    assert Measurement.from_json(json.loads(json.dumps(found.as_json()))) == found
