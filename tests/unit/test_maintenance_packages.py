# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of packages, as far as it is pure.

What tools say was recorded from apt 2.6.1 (Debian 12), pip 23.0.1, npm 11.19.1 and pnpm 9.15.9, shortened.
"""

from __future__ import annotations

import os
import time
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._declaration._report import Report
from ansible_collections.holdfast.ops.plugins.module_utils._errors import Refused, ToolFailed, Unavailable
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._kinds._package_report import PackageReport
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._packages import _apt, _findings
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._packages._languages import (
    _SKIPPED,
    Outdated,
    parse_npm,
    parse_pip,
    parse_pnpm,
)
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._packages._outdated_processes import parse_maps
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._packages._owner import runner
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._packages._release import parse_os_release

APT = """\
Reading package lists...
Building dependency tree...
The following packages will be upgraded:
  base-files libgcrypt20 libgcrypt20-dev
Inst base-files [12.4+deb12u11] (12.4+deb12u15 Debian:12.15/oldstable [amd64])
Conf base-files (12.4+deb12u15 Debian:12.15/oldstable [amd64])
Inst libgcrypt20-dev [1.10.1-3] (1.10.1-3+deb12u1 Debian:12.15/oldstable, Debian-Security:12/oldstable-security [amd64]) []
Inst libgcrypt20 [1.10.1-3] (1.10.1-3+deb12u1 Debian:12.15/oldstable, Debian-Security:12/oldstable-security [amd64])
Inst libcap2 [1:2.66-4+deb12u2+b2] (1:2.66-4+deb12u3+b1 Debian:12.15/oldstable [amd64]) []
Inst libperl5.36 [5.36.0-7+deb12u3] (5.36.0-7+deb12u4 Debian-Security:12/oldstable-security [amd64]) [perl:amd64 ]
Inst libc6:i386 [2.36-9+deb12u10] (2.36-9+deb12u13 Debian:12.15/oldstable [i386])
Inst linux-image-6.1.0-40-amd64 (6.1.153-1 Debian-Security:12/oldstable-security [amd64])
"""  # noqa: E501 - as apt says it


def test_what_apt_would_upgrade_those_for_security_first() -> None:
    found = _apt.parse_simulation(APT.splitlines(), {"libc6"})
    assert [(each.name, each.security, each.held) for each in found] == [
        ("libgcrypt20", True, False),
        ("libgcrypt20-dev", True, False),
        ("libperl5.36", True, False),
        ("base-files", False, False),
        ("libc6:i386", False, True),
        ("libcap2", False, False),
    ]
    assert (found[0].installed, found[0].available) == ("1.10.1-3", "1.10.1-3+deb12u1")
    assert found[0].origins == ("Debian:12.15/oldstable", "Debian-Security:12/oldstable-security")


@pytest.mark.parametrize(
    ("origin", "security"),
    [
        ("Ubuntu:22.04/jammy-security", True),
        ("Ubuntu:22.04/jammy-updates", False),
        ("UbuntuESM:22.04/jammy-infra-security", True),
        ("Debian-Security:13/stable-security", True),
        ("Debian:13.1/stable", False),
    ],
)
def test_archives_of_security_updates(origin: str, security: bool) -> None:
    line = f"Inst a [1] (2 {origin} [amd64])"
    assert [each.security for each in _apt.parse_simulation([line])] == [security]


def test_the_age_of_lists_is_when_something_new_came(tmp_path: Path) -> None:
    lists, stamp = tmp_path / "lists", str(tmp_path / "stamp")
    (lists / "partial").mkdir(parents=True)
    assert _apt.lists_age(str(lists), stamp) == (None, None)
    assert _apt.lists_age(str(tmp_path / "none"), stamp) == (None, None)
    release = lists / "deb.example.org_dists_stable_InRelease"
    release.touch()
    now = time.time()
    for path, age in ((release, 1), (lists, 900), (lists / "partial", 500)):  # a file's own time is the server's
        os.utime(path, (now - age, now - age))
    assert _apt.lists_age(str(lists), stamp) == (pytest.approx(900, abs=60), pytest.approx(500, abs=60))
    (tmp_path / "stamp").touch()
    assert _apt.lists_age(str(lists), stamp) == (pytest.approx(0, abs=60), pytest.approx(0, abs=60))


@pytest.mark.parametrize(
    ("versions", "release", "build", "why"),
    [
        ({}, "6.8.0", "#1 SMP", ""),
        ({"linux-image-6.1.0-28-amd64": "6.1.119-1"}, "6.1.0-28-amd64", "#1 Debian 6.1.119-1 (2024-11-22)", ""),
        (
            {"linux-image-6.1.0-28-amd64": "6.1.120-1"},
            "6.1.0-28-amd64",
            "#1 SMP Debian 6.1.119-1 (2024-11-22)",
            "6.1.0-28-amd64 was upgraded from 6.1.119-1 to 6.1.120-1",
        ),
        (
            {"linux-image-6.1.0-9-amd64": "1", "linux-image-6.1.0-10-amd64": "2", "linux-image-6.1.0-11-rt-amd64": "3"},
            "6.1.0-9-amd64",
            "#1",
            "6.1.0-10-amd64 is installed",
        ),
        ({"linux-image-6.1.0-9-amd64": "1", "linux-image-amd64": "2"}, "6.1.0-9-amd64", "#1", ""),
        (
            {"linux-image-6.12.9+deb13-amd64": "1", "linux-image-6.12.48+deb13-amd64": "2"},
            "6.12.9+deb13-amd64",
            "#1",
            "6.12.48+deb13-amd64 is installed",
        ),
        ({"linux-image-5.15.0-91-generic": "1"}, "5.15.0-91-generic", "#101-Ubuntu", ""),
    ],
)
def test_a_newer_kernel(versions: dict[str, str], release: str, build: str, why: str) -> None:
    assert _apt.newer_kernel(versions, release, build) == why


def test_replaced_files_among_what_is_mapped() -> None:
    lines = [
        "7f00-7f01 r-xp 00001000 fe:01 9 /usr/lib/x86_64-linux-gnu/libssl.so.3 (deleted)\n",
        "7f01-7f02 r--p 00001000 fe:01 9 /usr/lib/x86_64-linux-gnu/libcrypto.so.3 (deleted)\n",
        "7f02-7f03 r-xp 00001000 fe:01 8 /usr/sbin/nginx (deleted)\n",
        "7f03-7f04 r-xp 00001000 fe:01 7 /usr/lib/x86_64-linux-gnu/libc.so.6\n",
        "7f04-7f05 rwxp 00000000 00:05 6 /memfd:pcre2 (deleted)\n",
        "7f05-7f06 r-xp 00000000 00:00 0 [vdso]\n",
        "7f06-7f07 r-xp 00000000 00:01 5 /tmp/libx.so (deleted)\n",
    ]
    assert parse_maps(lines) == {"/usr/lib/x86_64-linux-gnu/libssl.so.3", "/usr/sbin/nginx"}


def test_pip() -> None:
    out = '[{"name": "pip", "version": "23.0.1", "latest_version": "26.3", "latest_filetype": "wheel"}]'
    assert parse_pip(out) == [Outdated("pip", "23.0.1", None, "26.3")]
    with pytest.raises(ToolFailed):
        parse_pip("Traceback")
    refused = "Could not fetch URL http://127.0.0.1:1/simple/pip/: connection error: HTTPConnectionPool(…) - skipping"
    missing = "Could not fetch URL https://pypi.org/simple/ours/: 404 Client Error: Not Found for url: … - skipping"
    assert _SKIPPED.search(f"2026-11-22T22:53:03,040 {refused}")
    assert not _SKIPPED.search(f"2026-11-22T22:53:03,040 {missing}")


NPM = """{
  "is-number": {"current": "6.0.0", "wanted": "6.0.0", "latest": "7.0.0", "dependent": "n", "location": "/n/is-number"},
  "is-odd": {"wanted": "1.0.0", "latest": "3.0.1", "dependent": "n"},
  "shared": [{"current": "1.0.0", "wanted": "1.0.1", "latest": "1.0.1", "dependent": "a"},
             {"current": "1.0.0", "wanted": "1.0.1", "latest": "1.0.1", "dependent": "b"}],
  "linked": {"current": "2.0.0", "wanted": "2.0.0", "latest": "2.0.0", "dependent": "n"}
}"""
NPM_REFUSED = """{"error": {"code": "ECONNREFUSED",
  "summary": "FetchError: request to http://me:hunter2@127.0.0.1:1/is-odd failed, reason: connect ECONNREFUSED",
  "detail": "If you are behind a proxy, please make sure that the 'proxy' config is set properly."}}"""


def test_npm() -> None:
    assert parse_npm("/n", 1, NPM, "") == [
        Outdated("is-number", "6.0.0", "6.0.0", "7.0.0"),
        Outdated("shared", "1.0.0", "1.0.1", "1.0.1"),
    ]
    assert parse_npm("/n", 0, "{}\n", "") == parse_npm("/n", 0, "", "") == []
    with pytest.raises(Unavailable, match="ECONNREFUSED") as caught:
        parse_npm("/n", 1, NPM_REFUSED, "")
    assert "hunter2" not in str(caught.value)
    for code, out in ((1, ""), (254, "{}"), (1, "npm: not JSON")):
        with pytest.raises(ToolFailed, match="the end of it"):
            parse_npm("/n", code, out, "the end of it")


def test_pnpm() -> None:
    out = '{"is-odd": {"current": "1.0.0", "latest": "3.0.1", "wanted": "1.0.0", "isDeprecated": false}}'
    assert parse_pnpm("/p", 1, out, "") == [Outdated("is-odd", "1.0.0", "1.0.0", "3.0.1")]
    assert parse_pnpm("/p", 0, "{}", "") == []
    refused = " ERR_PNPM_META_FETCH_FAIL  GET http://127.0.0.1:1/is-odd: request failed"
    with pytest.raises(Unavailable, match="META_FETCH"):
        parse_pnpm("/p", 1, refused, "")
    with pytest.raises(ToolFailed, match="No lockfile"):
        parse_pnpm("/p", 1, ' ERR_PNPM_OUTDATED_NO_LOCKFILE  No lockfile in directory "/p".', "")


def told(found: Any) -> list[tuple[str, str]]:
    return [(each.code, each.severity) for each in found]


DAY = 86400.0
SECURITY = _apt.Upgrade("openssl", "1", "2", ("Debian-Security:12/stable-security",))
OTHER = _apt.Upgrade("vim", "1", "2", ("Debian:12/stable",))
HELD = _apt.Upgrade("nginx", "1", "2", ("Debian-Security:12/stable-security",), True)


@pytest.mark.parametrize(
    ("apt", "expected"),
    [
        (_apt.Apt([], frozenset(), {}, 0.0, 0.0), []),
        (_apt.Apt([SECURITY], frozenset(), {}, 0.0, 0.0), [("security_updates", "warning")]),
        (_apt.Apt([OTHER], frozenset(), {}, 0.0, 0.0), [("updates", "info")]),
        (
            _apt.Apt([HELD], frozenset({"nginx"}), {}, 0.0, 0.0),
            [("held_security_updates", "warning"), ("held", "info")],
        ),
        (_apt.Apt([], frozenset(), {}, None, None), [("no_lists", "warning")]),
        (_apt.Apt([], frozenset(), {}, 5 * DAY, 4 * DAY), [("stale_lists", "warning")]),
        (_apt.Apt([], frozenset(), {}, 5 * DAY, 1 * DAY), [("unchanged_lists", "info")]),
    ],
)
def test_what_is_worth_a_word_of_apt(apt: _apt.Apt, expected: list[tuple[str, str]]) -> None:
    assert told(_findings.of_apt(apt, 3 * DAY)) == expected


@pytest.mark.parametrize(
    ("release", "today", "expected"),
    [
        ({"ID": "debian", "VERSION_ID": "13"}, date(2026, 11, 22), []),
        ({"ID": "debian", "VERSION_ID": "12"}, date(2026, 7, 11), []),
        ({"ID": "debian", "VERSION_ID": "12"}, date(2026, 7, 12), [("long_term_support", "info")]),
        ({"ID": "debian", "VERSION_ID": "12"}, date(2028, 2, 1), [("end_of_life", "warning")]),
        ({"ID": "debian", "VERSION_ID": "12"}, date(2028, 7, 1), [("end_of_life", "critical")]),
        ({"ID": "ubuntu", "VERSION_ID": "20.04"}, date(2026, 1, 1), [("end_of_life", "critical")]),
        ({"ID": "plan9"}, date(2026, 1, 1), [("end_of_life_unknown", "info")]),
        ({}, date(2026, 1, 1), [("end_of_life_unknown", "info")]),
    ],
)
def test_until_when_a_distribution_is_looked_after(
    release: dict[str, str], today: date, expected: list[tuple[str, str]]
) -> None:
    assert told(_findings.of_release(release, today)) == expected


def test_os_release() -> None:
    lines = ["# a", 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"', "ID=debian", "VERSION_ID='12'", 'BROKEN="x', ""]
    found = parse_os_release(lines)
    assert found["PRETTY_NAME"] == "Debian GNU/Linux 12 (bookworm)"
    assert (found["ID"], found["VERSION_ID"]) == ("debian", "12")


def test_what_must_be_restarted() -> None:
    assert told(_findings.of_restarts(["linux-image"], "", {})) == [("reboot_required", "warning")]
    assert told(_findings.of_restarts(None, "", {})) == []
    (found,) = _findings.of_restarts(None, "", {"nginx.service": ["/usr/lib/libssl.so.3"], "bash": ["/bin/bash"]})
    assert (found.code, found.advice) == ("restart_services", "systemctl restart nginx.service")


def test_what_could_not_be_asked_is_a_finding_beside_what_is_outdated() -> None:
    projects: Any = {
        ("pip", "/venv"): Unavailable("The package index of /venv did not answer."),
        ("npm", "/web"): [Outdated("a", "1.0.0", "1.1.0", "2.0.0"), Outdated("b", "1.0.0", "1.0.1", "1.0.1")],
        ("npm", "/good"): [],
    }
    unreachable, outdated = _findings.of_projects(projects)
    assert (unreachable.code, unreachable.severity, unreachable.subject) == ("index_unreachable", "warning", "/venv")
    assert outdated.text == "2 packages of /web can be upgraded (npm): a, b. 1 of them by a major version."


@pytest.mark.privileged
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: files of others are made")
def test_nothing_runs_as_root_and_nothing_that_is_several_people_s(tmp_path: Path) -> None:
    (tmp_path / "package.json").touch()
    ours = runner(str(tmp_path), "package.json")
    assert ours is not None and ours.name == "nobody"
    os.chown(tmp_path, 2, 2)
    theirs = runner(str(tmp_path), "package.json")  # what is root's in it is nobody's danger
    assert theirs is not None and theirs.uid == 2
    os.chown(tmp_path / "package.json", 3, 3)
    with pytest.raises(Refused):
        runner(str(tmp_path), "package.json")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"lists_max_age": "soon"}, "lists_max_age: must be whole numbers"),
        ({"venvs": ["venv"]}, "venvs[0]: must begin with /"),
        ({"tool_seconds": 0.0}, "tool_seconds: must be more than nothing"),
        ({"environment": {"a b": 1}}, "environment: a key is no name"),
    ],
)
def test_what_is_refused(options: dict[str, Any], problem: str) -> None:
    defaults = {name: option.get("default") for name, option in PackageReport.SPEC.options.items()}
    lines: list[str] = []
    PackageReport.examine({**defaults, **options}, Report(lines, "it"))
    assert len(lines) == 1 and lines[0].startswith(f"it: {problem}")
