# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a host, as far as it is pure: what the kernel's files mean, and what is worth a word.

The files were recorded on Debian 12 (kernel 6.1 and 6.12, cgroup version 1 and 2), shortened.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._deadline import Deadline
from ansible_collections.holdfast.ops.plugins.module_utils._errors import HoldfastError, NotFound
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._host import _kernel, _mounts, _samples, _sizes
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._host._findings import findings
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._host._looked import Looked
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._kinds._host_report import HostReport
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._side_by_side import side_by_side

MOUNTINFO = """\
22 28 0:20 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
28 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,errors=remount-ro
29 28 0:24 / /run rw,nosuid,nodev shared:5 - tmpfs tmpfs rw,size=401412k,mode=755
30 29 0:25 / /run/user/1000 rw,nosuid,nodev - tmpfs tmpfs rw,size=401408k
31 28 0:41 / /proc/sys/fs/binfmt_misc rw,relatime - autofs systemd-1 rw,fd=30
40 28 254:16 / /srv/my\\040data ro,relatime shared:20 - xfs /dev/vdb ro,attr2
41 28 254:16 /docker /var/lib/docker ro,relatime shared:20 - xfs /dev/vdb ro,attr2
42 28 7:1 / /snap/core/1 ro,nodev - squashfs /dev/loop1 ro
43 28 0:50 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw,lowerdir=a
44 28 0:52 / /mnt/nas rw,relatime - nfs4 nas:/export rw,vers=4.2
45 28 254:1 /home /home ro,relatime shared:1 - ext4 /dev/vda1 rw,errors=remount-ro
"""


def test_each_file_system_that_can_fill_up_is_looked_at_once() -> None:
    found = _mounts.worth_a_look(_mounts.parse_mounts(MOUNTINFO.splitlines()))
    seen = {(mount.point, mount.kind, mount.read_only, mount.remote) for mount in found}
    assert seen == {
        ("/", "ext4", False, False),  # /home is a part of it; that this mount is read-only is no error of the disk
        ("/run", "tmpfs", False, False),
        ("/srv/my data", "xfs", True, False),
        ("/mnt/nas", "nfs4", False, True),
        ("/sys", "sysfs", False, False),  # without a size: left out when it is asked
    }


def test_what_hides_another_mount_is_the_one_that_is_seen() -> None:
    lines = ["50 1 0:60 / /data rw - tmpfs a rw", "51 50 254:2 / /data rw - ext4 /dev/vdc rw"]
    assert [mount.source for mount in _mounts.worth_a_look(_mounts.parse_mounts(lines))] == ["/dev/vdc"]


def test_fstab_says_what_is_meant_to_be_read_only() -> None:
    lines = ["# /dev/x /a ext4 ro 0 0", "/dev/y /b\\040c ext4 noatime,ro 0 2", "UUID=1 / ext4 errors=remount-ro 0 1"]
    assert _mounts.meant_read_only(lines) == {"/b c"}


def test_a_directory_is_measured_as_du_does(tmp_path: Path) -> None:
    (tmp_path / "a" / "deep").mkdir(parents=True)
    (tmp_path / "a" / "deep" / "file").write_bytes(b"x" * 100_000)
    os.link(tmp_path / "a" / "deep" / "file", tmp_path / "again")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "link").symlink_to("/usr")
    with open(tmp_path / "b" / "sparse", "wb") as stream:
        stream.truncate(1 << 30)
    found = _sizes.measure(str(tmp_path), Deadline(10))
    expected = sum(
        os.lstat(path).st_blocks * 512
        for path in (tmp_path / name for name in ("", "a", "a/deep", "a/deep/file", "b", "b/link", "b/sparse"))
    )
    assert (found.size_bytes, found.files, found.complete) == (expected, 3, True)
    assert set(found.below) <= {"a", "b"}
    assert sum(found.below.values()) <= expected


def test_a_measure_that_runs_out_of_time_says_so(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert not _sizes.measure(str(tmp_path), Deadline(0)).complete
    found = _sizes.measure_all([str(tmp_path), str(tmp_path / "none")], Deadline(5))
    assert isinstance(found[str(tmp_path)], _sizes.Size)
    assert isinstance(found[str(tmp_path / "none")], NotFound)


def test_a_defect_is_not_taken_for_a_finding() -> None:
    def broken() -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        side_by_side({"a": lambda: 1, "b": broken}, Deadline(5))


def test_processors() -> None:
    before = _samples.parse_processors("cpu  100 0 50 800 50 0 0 0 0 0")
    after = _samples.parse_processors("cpu  150 0 60 820 70 0 0 0 0 0")
    samples = [_samples.Sample(0, each, {}, {}, {}) for each in (before, after)]
    assert _samples.busy(*samples) == (60, 20)


def test_traffic_of_whole_disks_and_of_interfaces() -> None:
    lines = [
        "   7       0 loop0 11 0 28 0 0 0 0 0 0 4 0 0 0 0 0 0 0",
        " 254       0 vda 100 5 2048 80 50 9 4096 90 0 500 170 0 0 0 0 0 0",
        " 254       1 vda1 100 5 2048 80 50 9 4096 90 0 500 170 0 0 0 0 0 0",
    ]
    assert _samples.parse_disks(lines, {"vda", "loop0"}) == {"vda": (2048 * 512, 4096 * 512, 500)}
    head = ["Inter-|   Receive", " face |bytes    packets"]
    net = [*head, "    lo: 5 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0", "  eth0:1000 2 0 0 0 0 0 0 3000 4 0 0 0 0 0 0"]
    assert _samples.parse_interfaces(net) == {"eth0": (1000, 3000)}
    before = _samples.Sample(10.0, (0, 0, 0), {"vda": (0, 0, 0)}, {"eth0": (0, 0)}, {})
    after = _samples.Sample(12.0, (0, 0, 0), {"vda": (2000, 4000, 500)}, {"eth0": (1000, 3000)}, {})
    (disk,), (interface,) = _samples.disk_rates(before, after), _samples.interface_rates(before, after)
    assert (disk["read_bytes_per_second"], disk["written_bytes_per_second"], disk["busy_percent"]) == (1000, 2000, 25)
    assert (interface["received_bytes_per_second"], interface["sent_bytes_per_second"]) == (500, 1500)


def stat(pid: int, name: bytes, ticks: int, started: int = 5) -> bytes:
    fields = [b"S", *[b"0"] * 10, b"%d" % ticks, b"0", *[b"0"] * 6, b"%d" % started, b"0", b"25", *[b"0"] * 28]
    return b"%d (%s) " % (pid, name) + b" ".join(fields)


def test_a_name_of_a_process_may_hold_anything_and_numbers_are_used_again() -> None:
    odd = _samples.parse_process(stat(77, b"a) R 1 (b\x1b", 0))
    assert (odd.pid, odd.name, odd.memory_bytes) == (77, "a) R 1 (b?", 25 * os.sysconf("SC_PAGE_SIZE"))
    tick = os.sysconf("SC_CLK_TCK")
    first = {7: _samples.parse_process(stat(7, b"old", 900 * tick)), 8: _samples.parse_process(stat(8, b"x", 0))}
    second = {
        7: _samples.parse_process(stat(7, b"new", tick, started=9)),
        8: _samples.parse_process(stat(8, b"x", tick // 2)),
    }
    rows = _samples.process_rates(
        _samples.Sample(0.0, (0, 0, 0), {}, {}, first), _samples.Sample(2.0, (0, 0, 0), {}, {}, second)
    )
    assert {row["name"]: row["cpu_percent"] for row in rows} == {"new": 50, "x": 25}


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("0::/system.slice/nginx.service\n", "nginx.service"),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/x.scope\n", "x.scope"),
        ("12:pids:/x.service\n1:name=systemd:/system.slice/cron.service\n0::/\n", "cron.service"),
        (f"0::/system.slice/docker-{'ab' * 32}.scope\n", "docker abababababab"),
        (f"9:name=systemd:/docker/{'cd' * 32}\n", "docker cdcdcdcdcdcd"),
        (f"9:name=systemd:/docker/{'cd' * 32}/system.slice/cron.service\n", "cron.service"),
        ("0::/\n", ""),
    ],
)
def test_unit_of_a_process(text: str, unit: str) -> None:
    assert _samples.parse_unit(text) == unit


def test_pressure(tmp_path: Path) -> None:
    (tmp_path / "io").write_text(
        "some avg10=2.52 avg60=2.38 avg300=2.78 total=1\nfull avg10=1 avg60=1 avg300=1 total=1\n"
    )
    assert _kernel.pressure(str(tmp_path)) == {"io": {"avg10": 2.52, "avg60": 2.38, "avg300": 2.78}}


def filesystem(point: str = "/", percent: float = 50.0, inodes: float | None = 1.0, ro: bool = False) -> Any:
    mount = _mounts.Mount(point, "ext4", "/dev/vda1", "254:1", "/", ro)
    return _mounts.Filesystem(mount, 100 << 30, 0, 10 << 30, percent, 1000 if inodes else None, inodes)


WELL = Looked(
    filesystems=[filesystem()],
    silent=[],
    meant_read_only=frozenset(),
    directories={},
    memory=_kernel.Memory(1000, 900),
    swap=_kernel.Memory(0, 0),
    processors=2.0,
    load=(0.1, 0.1, 0.1),
    uptime=90 * 86400.0,
    killed=0,
    pressure={},
    clock=(True, 0.01),
    seconds=1.0,
    busy_percent=1.0,
    waiting_percent=0.0,
    disks=[],
    interfaces=[],
    process_count=9,
    by_memory=[{"name": "java", "unit": "", "memory_bytes": 800, "cpu_percent": 1.0}],
    by_cpu=[],
)
OPTIONS = {name: option.get("default") for name, option in HostReport.SPEC.options.items()}


def told(**changes: Any) -> list[tuple[str, str, str]]:
    return [(each.code, each.severity, each.subject) for each in findings(replace(WELL, **changes), OPTIONS)]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"filesystems": [filesystem(percent=80)]}, ("disk_full", "warning", "/")),
        ({"filesystems": [filesystem(percent=90)]}, ("disk_full", "critical", "/")),
        ({"filesystems": [filesystem(inodes=85)]}, ("inodes_used", "warning", "/")),
        ({"filesystems": [filesystem(inodes=None)]}, None),
        ({"filesystems": [filesystem(percent=100, ro=True)]}, ("read_only", "critical", "/")),
        ({"filesystems": [filesystem(ro=True)], "meant_read_only": frozenset("/")}, None),
        ({"silent": [filesystem("/nas").mount]}, ("no_answer", "critical", "/nas")),
        ({"directories": {"/x": NotFound("/x is gone.")}}, ("not_measured", "warning", "/x")),
        ({"directories": {"/x": _sizes.Size("/x", complete=False)}}, ("not_all_counted", "info", "/x")),
        ({"memory": _kernel.Memory(1000, 40)}, ("memory_used", "critical", "memory")),
        ({"swap": _kernel.Memory(1000, 400)}, ("swap_used", "warning", "swap")),
        ({"load": (0.0, 8.0, 0.0)}, ("load_high", "critical", "load")),
        ({"pressure": {"io": {"avg300": 30.0}, "cpu": {"avg300": 99.0}}}, ("pressure_high", "warning", "io")),
        ({"killed": 1}, ("killed_for_memory", "warning", "memory")),
        ({"uptime": 600.0}, ("started", "info", "uptime")),
        ({"clock": None}, ("clock_unknown", "info", "clock")),
        ({"clock": (False, 16.0)}, ("clock_not_synchronised", "warning", "clock")),
    ],
)
def test_what_is_worth_a_word(changes: dict[str, Any], expected: tuple[str, str, str] | None) -> None:
    assert told(**changes) == ([expected] if expected else [])


def test_who_uses_the_memory_is_named() -> None:
    (found,) = findings(replace(WELL, memory=_kernel.Memory(1000, 40)), OPTIONS)
    assert found.advice == "Most is used by java (800 B)."
    assert found.text == "96 % of the memory is in use (limit: 95 %): 40 B of 1000 B are left."


def test_errors_of_the_kernel_s_files_are_typed() -> None:
    with pytest.raises(HoldfastError):
        _sizes.measure("/proc/self/none", Deadline(1))
