# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declared logs: what logrotate is told of them, and what happens to rotated ones by age."""

from __future__ import annotations

import gzip
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._declaration._report import InvalidDeclaration
from ansible_collections.holdfast.ops.plugins.module_utils._upkeep import _rotated
from ansible_collections.holdfast.ops.plugins.module_utils._upkeep._logs import HEADER, Log, parse_logs
from ansible_collections.holdfast.ops.plugins.module_utils._upkeep._rotated import Aging, age

NOW = 1_800_000_000.0
DAY = 86_400

VALID: dict[str, Any] = {"name": "omnidoc", "paths": ["/var/log/omnidoc/*.log"]}


def stanza(**options: Any) -> list[str]:
    (log,) = parse_logs([{**VALID, **options}])
    return [line.strip() for line in log.stanza().splitlines()]


def test_the_whole_file() -> None:
    (log,) = parse_logs(
        [
            {
                **VALID,
                "paths": ["/var/log/omnidoc/*.log", "/var/log/omnidoc.log"],
                "keep": 14,
                "max_size": "100MiB",
                "owner": "omnidoc",
                "group": "adm",
                "mode": "0640",
                "su": "omnidoc",
                "reload": ["app", "w@1"],
                "signal": "USR1",
            }
        ]
    )
    assert (
        log.stanza()
        == f"""{HEADER}
/var/log/omnidoc/*.log
/var/log/omnidoc.log
{{
    daily
    rotate 14
    dateext
    dateformat -%Y%m%d-%H%M%S
    missingok
    notifempty
    compress
    delaycompress
    maxsize 104857600
    su omnidoc omnidoc
    create 0640 omnidoc adm
    sharedscripts
    postrotate
        if systemctl is-active --quiet 'app'; then systemctl kill --kill-who=main --signal=USR1 'app'; fi
        if systemctl is-active --quiet 'w@1'; then systemctl kill --kill-who=main --signal=USR1 'w@1'; fi
    endscript
}}
"""
    )


def test_kept_by_time_logrotate_counts_nothing() -> None:
    lines = stanza(keep="36h", compress_after="12h")
    assert "rotate -1" in lines
    assert "maxage 2" in lines
    assert "nocompress" in lines
    assert "compress" not in lines
    assert "maxage 30" in stanza(), "thirty days by default"


def test_truncated_in_place_or_made_anew() -> None:
    assert "copytruncate" in stanza(copytruncate=True)
    assert "create 0600 a a" in stanza(copytruncate=False, owner="a", mode="0600")
    assert "create 0600" in stanza(mode="0600")
    assert "create www-data www-data" in stanza(owner="www-data")
    assert "su omnidoc adm" in stanza(su="omnidoc:adm")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"keep": 5, "compress": False, "min_size": "1MiB", "max_size": 4096},
        {"keep": "30d", "compress_after": "7d", "su": "a:b", "owner": "a", "mode": "0600", "replaces": ["nginx"]},
        {"copytruncate": True, "frequency": "weekly"},
        {"owner": "a", "group": "b"},
        {"mode": "640", "reload": ["nginx"], "signal": "HUP"},
    ],
)
def test_what_was_written_is_read_back(options: dict[str, Any]) -> None:
    (log,) = parse_logs([{**VALID, **options}])
    assert Log.from_config(log.as_config()) == log


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"kep": "30d"}, "kep: unknown key, did you mean keep?"),
        ({"keep": "30"}, None),
        ({"keep": 0}, "keep: must be at least 1"),
        ({"keep": "0d"}, "keep: must be longer than nothing"),
        ({"keep": True}, "keep: must be a number of logs or a length of time"),
        ({"keep": "thirty"}, "keep: must be whole numbers with a unit"),
        ({"keep": 10, "compress_after": "7d"}, "compress_after: needs a length of time in keep"),
        ({"keep": "7d", "compress_after": "7d"}, "compress_after: must be shorter than keep"),
        ({"compress": False, "compress_after": "7d"}, "compress_after: makes no sense without compress"),
        ({"mode": 0o640}, "mode: must be a string, and is a number; YAML may have changed it: quote it"),
        ({"mode": "rw-"}, "mode: must be three octal digits"),
        ({"owner": "a b"}, "owner: is not the name of a user or group"),
        ({"su": "root; rm"}, "su: is not the name of a user or group"),
        ({"group": "adm"}, "group: requires owner"),
        ({"signal": "USR1"}, "signal: requires reload"),
        ({"copytruncate": True, "reload": ["nginx"]}, "copytruncate and reload exclude each other"),
        ({"reload": ["nginx; reboot"]}, "reload[0]: is not the name of a service"),
        ({"reload": ["it's"]}, "reload[0]: is not the name of a service"),
        ({"paths": ["/var/log/x/*"]}, "paths[0]: would also match what was rotated"),
        ({"paths": ["omnidoc.log"]}, "paths[0]: must be the absolute path of a file"),
        ({"paths": ["/var/log/x.log {"]}, "paths[0]: must be the absolute path of a file"),
        ({"paths": ["/var/log/x.log\n/etc/shadow"]}, "paths[0]: must be the absolute path of a file"),
        ({"paths": ["/var/log/../x.log"]}, "paths[0]: must be the absolute path of a file"),
        ({"paths": ["/var/log/*/x.log"]}, "paths[0]: has a wildcard in a directory"),
        ({"paths": ["/var/log/*/x.log"], "keep": 9}, None),
        ({"name": "omnidoc.bak"}, "name: must not have a dot in it"),
        ({"frequency": "yearly"}, "frequency: is none of its choices"),
    ],
)
def test_a_wrong_declaration_is_refused_by_name_and_key(change: dict[str, Any], problem: str | None) -> None:
    if problem is None:
        parse_logs([{**VALID, **change}])
        return
    with pytest.raises(InvalidDeclaration) as refused:
        parse_logs([{**VALID, **change}])
    assert any(problem in line for line in refused.value.problems), refused.value.problems
    assert all(line.startswith("log omnidoc") for line in refused.value.problems)


def rotated(directory: Path, name: str, days: float, content: bytes = b"line\n" * 1000) -> Path:
    """A log that was rotated this many days ago; its own time says something else, and does not count."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(NOW - days * DAY))
    path = directory / f"{name}-{stamp}"
    path.write_bytes(content)
    return path


def aged(directory: Path, *, check: bool = False, **options: Any) -> Aging:
    settings: dict[str, Any] = {"keep": timedelta(days=30), "compress_after": timedelta(days=7), **options}
    return age(Log("test", (f"{directory}/*.log",), **settings), NOW, check=check)


def test_thirty_days_compressed_after_seven(tmp_path: Path) -> None:
    live = tmp_path / "app.log"
    live.write_text("now")
    fresh = rotated(tmp_path, "app.log", 6.9)
    older = rotated(tmp_path, "app.log", 7.1)
    os.chmod(older, 0o640)
    os.utime(older, (1_700_000_000, 1_700_000_000))
    last = rotated(tmp_path, "app.log", 29.9)
    gone = rotated(tmp_path, "app.log", 30.1)
    long_gone = rotated(tmp_path, "app.log", 300)
    packed = long_gone.rename(f"{long_gone}.gz")
    kept = {path.name: path.read_bytes() for path in (older, last)}

    planned = aged(tmp_path, check=True)
    assert (planned.removed, planned.compressed) == ([str(packed), str(gone)], [str(last), str(older)])
    assert gone.exists()
    assert older.exists()

    done = aged(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {live.name, fresh.name, f"{older.name}.gz", f"{last.name}.gz"}
    for name, content in kept.items():
        assert gzip.decompress((tmp_path / f"{name}.gz").read_bytes()) == content
    status = os.stat(f"{older}.gz")
    assert (status.st_mode & 0o777, status.st_mtime) == (0o640, 1_700_000_000)
    assert done.saved_bytes > 8000
    assert done.failures == []

    again = aged(tmp_path)
    assert (again.removed, again.compressed) == ([], [])


def test_what_logrotate_did_not_rotate_is_left_alone(tmp_path: Path) -> None:
    spared = ["app.log", "app.log-2020", "app.log-20200101-000000.bak", "other.txt-20200101-000000", "app.log.1.gz"]
    spared += ["app.log-20201399-000000", "report-20200101-000000"]
    for name in spared:
        (tmp_path / name).write_text("x")
    (tmp_path / "app.log-20200101-000000").mkdir()
    (tmp_path / "app.log-20200102-000000").symlink_to(tmp_path / "app.log")
    done = aged(tmp_path)
    assert (done.removed, done.compressed, done.failures) == ([], [], [])
    assert {path.name for path in tmp_path.iterdir()} >= set(spared)


def test_without_compress_after_it_only_removes(tmp_path: Path) -> None:
    old, kept = rotated(tmp_path, "app.log", 31), rotated(tmp_path, "app.log", 20)
    done = aged(tmp_path, compress_after=None)
    assert (done.removed, done.compressed) == ([str(old)], [])
    assert kept.exists()


def test_kept_by_number_is_logrotates_own(tmp_path: Path) -> None:
    old = rotated(tmp_path, "app.log", 3000)
    assert aged(tmp_path, keep=5, compress_after=None).removed == []
    assert old.exists()


def test_a_second_name_is_not_compressed(tmp_path: Path) -> None:
    """It could be a file of somebody else's, whose content must not come here."""
    old = rotated(tmp_path, "app.log", 10)
    os.link(old, tmp_path / "secret")
    done = aged(tmp_path)
    assert done.failures == [(str(old), "it is no regular file, or has a second name")]
    assert {path.name for path in tmp_path.iterdir()} == {old.name, "secret"}


def test_a_log_that_is_still_written_to_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = rotated(tmp_path, "app.log", 10)
    copy = _rotated.shutil.copyfileobj

    def and_meanwhile(source: Any, target: Any, length: int) -> None:
        copy(source, target, length)
        with old.open("ab") as log:
            log.write(b"late line\n")

    monkeypatch.setattr(_rotated.shutil, "copyfileobj", and_meanwhile)
    done = aged(tmp_path)
    assert done.failures == [(str(old), _rotated.STILL_WRITTEN)]
    assert [path.name for path in tmp_path.iterdir()] == [old.name]
    assert old.read_bytes().endswith(b"late line\n")


def test_a_full_disk_leaves_the_log_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = rotated(tmp_path, "app.log", 10)

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_rotated.shutil, "copyfileobj", full)
    done = aged(tmp_path)
    assert done.failures == [(str(old), "No space left on device")]
    assert [path.name for path in tmp_path.iterdir()] == [old.name]


def test_what_a_killed_run_left_is_swept_a_day_later(tmp_path: Path) -> None:
    left, recent = tmp_path / ".holdfast-compress-old", tmp_path / ".holdfast-compress-new"
    for path, days in ((left, 2), (recent, 0.5)):
        path.write_text("half")
        os.utime(path, (NOW - days * DAY,) * 2)
    aged(tmp_path, check=True)
    assert left.exists()
    aged(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [recent.name]


def test_a_directory_behind_a_link_is_told_and_one_that_is_missing_is_not(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    old = rotated(real, "app.log", 100)
    (tmp_path / "link").symlink_to(real)
    done = aged(tmp_path / "link")
    assert [path for path, _reason in done.failures] == [str(tmp_path / "link")]
    assert old.exists()
    assert aged(tmp_path / "nowhere").failures == []
