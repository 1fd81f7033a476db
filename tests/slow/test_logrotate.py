# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's logrotate with our configuration: forty days of logs in seconds, and what it refuses."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._errors import InvalidOption, Refused, ToolFailed
from ansible_collections.holdfast.ops.plugins.module_utils._upkeep._logrotate import Directory
from ansible_collections.holdfast.ops.plugins.module_utils._upkeep._logs import Log, parse_logs
from ansible_collections.holdfast.ops.plugins.module_utils._upkeep._rotated import age
from ansible_collections.holdfast.ops.tests.support.playbook import PlaybookRun, run_playbook

LOGROTATE = "/usr/sbin/logrotate"
HOST = "ansible_collections.holdfast.ops.plugins.module_utils._host"
FIRST_DAY = datetime(2026, 2, 20, 6, 25)


class Host:
    """The parts of /etc and /var/log that matter, in a directory of the test."""

    def __init__(self, root: Path) -> None:
        self.logrotate_d = root / "etc/logrotate.d"
        self.main = root / "etc/logrotate.conf"
        self.logs = root / "var/log/app"
        for directory in (self.logrotate_d, self.logs, root / "etc/holdfast"):
            directory.mkdir(parents=True)
        self.main.write_text(f"weekly\nrotate 4\ncreate\ninclude {self.logrotate_d}\n")
        self.state = root / "state"
        self.directory = Directory(str(self.logrotate_d), str(self.main))

    def declare(self, *logs: dict[str, Any]) -> tuple[Log, ...]:
        parsed = parse_logs(list(logs))
        changes = self.directory.plan(parsed)
        self.directory.try_out(changes)
        self.directory.apply(changes)
        return parsed

    def pass_a_day(self, now: datetime, *logs: Log) -> None:
        """What Debian's timer and ours do every day."""
        stopped_clock = ["faketime", "-f", now.strftime("%Y-%m-%d %H:%M:%S")]
        command = [*stopped_clock, LOGROTATE, "--state", str(self.state), str(self.main)]
        environment = {**os.environ, "NO_FAKE_STAT": "1"}  # files have the times that they have
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        for log in logs:
            assert age(log, now.timestamp()).failures == []

    def ages(self, now: datetime) -> dict[timedelta, Path]:
        """The rotated logs by how long ago they were rotated, to a day."""
        found = {}
        for path in self.logs.iterdir():
            stamp = re.search(r"-(\d{8}-\d{6})", path.name)
            if stamp:
                found[now - datetime.strptime(stamp[1], "%Y%m%d-%H%M%S")] = path
        return found


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_thirty_days_compressed_after_seven_and_a_quiet_log_ages_too(host: Host) -> None:
    (log,) = host.declare({"name": "app", "paths": [f"{host.logs}/*.log"], "keep": "30d", "compress_after": "7d"})
    now = FIRST_DAY
    for day in range(40):
        now = FIRST_DAY + timedelta(days=day)
        (host.logs / "app.log").open("a").write(f"line of day {day}\n" * 50)
        host.pass_a_day(now, log)
    ages = host.ages(now)
    assert sorted(ages) == [timedelta(days=days) for days in range(31)]
    for old, path in ages.items():
        assert path.name.endswith(".gz") == (old >= timedelta(days=7)), (old, path)
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        assert f"line of day {39 - old.days}\n".encode() in content

    # The application falls silent: logrotate has nothing to rotate any more, and what is there goes on ageing.
    for day in range(40, 56):
        now = FIRST_DAY + timedelta(days=day)
        host.pass_a_day(now, log)
    ages = host.ages(now)
    assert sorted(ages) == [timedelta(days=days) for days in range(16, 31)]
    assert all(path.suffix == ".gz" for path in ages.values())


def test_kept_by_number_logrotate_alone_keeps_and_compresses(host: Host) -> None:
    host.declare({"name": "app", "paths": [f"{host.logs}/*.log"], "keep": 3, "mode": "0640"})
    now = FIRST_DAY
    for day in range(8):
        now = FIRST_DAY + timedelta(days=day)
        (host.logs / "app.log").open("a").write(f"line of day {day}\n")
        host.pass_a_day(now)
    ages = host.ages(now)
    assert sorted(ages) == [timedelta(days=days) for days in range(3)]
    assert [ages[old].suffix == ".gz" for old in sorted(ages)] == [False, True, True]
    assert (host.logs / "app.log").stat().st_mode & 0o777 == 0o640


def test_a_large_log_is_rotated_twice_a_day(host: Host) -> None:
    host.declare({"name": "app", "paths": [f"{host.logs}/*.log"], "max_size": "1KiB", "keep": "30d"})
    for hour in range(3):
        (host.logs / "app.log").open("a").write("x" * 2000)
        host.pass_a_day(FIRST_DAY + timedelta(hours=hour))
    assert len(host.ages(FIRST_DAY)) == 3


def test_what_logrotate_refuses_never_gets_there(host: Host) -> None:
    (host.logs / "app.log").write_text("x\n")
    log = {"name": "app", "paths": [f"{host.logs}/*.log"]}
    with pytest.raises(ToolFailed, match="unknown user 'nobody-here'") as refused:
        host.declare({**log, "su": "nobody-here"})
    assert "The account must exist" in str(refused.value)

    os.chmod(host.logs, 0o777)
    with pytest.raises(ToolFailed, match="insecure permissions") as refused:
        host.declare(log)
    assert "say as whom to rotate with su" in str(refused.value)
    os.chmod(host.logs, 0o755)

    (host.logrotate_d / "package").write_text(f"{host.logs}/app.log {{\n  daily\n}}\n")
    with pytest.raises(ToolFailed, match="duplicate log entry") as refused:
        host.declare(log)
    assert "name it in replaces" in str(refused.value)
    assert [path.name for path in host.logrotate_d.iterdir()] == ["package"]


def test_errors_of_others_keep_nobody_from_anything(host: Host) -> None:
    (host.logrotate_d / "broken").write_text("/var/log/x.log {\n  bogus\n")
    host.declare({"name": "app", "paths": [f"{host.logs}/*.log"]})
    assert (host.logrotate_d / "holdfast-app").exists()


def test_a_packages_file_is_set_aside_and_comes_back(host: Host) -> None:
    (host.logs / "app.log").write_text("x\n")
    theirs = f"{host.logs}/app.log {{\n  daily\n}}\n"
    (host.logrotate_d / "package").write_text(theirs)
    host.declare({"name": "app", "paths": [f"{host.logs}/*.log"], "replaces": ["package"]})
    assert not (host.logrotate_d / "package").exists()
    host.pass_a_day(FIRST_DAY)
    host.declare()
    assert {path.name: path.read_text() for path in host.logrotate_d.iterdir()} == {"package": theirs}


def test_files_of_others_are_neither_replaced_nor_removed(host: Host) -> None:
    (host.logrotate_d / "holdfast-app").write_text("# mine\n")
    with pytest.raises(Refused, match="was not written by holdfast"):
        host.declare({"name": "app", "paths": [f"{host.logs}/*.log"]})
    host.declare()
    assert (host.logrotate_d / "holdfast-app").read_text() == "# mine\n"


def test_a_main_configuration_that_does_not_include_ours_is_told(host: Host) -> None:
    host.main.write_text("weekly\n")
    with pytest.raises(InvalidOption, match="does not include"):
        host.declare({"name": "app", "paths": [f"{host.logs}/*.log"]})


# -- the role ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def site(tmp_path: Path) -> Any:
    """Run the role below a directory; the command that the agent would install is this checkout's."""
    root = tmp_path / "root"
    host = Host(root)
    command = root / "usr/local/bin/holdfast"
    command.parent.mkdir(parents=True)
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {HOST} "$@"\n')
    command.chmod(0o755)
    (root / "var/log/holdfast").mkdir()

    def run(*arguments: str, **variables: Any) -> PlaybookRun:
        play = {"hosts": "localhost", "gather_facts": False, "roles": ["holdfast.ops.logrotate"]}
        return run_playbook([play], tmp_path, *arguments, extra_vars={"holdfast_root": str(root), **variables})

    run.host, run.root = host, root  # type: ignore[attr-defined]
    return run


def test_the_role_installs_checks_and_removes(site: Any) -> None:
    host, root = site.host, site.root
    generated = root / "srv/generated"
    generated.mkdir(parents=True)
    (generated / "old.pdf").write_text("x")
    os.utime(generated / "old.pdf", (0, 0))
    declared = {
        "holdfast_logs": [{"name": "app", "paths": [f"{host.logs}/*.log"], "compress_after": "7d"}],
        "holdfast_cleanups": [{"name": "generated", "path": str(generated), "older_than": "7d"}],
    }
    files = ["logrotate.d/holdfast-app", "logrotate.d/holdfast-own", "holdfast/upkeep.json"]
    files += ["systemd/system/holdfast-clean.service", "systemd/system/holdfast-clean.timer"]

    checked = site("--check", "--diff", **declared).succeeded()
    assert checked.counts["changed"] > 0
    assert f"{generated}/old.pdf (1 B, " in checked.output
    assert not any((root / "etc" / name).exists() for name in files)

    site(**declared).succeeded()
    assert all((root / "etc" / name).exists() for name in files)
    assert (generated / "old.pdf").exists(), "the role cleaned; that is the timer's to do"
    assert site(**declared).succeeded().counts["changed"] == 0

    units = [str(root / "etc" / name) for name in files[3:]]
    said = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False).stderr
    ours = [line for line in said.splitlines() if "holdfast-clean" in line and "is not executable" not in line]
    assert ours == []

    config = root / "etc/holdfast/upkeep.json"
    subprocess.run([root / "usr/local/bin/holdfast", "clean", "--config", config], check=True)
    assert not (generated / "old.pdf").exists()

    changed = site("--diff", **{**declared, "holdfast_logs": []}).succeeded()
    assert changed.counts["changed"] > 0
    assert not (root / "etc/logrotate.d/holdfast-app").exists()

    site(**declared, holdfast_scheduler="cron").succeeded()
    line = (root / "etc/cron.d/holdfast-clean").read_text().splitlines()[-1]
    assert line.startswith("40 3 * * * root ")
    assert not (root / "etc/systemd/system/holdfast-clean.timer").exists()

    site(**declared, holdfast_state="absent").succeeded()
    assert [path.name for path in host.logrotate_d.iterdir()] == []
    assert not config.exists()
    assert not (root / "etc/cron.d/holdfast-clean").exists()
    assert site(**declared, holdfast_state="absent").succeeded().counts["changed"] == 0


def test_a_wrong_declaration_is_refused_before_anything_is_written(site: Any) -> None:
    failed = site(holdfast_cleanups=[{"name": "all", "path": "/etc", "older_than": "7d"}]).failed()
    assert "cleanup all: path lies in a directory of the system" in failed.output
    assert list(site.host.logrotate_d.iterdir()) == []


def test_a_log_that_logrotate_refuses_changes_nothing(site: Any) -> None:
    (site.host.logs / "app.log").write_text("x\n")
    log = {"name": "app", "paths": [f"{site.host.logs}/*.log"], "su": "nobody-here"}
    for arguments in (("--check",), ()):
        failed = site(*arguments, holdfast_logs=[log]).failed()
        assert "unknown user 'nobody-here'" in failed.output
        assert list(site.host.logrotate_d.iterdir()) == []


def test_hourly_logs_let_logrotate_look_every_hour(site: Any) -> None:
    drop_in = site.root / "etc/systemd/system/logrotate.timer.d/holdfast.conf"
    log = {"name": "app", "paths": [f"{site.host.logs}/*.log"], "max_size": "100MiB"}
    site(holdfast_logs=[log]).succeeded()
    assert "OnCalendar=hourly" in drop_in.read_text()
    del log["max_size"]
    site(holdfast_logs=[log]).succeeded()
    assert not drop_in.exists()
