# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host is told of its logs and old files, and `holdfast clean`, which does it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._declaration._report import InvalidDeclaration
from ansible_collections.holdfast.ops.plugins.module_utils._errors import InvalidOption
from ansible_collections.holdfast.ops.plugins.module_utils._host._main import main
from ansible_collections.holdfast.ops.plugins.module_utils._upkeep._config import Upkeep, dump, load, parse_upkeep

DAY = 86_400


class Host:
    """A directory to clean, rotated logs, and the file that says what becomes of them."""

    def __init__(self, path: Path) -> None:
        self.config = path / "upkeep.json"
        self.exports, self.logs = path / "exports", path / "logs"
        self.exports.mkdir()
        self.logs.mkdir()
        self.declared: dict[str, list[dict[str, Any]]] = {
            "logs": [{"name": "app", "paths": [f"{self.logs}/*.log"], "keep": "30d", "compress_after": "7d"}],
            "cleanups": [{"name": "exports", "path": str(self.exports), "older_than": "7d"}],
        }

    def clean(self, *arguments: str) -> int:
        self.config.write_text(dump(parse_upkeep(**self.declared)))
        return main(["clean", "--config", str(self.config), *arguments])

    def export(self, name: str, days: float) -> Path:
        path = self.exports / name
        path.write_text("x")
        os.utime(path, (time.time() - days * DAY,) * 2)
        return path

    def rotated(self, days: float) -> Path:
        stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(time.time() - days * DAY))
        path = self.logs / f"app.log-{stamp}"
        path.write_text("line\n" * 100)
        return path


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_everything_that_is_declared_is_done(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    old, young = host.export("old", 8), host.export("young", 6)
    gone, packed, fresh = host.rotated(31), host.rotated(8), host.rotated(6)

    assert host.clean("--check") == 0
    told = capsys.readouterr().out
    assert f"app: remove {gone}\n" in told
    assert f"app: compress {packed}\n" in told
    assert f"exports: remove {old} (1 B, 8d old)\n" in told
    assert all(path.exists() for path in (old, young, gone, packed, fresh))

    assert host.clean() == 0
    told = capsys.readouterr().out
    assert "app: 1 rotated log removed, 1 compressed" in told
    assert "exports: 1 file (1 B) removed, 1 kept" in told
    assert [path.name for path in host.exports.iterdir()] == ["young"]
    assert {path.name for path in host.logs.iterdir()} == {f"{packed.name}.gz", fresh.name}


def test_only_what_is_named_is_done(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    old, gone = host.export("old", 8), host.rotated(31)
    assert host.clean("exports") == 0
    assert (old.exists(), gone.exists()) == (False, True)
    assert host.clean("export") == 1
    assert "is called export; there are: app, exports" in capsys.readouterr().err


def test_one_that_cannot_be_cleaned_fails_the_run_and_stops_no_other(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    old = host.export("old", 8)
    link = host.exports.with_name("link")
    link.symlink_to(host.exports)
    host.declared["cleanups"].insert(0, {"name": "bad", "path": str(link), "older_than": "7d"})
    host.declared["cleanups"].insert(0, {"name": "later", "path": str(link.with_name("none")), "older_than": "7d"})
    assert host.clean() == 1
    assert not old.exists()
    said = capsys.readouterr()
    assert said.err.startswith(f"bad: {link} is no directory, or a symbolic link.")
    assert f"later: {link.with_name('none')} does not exist." in said.out


def test_a_host_for_which_nothing_is_declared_has_nothing_to_do(tmp_path: Path) -> None:
    assert main(["clean", "--config", str(tmp_path / "none.json")]) == 0


@pytest.mark.parametrize("text", ["", "[]", "{", '"x"'])
def test_a_damaged_file_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "upkeep.json"
    path.write_text(text)
    with pytest.raises(InvalidOption, match=r"upkeep\.json"):
        load(str(path))


def test_a_file_that_somebody_has_changed_is_judged_again(tmp_path: Path) -> None:
    path = tmp_path / "upkeep.json"
    path.write_text(json.dumps({"cleanups": [{"name": "all", "path": "/etc", "older_than": "1s", "recurse": True}]}))
    assert main(["clean", "--config", str(path)]) == 1
    assert os.path.exists("/etc/passwd")


def test_problems_of_both_lists_are_told_together() -> None:
    with pytest.raises(InvalidDeclaration) as refused:
        parse_upkeep([{"name": "a"}], [{"name": "b"}])
    assert {line.split(":")[0] for line in refused.value.problems} == {"log a", "cleanup b"}


def test_what_is_written_is_read_back(host: Host) -> None:
    upkeep = parse_upkeep(**host.declared)
    host.config.write_text(dump(upkeep))
    assert load(str(host.config)) == upkeep
    assert parse_upkeep(None, None) == Upkeep()
